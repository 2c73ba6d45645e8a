"""The page on which people judge candidates during a search: `qdkit rate RUN`, `search.rate()`.

`choose` selects the candidates of a question, `question_kinds` has the kinds of questions, and
`genome_view` displays candidates. `sealed_questions` seals links and questions, `guard` refuses
foreign requests, `page` responds, and `app` and `server` serve it on a socket. Replies are stored
in `qdkit.runs.judgements` and nowhere else. The page needs the extra `ui`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdkit.core.extras import install_command
from qdkit.rate.choose import Choose, spread, telling

if TYPE_CHECKING:
    from qdkit.rate.server import PageServer
    from qdkit.runs.view import RunView

_NEEDED = ("starlette", "uvicorn", "jinja2", "pygments")
# The origins of notebooks: servers on this machine, and an editor.
_NOTEBOOKS = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* vscode-webview:"

__all__ = ["Choose", "in_notebook", "serve", "spread", "telling"]


def serve(
    run: Path,
    view: Callable[[], RunView],
    *,
    host: str = "127.0.0.1",
    port: int = 8123,
    **settings: Any,
) -> PageServer:
    """Serves the page of the run in the folder `run`.

    view: returns the search or run in its current state.
    settings: those of `qdkit.rate.page.Page`.

    Raises ModuleNotFoundError, with the command that installs missing packages, OSError for a port
    that is in use.
    """
    return _serve(run, view, host, port, "'none'", settings)


def in_notebook(
    run: Path | None, view: Callable[[], RunView], *, port: int = 0, **settings: Any
) -> PageServer:
    """Serves a page for a frame in a notebook, at any free port; see `serve`."""
    if run is None:
        raise ValueError(
            "judgements are kept in the run's folder: give the search one, folder='results/mine'"
        )
    return _serve(run, view, "127.0.0.1", port, _NOTEBOOKS, settings)


def _serve(
    run: Path,
    view: Callable[[], RunView],
    host: str,
    port: int,
    frames: str,
    settings: dict[str, Any],
) -> PageServer:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"the page needs {', '.join(missing)}: {install_command('ui')}")
    from qdkit.rate.page import Page
    from qdkit.rate.server import PageServer

    page = Page(run, view, **settings)
    try:
        return PageServer(page, host, port, frames=frames)
    except (OSError, ValueError):
        page.close()
        raise
