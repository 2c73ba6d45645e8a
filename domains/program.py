"""Programs as a domain: what runs in the sandbox is scored by a referee that the program never meets.

    packing = Program({"seed.py": text}, "seed.py:solve", "Pack 26 circles.", referee, arguments=(26,))

A genome is a mapping path -> text. The first program says by its `EVOLVE-BLOCK` marks what may
change. Each candidate runs in a process of its own, behind walls, and hands back a value; the
referee, which is the user's own code and runs here, scores that value and nothing else.
`Program.folder` reads all of it from a folder.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from qdkit.flow import Failure, attempt
from qdkit.plain import to_json, visible
from qdkit.programs import MEASURES, Files, blocks, changed_outside, form, measures
from qdkit.sandbox import Ran, Sandbox, in_words
from qdkit.types import Evaluation, Genomes, Key, Outcome

from .problem import Score

SHOWN = 1000  # characters of what a candidate printed that are kept in its notes
DRAWN = 32  # programs whose outcome is kept for drawing

Said = Score | Evaluation | tuple[Any, ...] | float
Referee = Callable[[Any], Said]


@dataclass(frozen=True)
class Program:
    """Programs that answer a task.

    files: the program to start from. Text outside its EVOLVE-BLOCK marks cannot change; a file
      without marks may change as a whole.
    entry: the function that is called, such as "seed.py:solve".
    task: what the program is to do, in words, for a language model.
    referee: takes what the entry returned, which may be anything, and gives its score: a number, a
      tuple (objective, descriptor) or (objective, descriptor, notes), a `Score`, or an `Evaluation`
      of one. What it raises fails the candidate.
    bounds, names: of the descriptor, as in `Grid`. A name of `qdkit.programs.MEASURES` ("lines", "nodes",
      "depth", "imports", "call_depth", ...) is counted in the program; the others are the referee's, in its order.
    arguments: what the entry is called with.
    floor: the objective from which the QD score counts.
    shape: cells along each axis, for the command line; about 2,500 in all where left out.
    draws: `draws(output, ax)`, a picture of an output; where left out, a picture is the program's text.
    seconds, memory, sandbox, preload, workers: as in `Sandbox`.

    Raises ValueError for an entry that is in no file, marks that do not pair, and bounds without names.
    """

    files: Files
    entry: str
    task: str
    referee: Referee
    bounds: tuple[Any, ...] = ((0, 600), (0, 30))
    names: tuple[str, ...] = ("nodes", "depth")
    arguments: Sequence[Any] = ()
    floor: float = 0.0
    shape: tuple[int, ...] | None = None
    draws: Callable[[Any, Any], Any] | None = None
    seconds: float = 5.0
    memory: int = 1 << 30
    sandbox: str = "auto"
    preload: tuple[str, ...] = ("numpy",)
    workers: int = 2
    _runs: _Runs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        path, _, function = self.entry.partition(":")
        if path not in self.files or not function:
            raise ValueError(
                f"entry names a function of one of the files {', '.join(self.files)}, "
                f"such as '{next(iter(self.files), 'seed.py')}:solve', not {self.entry!r}"
            )
        for name, text in self.files.items():
            try:
                blocks(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        if len(self.names) != len(self.bounds):
            raise ValueError(f"every axis has a name: {len(self.bounds)} bounds came with {len(self.names)} names")
        limits = {"seconds": self.seconds, "memory": self.memory, "preload": self.preload, "workers": self.workers}
        object.__setattr__(self, "_runs", _Runs(self.entry, list(self.arguments), self.sandbox, limits))

    @classmethod
    def folder(cls, path: str | Path, **settings: Any) -> Program:
        """The domain that a folder holds; `settings` are those of `Program` and go before the folder's own.

        `seed.py` is the program to start from, or all Python files of a folder `seed`; `task.md` the
        task; `score.py` the referee, your own code, which is imported here: a function `score(output)`,
        and where they differ from `Program`'s, `ENTRY` ("seed.py:solve" where left out), `BOUNDS`,
        `NAMES`, `SHAPE`, `ARGUMENTS`, `FLOOR`, `SECONDS`, `MEMORY`, `PRELOAD` and a function `draw(output, ax)`.
        Raises FileNotFoundError for a file that is not there, ValueError where there is no `score`.
        """
        home = Path(path)
        seeds = sorted((home / "seed").glob("**/*.py")) or [home / "seed.py"]
        files = {p.relative_to(home).as_posix(): _text(p) for p in seeds}
        task, judging = _text(home / "task.md"), _imported(home / "score.py")
        own = {
            name: getattr(judging, name.upper())
            for name in ("bounds", "names", "shape", "arguments", "floor", "seconds", "memory", "preload")
            if hasattr(judging, name.upper())
        }
        named = {"entry": getattr(judging, "ENTRY", "seed.py:solve"), "draws": getattr(judging, "draw", None)}
        return cls(files, task=task, referee=judging.score, **{**named, **own, **settings})

    @property
    def level(self) -> str:
        """How strongly candidates are isolated, in words. Raises RuntimeError if the level asked for does not work."""
        return in_words(self._runs.sandbox.level)

    def seeds(self, key: Key, n: int) -> list[dict[str, str]]:
        """The program to start from. Starts the sandbox, and raises RuntimeError if that cannot be."""
        assert self.level
        return [dict(self.files)]

    def form(self, genome: Files) -> str:
        """What of a program counts where two are compared (`qdkit.programs.form`), and what it breaks of the frame."""
        if not isinstance(genome, Mapping) or not all(isinstance(text, str) for text in genome.values()):
            return to_json(genome)
        return f"{changed_outside(self.files, genome)}\n{form(genome)}"

    def evaluate(self, genomes: Sequence[Files]) -> Evaluation:
        """Each program run and refereed, `workers` of them at once."""
        if len(genomes) == 1:
            scores = [self._tried(genomes[0])]
        else:
            with ThreadPoolExecutor(self.workers) as pool:
                scores = list(pool.map(self._tried, genomes))
        objective, descriptor, notes, outcome = zip(*scores, strict=True)
        return Evaluation(objective, descriptor, notes=notes, outcome=outcome)

    def draw(self, genome: Files, ax: Any) -> Any:
        """The program's output, run again in the sandbox, as `draws` draws it; its text where that cannot be."""
        if self.draws is not None and isinstance(genome, Mapping) and not changed_outside(self.files, genome):
            ran = self._runs.again(tuple(sorted(genome.items())))
            if self._refereed(genome, ran).outcome == Outcome.OK:
                return self._drawn(self.draws, genome, ran.value, ax)
        return _written(genome, ax)

    def _drawn(self, draws: Callable[[Any, Any], Any], genome: Files, output: Any, ax: Any) -> Any:
        """The picture of an output; where that cannot be drawn, the reason and the program's text."""
        pictures: list[Any] = []

        def drawing(output: Any) -> float:
            pictures.append(draws(output, ax))
            return 0.0

        [(_, said)] = attempt(_Bench(drawing), [output])
        if not isinstance(said, Failure):
            return pictures[0]
        ax.clear()
        return _written({"": f"not drawn: {said.error}\n", **genome}, ax)

    def _tried(self, genome: Files) -> Score:
        if not isinstance(genome, Mapping):
            return self._none(Outcome.INVALID, f"a program is a mapping path -> text, not a {type(genome).__name__}")
        if fault := changed_outside(self.files, genome):
            return self._none(Outcome.INVALID, fault)
        ran = self._runs.ran(genome)
        score = self._refereed(genome, ran)
        printed = {"output": ran.output[-SHOWN:]} if ran.output else {}
        used = {"cpu_seconds": ran.cpu_seconds} if math.isfinite(ran.cpu_seconds) else {}
        return score._replace(notes={**score.notes, **printed, **used})

    def _refereed(self, genome: Files, ran: Ran) -> Score:
        """The score of what a run handed back, its descriptor whole."""
        if ran.outcome != Outcome.OK:
            return self._none(ran.outcome, ran.error)
        bench = _Bench(self.referee)
        [(_, said)] = attempt(bench, [ran.value])
        if isinstance(said, Failure):
            return self._none(Outcome.FAILED, f"the referee stopped at what it returned: {said.error}")
        score = bench.score
        if score.outcome != Outcome.OK:
            return score._replace(descriptor=(math.nan,) * len(self.names))
        expected = [name for name in self.names if name not in MEASURES]
        if len(expected) != len(score.descriptor):
            told = f"the referee gives {len(score.descriptor)} descriptors, and these are its axes: {expected}"
            return self._none(Outcome.FAILED, told)
        place = measures(genome) | dict(zip(expected, score.descriptor, strict=True))
        return score._replace(descriptor=tuple(place[name] for name in self.names))

    def _none(self, outcome: Outcome, why: str) -> Score:
        return Score(math.nan, (math.nan,) * len(self.names), {"error": why}, outcome)


