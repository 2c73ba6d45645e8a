"""Quality learnt from people, from which of two things they prefer.

`Comparisons` are their answers as plain arrays; `compared` makes them from the replies in a store.
`taste` fits one taste to them (Bradley–Terry on features, or on marks for named criteria), and
`tastes` one for each of a few groups of raters who disagree. `Preferred` makes a judge of either,
and `held_out` measures how far to trust it.

    comparisons, ids = compared(replies)
    fit = tastes(comparisons, features_of(ids))
    # One map of what no group dislikes:
    Search(domain, archive, operator, judge=Preferred(fit, by="worst"))
    # Or one map for each group:
    [Search(domain, archive, operator, judge=judge) for judge in for_each_group(fit)]

Fits are never changed: after more replies, fit again. Nothing here asks people, reads a clock or
writes a file.
"""

from .bradley_terry import Taste, taste
from .comparisons import Comparisons, compared, odd_one_out, ranking_pairs
from .held_out_comparisons import RaterGroup, accuracy, by_group, held_out
from .mixture import Tastes, tastes
from .preferred import Criteria, Preferred, for_each_group

__all__ = [
    "Comparisons",
    "Criteria",
    "Preferred",
    "RaterGroup",
    "Taste",
    "Tastes",
    "accuracy",
    "by_group",
    "compared",
    "for_each_group",
    "held_out",
    "odd_one_out",
    "ranking_pairs",
    "taste",
    "tastes",
]
