"""Compilations outlive the process that made them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = "from tests.worlds import points; points().run(2, progress=False)"


def run(**environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[1],
        env=kept | environment,
        check=True,
        timeout=240,
    )


def test_compilations_are_cached_for_the_next_process(tmp_path):
    """The first fills the user's cache folder, the second adds nothing to it."""
    run(XDG_CACHE_HOME=str(tmp_path))
    compiled = {
        path.name
        for path in (tmp_path / "qdkit" / "jax").iterdir()
        if path.name.endswith("-cache")
    }
    assert compiled
    run(XDG_CACHE_HOME=str(tmp_path))
    assert {
        path.name
        for path in (tmp_path / "qdkit" / "jax").iterdir()
        if path.name.endswith("-cache")
    } == compiled


def test_the_cache_folder_can_be_chosen(tmp_path):
    """jax's own setting comes first."""
    run(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))
    assert not (tmp_path / "qdkit").exists()
