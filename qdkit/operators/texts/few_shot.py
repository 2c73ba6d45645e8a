"""Few-shot prompts: a model sees three texts and writes a fourth (LMX, Meyerson et al. 2023)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from qdkit.core.elites import Added
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Key, Proposal, SelectionRequest
from qdkit.llm import Answer, AnswerOutcome, Ask, Question
from qdkit.llm.templates import fill_template
from qdkit.operators.writing import Writing, numpy_generator, propose_answers
from qdkit.selection.parents import Champions, Near, Parents

_SHOTS = 3  # examples in a prompt, as in QDAIF
_BEST_PER_CELL, _POOL_SIZE = 3, 100  # the texts of each cell in a pool, and of all, as in QDAIF
_SEPARATOR = "\n###\n"
# Stop sequences. QDAIF lists seventeen, but the others begin with one of these, and many servers
# allow at most four.
_STOPS = ("\n", "#", "@@@")
_NEAR = Near()


class Shot(NamedTuple):
    """One example: the id of a candidate and its text."""

    id: int
    text: str


class FewShot(Writing):
    """Shows three of the seeds and asks for another text; a baseline for `LMX`.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    task: the text before each example and before the new text, such as "Here is a random poem:".
    shuffled: whether the order of the examples is random; else it is that of the seeds.
    max_tokens: the maximum length of the new text, which may be truncated.
    temperature: 0.8 in QDAIF; that of the model if None.

    The prompt is that of QDAIF: `task + example` three times and then `task`, separated by "###".
    The new text is the response up to the first line break, "#" or "@@@", with a full stop if it
    has no final punctuation. A system message before the prompt tells chat models what to do with
    such a list.
    """

    arity = _SHOTS

    def __init__(
        self,
        ask: Ask,
        task: str,
        *,
        shuffled: bool = False,
        max_tokens: int = 100,
        temperature: float | None = 0.8,
        name: str = "few-shot",
    ):
        self.ask, self.task, self.shuffled, self.name = ask, task, shuffled, name
        self.max_tokens, self.temperature = max_tokens, temperature
        self._seeds: tuple[Shot, ...] = ()

    def __repr__(self) -> str:
        model = getattr(self.ask, "model", getattr(self.ask, "__name__", type(self.ask).__name__))
        settings = [
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name != "ask" and not name.startswith("_")
        ]
        return f"{type(self).__name__}({model!r}, {', '.join(settings)})"

    def turn(self, n: int) -> Self:
        # A shallow copy suffices: `learn` replaces attributes and never changes their values.
        return copy.copy(self)

    def learn(self, batch: Batch, added: Added) -> None:
        self._seeds += as_shots(batch.take(batch.ok & (np.asarray(batch.origin) == "seed")))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = numpy_generator(key)
        contexts = [context.part(slice(i, i + 1), self.arity, self.arity) for i in range(n)]
        examples = [self.examples(random, each) for each in contexts]
        ids = np.full((n, max(map(len, examples))), NO_CANDIDATE, np.int32)
        for row, shots in enumerate(examples):
            ids[row, : len(shots)] = [shot.id for shot in shots]
        questions = [self.question_with([shot.text for shot in shots]) for shots in examples]
        return propose_answers(self.ask, questions, self.name, ids, self.read)

    def question(self, random: np.random.Generator, context: Context) -> Question:
        return self.question_with([shot.text for shot in self.examples(random, context)])

    def examples(self, random: np.random.Generator, context: Context) -> Sequence[Shot]:
        """Returns the examples for one new text: three seeds, or parents before it has any."""
        known = self._seeds or as_shots(context.parents)
        order = random.permutation(len(known)) if self.shuffled else np.arange(len(known))
        return [known[i] for i in order[:_SHOTS]]

    def question_with(self, texts: Sequence[str]) -> Question:
        """Returns the question with these examples."""
        messages = [
            {"role": "system", "content": fill_template(Path(__file__).parent / "lmx.md")},
            {
                "role": "user",
                "content": _SEPARATOR.join([*(self.task + text for text in texts), self.task]),
            },
        ]
        return Question(
            messages, max_tokens=self.max_tokens, temperature=self.temperature, stop=_STOPS
        )

    def read(self, answer: Answer) -> str:
        """Returns the response up to the first stop sequence; it may be truncated."""
        usable = answer.outcome in (AnswerOutcome.OK, AnswerOutcome.TRUNCATED)
        text = answer.text.strip() if usable else ""
        ends = [position for stop in _STOPS if (position := text.find(stop)) >= 0]
        text = text[: min(ends, default=len(text))].strip()
        return f"{text}." if text and text[-1] not in '.!?…"”’' else text


class LMX(FewShot):
    """Shows three elites, by default neighbours on the map (LMX-Near, Bradley et al. 2023).

    near: the rule that selects the elites; that of the search if None.
    start: the number of texts that are made from the seeds first; 50 in QDAIF. Later texts are
      made from the seeds too if there are not three different elites.

    The other parameters are those of `FewShot`. The parents of a text are its examples.
    """

    def __init__(
        self,
        ask: Ask,
        task: str,
        *,
        near: Parents | None = _NEAR,
        start: int = 50,
        max_tokens: int = 100,
        temperature: float | None = 0.8,
        name: str = "lmx",
    ):
        super().__init__(
            ask, task, shuffled=True, max_tokens=max_tokens, temperature=temperature, name=name
        )
        self.near, self.start = near, start
        self._made = 0

    def turn(self, n: int) -> Self:
        self._made += n
        return super().turn(n)

    def requests(self, n: int) -> list[SelectionRequest]:
        return [SelectionRequest(n, self.near)]

    def examples(self, random: np.random.Generator, context: Context) -> Sequence[Shot]:
        elites = as_shots(context.parents)
        from_seeds = self._made <= self.start or len({shot.id for shot in elites}) < _SHOTS
        return super().examples(random, context) if from_seeds else elites


class Replace(FewShot):
    """Shows an elite's examples with one replaced by a text of a pool (LMX-Replace of QDAIF).

    The pool is the last hundred of the seeds and the three best texts of each cell. The examples
    of a text are in its `notes["examples"]`; those of a seed are the seeds.

    start: the number of texts that are made from the seeds first; 50 in QDAIF.

    The other parameters are those of `FewShot`. The parent of a text is the elite.
    """

    arity = 1

    def __init__(
        self,
        ask: Ask,
        task: str,
        *,
        start: int = 50,
        max_tokens: int = 100,
        temperature: float | None = 0.8,
        name: str = "lmx-replace",
    ):
        super().__init__(
            ask, task, shuffled=True, max_tokens=max_tokens, temperature=temperature, name=name
        )
        self.start = start
        self._made = 0
        # the best texts of each cell with their objectives, the best first
        self._best: dict[int, tuple[tuple[float, str], ...]] = {}
        self.pool: tuple[str, ...] = ()

    def turn(self, n: int) -> Self:
        self._made += n
        return super().turn(n)

    def requests(self, n: int) -> list[SelectionRequest]:
        return [SelectionRequest(n, Champions())]

    def learn(self, batch: Batch, added: Added) -> None:
        super().learn(batch, added)
        entered = np.flatnonzero(batch.ok & (np.asarray(added.status) > 0))
        for row in entered.tolist():
            cell, text = int(added.cell[row]), (float(batch.objective[row]), batch.genome[row])
            # The sort is stable, so the first of equals comes first.
            best_first = sorted([*self._best.get(cell, ()), text], key=lambda pair: -pair[0])
            self._best[cell] = tuple(best_first[:_BEST_PER_CELL])
        if len(entered):
            best = [text for cell in sorted(self._best) for _, text in self._best[cell]]
            self.pool = tuple(dict.fromkeys([*(shot.text for shot in self._seeds), *best]))[
                -_POOL_SIZE:
            ]

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = numpy_generator(key)
        contexts = [context.part(slice(i, i + 1), 1, 1) for i in range(n)]
        examples = [self._replace_one(random, each) for each in contexts]
        questions = [self.question_with(texts) for texts in examples]
        parents = context.parents.id.reshape(n, 1)
        proposal = propose_answers(self.ask, questions, self.name, parents, self.read)
        notes = [
            {**note, "examples": texts}
            for note, texts in zip(proposal.notes or (), examples, strict=True)
        ]
        return proposal._replace(notes=notes)

    def _replace_one(self, random: np.random.Generator, context: Context) -> list[str]:
        """Returns the examples of the elite with one replaced, as a new list."""
        seeds = [shot.text for shot in self.examples(random, context)]
        if self._made <= self.start:
            return seeds
        texts = list(context.parents.notes[0].get("examples", seeds))
        texts[random.integers(len(texts))] = self.pool[random.integers(len(self.pool))]
        return texts


def as_shots(batch: Batch) -> tuple[Shot, ...]:
    """Returns the candidates of a batch as examples."""
    return tuple(Shot(id, text) for id, text in zip(batch.id.tolist(), batch.genome, strict=True))
