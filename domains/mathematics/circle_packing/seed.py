"""A program to start from."""

import numpy as np


# EVOLVE-BLOCK-START
def centres(n):
    """Rows of a square grid, with circles of one size; the last row is spread out."""
    rows = int(np.ceil(np.sqrt(n)))
    counts = np.full(rows, n // rows) + (np.arange(rows) < n % rows)
    return np.array(
        [((column + 0.5) / count, (row + 0.5) / rows) for row, count in enumerate(counts) for column in range(count)]
    )


# EVOLVE-BLOCK-END


def solve(n):
    """The first n of the centres, each moved into the square."""
    return np.clip(centres(n)[:n], 0, 1)
