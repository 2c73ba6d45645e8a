"""Axes by an autoencoder that also says what surprises it (TAXONS, Paolo et al. 2020).

It is trained as TAXONS trains it: in small batches, until the part of the features that is held out is no longer told
better, and again after ever longer times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.types import Batch, Key

from .bounds import Bounds, box
from .fits import Fit, Layers, begun, mapped, stepped
from .known import Known
from .projection import Projection
from .untaught import AROUND_ELITES

BATCH = 128  # rows that a step of Adam looks at
HELD = 5  # one row of so many is held out
CONSTANT = 1e-9  # features that are spread by no more than this share of the greatest are all the same
PATIENCE = 4  # epochs in a row without a smaller error on what is held out, after which training ends


class Coder(NamedTuple):
    """An autoencoder: layers from features `[f]` to codes `[d]`, and from codes to features."""

    down: Layers
    up: Layers

    def error(self, features: Any) -> Any:
        """float `[n]`: the mean squared error of each row of features `[n, f]` that went through the code."""
        return ((mapped(self.up, mapped(self.down, features)) - features) ** 2).mean(1)

    def shifted(self, centre: Any, spread: Any) -> Coder:
        """The same for features of which `centre` is taken and which are then divided by `spread`."""
        (weights, shifts), *down = self.down
        *up, (last, level) = self.up
        return Coder(
            ((weights * spread, shifts + centre @ weights), *down), (*up, (last / spread, (level - centre) / spread))
        )


@dataclass(frozen=True, eq=False)
class Taxons:
    """The unit box around the middle layer of an autoencoder, which is surprised by features it cannot give back.

        explore = Novel(surprise=0.5)
        Search(Maze(see="picture"), grid, explore, axes=Taxons())                                  # TAXONS
        Search(Maze(see="picture"), grid, TwoPhase(explore, Rewarded(explore)), axes=Taxons())     # STAX

    It begins as it is drawn, is trained after 1, 3, 6, 10, ... chunks, each time from where it was, and after each
    training all that is known is measured anew. In two things it is other than in TAXONS: the layers are dense, so that
    features may be of any kind, and pictures are rows of pixels; and it is trained on the elites of the search, where
    TAXONS takes its memory, population and children.

    dimensions: the width of the middle layer; 10 in TAXONS, which takes an archive such as `CVT`.
    bounds: which box of the codes the archive covers.
    chunk: how many commits are a chunk, whoever made their candidates; TAXONS has one of 1,000 that explore.
    hidden: the widths of the layers of the encoder, and backwards of the decoder.
    epochs, rate: of a training at most, and of Adam.

    Raises ValueError for settings that are none, and for candidates that have no features.
    """

    dimensions: int = 2
    bounds: Bounds = AROUND_ELITES
    chunk: int = 100
    hidden: tuple[int, ...] = (64, 32)
    epochs: int = 100
    rate: float = 0.001
    now: Projection | None = None
    back: Layers = ()

    def __post_init__(self) -> None:
        widths = self.hidden if isinstance(self.hidden, tuple) else (0,)
        numbers = (self.dimensions, self.chunk, self.epochs, *widths)
        if not all(isinstance(number, int) and number > 0 for number in numbers) or not 0 < self.rate < math.inf:
            raise ValueError(
                "dimensions, chunk and epochs are whole numbers from 1, hidden is a tuple of them, and rate above 0, "
                f"not {self.dimensions}, {self.chunk}, {self.epochs}, {self.hidden} and {self.rate}"
            )
        if not isinstance(self.bounds, Bounds):
            raise ValueError(f"bounds is qdkit.axes.Bounds(...), which says around whom the box is, not {self.bounds}")

    def __call__(self, batch: Batch) -> np.ndarray:
        """float64 `[n, d]`, from the features of the batch; the middle of the box while nothing is known."""
        if self.now is not None:
            return self.now(batch.features)
        some = np.isfinite(batch.features).all(1) & (batch.features.shape[1] > 0)
        if batch.ok.any() and not some[batch.ok].any():
            raise ValueError(
                "these axes are learnt from features, and none of the first candidates has any that are finite: have "
                "evaluate give Evaluation(..., features=...), float [n, f], what was observed of each, such as a "
                'picture; qdkit.domains.Maze(see="picture") does'
            )
        return np.where(some[:, None], np.full((len(batch), self.dimensions), 0.5), np.nan)

    def surprise(self, features: np.ndarray) -> np.ndarray:
        """float64 `[n]`: the mean squared error with which features `[n, f]` are given back; 0 before all learning."""
        if self.now is None:
            return np.zeros(len(features))
        return Coder(self.now.layers, self.back).error(np.asarray(features, np.float64))

    def learn(self, key: Key, known: Known, replies: Sequence[Any] = ()) -> Taxons:
        """The axes after `known.steps` commits; `self` where no training is due."""
        due = trains(known.steps, self.chunk)
        if len(known.id) < 2 or not (due or self.now is None):
            return self
        some = known.some
        drawing, training = jax.random.split(key)
        with np.errstate(over="ignore", invalid="ignore"):
            centre, spread = some.mean(0), float(some.std())
        if not math.isfinite(spread):
            raise ValueError(f"features reach {np.abs(some).max():.0e}, too far to be squared: scale them in evaluate")
        spread = spread if spread > CONSTANT * np.abs(some).max() else 1.0
        if self.now is None:
            coder = self._drawn(drawing, some.shape[1])
        else:
            coder = Coder(self.now.layers, self.back).shifted(centre, spread)
        if due:
            coder, _ = trained(training, coder, (some - centre) / spread, self.epochs, self.rate)
        down, up = coder.shifted(-centre / spread, 1 / spread)
        at = Projection(down, np.zeros(self.dimensions), np.ones(self.dimensions))
        low, high = box(at.places(self.bounds.around(known.features, known.elite)), self.bounds.cut)
        return replace(self, now=at._replace(low=low, high=high), back=up)

    @property
    def plain(self) -> dict[str, Any]:
        """What was learnt, as JSON holds it."""
        back = [[part.tolist() for part in layer] for layer in self.back]
        return {"at": self.now.plain if self.now else None, "back": back}

    def with_plain(self, plain: Mapping[str, Any]) -> Taxons:
        """These axes after having learnt what `plain` holds."""
        back = tuple((np.array(weights), np.array(shifts)) for weights, shifts in plain["back"])
        return replace(self, now=Projection.of(plain["at"]) if plain["at"] else None, back=back)

    def _drawn(self, key: Key, features: int) -> Coder:
        """Before any training."""
        down, up = jax.random.split(key)
        encoder = begun(down, Fit(self.hidden), features, self.dimensions)
        return doubled(Coder(encoder, begun(up, Fit(self.hidden[::-1]), self.dimensions, features)))


def trains(steps: int, chunk: int) -> bool:
    """Whether a training is due after so many commits: after 1 chunk, 2 more, 3 more, and so on."""
    chunks, rest = divmod(steps, chunk)
    root = math.isqrt(8 * chunks + 1)
    return chunks > 0 and rest == 0 and root * root == 8 * chunks + 1


def doubled(coder: Coder) -> Coder:
    """In float64, as numpy."""
    return Coder(*jax.tree.map(lambda part: np.asarray(part, np.float64), tuple(coder)))


def trained(key: Key, coder: Coder, features: np.ndarray, epochs: int, rate: float) -> tuple[Coder, np.ndarray]:
    """The autoencoder as it was when it gave back best what was held out, the beginning counted in.

    features: float `[n, f]`, of which a fifth, and one at least, is held out.
    Returns float `[epochs]` beside, the error on what was held out after each epoch; nan after training had ended.
    """
    size = max(BATCH, 1 << (len(features) - 1).bit_length())  # a search compiles for a few sizes alone
    rows = np.zeros((size, features.shape[1]), np.float32)
    rows[: len(features)] = features
    begin = jax.tree.map(lambda part: np.asarray(part, np.float32), coder)
    best, errors = _trained(key, begin, rows, np.int32(len(features)), epochs, rate)
    return doubled(best), np.asarray(errors)


class _State(NamedTuple):
    coder: Coder
    moments: Any
    steps: jax.Array  # of Adam
    epoch: jax.Array
    best: Coder
    least: jax.Array  # the error of the best
    worse: jax.Array  # epochs since
    errors: jax.Array


@partial(jax.jit, static_argnames="epochs")
def _trained(key: Key, begin: Coder, rows: jax.Array, n: Any, epochs: int, rate: Any) -> tuple[Coder, jax.Array]:
    place = jnp.arange(len(rows))
    shuffled = lambda key, few: jnp.argsort(jnp.where(place < few, jax.random.uniform(key, place.shape), 2.0))
    split, walk = jax.random.split(key)
    rows, heard = rows[shuffled(split, n)], n - jnp.maximum(n // HELD, 1)  # those that are heard come first
    held = (place >= heard) & (place < n)

    def loss(coder: Coder, rows: jax.Array, some: jax.Array) -> jax.Array:
        return jnp.where(some, coder.error(rows), 0.0).sum() / jnp.maximum(some.sum(), 1)

    def epoch(state: _State) -> _State:
        order = shuffled(jax.random.fold_in(walk, state.epoch), heard)

        def step(number: Any, carry: Any) -> Any:
            coder, moments, t = carry
            few = number * BATCH + jnp.arange(BATCH)
            slope = jax.grad(loss)(coder, rows[order[few]], few < heard)
            return *stepped(coder, moments, slope, t, rate), t + 1

        batches = (heard + BATCH - 1) // BATCH
        coder, moments, t = jax.lax.fori_loop(0, batches, step, (state.coder, state.moments, state.steps))
        error = loss(coder, rows, held)
        better = error < state.least
        best = jax.tree.map(lambda old, new: jnp.where(better, new, old), state.best, coder)
        worse = jnp.where(better, 0, state.worse + 1)
        errors = state.errors.at[state.epoch].set(error)
        return _State(coder, moments, t, state.epoch + 1, best, jnp.minimum(error, state.least), worse, errors)

    more = lambda state: (state.epoch < epochs) & (state.worse < PATIENCE)
    moments, none = (jax.tree.map(jnp.zeros_like, begin),) * 2, jnp.full(epochs, jnp.nan)
    first = _State(begin, moments, jnp.float32(0), jnp.int32(0), begin, loss(begin, rows, held), jnp.int32(0), none)
    last = jax.lax.while_loop(more, epoch, first)
    return last.best, last.errors
