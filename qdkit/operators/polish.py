"""A local optimiser as an operator: elites are shaken, then taken to the optimum nearby.

With an archive behind it this is basin hopping from many places at once (Wales & Doye 1997 hop from
one); what the archive adds is measured in `results/packing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.types import Context, Key, Operator, Proposal

Improve = Callable[[np.ndarray], np.ndarray]
Shake = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Polish(Operator):
    """Proposes `improve(shake(random, elites))`.

    improve: from genomes `[n, ...]` to better ones of the same shape; `scipy_minimise` makes one of
      any SciPy method. It draws no random numbers.
    shake: from a numpy generator, made from the key, and genomes to genomes `[n, ...]`;
      `gaussian_shake` makes the plainest one.
    """

    improve: Improve
    shake: Shake
    name: str = "polish"

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        """`n` genomes from `n` elites. Raises ValueError if `improve` gives another shape."""
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        genomes = np.asarray(context.parents.genome)
        better = np.asarray(self.improve(self.shake(random, genomes)))
        if better.shape != genomes.shape:
            raise ValueError(
                f"improve takes genomes of shape {genomes.shape} and gives the same shape back, not {better.shape}"
            )
        return Proposal.of(better, self.name, context.parents)


def gaussian_shake(sigma: float) -> Shake:
    """Normal noise of standard deviation `sigma`, added to every number."""
    return lambda random, genomes: genomes + sigma * random.standard_normal(genomes.shape)


def scipy_minimise(function: Callable[[np.ndarray], Any], **options: Any) -> Improve:
    """An `improve` that runs `scipy.optimize.minimize(function, genome, **options)` from each genome.

    `function` takes one flat genome, and is minimised: give minus the objective. The options are
    SciPy's: `method`, `jac`, `bounds`, `constraints`, `tol`, `options`.
    """

    def improve(genomes: np.ndarray) -> np.ndarray:
        from scipy.optimize import minimize

        flat = genomes.reshape(len(genomes), -1)
        return np.stack([minimize(function, x, **options).x for x in flat]).reshape(genomes.shape)

    return improve


__all__ = ["Polish", "gaussian_shake", "scipy_minimise"]
