"""A judge that reads how sure a model is of its answer (QDAIF, Bradley et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdkit.core.types import Genome
from qdkit.feedback.logprobs import answer_share
from qdkit.feedback.pointwise import PointwiseJudge, Reading
from qdkit.llm import Answer, Question


@dataclass(frozen=True)
class Probability(PointwiseJudge):
    """The probability of one of two answers, from the log-probabilities of the answer's tokens.

    yes, no: the two answers; the value is the probability of the first, in [0, 1]. Each is a word
      or several spellings of it; upper case, spaces and marks around it need not be listed.
    alternatives: how many tokens the server is asked to list; some list fewer.
    least: the least probability that both answers must have together; below it, the question
      counts as not answered.

    `p = exp(l1) / (exp(l1) + exp(l2))`, each `exp(l)` summed over the listed tokens that spell the
    answer. The notes have `mass`, their sum, and `censored`: whether an answer is not listed, so
    that it is only known to be less probable than those that are. Without log-probabilities in the
    answer there is no value; a server that refuses to send them stops the run, except within a
    `Fallback`.
    """

    yes: str | tuple[str, ...] = "yes"
    no: str | tuple[str, ...] = "no"
    alternatives: int = 20
    least: float = 0.5

    bounds = (0.0, 1.0)

    def question(self, genome: Genome) -> Question:
        """Returns the question, with log-probabilities."""
        prompt = self.full_prompt(genome, yes=_spellings(self.yes)[0], no=_spellings(self.no)[0])
        return Question(prompt, logprobs=self.alternatives)

    def read(self, answer: Answer) -> Reading:
        """Returns the share of the first answer."""
        if answer.logprobs is None:
            error = f"{answer.model} returned no log-probabilities"
            return Reading(np.nan, {}, error, retryable=False)
        yes, no = _spellings(self.yes), _spellings(self.no)
        share = answer_share(answer.text, answer.logprobs, yes, no)
        if isinstance(share, str):
            return Reading(np.nan, {"said": answer.text[:80]}, share)
        notes = {"mass": round(share.mass, 6), "censored": share.censored}
        if share.mass < self.least:
            error = f"only {share.mass:.0%} of the probability is on the two answers"
            return Reading(np.nan, notes, error)
        return Reading(share.p, notes)


def _spellings(answer: str | tuple[str, ...]) -> tuple[str, ...]:
    return (answer,) if isinstance(answer, str) else answer
