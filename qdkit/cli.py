"""The command line: `qdkit run`, `resume`, `show`, `rate`, `judgements`, `validate`, `open-lockbox`, `compare`, ..."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from qdkit import __version__, catalog
from qdkit.options import with_settings
from qdkit.order import Order
from qdkit.plain import visible
from qdkit.printed import (
    axes_summary,
    print_json,
    save,
    show_axes,
    show_comparison,
    show_judgements,
    show_links,
    show_run,
)
from qdkit.record import Halt

if TYPE_CHECKING:
    from qdkit.feedback import Attribute
    from qdkit.search import Search
    from qdkit.seen import Seen
    from qdkit.stopping import Stop

HELP = """Quality-diversity search: many good, different answers instead of one.

Begin with `qdkit run arm`, and look at a run with `qdkit show`."""
EXPECTED = (LookupError, ValueError, TypeError, OSError, RuntimeError, Halt)  # sentences for the user, not bugs


def main(words: Sequence[str] | None = None) -> None:
    """What the command `qdkit` does with `words`, by default those of the command line."""
    words = list(sys.argv[1:] if words is None else words)
    app = App(name="qdkit", help=HELP, version=__version__)
    try:
        app.command(with_settings(run, words[1:] if words[:1] == ["run"] else []), name="run")
        for command in (resume, show, rate, judgements, validate, open_lockbox, compare, audit, axes, doctor):
            app.command(command)
        app(words)
    except (KeyError, IndexError):
        raise  # a mistake in the code, though a LookupError
    except ModuleNotFoundError as error:
        if error.name is not None:
            raise  # a mistake too; what an extra would bring is said in a sentence, and names no module
        sys.exit(visible(f"qdkit: {error}"))
    except EXPECTED as error:
        sys.exit(visible(f"qdkit: {error}"))
    except KeyboardInterrupt:
        sys.exit(130)


Baseline = Literal["independent", "chain", "climb", "multistart"]


def run(
    domain: str,
    /,
    *,
    evaluations: int | None = None,
    seed: int = 1,
    batch: int | None = None,
    out: Path | None = None,
    archive: Literal["grid", "cvt"] = "grid",
    operator: str | None = None,
    model: Annotated[list[str] | None, Parameter(negative="")] = None,
    judge: str | None = None,
    axes: Path | None = None,
    in_flight: int | None = None,
    budget: str | None = None,
    baseline: Baseline | None = None,
    novelty: Literal["distinct", "none"] = "distinct",
    compiled: Annotated[bool, Parameter(negative="")] = False,
    against: Annotated[list[Baseline] | None, Parameter(negative="", consume_multiple=True)] = None,
    **settings: Any,
) -> None:
    """Search DOMAIN, and keep the run in a folder with its pictures.

    Parameters
    ----------
    domain
        What to search: numbers (arm, unit_arm, posed_arm, sphere, rastrigin, plateau, maze), texts (words, poetry,
        opinions, stories, image-prompts), pictures (drawings), programs that solve a problem (circle_packing,
        heilbronn, min_max_distance, autocorrelation, overlap, sums_differences), programs that predict (regression),
        or your own as package.module:Object, file.py:Object or a folder with seed.py, task.md and score.py.
        `qdkit run DOMAIN --help` shows its options.
    evaluations
        How many candidates to try; where nothing else limits the run 100,000, 1,000 with models, and as many programs
        as fit into 100 seconds.
    seed
        Of all randomness: the same seed gives the same run.
    batch
        How many candidates a step makes; 1,000 where left out, 50 programs, 1 with models.
    out
        The run's folder; results/DOMAIN-1, -2, ... where left out.
    archive
        Cells of a grid, or around spread centroids (cvt).
    operator
        How new candidates are made: line (where left out), gaussian or cma-me for numbers, syntax for programs, or one
        of the domain's own.
    model
        A language model that makes new texts; several may be named. It is asked at OPENAI_BASE_URL, or at OpenAI with
        the key in OPENAI_API_KEY.
    judge
        The language model that judges; the first --model where left out. `measures` judges without one.
    axes
        A file of axes (see `qdkit axes`) that take the place of the domain's own: a cell for each combination of their
        values. The model that judges says which value a text has; without one, vectors of texts do.
    in_flight
        How many steps are worked on at once; 1 where left out, 16 with models.
    budget
        What the run may spend at most, such as 5usd, 2000calls, 30min or 5usd+2h.
    baseline
        Search without the map, to see what it is worth: make each candidate from the seeds (independent), the one
        before (chain), the best so far (climb) or fresh seeds (multistart). See `qdkit compare`.
    novelty
        What is not tried because it is known: the same text, or the same program but for its looks (distinct); or try
        everything (none).
    compiled
        Run the whole search as one compiled program: many times faster for numbers whose domain is written in JAX.
        Candidates have no rows then, and the map alone is kept.
    against
        Then also search with these baselines, as many evaluations each, into folders within the run's, and show all of
        them beside each other.
    """
    domain = _runnable(domain, settings)
    models = tuple(model or ())
    said = (domain, evaluations, seed, batch, archive, operator, models, in_flight, budget, baseline, novelty, compiled)
    placed = tuple(axis.plain() for axis in _axes(axes)) if axes else ()
    order, path = Order(*said, settings, judge, placed), out or _free_folder(domain)
    until = order.until()  # before there is a folder: it may be refused
    search = _begun(order, path)
    _go(search, until)
    if against:
        _baselines(replace(order, budget=None, evaluations=search.commits[-1].evaluations), path, against)


def resume(
    run: Path, /, *, evaluations: int | None = None, budget: str | None = None, domain: str | None = None
) -> None:
    """Go on with a run that was stopped or killed.

    Parameters
    ----------
    run
        The run's folder.
    evaluations
        How far to go; as far as it was meant to go where left out.
    budget
        What the run may spend, from its beginning; as before where left out.
    domain
        Your own domain, if it searches one: a file is not trusted to name code.
    """
    from qdkit.ledger import Ledger

    ledger = Ledger.open(run)
    orders = [value for _, kind, value in ledger.events() if kind == "order"]
    ledger.close()
    if not orders:
        raise ValueError(f"{run} was made in Python: go on with it there, Search(..., run={str(run)!r}, resume=True)")
    order = Order.of(orders[0])
    if domain is None and order.domain not in catalog.DOMAINS:
        raise ValueError(f"{run} searches a domain of your own: name it again, --domain {order.domain}")
    changed: dict[str, Any] = {"evaluations": evaluations, "budget": budget, "domain": domain}
    order = replace(order, **{name: value for name, value in changed.items() if value is not None})
    _go(order.search(run, resume=True), order.until())


def show(
    run: Path,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    domain: str | None = None,
) -> None:
    """Show how a run stands, also while it goes on, and draw its pictures into its folder.

    Parameters
    ----------
    run
        The run's folder.
    as_json
        Print the summary as one JSON object, and nothing else.
    domain
        Your own domain, if it is to draw its candidates: a file is not trusted to name code.
    """
    from qdkit.runs import load

    seen = load(run)
    seen.domain = seen.domain or _drawing(seen, domain)
    if as_json:
        print_json({**seen.summary(), **axes_summary(seen)})
    else:
        show_run(seen, run)


def rate(
    run: Path,
    /,
    *,
    question: Literal["triplet", "odd", "pair", "ranking", "rating", "label"] = "triplet",
    rater: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    asks: str = "",
    label: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    goal: int = 10,
    host: str = "127.0.0.1",
    port: int = 8123,
    domain: str | None = None,
) -> None:
    """Judge candidates of a run in a browser, also while it goes on; the answers lie in the run's folder.

    Parameters
    ----------
    run
        The run's folder.
    question
        What is asked: which of two is more like the first (triplet), which of three is the odd one out (odd), which of
        two is better (pair), in which order three are (ranking), how good one is (rating), what it is (label).
    rater
        Who answers, one name or several; each has a link of their own.
    asks
        The question in your own words.
    label
        The labels to choose from, up to nine; free text where left out.
    goal
        How many judgements each rater is asked for.
    host
        The address to listen at, such as 0.0.0.0 for all of this machine's; by default only this machine itself can
        open the page.
    port
        The port to listen at, 0 for any that is free.
    domain
        Your own domain, if it is to draw its candidates: a file is not trusted to name code.
    """
    from qdkit.rate import serve
    from qdkit.runs import Watched, load

    seen = load(run)
    seen.domain = seen.domain or _drawing(seen, domain)
    said = {"raters": rater or ["me"], "asks": asks, "labels": label or [], "goal": goal}
    served = serve(run, Watched(seen), question=question, host=host, port=port, **said)
    try:
        show_links(served.links, served.alone)
        served.wait()
    finally:
        served.close()
        seen.close()


def judgements(
    run: Path,
    /,
    *,
    out: Path | None = None,
    take_in: Annotated[Path | None, Parameter(name="--import")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Show who judged what in a run, write it into a file, or take in a file.

    Parameters
    ----------
    run
        The run's folder.
    out
        Write every judgement into this file, as its name ends: .csv or .jsonl.
    take_in
        Take in the judgements of such a file; those that are there already are not taken twice.
    as_json
        Print the counts as JSON, a list with one object for each rater and question, and nothing else.
    """
    from qdkit import exchange
    from qdkit.judgements import Judgements

    store = Judgements(run)
    taken = store.extend(exchange.read(take_in)) if take_in else None
    if out is not None:
        exchange.write(store.since(0), out)
    counts = [{"rater": who, "question": what, "judgements": n} for (who, what), n in sorted(store.counts().items())]
    if as_json:
        print_json(counts)
    else:
        show_judgements(counts, taken, out)
    store.close()


