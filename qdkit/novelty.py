"""What is new: proposals too like a known candidate are rejected before anything is spent on them.

Novelty is decided twice, in order. Before its evaluation a proposal is held against what the search
knew when its task started; at its commit, against what came meanwhile. So it does not matter which
of two equal ones was answered sooner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from qdkit.plain import to_json
from qdkit.types import Batch


class Distinct:
    """Nothing twice: a candidate is new if no other has the same form.

    form: what of a genome counts, a text; the genome itself where left out, spaces around a text
      aside. Numbers, of which no two are equal, are always new.
    """

    def __init__(self, form: Callable[[Any], str] | None = None):
        self._form = form or _as_it_is
        self._first: dict[bytes, int] = {}  # digest of a form -> id of the first candidate that had it

    def __repr__(self) -> str:
        return f"Distinct({getattr(self._form, '__qualname__', self._form)})"

    def new(self, batch: Batch, before: int) -> np.ndarray:
        """bool `[n]`: unlike every candidate with an id below `before`, and unlike the rows above."""
        if isinstance(batch.genome, np.ndarray):
            return np.ones(len(batch), bool)
        forms = [self._digest(genome) for genome in batch.genome]
        seen: set[bytes] = set()
        fresh = []
        for form in forms:
            fresh.append(self._first.get(form, before) >= before and form not in seen)
            seen.add(form)
        return np.array(fresh)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit."""
        if not isinstance(batch.genome, np.ndarray):
            for id, genome in zip(batch.id.tolist(), batch.genome, strict=True):
                self._first.setdefault(self._digest(genome), id)

    def _digest(self, genome: Any) -> bytes:
        return hashlib.sha256(self._form(genome).encode()).digest()


def _as_it_is(genome: Any) -> str:
    if isinstance(genome, str):
        return genome.strip()
    return genome.hex() if isinstance(genome, bytes) else to_json(genome)
