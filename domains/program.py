"""Programs as a domain: candidates run in a sandbox, and a referee outside scores their output.

    packing = Program(
        {"seed.py": text}, "seed.py:solve", "Pack 26 circles.", referee, arguments=(26,)
    )

A genome is a mapping path -> text. The `EVOLVE-BLOCK` marks of the first program delimit what may
change. Each candidate runs in a sandboxed process of its own and returns a value. The referee,
which is the user's own code and runs in this process, scores that value and nothing else.
`Program.folder` reads a domain from a folder.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from qdkit.core.evaluating import Failure
from qdkit.core.jsonable import terminal_safe, to_json
from qdkit.core.time_limits import Abandoned, map_in_threads
from qdkit.core.types import Evaluation, Key, Outcome
from qdkit.domains.folder import read_folder
from qdkit.domains.mathematics.problem import RefereeScore
from qdkit.domains.referee import Referee, call_referee, referee_score
from qdkit.domains.settings import LARGEST, check_settings
from qdkit.programs.sandbox import Ran, Sandbox, isolation_in_words
from qdkit.programs.sandbox.inside import wire
from qdkit.programs.syntax import (
    PROGRAM_MEASURES,
    Files,
    changed_outside,
    form,
    measures,
    too_long,
)
from qdkit.runs import sources

_MAX_PRINTED = 1000  # characters of a candidate's printed output in its notes
_CACHED_RUNS = 32  # programs whose result is cached for drawing


class HeldOutSplit:
    """The arguments of a program on data that the search never sees.

    A ledger holds only their digest.
    """

    def __init__(self, arguments: Sequence[Any] | HeldOutSplit):
        self.arguments: tuple[Any, ...] = tuple(
            arguments.arguments if isinstance(arguments, HeldOutSplit) else arguments
        )

    def __repr__(self) -> str:
        message = wire.pack_message(list(self.arguments), LARGEST)
        return f"held out, sha256 {hashlib.sha256(message).hexdigest()}"


@dataclass(frozen=True)
class Program:
    """Programs that solve a task.

    files: the program to start from. Text outside its EVOLVE-BLOCK marks cannot change; a file
      without marks may change as a whole.
    entry: the function that is called, such as "seed.py:solve".
    task: the task in words, for a language model.
    referee: takes the value that the entry returned, which may be anything, and returns its score:
      a number, a tuple (objective, descriptor) or (objective, descriptor, notes), a
      `RefereeScore`, or an `Evaluation` of one candidate. If it raises an error, the candidate
      fails.
    bounds, names: of the descriptor, as in `Grid`. A name of
      `qdkit.programs.syntax.PROGRAM_MEASURES`
      ("lines", "nodes", "depth", "imports", "call_depth", ...) is measured in the program; the
      others are values of the referee, in its order.
    arguments: the arguments of the entry.
    validation, lockbox: the arguments of the entry for the validation and the test split (see
      `qdkit.runs.holdout`), data that the search does not see. The referee is then called as
      `referee(output, level=...)`, with "search", "validation" or "lockbox". No program receives
      such data before a score at that level is requested.
    floor: the objective from which the QD score counts.
    shape: cells along each axis, for the command line; by default about 2,500 in all.
    draws: `draws(output, ax)`, which draws an output; by default the text of the program is drawn.
    seconds, memory, sandbox, preload, workers: as in `Sandbox`.
    referee_seconds: how long the referee may take over one output; after that the candidate times
      out. The referee runs in this process, where a call that does not end cannot be stopped: it
      stays behind in its thread.

    Raises ValueError, with file and line, for an entry that is in no Python file, for marks that
    do not pair, for text that resembles a mark and is none, and for bounds without names. A
    candidate may have 200,000 characters, or twice as many as `files`.
    """

    files: Files
    entry: str
    task: str
    referee: Referee
    bounds: tuple[Any, ...] = ((0, 600), (0, 30))
    names: tuple[str, ...] = ("nodes", "depth")
    arguments: Sequence[Any] = ()
    validation: Sequence[Any] | HeldOutSplit | None = None
    lockbox: Sequence[Any] | HeldOutSplit | None = None
    floor: float = 0.0
    shape: tuple[int, ...] | None = None
    draws: Callable[[Any, Any], Any] | None = None
    seconds: float = 5.0
    memory: int = 1 << 30
    # the isolation depends on the machine, so it is no part of a run's description
    sandbox: str = field(default="auto", repr=False)
    preload: tuple[str, ...] = ("numpy",)
    workers: int = 2
    referee_seconds: float = 60.0
    # evaluation waits for the sandbox: a search calls it in a thread it can leave (see `Domain`)
    waits = True
    _runs: _Runs = field(init=False, repr=False, compare=False)
    _digests: Mapping[str, str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        without_bom = lambda text: text.removeprefix("\ufeff") if isinstance(text, str) else text
        object.__setattr__(
            self, "files", {path: without_bom(text) for path, text in self.files.items()}
        )
        check_settings(self)
        for level in self.levels:
            object.__setattr__(self, level, HeldOutSplit(getattr(self, level)))
        limits = {
            "seconds": self.seconds,
            "memory": self.memory,
            "preload": self.preload,
            "workers": self.workers,
        }
        object.__setattr__(
            self, "_runs", _Runs(self.entry, list(self.arguments), self.sandbox, limits)
        )

    @classmethod
    def folder(cls, path: str | Path, **settings: Any) -> Program:
        """Returns the domain that a folder holds.

        `settings` are those of `Program` and take precedence over those of the folder. `seed.py`,
        or all Python files of a folder `seed`, is the program to start from, and `task.md` is the
        task. `score.py` is your own code, which is imported in this process. It has the referee, a
        function `score(output)`, and may set `ENTRY` (by default "seed.py:solve"), `ARGUMENTS`,
        `VALIDATION`, `LOCKBOX`, `BOUNDS`, `NAMES`, `SHAPE`, `FLOOR`, `SECONDS`, `MEMORY`,
        `PRELOAD`, `REFEREE_SECONDS` and a function `draw(output, ax)`. Raises FileNotFoundError if
        a file is missing, and ValueError if a file cannot be used.
        """
        home, own = Path(path), read_folder(Path(path))
        domain = cls(**{"entry": "seed.py:solve", **own, **settings})
        others = {} if domain.referee is own["referee"] else sources.code_digests(domain.referee)
        object.__setattr__(domain, "_digests", {**sources.folder_digests(home), **others})
        return domain

    @property
    def sources(self) -> dict[str, str]:
        """The digests, by name, of the sources that decide a score.

        These are the files of the folder as they were read, or the code of the referee.
        """
        return sources.code_digests(self.referee) if self._digests is None else dict(self._digests)

    def reworded(self, task: str) -> Program:
        """Returns this domain with another task for language models, in the same sandbox."""
        domain = replace(self, task=task)
        object.__setattr__(domain, "_digests", self._digests)
        object.__setattr__(domain, "_runs", self._runs)
        return domain

    @property
    def level(self) -> str:
        """How strongly candidates are isolated, in words.

        Raises RuntimeError if the requested level does not work here.
        """
        return isolation_in_words(self._runs.sandbox.level)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that have data, apart from "search"."""
        return tuple(
            level for level in ("validation", "lockbox") if getattr(self, level) is not None
        )

    def at(self, level: str) -> Program:
        """Returns this domain with scores at one of `levels`. Raises ValueError for another."""
        split = getattr(self, level) if level in self.levels else None
        if split is None:
            raise ValueError(
                f"there is no data for the level {level!r}: there is for "
                f"{', '.join(self.levels) or 'none'}"
            )
        referee = partial(self.referee, level=level)
        domain = replace(
            self, arguments=split.arguments, referee=referee, validation=None, lockbox=None
        )
        object.__setattr__(domain, "_runs", self._runs.called_with(split.arguments))
        return domain

    def seeds(self, key: Key, n: int) -> list[dict[str, str]]:
        """Returns the program to start from.

        Starts the sandbox, and raises RuntimeError if it does not work.
        """
        assert self.level
        return [dict(self.files)]

    def form(self, genome: Files) -> str:
        """Returns the text by which programs are compared.

        It is the form of the program (`programs.syntax.form`), and what it changes outside the
        marks.
        """
        if not _holds_texts(genome):
            return to_json(genome)
        if reason := too_long(genome, self.files):
            return f"{reason}, sha256 {hashlib.sha256(to_json(genome).encode()).hexdigest()}"
        return f"{changed_outside(self.files, genome)}\n{form(genome)}"

    def evaluate(self, genomes: Sequence[Files]) -> Evaluation:
        """Runs each program and scores its output, `workers` of them at once."""
        evaluate, single = self._evaluate_one, len(genomes) == 1
        scores = (
            [evaluate(genomes[0])] if single else map_in_threads(evaluate, genomes, self.workers)
        )
        objective, descriptor, notes, outcome = zip(*scores, strict=True)
        return Evaluation(objective, descriptor, notes=notes, outcome=outcome)

    def interrupt(self) -> None:
        """Ends the programs that run, and their sandbox; a new one starts when it is needed."""
        self._runs.interrupt()

    def draw(self, genome: Files, ax: Any) -> Any:
        """Runs the program again in the sandbox and draws its output by `draws`.

        Draws the text of the program if there is no such output.
        """
        if self.draws is not None and _holds_texts(genome) and not self._refusal(genome):
            result = self._runs.cached_run(tuple(sorted(genome.items())))
            if self._score(genome, result).outcome == Outcome.OK:
                return self._draw_output(self.draws, genome, result.value, ax)
        return _draw_text(genome, ax)

    def _draw_output(
        self, draws: Callable[[Any, Any], Any], genome: Files, output: Any, ax: Any
    ) -> Any:
        """Draws an output; if `draws` fails, draws the reason and the text of the program."""
        picture = call_referee(lambda output: draws(output, ax), output)
        if not isinstance(picture, Failure):
            return picture
        ax.clear()
        return _draw_text({"": f"not drawn: {picture.error}\n", **genome}, ax)

    def _evaluate_one(self, genome: Files) -> RefereeScore:
        """Runs a program and scores its output; notes what it printed and its CPU time."""
        if not isinstance(genome, Mapping):
            reason = f"a program is a mapping path -> text, not a {type(genome).__name__}"
            return self._no_score(Outcome.INVALID, reason)
        if not all(isinstance(text, str) for item in genome.items() for text in item):
            reason = "a program is a mapping path -> text, and this one holds something else"
            return self._no_score(Outcome.INVALID, reason)
        if reason := self._refusal(genome):
            return self._no_score(Outcome.INVALID, reason)
        result = self._runs.run(genome)
        score = self._score(genome, result)
        printed = {"output": result.output[-_MAX_PRINTED:]} if result.output else {}
        finite = math.isfinite(result.cpu_seconds)
        cpu_time = {"cpu_seconds": result.cpu_seconds} if finite else {}
        return score._replace(notes={**score.notes, **printed, **cpu_time})

    def _refusal(self, genome: Files) -> str:
        """Returns why a program is not run, "" if it may run."""
        return too_long(genome, self.files) or changed_outside(self.files, genome)

    def _score(self, genome: Files, result: Ran) -> RefereeScore:
        """Returns the score of the result of a run, with all axes of the descriptor."""
        if result.outcome != Outcome.OK:
            return self._no_score(result.outcome, result.error)
        referee = partial(self.referee, level="search") if self.levels else self.referee
        score = referee_score(referee, result.value, self.referee_seconds)
        if isinstance(score, Failure):
            return self._no_score(score.outcome, score.error)
        if score.outcome != Outcome.OK:
            return score._replace(descriptor=(math.nan,) * len(self.names))
        expected = [name for name in self.names if name not in PROGRAM_MEASURES]
        if len(expected) != len(score.descriptor):
            reason = (
                f"the referee gives {len(score.descriptor)} descriptors, and these are its axes: "
                f"{expected}"
            )
            return self._no_score(Outcome.FAILED, reason)
        measured = {} if len(expected) == len(self.names) else measures(genome)
        place = measured | dict(zip(expected, score.descriptor, strict=True))
        return score._replace(descriptor=tuple(place[name] for name in self.names))

    def _no_score(self, outcome: Outcome, reason: str) -> RefereeScore:
        return RefereeScore(math.nan, (math.nan,) * len(self.names), {"error": reason}, outcome)


