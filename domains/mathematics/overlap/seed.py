"""A program to start from."""

import numpy as np


# EVOLVE-BLOCK-START
def solve():
    """A smooth hill in the middle."""
    x = (np.arange(100) + 0.5) / 50
    return np.sin(np.pi * x / 2) ** 2


# EVOLVE-BLOCK-END
