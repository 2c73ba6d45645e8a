"""A judge that compares candidates with known texts."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.core.types import Genome, Key, Outcome
from qdkit.feedback.pair_strengths import win_rate
from qdkit.feedback.pointwise import (
    MAX_RATIONALE_CHARACTERS,
    PointwiseJudge,
    Reading,
    Verdict,
    ask_judge,
    genome_block,
    judge_kind,
    judge_template,
)
from qdkit.llm import Answer, Question

_SCORE = {"first": 1.0, "second": 0.0, "tie": 0.5}
_SCHEMA = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "better": {"type": "string", "enum": [*_SCORE]},
    },
    "required": ["rationale", "better"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Pairwise(PointwiseJudge):
    """How often a candidate is better than each text of `against`, in [0, 1]; a tie counts ½.

    prompt: what makes one better than the other. It needs no `{genome}`: both texts follow it.
    against: the texts that every candidate is compared with, the same for all, so that values can
      be compared.
    position: what standing first is worth to this judge, in log-odds (`qdkit audit` and
      `strengths` estimate it). If given, each pair is asked about in one order, drawn from the
      key, and the win rate is corrected by it. If None, each pair is asked about in both orders,
      and a judge that prefers whatever comes first gives a tie.

    Models prefer texts by their place, the more so the closer the two are; hence two questions or
    a correction.
    """

    against: tuple[str, ...] = ()
    position: float | None = None

    bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "against", tuple(self.against))
        if not self.against:
            raise ValueError(
                f"{self.name} is judged by comparisons, and against is empty: give texts to "
                f"compare with"
            )

    def question(self, genome: Genome, other: str = "", stands_first: bool = True) -> Question:
        """Returns the question about a candidate and another text."""
        pair = (genome, other) if stands_first else (other, genome)
        sections = dict(zip(("first", "second"), map(genome_block, pair), strict=True))
        prompt = judge_template(
            "pairwise", question=self.prompt.strip(), examples=self._examples(), **sections
        )
        return Question(prompt, schema=_SCHEMA)

    def verdict(self, key: Key, genome: Genome) -> Verdict:
        """Returns the win rate over all comparisons that could be read."""
        read: list[tuple[int, bool, Verdict]] = []
        unread: list[Verdict] = []
        for number, other in enumerate(self.against):
            orders = self._orders(key, genome, number)
            verdicts = [
                ask_judge(self.ask, self.question(genome, other, first), self.read)
                for first in orders
            ]
            failed = [verdict for verdict in verdicts if not verdict.answers]
            if not failed:  # one order alone would favour its place
                read += [(number, *row) for row in zip(orders, verdicts, strict=True)]
            unread += failed
            if any(verdict.outcome == Outcome.INFRASTRUCTURE for verdict in failed):
                break  # the server is down: do not wait for it again with each text
        if unread and (not read or unread[-1].outcome == Outcome.INFRASTRUCTURE):
            return unread[-1]._replace(notes={"by": judge_kind(self), **unread[-1].notes})
        stood_first = [first for _, first, _ in read]
        won = [verdict.value if first else 1 - verdict.value for _, first, verdict in read]
        notes = {
            "by": judge_kind(self),
            **read[0][2].notes,
            "won": won,
            "stood_first": stood_first,
            "against": [number for number, _, _ in read],
        }
        return Verdict(win_rate(won, stood_first, self.position or 0.0), len(read), notes)

    def read(self, answer: Answer) -> Reading:
        """Returns 1 if the first is better, 0 if the second is, ½ for a tie."""
        better = answer.data["better"] if answer.ok else better_in(answer.text)
        if better is None:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        notes = {}
        if answer.ok:
            notes["rationale"] = answer.data["rationale"][:MAX_RATIONALE_CHARACTERS]
        return Reading(_SCORE[better], notes)

    def example_answer(self, value: Any) -> str:
        """Returns which is better, as JSON."""
        return json.dumps({"better": value})

    def _examples(self) -> str:
        examples = [
            f"The first:\n\n{genome_block(pair[0])}\n\nThe second:\n\n{genome_block(pair[1])}\n\n"
            f"Answer: {self.example_answer(value)}"
            for pair, value in self.examples
        ]
        return judge_template("examples", examples="\n\n".join(examples)) if examples else ""

    def _orders(self, key: Key, genome: Genome, number: int) -> Sequence[bool]:
        """Returns, for each question about one pair, whether the candidate stands first."""
        if self.position is None:
            return (True, False)
        # The order depends on the candidate alone, not on its row in the batch.
        checksum = zlib.crc32(genome_block(genome).encode())
        drawn = jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(key, checksum), number))
        return (bool(drawn),)


def better_in(text: str) -> str | None:
    """Returns which is better by a text that has not the wanted form; None if it is not clear."""
    fields = re.findall(r'"better"\s*:\s*"([^"]*)"', text)
    where = (fields[-1] if fields else text).strip(' \n."').casefold()
    return where if where in _SCORE else None