def _holds_texts(genome: Any) -> bool:
    """Returns whether a genome is a mapping to texts."""
    return isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values())


class _Runs:
    """Runs programs in the sandbox of a domain, which starts with the first program.

    Pickled, it loses its sandbox: another process starts its own.
    """

    def __init__(self, entry: str, arguments: list[Any], level: str, limits: Mapping[str, Any]):
        self._settings = (entry, arguments, level, limits)
        self._entry, self._arguments, self._level, self._limits = self._settings
        self._started: Sandbox | None = None
        self._lock = threading.Lock()
        self.cached_run = lru_cache(_CACHED_RUNS)(lambda items: self.run(dict(items)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._settings

    def __deepcopy__(self, memo: dict[int, Any]) -> _Runs:
        # a run leaves no state behind, so all searches may share the processes
        return self

    def called_with(self, arguments: Sequence[Any]) -> _Runs:
        """Returns runs in the same sandbox that call programs with other arguments."""
        runs = _Runs(self._entry, list(arguments), self._level, self._limits)
        runs._started = self.sandbox
        return runs

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox, which starts if it has not."""
        with self._lock:
            if self._started is None:
                self._started = Sandbox(self._level, **self._limits)
            return self._started

    def run(self, files: Files) -> Ran:
        """Returns the result of a program; runs it a second time if the sandbox itself failed."""
        first = self._run_once(files)
        return self._run_once(files) if first.outcome == Outcome.INFRASTRUCTURE else first

    def interrupt(self) -> None:
        """Closes the sandbox if it has started; the next program starts a new one."""
        with self._lock:
            sandbox, self._started = self._started, None
        if sandbox is not None:
            sandbox.close()

    def _run_once(self, files: Files) -> Ran:
        """Returns the result of a program.

        Raises Abandoned if the sandbox was closed meanwhile: then nothing is known of the program.
        """
        sandbox = self.sandbox
        try:
            return sandbox.run(files, self._entry, self._arguments)
        finally:
            if self._started is not sandbox:
                raise Abandoned("the search was interrupted")


def _draw_text(genome: Any, ax: Any) -> Any:
    """Draws the text of a program, as far as there is room."""
    texts = genome.values() if isinstance(genome, Mapping) else [genome]
    text = terminal_safe("\n".join(str(t) for t in texts)[:4000])
    ax.text(
        0,
        1,
        text,
        size=4,
        va="top",
        family="monospace",
        parse_math=False,
        clip_on=True,
        transform=ax.transAxes,
    )
    ax.set(xticks=[], yticks=[])
    return ax
