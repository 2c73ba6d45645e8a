"""What a search has learnt so far, in words, for the prompts to come.

    Search(..., lessons=Lessons(LLM("MODEL"), task=domain.task, every=50))
    Search(..., lessons=Lessons())          without a model: which edits paid, counted

Every so many candidates the last ones are looked at: how each was made, how it fared against its
parent, and what changed. A model writes what worked, what did not and what to try; its answer is
kept in the ledger with its cost. Operators find the text in `Context.lessons`.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qdkit.elites import REJECTED, Added
from qdkit.llm import Ask, answer_of
from qdkit.llm.model import named
from qdkit.plain import to_json
from qdkit.prompts import filled
from qdkit.types import NOBODY, Batch, Candidate, Genome, Outcome

TOLD = 12  # candidates that a model is shown, those that gained or lost most
ROOM = 800  # characters of what changed in one of them
LONGEST = 4000  # characters of what a model has learnt


class Attempt(NamedTuple):
    """One candidate, the objective and the genome of its first parent (nan and None without one), and its fate."""

    candidate: Candidate
    before: float
    parent: Genome | None
    entered: bool

    @property
    def gain(self) -> float:
        """How much better than its parent; nan if one of them has no objective."""
        return self.candidate.objective - self.before


class Lessons:
    """Writes what has been learnt after every `every` candidates.

    ask: a model (`qdkit.LLM`) or a plain function `str -> str`; without one, the sentences of `paid`.
    task: what the candidates are for, in words; the model is told.

    An answer that did not come leaves what was known before.
    """

    def __init__(self, ask: Ask | None = None, *, every: int = 50, task: str = ""):
        if every < 1:
            raise ValueError(f"every is a number of candidates, 1 or more, not {every}")
        self.ask, self.every, self.task = ask, int(every), task
        self.text = ""
        self._recent: deque[Attempt] = deque(maxlen=self.every)
        self._heard, self._written = 0, 0

    def __repr__(self) -> str:
        asked = "" if self.ask is None else f"{named(self.ask)}, "
        return f"Lessons({asked}every={self.every})"

    @property
    def models(self) -> Sequence[Any]:
        """Whom it asks."""
        return () if self.ask is None else (self.ask,)

    def turn(self) -> Callable[[], str] | None:
        """What writes the next text, where it is time to; called in the order of the starts."""
        if self._heard // self.every <= self._written:
            return None
        self._written = self._heard // self.every
        attempts, before = list(self._recent), self.text
        return lambda: self._write(attempts, before)

    def learn(self, batch: Batch, added: Added, parents: Callable[[Sequence[int]], Batch]) -> None:
        """Hears how a batch fared; `parents` gives the candidates with these ids. In the order of the commits."""
        known = sorted({id for id in batch.parents[:, 0].tolist() if id != NOBODY})
        of = {candidate.id: candidate for candidate in parents(known)} if known else {}
        for candidate, status in zip(batch, np.asarray(added.status).tolist(), strict=True):
            parent = of.get(candidate.parents[0]) if candidate.parents else None
            before = math.nan if parent is None else parent.objective
            self._recent.append(Attempt(candidate, before, parent and parent.genome, status > REJECTED))
        self._heard += len(batch)

    def hear(self, text: str) -> None:
        """What was written, at the commit of the turn that wrote it."""
        self.text = text or self.text

    def _write(self, attempts: Sequence[Attempt], before: str) -> str:
        if self.ask is None:
            return paid(attempts)
        answer = answer_of(self.ask, question(attempts, self.task, before))
        return answer.text.strip()[:LONGEST] if answer.ok else ""


def paid(attempts: Sequence[Attempt]) -> str:
    """Which ways of making candidates paid, a sentence each, the one whose children entered most often first."""
    ways = dict.fromkeys(attempt.candidate.origin for attempt in attempts if attempt.candidate.origin != "seed")
    told = [(sum(a.entered for a in some) / len(some), _way(way, some)) for way in ways if (some := _of(attempts, way))]
    return "\n".join(sentence for _, sentence in sorted(told, key=lambda pair: -pair[0]))


def question(attempts: Sequence[Attempt], task: str, before: str) -> str:
    """What a model is asked: the task, what is known, how each way has paid, and the most telling candidates."""
    order = sorted(attempts, key=lambda a: -abs(a.gain) if math.isfinite(a.gain) else -math.inf)
    failed = [a for a in attempts if a.candidate.outcome != Outcome.OK]
    compared = [a for a in order if math.isfinite(a.gain)]
    shown = (compared[: TOLD - min(len(failed), TOLD // 3)] + failed[-TOLD // 3 :])[:TOLD]
    sections = {
        "task": task.strip() or "Not said.",
        "before": before or "Nothing yet.",
        "paid": paid(attempts) or "Nothing was tried yet.",
        "attempts": "\n\n".join(map(_told, shown)) or "None.",
    }
    return filled(Path(__file__).with_name("lessons.md"), **sections)


def _of(attempts: Sequence[Attempt], way: str) -> list[Attempt]:
    return [attempt for attempt in attempts if attempt.candidate.origin == way]


def _way(way: str, some: Sequence[Attempt]) -> str:
    ran, entered = sum(a.candidate.outcome == Outcome.OK for a in some), sum(a.entered for a in some)
    gains = [a.gain for a in some if a.gain > 0]
    better = f"{len(gains)} were better than their parent" + (f", by {max(gains):.6g} at most" if gains else "")
    errors = Counter(_last_line(a.candidate) for a in some if a.candidate.outcome != Outcome.OK)
    commonest = f"; failed most often with: {errors.most_common(1)[0][0]}" if errors else ""
    return (
        f"{way}: of {len(some)} tried, {ran} could be scored, {better}, and {entered} entered the archive{commonest}."
    )


def _told(attempt: Attempt) -> str:
    candidate = attempt.candidate
    if candidate.outcome == Outcome.OK:
        head = f"By {candidate.origin}: {attempt.before:.9g} became {candidate.objective:.9g}"
    else:
        head = f"By {candidate.origin}: {candidate.outcome}, {_last_line(candidate)}"
    changed = _changed(attempt.parent, candidate.genome)
    return f"{head}\n\n```diff\n{changed}\n```" if changed else head


def _changed(parent: Genome | None, child: Genome) -> str:
    """The lines that differ, as a diff without its head, at most `ROOM` characters."""
    if isinstance(child, np.ndarray) or parent is None:
        return ""
    old, new = (_lines(genome) for genome in (parent, child))
    diff = [*difflib.unified_diff(old, new, lineterm="", n=0)][2:]
    text = "\n".join(line for line in diff if not line.startswith("@@")).replace("```", "'''")
    return text if len(text) <= ROOM else f"{text[:ROOM]}\n[{len(text) - ROOM:,} characters left out]"


def _lines(genome: Genome) -> list[str]:
    if isinstance(genome, dict) and all(isinstance(text, str) for text in genome.values()):
        return [line for path in sorted(genome) for line in genome[path].splitlines()]
    return [] if isinstance(genome, bytes) else (genome if isinstance(genome, str) else to_json(genome)).splitlines()


def _last_line(candidate: Candidate) -> str:
    """Of a traceback, what was raised."""
    lines = str(candidate.notes.get("error", "no reason was given")).strip().splitlines()
    return lines[-1][:200] if lines else "no reason was given"
