"""What is installed and what it can do: `qdkit doctor`."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from importlib.util import find_spec

from qdkit import __version__

CORE = ("numpy", "jax", "jaxlib", "ribs", "openai", "matplotlib", "cyclopts", "tqdm")
EXTRAS = {
    "ipywidgets": ("pip install ipywidgets", "progress bars in notebooks that look like bars"),
    "ribs.visualize": ("pip install 'ribs[visualize]'", "pyribs' own plots"),
}


def report() -> None:
    """Prints versions, devices, and what each missing extra would add."""
    from rich import print
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("qdkit", __version__)
    table.add_row("python", f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}")
    for name in CORE:
        table.add_row(name, _version(name))
    table.add_row("devices", _devices())
    for name, (command, adds) in EXTRAS.items():
        there = find_spec(name.partition(".")[0]) is not None and (
            name != "ribs.visualize" or find_spec("seaborn") is not None
        )
        table.add_row(name, "installed" if there else f"not installed: `{command}` adds {adds}")
    print(table)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "MISSING: install qdkit again, `pip install qdkit`"


def _devices() -> str:
    try:
        import jax

        return ", ".join(str(device) for device in jax.devices())
    except (ImportError, RuntimeError) as error:
        return f"none that jax can use: {error}"
