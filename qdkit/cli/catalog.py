"""The parts of the toolkit by name, for the command line.

In Python parts are objects, and nothing is registered. A command line has only words: this module
turns them into parts, `package.module:Object` and `file.py:Object` too, and the settings of a part
into options.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from qdkit.domains.suited_archive import cvt, grid

DOMAINS = {
    "arm": "qdkit.domains.arm:Arm",
    "unit_arm": "qdkit.domains.arm:UnitArm",
    "posed_arm": "qdkit.domains.arm:PosedArm",
    "sphere": "qdkit.domains.projection:Sphere",
    "rastrigin": "qdkit.domains.projection:Rastrigin",
    "plateau": "qdkit.domains.projection:Plateau",
    "maze": "qdkit.domains.maze:Maze",
    "words": "qdkit.domains.words:Words",
    "opinions": "qdkit.domains.texts.opinions:Opinions",
    "poetry": "qdkit.domains.texts.poetry:Poetry",
    "stories": "qdkit.domains.texts.stories:Stories",
    "image-prompts": "qdkit.domains.texts.image_prompts:ImagePrompts",
    "drawings": "qdkit.domains.drawings.drawings:Drawings",
    "circle_packing": "qdkit.domains.solvers:circle_packing",
    "heilbronn": "qdkit.domains.solvers:heilbronn",
    "min_max_distance": "qdkit.domains.solvers:min_max_distance",
    "autocorrelation": "qdkit.domains.solvers:autocorrelation",
    "overlap": "qdkit.domains.solvers:overlap",
    "sums_differences": "qdkit.domains.solvers:sums_differences",
    "regression": "qdkit.domains.solvers:regression",
    "circle_packing_numbers": "qdkit.domains.mathematics.circle_packing:CirclePacking",
    "heilbronn_numbers": "qdkit.domains.mathematics.heilbronn:Heilbronn",
    "min_max_distance_numbers": "qdkit.domains.mathematics.min_max_distance:MinMaxDistance",
}

_SIMPLE = (int, float, str, bool)

# The most cells of all islands of a run from the shell; each takes some hundred bytes a step.
_MOST_CELLS = 5_000_000


class Option(NamedTuple):
    """A setting of a part: its name, type, default and description."""

    name: str
    type: Any
    default: Any
    help: str


def found(reference: str) -> Any:
    """Returns the object that a word of the command line names.

    A class or a function makes the part from its settings; anything else is the part. Raises
    LookupError, with the names that exist, for a name, module, file or object that does not.
    """
    if reference not in DOMAINS and Path(reference).is_dir():
        return _folder(Path(reference))
    place, colon, name = DOMAINS.get(reference, reference).rpartition(":")
    if not colon:
        raise LookupError(
            f"there is no domain {reference!r}: take one of {', '.join(DOMAINS)}, or name your "
            "own as package.module:Object or file.py:Object, or by a folder with seed.py, "
            "task.md and score.py"
        )
    module = _module(place)
    if not hasattr(module, name):
        public = ", ".join(
            n
            for n, x in vars(module).items()
            if not n.startswith("_") and inspect.getmodule(x) is module
        )
        raise LookupError(f"{place} has no {name}; it has {public or 'nothing'}")
    return getattr(module, name)


def runs_code(reference: str) -> bool:
    """Whether looking a word up runs code of a folder, a file or a module of the user."""
    from qdkit.feedback import MEASURES

    return (
        reference not in DOMAINS
        and reference not in MEASURES
        and not reference.startswith("qdkit.")
    )


def makes(part: Any) -> bool:
    """Whether a call of this makes the part."""
    return inspect.isclass(part) or inspect.isfunction(part)


def kind(domain: Any) -> Literal["programs", "points", "numbers"]:
    """Returns what a domain, or what makes it, searches; texts count as numbers here."""
    from qdkit.domains.mathematics.problem import PointProblem
    from qdkit.domains.program import Program

    made = get_type_hints(domain).get("return", object) if inspect.isfunction(domain) else domain
    made = made if inspect.isclass(made) else type(made)
    if issubclass(made, Program):
        return "programs"
    return "points" if issubclass(made, PointProblem) else "numbers"


def as_numbers(reference: str) -> str | None:
    """Returns the name of the same problem as numbers instead of programs, or None."""
    name = f"{reference}_numbers"
    return name if name in DOMAINS else None


def isolated() -> bool:
    """Whether this machine can run untrusted programs in isolation."""
    from qdkit.programs.sandbox import probe

    return any(level.works for level in probe())


def options(part: Callable[..., Any]) -> list[Option]:
    """Returns the settings of a class or function that a command line can give."""
    hints = get_type_hints(part.__init__ if inspect.isclass(part) else part)
    descriptions = _descriptions(inspect.getdoc(part) or "")
    return [
        Option(name, hints[name], parameter.default, descriptions.get(name, ""))
        for name, parameter in inspect.signature(part).parameters.items()
        if parameter.default is not parameter.empty and _writable(hints.get(name))
    ]


def _folder(home: Path) -> Callable[..., Any]:
    """Returns the function that makes a program domain from a folder."""
    from qdkit.domains.program import Program

    def folder(
        *,
        seconds: float | None = None,
        sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = "auto",
        workers: int = 2,
    ) -> Program:
        """The programs of a folder.

        seconds: the most wall time of a program; by default that of the folder.
        sandbox: how programs are isolated: by the strongest mechanism here, or by one by name.
        workers: how many programs run at once.
        """
        limit = {} if seconds is None else {"seconds": seconds}
        return Program.folder(home, sandbox=sandbox, workers=workers, **limit)

    folder.__annotations__ = {**folder.__annotations__, "return": Program}
    return folder


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise LookupError(
                f"there is no module {error.name}, which {place} needs: is its folder on the path?"
            ) from None
    path = Path(place)
    if not path.is_file():
        raise LookupError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    # So that pickle finds what the module defines, also in worker processes.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _writable(kind: Any) -> bool:
    if get_origin(kind) is UnionType:
        return all(k is type(None) or _writable(k) for k in get_args(kind))
    if get_origin(kind) is tuple:
        return all(k in (*_SIMPLE, Ellipsis) for k in get_args(kind))
    return kind in _SIMPLE or get_origin(kind) is Literal


def _descriptions(doc: str) -> dict[str, str]:
    """Returns the entries `name: description` of a docstring; `a, b: ...` describes both."""
    entries = re.findall(r"^(\w+(?:, \w+)*): (.*(?:\n  +.*)*)", doc, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def line(domain: Any, batch: int, *, iso: float | None = None, line: float = 0.2) -> Any:
    """Noise, and steps along the line through two elites.

    iso: standard deviation of the noise; by default that of the seeds of the domain.
    line: standard deviation of the step, in units of the distance between the two.
    """
    from qdkit.operators import IsoLine

    return IsoLine(
        _spread(domain) if iso is None else iso, line, limits=getattr(domain, "limits", None)
    )


def gaussian(domain: Any, batch: int, *, sigma: float | None = None) -> Any:
    """Noise on an elite.

    sigma: its standard deviation; by default that of the seeds of the domain.
    """
    from qdkit.operators import Gaussian

    return Gaussian(
        _spread(domain) if sigma is None else sigma, limits=getattr(domain, "limits", None)
    )


def ribs_cma_me(
    domain: Any,
    batch: int,
    *,
    sigma: float | None = None,
    ranker: Literal["2imp", "imp", "2rd", "rd"] = "2imp",
    emitters: int = 5,
) -> Any:
    """Evolution strategies that follow what improves the archive (CMA-ME, by pyribs).

    sigma: the initial step size; by default the standard deviation of the seeds of the domain.
    ranker: what they follow: improvement (imp) or a random direction (rd); with 2, new cells rank
      first.
    emitters: how many strategies share a batch.
    """
    import jax

    from qdkit.operators import cma_me

    if batch % emitters:
        raise ValueError(
            f"{emitters} emitters cannot share a batch of {batch} evenly: choose a batch that is "
            f"a multiple of {emitters}"
        )
    seeds = domain.seeds(jax.random.key(0), 1)
    spread = _spread(domain) if sigma is None else sigma
    return cma_me(
        seeds.shape[1],
        domain.bounds,
        sigma=spread,
        ranker=ranker,
        batch=batch // emitters,
        emitters=emitters,
    )


def syntax(domain: Any, batch: int, *, changes: int = 3) -> Any:
    """Edits of the syntax tree, and exchanges of parts with a second program.

    changes: the most edits of one child.
    """
    from qdkit.operators import Syntax

    return Syntax(changes)


def polish(domain: Any, batch: int) -> Any:
    """Moves some points of an elite, then optimises all of them locally."""
    from qdkit.domains.mathematics import circle_solver, point_solver
    from qdkit.operators import Polish, gaussian_shake

    if domain.name == "circle_packing":
        return Polish(circle_solver.improve, circle_solver.relocate)
    improve = {
        "heilbronn": point_solver.improve_triangles,
        "min_max_distance": point_solver.improve_distances,
    }[domain.name]
    return Polish(improve, gaussian_shake(0.05))


def parents(
    domain: Any,
    expensive: bool,
    *,
    parents: Literal["auto", "uniform", "weighted", "rank", "curious", "novel"] = "auto",
    fresh: float = 0.0,
    aim: Literal["nothing", "empty", "weak"] = "nothing",
) -> Any:
    """Returns the rule that selects parents.

    expensive: whether evaluations are expensive, as those of programs and of models.
    parents: every elite alike (uniform), good ones with few children (weighted), by rank, those
      whose children enter the map (curious), or those far from others (novel); auto is weighted
      for programs and with models.
    fresh: share of the candidates that are made from a seed of the domain.
    aim: give half of the candidates a target cell, an empty or a weak one nearby, which prompts
      name.
    """
    if not 0 <= fresh <= 1:
        raise ValueError(f"--fresh is a share of the candidates, between 0 and 1, not {fresh}")
    from qdkit.selection.parents import (
        ByNovelty,
        Curious,
        PowerLaw,
        Restarts,
        Towards,
        Uniform,
        Weighted,
    )

    known: dict[str, Any] = {
        "auto": Weighted() if expensive else Uniform(),
        "uniform": Uniform(),
        "weighted": Weighted(),
        "rank": PowerLaw(),
        "curious": Curious(),
        "novel": ByNovelty(),
    }
    rule = known[parents] if aim == "nothing" else Towards(known[parents], aim)
    return Restarts(rule, fresh) if fresh else rule


def islands(archive: Any, *, islands: int = 1, migrate: int = 50) -> Any:
    """Returns the archive, or as many islands of it.

    islands: the number of separate populations; 1 for none.
    migrate: steps between migrations, in which each sends copies of a tenth of its elites to the
      next.
    """
    if not 1 <= islands <= 1 + _MOST_CELLS // archive.cells or migrate < 1:
        raise ValueError(
            f"--islands is 1 or more, and --migrate a number of steps from 1, not {islands} and "
            f"{migrate}; with {archive.cells:,} cells each, all islands together may have "
            f"{_MOST_CELLS:,}"
        )
    from qdkit.archives import Islands, Migrate

    return archive if islands == 1 else Islands(archive, islands, changes=(Migrate(migrate),))


def lessons(domain: Any, ask: Any, *, lessons: int = 0) -> Any:
    """Returns what writes lessons for the prompts to come, or None.

    lessons: the number of candidates after which a model writes what the search has learned, each
      time; 0 for never.
    """
    if lessons < 0:
        raise ValueError(f"--lessons is a number of candidates, 0 for never, not {lessons}")
    from qdkit.selection.lessons import Lessons

    return Lessons(ask, every=lessons, task=getattr(domain, "task", "")) if lessons else None


def challenge(domain: Any, *, challenge: int = 0, least: int = 1) -> Any:
    """Returns how elites and better candidates are re-evaluated, or None.

    challenge: how many times both are judged again before an elite is replaced, for noisy judges;
      0 for never.
    least: with it, the least number of judgements of each elite.
    """
    if challenge < 0 or least < 1 or (least > 1 and not challenge):
        raise ValueError(
            f"--challenge is a number of further judgements, 0 for none, and --least goes with "
            f"it, from 1, not {challenge} and {least}"
        )
    from qdkit.search.reevaluation import Reevaluation

    return Reevaluation(challenge, least=least) if challenge else None


def stop(domain: Any, *, target: float | None = None, patience: int | None = None) -> Any:
    """Returns the rule that stops a search before its budget is used, or None.

    target: stop when the best objective is at least this.
    patience: stop after as many evaluations without a new cell or a better elite.
    """
    if patience is not None and patience < 1:
        raise ValueError(f"--patience is a number of evaluations, 1 or more, not {patience}")
    from qdkit.search.stopping import Stagnation, Target

    rules: list[Any] = [] if target is None else [Target(target)]
    rules += [] if patience is None else [Stagnation(patience)]
    return None if not rules else rules[0] if len(rules) == 1 else rules[0] | rules[1]


STEERING: tuple[Callable[..., Any], ...] = (parents, islands, lessons, challenge, stop)

ARCHIVES: dict[str, Callable[..., Any]] = {"grid": grid, "cvt": cvt}

_NUMERIC: dict[str, Callable[..., Any]] = {
    "line": line,
    "gaussian": gaussian,
    "cma-me": ribs_cma_me,
}

_OPERATORS: dict[str, dict[str, Callable[..., Any]]] = {
    "numbers": _NUMERIC,
    "points": {"polish": polish, **_NUMERIC},
    "programs": {"syntax": syntax},
}


def baseline(name: str | None, domain: Any, archive: Any, operator: Any) -> tuple[Any, Any]:
    """Returns the archive and the operator of a baseline (`comparing.baselines`); None is none."""
    from qdkit.comparing.baselines import Chain, Independent, Multistart, Single

    return {
        None: lambda: (archive, operator),
        "independent": lambda: (archive, Independent(operator)),
        "chain": lambda: (archive, Chain(operator)),
        "climb": lambda: (Single(archive), operator),
        "multistart": lambda: (archive, Multistart(operator, domain)),
    }[name]()


def operator(domain: Any, name: str | None) -> Callable[..., Any]:
    """Returns the function that makes the operator of this name for a domain, its first for None.

    A domain has operators of its own, or those of its kind. Raises LookupError for another name.
    """
    own = getattr(domain, "operators", None)
    known: Mapping[str, Callable[..., Any]] = (
        {n: lambda domain, batch, make=make: make() for n, make in own.items()}
        if own
        else _OPERATORS[kind(domain)]
    )
    if name is not None and name not in known:
        raise LookupError(
            f"there is no operator {name!r} for this domain: take one of {', '.join(known)}"
        )
    return known[next(iter(known)) if name is None else name]


def asking(domain: Any, model: Any) -> Any:
    """Returns the operator with which a model makes candidates: the domain's, or `rewriting`."""
    return domain.asking(model) if hasattr(domain, "asking") else rewriting(domain, model)


