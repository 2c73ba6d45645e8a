"""A small simulated model for tests of searches: it writes texts, and judges them.

Its texts improve in small steps only. It writes opinions of clauses such as "the beans are good":
it copies clauses of the examples in the prompt, sometimes moves an adjective by one rung, and
sometimes takes another subject. So no text is much better than the examples, or very different
from them. As a judge it answers with probabilities:

    quality    P(yes) = 1 / (1 + exp(-(distinct subjects - repeated ones - 4)))
    sentiment  P(positive) = 1 / (1 + exp(-7 s)), s of `qdkit.feedback.sentiment`

with optional noise on both logits. A twentieth of the probability is on other words; an answer
with a probability of 0.002 or less is not listed. Two answers of a hundred are empty.
"""

from __future__ import annotations

import math
import re

import numpy as np

from qdkit.core.seeds import numpy_seed
from qdkit.core.types import Batch, Judgement, Key
from qdkit.feedback import sentiment
from qdkit.feedback.logprobs import AnswerShare, answer_share
from qdkit.llm import Answer, AnswerOutcome, Question, Token

_SUBJECTS = (
    "beans", "peas", "carrots", "greens", "onions", "sprouts", "lentils", "leeks",
    "beets", "radishes", "turnips", "pumpkins", "peppers", "mushrooms", "cabbages", "potatoes",
)  # fmt: skip
_RUNGS = ("very awful", "awful", "not good", "plain", "not bad", "good", "very good")
OPENINGS = (
    "the beans are good, the peas are not bad.",
    "the carrots are awful, the greens are not good.",
    "the onions are plain.",
)
_KINDS = ("positive", "negative")
_CHANGE = 0.1  # the probability that a clause gets another adjective, and another subject
_MAX_CLAUSES = 14  # of a text
_ENOUGH = 4.0  # distinct subjects for a quality of one half
_EMPTY = 0.02  # the probability of an empty answer
# The probability of the two answers, and the one that a listed word exceeds.
_MASS, _LISTED = 0.95, 2e-3
_CLAUSE = re.compile(r"the (\w+) are ((?:very |not )?\w+)")


class Clauses:
    """A simulated model that writes and judges texts; see the module.

    seed: of all answers, which depend on the order of the questions.
    noise: the standard deviation of the noise on the logit of each judgement.
    """

    model = "clauses"

    def __init__(self, seed: int = 0, noise: float = 0.0):
        self.random, self.noise = np.random.default_rng(numpy_seed(seed)), noise

    def ask(self, question: Question) -> Answer:
        """Returns a judgement if the question asks for log-probabilities, else a text."""
        if not question.logprobs:
            return self._write(str(question.messages()[-1]["content"]))
        prompt = question.text()
        text = re.findall(r"```\n(.*?)\n```", prompt, re.DOTALL)[-1]
        if "positive or negative" in prompt:
            return self.answer(*_KINDS, _sentiment_logit(text))
        return self.answer("yes", "no", _quality_logit(text))

    def judged(self, key: Key, batch: Batch) -> Judgement:
        """Returns the judgement of a panel of two `Probability` judges, without their questions.

        This takes much less time.
        """
        value, features = np.full(len(batch), np.nan), np.full((len(batch), 1), np.nan)
        for row, text in enumerate(batch.genome):
            for column, logit, answers in (
                (value, _quality_logit, ("yes", "no")),
                (features[:, 0], _sentiment_logit, _KINDS),
            ):
                answer = self.answer(*answers, logit(text))
                share = answer_share(answer.text, answer.logprobs or (), answers[:1], answers[1:])
                column[row] = share.p if isinstance(share, AnswerShare) else np.nan
        return Judgement(value, features=features)

    def _write(self, prompt: str) -> Answer:
        if self.random.random() < _EMPTY:
            return Answer("", AnswerOutcome.EMPTY, "the answer is empty", model=self.model)
        examples = [_CLAUSE.findall(example) for example in prompt.split("\n###\n")]
        return Answer(self.text([clauses for clauses in examples if clauses]), model=self.model)

    def text(self, examples: list[list[tuple[str, str]]]) -> str:
        """Returns a text of clauses of the examples.

        It is as long as one of the examples, or one clause shorter or longer.
        """
        random, every = self.random, [clause for clauses in examples for clause in clauses]
        length = len(examples[random.integers(len(examples))]) + int(random.integers(-1, 2))
        rows = random.permutation(len(every))[: max(1, min(length, _MAX_CLAUSES, len(every)))]
        clauses = []
        for row in sorted(rows.tolist()):
            subject, adjective = every[row]
            rung = _RUNGS.index(adjective)
            if random.random() < _CHANGE:
                rung = min(max(rung + (1 if random.random() < 0.5 else -1), 0), len(_RUNGS) - 1)
            if random.random() < _CHANGE:
                subject = _SUBJECTS[random.integers(len(_SUBJECTS))]
            clauses.append(f"the {subject} are {_RUNGS[rung]}")
        return ", ".join(clauses) + "."

    def answer(self, yes: str, no: str, logit: float) -> Answer:
        """Returns the likelier of two words, with the log-probabilities of all listed words."""
        p = 1 / (1 + math.exp(-logit - self.noise * float(self.random.normal())))
        probability = {yes: _MASS * p, no: _MASS * (1 - p), "perhaps": 0.04, "well": 0.01}
        top = sorted(
            ((word, math.log(q)) for word, q in probability.items() if q > _LISTED),
            key=lambda pair: -pair[1],
        )
        first = yes if p >= 0.5 else no
        token = Token(first, math.log(probability[first]), tuple(top))
        return Answer(first, model=self.model, logprobs=(token,))


def _quality_logit(text: str) -> float:
    """Returns the logit of a text's quality: distinct subjects less repeated ones, less four."""
    subjects = [subject for subject, _ in _CLAUSE.findall(text)]
    return 2.0 * len(set(subjects)) - len(subjects) - _ENOUGH


def _sentiment_logit(text: str) -> float:
    """Returns the logit of how positive a text is."""
    return 7 * sentiment(text)
