"""Selects the candidates of the next question, with a function of the user or one of these.

    choose(random, view, replies, rater, count) -> the ids of `count` candidates, or None where
    there are too few

random: a generator of numpy, the same for the same rater and number of replies.
view: the search or run in its current state.
replies: all replies so far, of all raters (see `qdkit.runs.judgements.without_withdrawn`).
count: the number of candidates. For a triplet the first id is the anchor, with which the other two
  are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qdkit.core.jsonable import nan_as_none, to_json
from qdkit.core.run_files import DamagedRun
from qdkit.runs.judgements import Reply
from qdkit.runs.view import RunView

if TYPE_CHECKING:
    from qdkit.axes import TripletAxes

Choose = Callable[
    [np.random.Generator, RunView, Sequence[Reply], str, int], tuple[int, ...] | None
]

_LEAST_SEEN = 16  # the elites among which `spread` looks for different ones


def spread(
    random: np.random.Generator, view: RunView, replies: Sequence[Reply], rater: str, count: int
) -> tuple[int, ...] | None:
    """Returns elites with different genomes that the raters saw least often.

    Elites that this rater saw least often come first, then those that all raters did.
    """
    elites = view.elites
    ids = np.asarray(elites.payload["id"])[np.asarray(elites.occupied)]
    own_counts = Counter(id for reply in replies if reply.rater == rater for id in reply.ids)
    all_counts = Counter(id for reply in replies for id in reply.ids)
    times_seen = lambda counts: np.array([counts[id] for id in ids.tolist()])
    order = np.lexsort((random.random(len(ids)), times_seen(all_counts), times_seen(own_counts)))
    least_seen = order[:_LEAST_SEEN]
    if len(least_seen) < count:
        return None
    different: dict[str, int] = {}  # the first id of each genome
    for id in ids[least_seen].tolist():
        genome = view.genome(id)
        text = genome.hex() if isinstance(genome, bytes) else to_json(nan_as_none(genome))
        different.setdefault(text, id)
    chosen = [*different.values()][:count]
    return tuple(random.permutation(chosen).tolist()) if len(chosen) == count else None


def telling(
    random: np.random.Generator, view: RunView, replies: Sequence[Reply], rater: str, count: int
) -> tuple[int, ...] | None:
    """Returns three elites on whose similarity the axes are least certain, for a new question.

    See `qdkit.axes.questions.choose_triplets`: these are elites on which the ensemble of the axes
    disagrees, in dense regions of the archive. Returns what `spread` does where the axes have not
    been fitted to triplets, for another `count`, and where no new triplet is left.
    """
    axes = _triplet_axes(view) if count == 3 else None
    pool = view.pool if axes else None
    if axes is None or pool is None:
        return spread(random, view, replies, rater, count)
    import jax

    from qdkit.axes import questions

    # Candidates with equal features tell nothing about each other.
    _, first = np.unique(pool.features, axis=0, return_index=True)
    ids = np.asarray(pool.id)[first]
    row = {id: index for index, id in enumerate(ids.tolist())}
    earlier = [
        tuple(row[id] for id in reply.ids)
        for reply in replies
        if all(id in row for id in reply.ids)
    ]
    key = jax.random.key(int(random.integers(2**31)))
    chosen = questions.choose_triplets(
        key, np.asarray(pool.features)[first], 1, axes.gaps, earlier
    )
    if not len(chosen):
        return spread(random, view, replies, rater, count)
    return tuple(ids[chosen[0]].tolist())


def _triplet_axes(view: RunView) -> TripletAxes | None:
    """Returns the axes in the last event of a run; None if they are not fitted to triplets."""
    from qdkit.axes import TripletAxes

    last = [value["axes"] for _, kind, value in view.ledger.events() if kind == "axes"][-1:]
    try:
        return TripletAxes().with_plain(last[0]) if last and last[0].get("members") else None
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedRun(
            f"{view.ledger.path}: what its axes learnt is not as it was written: {error}"
        ) from None
