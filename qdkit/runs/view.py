"""The read view of a search and of a run on disk: elites, history, summary, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from qdkit import metrics
from qdkit.core.describe import public_name, stable_repr
from qdkit.core.elites import Elites
from qdkit.core.evaluating import attempt
from qdkit.core.jsonable import nan_as_none, to_json
from qdkit.core.prng import root_key
from qdkit.core.record import LOST, Cost
from qdkit.core.run_files import write_text
from qdkit.core.stages import domain_objective, rejudge_batch
from qdkit.core.types import Batch, Candidate, Genome, Judge, Proposal
from qdkit.metrics.features import genome_features, is_program, program_outline
from qdkit.runs import holdout, rejudged
from qdkit.runs.alerts import (
    describe_failures,
    failed_share,
    failures_by_outcome,
    objectives_below,
)
from qdkit.runs.ledger import Ledger
from qdkit.runs.rows import Commit

if TYPE_CHECKING:
    import pandas


# The number of elites whose diversity a summary reports. Most runs have as many, so that their
# numbers can be compared.
DIVERSITY_SAMPLE = 32


def call_to_resume(ledger: Ledger) -> str:
    """Returns the call with which the search of a ledger goes on, or begins again in memory."""
    is_compiled = "compiled" in ledger.about
    if ledger.path is None:
        return "Search.compiled(...)" if is_compiled else "Search(...)"
    return f"{'Compiled' if is_compiled else ''}Search.resume({str(ledger.path)!r}, ...)"


def check_open(ledger: Ledger, what: str) -> None:
    """Raises RuntimeError where the search is closed.

    what: the participle of what a closed search refuses, such as "made", for the message.
    """
    if ledger.closed:
        raise RuntimeError(
            f"this search is closed, and nothing more of it is {what}: make it again, "
            f"{call_to_resume(ledger)}"
        )


class Diversity(NamedTuple):
    """The effective number of different elites among `n`, by their genomes and not by their cells.

    vendi_1, vendi_2: the Vendi scores of order 1 and 2, between 1 and n.
    algorithms: the effective number of algorithms among programs, by their
      `metrics.features.program_outline`; None for other genomes.
    """

    n: int
    vendi_1: metrics.Rarefied
    vendi_2: metrics.Rarefied
    algorithms: metrics.Rarefied | None


class RunView:
    """The readable side of a search or a run."""

    domain: Any  # None where a run's domain is not one of the toolkit's own
    archive: Any  # None where a run's archive is not one of the toolkit's own
    ledger: Ledger
    commits: list[Commit]
    floor: float

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
        raise NotImplementedError

    @property
    def spent(self) -> Cost:
        """The cost of the run so far, over all times it was continued.

        Evaluations are those of committed steps.
        """
        return replace(self.ledger.spent(), evaluations=self._evaluations)

    @property
    def _evaluations(self) -> int:
        return self.commits[-1].evaluations if self.commits else 0

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of candidates by outcome, the commonest first."""
        return self.ledger.outcomes()

    @property
    def pool(self) -> Batch:
        """The elites as candidates, in the order of their cells.

        Their descriptors are current: those of axes that learn may differ from those at the time
        of evaluation.
        """
        return self._with_current_values(self.taken(self._ids()), self.elites.occupied)

    @property
    def best(self) -> Candidate | None:
        """The candidate with the highest objective; None while there is no elite."""
        elites = self.elites
        if not elites.occupied.any():
            return None
        best = [int(np.argmax(elites.objective))]
        return self._with_current_values(self.taken(elites.payload["id"][best]), best)[0]

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The state of the run after each step: arrays of equal length, by the fields of `Commit`.

        `evaluations`, `clipped`, `refused`, `seconds` and `cpu` count from the beginning.
        """
        columns = zip(*self.commits, strict=True) if self.commits else [()] * len(Commit._fields)
        return {
            name: np.array(column) for name, column in zip(Commit._fields, columns, strict=True)
        }

    @property
    def origins(self) -> dict[str, np.ndarray]:
        """The candidates of each step, and those that entered, by operator: int `[2, steps]`."""
        steps = len(self.commits)
        counts: dict[str, np.ndarray] = {}
        for origin, task, candidates, entered in self.ledger.origins():
            if task < steps:  # the run may have grown since `commits` was read
                by_step = counts.setdefault(origin, np.zeros((2, steps), int))
                by_step[:, task] = candidates, entered
        return counts

    def diversity(self, n: int | None = None, like: np.ndarray | None = None) -> Diversity:
        """Returns the diversity of the elites, over seeded subsamples of `n`.

        The same elites give the same numbers. No model is needed: `features.genome_features` are
        the features of a genome. Texts and programs are compared by the cosine. Numbers are
        compared by exp(-|a-b|²/2), where two elites are 1.4 apart on average: this measures how
        evenly the elites fill their own spread, and not how wide it is. Pass the same `like` to
        compare two searches over numbers.

        n: the size of the subsamples; where left out, `DIVERSITY_SAMPLE`, or all elites if there
          are fewer. Diversity grows with n: compare at equal n.
        like: float `[m, ...]`, genomes whose spread is the unit of distance; where left out, that
          of the elites.

        Raises ValueError where there are fewer than `n` elites.
        """
        ids = self._ids()
        n = min(DIVERSITY_SAMPLE, len(ids)) if n is None else n
        rows = metrics.draws(len(ids), n)
        sampled, index = np.unique(rows, return_inverse=True)
        rows = index.reshape(rows.shape)
        genomes = self.taken(ids[sampled]).genome
        features = genome_features(genomes, like)
        kernel = metrics.rbf(1.0) if isinstance(genomes, np.ndarray) else metrics.cosine
        similarity = kernel(features, features)
        vendi = lambda q: metrics.rarefied(
            lambda each: metrics.vendi_of(similarity[np.ix_(each, each)], q), rows
        )
        algorithms = None
        if len(genomes) and is_program(genomes[0]):
            labels = [program_outline(genome) for genome in genomes]
            algorithms = metrics.rarefied(lambda each: metrics.hill(labels[i] for i in each), rows)
        return Diversity(n, vendi(1), vendi(2), algorithms)

    def genome(self, id: int) -> Genome:
        """Returns the genome of one candidate.

        Raises KeyError for an id that the run does not have.
        """
        return self.taken([id]).genome[0]

    def taken(self, ids: Sequence[int] | np.ndarray) -> Batch:
        """Returns the candidates with these ids, in this order.

        Of a compiled search, these are elites, and their ids are their slots.

        Raises KeyError for an id that the run does not have.
        """
        if "compiled" not in self.ledger.about:
            return self.ledger.take(ids)
        elites, slots = self.elites, np.asarray(ids, np.int32)
        if len(missing := np.setdiff1d(slots, elites.payload["id"][elites.occupied])):
            raise KeyError(f"the run has no elite in the slot {missing[0]}")
        proposal = Proposal.of(elites.payload["genome"][slots], self.ledger.about["compiled"])
        descriptor = elites.descriptor[slots]
        return Batch.unevaluated(proposal).replace(
            id=slots,
            objective=elites.objective[slots],
            features=descriptor,
            descriptor=descriptor,
        )

    def export_answers(self, path: str | Path) -> None:
        """Writes all answers of models as lines of JSON, which `qdkit.Recorded` replays.

        The file has no keys, addresses or times, and a second export of the run is the same file.
        """
        names = ("task", "call", "request", "answer")
        rows = (
            {**dict(zip(names, row, strict=True)), "answer": {**row[3], "seconds": 0.0}}
            for row in self.ledger.answers()
            if LOST not in row[3]
        )
        write_text(Path(path), "".join(to_json(row) + "\n" for row in rows))

    def validate(self, best: int = 20, domain: Any = None) -> list[holdout.Query]:
        """Scores the `best` highest elites on the validation data and returns the queries.

        Elites that were scored before are left out. Each query is an event of the run; neither the
        search nor a model sees it.

        domain: the domain of the search, where a run on disk has one of your own.

        Raises ValueError for a domain without validation data.
        """
        elites, domain = self.elites, self.domain if domain is None else domain
        known = {query.id for query in holdout.queries(self.ledger, "validation")}
        count = min(best, metrics.occupied(elites))
        highest = np.argsort(-elites.objective, kind="stable")[:count]
        new = [id for id in elites.payload["id"][highest].tolist() if id not in known]
        with self._writable() as ledger:
            return holdout.query_level(ledger, domain, "validation", self.taken(new))

    def open_lockbox(self, domain: Any = None) -> holdout.Query:
        """Scores one candidate on the test data (the lockbox) and returns the query.

        It is the candidate with the highest validation score, or else the search's best. The
        lockbox opens once in a run.

        domain: as in `validate`.

        Raises RuntimeError, with the score, for a lockbox that is open already, ValueError for a
        domain without a lockbox or a run without elites.
        """
        if self.best is None:
            raise ValueError("there is no elite to open the lockbox for")
        with self._writable() as ledger:
            if queries := holdout.queries(ledger, "lockbox"):
                raise RuntimeError(
                    f"the lockbox opens once in a run, and it is open: {queries[0].words}"
                )
            candidate = self.taken([holdout.id_to_report(ledger, self.best.id)])
            [query] = holdout.query_level(
                ledger, self.domain if domain is None else domain, "lockbox", candidate
            )
        return query

    def summary(self) -> dict[str, Any]:
        """Returns the state of the run as one mapping of plain numbers and texts."""
        nothing = Commit(-1, 0, 0, 0, 0.0, 0.0, np.nan, 0, 0, np.nan, 0.0, 0.0)
        last = self.commits[-1] if self.commits else nothing
        elites = self.elites
        spent, outcomes = self.spent, self.outcomes
        diversity = self.diversity()
        return {
            "evaluations": last.evaluations,
            "steps": len(self.commits),
            "seconds": round(last.seconds, 3),
            "cpu_seconds": round(last.cpu, 3),
            "cells": len(elites.objective) // elites.depth,
            "occupied": metrics.occupied(elites),
            "coverage": metrics.coverage(elites),
            "qd_score": metrics.qd_score(elites, self.floor),
            **rejudged.rejudged_summary(self.ledger, elites, self.floor),
            "floor": self.floor,
            "below_floor": len(objectives_below(elites.objective[:: elites.depth], self.floor)),
            "best_objective": metrics.best_objective(elites),
            "mean_objective": metrics.mean_objective(elites),
            "vendi_n": diversity.n,
            "vendi_1": diversity.vendi_1.mean,
            "vendi_2": diversity.vendi_2.mean,
            **({"algorithms": diversity.algorithms.mean} if diversity.algorithms else {}),
            "clipped": last.clipped,
            "refused": last.refused,
            "effective_parents": last.parents,
            "calls": spent.calls,
            "tokens": spent.tokens,
            "dollars": spent.dollars,
            "outcomes": outcomes,
            "failed": sum(failures_by_outcome(outcomes).values()),
            "failed_share": failed_share(outcomes),
            **self._novelty_summary(),
            "errors": self.ledger.errors(),
            **holdout.holdout_summary(self.ledger, best.id if (best := self.best) else None),
            **self._sandbox_summary(),
        }

    def _with_current_values(self, batch: Batch, slots: Any) -> Batch:
        """Returns the elites of these slots with their current descriptors and objectives.

        Axes that learn change descriptors; re-evaluation makes the objective the mean of an
        elite's judgements.
        """
        elites = self.elites
        batch = batch.replace(descriptor=np.asarray(elites.descriptor)[slots])
        if "count" in elites.payload:
            batch = batch.replace(objective=elites.objective[slots])
        return batch

    def judge_again(
        self, times: int = 1, judge: Judge | None = None, domain: Any = None
    ) -> dict[str, Any]:
        """Judges each elite `times` more times and returns the entries of the summary about that.

        Each judgement is an event of the run before the next is asked for; neither the search nor
        a model sees it. Earlier judgements count, so a second call asks only for missing ones.

        judge: a judge that the search did not use (a held-out judge); where left out, the search's
          own. A run on disk needs it unless its domain computes the objective.
        domain: the domain of the search, where a run on disk has one of your own and no judge.

        Raises ValueError where the run's own judge is unknown.
        """
        domain, own = self.domain if domain is None else domain, getattr(self, "judge", None)
        by = (
            judge
            or own
            or (
                domain_objective
                if public_name(self.ledger.about["judge"]) == stable_repr(domain_objective)
                else None
            )
        )
        if by is None or (by is domain_objective and domain is None):
            raise ValueError(
                "who judged this run cannot be told from its folder: hand in the judge, or the "
                "domain"
            )
        name = rejudged.OWN_JUDGE if judge is None or judge is own else stable_repr(judge)
        pool, key = self.pool, jax.random.fold_in(root_key(self.ledger.about["seed"]), 2**32 - 1)
        earlier = rejudged.later_judgements(self.ledger).get(name, {})
        evaluate = partial(attempt, domain)
        with self._writable() as ledger:
            for row in range(len(pool)):
                elite = pool.take(np.array([row]))
                id = int(elite.id[0])
                for repeat in range(len(earlier.get(id, [])), times):
                    repeat_key = jax.random.fold_in(jax.random.fold_in(key, id), repeat)
                    batch = rejudge_batch(elite, by, repeat_key, evaluate, self.archive)
                    [value] = batch.objective.tolist()
                    event = {"judge": name, "id": id, "value": nan_as_none(value)}
                    ledger.event(len(self.commits), rejudged.JUDGED_AGAIN, event)
        return rejudged.rejudged_summary(self.ledger, self.elites, self.floor)

    def _sandbox_summary(self) -> dict[str, str]:
        """Returns the levels of isolation at which programs ran; {} where no program ran."""
        used = [value["level"] for _, kind, value in self.ledger.events() if kind == "sandbox"]
        return {"sandbox": "; then ".join(dict.fromkeys(used))} if used else {}

    def _novelty_summary(self) -> dict[str, Any]:
        """Returns the rejections of the novelty filter by stage, and what they saved.

        They saved the CPU seconds of the evaluations, which are left out where unknown.
        """
        rejections, mean_cpu = self.ledger.rejections(), self.ledger.mean_outside_cpu()
        if np.isnan(mean_cpu):
            return {"rejections": rejections}
        saved = round(mean_cpu * sum(rejections.values()), 3)
        return {"rejections": rejections, "cpu_seconds_saved": saved}

    def elites_frame(self) -> pandas.DataFrame:
        """Returns the elites as a pandas table, one row each in the order of their cells."""
        frame = self._frame(self.pool)
        elites = self.elites
        frame.insert(1, "cell", np.flatnonzero(elites.occupied) // elites.depth)
        return frame

    def candidates_frame(self) -> pandas.DataFrame:
        """Returns every candidate of the run, including failed ones, as a pandas table."""
        last = self.commits[-1] if self.commits else None
        count = last.first + last.rows if last else 0
        return self._frame(self.ledger.take(np.arange(count)))

    def __repr__(self) -> str:
        about, last = self.ledger.about, self.commits[-1] if self.commits else None
        domain = about["domain"]["is"].rpartition(":")[2]
        state = "nothing yet"
        if last:
            state = (
                f"coverage {last.coverage:.1%}, QD score {last.qd_score:.6g}, best {last.best:.6g}"
            )
        if failures := describe_failures(self.outcomes):
            state = f"{failures}, {state}"
        return f"<{type(self).__name__} of {domain}: {self._evaluations:,} evaluations, {state}>"

    def _writable(self) -> AbstractContextManager[Ledger]:
        """Returns the ledger for writing. That of a closed search in a folder is opened again."""
        if self.ledger.closed and self.ledger.path is not None:
            return closing(Ledger.open(self.ledger.path, write=True))
        return nullcontext(self.ledger)

    def _ids(self) -> np.ndarray:
        """Returns the ids of the elites, in the order of their cells."""
        elites = self.elites
        return np.asarray(elites.payload["id"])[np.asarray(elites.occupied)]

    def _frame(self, batch: Batch) -> pandas.DataFrame:
        import pandas

        columns: dict[str, Any] = {
            "id": batch.id,
            "origin": batch.origin,
            "outcome": batch.outcome,
            "objective": batch.objective,
        }
        names = getattr(self.archive, "names", ()) or [
            f"descriptor {i}" for i in range(batch.descriptor.shape[1])
        ]
        columns |= {
            self._unique(name, columns): batch.descriptor[:, i] for i, name in enumerate(names)
        }
        if isinstance(batch.genome, np.ndarray) and batch.genome.ndim == 2:
            columns |= {f"genome_{i}": batch.genome[:, i] for i in range(batch.genome.shape[1])}
        else:
            columns["genome"] = list(batch.genome)
        columns["parents"] = [candidate.parents for candidate in batch]
        columns["notes"] = batch.notes
        return pandas.DataFrame(columns)

    @staticmethod
    def _unique(name: str, columns: Mapping[str, Any]) -> str:
        """Returns a name for a descriptor that no column has."""
        return f"{name} (descriptor)" if name in columns else name
