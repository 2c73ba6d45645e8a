"""What all judges that ask a model have in common: one question, and one more where the answer cannot be used."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qdkit import prompts
from qdkit.llm import Answer, AnswerOutcome, Ask, Question, answer_of
from qdkit.plain import to_json
from qdkit.types import Batch, Genome, Judgement, Key, Outcome

TRIES = 2  # an answer that cannot be used costs one more, not the candidate
ECHO = 4000  # characters of an answer that are sent back with what is wrong with it
KEPT = 1500  # characters of a rationale


class Reading(NamedTuple):
    """What an answer says, as a number and as notes; or why it cannot be used, and whether asking again may help."""

    value: float
    notes: Mapping[str, Any]
    error: str = ""
    mendable: bool = True


class Verdict(NamedTuple):
    """What is known of one candidate: a value or nan, of how many answers, and the notes."""

    value: float
    answers: int
    notes: Mapping[str, Any]
    outcome: Outcome = Outcome.OK


@dataclass(frozen=True)
class Asking(abc.ABC):
    """A judge that asks a model about each candidate by itself, whatever stands beside it in the batch.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    prompt: the question, in which `{genome}` is where the candidate goes. The form of the answer is added to it.
    name: what is judged; what was said is found under `notes["judged"][name]`.
    examples: texts and how they were judged, by a person whose judgement is to be followed.

    An answer that was refused, cut short or cannot be read is asked for once more. After that there is
    no judgement: the value is nan and the outcome `INVALID`, or `INFRASTRUCTURE` where the server gave none.
    """

    ask: Ask
    prompt: str
    name: str = "quality"
    examples: Sequence[tuple[str, Any]] = ()

    def __post_init__(self) -> None:
        if "{genome}" not in self.prompt:
            raise ValueError(
                f"the question about {self.name} shows no candidate: it needs {{genome}} where the candidate goes, "
                f"and reads {self.prompt!r:.80}"
            )

    @property
    def models(self) -> tuple[Ask]:
        """The one it asks."""
        return (self.ask,)

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The judgement of each candidate."""
        return judgement(self.name, [self.verdict(key, genome) for genome in batch.genome])

    def verdict(self, key: Key, genome: Genome) -> Verdict:
        """What it says of one candidate."""
        said = asked(self.ask, self.question(genome), self.read)
        return said._replace(notes={"by": by(self), **said.notes})

    @abc.abstractmethod
    def question(self, genome: Genome) -> Question:
        """What is asked about a candidate."""

    @abc.abstractmethod
    def read(self, answer: Answer) -> Reading:
        """What an answer says."""

    def written(self, genome: Genome, **sections: str) -> str:
        """The question in the form of this kind of judge."""
        question = re.sub(r"\{genome\}", lambda _: shown(genome), self.prompt.strip())
        return form(type(self).__name__, question=question, examples=self._examples(), **sections)

    def _examples(self) -> str:
        told = [f"{shown(text)}\n\nAnswer: {self.as_answered(value)}" for text, value in self.examples]
        return form("examples", examples="\n\n".join(told)) if told else ""

    def as_answered(self, value: Any) -> str:
        """The answer that says `value`, in an example."""
        return str(value)


def by(judge: Any) -> str:
    """The kind of a judge, in notes; a function by its name."""
    return getattr(judge, "__name__", type(judge).__name__.lower())


def form(name: str, **sections: str) -> str:
    """A template beside this file, with its sections."""
    return prompts.filled(Path(__file__).parent / f"{name.lower()}.md", **sections)


def shown(genome: Genome) -> str:
    """A candidate as a fenced block, so that nothing in it can be taken for a part of the question."""
    return prompts.fence(genome if isinstance(genome, str) else to_json(genome))


def asked(ask: Ask, question: Question, read: Callable[[Answer], Reading]) -> Verdict:
    """One answer. The notes tell the model that gave it, the tries, and why the first was of no use."""
    notes: dict[str, Any] = {}
    for number in range(1, TRIES + 1):
        answer = answer_of(ask, question)
        found = read(answer) if answer.ok or answer.outcome == AnswerOutcome.INVALID else unusable(answer)
        notes |= {"model": answer.model, "tries": number}
        lost = answer.outcome == AnswerOutcome.INFRASTRUCTURE
        if not found.error or lost or not found.mendable:
            break
        if number < TRIES:
            notes["refused"], question = found.error, once_more(question, answer, found.error)
    if not found.error:
        return Verdict(found.value, 1, {**notes, **found.notes})
    outcome = Outcome.INFRASTRUCTURE if lost else Outcome.INVALID
    return Verdict(np.nan, 0, {**notes, **found.notes, "error": found.error}, outcome)


def unusable(answer: Answer) -> Reading:
    """The reading of an answer that is none."""
    return Reading(np.nan, {}, f"{answer.outcome}: {answer.error}", answer.outcome != AnswerOutcome.BLIND)


def once_more(question: Question, answer: Answer, why: str) -> Question:
    """The question again, with the answer and what is wrong with it; as it was where there is nothing to mend."""
    if not answer.text.strip() or answer.outcome not in (AnswerOutcome.OK, AnswerOutcome.INVALID):
        return question
    echo = {"role": "assistant", "content": answer.text[:ECHO]}
    return replace(question, prompt=[*question.messages(), echo, {"role": "user", "content": form("retry", why=why)}])


def judgement(name: str, verdicts: Sequence[Verdict]) -> Judgement:
    """Verdicts of all candidates in columns."""
    notes = []
    for verdict in verdicts:
        why = verdict.notes.get("error", verdict.notes.get("why"))
        error = {"error": f"{name}: {why}"} if why else {}
        notes.append({"judged": {name: {"value": verdict.value, **verdict.notes}}, **error})
    return Judgement(
        np.array([verdict.value for verdict in verdicts], float),
        np.array([verdict.answers for verdict in verdicts], int),
        notes,
        outcome=np.array([verdict.outcome for verdict in verdicts], "<U14"),
    )
