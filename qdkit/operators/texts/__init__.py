"""New texts by a language model: by example, guided to a kind, along an axis, of two parents, several at once.

    LMX(model, "Here is a random poem:")          shows three elites that are neighbours
    Replace(model, "Here is a random poem:")      shows what an elite was made from, one of it replaced
    FewShot(model, "Here is a random poem:")      shows the seeds: a baseline
    Guided(model, scales)                         rewrites an elite as another kind
    Directional(model, scales)                    further along an axis
    Crossover(model), Several(model)              of two parents; a whole batch in one call

What is asked stands in the files beside them. `qdkit.operators.Rewrite` takes any prompt of one's own.
"""

from qdkit.operators.texts.few_shot import LMX, FewShot, Replace
from qdkit.operators.texts.kinds import Scale
from qdkit.operators.texts.varied import Crossover, Directional, Guided, Several

__all__ = ["LMX", "Crossover", "Directional", "FewShot", "Guided", "Replace", "Scale", "Several"]
