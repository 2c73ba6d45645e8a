"""A local optimiser as an operator: elites are perturbed and then optimised.

With an archive this is basin hopping from many points at once (Wales & Doye 1997 hop from one).
`results/packing` measures what the archive adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.core.types import Context, Key, Operator, Proposal

Improve = Callable[[np.ndarray], np.ndarray]
Shake = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Polish(Operator):
    """Proposes `improve(shake(random, elites))`.

    improve: a function from genomes `[n, ...]` to better ones of the same shape, without
      randomness; `scipy_minimise` makes one of any SciPy method.
    shake: a function from a numpy generator, made from the key, and genomes `[n, ...]` to genomes
      of the same shape; `gaussian_shake` makes the simplest one.
    """

    improve: Improve
    shake: Shake
    name: str = "polish"

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        """Returns `n` genomes from `n` elites.

        Raises ValueError if `improve` returns another shape.
        """
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        genomes = np.asarray(context.parents.genome)
        better = np.asarray(self.improve(self.shake(random, genomes)))
        if better.shape != genomes.shape:
            raise ValueError(
                f"improve takes genomes of shape {genomes.shape} and returns the same shape, "
                f"not {better.shape}"
            )
        return Proposal.of(better, self.name, context.parents)


def gaussian_shake(sigma: float) -> Shake:
    """Returns a `shake` that adds normal noise of standard deviation `sigma` to every number."""
    return lambda random, genomes: genomes + sigma * random.standard_normal(genomes.shape)


def scipy_minimise(function: Callable[[np.ndarray], Any], **options: Any) -> Improve:
    """Returns an `improve` that runs `scipy.optimize.minimize` from each genome.

    function: takes one flat genome and is minimised, so it is minus the objective.
    options: those of SciPy: `method`, `jac`, `bounds`, `constraints`, `tol`, `options`.
    """

    def improve(genomes: np.ndarray) -> np.ndarray:
        from scipy.optimize import minimize

        flat = genomes.reshape(len(genomes), -1)
        return np.stack([minimize(function, x, **options).x for x in flat]).reshape(genomes.shape)

    return improve


__all__ = ["Polish", "gaussian_shake", "scipy_minimise"]