class _Bench:
    """The referee and one output, as a domain, so that what it raises is caught where all such things are."""

    def __init__(self, referee: Referee):
        self.referee = referee
        self.score = Score(math.nan)

    def evaluate(self, genomes: Genomes) -> Evaluation:
        self.score = _scored(self.referee(genomes[0]))
        return Evaluation([self.score.objective])

    def seeds(self, key: Key, n: int) -> list[Any]:
        return []


def _scored(said: Said) -> Score:
    """What a referee said, in whichever of the ways it may."""
    match said:
        case Evaluation():
            columns = (said.objective, said.descriptor, said.notes, said.outcome)
            given: list[Any] = [d if c is None else c[0] for c, d in zip(columns, Score(math.nan), strict=True)]
            score = Score(*given)
        case tuple():
            score = Score(*said)
        case _:
            score = Score(said)
    place = tuple(float(x) for x in score.descriptor)
    return score._replace(objective=float(score.objective), descriptor=place)


class _Runs:
    """The sandbox of a domain, which starts with the first program; it does not travel to other processes."""

    def __init__(self, entry: str, arguments: list[Any], level: str, limits: Mapping[str, Any]):
        self._settings = (entry, arguments, level, limits)
        self._entry, self._arguments, self._level, self._limits = self._settings
        self._started: Sandbox | None = None
        self._lock = threading.Lock()
        self.again = lru_cache(DRAWN)(lambda items: self.ran(dict(items)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._settings

    @property
    def sandbox(self) -> Sandbox:
        with self._lock:
            if self._started is None:
                self._started = Sandbox(self._level, **self._limits)
            return self._started

    def ran(self, files: Files) -> Ran:
        """What became of a program; one that the sandbox itself lost is run once more."""
        first = self.sandbox.run(files, self._entry, self._arguments)
        if first.outcome != Outcome.INFRASTRUCTURE:
            return first
        return self.sandbox.run(files, self._entry, self._arguments)


def _imported(path: Path) -> ModuleType:
    """The module in a file, under a name of its own. Raises ValueError if it has no `score`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: a folder with a program to evolve has one, with score(output)")
    spec = importlib.util.spec_from_file_location(f"score_of_{path.resolve().parent.name}", path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    if not callable(getattr(module, "score", None)):
        raise ValueError(f"{path} has no function score(output)")
    return module


def _text(path: Path) -> str:
    """The text in a file. Raises ValueError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is to be text in UTF-8, and its byte {error.start} is not: save it as UTF-8"
        ) from None


def _written(genome: Any, ax: Any) -> Any:
    """The text of a program, as far as there is room."""
    texts = genome.values() if isinstance(genome, Mapping) else [genome]
    text = visible("\n".join(str(t) for t in texts)[:4000])
    ax.text(0, 1, text, size=4, va="top", family="monospace", parse_math=False, clip_on=True, transform=ax.transAxes)
    ax.set(xticks=[], yticks=[])
    return ax
