"""What is new: proposals too like a known candidate are rejected before anything is spent on them.

Each filter is a plain object (see `qdkit.types.Filter`), and `Cascade` is several, the cheap ones first:

    novelty = Cascade([Distinct(), EditDistance(0.9), Unlike(Embedder("MODEL"), cosine=0.97)])
    qdkit.Search(..., novelty=novelty)

Novelty is decided twice, in order. Before its evaluation a proposal is held against what the search
knew when its task started; at its commit, against what came meanwhile. So it does not matter which
of two equal ones was answered sooner. What has a price (a model's embeddings, its opinion) is asked
before the evaluation only; at the commit the answers of then are compared again. And of two
candidates of one `form`, also if they are made at the same time, only the first is ever evaluated:
the search sees to that by itself, for every filter that has a `form`.
"""

from qdkit.novelty.asked import Asked
from qdkit.novelty.cascade import Cascade
from qdkit.novelty.distinct import Distinct
from qdkit.novelty.edits import EditDistance
from qdkit.novelty.rouge import Rouge
from qdkit.novelty.unlike import Unlike

__all__ = ["Asked", "Cascade", "Distinct", "EditDistance", "Rouge", "Unlike"]
