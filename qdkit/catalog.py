"""The toolkit's own parts by name, for the command line and for runs on disk.

In Python parts are objects, handed in; nothing is registered. A command line has only words: here
they become parts, `package.module:Object` and `file.py:Object` too, and the settings of a part
become options. What a run on disk names is built again only if it is one of the toolkit's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

DOMAINS = {
    "arm": "qdkit.domains.arm:Arm",
    "unit_arm": "qdkit.domains.arm:UnitArm",
    "posed_arm": "qdkit.domains.arm:PosedArm",
    "sphere": "qdkit.domains.projection:Sphere",
    "rastrigin": "qdkit.domains.projection:Rastrigin",
    "plateau": "qdkit.domains.projection:Plateau",
    "maze": "qdkit.domains.maze:Maze",
    "words": "qdkit.domains.words:Words",
    "opinions": "qdkit.domains.opinions:Opinions",
    "poetry": "qdkit.domains.poetry:Poetry",
    "stories": "qdkit.domains.stories:Stories",
    "image-prompts": "qdkit.domains.image_prompts:ImagePrompts",
    "drawings": "qdkit.domains.drawings:Drawings",
    "circle_packing": "qdkit.domains.solvers:circle_packing",
    "heilbronn": "qdkit.domains.solvers:heilbronn",
    "min_max_distance": "qdkit.domains.solvers:min_max_distance",
    "autocorrelation": "qdkit.domains.solvers:autocorrelation",
    "overlap": "qdkit.domains.solvers:overlap",
    "sums_differences": "qdkit.domains.solvers:sums_differences",
    "regression": "qdkit.domains.solvers:regression",
    "circle_packing_numbers": "qdkit.domains.circle_packing:CirclePacking",
    "heilbronn_numbers": "qdkit.domains.heilbronn:Heilbronn",
    "min_max_distance_numbers": "qdkit.domains.min_max_distance:MinMaxDistance",
}
SIMPLE = (int, float, str, bool)
MOST = 5_000_000  # cells of all islands of a run from the shell: each takes some hundred bytes at every step


class Option(NamedTuple):
    """One setting of a part: its name, type, default and what it does."""

    name: str
    type: Any
    default: Any
    help: str


def found(reference: str) -> Any:
    """The object that a word of the command line names.

    A class or a function makes the part of its settings; anything else is the part. Raises LookupError,
    with what there is, for a name, a module, a file or an object that is not there.
    """
    if reference not in DOMAINS and Path(reference).is_dir():
        return _folder(Path(reference))
    place, colon, name = DOMAINS.get(reference, reference).rpartition(":")
    if not colon:
        raise LookupError(
            f"there is no domain {reference!r}: take one of {', '.join(DOMAINS)}, or name your own "
            "as package.module:Object or file.py:Object, or by a folder with seed.py, task.md and score.py"
        )
    module = _module(place)
    if not hasattr(module, name):
        public = ", ".join(
            n for n, x in vars(module).items() if not n.startswith("_") and inspect.getmodule(x) is module
        )
        raise LookupError(f"{place} has no {name}; it has {public or 'nothing'}")
    return getattr(module, name)


def makes(part: Any) -> bool:
    """Whether a part is made by calling this."""
    return inspect.isclass(part) or inspect.isfunction(part)


def kind(domain: Any) -> Literal["programs", "points", "numbers"]:
    """What a domain (or what makes it) searches; texts are among the numbers here, as nothing differs."""
    from qdkit.domains.problem import PointProblem
    from qdkit.domains.program import Program

    made = get_type_hints(domain).get("return", object) if inspect.isfunction(domain) else domain
    made = made if inspect.isclass(made) else type(made)
    return "programs" if issubclass(made, Program) else "points" if issubclass(made, PointProblem) else "numbers"


def as_numbers(reference: str) -> str | None:
    """The same problem with numbers in the place of programs, where there is one."""
    name = f"{reference}_numbers"
    return name if name in DOMAINS else None


def isolated() -> bool:
    """Whether programs that nobody has read can be run on this machine."""
    from qdkit.sandbox import probe

    return any(level.works for level in probe())


def options(part: Callable[..., Any]) -> list[Option]:
    """The settings of a class or function that a command line can give, with what its docstring says of each."""
    hints, said = get_type_hints(part.__init__ if inspect.isclass(part) else part), _said(inspect.getdoc(part) or "")
    return [
        Option(name, hints[name], parameter.default, said.get(name, ""))
        for name, parameter in inspect.signature(part).parameters.items()
        if parameter.default is not parameter.empty and _writable(hints.get(name))
    ]


def rebuilt(description: Mapping[str, Any]) -> Any:
    """The part that a run describes, or None if it is not one of the toolkit's own or its settings are not plain."""
    own = re.fullmatch(r"(qdkit\.(?:baselines|(?:archives|domains)\.\w+)):(\w+)", str(description.get("is")))
    if own is None or "with" not in description:
        return None
    kind = getattr(importlib.import_module(own[1]), own[2], None)
    if not (inspect.isclass(kind) and is_dataclass(kind)):
        return None
    settings = {name: _frozen(value) for name, value in description["with"].items()}
    known = all(settings[name] is not None or value is None for name, value in description["with"].items())
    return kind(**settings) if known else None


