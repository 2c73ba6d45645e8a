"""Programs as a domain: what runs in the sandbox is scored by a referee that the program never meets.

    packing = Program({"seed.py": text}, "seed.py:solve", "Pack 26 circles.", referee, arguments=(26,))

A genome is a mapping path -> text. The first program says by its `EVOLVE-BLOCK` marks what may
change. Each candidate runs in a process of its own, behind walls, and hands back a value; the
referee, which is the user's own code and runs here, scores that value and nothing else.
`Program.folder` reads all of it from a folder.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from qdkit.flow import Failure
from qdkit.plain import to_json, visible
from qdkit.programs import MEASURES, Files, changed_outside, form, measures
from qdkit.sandbox import Ran, Sandbox, in_words
from qdkit.sandbox.inside import wire
from qdkit.types import Evaluation, Key, Outcome

from .door import LARGEST, check
from .folder import read
from .problem import Score
from .referee import Referee, called, refereed

SHOWN = 1000  # characters of what a candidate printed that are kept in its notes
DRAWN = 32  # programs whose outcome is kept for drawing


class Held:
    """What an entry is called with at a level that the search never sees; a ledger says its digest alone."""

    def __init__(self, arguments: Sequence[Any] | Held):
        self.arguments: tuple[Any, ...] = tuple(arguments.arguments if isinstance(arguments, Held) else arguments)

    def __repr__(self) -> str:
        message = wire.encode(list(self.arguments), LARGEST)
        return f"held out, sha256 {hashlib.sha256(message).hexdigest()}"


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
    validation, lockbox: what it is called with at these levels (see `qdkit.levels`), where there is data
      that the search is not to see. The referee is then called as `referee(output, level=...)`, with
      "search", "validation" or "lockbox". No program meets such data before that level is asked for.
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
    validation: Sequence[Any] | Held | None = None
    lockbox: Sequence[Any] | Held | None = None
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
        check(self)
        for level in self.levels:
            object.__setattr__(self, level, Held(getattr(self, level)))
        limits = {"seconds": self.seconds, "memory": self.memory, "preload": self.preload, "workers": self.workers}
        object.__setattr__(self, "_runs", _Runs(self.entry, list(self.arguments), self.sandbox, limits))

    @classmethod
    def folder(cls, path: str | Path, **settings: Any) -> Program:
        """The domain that a folder holds; `settings` are those of `Program` and go before the folder's own.

        `seed.py` is the program to start from, or all Python files of a folder `seed`; `task.md` the
        task; `score.py` the referee, your own code, which is imported here: a function `score(output)`,
        and where they differ from `Program`'s, `ENTRY` ("seed.py:solve" where left out), `ARGUMENTS`,
        `VALIDATION`, `LOCKBOX`, `BOUNDS`, `NAMES`, `SHAPE`, `FLOOR`, `SECONDS`, `MEMORY`, `PRELOAD` and a
        function `draw(output, ax)`. Raises FileNotFoundError for a file that is not there, ValueError
        for one that cannot be used.
        """
        return cls(**{"entry": "seed.py:solve", **read(Path(path)), **settings})

    @property
    def level(self) -> str:
        """How strongly candidates are isolated, in words. Raises RuntimeError if the level asked for does not work."""
        return in_words(self._runs.sandbox.level)

    @property
    def levels(self) -> tuple[str, ...]:
        """For which levels beside the search's there is data."""
        return tuple(level for level in ("validation", "lockbox") if getattr(self, level) is not None)

    def at(self, level: str) -> Program:
        """The same programs, scored at one of `levels`. Raises ValueError for another."""
        held = getattr(self, level) if level in self.levels else None
        if held is None:
            raise ValueError(
                f"there is no data for the level {level!r}: there is for {', '.join(self.levels) or 'none'}"
            )
        referee = partial(self.referee, level=level)
        made = replace(self, arguments=held.arguments, referee=referee, validation=None, lockbox=None)
        object.__setattr__(made, "_runs", self._runs.called_with(held.arguments))
        return made

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
        drawn = called(lambda output: draws(output, ax), output)
        if not isinstance(drawn, Failure):
            return drawn
        ax.clear()
        return _written({"": f"not drawn: {drawn.error}\n", **genome}, ax)

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
        score = refereed(partial(self.referee, level="search") if self.levels else self.referee, ran.value)
        if isinstance(score, Failure):
            return self._none(score.outcome, score.error)
        if score.outcome != Outcome.OK:
            return score._replace(descriptor=(math.nan,) * len(self.names))
        expected = [name for name in self.names if name not in MEASURES]
        if len(expected) != len(score.descriptor):
            told = f"the referee gives {len(score.descriptor)} descriptors, and these are its axes: {expected}"
            return self._none(Outcome.FAILED, told)
        counted = {} if len(expected) == len(self.names) else measures(genome)
        place = counted | dict(zip(expected, score.descriptor, strict=True))
        return score._replace(descriptor=tuple(place[name] for name in self.names))

    def _none(self, outcome: Outcome, why: str) -> Score:
        return Score(math.nan, (math.nan,) * len(self.names), {"error": why}, outcome)


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

    def called_with(self, arguments: Sequence[Any]) -> _Runs:
        """The same sandbox, its programs called with other arguments."""
        made = _Runs(self._entry, list(arguments), self._level, self._limits)
        made._started = self.sandbox
        return made

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


def _written(genome: Any, ax: Any) -> Any:
    """The text of a program, as far as there is room."""
    texts = genome.values() if isinstance(genome, Mapping) else [genome]
    text = visible("\n".join(str(t) for t in texts)[:4000])
    ax.text(0, 1, text, size=4, va="top", family="monospace", parse_math=False, clip_on=True, transform=ax.transAxes)
    ax.set(xticks=[], yticks=[])
    return ax
