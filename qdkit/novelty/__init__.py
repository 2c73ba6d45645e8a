"""Novelty filters: they reject a proposal that is too similar to a known candidate.

Each filter is a plain object (see `qdkit.core.types.Filter`), and `Cascade` combines several, the
cheap ones first:

    novelty = Cascade([
        Distinct(),
        EditDistance(0.9),
        EmbeddingDistance(Embedder("MODEL"), cosine=0.97),
    ])
    qdkit.Search(..., steering=qdkit.Steering(novelty=novelty))

Novelty is decided twice. Before its evaluation, a proposal is compared with the candidates that
the search knew when its task started; at its commit, with those that were committed since. The
result therefore does not depend on which of two equal proposals came back first. What has a price
(the embeddings of a model, its opinion) is requested before the evaluation only; the commit
compares the stored results again. Of several candidates with one `form`, even if they are made at
the same time, only the first is ever evaluated: the search itself ensures this for every filter
that has a `form`.
"""

from qdkit.novelty.cascade import Cascade
from qdkit.novelty.distinct import Distinct
from qdkit.novelty.edits import EditDistance
from qdkit.novelty.embeddings import EmbeddingDistance
from qdkit.novelty.judge import NoveltyJudge
from qdkit.novelty.rouge import Rouge

__all__ = ["Cascade", "Distinct", "EditDistance", "EmbeddingDistance", "NoveltyJudge", "Rouge"]
