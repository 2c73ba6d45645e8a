"""A program to start from."""

import numpy as np


# EVOLVE-BLOCK-START
def solve():
    """High at the ends and low in between, so that the middle of the autoconvolution does not pile up."""
    x = (np.arange(200) + 0.5) / 200
    return 1 / np.sqrt(x + 0.05) + 0.3 / np.sqrt(1.05 - x)


# EVOLVE-BLOCK-END
