"""The commands of the command line: `qdkit run`, `resume`, `show`, `rate`, `compare` and
others.
"""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from qdkit import __version__
from qdkit.cli import catalog
from qdkit.cli.options import with_settings
from qdkit.cli.report import (
    axes_summary,
    print_json,
    save,
    show_axes,
    show_comparison,
    show_judgements,
    show_links,
    show_run,
)
from qdkit.cli.settings import RunSettings
from qdkit.core.jsonable import terminal_safe
from qdkit.core.process_exit import run_and_exit
from qdkit.core.record import Halt
from qdkit.core.redaction import redacted
from qdkit.core.run_files import write_text
from qdkit.search.signals import Handling

if TYPE_CHECKING:
    from qdkit.feedback import Attribute
    from qdkit.runs.view import RunView
    from qdkit.search.compiled import CompiledSearch
    from qdkit.search.search import Search
    from qdkit.search.stopping import Stop

_REPORTED: set[str] = set()  # the foreign code that this process has reported
_HELP = """Quality-diversity search: many good, different answers instead of one.

Begin with `qdkit run arm`, and look at a run with `qdkit show`."""
# Errors whose message is for the user; any other is a mistake in the code.
_EXPECTED = (LookupError, ValueError, TypeError, OSError, RuntimeError, Halt)


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command `qdkit` with `words`; by default with those of the command line, and
    exits.
    """
    if words is None:
        run_and_exit(lambda: main(sys.argv[1:]))
        return
    words = list(words)
    app = App(name="qdkit", help=_HELP, version=__version__)
    try:
        # A library that is imported meanwhile may drop a KeyboardInterrupt; `Handling` remembers
        # the signal.
        with _warnings_in_sentences(), Handling(at_once=True):
            _run_command(app, words)
    except (KeyError, IndexError):
        raise  # a mistake in the code
    except ModuleNotFoundError as error:
        if error.name is not None:
            raise  # a mistake too: the error of a missing extra names no module
        sys.exit(terminal_safe(redacted(f"qdkit: {error}")))
    except _EXPECTED as error:
        sys.exit(terminal_safe(redacted(f"qdkit: {error}")))
    except KeyboardInterrupt:
        sys.exit(130)


def _run_command(app: App, words: Sequence[str]) -> None:
    app.command(with_settings(run, words[1:] if words[:1] == ["run"] else []), name="run")
    for command in (
        resume,
        show,
        rate,
        judgements,
        validate,
        open_lockbox,
        compare,
        axes,
        doctor,
    ):
        app.command(command)
    app.command(audit_judge, name="audit")
    app(words)


@contextmanager
def _warnings_in_sentences() -> Iterator[None]:
    """Prints the warnings of a search as sentences, without a line of code."""
    from tqdm import tqdm

    from qdkit.runs.alerts import SearchWarning

    usual = warnings.showwarning

    def print_warning(
        message: Warning | str, category: type[Warning], *where: Any, **more: Any
    ) -> None:
        if issubclass(category, SearchWarning):
            tqdm.write(terminal_safe(f"qdkit: {message}"), file=sys.stderr)  # above the bar
        else:
            usual(message, category, *where, **more)

    warnings.showwarning = print_warning
    try:
        yield
    finally:
        warnings.showwarning = usual


Baseline = Literal["independent", "chain", "climb", "multistart"]
_Level = Literal["auto", "bubblewrap", "landlock", "none"]


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
    against: Annotated[
        list[Baseline] | None, Parameter(negative="", consume_multiple=True)
    ] = None,
    **settings: Any,
) -> None:
    """Search DOMAIN, and keep the run in a folder with its pictures.

    Parameters
    ----------
    domain
        The problem to search: numbers (arm, unit_arm, posed_arm, sphere, rastrigin, plateau,
        maze), texts (words, poetry, opinions, stories, image-prompts), pictures (drawings),
        programs that solve a problem (circle_packing, heilbronn, min_max_distance,
        autocorrelation, overlap, sums_differences), programs that predict (regression), or your
        own as package.module:Object, file.py:Object or a folder with seed.py, task.md and
        score.py. `qdkit run DOMAIN --help` shows its options.
    evaluations
        How many candidates to evaluate. If nothing else limits the run: 100,000; 1,000 with
        models; and as many programs as fit into 100 seconds.
    seed
        The seed of all randomness: the same seed gives the same run.
    batch
        How many candidates a step makes; by default 1,000, 50 programs, or 1 with models.
    out
        The folder of the run; by default results/DOMAIN-1, -2, ...
    archive
        The cells: those of a grid, or around spread centroids (cvt).
    operator
        How new candidates are made: line (the default), gaussian or cma-me for numbers, syntax
        for programs, or an operator of the domain.
    model
        A language model that makes new texts; several may be named. It is asked at
        OPENAI_BASE_URL, or at OpenAI with the key in OPENAI_API_KEY.
    judge
        The language model that judges; by default the first --model. `measures` judges without
        a model.
    axes
        A file of axes (see `qdkit axes`) that replace those of the domain: there is a cell for
        each combination of their values. The model that judges gives the values of a text; without
        a model, vectors of texts do.
    in_flight
        How many steps are worked on at once; by default 1, or 16 with models.
    budget
        The most that the run may spend, such as 5usd, 2000calls, 30min or 5usd+2h.
    baseline
        Search without the map, to measure what the map is worth: make each candidate from the
        seeds (independent), the one before (chain), the best so far (climb) or new seeds
        (multistart). See `qdkit compare`.
    novelty
        Which candidates are rejected before evaluation: a text that is known, or a program that
        differs from a known one in its layout and names alone (distinct); or none.
    compiled
        Run the whole search as one compiled program, which is many times faster for domains
        written in JAX. The run then keeps the map alone, and no row for each candidate.
    against
        Search with these baselines afterwards, with as many evaluations each, in folders within
        that of the run, and compare all of them.
    """
    domain = _runnable(domain, settings)
    own_code(domain)
    models = tuple(model or ())
    words = (
        domain,
        evaluations,
        seed,
        batch,
        archive,
        operator,
        models,
        in_flight,
        budget,
        baseline,
        novelty,
        compiled,
    )
    labels = tuple(axis.plain() for axis in _axes(axes)) if axes else ()
    order, path = RunSettings(*words, settings, judge, labels), out or _free_folder(domain)
    until = order.until()  # may be refused, so before there is a folder
    with Handling(at_once=True):
        search = _begun(order, path)
        _go(search, until)
        if against:
            seconds = order.limits().seconds
            # Twice the time, so that an evaluation that never ends delays no baseline for long.
            most = f"{2 * seconds:.12g}s" if seconds else None
            _baselines(
                replace(order, budget=most, evaluations=search.commits[-1].evaluations),
                path,
                against,
            )


def resume(
    run: Path,
    /,
    *,
    evaluations: int | None = None,
    budget: str | None = None,
    domain: str | None = None,
    change: Literal["task"] | None = None,
    sandbox: _Level = "auto",
) -> None:
    """Continue a run that was stopped or killed.

    Parameters
    ----------
    run
        The run's folder.
    evaluations
        How many evaluations to reach; by default as many as the run was begun with.
    budget
        The most that the run may spend, from its beginning; by default as before.
    domain
        Your own domain, if the run searches one: a run folder is not trusted to name code.
    change
        What may have changed in the folder that is searched: the text of task.md, for the
        candidates to come (task). Files that decide a score have to be unchanged.
    sandbox
        How programs are isolated: by the strongest mechanism that works here (auto), or by one
        by name. What the run folder says of it does not count.
    """
    from rich import print
    from rich.text import Text

    from qdkit.runs.ledger import Ledger

    ledger = Ledger.open(run)
    orders = [value for _, kind, value in ledger.events() if kind == "order"]
    ledger.close()
    if not orders:
        raise ValueError(
            f"{run} was begun in Python: continue it there, with Search.resume({str(run)!r}, ...)"
        )
    order = RunSettings.of(orders[0])
    if domain is None and order.domain not in catalog.DOMAINS:
        raise ValueError(
            f"{run} searches a domain of your own: name it again with --domain {order.domain}"
        )
    if domain is not None:
        own_code(domain)
    changed: dict[str, Any] = {"evaluations": evaluations, "budget": budget, "domain": domain}
    order = replace(
        order, **{name: value for name, value in changed.items() if value is not None}
    ).safe(sandbox)
    print(Text(terminal_safe(redacted(order.words))))
    with Handling(_resumption(run), at_once=True):
        search = order.search(run, resume=True, change=change == "task")
        _note_isolation(search)
        _go(search, order.until())


def show(
    run: Path,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    domain: str | None = None,
) -> None:
    """Show the state of a run, also while it goes on, and draw its pictures into its folder.

    Parameters
    ----------
    run
        The run's folder.
    as_json
        Print the summary alone, as one JSON object.
    domain
        Your own domain, to draw its candidates: a run folder is not trusted to name code.
    """
    from qdkit.runs.run import load

    view = load(run)
    view.domain = view.domain or _drawing(view, domain)
    if as_json:
        print_json({**view.summary(), **axes_summary(view)})
    else:
        show_run(view, run)


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
    """Judge candidates of a run in a browser, also while it goes on.

    The judgements are kept in the folder of the run.

    Parameters
    ----------
    run
        The run's folder.
    question
        The kind of question: which of two is more like the first (triplet), which of three is the
        odd one out (odd), which of two is better (pair), the order of three (ranking), how good
        one is (rating), what it is (label).
    rater
        The names of the people who answer; each has a link of their own.
    asks
        The question in your own words.
    label
        The labels to choose from, up to nine; by default free text.
    goal
        How many judgements each rater is asked for.
    host
        The address to listen at, such as 0.0.0.0 for all of this machine's; by default only this
        machine itself can open the page.
    port
        The port to listen at; 0 for any free port.
    domain
        Your own domain, to draw its candidates: a run folder is not trusted to name code.
    """
    from qdkit.rate import serve
    from qdkit.runs.run import LiveRun, load

    view = load(run)
    view.domain = view.domain or _drawing(view, domain)
    people = {"raters": rater or ["me"], "asks": asks, "labels": label or [], "goal": goal}
    served = serve(run, LiveRun(view), question=question, host=host, port=port, **people)
    try:
        show_links(served.links, served.alone)
        served.wait()
    finally:
        served.close()
        view.close()


def judgements(
    run: Path,
    /,
    *,
    out: Path | None = None,
    take_in: Annotated[Path | None, Parameter(name="--import")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Show who judged what in a run, export the judgements, or import some.

    Parameters
    ----------
    run
        The run's folder.
    out
        Write every judgement into this file, a .csv or .jsonl file by its name.
    take_in
        Import the judgements of such a file; those that are present already are left out.
    as_json
        Print the counts alone, as a JSON list with one object for each rater and question.
    """
    from qdkit.runs import judgement_files as exchange
    from qdkit.runs.judgements import Judgements

    store = Judgements(run)
    taken = store.extend(exchange.read_replies(take_in)) if take_in else None
    if out is not None:
        exchange.write_replies(store.since(0), out)
    counts = [
        {"rater": who, "question": what, "judgements": n}
        for (who, what), n in sorted(store.counts().items())
    ]
    if as_json:
        print_json(counts)
    else:
        show_judgements(counts, taken, out)
    store.close()


