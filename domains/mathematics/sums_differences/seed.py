"""A program to start from."""


# EVOLVE-BLOCK-START
def solve():
    """Points with small coordinates that sum to little, read as the digits of a number."""
    dimensions, base = 4, 7
    members = {0}
    for k in range(dimensions):
        members |= {m + base**k * digit for m in members for digit in (0, 1, 3)}
    return sorted(members)


# EVOLVE-BLOCK-END
