"""A program to start from."""

import numpy as np


# EVOLVE-BLOCK-START
def solve(n):
    """The best of a few hundred random sets of points, each around a ring and inside it."""
    random = np.random.default_rng(0)
    first, second, third = np.array([(a, b, c) for a in range(n) for b in range(a) for c in range(b)]).T
    best, found = -1.0, np.zeros((n, 2))
    for _ in range(300):
        angle, radius = random.uniform(0, 2 * np.pi, n), np.sqrt(random.uniform(0.05, 1, n))
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        u, v = (x[second] - x[first], y[second] - y[first]), (x[third] - x[first], y[third] - y[first])
        area = np.abs(u[0] * v[1] - u[1] * v[0]).min()
        if area > best:
            best, found = area, np.stack([x, y], 1)
    return found


# EVOLVE-BLOCK-END
