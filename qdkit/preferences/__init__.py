"""Quality learnt from people: what is better, from which of two things they prefer.

`Comparisons` are what they said, as plain arrays; `compared` makes them of the replies in a store. `taste` fits one
taste to them (Bradley–Terry on features, or on marks for named criteria), `tastes` one for each of a few groups
of raters who disagree. `Preferred` makes a judge of either, and `held_out` says how far to trust it.

    said, ids = compared(replies)
    found = tastes(said, features_of(ids))
    Search(domain, archive, operator, judge=Preferred(found, by="worst"))                 # what nobody dislikes
    [Search(domain, archive, operator, judge=judge) for judge in for_each_group(found)]   # or one map for each group

Fits are never changed: after more replies, fit again. Nothing here asks anybody, reads a clock or writes a file.
"""

from .bradley_terry import Taste, taste
from .comparisons import Comparisons, compared, odd_one_out, ranked
from .held_out import Group, accuracy, by_group, held_out
from .mixture import Tastes, tastes
from .preferred import Criteria, Preferred, for_each_group

__all__ = [
    "Comparisons",
    "Criteria",
    "Group",
    "Preferred",
    "Taste",
    "Tastes",
    "accuracy",
    "by_group",
    "compared",
    "for_each_group",
    "held_out",
    "odd_one_out",
    "ranked",
    "taste",
    "tastes",
]
