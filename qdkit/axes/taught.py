"""Axes that people teach by saying what is more like what (QDHF, Ding et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from qdkit.types import Batch, Key

from .bounds import Bounds, box, outside
from .fits import Fit, Layers, begun, distances, fitted, mapped
from .known import Known
from .projection import Projection, scaling, turned
from .triplets import Triplets, among, triplets, variants

Change = Callable[[np.ndarray], np.ndarray]
USUAL, AROUND_ALL = Fit(), Bounds()


@dataclass(frozen=True, eq=False)
class Taught:
    """Places in the unit box, by a map of the features that triplets teach; an archive has bounds of 0 and 1.

    dimensions: how many axes.
    fit: how the map is fitted (see `Fit`).
    bounds: which box of the map the archive covers (see `Bounds`).
    each: how many new judgements it takes for a new fit.
    same: what may be done to the features of all three candidates of a question without a change of the
      answer, each a function of `[n, f]`: what is known of the domain, and need not be asked.
    warm: whether a fit begins where the last one ended, and not anew.

    Before anything is known, everybody is in the middle of the box. Before anything is said, axes are
    the principal components. `accuracy` tells how far to trust them, and whether more answers would help.
    """

    dimensions: int = 2
    fit: Fit = USUAL
    bounds: Bounds = AROUND_ALL
    each: int = 10
    same: tuple[Change, ...] = ()
    warm: bool = False
    at: Projection | None = None
    members: Layers = ()  # the ensemble, each part with a leading axis; nobody before the first fit
    heard: int = 0  # how many judgements it was fitted to
    accuracy: float = np.nan

    def __call__(self, batch: Batch) -> np.ndarray:
        """float64 `[n, d]`, from the features of the batch."""
        if self.at is None:
            return np.full((len(batch), self.dimensions), 0.5)
        return self.at(batch.features)

    def learn(self, key: Key, known: Known, replies: Sequence[Any]) -> Taught:
        """The axes after these replies; `self` where nothing has come that makes it worthwhile.

        `accuracy` is then that on judgements about elites which a member did not hear of, nan for none.
        """
        if len(known.id) < 2:
            return self
        said = triplets(replies)
        rows = among(said.ids, known.id)
        there = (rows >= 0).all(1)
        said, rows = Triplets(said.ids[there], said.reply[there]), rows[there]
        if len(said) - self.heard < self.each:
            return self._begun(known) if self.at is None else self._widened(known)
        return self._fitted(key, known, rows)

    @property
    def plain(self) -> dict[str, Any]:
        """What was learnt, as JSON holds it: `with_plain` gives the same axes back."""
        members = [[np.asarray(part).tolist() for part in layer] for layer in self.members]
        accuracy = None if np.isnan(self.accuracy) else self.accuracy
        at = self.at.plain if self.at else None
        return {"at": at, "members": members, "heard": self.heard, "accuracy": accuracy}

    def with_plain(self, plain: Mapping[str, Any]) -> Taught:
        """These axes after having learnt what `plain` holds."""
        members = tuple((np.array(weights), np.array(shifts)) for weights, shifts in plain["members"])
        accuracy = np.nan if plain["accuracy"] is None else plain["accuracy"]
        at = Projection.of(plain["at"]) if plain["at"] else None
        return replace(self, at=at, members=members, heard=plain["heard"], accuracy=accuracy)

    def gaps(self, x: np.ndarray) -> np.ndarray:
        """float `[k, m]`: by how much farther each member finds the third of `x` `[m, 3, f]` than the second.

        In units of the logistic loss; no members, no rows.
        """
        said = [distances(member, np.asarray(x, np.float32)) for member in each(self.members)]
        return np.array([far - near for near, far in said]).reshape(-1, len(x))

    def _begun(self, known: Known) -> Taught:
        """Before anything was said: the principal components of the candidates."""
        centre, scale = scaling(known.some)
        weights = _wide(scale, self.dimensions)
        return self._boxed(((weights, -centre @ weights),), known)

    def _widened(self, known: Known) -> Taught:
        """With a wider box, where too much lies outside of this one."""
        if self.at is None or self.bounds.grow is None:
            return self
        places = self.at.places(known.features)
        if outside(places, self.at.low, self.at.high) <= self.bounds.grow:
            return self
        low, high = box(places)
        at = self.at._replace(low=np.minimum(low, self.at.low), high=np.maximum(high, self.at.high))
        return replace(self, at=at)

    def _fitted(self, key: Key, known: Known, rows: np.ndarray) -> Taught:
        """After a fit to all triplets, `rows` `[m, 3]` of what is known."""
        around = variants(known.some, self.same)
        centre, scale = scaling(around.reshape(-1, around.shape[-1]))
        x = np.moveaxis((variants(known.features[rows], self.same) - centre) @ scale, 0, 1)
        members, held = fitted(key, self.fit, self._start(key, centre, scale), x)
        right = np.array([np.less(*distances(member, np.float32(x[:, 0]))) for member in each(members)])
        counted = held & known.elite[rows].all(1)
        counted = counted if counted.any() else held
        accuracy = float(right[counted].mean()) if counted.any() else np.nan
        members = _before(members, centre, scale)
        layers = _best(members, right, held) if self.fit.hidden else merged(members)
        return replace(self, members=members, heard=len(rows), accuracy=accuracy)._boxed(layers, known)

    def _start(self, key: Key, centre: np.ndarray, scale: np.ndarray) -> Layers:
        """What the members begin with, as maps of scaled features."""
        if self.warm and self.members:
            (weights, shifts), *rest = self.members
            first = np.linalg.pinv(scale) @ weights, shifts + centre @ weights
            return jax.tree.map(np.float32, (first, *rest))
        keys = jax.random.split(jax.random.fold_in(key, 1), self.fit.members)
        return jax.vmap(lambda key: begun(key, self.fit, scale.shape[1], self.dimensions))(keys)

    def _boxed(self, layers: Layers, known: Known) -> Taught:
        """With `layers`, turned to lie as the last map did, and a box around them."""
        places = mapped(layers, known.some)
        if self.at is not None:
            turn = turned(places, self.at.places(known.some))
        else:
            turn = np.linalg.svd(places - places.mean(0), full_matrices=len(places) < self.dimensions)[2].T
        *rest, (weights, shifts) = layers
        at = Projection((*rest, (weights @ turn, shifts @ turn)), np.zeros(0), np.zeros(0))
        low, high = box(at.places(self.bounds.around(known.features, known.elite)), self.bounds.cut)
        return replace(self, at=at._replace(low=low, high=high))


def each(members: Layers) -> list[Layers]:
    """The members of an ensemble one by one; none of an empty one."""
    count = len(members[0][0]) if members else 0
    return [tuple((np.asarray(weights[k]), np.asarray(shifts[k])) for weights, shifts in members) for k in range(count)]


def merged(members: Layers) -> Layers:
    """One linear map for an ensemble of them: the leading axes of the mean of their metrics, each of trace one.

    Maps that differ by a rotation alone are the same metric, so they cannot be averaged as they are.
    """
    weights = np.asarray(members[0][0], np.float64)
    d = weights.shape[-1]
    metric = weights @ weights.transpose(0, 2, 1)
    metric = (metric / np.maximum(np.trace(metric, axis1=1, axis2=2), 1e-12)[:, None, None]).mean(0)
    size, axes = np.linalg.eigh(metric)
    return ((_wide(axes[:, ::-1] * np.sqrt(np.maximum(size[::-1], 0)), d), np.zeros(d)),)


def _best(members: Layers, right: np.ndarray, held: np.ndarray) -> Layers:
    """The member that told most of what it did not hear, or of all where nothing was held out."""
    counted = held if held.any(1).all() else np.ones_like(held)
    best = int(np.argmax((right & counted).sum(1) / np.maximum(counted.sum(1), 1)))
    return each(members)[best]


def _before(members: Layers, centre: np.ndarray, scale: np.ndarray) -> Layers:
    """The members as maps of features that are not scaled."""
    (weights, shifts), *rest = jax.tree.map(lambda part: np.asarray(part, np.float64), members)
    weights = scale @ weights
    return (weights, shifts - centre @ weights), *rest


def _wide(columns: np.ndarray, d: int) -> np.ndarray:
    """The first `d` columns, with zeros where there are fewer."""
    return np.pad(columns[:, :d], ((0, 0), (0, max(0, d - columns.shape[1]))))
