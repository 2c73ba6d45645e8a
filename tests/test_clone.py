"""A script beside the clone imports the package, and not the folder of the clone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from qdkit.core import extras

ROOT = Path(__file__).parents[1]
SCRIPT = "import qdkit\nprint(qdkit.Search.__name__)\n"


def run_beside(folder: Path, clone: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that lies beside a clone of this name."""
    (folder / clone).symlink_to(ROOT, target_is_directory=True)
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_script_beside_a_clone_imports_the_package(tmp_path):
    """With the folder name that the README gives."""
    name = extras.DISTRIBUTION
    assert f"a folder named `{name}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert run_beside(tmp_path, name).stdout.strip() == "Search"


def test_the_doctor_warns_of_a_clone_that_hides_the_package(tmp_path):
    """Python takes a folder named qdkit beside a script for the package."""
    assert "Search" not in run_beside(tmp_path, "qdkit").stdout
    warning = extras.clone_warning(tmp_path / "qdkit" / "qdkit")
    assert str(tmp_path / "qdkit") in warning and f"rename it to {extras.DISTRIBUTION}" in warning
    assert extras.clone_warning(tmp_path / "other" / "qdkit") == ""
    assert extras.clone_warning(tmp_path / "site-packages" / "qdkit") == ""
