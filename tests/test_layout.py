"""The built wheel: two folders at the top of the repository become parts of one package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from qdkit.cli import doctor
from qdkit.core.extras import DISTRIBUTION, FOREIGN, conflicting_distribution

ROOT = Path(__file__).parents[1]
SHELVES = ("archives", "domains")


def checkout(tracked: list[Path], folder: Path, links: bool) -> Path:
    """Copies the repository.

    Without `links` each link is a small file, as in a checkout on Windows.
    """
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
    """Builds the wheel of a copy of the repository with the tools that are installed here."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
    ]
    built = subprocess.run(
        [*pip, "--wheel-dir", folder, source], capture_output=True, text=True, timeout=240
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def shipped(tracked: list[Path]) -> set[str]:
    """Returns the names that the repository's files must have in the wheel."""
    ours = [
        p.as_posix()
        for p in tracked
        if p.parts[0] in ("qdkit", *SHELVES) and not (ROOT / p).is_symlink()
    ]
    return {name if name.startswith("qdkit/") else f"qdkit/{name}" for name in ours}


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_wheel_holds_every_file_under_one_name(tracked, tmp_path, links):
    """It has every module and prompt below `qdkit`, nothing else, and runs from another folder."""
    wheel = zipfile.ZipFile(build(checkout(tracked, tmp_path / "source", links), tmp_path))
    names = {
        name
        for name in wheel.namelist()
        if not re.match(r"quality_diversity_kit-[\d.]+\.dist-info/", name)
    }
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
        timeout=240,
    ).stdout.split()
    assert [Path(path).parent for path in where] == [
        tmp_path / "site/qdkit" / part for part in ("", *SHELVES)
    ]


def test_no_text_installs_this_project_from_an_index(tracked):
    """Neither by its own name, which is not registered, nor by `qdkit`, another project."""
    name = rf"['\"]?(?:{FOREIGN}|{DISTRIBUTION})(?![\w-])"
    command = re.compile(
        rf"(?:pip3? install|uv add|uvx|pipx (?:run|install))(?: +-[-\w]+)* +{name}"
    )
    for line in (
        "pip install 'qdkit[ui]'",
        "pip install -U qdkit",
        "uv add quality-diversity-kit",
    ):
        assert command.search(line), line
    texts = [
        path
        for path in tracked
        if path.suffix in (".py", ".md", ".toml", ".ipynb", ".html", ".js", ".txt", "")
    ]
    lines = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in texts
        if path != Path("tests/test_layout.py") and (ROOT / path).is_file()
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if command.search(line)
    ]
    assert not lines


def test_the_extras_refer_to_the_project_by_its_own_name():
    """A reference to another name would install another project with an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == DISTRIBUTION != FOREIGN
    named = [text for texts in project["optional-dependencies"].values() for text in texts]
    assert not [
        text for text in [*project["dependencies"], *named] if re.match(rf"{FOREIGN}\b", text)
    ]


def metadata(site: Path, name: str, version: str) -> None:
    """Writes the files of an installed distribution of this name into a folder of packages."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_doctor_names_another_distribution_with_the_import_name_qdkit(
    tmp_path, monkeypatch, capsys
):
    """With its version and the two commands. A build in a clone is no installation."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if path)])
    egg = tmp_path / "qdkit.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: qdkit\nVersion: 0.1.0\n")
    (egg / "SOURCES.txt").write_text("README.md\n")
    assert "0.1.0" not in conflicting_distribution()
    metadata(tmp_path, FOREIGN, "99.2.2")
    sentence = conflicting_distribution()
    assert "'qdkit' 99.2.2 is installed here" in sentence and "pip uninstall qdkit" in sentence
    doctor.report()
    assert "99.2.2" in capsys.readouterr().out


def new_environment(folder: Path) -> Path:
    """Makes a new environment. Returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
    return folder / "bin" / "python"


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_no_extra_installs_the_package_of_another_project(tracked, tmp_path):
    """In a new environment, a dry run of each extra names this project once, by its own name."""
    source = checkout(tracked, tmp_path / "source", links=True)
    python = new_environment(tmp_path / "venv")
    extras = tomllib.loads((source / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra in extras:
        pip = [
            python,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--quiet",
            "--report",
            "-",
            "-c",
            "constraints.txt",
        ]
        ran = subprocess.run(
            [*pip, f".[{extra}]"], cwd=source, capture_output=True, text=True, timeout=600
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        names = [one["metadata"]["name"].lower() for one in json.loads(ran.stdout)["install"]]
        assert names.count(DISTRIBUTION) == 1 and FOREIGN not in names, extra


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_the_built_distributions_are_valid_and_run_outside_the_clone(tracked, tmp_path):
    """Runs `python -m build` and `twine check`, and the wheel in a new environment and folder."""
    source, dist, away = (
        checkout(tracked, tmp_path / "source", links=True),
        tmp_path / "dist",
        tmp_path / "away",
    )
    away.mkdir()

    def step(*command, cwd=source, seconds=900):
        ran = subprocess.run(
            command,
            cwd=cwd,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
        assert ran.returncode == 0, ran.stdout[-4000:]
        return ran.stdout

    tools = new_environment(tmp_path / "tools")  # they bring 25 packages that nothing else needs
    step(tools, "-m", "pip", "install", "--quiet", "build==1.6.1", "twine==7.0.0")
    step(tools, "-m", "build", "--outdir", dist)
    (wheel,), (archive,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    step(tools, "-m", "twine", "check", "--strict", wheel, archive)
    python = new_environment(tmp_path / "venv")
    step(python, "-m", "pip", "install", "--quiet", "-c", source / "constraints.txt", wheel)
    shutil.rmtree(source)
    main_job = ["run", "circle_packing", "--budget", "20s", "--against", "independent", "climb"]
    step(python, "-m", "qdkit", *main_job, cwd=away)
    pictures = {"overview.png", "gallery.png", "comparison.png"}
    assert pictures <= {path.name for path in (away / "results" / "circle_packing-1").iterdir()}


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_first_command_of_the_readme_installs_and_runs(tracked, tmp_path):
    """In a new environment and checkout it installs qdkit and runs it to the end."""
    (command,) = re.findall(
        r"^python3 .* qdkit run .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M
    )
    source = checkout(tracked, tmp_path / "source", links=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=240)
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
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    pictures = {"overview.png", "gallery.png", "comparison.png"}
    assert pictures <= {path.name for path in (source / "results" / "circle_packing-1").iterdir()}
