"""How far a judge can be trusted: asked again, in another order, and about the same text dressed otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from qdkit.feedback import trials
from qdkit.feedback.pairwise import Pairwise
from qdkit.feedback.panel import bounds_of, judgement_of, name_of
from qdkit.feedback.trials import Finding, Grade
from qdkit.plain import plain, visible
from qdkit.types import Batch, Judge, Proposal

# What should make no difference, to a judge of what a text says.
CHANGES: Mapping[str, Callable[[str], str]] = {
    "padding": lambda text: (
        f"{text}\n\nThis is the whole of the text, and it is given here in full, from start to end."
    ),
    "formatting": lambda text: f"# Text\n\n{text}\n\n---",
    "author": lambda text: f"By William Shakespeare\n\n{text}",
}


@dataclass(frozen=True)
class Audit:
    """What was found out about a judge. `print(audit)` shows the page.

    judge: what it judges, and by whom: the kinds of judges and the models that answered.
    texts: how many were judged, each `repeats` times.
    """

    judge: str
    by: Mapping[str, int]
    texts: int
    repeats: int
    findings: tuple[Finding, ...]

    @property
    def grade(self) -> Grade:
        """The worst that was found."""
        order = [Grade.POOR, Grade.FAIR, Grade.UNKNOWN, Grade.GOOD]
        return min((finding.grade for finding in self.findings), key=order.index)

    @property
    def verdict(self) -> str:
        """In words."""
        poor = [finding.about for finding in self.findings if finding.grade == Grade.POOR]
        fair = [finding.about for finding in self.findings if finding.grade == Grade.FAIR]
        if poor:
            return f"Do not search by this judge as it is: a search finds out that it fails on {_listed(poor)}."
        if fair:
            return f"Usable with care: bear in mind {_listed(fair)}."
        if self.grade == Grade.UNKNOWN:
            return "Nothing speaks against this judge, and some of it could not be told from so few texts."
        return "Nothing speaks against this judge on these texts. Whether it judges what you mean, labelled texts show."

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        findings = [{**finding._asdict(), "grade": finding.grade.value} for finding in self.findings]
        return plain({**vars(self), "findings": findings, "verdict": self.verdict})

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        # In a notebook rich would show the page in colour, and leave nothing to return.
        console = Console(file=StringIO(), width=110, force_jupyter=False, color_system=None)
        console.print(*self.__rich_console__())
        return console.file.getvalue()  # type: ignore[attr-defined]

    def __rich_console__(self, *_: Any) -> list[Any]:
        """The page, as rich prints it."""
        from rich.table import Table
        from rich.text import Text

        table = Table("", "found", "grade", "what follows", box=None, pad_edge=False, padding=(0, 2, 1, 0))
        for finding in self.findings:
            figures = "\n".join(f"{name} {_shown(value)}" for name, value in finding.figures.items())
            table.add_row(finding.about, Text(visible(figures)), finding.grade.value, Text(visible(finding.says)))
        by = ", ".join(f"{count:,} by {who}" for who, count in self.by.items())
        head = f"Judge of {self.judge}: {self.texts:,} texts, each {self.repeats} times; {by or 'no judgement came'}\n"
        return [Text(visible(head)), table, Text(self.verdict)]


def audit(
    judge: Judge,
    texts: Sequence[str],
    labelled: Sequence[tuple[str, Any]] | None = None,
    *,
    repeats: int = 3,
    changes: Mapping[str, Callable[[str], str]] = CHANGES,
    seed: int = 0,
) -> Audit:
    """Asks a judge about `texts`, again and again and dressed otherwise, and says how far it can be trusted.

    texts: two or more different ones, of the kind that will be judged; 20 tell much more than 5.
    labelled: texts with what a person says of each: a number (only the order counts), or the label of
      a judge that gives labels.
    repeats: how often each text is judged to see how steady the judge is.
    changes: what should make no difference, by name: text to text.

    It makes `len(texts) * (repeats + len(changes)) + len(labelled)` judgements, and as many more of a
    `Pairwise` with a position. Raises ValueError for too few texts or repeats.
    """
    if len(set(texts)) < 2 or repeats < 2:
        raise ValueError(f"{len(set(texts))} different texts, each judged {repeats} times: two of both are needed")
    key, batch = jax.random.key(seed), _batch(texts)
    said = [judgement_of(judge, jax.random.fold_in(key, i), batch) for i in range(repeats)]
    values = np.array([judgement.value for judgement in said])
    bounds = bounds_of(judge)
    findings = [trials.answers(said), trials.base_rate(said, bounds), trials.steadiness(values, bounds)]
    if isinstance(judge, Pairwise):
        both = judgement_of(replace(judge, position=None), key, batch)
        findings.append(trials.position([note["judged"][judge.name] for note in both.notes or ()]))
    for i, (name, change) in enumerate(changes.items()):
        again = jax.random.fold_in(key, repeats + i)
        changed = judgement_of(judge, again, _batch([change(text) for text in texts])).value
        findings.append(trials.invariance(name, values, changed, bounds))
    if labelled:
        judged = judgement_of(judge, jax.random.fold_in(key, repeats + len(changes)), _batch([t for t, _ in labelled]))
        findings.append(trials.agreement(judged.value, [label for _, label in labelled], bounds))
    by = Counter(_who(note, name_of(judge)) for judgement in said for note in judgement.notes or ())
    return Audit(name_of(judge), dict(by.most_common()), len(texts), repeats, tuple(findings))


def _batch(texts: Sequence[str]) -> Batch:
    return Batch.unevaluated(Proposal.of(list(texts), "audit"))


def _who(note: Mapping[str, Any], name: str) -> str:
    told = note.get("judged", {}).get(name, {})
    return " of ".join(str(told[part]) for part in ("by", "model") if told.get(part)) or "nobody"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
