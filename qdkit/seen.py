"""What can be looked at, of a search at work and of a run on disk alike: history, summary, tables, the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from qdkit import levels, looks, metrics
from qdkit.elites import Elites
from qdkit.features import genome_features, is_program, outline
from qdkit.flow import attempt
from qdkit.ledger import Ledger
from qdkit.parts import said
from qdkit.plain import plain, to_json
from qdkit.rows import Commit
from qdkit.stages import given, judged_again
from qdkit.types import Batch, Candidate, Genome, Judge, Proposal

if TYPE_CHECKING:
    import pandas


EQUAL = 32  # elites whose diversity a summary tells: few enough that most runs have as many, so that it compares


class Diversity(NamedTuple):
    """How many different ones there are among `n` elites, by what they look like and not by where they lie.

    vendi_1, vendi_2: the Vendi score of order 1 and 2, between 1 and n.
    algorithms: the effective number of algorithms among programs, by their `features.outline`; None for all else.
    """

    n: int
    vendi_1: metrics.Rarefied
    vendi_2: metrics.Rarefied
    algorithms: metrics.Rarefied | None


class Seen:
    """A search or a run, to its readers."""

    domain: Any  # None where a run's domain is not one of the toolkit's own
    archive: Any  # None likewise
    ledger: Ledger
    commits: list[Commit]
    floor: float

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
        raise NotImplementedError

    @property
    def pool(self) -> Batch:
        """The elites as candidates, in the order of their cells, where they are now: axes may have learnt meanwhile."""
        return self._now(self.taken(self._ids()), self.elites.occupied)

    @property
    def best(self) -> Candidate | None:
        """The candidate with the highest objective; None while there is no elite."""
        elites = self.elites
        if not elites.occupied.any():
            return None
        best = [int(np.argmax(elites.objective))]
        return self._now(self.taken(elites.payload["id"][best]), best)[0]

    @property
    def history(self) -> dict[str, np.ndarray]:
        """How the run stood after each step: arrays of equal length, one for each number that is kept.

        `evaluations`, `clipped`, `refused`, `seconds` and `cpu` count from the beginning.
        """
        columns = zip(*self.commits, strict=True) if self.commits else [()] * len(Commit._fields)
        return {name: np.array(column) for name, column in zip(Commit._fields, columns, strict=True)}

    @property
    def origins(self) -> dict[str, np.ndarray]:
        """Who made the candidates: by origin, int `[2, steps]`: how many in each step, and how many of them entered."""
        counts: dict[str, np.ndarray] = {}
        for origin, task, made, entered in self.ledger.origins():
            if task < len(self.commits):  # a run that is looked at may be growing
                counts.setdefault(origin, np.zeros((2, len(self.commits)), int))[:, task] = made, entered
        return counts

    def diversity(self, n: int | None = None, like: np.ndarray | None = None) -> Diversity:
        """How different the elites are, over seeded subsamples of `n`: the same elites give the same numbers.

        Needs no model: `features.genome_features` says what a genome looks like. Texts and programs are compared
        by the cosine. Numbers are compared by exp(-|a-b|²/2), where two elites are 1.4 apart on average: that tells
        how evenly they fill their own spread, and not how wide it is, so give two searches over numbers one `like`.

        n: how many; `EQUAL`, or all where there are fewer, where left out. Diversity grows with it: compare at equal n.
        like: float `[m, ...]`, genomes whose spread is the unit of numbers, if not that of the elites compared.

        Raises ValueError where there are fewer than `n` elites.
        """
        ids = self._ids()
        n = min(EQUAL, len(ids)) if n is None else n
        rows = metrics.draws(len(ids), n)
        looked, place = np.unique(rows, return_inverse=True)
        rows = place.reshape(rows.shape)
        genomes = self.taken(ids[looked]).genome
        features = genome_features(genomes, like)
        alike = (metrics.rbf(1.0) if isinstance(genomes, np.ndarray) else metrics.cosine)(features, features)
        vendi = lambda q: metrics.rarefied(lambda each: metrics.vendi_of(alike[np.ix_(each, each)], q), rows)
        algorithms = None
        if len(genomes) and is_program(genomes[0]):
            labels = [outline(genome) for genome in genomes]
            algorithms = metrics.rarefied(lambda each: metrics.hill(labels[i] for i in each), rows)
        return Diversity(n, vendi(1), vendi(2), algorithms)

    def genome(self, id: int) -> Genome:
        """One candidate's genome. Raises KeyError for an id that the run does not have."""
        return self.taken([id]).genome[0]

    def taken(self, ids: Sequence[int] | np.ndarray) -> Batch:
        """The candidates with these ids, in this order; of a compiled search its elites, whose ids are their places.

        Raises KeyError for an id that is not there.
        """
        if "compiled" not in self.ledger.about:
            return self.ledger.take(ids)
        elites, places = self.elites, np.asarray(ids, np.int32)
        if len(missing := np.setdiff1d(places, elites.payload["id"][elites.occupied])):
            raise KeyError(f"the run has no elite in the place {missing[0]}")
        made = Proposal.of(elites.payload["genome"][places], self.ledger.about["compiled"])
        place = elites.descriptor[places]
        found = {"id": places, "objective": elites.objective[places], "features": place, "descriptor": place}
        return Batch.unevaluated(made).replace(**found)

    def export_answers(self, path: str | Path) -> None:
        """Writes all answers of models as lines of JSON, from which `qdkit.Recorded` plays them.

        There are no keys, addresses or times in it, and a second export of the same run is the same file.
        """
        names = ("task", "call", "request", "answer")
        rows = (
            {**dict(zip(names, row, strict=True)), "answer": {**row[3], "seconds": 0.0}}
            for row in self.ledger.answers()
        )
        half = Path(path).with_name(Path(path).name + ".part")
        half.write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")
        half.replace(path)

    def validate(self, best: int = 20, domain: Any = None) -> list[levels.Query]:
        """Scores the `best` highest elites at the validation level, those that were not asked before.

        domain: as handed to the search, where a run on disk has one of your own. Each query is an event of
        the run; none is seen by the search or by a model. Raises ValueError for a domain without the level.
        """
        elites, domain = self.elites, self.domain if domain is None else domain
        known = {query.id for query in levels.queries(self.ledger, "validation")}
        highest = np.argsort(-elites.objective, kind="stable")[: min(best, metrics.occupied(elites))]
        new = [id for id in elites.payload["id"][highest].tolist() if id not in known]
        with self._writable() as ledger:
            return levels.asked(ledger, domain, "validation", self.taken(new))

    def open_lockbox(self, domain: Any = None) -> levels.Query:
        """Scores one candidate at the lockbox: that of the highest validation score, else the search's best.

        It is opened once in a run, and the second time refused with RuntimeError, which says what was in it.
        domain: as in `validate`. Raises ValueError for a domain without a lockbox, or where there is no elite.
        """
        if self.best is None:
            raise ValueError("there is no elite to open the lockbox for")
        with self._writable() as ledger:
            if opened := levels.queries(ledger, "lockbox"):
                raise RuntimeError(f"the lockbox opens once in a run, and it is open: {opened[0].words}")
            candidate = self.taken([levels.chosen(ledger, self.best.id)])
            [query] = levels.asked(ledger, self.domain if domain is None else domain, "lockbox", candidate)
        return query

    def summary(self) -> dict[str, Any]:
        """How the run stands, as one flat mapping of plain numbers and texts."""
        last = self.commits[-1] if self.commits else Commit(-1, 0, 0, 0, 0.0, 0.0, np.nan, 0, 0, np.nan, 0.0, 0.0)
        elites = self.elites
        spent = self.ledger.spent()
        kinds = self.diversity()
        return {
            "evaluations": last.evaluations,
            "steps": len(self.commits),
            "seconds": round(last.seconds, 3),
            "cpu_seconds": round(last.cpu, 3),
            "cells": len(elites.objective) // elites.depth,
            "occupied": metrics.occupied(elites),
            "coverage": metrics.coverage(elites),
            "qd_score": metrics.qd_score(elites, self.floor),
            **looks.told(self.ledger, elites, self.floor),
            "floor": self.floor,
            "best_objective": metrics.best(elites),
            "mean_objective": metrics.mean_objective(elites),
            "vendi_n": kinds.n,
            "vendi_1": kinds.vendi_1.mean,
            "vendi_2": kinds.vendi_2.mean,
            **({"algorithms": kinds.algorithms.mean} if kinds.algorithms else {}),
            "clipped": last.clipped,
            "refused": last.refused,
            "effective_parents": last.parents,
            "calls": spent.calls,
            "tokens": spent.tokens,
            "dollars": spent.dollars,
            "outcomes": self.ledger.outcomes(),
            **self._saved(),
            "errors": self.ledger.errors(),
            **levels.told(self.ledger, best.id if (best := self.best) else None),
            **{kind: value["level"] for _, kind, value in self.ledger.events() if kind == "sandbox"},
        }

    def _now(self, batch: Batch, places: Any) -> Batch:
        """The elites of these places as they are now: where axes put them, with the mean of their judgements."""
        elites = self.elites
        batch = batch.replace(descriptor=np.asarray(elites.descriptor)[places])
        return batch.replace(objective=elites.objective[places]) if "count" in elites.payload else batch

    def judge_again(self, times: int = 1, judge: Judge | None = None, domain: Any = None) -> dict[str, Any]:
        """Asks `times` more times how good each elite is, and says what the summary then says of its scores.

        judge: another one, whom the search has not heard (a held-out judge); the search's own where left out, which a
          run on disk has to be handed unless its domain says how good candidates are.
        domain: as handed to the search, where a run on disk has one of your own and no judge.

        Each answer is an event of the run before the next is asked; none is seen by the search or by a model. What was
        asked before counts, so that a second call asks what is missing alone.
        """
        domain, own = self.domain if domain is None else domain, getattr(self, "judge", None)
        by = judge or own or (given if self.ledger.about["judge"] == said(given) else None)
        if by is None or (by is given and domain is None):
            raise ValueError("who judged this run cannot be told from its folder: hand in the judge, or the domain")
        name = looks.OWN if judge is None or judge is own else said(judge)
        pool, key = self.pool, jax.random.fold_in(jax.random.key(self.ledger.about["seed"]), 2**32 - 1)
        asked = looks.again(self.ledger).get(name, {})
        with self._writable() as ledger:
            for row in range(len(pool)):
                one = pool.take(np.array([row]))
                id = int(one.id[0])
                for time in range(len(asked.get(id, [])), times):
                    look = jax.random.fold_in(jax.random.fold_in(key, id), time)
                    [value] = judged_again(one, by, look, partial(attempt, domain), self.archive).objective.tolist()
                    ledger.event(len(self.commits), looks.AGAIN, {"judge": name, "id": id, "value": plain(value)})
        return looks.told(self.ledger, self.elites, self.floor)

    def _saved(self) -> dict[str, Any]:
        """What novelty rejected, by stage, and the CPU seconds of the evaluations that were not made, where known."""
        rejections, each = self.ledger.rejections(), self.ledger.mean_outside_cpu()
        seconds = {} if np.isnan(each) else {"cpu_seconds_saved": round(each * sum(rejections.values()), 3)}
        return {"rejections": rejections, **seconds}

    def elites_frame(self) -> pandas.DataFrame:
        """The elites as a pandas table, one row each in the order of their cells."""
        frame = self._frame(self.pool)
        elites = self.elites
        frame.insert(1, "cell", np.flatnonzero(elites.occupied) // elites.depth)
        return frame

    def candidates_frame(self) -> pandas.DataFrame:
        """Every candidate that the run has tried, also those that failed, as a pandas table."""
        return self._frame(
            self.ledger.take(np.arange(self.commits[-1].first + self.commits[-1].rows if self.commits else 0))
        )

    def __repr__(self) -> str:
        about, last = self.ledger.about, self.commits[-1] if self.commits else None
        what = about["domain"]["is"].rpartition(":")[2]
        stands = (
            f"coverage {last.coverage:.1%}, QD score {last.qd_score:.6g}, best {last.best:.6g}"
            if last
            else "nothing yet"
        )
        return f"<{type(self).__name__} of {what}: {last.evaluations if last else 0:,} evaluations, {stands}>"

    def _writable(self) -> AbstractContextManager[Ledger]:
        """The ledger, to write into."""
        return nullcontext(self.ledger)

    def _ids(self) -> np.ndarray:
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
        names = getattr(self.archive, "names", ()) or [f"descriptor {i}" for i in range(batch.descriptor.shape[1])]
        columns |= {self._free(name, columns): batch.descriptor[:, i] for i, name in enumerate(names)}
        if isinstance(batch.genome, np.ndarray) and batch.genome.ndim == 2:
            columns |= {f"genome_{i}": batch.genome[:, i] for i in range(batch.genome.shape[1])}
        else:
            columns["genome"] = list(batch.genome)
        columns["parents"] = [candidate.parents for candidate in batch]
        columns["notes"] = batch.notes
        return pandas.DataFrame(columns)

    @staticmethod
    def _free(name: str, taken: Mapping[str, Any]) -> str:
        return f"{name} (descriptor)" if name in taken else name
