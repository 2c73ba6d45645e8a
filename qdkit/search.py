"""The search: propose, evaluate, judge, describe, insert, learn; and again.

Every step is a task. It is *started* and *committed* in the caller's thread, in order; between the
two its *work* may run beside others' (see `qdkit.flow`) and sees nothing but the task. All state
changes at commits. So a seed and the recorded answers give the same run to the byte, and to go on
with a run is to make it again: evaluations and answers come from its ledger as far as that goes.
"""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from qdkit import metrics
from qdkit.budget import Budget, Purse
from qdkit.challenge import Bout, Challenge, Challenges
from qdkit.choosing import Choice, Choosing
from qdkit.compiled import keep_compilations
from qdkit.elites import NOWHERE, Added, Archive, Elites, double
from qdkit.flow import Flow, Workers
from qdkit.ledger import Ledger, write_elites
from qdkit.lessons import Lessons
from qdkit.novelty import Distinct
from qdkit.parents import Annealed, Parents, Uniform, reads
from qdkit.parts import described, said
from qdkit.record import Cost, recording
from qdkit.remap import ASKED, Learner, Learning
from qdkit.rows import Commit, genome_kind, moves
from qdkit.seen import Seen
from qdkit.stages import (
    features,
    given,
    placed,
    seeded,
    sifted,
)
from qdkit.stopping import Stop
from qdkit.taskrecord import TaskRecord
from qdkit.tasks import Goal, Made, Task, Worked, keys
from qdkit.types import Axes, Batch, Domain, Filter, Judge, Operator, Outcome
from qdkit.work import Trial, Work

UNIFORM = Uniform()
SEEDS = 16  # asked of the domain at least, however small a batch is


