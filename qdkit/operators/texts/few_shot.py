"""New texts by example: a model is shown three texts and writes a fourth (LMX, Meyerson et al. 2023)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from qdkit.elites import Added
from qdkit.llm import Answer, AnswerOutcome, Ask, Question
from qdkit.operators.writing import Writing, answered, generator
from qdkit.parents import Champions, Near, Parents
from qdkit.prompts import filled
from qdkit.types import NOBODY, Batch, Context, Key, Proposal, Wish

SHOTS = 3  # examples in a prompt, as in QDAIF
BEST, POOL = 3, 100  # of each cell in a pool, and in all, as in QDAIF
BETWEEN = "\n###\n"
# Where a text ends. Longer marks that begin with one of these (QDAIF lists seventeen) end it no sooner, and many
# servers take no more than four.
STOPS = ("\n", "#", "@@@")
NEAR = Near()


class Shot(NamedTuple):
    """One example: the candidate's id, and its text."""

    id: int
    text: str


class FewShot(Writing):
    """Shows the texts that a run began with, and asks for another: what a search by example has to beat.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    task: what stands before each example and before the text that is asked for, such as "Here is a random poem:".
    shuffled: the examples in another order each time; in that of the seeds, where False.
    max_tokens: of the new text, which may end there.
    temperature: 0.8 in QDAIF; the model's own where None.

    The prompt is that of QDAIF: `task + example` three times and `task`, with "###" between them. What the
    model says up to the first line break, "#" or "@@@" is the new text, with a full stop where it has no
    end. A message of the system before it tells models that converse what to do with such a list.
    """

    arity = SHOTS

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
        shown = {name: value for name, value in vars(self).items() if name != "ask" and not name.startswith("_")}
        return f"{type(self).__name__}({model!r}, {', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def turn(self, n: int) -> Self:
        return copy.copy(self)  # as it is now: what is learnt is put in place of what was known, never into it

    def learn(self, batch: Batch, added: Added) -> None:
        self._seeds += shots(batch.take(batch.ok & (np.asarray(batch.origin) == "seed")))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = generator(key)
        each = [context.part(slice(i, i + 1), self.arity, self.arity) for i in range(n)]
        shown = [self.examples(random, one) for one in each]
        ids = np.full((n, max(map(len, shown))), NOBODY, np.int32)
        for row, some in enumerate(shown):
            ids[row, : len(some)] = [shot.id for shot in some]
        questions = [self.written([shot.text for shot in some]) for some in shown]
        return answered(self.ask, questions, self.name, ids, self.read)

    def question(self, random: np.random.Generator, context: Context) -> Question:
        return self.written([shot.text for shot in self.examples(random, context)])

    def examples(self, random: np.random.Generator, context: Context) -> Sequence[Shot]:
        """What is shown for one new text: here three of the seeds, or what was given where it has heard of none."""
        known = self._seeds or shots(context.parents)
        order = random.permutation(len(known)) if self.shuffled else np.arange(len(known))
        return [known[i] for i in order[:SHOTS]]

    def written(self, texts: Sequence[str]) -> Question:
        """The question that shows these examples."""
        messages = [
            {"role": "system", "content": filled(Path(__file__).parent / "lmx.md")},
            {"role": "user", "content": BETWEEN.join([*(self.task + text for text in texts), self.task])},
        ]
        return Question(messages, max_tokens=self.max_tokens, temperature=self.temperature, stop=STOPS)

    def read(self, answer: Answer) -> str:
        """What was said before the first mark; it may have been cut short."""
        text = answer.text.strip() if answer.outcome in (AnswerOutcome.OK, AnswerOutcome.TRUNCATED) else ""
        ends = [at for stop in STOPS if (at := text.find(stop)) >= 0]
        text = text[: min(ends, default=len(text))].strip()
        return f"{text}." if text and text[-1] not in '.!?…"”’' else text


class LMX(FewShot):
    """Shows three elites, by default of one neighbourhood of the map (LMX-Near, Bradley et al. 2023).

    near: by which rule the elites are chosen; by that of the search where None.
    start: how many texts are made from the seeds before; 50 in QDAIF. Those are made from them, too, for which there
      are no three different elites yet.

    The rest as of `FewShot`. The parents of a text are those that were shown.
    """

    def __init__(
        self,
        ask: Ask,
        task: str,
        *,
        near: Parents | None = NEAR,
        start: int = 50,
        max_tokens: int = 100,
        temperature: float | None = 0.8,
        name: str = "lmx",
    ):
        super().__init__(ask, task, shuffled=True, max_tokens=max_tokens, temperature=temperature, name=name)
        self.near, self.start = near, start
        self._made = 0

    def turn(self, n: int) -> Self:
        self._made += n
        return super().turn(n)

    def wishes(self, n: int) -> list[Wish]:
        return [Wish(n, self.near)]

    def examples(self, random: np.random.Generator, context: Context) -> Sequence[Shot]:
        given = shots(context.parents)
        few = self._made <= self.start or len({shot.id for shot in given}) < SHOTS
        return super().examples(random, context) if few else given


class Replace(FewShot):
    """Shows what an elite was made from, with one of the three replaced by another of a pool (LMX-Replace of QDAIF).

    The pool are the seeds and the three best of each cell, the last hundred of them. The examples of a
    text are in its `notes["examples"]`; those of a seed are the seeds.

    start: how many texts are made from the seeds before; 50 in QDAIF.

    The rest as of `FewShot`. The parent of a text is the elite.
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
        super().__init__(ask, task, shuffled=True, max_tokens=max_tokens, temperature=temperature, name=name)
        self.start = start
        self._made = 0
        self._best: dict[int, tuple[tuple[float, str], ...]] = {}  # cell -> its best, the best first
        self.pool: tuple[str, ...] = ()

    def turn(self, n: int) -> Self:
        self._made += n
        return super().turn(n)

    def wishes(self, n: int) -> list[Wish]:
        return [Wish(n, Champions())]

    def learn(self, batch: Batch, added: Added) -> None:
        super().learn(batch, added)
        entered = np.flatnonzero(batch.ok & (np.asarray(added.status) > 0))
        for row in entered.tolist():
            cell, text = int(added.cell[row]), (float(batch.objective[row]), batch.genome[row])
            kept = sorted([*self._best.get(cell, ()), text], key=lambda pair: -pair[0])  # stable: the first of equals
            self._best[cell] = tuple(kept[:BEST])
        if len(entered):
            best = [text for cell in sorted(self._best) for _, text in self._best[cell]]
            self.pool = tuple(dict.fromkeys([*(shot.text for shot in self._seeds), *best]))[-POOL:]

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = generator(key)
        shown = [self._replaced(random, context.part(slice(i, i + 1), 1, 1)) for i in range(n)]
        questions = [self.written(texts) for texts in shown]
        made = answered(self.ask, questions, self.name, context.parents.id.reshape(n, 1), self.read)
        notes = [{**note, "examples": texts} for note, texts in zip(made.notes or (), shown, strict=True)]
        return made._replace(notes=notes)

    def _replaced(self, random: np.random.Generator, context: Context) -> list[str]:
        """The examples for one new text: a new list, as the parent's own stay what they were."""
        seeds = [shot.text for shot in self.examples(random, context)]
        if self._made <= self.start:
            return seeds
        texts = list(context.parents.notes[0].get("examples", seeds))
        texts[random.integers(len(texts))] = self.pool[random.integers(len(self.pool))]
        return texts


def shots(batch: Batch) -> tuple[Shot, ...]:
    """Candidates as examples."""
    return tuple(Shot(id, text) for id, text in zip(batch.id.tolist(), batch.genome, strict=True))
