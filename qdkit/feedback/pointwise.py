"""What all judges that ask a model share: one question, and a retry for an unusable answer."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.jsonable import to_json
from qdkit.core.types import Batch, Genome, Judgement, Key, Outcome
from qdkit.llm import Answer, AnswerOutcome, Ask, Question, answer_of, guarded, templates

_TRIES = 2  # an unusable answer costs one more question, not the candidate
_ECHO = 4000  # characters of an answer that are sent back with the error
MAX_RATIONALE_CHARACTERS = 1500  # that notes keep


class Reading(NamedTuple):
    """An answer as a number and as notes.

    error: why the answer cannot be used, else "". retryable: whether asking again may help.
    """

    value: float
    notes: Mapping[str, Any]
    error: str = ""
    retryable: bool = True


class Verdict(NamedTuple):
    """The judgement of one candidate: a value or nan, the number of answers, and the notes."""

    value: float
    answers: int
    notes: Mapping[str, Any]
    outcome: Outcome = Outcome.OK


@dataclass(frozen=True)
class PointwiseJudge(abc.ABC):
    """A judge that asks a model about each candidate separately, whatever else is in the batch.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    prompt: the question, in which `{genome}` marks the place of the candidate. The wanted form of
      the answer is added to it.
    name: what is judged; the answer is in `notes["judged"][name]`.
    examples: texts with the judgements of a person whom the model should follow.

    An answer that was refused, cut short or cannot be read is asked for once more. After that
    there is no judgement: the value is nan and the outcome `INVALID`, or `INFRASTRUCTURE` if the
    server gave none.
    """

    ask: Ask
    prompt: str
    name: str = "quality"
    examples: Sequence[tuple[str, Any]] = ()

    def __post_init__(self) -> None:
        if "{genome}" not in self.prompt:
            raise ValueError(
                f"the question about {self.name} shows no candidate: it needs {{genome}} where "
                f"the candidate goes, and reads {self.prompt!r:.80}"
            )

    @property
    def models(self) -> tuple[Ask]:
        """The model that it asks."""
        return (self.ask,)

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the judgement of each candidate."""
        return to_judgement(self.name, [self.verdict(key, genome) for genome in batch.genome])

    def verdict(self, key: Key, genome: Genome) -> Verdict:
        """Returns the judgement of one candidate."""
        verdict = ask_judge(self.ask, self.question(genome), self.read)
        return verdict._replace(notes={"by": judge_kind(self), **verdict.notes})

    @abc.abstractmethod
    def question(self, genome: Genome) -> Question:
        """Returns the question about a candidate."""

    @abc.abstractmethod
    def read(self, answer: Answer) -> Reading:
        """Returns an answer as a number and as notes."""

    def full_prompt(self, genome: Genome, **sections: str) -> str:
        """Returns the text of the question, in the template of this kind of judge."""
        question = re.sub(r"\{genome\}", lambda _: genome_block(genome), self.prompt.strip())
        return judge_template(
            type(self).__name__, question=question, examples=self._examples(), **sections
        )

    def _examples(self) -> str:
        examples = [
            f"{genome_block(text)}\n\nAnswer: {self.example_answer(value)}"
            for text, value in self.examples
        ]
        return judge_template("examples", examples="\n\n".join(examples)) if examples else ""

    def example_answer(self, value: Any) -> str:
        """Returns the answer with the judgement `value`, for an example."""
        return str(value)


def judge_kind(judge: Any) -> str:
    """Returns the kind of a judge, for notes; of a function, its name."""
    return getattr(judge, "__name__", type(judge).__name__.lower())


def judge_template(name: str, **sections: str) -> str:
    """Returns a template beside this file, with its sections filled in."""
    return templates.fill_template(Path(__file__).parent / f"{name.lower()}.md", **sections)


def genome_block(genome: Genome) -> str:
    """Returns a candidate as a fenced block, so that it cannot be read as part of the question."""
    return templates.fence(genome if isinstance(genome, str) else to_json(genome))


def ask_judge(ask: Ask, question: Question, read: Callable[[Answer], Reading]) -> Verdict:
    """Asks a question, and once more if the answer cannot be used.

    The notes have the model that answered, the number of tries, and under `refused` why the first
    answer could not be used.
    """
    notes: dict[str, Any] = {}
    for number in range(1, _TRIES + 1):
        answer = answer_of(ask, question)
        reading = _unusable(answer)
        if answer.ok or answer.outcome == AnswerOutcome.INVALID:
            reading = guarded(partial(read, answer), _unreadable)
        notes |= {"model": answer.model, "tries": number}
        lost = answer.outcome == AnswerOutcome.INFRASTRUCTURE
        if not reading.error or lost or not reading.retryable:
            break
        if number < _TRIES:
            notes["refused"] = reading.error
            question = _retry_question(question, answer, reading.error)
    if not reading.error:
        return Verdict(reading.value, 1, {**notes, **reading.notes})
    outcome = Outcome.INFRASTRUCTURE if lost else Outcome.INVALID
    return Verdict(np.nan, 0, {**notes, **reading.notes, "error": reading.error}, outcome)


def _unusable(answer: Answer) -> Reading:
    """Returns the reading of an answer that failed."""
    return Reading(
        np.nan, {}, f"{answer.outcome}: {answer.error}", answer.outcome != AnswerOutcome.BLIND
    )


def _unreadable(reason: str) -> Reading:
    """Returns the reading of an answer on which `read` raised."""
    return Reading(np.nan, {}, f"the answer: {reason}")


def _retry_question(question: Question, answer: Answer, error: str) -> Question:
    """Returns the question again, with the answer and its error.

    Returns it unchanged if there is no text to correct.
    """
    if not answer.text.strip() or answer.outcome not in (AnswerOutcome.OK, AnswerOutcome.INVALID):
        return question
    echo = {"role": "assistant", "content": answer.text[:_ECHO]}
    correction = {"role": "user", "content": judge_template("retry", why=error)}
    return replace(question, prompt=[*question.messages(), echo, correction])


def to_judgement(name: str, verdicts: Sequence[Verdict]) -> Judgement:
    """Returns the verdicts on all candidates as columns."""
    notes = []
    for verdict in verdicts:
        reason = verdict.notes.get("error", verdict.notes.get("why"))
        error = {"error": f"{name}: {reason}"} if reason else {}
        notes.append({"judged": {name: {"value": verdict.value, **verdict.notes}}, **error})
    return Judgement(
        np.array([verdict.value for verdict in verdicts], float),
        np.array([verdict.answers for verdict in verdicts], int),
        notes,
        outcome=np.array([verdict.outcome for verdict in verdicts], "<U14"),
    )