def rewriting(domain: Any, model: Any) -> Any:
    """Returns the operator with which a model edits programs, or rewrites texts, for any cells."""
    from qdkit.operators import Rewrite, programmer

    if kind(domain) == "programs":
        return programmer(model, domain.task, domain.names)
    return Rewrite(model, prompt(domain))


def judge(domain: Any, model: Any | None) -> Any:
    """Returns the judge of the domain, with the model if there is one, else the domain
    objective.
    """
    from qdkit.core.stages import domain_objective

    return domain.judge(model) if hasattr(domain, "judge") else domain_objective


def labelled(domain: Any, axes: Sequence[Any], judge: Any, model: Any | None) -> tuple[Any, Any]:
    """Returns the grid of axes of labels (`feedback.Attribute`), and the panel that judges for it.

    The model gives the labels; without one, vectors of texts do: those of `MiniLM`, or hashed
    n-grams without it. Raises ValueError for a domain of numbers.
    """
    import jax
    import numpy as np

    from qdkit.archives import Grid
    from qdkit.core.stages import domain_objective
    from qdkit.feedback import Panel
    from qdkit.llm.minilm import MiniLM
    from qdkit.metrics.features import grams

    if isinstance(domain.seeds(jax.random.key(0), 1), np.ndarray):
        raise ValueError(
            f"--axes are of texts, and {type(domain).__name__} searches numbers: leave them out"
        )
    try:
        embed = grams if model is not None else MiniLM()
    except ImportError:
        embed = grams  # the notes of every candidate name what was used, and it is printed
    quality = (
        None if judge is domain_objective else judge.quality if isinstance(judge, Panel) else judge
    )
    panel = Panel(quality, [axis.judge(model, embed) for axis in axes])
    return Grid(tuple(map(len, panel.bounds)), panel.bounds, names=panel.names), panel


