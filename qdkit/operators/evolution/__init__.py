"""Evolution strategies that follow improvements of an archive, as pure functions over arrays."""

from .emitters import Evolution, cma_mae
from .gradient_arborescence import GradientArborescence
from .pure_operator import Pure, check_traced, compute_once, evaluate_traced

__all__ = [
    "Evolution",
    "GradientArborescence",
    "Pure",
    "check_traced",
    "cma_mae",
    "compute_once",
    "evaluate_traced",
]
