"""A judge that compares candidates with texts that are known."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.feedback.asking import KEPT, Asking, Reading, Verdict, asked, by, form, shown
from qdkit.feedback.pairs import win_rate
from qdkit.llm import Answer, Question
from qdkit.types import Genome, Key, Outcome

SCORE = {"first": 1.0, "second": 0.0, "tie": 0.5}
SCHEMA = {
    "type": "object",
    "properties": {"rationale": {"type": "string"}, "better": {"type": "string", "enum": [*SCORE]}},
    "required": ["rationale", "better"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Pairwise(Asking):
    """How often a candidate is found better than each of `against`, in [0, 1]; a tie is half.

    prompt: what makes one better than the other. It needs no `{genome}`: both texts are shown below it.
    against: the texts that every candidate is compared with, the same for all, so that values compare.
    position: what standing first is worth to this judge, in log-odds (`qdkit audit` and `strengths`
      tell it). With it each pair is asked about in one order, drawn from the key, and the win rate is
      corrected by it. Where left out each pair is asked about in both orders, and a judge that prefers
      whatever comes first has said: a tie.

    Models prefer texts by their place, the more so the closer the two are; hence two questions or a correction.
    """

    against: tuple[str, ...] = ()
    position: float | None = None

    bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "against", tuple(self.against))
        if not self.against:
            raise ValueError(f"{self.name} is judged by comparisons, and against is empty: give texts to compare with")

    def question(self, genome: Genome, other: str = "", stands_first: bool = True) -> Question:
        """The question about a candidate and another text."""
        pair = (genome, other) if stands_first else (other, genome)
        sections = dict(zip(("first", "second"), map(shown, pair), strict=True))
        prompt = form("pairwise", question=self.prompt.strip(), examples=self._examples(), **sections)
        return Question(prompt, schema=SCHEMA)

    def verdict(self, key: Key, genome: Genome) -> Verdict:
        """The win rate over all comparisons that could be read."""
        said: list[tuple[int, bool, Verdict]] = []
        unread: list[Verdict] = []
        for number, other in enumerate(self.against):
            orders = self._orders(key, genome, number)
            pair = [asked(self.ask, self.question(genome, other, first), self.read) for first in orders]
            failed = [verdict for verdict in pair if not verdict.answers]
            if not failed:  # one order alone would tell of its place
                said += [(number, *row) for row in zip(orders, pair, strict=True)]
            unread += failed
            if any(verdict.outcome == Outcome.INFRASTRUCTURE for verdict in failed):
                break  # a server that stays away is not waited for again and again
        if unread and (not said or unread[-1].outcome == Outcome.INFRASTRUCTURE):
            return unread[-1]._replace(notes={"by": by(self), **unread[-1].notes})
        stood_first = [first for _, first, _ in said]
        won = [verdict.value if first else 1 - verdict.value for _, first, verdict in said]
        told = {"by": by(self), **said[0][2].notes, "won": won, "stood_first": stood_first}
        told["against"] = [number for number, _, _ in said]
        return Verdict(win_rate(won, stood_first, self.position or 0.0), len(said), told)

    def read(self, answer: Answer) -> Reading:
        """1 where the first is better, 0 where the second is, ½ for a tie."""
        better = answer.data["better"] if answer.ok else better_in(answer.text)
        if better is None:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        return Reading(SCORE[better], {"rationale": answer.data["rationale"][:KEPT]} if answer.ok else {})

    def as_answered(self, value: Any) -> str:
        """Which is better, as JSON."""
        return json.dumps({"better": value})

    def _examples(self) -> str:
        told = [
            f"The first:\n\n{shown(pair[0])}\n\nThe second:\n\n{shown(pair[1])}\n\nAnswer: {self.as_answered(value)}"
            for pair, value in self.examples
        ]
        return form("examples", examples="\n\n".join(told)) if told else ""

    def _orders(self, key: Key, genome: Genome, number: int) -> Sequence[bool]:
        """Whether the candidate stands first, of each question about one pair."""
        if self.position is None:
            return (True, False)
        text = zlib.crc32(shown(genome).encode())  # of the candidate alone: its row must not matter
        drawn = jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(key, text), number))
        return (bool(drawn),)


def better_in(text: str) -> str | None:
    """Which is said to be better, in a text that is not of the form that was asked for; None where it is not clear."""
    under = re.findall(r'"better"\s*:\s*"([^"]*)"', text)
    where = (under[-1] if under else text).strip(' \n."').casefold()
    return where if where in SCORE else None
