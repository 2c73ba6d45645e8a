"""The installation of the optional parts of the toolkit.

No package index holds this project, and the name `qdkit` on the public index belongs to another
project. An installation by that name would replace this project's files, so extras are installed
from the clone.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

DISTRIBUTION = "quality-diversity-kit"
FOREIGN = "qdkit"  # another project's distribution, which installs the same import name


def install_command(extra: str) -> str:
    """Returns the command that installs an extra, and where to run it."""
    return f"pip install -e '.[{extra}]' in the clone of qdkit"


def conflicting_distribution() -> str:
    """Returns a sentence on an installed distribution with the import name `qdkit`; "" if none.

    Such a distribution is another project's, or an installation of this project under its former
    name. Its removal also deletes files of this project, so a new installation has to follow.
    """
    installed = importlib.metadata.distributions(name=FOREIGN)
    # A build leaves `qdkit.egg-info` in the clone, with SOURCES.txt; that is no installation.
    versions = [one.version for one in installed if one.read_text("SOURCES.txt") is None]
    if not versions:
        return ""
    return (
        f"the distribution {FOREIGN!r} {versions[0]} is installed here, which is not this project "
        f"and installs the same import name: run `pip uninstall {FOREIGN}`, then "
        "`pip install -e .` in the clone of qdkit"
    )


def clone_warning(package: Path) -> str:
    """Returns a sentence if the clone lies in a folder named `qdkit`, else an empty text.

    package: the folder of the package within the clone. Python takes a folder named `qdkit` beside
      a script for the package, and so imports an empty one.
    """
    clone = package.parent
    if clone.name != package.name:
        return ""
    return (
        f"the clone lies in {clone}, which scripts beside it import in place of the package: "
        f"rename it to {DISTRIBUTION}, and install it again"
    )
