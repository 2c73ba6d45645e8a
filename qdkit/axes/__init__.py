"""Axes that are learnt: from what people call alike, or from the candidates alone.

    search = Search(PosedArm(), Grid((50, 50), ((0, 1), (0, 1))), Gaussian(0.1),
                    axes=Taught(), replies=Asking(person, n=25, at=(1, 101, 251, 501)))

Axes that learn are values: `learn` gives new ones, and the archive is then filled anew with every
candidate of the run (see `qdkit.remap`). `Taught` hears triplets; `Principal` and `Encoded` need nobody
(AURORA), nor does `Taxons`, which also says what surprises it. `questions` chooses what to ask next, and
`Asking` puts it to a person or a model meanwhile.
"""

from .asking import Answered, Asking
from .bounds import Bounds, box, outside
from .fits import Fit
from .known import Known
from .projection import Projection
from .taught import Taught
from .taxons import Taxons
from .triplets import Triplets, agreement, triplets
from .untaught import Encoded, Principal

__all__ = [
    "Answered",
    "Asking",
    "Bounds",
    "Encoded",
    "Fit",
    "Known",
    "Principal",
    "Projection",
    "Taught",
    "Taxons",
    "Triplets",
    "agreement",
    "box",
    "outside",
    "triplets",
]
