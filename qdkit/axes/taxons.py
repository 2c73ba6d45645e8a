"""Axes by an autoencoder that also measures surprise (TAXONS, Paolo et al. 2020).

It is trained as in TAXONS: in small batches, until the error on held-out rows stops falling, and
again after ever longer times.
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

from qdkit.core.types import Batch, Key

from .bounds import Bounds, box
from .ensemble import Fit, Layers, adam_step, apply_layers, init_layers
from .ok_candidates import OkCandidates
from .projection import Projection
from .unsupervised import AROUND_ELITES

BATCH = 128  # rows in a step of Adam
_HELD = 5  # one row of so many is held out
# Features whose spread is at most this share of the greatest absolute value count as constant.
_CONSTANT = 1e-9
# Training ends after so many epochs in a row without a smaller error on the held-out rows.
PATIENCE = 4


class Autoencoder(NamedTuple):
    """An autoencoder: layers from features `[f]` to codes `[d]`, and from codes to features."""

    down: Layers
    up: Layers

    def error(self, features: Any) -> Any:
        """Returns float `[n]`: the mean squared reconstruction error of features `[n, f]`."""
        return ((apply_layers(self.up, apply_layers(self.down, features)) - features) ** 2).mean(1)

    def shifted(self, centre: Any, spread: Any) -> Autoencoder:
        """Returns the same autoencoder for features `(x - centre) / spread` instead of x."""
        (weights, shifts), *down = self.down
        *up, (last, level) = self.up
        return Autoencoder(
            ((weights * spread, shifts + centre @ weights), *down),
            (*up, (last / spread, (level - centre) / spread)),
        )


@dataclass(frozen=True, eq=False)
class TaxonsAxes:
    """The unit box around the middle layer of an autoencoder; its errors measure surprise.

        explore = NoveltySearch(surprise=0.5)
        maze = Maze(see="picture")
        Search(maze, grid, explore, axes=TaxonsAxes())  # TAXONS
        Search(maze, grid, TwoPhase(explore, Rewarded(explore)), axes=TaxonsAxes())  # STAX

    It begins with random weights and is trained after 1, 3, 6, 10, ... chunks, each time from
    where it was; after each training all known candidates are measured again. It differs from
    TAXONS in two points: the layers are dense, so that features may be of any kind, and pictures
    are rows of pixels; and it is trained on the elites of the search, where TAXONS takes its
    memory, population and children.

    dimensions: the width of the middle layer; 10 in TAXONS, which takes an archive such as `CVT`.
    bounds: the box of the codes that the archive covers.
    chunk: the number of commits in a chunk, by whatever operator; TAXONS has chunks of 1,000 that
      explore.
    hidden: the widths of the encoder's hidden layers; the decoder has them in reverse order.
    epochs, rate: the greatest number of epochs of a training, and the rate of Adam.

    Raises ValueError for settings that are invalid, and for candidates that have no features.
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
        whole = all(isinstance(number, int) and number > 0 for number in numbers)
        if not whole or not 0 < self.rate < math.inf:
            raise ValueError(
                "dimensions, chunk and epochs are whole numbers from 1, hidden is a tuple of "
                f"them, and rate above 0, not {self.dimensions}, {self.chunk}, {self.epochs}, "
                f"{self.hidden} and {self.rate}"
            )
        if not isinstance(self.bounds, Bounds):
            raise ValueError(
                f"bounds is qdkit.axes.Bounds(...), which says what the box encloses, not "
                f"{self.bounds}"
            )

    def __call__(self, batch: Batch) -> np.ndarray:
        """Returns float64 `[n, d]`, from the features of the batch.

        Before anything is known, all are in the middle of the box.
        """
        if self.now is not None:
            return self.now(batch.features)
        has_features = np.isfinite(batch.features).all(1) & (batch.features.shape[1] > 0)
        if batch.ok.any() and not has_features[batch.ok].any():
            raise ValueError(
                "these axes are learnt from features, and none of the first candidates has any "
                "that are finite: have evaluate give Evaluation(..., features=...), float "
                "[n, f], what was observed of each, such as a picture; "
                'qdkit.domains.Maze(see="picture") does'
            )
        middle = np.full((len(batch), self.dimensions), 0.5)
        return np.where(has_features[:, None], middle, np.nan)

    def surprise(self, features: np.ndarray) -> np.ndarray:
        """Returns float64 `[n]`: the mean squared reconstruction error of features `[n, f]`.

        It is 0 before any learning.
        """
        if self.now is None:
            return np.zeros(len(features))
        return Autoencoder(self.now.layers, self.back).error(np.asarray(features, np.float64))

    def learn(self, key: Key, known: OkCandidates, replies: Sequence[Any] = ()) -> TaxonsAxes:
        """Returns the axes after `known.steps` commits; `self` if no training is due."""
        due = training_due(known.steps, self.chunk)
        if len(known.id) < 2 or not (due or self.now is None):
            return self
        features = known.elite_features
        init_key, training_key = jax.random.split(key)
        with np.errstate(over="ignore", invalid="ignore"):
            centre, spread = features.mean(0), float(features.std())
        if not math.isfinite(spread):
            raise ValueError(
                f"features reach {np.abs(features).max():.0e}, too far to be squared: scale them "
                f"in evaluate"
            )
        spread = spread if spread > _CONSTANT * np.abs(features).max() else 1.0
        if self.now is None:
            coder = self._initial(init_key, features.shape[1])
        else:
            coder = Autoencoder(self.now.layers, self.back).shifted(centre, spread)
        if due:
            scaled = (features - centre) / spread
            coder, _ = train_autoencoder(training_key, coder, scaled, self.epochs, self.rate)
        down, up = coder.shifted(-centre / spread, 1 / spread)
        at = Projection(down, np.zeros(self.dimensions), np.ones(self.dimensions))
        low, high = box(
            at.places(self.bounds.around(known.features, known.elite)), self.bounds.cut
        )
        return replace(self, now=at._replace(low=low, high=high), back=up)

    @property
    def plain(self) -> dict[str, Any]:
        """The learnt state as JSON values."""
        back = [[part.tolist() for part in layer] for layer in self.back]
        return {"at": self.now.plain if self.now else None, "back": back}

    def with_plain(self, plain: Mapping[str, Any]) -> TaxonsAxes:
        """Returns these axes with the learnt state `plain`."""
        back = tuple((np.array(weights), np.array(shifts)) for weights, shifts in plain["back"])
        return replace(self, now=Projection.of(plain["at"]) if plain["at"] else None, back=back)

    def _initial(self, key: Key, features: int) -> Autoencoder:
        """Returns an autoencoder with random weights, for features `[f]` of this number."""
        down, up = jax.random.split(key)
        encoder = init_layers(down, Fit(self.hidden), features, self.dimensions)
        decoder = init_layers(up, Fit(self.hidden[::-1]), self.dimensions, features)
        return _as_float64(Autoencoder(encoder, decoder))


