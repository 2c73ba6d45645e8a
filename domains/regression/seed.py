"""A program to start from."""

import math


# EVOLVE-BLOCK-START
def predict(a, b, c, d, e, f):
    """The answer to one row of measurements."""
    return 0.5 + 0.1 * a + 0.1 * math.sin(b)


# EVOLVE-BLOCK-END


def solve(rows):
    """One answer for each row."""
    return [predict(*row) for row in rows]
