"""Which question comes next: a function that is handed in, and those that are taken where none is.

    choose(random, seen, replies, rater, many) -> the ids of `many` candidates, or None where there are too few

random: numpy's generator, the same for the same rater and number of replies. seen: the search or run as it is
now. replies: all that were given so far, by anyone (see `qdkit.judgements.standing`). For a triplet the first
id is the one that the other two are compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qdkit.judgements import Reply
from qdkit.plain import plain, to_json
from qdkit.seen import Seen

if TYPE_CHECKING:
    from qdkit.axes import Taught

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


def telling(
    random: np.random.Generator, seen: Seen, replies: Sequence[Reply], rater: str, many: int
) -> tuple[int, ...] | None:
    """Three elites on whose likeness the axes are least sure, that nobody was asked about; `spread` before a fit.

    See `qdkit.axes.questions.triplets`: where the ensemble of the axes disagrees, and the archive is dense.
    """
    axes = _taught(seen) if many == 3 else None
    pool = seen.pool if axes else None
    if axes is None or pool is None:
        return spread(random, seen, replies, rater, many)
    import jax

    from qdkit.axes import questions

    _, first = np.unique(pool.features, axis=0, return_index=True)  # those that look the same tell nothing
    ids = np.asarray(pool.id)[first]
    row = {id: place for place, id in enumerate(ids.tolist())}
    asked = [tuple(row[id] for id in reply.ids) for reply in replies if all(id in row for id in reply.ids)]
    key = jax.random.key(int(random.integers(2**31)))
    chosen = questions.triplets(key, np.asarray(pool.features)[first], 1, axes.gaps, asked)
    return tuple(ids[chosen[0]].tolist()) if len(chosen) else spread(random, seen, replies, rater, many)


def _taught(seen: Seen) -> Taught | None:
    """The axes of a search, or of a run on disk by their last event, if people have taught them."""
    from qdkit.axes import Taught

    last = [value["axes"] for _, kind, value in seen.ledger.events() if kind == "axes"][-1:]
    return Taught().with_plain(last[0]) if last and last[0].get("members") else None