def training_due(steps: int, chunk: int) -> bool:
    """Whether a training is due after `steps` commits: after 1 chunk, 2 more, 3 more, ..."""
    chunks, rest = divmod(steps, chunk)
    root = math.isqrt(8 * chunks + 1)
    return chunks > 0 and rest == 0 and root * root == 8 * chunks + 1


def _as_float64(coder: Autoencoder) -> Autoencoder:
    """Returns the autoencoder with numpy parameters in float64."""
    return Autoencoder(*jax.tree.map(lambda part: np.asarray(part, np.float64), tuple(coder)))


def train_autoencoder(
    key: Key, coder: Autoencoder, features: np.ndarray, epochs: int, rate: float
) -> tuple[Autoencoder, np.ndarray]:
    """Returns the autoencoder with the least error on the held-out rows, and all these errors.

    features: float `[n, f]`, of which a fifth, and at least one row, is held out.
    The second result is float `[epochs]`, the error on the held-out rows after each epoch; nan
    after the end of the training. The autoencoder may be the one that the training began with.
    """
    # Padded to a power of two, so that a search compiles for a few sizes only.
    size = max(BATCH, 1 << (len(features) - 1).bit_length())
    rows = np.zeros((size, features.shape[1]), np.float32)
    rows[: len(features)] = features
    begin = jax.tree.map(lambda part: np.asarray(part, np.float32), coder)
    best, errors = _train_padded(key, begin, rows, np.int32(len(features)), epochs, rate)
    return _as_float64(best), np.asarray(errors)


class _State(NamedTuple):
    coder: Autoencoder
    moments: Any
    steps: jax.Array  # of Adam
    epoch: jax.Array
    best: Autoencoder
    least: jax.Array  # the error of `best`
    worse: jax.Array  # epochs since `best`
    errors: jax.Array


@partial(jax.jit, static_argnames="epochs")
def _train_padded(
    key: Key, begin: Autoencoder, rows: jax.Array, n: Any, epochs: int, rate: Any
) -> tuple[Autoencoder, jax.Array]:
    place = jnp.arange(len(rows))
    shuffled = lambda key, few: jnp.argsort(
        jnp.where(place < few, jax.random.uniform(key, place.shape), 2.0)
    )
    split_key, epochs_key = jax.random.split(key)
    # The rows for training come first, then the held-out rows, then the padding.
    rows = rows[shuffled(split_key, n)]
    training = n - jnp.maximum(n // _HELD, 1)
    held = (place >= training) & (place < n)

    def loss(coder: Autoencoder, rows: jax.Array, some: jax.Array) -> jax.Array:
        return jnp.where(some, coder.error(rows), 0.0).sum() / jnp.maximum(some.sum(), 1)

    def epoch(state: _State) -> _State:
        order = shuffled(jax.random.fold_in(epochs_key, state.epoch), training)

        def step(number: Any, carry: Any) -> Any:
            coder, moments, t = carry
            few = number * BATCH + jnp.arange(BATCH)
            slope = jax.grad(loss)(coder, rows[order[few]], few < training)
            return *adam_step(coder, moments, slope, t, rate), t + 1

        batches = (training + BATCH - 1) // BATCH
        coder, moments, t = jax.lax.fori_loop(
            0, batches, step, (state.coder, state.moments, state.steps)
        )
        error = loss(coder, rows, held)
        better = error < state.least
        best = jax.tree.map(lambda old, new: jnp.where(better, new, old), state.best, coder)
        worse = jnp.where(better, 0, state.worse + 1)
        errors = state.errors.at[state.epoch].set(error)
        least = jnp.minimum(error, state.least)
        return _State(coder, moments, t, state.epoch + 1, best, least, worse, errors)

    more = lambda state: (state.epoch < epochs) & (state.worse < PATIENCE)
    moments, none = (jax.tree.map(jnp.zeros_like, begin),) * 2, jnp.full(epochs, jnp.nan)
    first = _State(
        coder=begin,
        moments=moments,
        steps=jnp.float32(0),
        epoch=jnp.int32(0),
        best=begin,
        least=loss(begin, rows, held),
        worse=jnp.int32(0),
        errors=none,
    )
    last = jax.lax.while_loop(more, epoch, first)
    return last.best, last.errors
