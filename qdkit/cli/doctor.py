"""The report of `qdkit doctor`: what is installed and what it can do."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from qdkit import __version__
from qdkit.core.extras import clone_warning, conflicting_distribution, install_command
from qdkit.programs.sandbox import Probed, isolation_in_words, probe, threads

_CORE = ("numpy", "jax", "jaxlib", "ribs", "openai", "matplotlib", "cyclopts", "tqdm")
_EXTRAS = {
    "resvg_py": (install_command("draw"), "pictures of drawings (qdkit run drawings)"),
    "starlette": (install_command("ui"), "the page on which people judge (qdkit rate)"),
    "distributed": (install_command("dask"), "evaluation on a cluster"),
    "ipywidgets": ("pip install ipywidgets", "progress bars in notebooks that look like bars"),
    "ribs.visualize": ("pip install 'ribs[visualize]'", "pyribs' own plots"),
}


def report(model: str | None = None) -> None:
    """Prints versions, devices, what each missing extra would add, and what a model server can
    do.
    """
    from rich import print
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("qdkit", __version__)
    for warning in (
        conflicting_distribution(),
        clone_warning(Path(__file__).resolve().parents[1]),
    ):
        if warning:
            table.add_row("WARNING", escape(warning))
    table.add_row(
        "python", f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}"
    )
    for name in _CORE:
        table.add_row(name, _version(name))
    table.add_row("devices", _devices())
    for level in probe():
        table.add_row(f"sandbox {level.level}", escape(_isolation(level)))
    for name, (command, adds) in _EXTRAS.items():
        there = find_spec(name.partition(".")[0]) is not None and (
            name != "ribs.visualize" or find_spec("shapely") is not None
        )
        table.add_row(
            name, "installed" if there else escape(f"not installed: `{command}` adds {adds}")
        )
    table.add_row("encoder", escape(_encoder()))
    for ability, found in _abilities(model).items() if model else ():
        table.add_row(escape(ability), escape(found))
    print(table)


def _isolation(level: Probed) -> str:
    """Returns what an isolation level prevents and what it does not, or why it does not work."""
    if not level.works:
        return f"does not work: {level.why}"
    _, _, walls = isolation_in_words(level.level).partition(" ")
    return f"works {walls}; {threads(level.level)}"


def _abilities(model: str) -> dict[str, str]:
    """Returns what a server answers to a few short questions. Raises ModelError if it cannot be
    reached.
    """
    from qdkit.llm import LLM, capabilities

    found = capabilities(LLM(model))
    tried = {"text": found.text, "JSON schema": found.schema, "log-probabilities": found.logprobs}
    tried |= {"embeddings": found.embeddings}
    answered = (
        f"answers as {found.model} in {found.seconds:.2f} s" if found.model else "does not answer"
    )
    price = (
        "known" if found.priced else "unknown: a budget in dollars needs prices={...} (in Python)"
    )
    return {
        model: answered,
        **{name: error or "yes" for name, error in tried.items()},
        "price": price,
    }


def _encoder() -> str:
    """Returns by which weights texts become vectors here, or why they cannot."""
    from qdkit.llm.minilm import INSTALL, NAME, MiniLM, is_published

    try:
        folder = MiniLM().folder
    except (ImportError, ValueError) as error:
        both = " and ".join(f"`{command}`" for command in INSTALL)
        return f"none ({error}): {both} add vectors of texts by {NAME} instead of hashed n-grams"
    assert folder is not None
    return (
        f"{NAME}, the published weights"
        if is_published(folder)
        else f"other weights than the published, in {folder}"
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "MISSING: install qdkit again, `pip install -e .` in its clone"


def _devices() -> str:
    try:
        import jax

        return ", ".join(str(device) for device in jax.devices())
    except (ImportError, RuntimeError) as error:
        return f"none that jax can use: {error}"
