"""What is installed and what it can do: `qdkit doctor`."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from importlib.util import find_spec

from qdkit import __version__
from qdkit.sandbox import probe

CORE = ("numpy", "jax", "jaxlib", "ribs", "openai", "matplotlib", "cyclopts", "tqdm")
EXTRAS = {
    "resvg_py": ("pip install 'qdkit[draw]'", "pictures of drawings (qdkit run drawings)"),
    "starlette": ("pip install 'qdkit[ui]'", "the page on which people judge (qdkit rate)"),
    "distributed": ("pip install 'qdkit[dask]'", "evaluation on a cluster"),
    "ipywidgets": ("pip install ipywidgets", "progress bars in notebooks that look like bars"),
    "ribs.visualize": ("pip install 'ribs[visualize]'", "pyribs' own plots"),
}


def report(model: str | None = None) -> None:
    """Prints versions, devices, what each missing extra would add, and what a model's server can do."""
    from rich import print
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("qdkit", __version__)
    table.add_row("python", f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}")
    for name in CORE:
        table.add_row(name, _version(name))
    table.add_row("devices", _devices())
    for level in probe():
        table.add_row(f"sandbox {level.level}", "works" if level.works else escape(f"does not work: {level.why}"))
    for name, (command, adds) in EXTRAS.items():
        there = find_spec(name.partition(".")[0]) is not None and (
            name != "ribs.visualize" or find_spec("shapely") is not None
        )
        table.add_row(name, "installed" if there else escape(f"not installed: `{command}` adds {adds}"))
    table.add_row("encoder", escape(_encoder()))
    for ability, found in _abilities(model).items() if model else ():
        table.add_row(escape(ability), escape(found))
    print(table)


def _abilities(model: str) -> dict[str, str]:
    """What the server answers to a few short questions. Raises ModelError if it cannot be asked at all."""
    from qdkit.llm import LLM, capabilities

    found = capabilities(LLM(model))
    tried = {"text": found.text, "JSON schema": found.schema, "log-probabilities": found.logprobs}
    tried |= {"embeddings": found.embeddings}
    answered = f"answers as {found.model} in {found.seconds:.2f} s" if found.model else "does not answer"
    price = "known" if found.priced else "unknown: a budget in dollars needs prices={...} (in Python)"
    return {model: answered, **{name: error or "yes" for name, error in tried.items()}, "price": price}


def _encoder() -> str:
    """Whether texts can become vectors here, and by which weights."""
    from qdkit.encoder import INSTALL, NAME, MiniLM, known

    try:
        folder = MiniLM().folder
    except (ImportError, ValueError) as error:
        both = " and ".join(f"`{command}`" for command in INSTALL)
        return f"none ({error}): {both} add vectors of texts by {NAME}, in the place of hashed n-grams"
    assert folder is not None
    return f"{NAME}, the published weights" if known(folder) else f"other weights than the published, in {folder}"


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
