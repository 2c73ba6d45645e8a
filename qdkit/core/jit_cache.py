"""A cache of jax compilations on disk, so that the second run of a search starts sooner."""

from __future__ import annotations

import os
from pathlib import Path


def keep_compilations() -> None:
    """Makes jax cache compilations in `$XDG_CACHE_HOME/qdkit/jax`, or `~/.cache/qdkit/jax`.

    Does nothing if the user has configured or disabled the cache of jax, or if the folder cannot
    be written.
    """
    import jax

    config = jax.config.values
    if (
        config["jax_compilation_cache_dir"] is not None
        or not config["jax_enable_compilation_cache"]
    ):
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qdkit" / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