def validate(run: Path, /, *, best: int = 20, domain: str | None = None) -> None:
    """Score the best elites of a run on the validation split, which the search has not view.

    Parameters
    ----------
    run
        The run's folder.
    best
        How many elites, from the best; those that have a validation score are not scored again.
    domain
        Your own domain: a run folder is not trusted to name code.
    """
    from qdkit.runs.run import load

    view = load(run)
    found = view.validate(best, _scoring(view, run, domain))
    print(
        f"{len(found)} candidates have a validation score; those that had one before were not "
        f"scored again"
    )
    show_run(view, run)


def open_lockbox(run: Path, /, *, domain: str | None = None) -> None:
    """Score one candidate on the test split (the lockbox), once: the number to report of a run.

    The candidate is that with the highest validation score, or the best of the search if none has
    one.

    Parameters
    ----------
    run
        The run's folder.
    domain
        Your own domain: a run folder is not trusted to name code.
    """
    from qdkit.runs.run import load

    view = load(run)
    query = view.open_lockbox(_scoring(view, run, domain))
    print(terminal_safe(f"the lockbox is open, and can be opened once only: {query.words}"))
    show_run(view, run)


def compare(
    *runs: Path,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Compare runs at equal evaluations, equal calls of models and equal CPU time.

    Runs that differ in their seed alone are one group, summarised by the median, the least and the
    most: `for seed in 1 2 3 4 5; do qdkit run arm --seed $seed; done; qdkit compare
    results/arm-*`.

    Parameters
    ----------
    runs
        The folders of the runs. All candidates are put into one map, that of the first run that
        has one, and the groups are compared with the first.
    out
        Draw the curves of the groups, with their spread, into this file.
    as_json
        Print the comparison alone, as one JSON object.
    """
    from qdkit.comparing.comparison import compare_runs
    from qdkit.runs.run import load

    comparison = compare_runs([load(run) for run in runs])
    if as_json:
        print_json(comparison.plain())
    else:
        show_comparison(comparison)
    if out is not None:
        from qdkit import viz

        save(viz.comparison(comparison), out)
        if not as_json:
            print(f"drawn: {out}")


def audit_judge(
    judge: str,
    /,
    *,
    texts: Path | None = None,
    model: str | None = None,
    repeats: int = 3,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Measure how far a judge can be trusted.

    It is asked again, in another order, and about the same text in another form.

    Parameters
    ----------
    judge
        A domain that is judged (poetry), a measure (sentiment, readability, repetition, form), or
        your own as package.module:judge or file.py:judge.
    texts
        The texts to judge: a file with a JSON text on each line, or {"text": ..., "label": ...}
        with the judgement of a person, a number or a label. By default the seeds of the domain.
    model
        The language model with which the domain judges.
    repeats
        How often each text is judged.
    as_json
        Print the audits alone, as a JSON list with one object for each judge.
    """
    from rich import print

    from qdkit.feedback import audit

    own_code(judge)
    judges, known = catalog.judges(judge, model)
    labelled = _labelled(texts) if texts else [(text, None) for text in known]
    if not labelled:
        raise ValueError(
            f"give the texts that {judge} judges: --texts FILE, with a JSON text on each line"
        )
    people = [(text, label) for text, label in labelled if label is not None]
    audits = [
        audit(each, [text for text, _ in labelled], people, repeats=repeats) for each in judges
    ]
    if as_json:
        print_json([each.plain() for each in audits])
    for each in [] if as_json else audits:
        print(each)


def axes(
    task: str,
    /,
    *,
    samples: Path,
    model: str,
    number: int = 3,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("axes.json"),
) -> None:
    """Have a model propose axes on which texts can differ, as a file to edit.

    `qdkit run DOMAIN --axes FILE` then searches on these axes.

    Parameters
    ----------
    task
        The task that the texts are written for, in words.
    samples
        Texts written so far: a file with a JSON text on each line, of which the model receives
        the first 20.
    model
        The language model that proposes.
    number
        How many axes.
    out
        The file to write, which must not exist yet.
    """
    from qdkit.feedback import proposed
    from qdkit.llm import LLM

    if out.exists():
        raise ValueError(
            f"{out} exists already, and may hold your edits: name another file with --out FILE"
        )
    found = proposed(LLM(model), task, [text for text, _ in _labelled(samples)], number)
    written = {"task": task, "axes": [axis.plain() for axis in found]}
    write_text(out, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    show_axes(found)
    print(
        terminal_safe(
            f"kept in {out}: edit it, and search on these axes with `qdkit run DOMAIN --axes "
            f"{out}`"
        )
    )


def doctor(*, model: str | None = None) -> None:
    """Report what is installed, the devices of JAX, and what each missing extra would add.

    Parameters
    ----------
    model
        Also ask this model four short questions, and report what its server can do.
    """
    from qdkit.cli.doctor import report

    report(model)


def _axes(path: Path) -> tuple[Attribute, ...]:
    """Returns the axes in a file. Raises ValueError, with the reason, for a file that holds
    none.
    """
    from qdkit.feedback import attributes

    try:
        return attributes(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} holds no axes: {error}") from None


def _labelled(path: Path) -> list[tuple[str, Any]]:
    """Returns the texts of a file of JSON lines, each with its label or None."""
    found: list[tuple[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found.append((row, None) if isinstance(row, str) else (row["text"], row.get("label")))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(
                f"line {number} of {path} is no text: give a JSON text on each line, or "
                '{"text": ..., "label": ...}'
            ) from None
    return found


def _free_folder(domain: str) -> Path:
    """Returns the first of results/DOMAIN-1, -2, ... that does not exist."""
    named = ":" in domain and not Path(domain).is_dir()
    name = domain.rpartition(":")[2].lower() if named else Path(domain).resolve().name
    return next(
        path
        for i in range(1, sys.maxsize)
        if not (path := Path("results", f"{name}-{i}")).exists()
    )


def _go(search: Search | CompiledSearch, until: Stop | None) -> None:
    """Runs a search until its budget is used or `until` holds, then shows the result."""
    from rich import print
    from rich.text import Text

    from qdkit.runs.run import load

    path = search.ledger.path
    assert path is not None  # a command line always has a folder
    islands = f" on each of {search.archive.islands} islands" if search.archive.islands > 1 else ""
    start = f" into {search.archive.map.cells:,} cells{islands}, kept in {path}"
    print(Text.assemble((type(search.domain).__name__, "bold"), terminal_safe(start)))
    try:
        search.run(until=until)
        if "validation" in getattr(search.domain, "levels", ()):
            search.validate()
    finally:
        search.close()
    if search.stopped:
        print(Text(terminal_safe(f"stopped: {search.stopped}")))
    view = load(path)
    view.domain = search.domain
    show_run(view, path)


def _resumption(path: Path) -> str:
    return terminal_safe(f"go on with: qdkit resume {shlex.quote(str(path))}")


def _begun(order: RunSettings, path: Path) -> Search | CompiledSearch:
    """Returns the search of an order, and writes the order into its ledger."""
    with Handling(_resumption(path)):  # a signal waits until there is a run that can be resumed
        search = order.search(path)
        search.ledger.event(0, "order", order.plain())
        _note_isolation(search)
    return search


def _note_isolation(search: Search | CompiledSearch) -> None:
    """Writes how programs are isolated from here on, to the terminal and the ledger."""
    if level := getattr(search.domain, "level", ""):
        print(terminal_safe(f"programs are isolated by {level}"))
        search.ledger.event(len(search.commits), "sandbox", {"level": level})


def _baselines(order: RunSettings, path: Path, names: Sequence[str]) -> None:
    """Searches with each baseline in a folder within `path`, then compares all with the run
    there.
    """
    from rich import print

    for name in names:
        print(f"\nwithout the map: [bold]{name}[/]")
        with _begun(replace(order, baseline=name), path / name) as search:
            search.run()
    compare(path, *(path / name for name in names), out=path / "comparison.png")


def own_code(reference: str) -> None:
    """Reports once that a word of the command line names code that is not the toolkit's."""
    if catalog.runs_code(reference) and reference not in _REPORTED:
        _REPORTED.add(reference)
        print(
            terminal_safe(f"{reference}: its code runs here as you, outside the sandbox"),
            file=sys.stderr,
        )


def _runnable(domain: str, settings: dict[str, Any]) -> str:
    """Returns the domain, or the same problem as numbers if programs cannot be isolated here."""
    from rich import print

    numbers = catalog.as_numbers(domain)
    if numbers is None or settings.get("sandbox", "auto") != "auto" or catalog.isolated():
        return domain
    print(
        f"programs cannot be isolated on this machine (`qdkit doctor` says why), so this searches "
        f"{numbers}, the same "
        "problem as numbers; --sandbox none runs programs all the same, with all that you may do "
        "yourself"
    )
    return numbers


def _drawing(view: RunView, domain: str | None) -> Any:
    """Returns the domain that draws the candidates of a run, or None.

    It is the one that the command line names, or the domain of the toolkit that the run was begun
    with. A program is run again to be drawn, never with less isolation than this machine has.
    """
    if domain is not None:
        own_code(domain)
    orders = [RunSettings.of(value) for _, kind, value in view.ledger.events() if kind == "order"]
    order = next(
        (o for o in orders if domain or o.domain in catalog.DOMAINS),
        RunSettings(domain) if domain else None,
    )
    if order is None:
        return None
    order = replace(order, domain=domain or order.domain).safe("auto")
    return order.part() if order.kind != "programs" or catalog.isolated() else None


def _scoring(view: RunView, run: Path, domain: str | None) -> Any:
    """Returns the domain that scores candidates of a run again."""
    found = _drawing(view, domain)
    if found is None:
        raise ValueError(
            f"{run} searches a domain of your own: name it again with --domain; or its programs "
            "cannot be isolated here: `qdkit doctor` explains why"
        )
    view.domain = view.domain or found  # draws the candidates too
    return found
