"""The archives of pyribs and of QDax, read and written; and ours under all that pyribs runs and draws.

    Scheduler(Ribs(Grid((50, 50), box), solution_dim=10), emitters)    our archive in a search of pyribs
    from_ribs(archive), to_ribs(search)                                an archive of pyribs as ours, and back
    from_qdax(repertoire), to_qdax(search)                             a repertoire of QDax as ours, and back

pyribs' emitters in our searches are operators: `qdkit.operators.Emitter`.
"""

from .face import Ribs
from .qdax import from_qdax, to_qdax
from .read import Read
from .ribs import from_ribs, to_ribs

__all__ = ["Read", "Ribs", "from_qdax", "from_ribs", "to_qdax", "to_ribs"]
