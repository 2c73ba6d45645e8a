"""The library leaves the state of the process unchanged: matplotlib, warnings, numpy and jax.

In a kernel, too, where the first figure loads the backend that shows all later figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from .test_notebooks import execute

ROOT = Path(__file__).parents[1]

WORLD = """
import numpy as np
import qdkit
from qdkit import Search, viz
from qdkit.archives import Grid
from qdkit.domains import Arm
from qdkit.operators import IsoLine
arm = Arm(4)
search = Search(arm, Grid((8, 8), arm.bounds), IsoLine(0.1, 0.2), batch=32, seed=1)
search.run(4, progress=False)
"""

DRAWN = [
    "viz.heatmap(search)",
    "viz.overview(search)",
    "viz.gallery(search)",
    "viz.progress(search)",
]
DRAWN += [
    "viz.histogram(search)",
    "viz.profile(search)",
    "viz.parallel(search)",
    "viz.origins(search)",
]


def pictures(cell):
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


@pytest.mark.parametrize("first", ["viz.heatmap(search)", "viz.overview(search)"])
def test_a_kernel_shows_every_figure_after_a_first_one_of_the_library(first, tmp_path):
    """The figures are two of the library and a plain one of matplotlib.

    Matplotlib is interactive and in its own style.
    """
    settled = """
    import matplotlib, matplotlib.pyplot as plt
    assert matplotlib.is_interactive() and "inline" in matplotlib.get_backend()
    default = matplotlib.rcParamsDefault
    changed = {k for k, v in matplotlib.rcParams.items() if v != default[k]}
    print(sorted(changed - {"backend", "interactive"}))
    """
    cells = [
        WORLD,
        first + ";",
        "viz.heatmap(search);",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
        settled,
    ]
    cells.append("plt.figure(); plt.plot([3, 4]);")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells]
    )
    execute(notebook, tmp_path)
    _, _, ours, again, plain, state, last = notebook.cells
    assert [pictures(cell) > 0 for cell in (ours, again, plain, last)] == [True] * 4
    assert state.outputs[0]["text"].strip() in ("[]", "['figure.subplot.bottom']"), (
        "only what the kernel itself set"
    )


STATE = """
import warnings, matplotlib, numpy as np, jax, locale, os, random, signal, sys
def state():
    return {
        "rcParams": {k: repr(v) for k, v in matplotlib.rcParams.items() if k != "backend"},
        "warnings": repr(warnings.filters),
        "showwarning": warnings.showwarning, "format": warnings.formatwarning,
        "errstate": np.geterr(), "print": repr(np.get_printoptions()),
        "locale": locale.setlocale(locale.LC_ALL),
        "x64": jax.config.jax_enable_x64, "promotion": jax.config.jax_numpy_rank_promotion,
        "nans": jax.config.jax_debug_nans,
        "numpy": repr(np.random.get_state()), "random": random.getstate(),
        "environ": dict(os.environ), "path": list(sys.path),
        "folder": os.getcwd(), "limit": sys.getrecursionlimit(),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
    }
"""

USES = {
    "search": "search.run(2); search.summary(); repr(search); search.elites_frame()",
    "resume": """
from pathlib import Path
parts = arm, Grid((8, 8), arm.bounds), IsoLine(0.1, 0.2)
Search(*parts, batch=32, folder="run").run(2, progress=False).close()
Search.resume("run", *parts, batch=32).run(2, progress=False).close()
""",
    "compiled": """
compiled = Search.compiled(arm, Grid((8, 8), arm.bounds), IsoLine(0.1, 0.2), batch=32)
compiled.run(3, progress=False)
""",
    "texts in flight": """
from tests.worlds import texts
texts(in_flight=4).run(12, progress=False)
""",
    "evolution": """
from qdkit.operators import Evolution
evolution = Evolution(4, emitters=2, batch=8)
Search(arm, Grid((8, 8), arm.bounds), evolution, batch=16).run(3, progress=False)
""",
    "a candidate that fails": """
class Broken(Arm):
    calls = 0
    def evaluate(self, genomes):
        raise ZeroDivisionError
try:
    Search(Broken(4), Grid((8, 8), arm.bounds), IsoLine(0.1, 0.2), batch=32).run(1, progress=False)
except RuntimeError:
    pass
""",
    "a picture that fails": """
try:
    viz.heatmap(search, cmap="no such map")
except (ValueError, KeyError):
    pass
""",
    "comparison": """
from qdkit.comparing import comparison
other = Search(arm, Grid((8, 8), arm.bounds), IsoLine(0.1, 0.2)).run(2, progress=False)
viz.comparison(comparison.compare_runs([search, other]))
""",
    **{drawn: drawn for drawn in DRAWN},
}


CHECK = """
matplotlib.rcParams["font.size"] = 17.0  # a style of the user's
import matplotlib.pyplot as plt
plt.close(plt.figure())
np.seterr(over="raise")
changed = {}
for name, use in USES.items():
    before = state()
    exec(use)
    after = state()
    changed[name] = [kind for kind in before if before[kind] != after[kind]]
    plt.close("all")
print(changed)
assert not any(changed.values())
"""


def test_the_library_leaves_the_state_of_the_process_unchanged(tmp_path):
    """Compares snapshots around each use.

    The backend is loaded before, as any first figure loads it.
    """
    script = tmp_path / "script.py"
    script.write_text(f"{WORLD}{STATE}\nUSES = {USES!r}\n{CHECK}")
    environ = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