def _folder(home: Path) -> Callable[..., Any]:
    """What makes a program domain of a folder."""
    from qdkit.domains.program import Program

    def folder(
        *,
        seconds: float | None = None,
        sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = "auto",
        workers: int = 2,
    ) -> Program:
        """The programs of a folder.

        seconds: wall time of a program; what the folder says where left out.
        sandbox: how programs are isolated: the strongest that works here, or one by name.
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
    sys.modules.setdefault(path.stem, module)  # so that what it defines can be found again, in worker processes too
    spec.loader.exec_module(module)
    return module


def _writable(kind: Any) -> bool:
    if get_origin(kind) is UnionType:
        return all(k is type(None) or _writable(k) for k in get_args(kind))
    if get_origin(kind) is tuple:
        return all(k in (*SIMPLE, Ellipsis) for k in get_args(kind))
    return kind in SIMPLE or get_origin(kind) is Literal


def _said(doc: str) -> dict[str, str]:
    """`name: what it does` of a docstring's paragraphs, by name; `a, b: ...` speaks of both."""
    entries = re.findall(r"^(\w+(?:, \w+)*): (.*(?:\n  +.*)*)", doc, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def _frozen(value: Any) -> Any:
    """A setting as it was: a part for its description, a tuple for a list; None for a part that cannot be rebuilt."""
    if isinstance(value, Mapping) and "is" in value:
        return rebuilt(value)
    if isinstance(value, list):
        held = tuple(map(_frozen, value))
        return None if any(new is None and old is not None for new, old in zip(held, value, strict=True)) else held
    return value


# What the command line calls archives and operators: functions of the domain whose settings become options.


def grid(domain: Any, *, shape: tuple[int, ...] | None = None, depth: int | None = None) -> Any:
    """A grid over the domain's bounds.

    shape: cells along each axis; about 2,500 cells in all where left out.
    depth: how many candidates a cell keeps to build on; as the domain says, else 1, where left out.
    """
    from qdkit.archives import Deep, Grid

    bounds, names = _described_by(domain)
    each = max(2, round(2500 ** (1 / len(bounds))))
    natural = getattr(domain, "shape", None) or tuple(
        each if len(axis) == 2 and not isinstance(axis[0], str) else _cells(axis) for axis in bounds
    )
    cells = natural if shape is None else shape
    kept = getattr(domain, "depth", 1) if depth is None else depth
    made = Grid(cells, bounds, names=names)
    return made if kept == 1 else Deep(made, kept)


def cvt(domain: Any, *, cells: int = 1000) -> Any:
    """Cells around centroids spread over the domain's bounds.

    cells: how many.
    """
    from qdkit.archives import CVT

    bounds, names = _described_by(domain)
    if any(isinstance(axis[0], str) or len(axis) != 2 for axis in bounds):
        raise ValueError(
            "centroids need axes that are numbers between two bounds; this domain has labels or edges: take a grid"
        )
    return CVT.spread(cells, bounds, names=names)


def line(domain: Any, batch: int, *, iso: float | None = None, line: float = 0.2) -> Any:
    """Noise, and steps along the line through two elites.

    iso: standard deviation of the noise; that of the domain's seeds where left out.
    line: standard deviation of the step, in distances of the two.
    """
    from qdkit.operators import Line

    return Line(_spread(domain) if iso is None else iso, line, limits=getattr(domain, "limits", None))


def gaussian(domain: Any, batch: int, *, sigma: float | None = None) -> Any:
    """Noise on an elite.

    sigma: its standard deviation; that of the domain's seeds where left out.
    """
    from qdkit.operators import Gaussian

    return Gaussian(_spread(domain) if sigma is None else sigma, limits=getattr(domain, "limits", None))


def cma_me(
    domain: Any,
    batch: int,
    *,
    sigma: float | None = None,
    ranker: Literal["2imp", "imp", "2rd", "rd"] = "2imp",
    emitters: int = 5,
) -> Any:
    """Evolution strategies that follow what improves the archive (CMA-ME, by pyribs).

    sigma: how far each looks around at first; the standard deviation of the domain's seeds where left out.
    ranker: what they follow: improvement (imp) or a random direction (rd), with new cells first where it begins with 2.
    emitters: how many strategies share a batch.
    """
    import jax

    from qdkit.operators import cma_me

    if batch % emitters:
        raise ValueError(
            f"{emitters} emitters cannot share a batch of {batch} evenly: choose a batch that is a multiple"
        )
    seeds = domain.seeds(jax.random.key(0), 1)
    spread = _spread(domain) if sigma is None else sigma
    return cma_me(
        seeds.shape[1], domain.bounds, sigma=spread, ranker=ranker, batch=batch // emitters, emitters=emitters
    )


def syntax(domain: Any, batch: int, *, changes: int = 3) -> Any:
    """Edits of the syntax tree, and parts of a second program.

    changes: the most edits of one child.
    """
    from qdkit.operators import Syntax

    return Syntax(changes)


def polish(domain: Any, batch: int) -> Any:
    """Points of an elite moved, and all of them taken to the optimum nearby."""
    from qdkit.domains import circle_solver, point_solver
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
    dear: bool,
    *,
    parents: Literal["auto", "uniform", "weighted", "rank", "curious", "novel"] = "auto",
    fresh: float = 0.0,
    aim: Literal["nothing", "empty", "weak"] = "nothing",
) -> Any:
    """The rule by which parents are chosen; `dear` says whether evaluations are, as those of programs and by models.

    parents: every elite alike (uniform), good ones with few children (weighted), by rank, those whose children enter
      the map (curious), or those that stand alone (novel); auto is weighted for programs and with models.
    fresh: share of the candidates that are made from a seed of the domain.
    aim: give half of the candidates a cell to aim for, an empty or a weak one nearby; models are told.
    """
    if not 0 <= fresh <= 1:
        raise ValueError(f"--fresh is a share of the candidates, between 0 and 1, not {fresh}")
    from qdkit.parents import Curious, Fresh, Novel, PowerLaw, Towards, Uniform, Weighted

    known: dict[str, Any] = {
        "auto": Weighted() if dear else Uniform(),
        "uniform": Uniform(),
        "weighted": Weighted(),
        "rank": PowerLaw(),
        "curious": Curious(),
        "novel": Novel(),
    }
    rule = known[parents] if aim == "nothing" else Towards(known[parents], aim)
    return Fresh(rule, fresh) if fresh else rule


