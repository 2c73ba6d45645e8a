"""Axes learnt from people's judgements of what is more like what (QDHF, Ding et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from qdkit.core.types import Batch, Key

from .bounds import Bounds, box, outside
from .ensemble import Fit, Layers, apply_layers, fit_ensemble, init_layers, triplet_distances
from .ok_candidates import OkCandidates
from .projection import Projection, component_scaling, procrustes
from .triplets import Triplets, rows_of, triplets, variants

_Change = Callable[[np.ndarray], np.ndarray]
_DEFAULT_FIT, _AROUND_ALL = Fit(), Bounds()


@dataclass(frozen=True, eq=False)
class TripletAxes:
    """Places in the unit box, by a map of the features that is fitted to triplets.

    An archive on these axes has bounds of 0 and 1.

    dimensions: the number of axes.
    fit: how the map is fitted (see `Fit`).
    bounds: the box of the map that the archive covers (see `Bounds`).
    each: the number of new judgements after which there is a new fit.
    same: changes of the features of all three candidates of a question that do not change the
      answer, each a function of `[n, f]`: known facts about the domain that need not be asked.
    warm: whether a fit begins with the result of the last one.

    Before anything is known, all candidates are in the middle of the box. Before there are
    judgements, the axes are the principal components. `accuracy` shows how far to trust the axes,
    and whether more answers would help.
    """

    dimensions: int = 2
    fit: Fit = _DEFAULT_FIT
    bounds: Bounds = _AROUND_ALL
    each: int = 10
    same: tuple[_Change, ...] = ()
    warm: bool = False
    at: Projection | None = None
    # The ensemble, each part with a leading axis of members; empty before the first fit.
    members: Layers = ()
    heard: int = 0  # the number of judgements that it was fitted to
    accuracy: float = np.nan

    def __call__(self, batch: Batch) -> np.ndarray:
        """Returns float64 `[n, d]`, from the features of the batch."""
        if self.at is None:
            return np.full((len(batch), self.dimensions), 0.5)
        return self.at(batch.features)

    def learn(self, key: Key, known: OkCandidates, replies: Sequence[Any]) -> TripletAxes:
        """Returns the axes after these replies; `self` if there is no reason to change.

        `accuracy` is then that on held-out judgements about elites, nan if there are none.
        """
        if len(known.id) < 2:
            return self
        judgements = triplets(replies)
        rows = rows_of(judgements.ids, known.id)
        there = (rows >= 0).all(1)
        judgements, rows = Triplets(judgements.ids[there], judgements.reply[there]), rows[there]
        if len(judgements) - self.heard < self.each:
            return self._initial(known) if self.at is None else self._widened(known)
        return self._fitted(key, known, rows)

    @property
    def plain(self) -> dict[str, Any]:
        """The learnt state as JSON values."""
        members = [[np.asarray(part).tolist() for part in layer] for layer in self.members]
        accuracy = None if np.isnan(self.accuracy) else self.accuracy
        at = self.at.plain if self.at else None
        return {"at": at, "members": members, "heard": self.heard, "accuracy": accuracy}

    def with_plain(self, plain: Mapping[str, Any]) -> TripletAxes:
        """Returns these axes with the learnt state `plain`."""
        members = tuple(
            (np.array(weights), np.array(shifts)) for weights, shifts in plain["members"]
        )
        accuracy = np.nan if plain["accuracy"] is None else plain["accuracy"]
        at = Projection.of(plain["at"]) if plain["at"] else None
        return replace(self, at=at, members=members, heard=plain["heard"], accuracy=accuracy)

    def gaps(self, x: np.ndarray) -> np.ndarray:
        """Returns float `[k, m]`: the gap of triplets `x`, float `[m, 3, f]`, by each member.

        It is the squared distance to the third less that to the second, in units of the logistic
        loss. Without members there are no rows.
        """
        x = np.asarray(x, np.float32)
        distances = [triplet_distances(member, x) for member in _list_members(self.members)]
        return np.array([far - near for near, far in distances]).reshape(-1, len(x))

    def _initial(self, known: OkCandidates) -> TripletAxes:
        """Returns the axes before any judgement: the principal components of the candidates."""
        centre, scale = component_scaling(known.elite_features)
        weights = _columns(scale, self.dimensions)
        return self._boxed(((weights, -centre @ weights),), known)

    def _widened(self, known: OkCandidates) -> TripletAxes:
        """Returns the axes with a wider box if too much lies outside of this one, else `self`."""
        if self.at is None or self.bounds.grow is None:
            return self
        places = self.at.places(known.features)
        if outside(places, self.at.low, self.at.high) <= self.bounds.grow:
            return self
        low, high = box(places)
        at = self.at._replace(
            low=np.minimum(low, self.at.low), high=np.maximum(high, self.at.high)
        )
        return replace(self, at=at)

    def _fitted(self, key: Key, known: OkCandidates, rows: np.ndarray) -> TripletAxes:
        """Returns the axes after a fit to all triplets, `rows` `[m, 3]` of `known`."""
        around = variants(known.elite_features, self.same)
        centre, scale = component_scaling(around.reshape(-1, around.shape[-1]))
        x = np.moveaxis((variants(known.features[rows], self.same) - centre) @ scale, 0, 1)
        members, held = fit_ensemble(key, self.fit, self._start(key, centre, scale), x)
        plain_x = np.float32(x[:, 0])
        right = np.array(
            [np.less(*triplet_distances(member, plain_x)) for member in _list_members(members)]
        )
        counted = held & known.elite[rows].all(1)
        counted = counted if counted.any() else held
        accuracy = float(right[counted].mean()) if counted.any() else np.nan
        members = _unscaled(members, centre, scale)
        layers = _best(members, right, held) if self.fit.hidden else merge_linear_maps(members)
        axes = replace(self, members=members, heard=len(rows), accuracy=accuracy)
        return axes._boxed(layers, known)

    def _start(self, key: Key, centre: np.ndarray, scale: np.ndarray) -> Layers:
        """Returns the first parameters of the members, as maps of scaled features."""
        if self.warm and self.members:
            (weights, shifts), *rest = self.members
            first = np.linalg.pinv(scale) @ weights, shifts + centre @ weights
            return jax.tree.map(np.float32, (first, *rest))
        keys = jax.random.split(jax.random.fold_in(key, 1), self.fit.members)
        start = lambda key: init_layers(key, self.fit, scale.shape[1], self.dimensions)
        return jax.vmap(start)(keys)

    def _boxed(self, layers: Layers, known: OkCandidates) -> TripletAxes:
        """Returns the axes with `layers`, turned to lie as the last map did, and a new box."""
        elites = known.elite_features
        places = apply_layers(layers, elites)
        if self.at is not None:
            turn = procrustes(places, self.at.places(elites))
        else:
            centred, full = places - places.mean(0), len(places) < self.dimensions
            turn = np.linalg.svd(centred, full_matrices=full)[2].T
        *rest, (weights, shifts) = layers
        at = Projection((*rest, (weights @ turn, shifts @ turn)), np.zeros(0), np.zeros(0))
        low, high = box(
            at.places(self.bounds.around(known.features, known.elite)), self.bounds.cut
        )
        return replace(self, at=at._replace(low=low, high=high))


def _list_members(members: Layers) -> list[Layers]:
    """Returns the members of an ensemble as a list; an empty one has none."""
    count = len(members[0][0]) if members else 0
    return [
        tuple((np.asarray(weights[k]), np.asarray(shifts[k])) for weights, shifts in members)
        for k in range(count)
    ]


def merge_linear_maps(members: Layers) -> Layers:
    """Returns one linear map for an ensemble of them.

    It has the leading axes of the mean of their metrics, each of trace one. Maps that differ by a
    rotation alone have the same metric, so the maps themselves cannot be averaged.
    """
    weights = np.asarray(members[0][0], np.float64)
    d = weights.shape[-1]
    metric = weights @ weights.transpose(0, 2, 1)
    trace = np.maximum(np.trace(metric, axis1=1, axis2=2), 1e-12)
    metric = (metric / trace[:, None, None]).mean(0)
    size, axes = np.linalg.eigh(metric)
    scaled_axes = axes[:, ::-1] * np.sqrt(np.maximum(size[::-1], 0))
    return ((_columns(scaled_axes, d), np.zeros(d)),)


def _best(members: Layers, right: np.ndarray, held: np.ndarray) -> Layers:
    """Returns the member with the best accuracy on its held-out judgements.

    If some member held out none, all judgements count.
    """
    counted = held if held.any(1).all() else np.ones_like(held)
    best = int(np.argmax((right & counted).sum(1) / np.maximum(counted.sum(1), 1)))
    return _list_members(members)[best]


def _unscaled(members: Layers, centre: np.ndarray, scale: np.ndarray) -> Layers:
    """Returns the members as maps of features that are not scaled."""
    (weights, shifts), *rest = jax.tree.map(lambda part: np.asarray(part, np.float64), members)
    weights = scale @ weights
    return (weights, shifts - centre @ weights), *rest


def _columns(matrix: np.ndarray, d: int) -> np.ndarray:
    """Returns the first `d` columns, with zeros where there are fewer."""
    return np.pad(matrix[:, :d], ((0, 0), (0, max(0, d - matrix.shape[1]))))
