"""The search: propose, evaluate, judge, describe, insert, learn; and again.

Every step is a task. It is *started* and *committed* in the caller's thread, in order; between the
two its *work* may run beside that of others (see `qdkit.search.concurrency`) and sees nothing but
the task. All state changes at commits (see `qdkit.search.loop`). So a seed and the recorded
answers give the same run to the byte, and a run is resumed by making it again: evaluations and
answers come from its ledger as far as that goes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from qdkit.core.elites import REJECTED, Archive, Elites
from qdkit.core.evaluating import EvaluationPool
from qdkit.core.jit_cache import keep_compilations
from qdkit.core.prng import root_key
from qdkit.core.record import Cost
from qdkit.core.seeds import Seed, seed_number
from qdkit.core.stages import domain_objective, features, seed_proposal
from qdkit.core.types import Axes, Batch, Domain, Judge, Operator
from qdkit.operators.allocation import use_recorded_reward
from qdkit.runs import sources
from qdkit.runs.ledger import Ledger, check_free, write_elites
from qdkit.runs.rows import genome_kind
from qdkit.runs.view import RunView, check_open
from qdkit.search.arguments import COMPILED, check_parts, check_setting_kinds, names_checked
from qdkit.search.budget import Budget, BudgetTracker
from qdkit.search.concurrency import Flow
from qdkit.search.deadlines import Deadlines
from qdkit.search.history import RunHistory
from qdkit.search.insertion import Insertion, ReevaluatedInsertion
from qdkit.search.loop import Loop
from qdkit.search.parts import SearchParts, check_together
from qdkit.search.reevaluation import ReevaluationTask
from qdkit.search.relearning import Learner, Learning
from qdkit.search.steering import Steering
from qdkit.search.stopping import Stop
from qdkit.search.tasks import BatchTask, Goal, ProposedBatch, TaskResult
from qdkit.search.worker import Trial, Work
from qdkit.search.workers import Workers, check_count
from qdkit.selection.parents import Annealed, has_rule

if TYPE_CHECKING:
    from qdkit.search.compiled import CompiledSearch

_STEERING, _WORKERS = Steering(), Workers()
_RESUME_ORDER = "Search.resume(folder, domain, archive, operator, ...)"
_SEEDS = 16  # the least number of seeds that the domain is asked for, however small the batch


class _Settings(NamedTuple):
    """The settings of a search beside its parts."""

    batch: int
    seed: Seed
    workers: Workers
    budget: Budget | None


class Search(RunView):
    """A quality-diversity search of `domain`, `batch` candidates a step, into `archive`.

    judge, axes: where the objective and the descriptor come from; from the domain where left out.
    replies: what axes that learn read (see `qdkit.axes`): a store of judgements, or somebody to
      ask.
    seed: of all randomness; the same seed and the same answers give the same run. A whole number,
      also a negative one or one of any size; a `np.random.SeedSequence`; or None for a new one.
      `search.seed` is an int that reproduces the run, and stands in its ledger.
    steering: how parents are chosen, what is new, which lessons are written, and what is evaluated
      again (see `qdkit.Steering`).
    workers: how many steps are worked on at the same time, and where candidates are evaluated (see
      `qdkit.Workers`).
    budget: what the run may spend; with it, `run()` goes on until a limit is met.
    folder: a new folder to keep the run in, from which it can be looked at and resumed.

    `Search.resume` goes on with the run in a folder. `Search.compiled` runs the whole loop as one
    compiled program, where domain and operator go through jax alone.

    Raises ValueError, TypeError or OSError at once for what cannot be searched or written.
    """

    @names_checked("Search")
    def __init__(
        self,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int = 64,
        seed: Seed = 0,
        judge: Judge = domain_objective,
        axes: Axes = features,
        replies: Any = None,
        steering: Steering = _STEERING,
        workers: Workers = _WORKERS,
        budget: Budget | None = None,
        folder: str | Path | None = None,
    ) -> None:
        check_parts(domain, archive, operator)
        check_setting_kinds(steering, workers, budget)
        parts = domain, archive, operator, judge, axes, replies, steering
        settings = _Settings(batch, seed, workers, budget)
        self._open(parts, settings, None if folder is None else Path(folder), resumed=False)

    @classmethod
    @names_checked("Search.resume")
    def resume(
        cls,
        folder: str | Path,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int = 64,
        seed: Seed = None,
        judge: Judge = domain_objective,
        axes: Axes = features,
        replies: Any = None,
        steering: Steering = _STEERING,
        workers: Workers = _WORKERS,
        budget: Budget | None = None,
    ) -> Search:
        """Goes on with the run in `folder`, with the same parts and settings.

        seed: that of the run where left out.

        The run is made again from its ledger, without evaluations or calls. Raises ValueError
        where it was begun with other parts or settings.
        """
        check_parts(domain, archive, operator, _RESUME_ORDER)
        check_setting_kinds(steering, workers, budget)
        parts = domain, archive, operator, judge, axes, replies, steering
        search = cls.__new__(cls)
        with closing(Ledger.open(Path(folder))) as ledger:
            if "compiled" in ledger.about:
                raise ValueError(
                    f"{folder} is the run of a compiled search: go on with it by "
                    f"qdkit.CompiledSearch.resume({str(folder)!r}, domain, archive, operator)"
                )
            seed = int(ledger.about["seed"]) if seed is None else seed
        settings = _Settings(batch, seed, workers, budget)
        search._open(parts, settings, Path(folder), resumed=True)
        return search

    @staticmethod
    @names_checked("Search.compiled", COMPILED)
    def compiled(
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int | None = None,
        seed: Seed = 0,
        budget: Budget | None = None,
        folder: str | Path | None = None,
    ) -> CompiledSearch:
        """A search that runs as one compiled loop; see `qdkit.CompiledSearch`.

        domain and operator go through jax alone. Candidates have no rows in the ledger.
        """
        from qdkit.search.compiled import CompiledSearch

        return CompiledSearch(
            domain, archive, operator, batch=batch, seed=seed, budget=budget, folder=folder
        )

    def _open(
        self, given_parts: tuple[Any, ...], settings: _Settings, folder: Path | None, resumed: bool
    ) -> None:
        """Begins a search, or resumes the one in `folder`."""
        operator, workers = given_parts[2], settings.workers
        if operator.size not in (None, settings.batch):
            raise ValueError(
                f"the operator makes {operator.size} candidates a step and batch is "
                f"{settings.batch}: say batch={operator.size}"
            )
        check_count("batch", settings.batch)
        check_together(*given_parts[4:])
        self.batch, self.seed = int(settings.batch), seed_number(settings.seed)
        self.budget = settings.budget or Budget()
        self._page: Any = None  # where people judge, once `rate` is called
        self._pool: EvaluationPool | None = None
        if folder is not None and not resumed:
            check_free(folder)  # before the domain is asked for anything
        parts = SearchParts.copied(*given_parts)
        keep_compilations()
        self.domain, self.archive, self.operator = parts.domain, parts.archive, parts.operator
        self.floor, self.steering = parts.floor, parts.steering

        key = root_key(self.seed)
        count = self.batch * -(-_SEEDS // self.batch)
        seeds = seed_proposal(parts.domain, jax.random.fold_in(key, 0), count)
        kind, ahead = genome_kind(seeds.genome), int(workers.steps_ahead)
        insertion = self._insertion(kind["kind"] == "array", key)
        digests = parts.sources()
        about = lambda: self._about(parts, kind, ahead, digests)
        if resumed and folder is not None:
            self.ledger = Ledger.open(folder, write=True)
            use_recorded_reward(parts.operator, self.ledger.about["operator"])
        else:
            self.ledger = Ledger.create(folder, about())
        with ExitStack() as failed:
            # or the folder would stay locked as long as somebody holds the traceback
            failed.callback(self.close if resumed else self._discard)
            recorded = self.ledger.commits if resumed else []
            if workers.executor:
                self._pool = EvaluationPool(workers.executor, workers.seconds)
            if resumed:
                sources.check_unchanged(self.ledger, digests)
            example = insertion.example(seeds.genome)
            learning = None
            if isinstance(parts.axes, Learner):
                learning = Learning(
                    parts.axes, parts.archive, self.ledger, parts.replies, example, len(recorded)
                )
            before = recorded[-1].seconds if recorded else 0.0
            limits = replace(self.budget, evaluations=None)
            tracker = BudgetTracker(limits, self.ledger.spent(), before)
            trial = Trial(
                parts.domain,
                parts.archive,
                parts.novelty,
                parts.judge,
                parts.axes,
                self._pool,
                workers.seconds,
            )
            work = Work(trial, self.ledger, tracker, len(recorded), seeds.genome, self.batch)
            self.ledger.same(about())
            decisive = ahead > 1 or has_rule(parts.steering.parents, (Annealed,))
            self._loop = Loop(
                parts,
                self.ledger,
                RunHistory(self.ledger, recorded, decisive),
                insertion,
                learning,
                tracker,
                work,
                root=key,
                batch=self.batch,
                ahead=ahead,
                seeds=seeds,
                example=example,
            )
            self.commits = self._loop.commits
            is_timed = self.budget.seconds is not None
            self._deadlines = Deadlines(self._loop, self._pool, is_timed)
            self._flow: Flow[BatchTask | ReevaluationTask, ProposedBatch, TaskResult] = Flow(
                work.make,
                work.finish,
                in_flight=int(workers.in_flight),
                ahead=ahead,
                watched=is_timed or self._pool is not None or parts.waits,
            )
            for batch, added in self._flow.run(self._loop.start, len(recorded), self._loop.commit):
                self._loop.learn(batch, added)
            failed.pop_all()

    def _insertion(self, numeric: bool, key: Any) -> Insertion:
        """How candidates enter the archive."""
        if self.steering.reevaluate is None:
            return Insertion(self.archive, numeric, key)
        return ReevaluatedInsertion(
            self.archive,
            numeric,
            key,
            self.steering.reevaluate,
            self.batch,
            lambda ids: self.ledger.take(ids),
        )

    def _about(
        self, parts: SearchParts, kind: dict[str, Any], ahead: int, digests: dict[str, str]
    ) -> dict[str, Any]:
        """What the ledger says of this search.

        A run can only be resumed by a search that says the same.
        """
        return {
            **parts.described(),
            "genome": kind,
            "cells": self.archive.cells,
            "axes": self.archive.axes,
            "floor": self.floor,
            "batch": self.batch,
            "ahead": ahead,
            "seed": self.seed,
            **({"sources": digests} if digests else {}),
        }

    # What a user does.

    def run(
        self, n: int | None = None, *, until: Stop | None = None, progress: bool = True
    ) -> Search:
        """Makes `n` steps, or as many as the budget or `until` allow, with a progress bar.

        Ctrl-C raises KeyboardInterrupt, SIGTERM SystemExit(143) and SIGHUP SystemExit(129), once
        the run is on disk: see `steps`.
        """
        from qdkit.search.progress import bar, forecast

        for sentence in forecast(self.models, self.budget):
            if progress:
                print(sentence)
        with self._deadlines.handling(), bar(self, n, shown=progress) as step:
            for _ in self.steps(n, until=until):
                step()
        return self

    def steps(self, n: int | None = None, *, until: Stop | None = None) -> Iterator[Batch]:
        """Makes `n` steps, or as many as the budget or `until` allow.

        It yields each batch once it is in the archive.

        until: a rule of `qdkit.search.stopping`. When it says so nothing more is begun, and what
          is under way is finished.

        The caller may stop at any step; a later call goes on from there. `stopped` says why, where
        something else came before the `n`-th step.

        SIGINT, SIGTERM and SIGHUP are remembered while a step is made (in the main thread, outside
        of notebooks), and the caller's own handlers hold between steps. The step under way is
        finished, or dropped where it waits for a model, an executor or a sandbox; one line says
        how to go on; then KeyboardInterrupt, SystemExit(143) or SystemExit(129) is raised. A
        second signal ends the process at once.

        When the seconds of the budget are used, what is under way has one more second; what has
        not ended then is given up, as a time-out where its evaluation had begun. A call that was
        given up in this process runs on in a thread of its own, until the process ends; on an
        executor of processes it is ended.
        """
        self._check_ready(n, until)
        if any(hasattr(model, "base_url") for model in self.models):
            from qdkit.llm.client import import_libraries

            import_libraries()
        if self._pool:
            self._pool.start()
        self._deadlines.given_up, self.ledger.idle = 0, False
        batches = self._batches(int(n or sys.maxsize - len(self.commits)), until)
        try:
            while True:
                with self._deadlines.handling():
                    batch = self._deadlines.next(batches)
                    if batch is None:
                        break
                yield batch
            if given_up := self._deadlines.given_up:
                self._loop.stopped += f"; {given_up} of its steps did not end, and were given up"
                self._deadlines.end_evaluation()
        finally:
            self.ledger.idle = True
            if self.ledger.path is not None:
                write_elites(self.ledger.path, self.elites)

    def _check_ready(self, n: int | None, until: Stop | None) -> None:
        """Raises ValueError or RuntimeError where no steps can be made."""
        if n is None and until is None and not self.budget.limits():
            raise ValueError(
                "say how many steps to make or until when, or give the search a budget"
            )
        if n is not None and (n != int(n) or n < 1):
            raise ValueError(f"a search makes a whole number of steps from 1, not {n}")
        check_open(self.ledger, "made")
        if stuck := self._deadlines.stuck:
            raise RuntimeError(
                f"this search cannot go on, since {stuck}: open its run again, with "
                "Search.resume(...)"
            )
        if self._loop.torn:
            raise RuntimeError(
                "this search was broken off in the middle of a step, and the state of its parts "
                "is not whole: its results stand; to go on, make it again, with "
                "Search.resume(...) where it has a run folder"
            )

    def _batches(self, n: int, until: Stop | None) -> Iterator[Batch]:
        """The next `n` batches, or fewer."""
        loop, limit = self._loop, self.budget.evaluations
        alerts, commits = loop.alerts, self.commits
        reason = self._reason_to_stop(until) if until else ""
        if reason:
            loop.stop_starting(limit, reason)
        else:
            loop.aim(Goal(len(commits) + n, limit))
        loop.clock.start()
        # elites of earlier calls
        alerts.floor(np.asarray(loop.elites.objective, np.float64))
        steps = self._flow.run(
            loop.start,
            n,
            loop.commit,
            check=self._deadlines.check_signals,
            give_up=self._deadlines.give_up,
        )
        for batch, added in steps:
            loop.learn(batch, added)
            # later than the budget's seconds, steps may have been given up
            if added is not None and not loop.tracker.overdue(0.0):
                entered = np.asarray(added.status) > REJECTED
                alerts.after(batch, entered, lambda: self.elites.objective, loop.traceback)
            if until and not loop.stopped and (reason := until.why(commits)):
                loop.stop_starting(limit, reason)
            yield batch

    def _reason_to_stop(self, until: Stop) -> str:
        """Why nothing more is begun: the reason for the last goal, or that of `until`; or ""."""
        reason = self._loop.history.stops_at(len(self.commits))
        return reason or (until.why(self.commits) if self.commits else "")

    def rate(self, question: str = "triplet", *, height: int = 820, **settings: Any) -> Any:
        """The page on which people judge candidates, in a frame of a notebook.

        question, settings: as `qdkit.rate.page.Page` takes them.

        It is served while the search goes on, until the search is closed.
        """
        from qdkit.rate import in_notebook

        check_open(self.ledger, "rated")
        former = self._page
        self._page = in_notebook(self.ledger.path, lambda: self, question=question, **settings)
        if former:
            former.close()
        return self._page.frame(height)

    def close(self) -> None:
        """Closes the run's folder and the workers; `with Search(...) as search:` does it too.

        The results stay available: everything but `run`, `steps` and `rate` works as before, for a
        run in a folder as long as that exists.
        """
        if self._page:
            self._page.close()
        self.ledger.close()
        if self._pool:
            self._pool.close()

    def _discard(self) -> None:
        """Closes a search that could not begin, and leaves no folder of it."""
        self.close()
        self.ledger.discard()

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What a user can look at, beside what `RunView` has.

    @property
    def judge(self) -> Judge:
        """Where the objective comes from."""
        return self._loop.parts.judge

    @property
    def axes(self) -> Axes:
        """Where the descriptor comes from, as of now: axes may learn."""
        return self._loop.parts.axes

    @property
    def models(self) -> list[Any]:
        """The models that its parts call."""
        return self._loop.parts.models

    @property
    def in_flight(self) -> int:
        """How many steps are started and not yet committed."""
        return self._flow.pending

    @property
    def stopped(self) -> str:
        """Why the last call of `run` or `steps` ended before its goal, or ""."""
        return self._loop.stopped

    @property
    def failures(self) -> dict[str, int]:
        """How many candidates were not ok, by outcome."""
        return self._loop.failures

    @property
    def outcomes(self) -> dict[str, int]:
        """How many candidates had each outcome, the commonest first."""
        counts = {"ok": self._loop.candidates - sum(self.failures.values()), **self.failures}
        present = [(outcome, count) for outcome, count in counts.items() if count]
        return dict(sorted(present, key=lambda pair: (-pair[1], pair[0])))

    @property
    def spent(self) -> Cost:
        """What the run has cost so far, all sittings together.

        Evaluations are those of committed steps.
        """
        return replace(self._loop.tracker.spent, evaluations=self._evaluations)

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
        return self._loop.united()
