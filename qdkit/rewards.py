"""What an operator is paid for a candidate, so that a bandit can tell which of them pays.

A reward is a function of a batch, of what became of it (`Added`), and of the best objective among each
candidate's parents (float `[n]`, nan where none is known). It gives float `[n]`, from 0 upward:

    over_parent    max(0, f(x) - f(parent))                the better child
    over_cell      max(0, f(x) - f(elite of its cell))     what the archive gained; f(x) itself in an empty cell
    entered        1 if it entered the archive, else 0
    new_cell       1 if it entered an empty cell, else 0

nan where nobody is to blame (the outcomes infrastructure and skipped): no reward will come, and the pull is
taken back. Whatever else is not ok earns 0: a candidate that failed, took too long, or was known before cost its
turn. Gains are in the unit of the objective, which nobody knows, and they wane as an archive fills; bandits want
[0, 1]. `ranked` makes the one of the other, and leaves 0 and 1 as they are where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qdkit.elites import NEW, REJECTED, Added
from qdkit.types import Batch, Outcome

Reward = Callable[[Batch, Added, np.ndarray], np.ndarray]
Cost = Callable[[Batch], np.ndarray]

NOBODYS_FAULT = (Outcome.INFRASTRUCTURE, Outcome.SKIPPED)


def over_parent(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """By how much it is better than the best of its parents; 0 without a parent whose objective is known."""
    return _earned(batch, batch.objective - parents)


def over_cell(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """By how much it is better than the elite whose place it took; its objective, if above 0, where there was none."""
    return _earned(batch, np.where(_status(added) > REJECTED, np.asarray(added.value, np.float64), 0.0))


def entered(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """1 for a candidate that entered the archive."""
    return _earned(batch, _status(added) > REJECTED)


def new_cell(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """1 for a candidate that entered an empty cell."""
    return _earned(batch, _status(added) == NEW)


def ranked(gains: np.ndarray, recent: tuple[float, ...], window: int = 100) -> tuple[np.ndarray, tuple[float, ...]]:
    """Each of `gains` (float `[n]`) by its rank among those of late, and what is recent then.

    (1 + those of the last w = `window` gains above 0 that are no greater) / (1 + w), fewer than w at first; 0 for no
    gain, as most candidates have none and their rank would say nothing; nan stays. All monotone transformations of
    the objective are one to it, as to the ranks of Fialho, Schoenauer & Sebag (2010).
    """
    ranks = np.array(gains, np.float64)
    for i in np.flatnonzero(ranks > 0):
        gain = float(ranks[i])
        ranks[i] = (1 + sum(other <= gain for other in recent)) / (1 + len(recent))
        recent = (*recent, gain)[-window:]
    return ranks, recent


@dataclass(frozen=True)
class Dollars:
    """What each candidate cost: the dollars of its calls, as `notes["dollars"]` says, and `each` besides.

    each: what any candidate costs, as its evaluation does, so that one made without a model is not for nothing.

    Raises ValueError for a call whose price is unknown.
    """

    each: float = 0.001

    def __call__(self, batch: Batch) -> np.ndarray:
        calls = np.array([note.get("dollars", 0.0) for note in batch.notes], np.float64)  # None becomes nan
        unknown = np.isnan(calls) & ~np.isin(batch.outcome, NOBODYS_FAULT)
        if unknown.any():
            raise ValueError(
                f"{batch.origin[int(np.argmax(unknown))]!r} does not know what its calls cost: "
                "give prices=... to its LLM, or no cost to the portfolio"
            )
        return calls + self.each


def _earned(batch: Batch, gain: np.ndarray) -> np.ndarray:
    """The gain, if above 0; 0 for a candidate that is not ok, and nan where that is nobody's fault."""
    earned = np.where(batch.ok & (gain > 0), gain, 0.0)
    return np.where(np.isin(batch.outcome, NOBODYS_FAULT), np.nan, earned)


def _status(added: Added) -> np.ndarray:
    return np.asarray(added.status)
