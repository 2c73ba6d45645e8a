"""Archives of pyribs and of QDax: reading, writing, and our archives in place of those of pyribs.

    # Our archive in a search of pyribs:
    Scheduler(Ribs(Grid((50, 50), box), solution_dim=10), emitters)
    # An archive of pyribs as ours, and back:
    from_ribs(archive), to_ribs(search)
    # A repertoire of QDax as ours, and back:
    from_qdax(repertoire), to_qdax(search)

The emitters of pyribs are operators in our searches: `qdkit.operators.Emitter`.
"""

from .conversion import ImportedArchive
from .qdax import from_qdax, to_qdax
from .ribs import from_ribs, to_ribs
from .ribs_archive import Ribs

__all__ = ["ImportedArchive", "Ribs", "from_qdax", "from_ribs", "to_qdax", "to_ribs"]