def judges(reference: str, model: str | None) -> tuple[list[Any], list[str]]:
    """Returns the judges that a word of the command line names, and texts to try them on.

    The word is a measure, a domain with judges, or a judge. The judges of a panel come apart.
    """
    from qdkit.feedback import MEASURES, Panel
    from qdkit.llm import LLM

    if reference in MEASURES:
        return [MEASURES[reference]], []
    named = found(reference)
    part: Any = named() if inspect.isclass(named) else named
    texts: list[str] = []
    if hasattr(part, "judge"):
        import jax

        texts = list(part.seeds(jax.random.key(0), 100))
        part = part.judge(LLM(model) if model else None)
    if not callable(part):
        raise LookupError(
            f"{reference} is no judge, nor a domain with one: name a judge(key, batch)"
        )
    if isinstance(part, Panel):
        return [each for each in (part.quality, *part.axes) if each is not None], texts
    return [part], texts


def prompt(domain: Any) -> str:
    """Returns the prompt that asks a model for a variation: that of the domain, or a plain one."""
    return getattr(
        domain,
        "prompt",
        "Here is a text:\n\n{genome}\n\nWrite a variation of it. Answer with the text alone.",
    )


def taught(domain: Any, run: Path) -> dict[str, Any]:
    """Returns axes that learn from the raters of the run (`qdkit rate`), for a domain without
    axes.
    """
    if not getattr(domain, "taught", False):
        return {}
    from qdkit.axes import TripletAxes
    from qdkit.runs.judgements import Judgements

    run.mkdir(parents=True, exist_ok=True)
    return {"axes": TripletAxes(each=10), "replies": Judgements(run)}


def _spread(domain: Any) -> float:
    return float(getattr(domain, "sigma0", 0.1))
