"""Which question comes next: a function that is handed in, and the one that is taken where none is.

    choose(random, seen, replies, rater, many) -> the ids of `many` candidates, or None where there are too few

random: numpy's generator, the same for the same rater and number of replies. seen: the search or run as it is
now. replies: all that were given so far, by anyone (see `qdkit.judgements.standing`). For a triplet the first
id is the one that the other two are compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from qdkit.judgements import Reply
from qdkit.plain import plain, to_json
from qdkit.seen import Seen

Choose = Callable[[np.random.Generator, Seen, Sequence[Reply], str, int], tuple[int, ...] | None]

LOOKED = 16  # elites that are looked at for so many different ones


def spread(
    random: np.random.Generator, seen: Seen, replies: Sequence[Reply], rater: str, many: int
) -> tuple[int, ...] | None:
    """Elites that look different from each other, those first that this rater, and then anyone, saw least often."""
    elites = seen.elites
    ids = np.asarray(elites.payload["id"])[np.asarray(elites.occupied)]
    mine = Counter(id for reply in replies if reply.rater == rater for id in reply.ids)
    all_of_us = Counter(id for reply in replies for id in reply.ids)
    often = lambda counts: np.array([counts[id] for id in ids.tolist()])
    first = np.lexsort((random.random(len(ids)), often(all_of_us), often(mine)))[:LOOKED]
    if len(first) < many:
        return None
    different: dict[str, int] = {}
    for id in ids[first].tolist():
        genome = seen.genome(id)
        different.setdefault(genome.hex() if isinstance(genome, bytes) else to_json(plain(genome)), id)
    chosen = [*different.values()][:many]
    return tuple(random.permutation(chosen).tolist()) if len(chosen) == many else None
