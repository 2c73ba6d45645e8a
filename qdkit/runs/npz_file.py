"""Reads the arrays of a `.npz` file that may come from a stranger.

A zip can unpack to a thousand times its size, an array can hold objects, which are pickles, and a
header can claim any shape. `np.savez` writes plain, uncompressed arrays. Nothing else is read.
"""

from __future__ import annotations

import errno
import math
import re
import zipfile
from pathlib import Path
from typing import IO, Literal

import numpy as np

from qdkit.core.run_files import DamagedRun, file_kind, open_plain

_MOST_ARRAYS = 256  # in a file
_LONGEST_HEADER = 4096  # characters
# The header of an array as `np.save` writes it. Numpy itself would parse the text as Python.
_HEADER = re.compile(
    r"\{'descr': '([<>|=][a-zA-Z]\d{1,9})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,15}(?:, ?\d{1,15})*)?),?\), ?\} *\n?"
)
_KINDS = "biufcV"  # V is numpy's kind of bfloat16; arrays of objects or with fields are excluded


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name.

    Raises FileNotFoundError if there is no file, DamagedRun for anything that `np.savez` does not
    write. Takes as much memory as the file has bytes.
    """
    if not file_kind(file):
        raise FileNotFoundError(
            f"{file.parent} holds no compiled run, or one that was killed before its first step: "
            f"there is no {file.name}"
        )
    try:
        with open_plain(file) as opened, zipfile.ZipFile(opened) as packed:
            return _arrays(packed, opened.seek(0, 2))
    except (
        zipfile.BadZipFile,
        ValueError,
        TypeError,
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise _damaged(file, error) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a disk or of rights, not of what the file holds
            raise
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> DamagedRun:
    return DamagedRun(f"{file} cannot be read as the state of a search: {error}")


def _arrays(packed: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    entries = packed.infolist()
    if len(entries) > _MOST_ARRAYS or len({entry.filename for entry in entries}) < len(entries):
        raise ValueError(f"it has {len(entries)} arrays, or two of one name")
    unpacked = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    # Entries of a zip may overlap: each is small, and all together are not.
    if not unpacked or sum(entry.file_size for entry in entries) > size:
        raise ValueError("it is compressed: it would be larger in memory than it is on disk")
    arrays = {}
    for entry in entries:
        if not 0 <= entry.header_offset < size:  # a seek there is an OSError
            raise ValueError(f"{entry.filename!r:.60} in it begins outside of the file")
        if not entry.filename.endswith(".npy"):
            raise ValueError(f"{entry.filename!r:.60} in it is no array")
        with packed.open(entry) as file:
            arrays[entry.filename.removesuffix(".npy")] = _array(file, entry.file_size)
    return arrays


def _array(file: IO[bytes], size: int) -> np.ndarray:
    head = file.read(8)
    if head[:6] != b"\x93NUMPY" or head[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError("it holds something that is no array")
    length = int.from_bytes(file.read(2 * head[6]), "little")
    header = _HEADER.fullmatch(file.read(min(length, _LONGEST_HEADER)).decode("ascii"))
    if header is None:
        raise ValueError(
            "it holds objects, which are never loaded, or something that is no plain array"
        )
    dtype, shape = np.dtype(header[1]), tuple(map(int, header[3].split(",") if header[3] else ()))
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise ValueError(f"it holds {dtype}, which is never loaded")
    expected = math.prod(shape) * dtype.itemsize
    data = file.read(expected + 1) if expected <= size else b""
    if len(data) != expected:
        raise ValueError(f"an array of shape {shape} does not have the bytes of one")
    order: Literal["F", "C"] = "F" if header[2] == "True" else "C"
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy()
