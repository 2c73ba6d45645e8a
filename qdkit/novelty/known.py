"""What the filters share: the text of a genome, which candidates are remembered, and the notes of a verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from qdkit.plain import to_json
from qdkit.types import Batch, Genome, Outcome

Form = Callable[[Genome], str]
UNTRIED = (Outcome.SKIPPED, Outcome.INFRASTRUCTURE)  # nobody knows what these are worth: they may come again


def as_it_is(genome: Genome) -> str:
    """The genome itself as a text, spaces around it aside."""
    if isinstance(genome, str):
        return genome.strip()
    return genome.hex() if isinstance(genome, bytes) else to_json(genome)


def remembering(form: Form | None) -> Form:
    """`form`, or the genome as it is, with the last answers kept: each is asked for at its making, trial and commit."""
    if form is None:
        return as_it_is
    kept = lru_cache(1024)(lambda text: form(json.loads(text)))
    return lambda genome: form(genome) if isinstance(genome, bytes) else kept(to_json(genome))


def standing(batch: Batch) -> np.ndarray:
    """The rows of a commit that others are compared with: evaluated, and not themselves like another."""
    return np.flatnonzero(~np.isin(batch.outcome, [*UNTRIED, Outcome.REJECTED, Outcome.DUPLICATE]))


def name_of(part: Any) -> str:
    """A function by its name, the same in the next process; anything else by its repr."""
    return str(getattr(part, "__qualname__", repr(part)))


def nothing_against(batch: Batch) -> tuple[np.ndarray, list[Mapping[str, Any]]]:
    """What a verdict is before anything is compared: all are new, and nothing is noted."""
    return np.ones(len(batch), bool), [{}] * len(batch)


def numbers(batch: Batch) -> bool:
    """Whether the genomes are numbers, of which no two are the same and each pair is alike: all are new."""
    return isinstance(batch.genome, np.ndarray)


def rejected(stage: str, likeness: float, limit: float, nearest: Mapping[str, int]) -> dict[str, Any]:
    """What the note of a rejected row says."""
    return {"stage": stage, "likeness": max(limit, round(likeness, 4)), "limit": limit, **nearest}


def passed(stage: str, likeness: float) -> dict[str, Any]:
    """What the note of a row that passed says: how like it is to its nearest."""
    return {"passed": {stage: math.floor(likeness * 1e4) / 1e4}}  # down, so that it stays below the limit
