"""What the filters share: texts of genomes, candidates to remember, notes of a verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from qdkit.core.jsonable import to_json
from qdkit.core.types import Batch, Genome, Outcome

FormOf = Callable[[Genome], str]

# Outcomes that say nothing about a candidate: it may be proposed again.
UNTRIED = (Outcome.SKIPPED, Outcome.INFRASTRUCTURE)


def as_it_is(genome: Genome) -> str:
    """Returns the genome itself as a text, without surrounding whitespace."""
    if isinstance(genome, str):
        return genome.strip()
    return genome.hex() if isinstance(genome, bytes) else to_json(genome)


def cached_form(form: FormOf | None) -> FormOf:
    """Returns `form` with a cache of its last 1,024 results; `as_it_is` for None.

    Each form is needed when a candidate is made, before its evaluation and at its commit.
    """
    if form is None:
        return as_it_is
    cached = lru_cache(1024)(lambda text: form(json.loads(text)))
    return lambda genome: form(genome) if isinstance(genome, bytes) else cached(to_json(genome))


def rows_to_remember(batch: Batch) -> np.ndarray:
    """Returns the rows of a commit that later candidates are compared with.

    These are the candidates that were evaluated and were not rejected as similar to another one.
    """
    return np.flatnonzero(~np.isin(batch.outcome, [*UNTRIED, Outcome.REJECTED, Outcome.DUPLICATE]))


def stable_name(part: Any) -> str:
    """Returns the name of a function, else the repr: the same text in the next process."""
    return str(getattr(part, "__qualname__", repr(part)))


def all_new(batch: Batch) -> tuple[np.ndarray, list[Mapping[str, Any]]]:
    """Returns the verdict before any comparison: every row is new and has an empty note."""
    return np.ones(len(batch), bool), [{}] * len(batch)


def genomes_are_numbers(batch: Batch) -> bool:
    """Whether the genomes are arrays of numbers, all of which count as new.

    No two of them are equal, and the text measures would call all of them similar.
    """
    return isinstance(batch.genome, np.ndarray)


def rejected_note(
    stage: str, likeness: float, limit: float, nearest: Mapping[str, int]
) -> dict[str, Any]:
    """Returns the note of a rejected row; `nearest` is its id or its row."""
    return {"stage": stage, "likeness": max(limit, round(likeness, 4)), "limit": limit, **nearest}


def passed_note(stage: str, likeness: float) -> dict[str, Any]:
    """Returns the note of an accepted row: its likeness to the nearest one."""
    # Rounded down, so that it stays below the limit.
    return {"passed": {stage: math.floor(likeness * 1e4) / 1e4}}
