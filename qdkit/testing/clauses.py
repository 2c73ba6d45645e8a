"""A model in a few lines whose texts get better by stepping stones alone, and who judges them: for tests of searches.

It writes opinions of clauses "the beans are good": it copies clauses of the examples that it is shown,
and now and then makes an adjective one rung better or worse, or takes another subject. So no text that
is much better than the examples, or of quite another kind, comes at once. As a judge it says how sure it is:

    quality    P(yes) = 1 / (1 + exp(-(distinct subjects - repeated ones - 4)))
    sentiment  P(positive) = 1 / (1 + exp(-7 s)), s of `qdkit.feedback.sentiment`

with noise on both, where it is asked for. A twentieth of the probability is on other words; an answer less
likely than one in five hundred is not listed. Two answers of a hundred are empty.
"""

from __future__ import annotations

import math
import re

import numpy as np

from qdkit.feedback import sentiment
from qdkit.feedback.logprobs import Share, shares
from qdkit.llm import Answer, AnswerOutcome, Question, Token
from qdkit.types import Batch, Judgement, Key

SUBJECTS = (
    "beans", "peas", "carrots", "greens", "onions", "sprouts", "lentils", "leeks",
    "beets", "radishes", "turnips", "pumpkins", "peppers", "mushrooms", "cabbages", "potatoes",
)  # fmt: skip
RUNGS = ("very awful", "awful", "not good", "plain", "not bad", "good", "very good")
OPENINGS = (
    "the beans are good, the peas are not bad.",
    "the carrots are awful, the greens are not good.",
    "the onions are plain.",
)
KINDS = ("positive", "negative")
CHANGE = 0.1  # the chance of a clause to have its adjective moved, and to have another subject
MOST = 14  # clauses of a text
ENOUGH = 4.0  # distinct subjects for a quality of one half
EMPTY = 0.02
MASS, LISTED = 0.95, 2e-3
_CLAUSE = re.compile(r"the (\w+) are ((?:very |not )?\w+)")


class Clauses:
    """Writes and judges; see the module.

    seed: of all that it says, in the order in which it is asked.
    noise: standard deviation of what is added to the logit of each judgement.
    """

    model = "clauses"

    def __init__(self, seed: int = 0, noise: float = 0.0):
        self.random, self.noise = np.random.default_rng(seed), noise

    def ask(self, question: Question) -> Answer:
        """A text where examples are shown, an answer with its probability where a judgement is asked for."""
        if not question.logprobs:
            return self._written(str(question.messages()[-1]["content"]))
        prompt = question.text()
        judged = re.findall(r"```\n(.*?)\n```", prompt, re.DOTALL)[-1]
        yes, no = KINDS if "positive or negative" in prompt else ("yes", "no")
        return self.answer(yes, no, (kind if yes == "positive" else quality)(judged))

    def judged(self, key: Key, batch: Batch) -> Judgement:
        """What a panel of two `Probability` makes of its answers, without the questions: much sooner."""
        value, features = np.full(len(batch), np.nan), np.full((len(batch), 1), np.nan)
        for row, text in enumerate(batch.genome):
            for column, logit, answers in ((value, quality, ("yes", "no")), (features[:, 0], kind, KINDS)):
                said = self.answer(*answers, logit(text))
                share = shares(said.text, said.logprobs or (), answers[:1], answers[1:])
                column[row] = share.p if isinstance(share, Share) else np.nan
        return Judgement(value, features=features)

    def _written(self, prompt: str) -> Answer:
        if self.random.random() < EMPTY:
            return Answer("", AnswerOutcome.EMPTY, "nothing was said", model=self.model)
        examples = [_CLAUSE.findall(shown) for shown in prompt.split("\n###\n")]
        return Answer(self.text([clauses for clauses in examples if clauses]), model=self.model)

    def text(self, examples: list[list[tuple[str, str]]]) -> str:
        """A text of clauses of the examples, as long as one of them or one clause shorter or longer."""
        random, every = self.random, [clause for clauses in examples for clause in clauses]
        length = len(examples[random.integers(len(examples))]) + int(random.integers(-1, 2))
        rows = random.permutation(len(every))[: max(1, min(length, MOST, len(every)))]
        made = []
        for row in sorted(rows.tolist()):
            subject, adjective = every[row]
            rung = RUNGS.index(adjective)
            if random.random() < CHANGE:
                rung = min(max(rung + (1 if random.random() < 0.5 else -1), 0), len(RUNGS) - 1)
            if random.random() < CHANGE:
                subject = SUBJECTS[random.integers(len(SUBJECTS))]
            made.append(f"the {subject} are {RUNGS[rung]}")
        return ", ".join(made) + "."

    def answer(self, yes: str, no: str, logit: float) -> Answer:
        """The likelier of two words, with the probabilities of all that are listed."""
        p = 1 / (1 + math.exp(-logit - self.noise * float(self.random.normal())))
        said = {yes: MASS * p, no: MASS * (1 - p), "perhaps": 0.04, "well": 0.01}
        top = sorted(((word, math.log(q)) for word, q in said.items() if q > LISTED), key=lambda pair: -pair[1])
        first = yes if p >= 0.5 else no
        return Answer(first, model=self.model, logprobs=(Token(first, math.log(said[first]), tuple(top)),))


def quality(text: str) -> float:
    """The logit of a text's quality: its distinct subjects less those said again, less four."""
    subjects = [subject for subject, _ in _CLAUSE.findall(text)]
    return 2.0 * len(set(subjects)) - len(subjects) - ENOUGH


def kind(text: str) -> float:
    """The logit of how positive a text is."""
    return 7 * sentiment(text)
