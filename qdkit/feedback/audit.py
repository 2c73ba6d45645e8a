"""Measures how far a judge can be trusted.

The judge is asked about the same texts several times, in another order, and about changed texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from qdkit.core.jsonable import nan_as_none, terminal_safe
from qdkit.core.prng import root_key
from qdkit.core.types import Batch, Judge, Proposal
from qdkit.feedback import audit_checks
from qdkit.feedback.audit_checks import Finding, Grade
from qdkit.feedback.pairwise import Pairwise
from qdkit.feedback.panel import complete_judgement, judge_bounds, judge_name

# Changes that should make no difference to a judge of what a text says.
_CHANGES: Mapping[str, Callable[[str], str]] = {
    "padding": lambda text: (
        f"{text}\n\nThis is the whole of the text, and it is given here in full, from start to "
        f"end."
    ),
    "formatting": lambda text: f"# Text\n\n{text}\n\n---",
    "author": lambda text: f"By William Shakespeare\n\n{text}",
}


@dataclass(frozen=True)
class Audit:
    """What an audit measured about a judge. `print(audit)` shows the page.

    judge: the name of what it judges. by: how many judgements came from each kind of judge and
      model.
    texts: how many were judged, each `repeats` times.
    """

    judge: str
    by: Mapping[str, int]
    texts: int
    repeats: int
    findings: tuple[Finding, ...]

    @property
    def grade(self) -> Grade:
        """The worst grade of the findings."""
        order = [Grade.POOR, Grade.FAIR, Grade.UNKNOWN, Grade.GOOD]
        return min((finding.grade for finding in self.findings), key=order.index)

    @property
    def verdict(self) -> str:
        """The grades in a sentence."""
        poor = [finding.about for finding in self.findings if finding.grade == Grade.POOR]
        fair = [finding.about for finding in self.findings if finding.grade == Grade.FAIR]
        if poor:
            return (
                f"Do not search by this judge as it is: a search finds out that it fails on "
                f"{_listed(poor)}."
            )
        if fair:
            return f"Usable with care: bear in mind {_listed(fair)}."
        if self.grade == Grade.UNKNOWN:
            return (
                "Nothing speaks against this judge, and some of it could not be told from so few "
                "texts."
            )
        return (
            "Nothing speaks against this judge on these texts. Whether it judges what you mean, "
            "labelled texts show."
        )

    def plain(self) -> dict[str, Any]:
        """Returns the audit as JSON values."""
        findings = [
            {**finding._asdict(), "grade": finding.grade.value} for finding in self.findings
        ]
        return nan_as_none({**vars(self), "findings": findings, "verdict": self.verdict})

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        # In a notebook rich would show the page in colour, and leave nothing to return.
        console = Console(file=StringIO(), width=110, force_jupyter=False, color_system=None)
        console.print(*self.__rich_console__())
        return console.file.getvalue()  # type: ignore[attr-defined]

    def __rich_console__(self, *_: Any) -> list[Any]:
        """Returns the page, as rich prints it."""
        from rich.table import Table
        from rich.text import Text

        table = Table(
            "", "found", "grade", "what follows", box=None, pad_edge=False, padding=(0, 2, 1, 0)
        )
        for finding in self.findings:
            figures = "\n".join(
                f"{name} {_formatted(value)}" for name, value in finding.figures.items()
            )
            table.add_row(
                finding.about,
                Text(terminal_safe(figures)),
                finding.grade.value,
                Text(terminal_safe(finding.says)),
            )
        by = ", ".join(f"{count:,} by {judge}" for judge, count in self.by.items())
        head = (
            f"Judge of {self.judge}: {self.texts:,} texts, each {self.repeats} times; "
            f"{by or 'no judgement came'}\n"
        )
        return [Text(terminal_safe(head)), table, Text(self.verdict)]


def audit(
    judge: Judge,
    texts: Sequence[str],
    labelled: Sequence[tuple[str, Any]] | None = None,
    *,
    repeats: int = 3,
    changes: Mapping[str, Callable[[str], str]] = _CHANGES,
    seed: int = 0,
) -> Audit:
    """Measures how far a judge can be trusted, by its judgements of `texts` and of changed texts.

    texts: two or more different ones, of the kind that will be judged; 20 tell much more than 5.
    labelled: texts with a person's judgement of each: a number (only the order counts), or the
      label of a judge that gives labels.
    repeats: how often each text is judged, to measure how steady the judge is.
    changes: what should make no difference, by name: text to text.

    It makes `len(texts) * (repeats + len(changes)) + len(labelled)` judgements, and of a
    `Pairwise` also one of each text in both orders. Raises ValueError for too few texts or
    repeats.
    """
    if len(set(texts)) < 2 or repeats < 2:
        raise ValueError(
            f"{len(set(texts))} different texts, each judged {repeats} times: two of both are "
            f"needed"
        )
    key, batch = root_key(seed), _batch(texts)
    judgements = [
        complete_judgement(judge, jax.random.fold_in(key, i), batch) for i in range(repeats)
    ]
    values = np.array([judgement.value for judgement in judgements])
    bounds = judge_bounds(judge)
    findings = [
        audit_checks.missing_answers(judgements),
        audit_checks.base_rate(judgements, bounds),
        audit_checks.steadiness(values, bounds),
    ]
    if isinstance(judge, Pairwise):
        both_orders = complete_judgement(replace(judge, position=None), key, batch)
        judged = [note["judged"][judge.name] for note in both_orders.notes or ()]
        findings.append(audit_checks.position_bias(judged))
    for i, (name, change) in enumerate(changes.items()):
        change_key = jax.random.fold_in(key, repeats + i)
        changed_texts = _batch([change(text) for text in texts])
        changed = complete_judgement(judge, change_key, changed_texts).value
        findings.append(audit_checks.invariance(name, values, changed, bounds))
    if labelled:
        label_key = jax.random.fold_in(key, repeats + len(changes))
        values = complete_judgement(judge, label_key, _batch([text for text, _ in labelled])).value
        labels = [label for _, label in labelled]
        findings.append(audit_checks.label_agreement(values, labels, bounds))
    by = Counter(
        _judge_and_model(note, judge_name(judge))
        for judgement in judgements
        for note in judgement.notes or ()
    )
    return Audit(judge_name(judge), dict(by.most_common()), len(texts), repeats, tuple(findings))


def _batch(texts: Sequence[str]) -> Batch:
    return Batch.unevaluated(Proposal.of(list(texts), "audit"))


def _judge_and_model(note: Mapping[str, Any], name: str) -> str:
    judged = note.get("judged", {}).get(name, {})
    parts = [str(judged[part]) for part in ("by", "model") if judged.get(part)]
    return " of ".join(parts) or "nobody"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _formatted(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
