"""Rewards: what an operator earns with a candidate, from which a bandit learns.

A reward is a function of a batch, of what became of it (`Added`), and of the best objective among
each candidate's parents (float `[n]`, nan where none is known). It returns float `[n]`, 0 or more:

    over_parent    max(0, f(x) - f(parent))
    over_cell      max(0, f(x) - f(elite of its cell)), inf in an empty cell
    entered        1 if the candidate entered the archive, else 0
    new_cell       1 if the candidate entered an empty cell, else 0

The reward is nan for the outcomes infrastructure and skipped, which are not the operator's fault:
the bandit takes the pull back. A candidate with any other outcome than ok earns 0, whether it
failed, took too long or was a duplicate. Gains are in the unit of the objective and shrink as an
archive fills, while bandits expect rewards in [0, 1]: `ranked` converts them.

No reward here depends on the zero of the objective: if a·f + b replaces f, for any a > 0 and any
b, gains are multiplied by a and everything else stays, so `ranked` returns the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qdkit.core.elites import NEW, REJECTED, Added
from qdkit.core.types import Batch, Outcome

Reward = Callable[[Batch, Added, np.ndarray], np.ndarray]
CostFunction = Callable[[Batch], np.ndarray]

# Outcomes that are not the operator's fault.
UNREWARDED = (Outcome.INFRASTRUCTURE, Outcome.SKIPPED)


def over_parent(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """Returns by how much each candidate is better than the best of its parents.

    The reward is 0 without a parent whose objective is known.
    """
    return _earned(batch, batch.objective - parents)


def over_cell(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """Returns by how much each candidate beats the elite that it replaced; inf if there was none.

    The objective of the first elite of a cell is not a gain, since its size depends on where the
    objective has its zero. A new cell therefore counts for more than any improvement, as in CMA-ME
    (Fontaine et al. 2020), and all new cells count equally. In archives without cells, every
    candidate that enters has the status `NEW`, so that `ranked` treats this reward as `entered`.
    """
    status, gain = _status(added), np.asarray(added.value, np.float64)
    return _earned(batch, np.where(status == NEW, np.inf, np.where(status > REJECTED, gain, 0.0)))


def entered(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """Returns 1 for each candidate that entered the archive."""
    return _earned(batch, _status(added) > REJECTED)


def new_cell(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """Returns 1 for each candidate that entered an empty cell."""
    return _earned(batch, _status(added) == NEW)


def ranked(
    gains: np.ndarray, recent: tuple[float, ...], window: int = 100
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Returns the ranks of `gains` (float `[n]`) among recent gains, and the new recent gains.

    The rank is (1 + the number of the last w = `window` positive gains that are no greater) /
    (1 + w), with fewer than w gains at first. It is 0 for a gain of 0, since most candidates gain
    nothing and their rank would carry no information. nan stays nan. Ranks of gains are used as in
    Fialho, Schoenauer & Sebag (2010): any increasing transformation of the gains that keeps 0
    gives the same ranks, and so does a·f + b (a > 0) in place of an objective f, with the rewards
    of this module. Other increasing transformations of the objective change which of two gains is
    greater.
    """
    ranks = np.array(gains, np.float64)
    for i in np.flatnonzero(ranks > 0):
        gain = float(ranks[i])
        ranks[i] = (1 + sum(other <= gain for other in recent)) / (1 + len(recent))
        recent = (*recent, gain)[-window:]
    return ranks, recent


@dataclass(frozen=True)
class Dollars:
    """Returns each candidate's cost: the dollars of its calls in `notes["dollars"]`, plus `each`.

    each: the cost of any candidate, such as that of its evaluation, so that one made without a
      model is not free.

    Calling it raises ValueError for a candidate whose calls have an unknown price.
    """

    each: float = 0.001

    def __call__(self, batch: Batch) -> np.ndarray:
        # None, an unknown price, becomes nan.
        calls = np.array([note.get("dollars", 0.0) for note in batch.notes], np.float64)
        unknown = np.isnan(calls) & ~np.isin(batch.outcome, UNREWARDED)
        if unknown.any():
            raise ValueError(
                f"{batch.origin[int(np.argmax(unknown))]!r} does not know what its calls cost: "
                "give prices=... to its LLM, or no cost to the portfolio"
            )
        return calls + self.each


def _earned(batch: Batch, gain: np.ndarray) -> np.ndarray:
    """Returns the gain if it is above 0 and the candidate ok, else 0; nan if `UNREWARDED`."""
    earned = np.where(batch.ok & (gain > 0), gain, 0.0)
    return np.where(np.isin(batch.outcome, UNREWARDED), np.nan, earned)


def _status(added: Added) -> np.ndarray:
    return np.asarray(added.status)
