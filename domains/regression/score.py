"""The referee of a small regression, with data at three levels: 20 noisy rows to search, 200 for the others.

The answers never leave this file; a program gets rows alone. Each block of rows comes seven times:
as it is, then once for each measurement with that one shuffled among the rows. A program that reads
a measurement answers the shuffled rows in another way, so the map shows how many a program uses.
"""

import numpy as np

ROWS = {"search": 20, "validation": 200, "lockbox": 200}
FEATURES, NOISE = 6, 0.5


def _data(level):
    """Rows and their shuffled copies `[7 m, 6]`, answers `[m]`: a line, a square and a product, and noise."""
    random = np.random.default_rng([2026, list(ROWS).index(level)])
    x = random.uniform(-2, 2, (ROWS[level], FEATURES))
    y = 0.8 * x[:, 0] + 0.4 * x[:, 1] ** 2 - 0.5 * x[:, 0] * x[:, 2] + NOISE * random.standard_normal(len(x))
    blocks = [x]
    for feature in range(FEATURES):
        block = x.copy()
        block[:, feature] = random.permutation(block[:, feature])
        blocks.append(block)
    return np.concatenate(blocks), y


DATA = {level: _data(level) for level in ROWS}

ARGUMENTS = (DATA["search"][0].tolist(),)
VALIDATION = (DATA["validation"][0].tolist(),)
LOCKBOX = (DATA["lockbox"][0].tolist(),)
NAMES = ("measurements used", "nodes")
BOUNDS = ((-0.5, 6.5), (0, 200))
SHAPE = (7, 20)
FLOOR = -1.0
SECONDS = 2


def score(output, level):
    """The share of the variance that is explained, and how many measurements are used."""
    rows, truth = DATA[level]
    if type(output) is not list or len(output) != len(rows) or any(type(x) not in (int, float) for x in output):
        raise ValueError(f"a list of {len(rows)} numbers is needed, one for each row")
    said = np.array(output, float)
    if not (np.abs(said) < 1e6).all():
        raise ValueError("an answer is not finite, or beyond a million")
    plain, *shuffled = said.reshape(FEATURES + 1, -1)
    used = sum(bool((block != plain).any()) for block in shuffled)
    return float(1 - np.mean((plain - truth) ** 2) / np.var(truth)), (used,)


def draw(output, ax):
    """What a program says beside what was measured."""
    truth = DATA["search"][1]
    ax.scatter(truth, output[: len(truth)], s=8)
    ax.axline((0, 0), slope=1, linewidth=0.8, color="black")
    return ax
