"""Conversion of genomes to the dtype of the seeds; a cast may round floats, and nothing else."""

from __future__ import annotations

import numpy as np


def numeric(genomes: np.ndarray, maker: str) -> np.ndarray:
    """Returns numeric genomes in the byte order of the machine.

    Raises TypeError for a dtype that a search does not support.
    """
    kind = genomes.dtype
    if kind.kind not in "fiub" or kind.itemsize > 8:
        raise TypeError(
            f"{maker} made genomes of {kind}, and a search holds float16 to float64, whole "
            "numbers of 8 to 64 bits and bool: make one of those, and the rest of it in evaluate"
        )
    return genomes.astype(kind.newbyteorder("="), copy=False)


def cast(genomes: np.ndarray, dtype: np.dtype, maker: str) -> np.ndarray:
    """Returns `genomes` in the dtype of the seeds; floats may be rounded.

    maker: the name of the operator that made them, for errors.

    Raises TypeError for a dtype of another kind (`np.can_cast(..., "same_kind")`), such as floats
    for seeds of whole numbers, and ValueError for a value that `dtype` cannot hold.
    """
    if genomes.dtype == dtype:
        return genomes
    if not np.can_cast(genomes.dtype, dtype, "same_kind"):
        advice = ""
        if genomes.dtype.kind in "fiub":
            advice = f"have the domain's seeds made as {genomes.dtype}, or "
        raise TypeError(
            f"{maker!r} made genomes of {genomes.dtype}, and this search holds {dtype}, as its "
            f"seeds are: {advice}have the operator round or clip and return {dtype}"
        )
    with np.errstate(over="ignore"):
        result = genomes.astype(dtype)
    wrong = result != genomes
    if dtype.kind in "fc":
        wrong = np.isfinite(genomes) & ~np.isfinite(result)
    if wrong.any():
        raise ValueError(
            f"{maker!r} made a genome with {genomes[wrong].flat[0]} as {genomes.dtype}, and this "
            f"search holds {dtype}, which has no such number: have the domain's seeds made as "
            f"{genomes.dtype}, or stay within {dtype}"
        )
    return result
