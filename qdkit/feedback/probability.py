"""A judge that reads how sure a model is of its answer (QDAIF, Bradley et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdkit.feedback.asking import Asking, Reading
from qdkit.feedback.logprobs import shares
from qdkit.llm import Answer, Question
from qdkit.types import Genome


@dataclass(frozen=True)
class Probability(Asking):
    """The probability of one answer to a question that has two, by the log-probabilities of its tokens.

    yes, no: the two answers; the value is the probability of the first, in [0, 1]. Each is a word or
      several spellings of it; upper case, spaces and marks around it need not be given.
    alternatives: how many tokens the server is asked to list; some list fewer.
    least: the least probability that both answers must have together, or the question was not answered.

    `p = exp(l1) / (exp(l1) + exp(l2))`, each `exp(l)` summed over the listed tokens that spell the
    answer. The notes tell `mass`, their sum, and whether the value is `censored`: an answer that is
    not listed is known only to be less probable than what is. Where the server tells no log-probabilities
    there is no value; one that refuses to be asked for them stops the run, but within a `Fallback`.
    """

    yes: str | tuple[str, ...] = "yes"
    no: str | tuple[str, ...] = "no"
    alternatives: int = 20
    least: float = 0.5

    bounds = (0.0, 1.0)

    def question(self, genome: Genome) -> Question:
        """The question, with log-probabilities."""
        prompt = self.written(genome, yes=_spellings(self.yes)[0], no=_spellings(self.no)[0])
        return Question(prompt, logprobs=self.alternatives)

    def read(self, answer: Answer) -> Reading:
        """The share of the first answer."""
        if answer.logprobs is None:
            return Reading(np.nan, {}, f"{answer.model} told no log-probabilities", mendable=False)
        share = shares(answer.text, answer.logprobs, _spellings(self.yes), _spellings(self.no))
        if isinstance(share, str):
            return Reading(np.nan, {"said": answer.text[:80]}, share)
        told = {"mass": round(share.mass, 6), "censored": share.censored}
        if share.mass < self.least:
            return Reading(np.nan, told, f"only {share.mass:.0%} of the probability is on the two answers")
        return Reading(share.p, told)


def _spellings(answer: str | tuple[str, ...]) -> tuple[str, ...]:
    return (answer,) if isinstance(answer, str) else answer
