"""Texts that a few insertions and deletions make of each other."""

from __future__ import annotations

import re
import zlib

import numpy as np

from qdkit.novelty.known import (
    Form,
    as_it_is,
    name_of,
    nothing_against,
    numbers,
    passed,
    rejected,
    remembering,
    standing,
)
from qdkit.types import Batch, Genome, Verdict

STAGE = "edit distance"
BUCKETS = 256
LOOKED_AT = 8  # whatever their bound, so that the note of what passes says how near it came

_TOKENS = re.compile(r"\w+|[^\w\s]")


class EditDistance:
    """A candidate is new if its edit-distance ratio to every other is below `ratio`.

    The ratio of two texts of a and b tokens (words, numbers, marks) is 2 c / (a + b), where c tokens
    stand in both in one order: 1 less the insertions and deletions that make one of the other, as a
    share of all tokens; `difflib.SequenceMatcher.ratio` is at most that. No near one is missed: a
    pair is left out only if even their bags of tokens share too little. The first near one found is
    the one noted, those with the likest bags first; of a candidate that passes, the likest of a few.

    ratio: the limit, a little above the one with the best F1 on the labelled pairs of `results/novelty`: to miss
      a near one costs an evaluation, to reject a new one may cost the search what it led to.
    form: the text of a genome that is compared; the genome itself where left out.

    Where a single constant or word makes another candidate, as in programs whose numbers are
    searched, this rejects what is new. Numbers themselves are always new. The longest common
    subsequence is that of Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
    """

    def __init__(self, ratio: float = 0.95, form: Form | None = None):
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio is a likeness above 0 and at most 1, and {ratio} is not: 1 rejects equals alone")
        self.ratio, self.form = float(ratio), remembering(form)
        self._name = name_of(form or as_it_is)
        self._ids: list[int] = []
        self._tokens: list[np.ndarray] = []
        self._bags = np.zeros((64, BUCKETS), np.uint16)

    def __repr__(self) -> str:
        return f"EditDistance({self.ratio}, {self._name})"

    def new(self, batch: Batch, before: int) -> Verdict:
        """New: unlike every candidate with an id below `before`, and unlike the new rows above."""
        fresh, notes = nothing_against(batch)
        if numbers(batch):
            return Verdict(fresh, notes)
        known = self.known(before)
        ids, old, n = self._ids[known], self._tokens[known], known.stop - known.start
        tokens = [self._read(genome) for genome in batch.genome]
        bags = np.array([_bag(each) for each in tokens]).reshape(-1, BUCKETS)
        for row, mine in enumerate(tokens):
            above = np.flatnonzero(fresh[:row])
            others = [*old, *(tokens[i] for i in above)]
            likeness, i = self._nearest(mine, bags[row], others, np.concatenate([self._bags[known], bags[above]]))
            if likeness >= self.ratio:
                where = {"id": ids[i]} if i < n else {"row": int(above[i - n])}
                fresh[row], notes[row] = False, rejected(STAGE, likeness, self.ratio, where)
            elif others:
                notes[row] = passed(STAGE, likeness)
        return Verdict(fresh, notes)

    def known(self, before: int) -> slice:
        """Which of those that it remembers a candidate is held against, of the ids below `before`."""
        return slice(0, int(np.searchsorted(self._ids, before)))

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit that were evaluated and are like no other."""
        if numbers(batch):
            return
        for row in standing(batch):
            if len(self._ids) == len(self._bags):
                self._bags = np.concatenate([self._bags, np.zeros_like(self._bags)])
            tokens = self._read(batch.genome[row])
            self._bags[len(self._ids)] = _bag(tokens)
            self._ids.append(int(batch.id[row]))
            self._tokens.append(tokens)

    def _read(self, genome: Genome) -> np.ndarray:
        """uint32 `[t]`: its tokens, as checksums."""
        tokens = _TOKENS.findall(self.form(genome))
        return np.array([zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in tokens], np.uint32)

    def _nearest(
        self, mine: np.ndarray, bag: np.ndarray, others: list[np.ndarray], bags: np.ndarray
    ) -> tuple[float, int]:
        """How like the likeliest of `others` is, or the first that is too like, and which; -1 where there is none."""
        best, nearest = 0.0, -1
        shared = np.minimum(bags, bag).sum(1, dtype=np.int64)
        tokens = len(mine) + np.array([len(other) for other in others], np.int64)
        bounds = np.where(tokens, 2 * shared / np.maximum(1, tokens), 1.0)  # two empty texts are the same
        for looked, i in enumerate(np.argsort(-bounds, kind="stable").tolist()):
            if best >= self.ratio or (bounds[i] < self.ratio and looked >= LOOKED_AT):
                break
            likeness = alike(mine, others[i])
            if likeness > best or nearest < 0:
                best, nearest = likeness, i
        return best, nearest


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """The edit-distance ratio of two texts of tokens, between 0 and 1; 1 for two empty ones."""
    if not len(a) + len(b):
        return 1.0
    shared = min(len(a), len(b))
    front = _agree(a[:shared], b[:shared])
    back = _agree(a[front:][::-1][: shared - front], b[front:][::-1][: shared - front])
    middle = _common(a[front : len(a) - back].tolist(), b[front : len(b) - back].tolist())
    return 2 * (front + middle + back) / (len(a) + len(b))


def _agree(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two equally long texts have in common before they differ."""
    differ = np.flatnonzero(a != b)
    return int(differ[0]) if len(differ) else len(a)


def _common(a: list[int], b: list[int]) -> int:
    """The length of the longest common subsequence: a column of the table is one whole number, a bit for each token."""
    places: dict[int, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    everything = (1 << len(a)) - 1
    column = everything
    for token in b:
        hit = column & places.get(token, 0)
        column = (column + hit | column - hit) & everything
    return len(a) - column.bit_count()


def _bag(tokens: np.ndarray) -> np.ndarray:
    """uint16 `[BUCKETS]`: how many tokens fall into each bucket."""
    return np.minimum(np.bincount(tokens % BUCKETS, minlength=BUCKETS), np.iinfo(np.uint16).max).astype(np.uint16)
