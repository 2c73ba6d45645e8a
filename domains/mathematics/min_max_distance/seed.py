"""A program to start from."""

import numpy as np


# EVOLVE-BLOCK-START
def solve(n):
    """The points of a triangular lattice that are nearest to the middle."""
    i, j = np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1))
    lattice = np.stack([i + j / 2, np.sqrt(3) / 2 * j], -1).reshape(-1, 2)
    nearest = np.argsort(((lattice - [0.25, 0.1]) ** 2).sum(1))[:n]
    return lattice[nearest]


# EVOLVE-BLOCK-END