def islands(archive: Any, *, islands: int = 1, migrate: int = 50) -> Any:
    """The archive, or that many of it.

    islands: separate populations; 1 is none.
    migrate: steps until each sends a tenth of its elites, as copies, to the next.
    """
    if not 1 <= islands <= 1 + MOST // archive.cells or migrate < 1:
        raise ValueError(
            f"--islands is 1 or more, and --migrate a number of steps from 1, not {islands} and {migrate}; "
            f"{archive.cells:,} cells each, all of them together may have {MOST:,}"
        )
    from qdkit.archives import Islands, Migrate

    return archive if islands == 1 else Islands(archive, islands, changes=(Migrate(migrate),))


def lessons(domain: Any, ask: Any, *, lessons: int = 0) -> Any:
    """What writes down what has been learnt, for the prompts to come; None where nothing does.

    lessons: after how many candidates, again and again, a model writes what the search has learnt; 0 is never.
    """
    if lessons < 0:
        raise ValueError(f"--lessons is a number of candidates, 0 for never, not {lessons}")
    from qdkit.lessons import Lessons

    return Lessons(ask, every=lessons, task=getattr(domain, "task", "")) if lessons else None


def challenge(domain: Any, *, challenge: int = 0, least: int = 1) -> Any:
    """How who seems better than an elite has to prove it; None where it is believed at once.

    challenge: how many times both are judged again before a cell changes hands, for judges that err; 0 is never.
    least: with it, how many judgements each elite has at least.
    """
    if challenge < 0 or least < 1 or (least > 1 and not challenge):
        raise ValueError(
            f"--challenge is a number of further judgements, 0 for none, and --least goes with it, from 1, "
            f"not {challenge} and {least}"
        )
    from qdkit.challenge import Challenge

    return Challenge(challenge, least=least) if challenge else None


