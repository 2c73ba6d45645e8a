"""The notebooks: each runs from top to bottom in a copy, and is stored with its outputs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.cases import mostly_soak

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Set once the kernel's own libraries are loaded. Noise without limits may lead below the floor of
# the arm.
STRICT = """import warnings
warnings.simplefilter('error')
warnings.filterwarnings('default', '.*below the floor')"""


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Runs all cells in a new kernel of this interpreter, in `folder`.

    Raises CellExecutionError where one raises.
    """
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    environment = {
        name: value for name, value in os.environ.items() if name != "MPLBACKEND"
    }  # figures show inline
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment | {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize(
    "cell", ["1 / 0", "import warnings; warnings.warn('old', DeprecationWarning)"]
)
def test_a_notebook_that_fails_is_noticed(tmp_path, cell):
    """A cell that raises, or warns, fails its notebook."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    with pytest.raises(CellExecutionError, match=r"ZeroDivisionError|DeprecationWarning"):
        execute(notebook, tmp_path)


if NOTEBOOKS:  # a test without parameters would count as skipped
    name_of = lambda path: path.stem

    @pytest.mark.parametrize("path", mostly_soak(NOTEBOOKS), ids=name_of)
    def test_a_notebook_runs(path, tracked, tmp_path):
        """It runs in a copy of its folder, with the recordings beside it, and leaves no error."""
        for file in tracked:
            if file.parts[0] in ("notebooks", "results"):
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, tmp_path / file)
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, tmp_path / "notebooks")
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.output_type == "error"]

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
    def test_a_notebook_is_kept_as_it_ran(path):
        """Its cells were run once, in order, with a figure, no error and no path of a machine."""
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        cells = [
            cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()
        ]
        counts = [cell.execution_count for cell in cells]
        assert counts == list(range(1, len(cells) + 1)), (
            f"run it anew: jupyter execute --inplace notebooks/{path.name}"
        )
        outputs = [output for cell in cells for output in cell.outputs]
        assert any("image/png" in output.get("data", {}) for output in outputs), (
            "no figure is stored"
        )
        assert not [output for output in outputs if output.output_type == "error"]
        assert not re.search(r"(?<![\w.])/(home|Users|root|tmp)/|ipykernel_\d+", text)
