"""Operators that ask a language model for new texts.

    LMX(model, "Here is a random poem:")       shows three elites that are neighbours
    Replace(model, "Here is a random poem:")   shows an elite's examples, with one replaced
    FewShot(model, "Here is a random poem:")   shows three seeds, as a baseline
    Guided(model, scales)                      rewrites an elite as another kind of text
    Directional(model, scales)                 varies an elite along an axis
    Crossover(model)                           combines two elites
    Several(model)                             varies all elites of a batch in one call

The prompts are the templates beside these modules. `qdkit.operators.Rewrite` takes any prompt.
"""

from qdkit.operators.texts.few_shot import LMX, FewShot, Replace
from qdkit.operators.texts.kinds import Scale
from qdkit.operators.texts.variations import Crossover, Directional, Guided, Several

__all__ = ["LMX", "Crossover", "Directional", "FewShot", "Guided", "Replace", "Scale", "Several"]
