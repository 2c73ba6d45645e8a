"""Texts as vectors without a model: hashed n-grams of characters and of words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

WIDTH = 1024  # one half for characters, the other for words

_WORDS = re.compile(r"[\w$]+|[^\w\s]")
_MIX = np.uint64(0x9E3779B97F4A7C15)


def grams(texts: Sequence[str]) -> np.ndarray:
    """float32 `[n, 1024]`, rows of length 1: hashed n-grams, the same on every machine; 0 for an empty text.

    The first half counts three to five characters in a row, the second one to three words or marks,
    each by the root of its count; the sign of a gram comes from its hash too, so that those which
    share a place cancel on average (Weinberger et al. 2009). Of a program's form, which is its
    syntax tree written out, the words are the nodes, and their grams parts of the tree.
    """
    rows = [np.concatenate([_unit(_characters(text)), _unit(_words(text))]) for text in texts]
    found = np.array(rows, np.float64).reshape(-1, WIDTH)
    return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _characters(text: str) -> np.ndarray:
    codes = np.frombuffer(" ".join(text.split()).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return _hashed(codes, (3, 4, 5))


def _words(text: str) -> np.ndarray:
    words = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORDS.findall(text)]
    return _hashed(np.array(words, np.uint64), (1, 2, 3))


def _hashed(codes: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """float64 `[WIDTH / 2]`: the signed roots of how often each gram of these lengths occurs."""
    hashes = []
    for n in lengths:
        if len(codes) >= n:
            hash = np.full(len(codes) - n + 1, n, np.uint64)
            for i in range(n):
                hash = (hash ^ codes[i : len(codes) - n + 1 + i]) * _MIX  # wraps around, as is meant
                hash ^= hash >> np.uint64(29)
            hashes.append(hash)
    found = np.zeros(WIDTH // 2)
    if hashes:
        gram, count = np.unique(np.concatenate(hashes), return_counts=True)
        sign = np.where(gram >> np.uint64(63), 1.0, -1.0)
        np.add.at(found, (gram >> np.uint64(20)).astype(np.int64) % len(found), sign * np.sqrt(count))
    return found


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return vector / length if length else vector
