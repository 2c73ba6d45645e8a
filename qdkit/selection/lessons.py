"""Lessons: a text of what a search has learnt so far, for later prompts.

    lessons = Lessons(LLM("MODEL"), task=domain.task, every=50)
    Search(..., steering=Steering(lessons=lessons))

Without a model, `Lessons()` counts which operators paid.

After every `every` candidates, a model reads about the last ones: how each was made, how it
compares with its parent, and what changed. The model writes what worked, what did not and what to
try. The ledger keeps its answer and the cost. Operators find the text in `Context.lessons`.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.elites import REJECTED, Added
from qdkit.core.jsonable import to_json
from qdkit.core.types import NO_CANDIDATE, Batch, Candidate, Genome, Outcome
from qdkit.llm import Ask, answer_of
from qdkit.llm.model import model_name
from qdkit.llm.templates import fill_template

_MAX_ATTEMPTS = 12  # candidates in a prompt, those that gained or lost most
_MAX_DIFF = 800  # characters of the diff of one candidate
_MAX_LESSONS = 4000  # characters of the text of lessons


class Attempt(NamedTuple):
    """One candidate, compared with its first parent.

    before: the objective of the parent, nan without one.
    parent: the genome of the parent, None without one.
    entered: whether the candidate entered the archive.
    """

    candidate: Candidate
    before: float
    parent: Genome | None
    entered: bool

    @property
    def gain(self) -> float:
        """The objective minus that of the parent; nan if one of them has none."""
        return self.candidate.objective - self.before


class Lessons:
    """Writes lessons after every `every` candidates.

    ask: a model (`qdkit.LLM`) or a plain function `str -> str`; without one, the lessons are the
      sentences of `operator_report`.
    task: what the candidates are for, in words, for the prompt.

    If no answer comes, the earlier lessons stay. Raises ValueError if `every` is below 1.
    """

    def __init__(self, ask: Ask | None = None, *, every: int = 50, task: str = ""):
        if every < 1:
            raise ValueError(f"every is a number of candidates, 1 or more, not {every}")
        self.ask, self.every, self.task = ask, int(every), task
        self.text = ""
        self._recent: deque[Attempt] = deque(maxlen=self.every)
        self._received, self._written = 0, 0

    def __repr__(self) -> str:
        model = "" if self.ask is None else f"{model_name(self.ask)}, "
        return f"Lessons({model}every={self.every})"

    @property
    def models(self) -> Sequence[Any]:
        """The models that it asks."""
        return () if self.ask is None else (self.ask,)

    def turn(self) -> Callable[[], str] | None:
        """Returns the function that writes the next text if one is due, else None.

        It is called in the order of the starts of tasks.
        """
        if self._received // self.every <= self._written:
            return None
        self._written = self._received // self.every
        # A copy, since `task` may have changed when the function is called.
        attempts, before, now = list(self._recent), self.text, copy.copy(self)
        return lambda: now._write(attempts, before)

    def learn(self, batch: Batch, added: Added, parents: Callable[[Sequence[int]], Batch]) -> None:
        """Remembers a batch and what became of it, in the order of the commits.

        parents: returns the candidates with the given ids.
        """
        known = sorted({id for id in batch.parents[:, 0].tolist() if id != NO_CANDIDATE})
        by_id = {candidate.id: candidate for candidate in parents(known)} if known else {}
        for candidate, status in zip(batch, np.asarray(added.status).tolist(), strict=True):
            parent = by_id.get(candidate.parents[0]) if candidate.parents else None
            before = math.nan if parent is None else parent.objective
            genome = parent and parent.genome
            self._recent.append(Attempt(candidate, before, genome, status > REJECTED))
        self._received += len(batch)

    def hear(self, text: str) -> None:
        """Sets the text, at the commit of the task that wrote it; "" leaves the earlier one."""
        self.text = text or self.text

    def _write(self, attempts: Sequence[Attempt], before: str) -> str:
        if self.ask is None:
            return operator_report(attempts)
        answer = answer_of(self.ask, lessons_prompt(attempts, self.task, before))
        return answer.text.strip()[:_MAX_LESSONS] if answer.ok else ""


def operator_report(attempts: Sequence[Attempt]) -> str:
    """Returns a sentence for each operator: how its candidates fared.

    The operator whose candidates entered the archive most often comes first.
    """
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.candidate.origin != "seed":
            groups.setdefault(attempt.candidate.origin, []).append(attempt)
    rate = lambda group: sum(attempt.entered for attempt in group) / len(group)
    order = sorted(groups, key=lambda operator: -rate(groups[operator]))
    return "\n".join(_operator_sentence(operator, groups[operator]) for operator in order)


def lessons_prompt(attempts: Sequence[Attempt], task: str, before: str) -> str:
    """Returns the prompt for a model.

    It holds the task, the earlier lessons, the report on each operator, and the candidates that
    gained or lost most or failed last.
    """
    order = sorted(attempts, key=lambda a: -abs(a.gain) if math.isfinite(a.gain) else -math.inf)
    failed = [a for a in attempts if a.candidate.outcome != Outcome.OK]
    compared = [a for a in order if math.isfinite(a.gain)]
    most_compared = _MAX_ATTEMPTS - min(len(failed), _MAX_ATTEMPTS // 3)
    some = (compared[:most_compared] + failed[-_MAX_ATTEMPTS // 3 :])[:_MAX_ATTEMPTS]
    sections = {
        "task": task.strip() or "Not said.",
        "before": before or "Nothing yet.",
        "paid": operator_report(attempts) or "Nothing was tried yet.",
        "attempts": "\n\n".join(map(_attempt_text, some)) or "None.",
    }
    return fill_template(Path(__file__).with_name("lessons.md"), **sections)


def _operator_sentence(operator: str, attempts: Sequence[Attempt]) -> str:
    scored = sum(a.candidate.outcome == Outcome.OK for a in attempts)
    entered = sum(a.entered for a in attempts)
    gains = [a.gain for a in attempts if a.gain > 0]
    best = f", by {max(gains):.6g} at most" if gains else ""
    failed = [a.candidate for a in attempts if a.candidate.outcome != Outcome.OK]
    errors = Counter(map(_last_line, failed))
    commonest = f"; failed most often with: {errors.most_common(1)[0][0]}" if errors else ""
    return (
        f"{operator}: of {len(attempts)} tried, {scored} could be scored, "
        f"{len(gains)} were better than their parent{best}, "
        f"and {entered} entered the archive{commonest}."
    )


def _attempt_text(attempt: Attempt) -> str:
    """Returns the objective before and after, or the failure, and the diff if there is one."""
    candidate = attempt.candidate
    if candidate.outcome == Outcome.OK:
        head = f"By {candidate.origin}: {attempt.before:.9g} became {candidate.objective:.9g}"
    else:
        head = f"By {candidate.origin}: {candidate.outcome}, {_last_line(candidate)}"
    diff = _diff(attempt.parent, candidate.genome)
    return f"{head}\n\n```diff\n{diff}\n```" if diff else head


def _diff(parent: Genome | None, child: Genome) -> str:
    """Returns the lines that differ, as a diff without a head, `_MAX_DIFF` characters at most."""
    if isinstance(child, np.ndarray) or parent is None:
        return ""
    old, new = (_lines(genome) for genome in (parent, child))
    diff = [*difflib.unified_diff(old, new, lineterm="", n=0)][2:]
    text = "\n".join(line for line in diff if not line.startswith("@@")).replace("```", "'''")
    if len(text) <= _MAX_DIFF:
        return text
    return f"{text[:_MAX_DIFF]}\n[{len(text) - _MAX_DIFF:,} characters left out]"


def _lines(genome: Genome) -> list[str]:
    if isinstance(genome, dict) and all(isinstance(text, str) for text in genome.values()):
        return [line for path in sorted(genome) for line in genome[path].splitlines()]
    if isinstance(genome, bytes):
        return []
    return (genome if isinstance(genome, str) else to_json(genome)).splitlines()


def _last_line(candidate: Candidate) -> str:
    """Returns the last line of the candidate's error, which says what was raised."""
    lines = str(candidate.notes.get("error", "no reason was given")).strip().splitlines()
    return lines[-1][:200] if lines else "no reason was given"