def validate(run: Path, /, *, best: int = 20, domain: str | None = None) -> None:
    """Score the best of a run on validation data, which the search has not seen, and show the gap.

    Parameters
    ----------
    run
        The run's folder.
    best
        How many of its elites, the highest first; what was asked before is not asked again.
    domain
        Your own domain: a file is not trusted to name code.
    """
    from qdkit.runs import load

    seen = load(run)
    found = seen.validate(best, _scoring(seen, run, domain))
    print(f"{len(found)} candidates were scored on validation data, and what was asked before was not asked again")
    show_run(seen, run)


def open_lockbox(run: Path, /, *, domain: str | None = None) -> None:
    """Score one candidate on the data of the lockbox, once: the number to report of a run.

    It is the candidate with the highest validation score, or the search's best where none was asked.

    Parameters
    ----------
    run
        The run's folder.
    domain
        Your own domain: a file is not trusted to name code.
    """
    from qdkit.runs import load

    seen = load(run)
    query = seen.open_lockbox(_scoring(seen, run, domain))
    print(visible(f"the lockbox is open, once and for all: {query.words}"))
    show_run(seen, run)


def compare(
    *runs: Path,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Put runs beside each other at equal evaluations, equal calls of models and equal CPU time.

    Runs that differ in their seed alone are one group, told by its median and the least and the most:
    `for seed in 1 2 3 4 5; do qdkit run arm --seed $seed; done; qdkit compare results/arm-*`.

    Parameters
    ----------
    runs
        The runs' folders. All candidates are put into one map, that of the first run that has one, and the groups are
        compared with the first.
    out
        Draw the curves of the groups, with their spread, into this file.
    as_json
        Print the comparison as one JSON object, and nothing else.
    """
    from qdkit.comparison import compared
    from qdkit.runs import load

    comparison = compared([load(run) for run in runs])
    if as_json:
        print_json(comparison.plain())
    else:
        show_comparison(comparison)
    if out is not None:
        from qdkit import viz

        save(viz.comparison(comparison), out)
        if not as_json:
            print(f"drawn: {out}")


def audit(
    judge: str,
    /,
    *,
    texts: Path | None = None,
    model: str | None = None,
    repeats: int = 3,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Say how far a judge can be trusted: asked again, in another order, about the same text dressed otherwise.

    Parameters
    ----------
    judge
        A domain that is judged (poetry), a measure (sentiment, readability, repetition, form), or your own as
        package.module:judge or file.py:judge.
    texts
        What it is asked about: a file with a JSON text on each line, or {"text": ..., "label": ...} with what a person
        says of it, a number or a label. The domain's seeds where left out.
    model
        The language model that judges for the domain.
    repeats
        How often each text is judged.
    as_json
        Print what was found as JSON, a list with one object for each judge, and nothing else.
    """
    from rich import print

    from qdkit.feedback import audit

    judges, known = catalog.judges(judge, model)
    labelled = _labelled(texts) if texts else [(text, None) for text in known]
    if not labelled:
        raise ValueError(f"say what {judge} is asked about: --texts FILE, with a JSON text on each line")
    said = [(text, label) for text, label in labelled if label is not None]
    audits = [audit(each, [text for text, _ in labelled], said, repeats=repeats) for each in judges]
    if as_json:
        print_json([made.plain() for made in audits])
    for made in [] if as_json else audits:
        print(made)


def axes(
    task: str,
    /,
    *,
    samples: Path,
    model: str,
    number: int = 3,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("axes.json"),
) -> None:
    """Have a model propose axes on which texts can differ, as a file to edit: then `qdkit run DOMAIN --axes FILE`.

    Parameters
    ----------
    task
        What the texts are written for, in words.
    samples
        What was written so far: a file with a JSON text on each line, of which the first 20 are shown.
    model
        The language model that proposes.
    number
        How many axes.
    out
        The file, which is not there yet.
    """
    from qdkit.feedback import proposed
    from qdkit.llm import LLM

    if out.exists():
        raise ValueError(f"{out} is there already, perhaps edited: name another file, --out FILE")
    found = proposed(LLM(model), task, [text for text, _ in _labelled(samples)], number)
    written = {"task": task, "axes": [axis.plain() for axis in found]}
    out.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    show_axes(found)
    print(visible(f"kept in {out}: edit it, and search on these axes with `qdkit run DOMAIN --axes {out}`"))


def doctor(*, model: str | None = None) -> None:
    """Say what is installed, on which devices jax computes, and what each missing extra would add.

    Parameters
    ----------
    model
        Also put four short questions to this model, and say what its server can do.
    """
    from qdkit.doctor import report

    report(model)


def _axes(path: Path) -> tuple[Attribute, ...]:
    """The axes in a file. Raises ValueError, with what is wrong, for a file that holds none."""
    from qdkit.feedback import attributes

    try:
        return attributes(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} holds no axes: {error}") from None


def _labelled(path: Path) -> list[tuple[str, Any]]:
    """The texts of a file of JSON lines, each with its label or None."""
    found: list[tuple[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            said = json.loads(line)
            found.append((said, None) if isinstance(said, str) else (said["text"], said.get("label")))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(
                f'line {number} of {path} is no text: give a JSON text on each line, or {{"text": ..., "label": ...}}'
            ) from None
    return found


def _free_folder(domain: str) -> Path:
    """The first of results/DOMAIN-1, -2, ... that is not there."""
    name = domain.rpartition(":")[2].lower() if ":" in domain else Path(domain).resolve().name
    return next(path for i in range(1, sys.maxsize) if not (path := Path("results", f"{name}-{i}")).exists())


def _go(search: Search, until: Stop | None) -> None:
    """Runs until its budget is used up, or `until` says that it is enough, then shows what came of it."""
    from rich import print
    from rich.text import Text

    from qdkit.runs import load

    path = search.ledger.path
    assert path is not None  # a command line always has a folder
    islands = f" on each of {search.archive.islands} islands" if search.archive.islands > 1 else ""
    told = f" into {search.archive.map.cells:,} cells{islands}, kept in {path}"
    print(Text.assemble((type(search.domain).__name__, "bold"), visible(told)))
    try:
        search.run(until=until)
        if "validation" in getattr(search.domain, "levels", ()):
            search.validate()
    except KeyboardInterrupt:
        print(Text.assemble("stopped; go on with ", (visible(f"qdkit resume {path}"), "bold")))
        raise
    finally:
        search.close()
    if search.stopped:
        print(Text(visible(f"stopped: {search.stopped}")))
    seen = load(path)
    seen.domain = search.domain
    show_run(seen, path)


def _begun(order: Order, path: Path) -> Search:
    """The search of an order, which its ledger keeps."""
    search = order.search(path)
    search.ledger.event(0, "order", order.plain())
    if level := getattr(search.domain, "level", ""):
        search.ledger.event(0, "sandbox", {"level": level})
    return search


def _baselines(order: Order, path: Path, names: Sequence[str]) -> None:
    """Searches with each baseline in a folder within `path`, then shows all beside the run in it."""
    from rich import print

    for name in names:
        print(f"\nwithout the map: [bold]{name}[/]")
        with _begun(replace(order, baseline=name), path / name) as search:
            search.run()
    compare(path, *(path / name for name in names), out=path / "comparison.png")


def _runnable(domain: str, settings: dict[str, Any]) -> str:
    """The domain, or the same problem as numbers where it is programs and nothing here can isolate them."""
    from rich import print

    numbers = catalog.as_numbers(domain)
    if numbers is None or settings.get("sandbox", "auto") != "auto" or catalog.isolated():
        return domain
    print(
        f"programs cannot be isolated on this machine (`qdkit doctor` says why), so this searches {numbers}, the same "
        "problem as numbers; --sandbox none runs programs all the same, with all that you may do yourself"
    )
    return numbers


def _drawing(seen: Seen, domain: str | None) -> Any:
    """The domain that draws the candidates of a run: the one named, or the toolkit's own that the run was ordered with.

    A program is run again to be drawn, so never with less isolation than this machine has.
    """
    orders = [Order.of(value) for _, kind, value in seen.ledger.events() if kind == "order"]
    order = next((o for o in orders if domain or o.domain in catalog.DOMAINS), Order(domain) if domain else None)
    if order is None:
        return None
    safe = {**order.settings, "sandbox": "auto"}
    order = replace(order, domain=domain or order.domain, settings=safe)
    return order.part() if order.kind != "programs" or catalog.isolated() else None


def _scoring(seen: Seen, run: Path, domain: str | None) -> Any:
    """The domain that scores the candidates of a run anew."""
    found = _drawing(seen, domain)
    if found is None:
        raise ValueError(
            f"{run} searches a domain of your own: name it again, --domain; or its programs cannot be isolated here, "
            "which `qdkit doctor` explains"
        )
    return found
