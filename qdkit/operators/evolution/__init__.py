"""Evolution strategies that follow what is new in the archive, many at once, as pure functions over arrays."""

from .arborescence import Arborescence
from .emitters import Evolution, cma_mae
from .pure import Pure, apart, measured

__all__ = ["Arborescence", "Evolution", "Pure", "apart", "cma_mae", "measured"]
