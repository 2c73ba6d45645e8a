"""Axes that are learnt: from people's judgements of likeness, or from the candidates alone.

    questions = TripletQuestions(person, n=25, at=(1, 101, 251, 501))
    search = Search(PosedArm(), Grid((50, 50), ((0, 1), (0, 1))), Gaussian(0.1),
                    axes=TripletAxes(), replies=questions)

Axes that learn are immutable: `learn` returns new ones, and the archive is then filled again with
every candidate of the run (see `qdkit.search.relearning`). `TripletAxes` learn from triplets;
`PrincipalAxes` and `AutoencoderAxes` need no answers (AURORA), and neither do `TaxonsAxes`, which
also measure surprise. `questions` chooses what to ask next, and `TripletQuestions` asks a person
or a model during the search.
"""

from .bounds import Bounds, box, outside
from .ensemble import Fit
from .ok_candidates import OkCandidates
from .projection import Projection
from .taxons import TaxonsAxes
from .triplet_axes import TripletAxes
from .triplet_questions import Answered, TripletQuestions
from .triplets import Triplets, agreement, triplets
from .unsupervised import AutoencoderAxes, PrincipalAxes

__all__ = [
    "Answered",
    "AutoencoderAxes",
    "Bounds",
    "Fit",
    "OkCandidates",
    "PrincipalAxes",
    "Projection",
    "TaxonsAxes",
    "TripletAxes",
    "TripletQuestions",
    "Triplets",
    "agreement",
    "box",
    "outside",
    "triplets",
]