class Search(Seen):
    """A quality-diversity search of `domain`, `batch` candidates a step, into `archive`.

    judge, axes: where the objective and the descriptor come from; from the domain where left out.
    replies: what axes that learn hear (see `qdkit.axes`): a store of judgements, or somebody to ask.
    seed: of all randomness; the same seed and the same answers give the same run.
    in_flight: how many steps are worked on at the same time, each from a state up to `ahead` steps
      old (`4 * in_flight` where left out). Keep 1 for numbers, and take as many for language models
      as the server bears.
    parents: by which rule parents are chosen (see `qdkit.parents`), where an operator has none of its own.
    challenge: for judges and domains that do not say the same twice: whoever seems better than a cell's elite is
      judged again, and the elite too, in steps that make no candidates (see `qdkit.challenge`).
    lessons: writes what has been learnt, for the prompts to come (see `qdkit.lessons`).
    novelty: which candidates are new (see `qdkit.novelty`); where left out, no text, program or other
      JSON twice, by the domain's `form` if it has one. None for any.
    budget: what the run may spend; with it, `run()` goes on until a limit is met.
    executor: makes an executor (processes, a cluster) on which candidates are evaluated one by one.
    run: a folder to keep the run in, from which it can be looked at and gone on with; `resume=True`
      goes on with the run that is there.
    compiled: runs the whole loop as one compiled program, where domain and operator go through jax alone.
      What the call gives is then a `qdkit.Scan`, whose candidates have no rows.

    Raises ValueError, TypeError or OSError at the door for what cannot be searched or written.
    """

    def __new__(cls, *parts: Any, compiled: bool = False, **settings: Any) -> Any:
        """A search, or the one that runs as a compiled loop, which is made without `__init__` below."""
        if not compiled:
            return super().__new__(cls)
        from qdkit.scan import Scan

        return Scan(*parts, **settings)

    def __init__(
        self,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int = 64,
        seed: int = 0,
        judge: Judge = given,
        axes: Axes = features,
        replies: Any = None,
        parents: Parents = UNIFORM,
        challenge: Challenge | None = None,
        lessons: Lessons | None = None,
        novelty: Filter | Literal["distinct"] | None = "distinct",
        in_flight: int = 1,
        ahead: int | None = None,
        budget: Budget | None = None,
        executor: Callable[[], Executor] | None = None,
        run: str | Path | None = None,
        resume: bool = False,
        compiled: bool = False,
    ):
        ahead = (1 if in_flight == 1 else 4 * in_flight) if ahead is None else ahead
        if operator.size not in (None, batch):
            raise ValueError(
                f"the operator makes {operator.size} candidates a step and batch is {batch}: say batch={operator.size}"
            )
        for name, value in {"batch": batch, "in_flight": in_flight, "ahead": ahead}.items():
            if value != int(value) or value < 1:
                raise ValueError(f"{name} is {value}: a whole number from 1 is needed")
        if replies is not None and not isinstance(axes, Learner):
            raise ValueError("replies are for axes that learn, such as qdkit.axes.Taught, and these axes do not")
        if challenge and isinstance(axes, Learner):
            raise ValueError(
                "axes that learn fill the archive anew, and who has won a cell by a challenge would have to win it "
                "again: leave one of challenge and axes out"
            )
        operator.remeasure(axes)
        keep_compilations()
        self.domain, self.archive, self.operator = domain, archive, operator
        self.judge, self.axes, self.parents, self.lessons = judge, axes, parents, lessons
        self.floor = float(getattr(domain, "floor", 0.0))
        self.novelty = Distinct(getattr(domain, "form", None)) if novelty == "distinct" else novelty
        self.batch, self.seed, self.budget = int(batch), int(seed), budget or Budget()
        self._root, self._ahead = jax.random.key(self.seed), int(ahead)
        self._workers = Workers(executor) if executor else None
        self._page: Any = None  # where people judge, once it is asked for

        self._seeds = seeded(domain, jax.random.fold_in(self._root, 0), self.batch * -(-SEEDS // self.batch))
        self._kind = genome_kind(self._seeds.genome)
        self._numeric = self._kind["kind"] == "array"
        self._founding = -(-len(self._seeds.genome) // self.batch)  # how many steps it takes to try the seeds
        example = {"id": np.int32(0)} | ({"genome": self._seeds.genome[0]} if self._numeric else {})
        self.challenge, self._challenges = challenge, None
        if challenge:
            self._challenges = Challenges(challenge, archive, self.batch, lambda ids: self.ledger.take(ids))
            example["count"] = np.int32(0)
        with double():
            self._elites = archive.init(example)
        self._started, self._seconds, self._since = 0, 0.0, time.monotonic()
        self._cpu, self._cpu_since = 0.0, time.process_time()
        self.commits: list[Commit] = []
        self._told = False  # whether a goal is in the ledger
        self._goals: list[tuple[int, Goal]] = []  # (commits, how far starts may go from then on)
        self._allowed: dict[int, int] = {}  # evaluations that tasks may make which are not committed yet
        self.failures: dict[str, int] = {}  # how many candidates were not ok, by outcome
        self._why = ""  # why the last goal is where it is, if something came before it
        self.stopped = ""  # why the last sitting ended before its goal

        if resume and run is not None:
            self.ledger = Ledger.open(Path(run), write=True)
            self._was = self.ledger.commits
        else:
            self.ledger = Ledger.create(Path(run) if run is not None else None, self._about())
            self._was = []
        self._choosing = Choosing(archive, parents, self.ledger, self._numeric, len(self._elites.objective))
        self._learning: Learning | None = None
        with ExitStack() as refused:
            refused.callback(self.close)  # or the folder would stay held as long as anybody looks at the traceback
            self._recorded = len(self._was)
            if isinstance(axes, Learner):
                self._learning = Learning(axes, archive, self.ledger, replies, example, self._recorded)
            seconds = self._was[-1].seconds if self._was else 0.0
            self._purse = Purse(replace(self.budget, evaluations=None), self.ledger.spent(), seconds)
            trial = Trial(domain, archive, self.novelty, judge, axes, self._workers)
            self._work = Work(trial, self.ledger, self._purse, self._recorded, self._seeds.genome, self.batch)
            self._flow: Flow[Task | Bout, Made, Worked] = Flow(
                self._work.make, self._work.finish, in_flight=int(in_flight), ahead=self._ahead
            )
            self._recall()
            refused.pop_all()

    # What a user does.

    def run(self, n: int | None = None, *, until: Stop | None = None, progress: bool = True) -> Search:
        """Makes `n` steps, or as many as the budget or `until` allow, with a progress bar."""
        from qdkit.progress import bar, forecast

        for sentence in forecast(self.models, self.budget):
            if progress:
                print(sentence)
        with bar(self, n, shown=progress) as step:
            for _ in self.steps(n, until=until):
                step()
        return self

    def steps(self, n: int | None = None, *, until: Stop | None = None) -> Iterator[Batch]:
        """Makes `n` steps, or as many as the budget or `until` allow, and yields each batch once it is in the archive.

        until: a rule of `qdkit.stopping`. When it says so nothing more is begun, and what is under way is finished.

        The caller may stop at any step; a later call goes on from there. `stopped` says why, where
        something else came before the `n`-th step.
        """
        if n is None and until is None and not self.budget.limits():
            raise ValueError("say how many steps to make or until when, or give the search a budget")
        if n is not None and (n != int(n) or n < 1):
            raise ValueError(f"a search makes a whole number of steps from 1, not {n}")
        n = int(n or sys.maxsize - len(self.commits))
        if until and (why := self._enough(until)):
            self._aim(Goal(self._started, self.budget.evaluations), why)
        else:
            self._aim(Goal(len(self.commits) + n, self.budget.evaluations))
        self._since, self._cpu_since = time.monotonic() - self._seconds, time.process_time() - self._cpu
        try:
            for batch, added in self._flow.run(self._start, n, self._commit):
                self._learn(batch, added)
                if until and not self.stopped and (why := until.why(self.commits)):
                    self._aim(Goal(self._started, self.budget.evaluations), why)
                yield batch
        finally:
            if self.ledger.path is not None:
                write_elites(self.ledger.path, self.elites)

    def rate(self, question: str = "triplet", *, height: int = 820, **settings: Any) -> Any:
        """The page on which people judge candidates, in a frame of a notebook, while the search goes on.

        question, settings: as `qdkit.rate.page.Page` takes them. It is served until the search is closed.
        """
        from qdkit.rate import in_notebook

        self._page, page = in_notebook(self.ledger.path, lambda: self, question=question, **settings), self._page
        if page:
            page.close()
        return self._page.frame(height)

    def close(self) -> None:
        """Gives back the run's folder and the workers. `with Search(...) as search:` does it at the end."""
        if self._page:
            self._page.close()
        self.ledger.close()
        if self._workers:
            self._workers.close()

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def models(self) -> list[Any]:
        """Whom its parts ask."""
        others = (self.lessons, self.judge, self.novelty)
        return [*self.operator.models, *(model for part in others for model in getattr(part, "models", ()))]

    @property
    def in_flight(self) -> int:
        """How many steps are started and not yet committed."""
        return self._flow.pending

    @property
    def spent(self) -> Cost:
        """What the doors have cost so far, all sittings of the run together."""
        return self._purse.spent

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
        return jax.tree.map(np.asarray, self.archive.united(self._elites))

    # Start and commit run in order in the caller's thread; work runs in the flow.

    def _aim(self, goal: Goal, why: str = "") -> None:
        """How far starts may go. Where that decides what they see, it is an event that a replay reads."""
        self.stopped = self._why = why
        decides = self._ahead > 1 or goal.evaluations is not None or why or reads(self.parents, (Annealed,))
        if (decides or self._told) and (not self._goals or self._goals[-1][1] != goal):
            self._tell(goal, why)
        self._goals.append((len(self.commits), goal))

    def _tell(self, goal: Goal, why: str = "") -> None:
        """Writes a goal down; every later one too, as a replay takes the last event for what holds."""
        self.ledger.event(len(self.commits), "goal", [*goal, why])
        self._told = True

    def _enough(self, until: Stop) -> str:
        """Why nothing more is begun, in words: as decided before what is under way, else as `until` says."""
        if self._why and len(self.commits) < self._goals[-1][1].steps:
            return self._why
        return until.why(self.commits) if self.commits else ""

    def _start(self) -> Task | Bout | None:
        number = self._started
        goal = next(goal for after, goal in reversed(self._goals) if after <= len(self.commits))
        allowed = self._allowance(goal)
        if number >= goal.steps or not allowed:
            return None
        if number >= self._recorded and (why := self._purse.exhausted()):
            self._aim(goal._replace(steps=number), why)
            return None
        if number >= self._founding > len(self.commits):
            return None  # nothing to start from until every seed was tried
        making, judging, pick = keys(self._root, number + 1)
        if self._challenges and number >= self._founding:
            left = self._left(goal)
            if bout := self._challenges.turn(number, self._elites, judging, left):
                self._started += 1
                self._allowed[number] = bout.judgements
                return bout
        if number < self._founding:
            seeds = self._seeds.take(slice(number * self.batch, (number + 1) * self.batch))
            choice = self._choosing.founded(len(seeds.genome))
            make = lambda: seeds
        else:
            operator, n = self.operator.turn(self.batch), self.batch
            if not self._told and any(reads(wish.parents, (Annealed,)) for wish in operator.wishes(n) if wish.parents):
                self._tell(goal)
            learnt = self.lessons.text if self.lessons else ""
            context, choice = self._choosing.context(
                pick, self._elites, operator, n, number, self._progress(goal), learnt
            )
            make = lambda: operator.propose(making, context, n)
        self._started += 1
        self._allowed[number] = allowed
        lesson = self.lessons.turn() if self.lessons else None
        return Task(number, make, choice, lesson, judging, allowed, self._candidates, len(self.commits))

    def _progress(self, goal: Goal) -> float:
        """The share of the way to the goal that is done."""
        made = self.commits[-1].evaluations if self.commits else 0
        return made / goal.evaluations if goal.evaluations else len(self.commits) / goal.steps

    def _allowance(self, goal: Goal) -> int:
        """How many evaluations the next task may make."""
        left = self._left(goal)
        if left <= 0 and not self._allowed:
            self.stopped = f"{self.commits[-1].evaluations:,} of {goal.evaluations:,} evaluations are used"
        return int(min(self.batch, max(0, left)))

    def _left(self, goal: Goal) -> float:
        """How many evaluations, of candidates and of challenges, may still be begun."""
        if goal.evaluations is None:
            return math.inf
        made = self.commits[-1].evaluations if self.commits else 0
        return goal.evaluations - made - sum(self._allowed.values())

    def _commit(self, done: Worked) -> tuple[Batch, Added | None]:
        """Puts the batch into the archive and the ledger. If it raises, nothing has changed: it may be tried again."""
        if self._challenges is None:
            return self._committed(done)
        ids = done.task.judged.id.tolist() if isinstance(done.task, Bout) else []
        with self._challenges.unless_it_fails(ids):
            return self._committed(done)

    def _committed(self, done: Worked) -> tuple[Batch, Added | None]:
        first, number, task, batch = self._candidates, len(self.commits), done.task, done.batch
        if number < self._recorded:
            self._seconds, self._cpu = self._was[number].seconds, self._was[number].cpu
        else:
            self._seconds, self._cpu = time.monotonic() - self._since, time.process_time() - self._cpu_since
        if isinstance(task, Bout):
            return self._settled(task, done.said)
        batch = batch.replace(id=np.arange(first, first + len(batch), dtype=np.int32))
        if self.novelty is not None:
            batch = sifted(batch, self.novelty, first, first)
        if self._learning:
            self._learning.drain(number)
        batch = placed(batch, self.axes, self.archive.axes)
        if self._challenges:
            add = lambda objective: self._added(batch, task.choice, objective)
            batch, elites, added, seemed = self._challenges.added(batch, self._elites, add)
        else:
            elites, added = self._added(batch, task.choice, np.where(batch.ok, batch.objective, np.nan))
            seemed = added
        state = self._state(batch, elites, added, task.choice)
        if state.number >= self._recorded:
            moved = moves(batch, added, self._elites, elites) if self.archive.islands > 1 else None
            self.ledger.commit(batch, added, state, moved)
        before = self._elites
        self._stands(state, elites)
        self._choosing.learn(batch, seemed, task.choice, before, elites)
        if self.lessons:
            self.lessons.hear(done.lesson)
        for outcome in batch.outcome[~batch.ok].tolist():
            self.failures[outcome] = self.failures.get(outcome, 0) + 1
        return batch, seemed

    def _settled(self, bout: Bout, said: tuple[np.ndarray, np.ndarray]) -> tuple[Batch, None]:
        """Gives the cells to who won them: a commit of no candidates."""
        assert self._challenges is not None
        elites, told = self._challenges.settled(bout, *said, self._elites)
        state = self._state_of(elites, rows=0, tried=bout.judgements)
        if state.number >= self._recorded:
            self.ledger.settle(state, told)
        nobody, before = self.ledger.take([]), self._elites
        self._stands(state, elites)
        self._choosing.learn(nobody, None, self._choosing.founded(0), before, elites)
        return nobody, None

    def _stands(self, state: Commit, elites: Elites) -> None:
        """Takes over what a commit came to, once it is written down; raises where a rerun comes to something else."""
        if state.number < self._recorded and state.untimed != (was := self._was[state.number]).untimed:
            raise RuntimeError(f"step {state.number} came out other than recorded: {state} instead of {was}")
        self._elites = elites
        self.commits.append(state)
        self._allowed.pop(state.number)
        self._work.forget(state.number - self._ahead)

    def _added(self, batch: Batch, choice: Choice, objective: np.ndarray) -> tuple[Elites, Added]:
        """The elites after the batch, and after what is then due between islands."""
        payload = {"id": batch.id} | ({"genome": batch.genome} if self._numeric else {})
        payload |= {"count": np.ones(len(batch), np.int32)} if self._challenges else {}
        columns = objective, batch.descriptor, payload
        with double():
            if self.archive.islands == 1:
                elites, added = self.archive.add(self._elites, *columns)
            else:
                elites, added = self.archive.add(self._elites, *columns, choice.island[: len(batch)])
                elites = self._turned_over(elites)
        return elites, jax.tree.map(np.asarray, added)

    def _turned_over(self, elites: Elites) -> Elites:
        """After what is due between islands."""
        best, steps = float(np.max(elites.objective)), len(self.commits)
        was = lambda commit: commit.best if commit.best == commit.best else -math.inf
        stagnant = steps - bisect_left(self.commits, best, key=was)  # the best is never lost
        key = jax.random.fold_in(jax.random.fold_in(self._root, 0), steps)
        return self.archive.changed(key, elites, steps + 1, stagnant)

    def _learn(self, batch: Batch, added: Added | None) -> None:
        """Tells the parts that learn of a commit; a challenge teaches them nothing that they were not told before."""
        if added is None:
            return
        self.operator.learn(batch, added)
        if self.lessons:
            self.lessons.learn(batch, added, self.ledger.take)
        if self.novelty is not None:
            self.novelty.learn(batch)
        if self._learning:
            self._remap(self._learning, batch)
        if len(self.commits) == self._founding and not self.elites.occupied.any():
            why = next((note["error"] for note in batch.notes if "error" in note), "no reason was given")
            raise RuntimeError(f"no seed could enter the archive, so there is nothing to start from; the first: {why}")

    def _remap(self, learning: Learning, batch: Batch) -> None:
        """Lets the axes learn; where they do, every candidate is put in anew."""
        steps = len(self.commits)
        record = TaskRecord(self.ledger, self._purse, steps - 1, False, ASKED)
        key = jax.random.fold_in(jax.random.fold_in(self._root, 0), steps)
        elites = learning.after(key, batch, self._elites, steps, lambda: recording(record))
        if elites is not self._elites:
            self._choosing.moved(self._elites, elites)
            self.axes, self._elites = learning.axes, elites
            self.operator.remeasure(learning.axes)

    @property
    def _candidates(self) -> int:
        """How many there are."""
        return self.commits[-1].first + self.commits[-1].rows if self.commits else 0

    def _state(self, batch: Batch, elites: Elites, added: Added, choice: Choice) -> Commit:
        """How the run stands after `batch`."""
        refused = batch.ok & (added.cell == NOWHERE)
        outside = batch.ok & ~np.asarray(self.archive.inside(batch.descriptor))
        tried = np.isin(batch.outcome, [outcome for outcome in Outcome if outcome.evaluated]).sum()
        clipped, no_place = int((outside & ~refused).sum()), int(refused.sum())
        return self._state_of(elites, len(batch), int(tried), clipped, no_place, choice.effective)

    def _state_of(
        self, elites: Elites, rows: int, tried: int, clipped: int = 0, refused: int = 0, parents: float | None = None
    ) -> Commit:
        """How the run stands with these elites, after that many further rows and evaluations."""
        elites = jax.tree.map(np.asarray, self.archive.united(elites))
        was = self.commits[-1] if self.commits else None
        return Commit(
            number=len(self.commits),
            first=self._candidates,
            rows=rows,
            evaluations=(was.evaluations if was else 0) + tried,
            coverage=metrics.coverage(elites),
            qd_score=metrics.qd_score(elites, self.floor),
            best=metrics.best(elites),
            clipped=(was.clipped if was else 0) + clipped,
            refused=(was.refused if was else 0) + refused,
            parents=(was.parents if was else math.nan) if parents is None else parents,
            seconds=self._seconds,
            cpu=self._cpu,
        )

    # Going on with a run is making it again.

    def _recall(self) -> None:
        """Makes the recorded part of the run once more, from its ledger."""
        self.ledger.same(self._about())
        told = [(after, value) for after, kind, value in self.ledger.events() if kind == "goal"]
        goals = [(after, Goal(*value[:2])) for after, value in told]
        self._told, self._why = bool(told), told[-1][1][2] if told else ""
        self._goals = [(0, Goal(self._recorded)), *goals] if self._was else goals
        if not self._was:
            return
        for batch, added in self._flow.run(self._start, self._recorded, self._commit):
            self._learn(batch, added)

    def _about(self) -> dict[str, Any]:
        """What the ledger says of this search; a run can only be gone on with by one that says the same."""
        parts = {"domain": self.domain, "archive": self.archive, "operator": self.operator}
        return {
            **{name: described(part) for name, part in parts.items()},
            "judge": said(self.judge),
            "parents": said(self.parents),
            **({"challenge": said(self.challenge)} if self.challenge else {}),
            "lessons": said(self.lessons),
            "novelty": said(self.novelty),
            "axes_from": said(self.axes),
            "genome": self._kind,
            "cells": self.archive.cells,
            "axes": self.archive.axes,
            "floor": self.floor,
            "batch": self.batch,
            "ahead": self._ahead,
            "seed": self.seed,
        }
