"""Numbers that say how a search fares: how much of the map is filled, and how different the candidates are.

- `elites`: coverage, QD score, best and mean objective.
- `similarity`: the Vendi score of any order, and the Leinster–Cobbold diversity, from how alike things are.
- `labels`: Hill numbers, distinct kinds among K, NAUADC and entropy, from which kind each thing is of.
- `rarefaction`: any of these at equal n. They grow with n, so two sets are compared at the same n alone.
- `chosen`: the rows of a set that are most unlike each other, and what a new one would add.

The conventions of the whole toolkit: objectives are maximised, coverage is a fraction of the cells,
and a floor is subtracted. What counts kinds gives 0 for nothing; what is a mean or a share gives nan.
"""

from __future__ import annotations

from qdkit.metrics.chosen import gain, subset
from qdkit.metrics.elites import best, coverage, mean_objective, occupied, qd_score
from qdkit.metrics.labels import Entropy, distinct, distinctness, entropy, hill, nauadc, partition
from qdkit.metrics.rarefaction import Rarefied, draws, rarefied
from qdkit.metrics.similarity import cosine, leinster_cobbold, rbf, vendi, vendi_of

__all__ = [
    "Entropy",
    "Rarefied",
    "best",
    "cosine",
    "coverage",
    "distinct",
    "distinctness",
    "draws",
    "entropy",
    "gain",
    "hill",
    "leinster_cobbold",
    "mean_objective",
    "nauadc",
    "occupied",
    "partition",
    "qd_score",
    "rarefied",
    "rbf",
    "subset",
    "vendi",
    "vendi_of",
]
