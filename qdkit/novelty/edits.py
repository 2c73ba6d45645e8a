"""A filter against texts that differ in a few insertions and deletions."""

from __future__ import annotations

import re
import zlib
from itertools import islice

import numpy as np

from qdkit.core.types import Batch, Genome, NoveltyVerdict
from qdkit.novelty.candidates import (
    FormOf,
    all_new,
    as_it_is,
    cached_form,
    genomes_are_numbers,
    passed_note,
    rejected_note,
    rows_to_remember,
    stable_name,
)

_STAGE = "edit distance"
_BUCKETS = 256
# Tokens of a text that are compared: the time for a pair grows with the square of their number.
_MAX_TOKENS = 20_000
# How many texts are compared whatever their bound, so that the note of an accepted row has a
# likeness.
_MIN_COMPARED = 8

_TOKENS = re.compile(r"\w+|[^\w\s]")


class EditDistance:
    """Accepts a candidate if its edit-distance ratio to every other is below `ratio`.

    The ratio of two texts of a and b tokens (words, numbers, punctuation) is 2 c / (a + b), where
    c is the length of their longest common subsequence: 1 minus the insertions and deletions that
    turn one into the other, as a share of all tokens. `difflib.SequenceMatcher.ratio` is at most
    that. The filter misses no near text: it skips a pair only if even their bags of tokens share
    too little. It compares the texts with the most similar bags first and notes the first near
    one; for an accepted candidate, the most similar of a few. Of a text with more than 20,000
    tokens it compares the first 20,000.

    ratio: the limit, a little above the one with the best F1 on the labelled pairs of
      `results/novelty`: a missed near text costs an evaluation, while a rejected new one may cost
      the search all that would have followed from it.
    form: maps a genome to the text that is compared; by default the genome itself.

    Where a single constant or word makes a different candidate, as in programs whose numbers are
    searched, this filter rejects new candidates. Genomes of numbers are always new. The longest
    common subsequence is computed as in Hyyrö 2004, "Bit-parallel LCS-length computation
    revisited".
    """

    def __init__(self, ratio: float = 0.95, form: FormOf | None = None):
        if not 0 < ratio <= 1:
            raise ValueError(
                f"ratio is a likeness above 0 and at most 1, and {ratio} is not: 1 rejects only "
                "equal texts"
            )
        self.ratio, self.form = float(ratio), cached_form(form)
        self._name = stable_name(form or as_it_is)
        self._ids: list[int] = []
        self._tokens: list[np.ndarray] = []
        self._bags = np.zeros((64, _BUCKETS), np.uint16)

    def __repr__(self) -> str:
        return f"EditDistance({self.ratio}, {self._name})"

    def new(self, batch: Batch, before: int) -> NoveltyVerdict:
        """Compares each row with the ids below `before` and with the new rows above it."""
        fresh, notes = all_new(batch)
        if genomes_are_numbers(batch):
            return NoveltyVerdict(fresh, notes)
        known = self.known(before)
        ids, old, n = self._ids[known], self._tokens[known], known.stop - known.start
        tokens = [self._read(genome) for genome in batch.genome]
        bags = np.array([_bag(each) for each in tokens]).reshape(-1, _BUCKETS)
        for row, mine in enumerate(tokens):
            above = np.flatnonzero(fresh[:row])
            others = [*old, *(tokens[i] for i in above)]
            likeness, i = self._nearest(
                mine, bags[row], others, np.concatenate([self._bags[known], bags[above]])
            )
            if likeness >= self.ratio:
                where = {"id": ids[i]} if i < n else {"row": int(above[i - n])}
                fresh[row], notes[row] = False, rejected_note(_STAGE, likeness, self.ratio, where)
            elif others:
                notes[row] = passed_note(_STAGE, likeness)
        return NoveltyVerdict(fresh, notes)

    def known(self, before: int) -> slice:
        """Returns which remembered candidates with an id below `before` to compare with."""
        return slice(0, int(np.searchsorted(self._ids, before)))

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit that were evaluated and not rejected."""
        if genomes_are_numbers(batch):
            return
        for row in rows_to_remember(batch):
            if len(self._ids) == len(self._bags):
                self._bags = np.concatenate([self._bags, np.zeros_like(self._bags)])
            tokens = self._read(batch.genome[row])
            self._bags[len(self._ids)] = _bag(tokens)
            self._ids.append(int(batch.id[row]))
            self._tokens.append(tokens)

    def _read(self, genome: Genome) -> np.ndarray:
        """Returns the tokens of a genome as checksums, uint32 `[t]`."""
        matches = islice(_TOKENS.finditer(self.form(genome)), _MAX_TOKENS)
        tokens = [match[0] for match in matches]
        return np.array(
            [zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in tokens], np.uint32
        )

    def _nearest(
        self, mine: np.ndarray, bag: np.ndarray, others: list[np.ndarray], bags: np.ndarray
    ) -> tuple[float, int]:
        """Returns the greatest likeness to one of `others`, and its index; -1 if there are none.

        The search stops at the first one whose likeness reaches the limit.
        """
        best, nearest = 0.0, -1
        shared = np.minimum(bags, bag).sum(1, dtype=np.int64)
        tokens = len(mine) + np.array([len(other) for other in others], np.int64)
        # Two empty texts are equal.
        bounds = np.where(tokens, 2 * shared / np.maximum(1, tokens), 1.0)
        for compared, i in enumerate(np.argsort(-bounds, kind="stable").tolist()):
            if best >= self.ratio or (bounds[i] < self.ratio and compared >= _MIN_COMPARED):
                break
            likeness = edit_ratio(mine, others[i])
            if likeness > best or nearest < 0:
                best, nearest = likeness, i
        return best, nearest


def edit_ratio(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the edit-distance ratio of two arrays of tokens, in [0, 1]; 1 for two empty ones."""
    if not len(a) + len(b):
        return 1.0
    shorter = min(len(a), len(b))
    front = _common_prefix(a[:shorter], b[:shorter])
    rest = shorter - front
    back = _common_prefix(a[front:][::-1][:rest], b[front:][::-1][:rest])
    middle = _lcs_length(a[front : len(a) - back].tolist(), b[front : len(b) - back].tolist())
    return 2 * (front + middle + back) / (len(a) + len(b))


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Returns how many tokens two arrays of equal length share before the first difference."""
    differ = np.flatnonzero(a != b)
    return int(differ[0]) if len(differ) else len(a)


def _lcs_length(a: list[int], b: list[int]) -> int:
    """Returns the length of the longest common subsequence.

    A column of the table is one integer, with a bit for each token of `a`.
    """
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
    """Returns how many tokens fall into each bucket, uint16 `[_BUCKETS]`."""
    counts = np.bincount(tokens % _BUCKETS, minlength=_BUCKETS)
    return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)
