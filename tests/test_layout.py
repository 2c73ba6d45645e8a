"""The built wheel: two folders at the top of the repository arrive as parts of one package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHELVES = ("archives", "domains")


def checkout(tracked: list[Path], folder: Path, links: bool) -> Path:
    """A copy of the repository; without `links` each is a small file, as in a checkout on Windows."""
    for path in tracked:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target, follow_symlinks=False)
        if target.is_symlink() and not links:
            text = os.readlink(target)
            target.unlink()
            target.write_text(text)
    return folder


def build(source: Path, folder: Path) -> Path:
    """The wheel of a copy of the repository, built with what is installed here."""
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    built = subprocess.run([*pip, "--wheel-dir", folder, source], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def shipped(tracked: list[Path]) -> set[str]:
    """The names that the repository's files must have in the wheel."""
    ours = [p.as_posix() for p in tracked if p.parts[0] in ("qdkit", *SHELVES) and not (ROOT / p).is_symlink()]
    return {name if name.startswith("qdkit/") else f"qdkit/{name}" for name in ours}


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_wheel_holds_every_file_under_one_name(tracked, tmp_path, links):
    """Every module and prompt is shipped below `qdkit`, nothing else is, and it runs from another folder."""
    wheel = zipfile.ZipFile(build(checkout(tracked, tmp_path / "source", links), tmp_path))
    names = {name for name in wheel.namelist() if not re.match(r"qdkit-[\d.]+\.dist-info/", name)}
    assert names == shipped(tracked)

    wheel.extractall(tmp_path / "site")
    script = (
        "import qdkit, qdkit.archives, qdkit.domains\n"
        "print(qdkit.__file__, qdkit.archives.__file__, qdkit.domains.__file__, sep='\\n')"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    where = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    assert [Path(path).parent for path in where] == [tmp_path / "site/qdkit" / part for part in ("", *SHELVES)]


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_first_command_of_the_readme_does_its_own_set_up(tracked, tmp_path):
    """In a fresh environment and a fresh checkout, the README's first command installs qdkit and runs it to the end."""
    (command,) = re.findall(r"^python3 .* qdkit run .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    source = checkout(tracked, tmp_path / "source", links=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    path = os.pathsep.join([str(tmp_path / "venv" / "bin"), os.environ["PATH"]])
    ran = subprocess.run(
        command,
        shell=True,
        cwd=source,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    pictures = {"overview.png", "gallery.png", "comparison.png"}
    assert pictures <= {path.name for path in (source / "results" / "circle_packing-1").iterdir()}