def stop(domain: Any, *, target: float | None = None, patience: int | None = None) -> Any:
    """When the search has done enough, beside what it may spend; None where nothing says so.

    target: stop when the best objective is at least this.
    patience: stop when so many evaluations have not raised the QD score.
    """
    if patience is not None and patience < 1:
        raise ValueError(f"--patience is a number of evaluations, 1 or more, not {patience}")
    from qdkit.stopping import Stagnation, Target

    rules: list[Any] = [] if target is None else [Target(target)]
    rules += [] if patience is None else [Stagnation(patience)]
    return None if not rules else rules[0] if len(rules) == 1 else rules[0] | rules[1]


STEERING: tuple[Callable[..., Any], ...] = (parents, islands, lessons, challenge, stop)
ARCHIVES: dict[str, Callable[..., Any]] = {"grid": grid, "cvt": cvt}
NUMERIC: dict[str, Callable[..., Any]] = {"line": line, "gaussian": gaussian, "cma-me": cma_me}
OPERATORS: dict[str, dict[str, Callable[..., Any]]] = {
    "numbers": NUMERIC,
    "points": {"polish": polish, **NUMERIC},
    "programs": {"syntax": syntax},
}


def baseline(name: str | None, domain: Any, archive: Any, operator: Any) -> tuple[Any, Any]:
    """The archive and the operator of a baseline (see `qdkit.baselines`); as they are where it has no name."""
    from qdkit.baselines import Chain, Independent, Multistart, Single

    return {
        None: lambda: (archive, operator),
        "independent": lambda: (archive, Independent(operator)),
        "chain": lambda: (archive, Chain(operator)),
        "climb": lambda: (Single(archive), operator),
        "multistart": lambda: (archive, Multistart(operator, domain)),
    }[name]()


def operator(domain: Any, name: str | None) -> Callable[..., Any]:
    """The operator of this name for a domain (or what makes it), its first where None: its own, else those of its kind.

    Raises LookupError for a name that it does not have.
    """
    own = getattr(domain, "operators", None)
    known: Mapping[str, Callable[..., Any]] = (
        {n: lambda domain, batch, make=make: make() for n, make in own.items()} if own else OPERATORS[kind(domain)]
    )
    if name is not None and name not in known:
        raise LookupError(f"there is no operator {name!r} for this domain: take one of {', '.join(known)}")
    return known[next(iter(known)) if name is None else name]


