"""Measures of a search: how much of the map is filled, and how different the candidates are.

- `archive_scores`: coverage, QD score, best and mean objective.
- `vendi_score`: the Vendi score of any order, and the Leinster–Cobbold diversity, from pairwise
  similarities; `hill_numbers`: the formula behind both.
- `labels`: Hill numbers, distinct kinds among K, NAUADC and entropy, from a label for each thing.
- `rarefaction`: any of these at equal n. They grow with n, so two sets can only be compared at the
  same n.
- `subsets`: the rows of a set that are most unlike each other, and the gain of a new row.
- `features`: a genome in numbers; `judge_noise`: what the errors of a judge do to an archive.

The conventions of the whole toolkit: objectives are maximised, coverage is a fraction of the
cells, and a floor is subtracted. For an empty set, a number of kinds is 0, and a mean or a share
is nan.
"""

from __future__ import annotations

from qdkit.metrics.archive_scores import (
    best_objective,
    coverage,
    mean_objective,
    occupied,
    qd_score,
)
from qdkit.metrics.labels import Entropy, distinct, distinctness, entropy, hill, nauadc, partition
from qdkit.metrics.rarefaction import Rarefied, draws, rarefied
from qdkit.metrics.subsets import gain, subset
from qdkit.metrics.vendi_score import cosine, leinster_cobbold, rbf, vendi, vendi_of

__all__ = [
    "Entropy",
    "Rarefied",
    "best_objective",
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
