"""The page on which people judge candidates, while the search goes on: `qdkit rate RUN`, or `search.rate()`.

`choose` says which candidates come next, `kinds` what can be asked, `look` how a candidate is shown. `asked`
seals links and questions, `guard` stands before the page, `page` answers, `app` and `served` put it on a
socket. Replies go to `qdkit.judgements` and nowhere else. The page needs the extra `ui`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdkit.rate.choose import Choose, spread, telling

if TYPE_CHECKING:
    from qdkit.rate.served import Served
    from qdkit.seen import Seen

NEEDED = ("starlette", "uvicorn", "jinja2", "pygments")
# A notebook is served from this machine as well, or lives in an editor.
NOTEBOOKS = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* vscode-webview:"

__all__ = ["Choose", "in_notebook", "serve", "spread", "telling"]


def serve(run: Path, seen: Callable[[], Seen], *, host: str = "127.0.0.1", port: int = 8123, **settings: Any) -> Served:
    """Serves the page of the run in the folder `run`, whose `seen()` gives what there is to see.

    settings: those of `qdkit.rate.page.Page`. Raises ModuleNotFoundError with the command that installs what is
    missing, OSError with a sentence for a port that is in use.
    """
    return _serve(run, seen, host, port, "'none'", settings)


def in_notebook(run: Path | None, seen: Callable[[], Seen], *, port: int = 0, **settings: Any) -> Served:
    """The same for a page that stands in a frame of a notebook, at any free port."""
    if run is None:
        raise ValueError("judgements are kept in the run's folder: give the search one, run='results/mine'")
    return _serve(run, seen, "127.0.0.1", port, NOTEBOOKS, settings)


def _serve(run: Path, seen: Callable[[], Seen], host: str, port: int, frames: str, settings: dict[str, Any]) -> Served:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"the page needs {', '.join(missing)}: pip install 'qdkit[ui]'")
    from qdkit.rate.page import Page
    from qdkit.rate.served import Served

    page = Page(run, seen, **settings)
    try:
        return Served(page, host, port, frames=frames)
    except (OSError, ValueError):
        page.close()
        raise