def asking(domain: Any, model: Any) -> Any:
    """The operator by which a model makes new candidates: the domain's own, edits of programs, else other texts."""
    return domain.asking(model) if hasattr(domain, "asking") else rewriting(domain, model)


def rewriting(domain: Any, model: Any) -> Any:
    """The operator by which a model edits a program, or makes another text of one, whatever the cells are."""
    from qdkit.operators import Rewrite, programmer

    if kind(domain) == "programs":
        return programmer(model, domain.task, domain.names)
    return Rewrite(model, prompt(domain))


def judge(domain: Any, model: Any | None) -> Any:
    """Who judges: whom the domain names, given the model where there is one, else the domain itself."""
    from qdkit.stages import given

    return domain.judge(model) if hasattr(domain, "judge") else given


def labelled(domain: Any, axes: Sequence[Any], judge: Any, model: Any | None) -> tuple[Any, Any]:
    """The grid of axes of labels (`feedback.Attribute`), and a panel that places in it what `judge` judges.

    Who places is the model; where there is none, the vectors of texts: by `MiniLM`, or hashed n-grams without it.
    Raises ValueError for a domain of numbers.
    """
    import jax
    import numpy as np

    from qdkit.archives import Grid
    from qdkit.encoder import MiniLM
    from qdkit.features import grams
    from qdkit.feedback import Panel
    from qdkit.stages import given

    if isinstance(domain.seeds(jax.random.key(0), 1), np.ndarray):
        raise ValueError(f"--axes are of texts, and {type(domain).__name__} searches numbers: leave them out")
    try:
        embed = grams if model is not None else MiniLM()
    except ImportError:
        embed = grams  # what was used is in the notes of every candidate, and is printed
    quality = None if judge is given else judge.quality if isinstance(judge, Panel) else judge
    panel = Panel(quality, [axis.judge(model, embed) for axis in axes])
    return Grid(tuple(map(len, panel.bounds)), panel.bounds, names=panel.names), panel


def judges(reference: str, model: str | None) -> tuple[list[Any], list[str]]:
    """The judges that a word of the command line names, each of a panel by itself, and texts to try them on.

    It may be a measure by its name, a domain that has judges, or a judge.
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
        raise LookupError(f"{reference} is no judge, nor a domain with one: name a judge(key, batch)")
    return [part] if not isinstance(part, Panel) else [j for j in (part.quality, *part.axes) if j is not None], texts


def prompt(domain: Any) -> str:
    """What a model is asked to make of an elite: the domain's own `prompt`, else a plain one."""
    return getattr(
        domain, "prompt", "Here is a text:\n\n{genome}\n\nWrite a variation of it. Answer with the text alone."
    )


def taught(domain: Any, run: Path) -> dict[str, Any]:
    """Axes that the raters of the run teach (see `qdkit rate`), for a domain that says nothing of its own."""
    if not getattr(domain, "taught", False):
        return {}
    from qdkit.axes import Taught
    from qdkit.judgements import Judgements

    run.mkdir(parents=True, exist_ok=True)
    return {"axes": Taught(each=10), "replies": Judgements(run)}


def _described_by(domain: Any) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    bounds = ((0.0, 1.0), (0.0, 1.0)) if getattr(domain, "taught", False) else getattr(domain, "bounds", None)
    if bounds is None:
        raise ValueError(
            f"{type(domain).__name__} does not say between which bounds its descriptors lie: "
            "give it an attribute bounds = ((low, high), ...), one entry for each axis"
        )
    return tuple(bounds), tuple(getattr(domain, "names", ()))


def _cells(axis: tuple[Any, ...]) -> int:
    return len(axis) if isinstance(axis[0], str) else len(axis) - 1


def _spread(domain: Any) -> float:
    return float(getattr(domain, "sigma0", 0.1))
