"""A program to start from."""

import numpy as np


# EVOLVE-BLOCK-START
def solve(n):
    """Rows of a square grid, then steps of single circles, of which those are kept that make room."""
    rows = int(np.ceil(np.sqrt(n)))
    centres = np.array([((i // rows + 0.5) / rows, (i % rows + 0.5) / rows) for i in range(n)])
    random = np.random.default_rng(1)
    for step in range(100):
        moved = centres.copy()
        moved[step % n] += 0.05 * random.standard_normal(2)
        moved = np.clip(moved, 0.02, 0.98)
        if room(moved) > room(centres):
            centres = moved
    return centres


def room(centres):
    """The sum of the radii that reach half way to the nearest neighbour, or to the nearest side."""
    apart = centres[:, None] - centres
    distance = np.sqrt((apart**2).sum(axis=2)) + 9.0 * np.eye(len(centres))
    side = np.minimum(centres, 1.0 - centres).min(axis=1)
    return np.minimum(0.5 * distance.min(axis=1), side).sum()


# EVOLVE-BLOCK-END
