"""The toolkit's program domains: mathematical problems with exact referees, and a regression."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any, Literal

from qdkit.domains.mathematics.autocorrelation import Autocorrelation
from qdkit.domains.mathematics.circle_packing import CirclePacking
from qdkit.domains.mathematics.heilbronn import Heilbronn
from qdkit.domains.mathematics.min_max_distance import MinMaxDistance
from qdkit.domains.mathematics.overlap import MinimumOverlap
from qdkit.domains.mathematics.problem import Problem
from qdkit.domains.mathematics.sums_differences import SumsDifferences
from qdkit.domains.program import Program

_Level = Literal["auto", "bubblewrap", "landlock", "none"]


def solving(problem: Problem, **settings: Any) -> Program:
    """Returns the programs whose function `solve` answers a problem.

    `settings` are those of `Program` and take precedence over those of the problem.
    """
    defaults = {
        "shape": (20, 20),
        "bounds": problem.bounds,
        "names": problem.names,
        "floor": problem.floor,
        "arguments": problem.arguments,
    }
    start = {"seed.py": problem.program}
    return Program(
        start,
        "seed.py:solve",
        problem.task,
        problem.score,
        draws=problem.draw,
        **{**defaults, **settings},
    )


def circle_packing(
    *, n: int = 26, seconds: float = 2.0, sandbox: _Level = "auto", workers: int = 2
) -> Program:
    """Programs that pack circles into the unit square.

    n: how many circles.
    seconds: wall time of a program.
    sandbox: how programs are isolated: the strongest level that works here, or one by name.
    workers: how many programs run at once.
    """
    return solving(
        CirclePacking(n),
        bounds=((0.0, 0.6), (0.0, 1.0)),
        seconds=seconds,
        sandbox=sandbox,
        workers=workers,
    )


def heilbronn(
    *, n: int = 13, seconds: float = 2.0, sandbox: _Level = "auto", workers: int = 2
) -> Program:
    """Programs that place points in a convex region without a small triangle.

    n: how many points.
    seconds, sandbox, workers: as for circle_packing.
    """
    return solving(Heilbronn(n), seconds=seconds, sandbox=sandbox, workers=workers)


def min_max_distance(
    *, n: int = 16, seconds: float = 2.0, sandbox: _Level = "auto", workers: int = 2
) -> Program:
    """Programs that place points so that the greatest distance is a small multiple of the least.

    n: how many points.
    seconds, sandbox, workers: as for circle_packing.
    """
    return solving(MinMaxDistance(n), seconds=seconds, sandbox=sandbox, workers=workers)


def autocorrelation(
    *, seconds: float = 5.0, sandbox: _Level = "auto", workers: int = 2
) -> Program:
    """Programs that find a step function with a small autocorrelation.

    seconds, sandbox, workers: as for circle_packing.
    """
    return solving(Autocorrelation(), seconds=seconds, sandbox=sandbox, workers=workers)


def overlap(*, seconds: float = 5.0, sandbox: _Level = "auto", workers: int = 2) -> Program:
    """Programs that find a step function for Erdős' minimum overlap.

    seconds, sandbox, workers: as for circle_packing.
    """
    return solving(MinimumOverlap(), seconds=seconds, sandbox=sandbox, workers=workers)


def sums_differences(
    *, seconds: float = 5.0, sandbox: _Level = "auto", workers: int = 2
) -> Program:
    """Programs that find a set with many differences and few sums.

    seconds, sandbox, workers: as for circle_packing.
    """
    return solving(SumsDifferences(), seconds=seconds, sandbox=sandbox, workers=workers)


def regression(*, seconds: float = 2.0, sandbox: _Level = "auto", workers: int = 2) -> Program:
    """Programs that predict a number from six measurements.

    The search has 20 noisy rows, the validation and the test split have 200 each.

    seconds, sandbox, workers: as for circle_packing.
    """
    with as_file(files("qdkit.domains") / "regression") as folder:
        return Program.folder(folder, seconds=seconds, sandbox=sandbox, workers=workers)
