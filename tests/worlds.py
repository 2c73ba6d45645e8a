"""Tiny worlds whose right answers are known, for tests of the loop and what stands around it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import jax
import numpy as np

import qdkit
from qdkit.archives import Grid
from qdkit.llm.pace import Clock

BOX = ((0.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class Points:
    """Points of the unit square, each its own descriptor, better towards one corner; nothing to compile."""

    dimensions: int = 2
    bounds = BOX
    names = ("x", "y")
    floor = 0.0

    def seeds(self, key, n):
        return np.asarray(jax.random.uniform(key, (n, self.dimensions)), np.float64)

    def evaluate(self, genomes):
        return qdkit.Evaluation(objective=genomes.sum(1), descriptor=genomes[:, :2])


class Jitter(qdkit.Operator):
    """Noise from numpy, folded back into the unit square."""

    name = "jitter"

    def propose(self, key, context, n):
        noise = np.random.default_rng(np.asarray(jax.random.key_data(key))).normal(0, 0.1, context.parents.genome.shape)
        return qdkit.Proposal.of(np.clip(context.parents.genome + noise, 0, 1), self.name, context.parents)


@dataclass(frozen=True)
class Texts:
    """Texts, described by their length and their share of a's; the longer the better."""

    openings: tuple[str, ...] = ("a rose", "the sea", "banana")
    bounds = ((0.0, 40.0), (0.0, 1.0))

    def seeds(self, key, n):
        return list(self.openings[:n])

    def evaluate(self, genomes):
        described = [(len(text), text.count("a") / max(1, len(text))) for text in genomes]
        return qdkit.Evaluation(
            [float(len(text)) for text in genomes], described, notes=[{"words": len(text.split())} for text in genomes]
        )


class Deadly(Texts):
    """Texts of which one kills the process that evaluates it."""

    def evaluate(self, genomes):
        if "die" in genomes:
            os._exit(1)
        return super().evaluate(genomes)


class Chatter(qdkit.Operator):
    """Adds a word or drops one."""

    name = "chatter"

    def propose(self, key, context, n):
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        words = ["sea", "a", "gull", "an ark"]
        texts = [
            p + " " + words[random.integers(4)] if random.random() < 0.7 else p[: len(p) // 2]
            for p in context.parents.genome
        ]
        return qdkit.Proposal.of(texts, self.name, context.parents)


class Hasty(Clock):
    """A real clock for threads, in which a second takes a hundredth."""

    def now(self):
        return super().now() * 100

    def sleep(self, seconds):
        super().sleep(seconds / 100)

    def wait(self, condition, seconds):
        super().wait(condition, seconds / 100)


def points(**settings):
    """A search of `Points`, of small batches."""
    return qdkit.Search(Points(), Grid((5, 5), BOX), Jitter(), **{"batch": 8, "seed": 3} | settings)


def texts(**settings):
    """A search of `Texts`, one at a time."""
    return qdkit.Search(Texts(), Grid((8, 5), Texts.bounds), Chatter(), **{"batch": 1, "seed": 3} | settings)


def brute_force(batches, archive):
    """cell -> (objective, id): the elites that the candidates of `batches` leave behind, found one by one."""
    best = {}
    for candidate in (candidate for batch in batches for candidate in batch):
        if candidate.outcome != "ok":
            continue
        cell = int(np.asarray(archive.cell(np.array([candidate.descriptor])))[0])
        if cell >= 0 and (cell not in best or candidate.objective > best[cell][0]):
            best[cell] = (candidate.objective, candidate.id)
    return best
