"""Axes that a model proposes and people edit: attributes of texts, and their evenness (GRADE).

    axes = proposed(model, "a poem", samples)
    panel = Panel(Rating(model, quality), [axis.judge(model) for axis in axes])
    grid = Grid(tuple(map(len, panel.bounds)), panel.bounds, names=panel.names)

Axes are plain data: `[axis.plain() for axis in axes]` is JSON that can be edited.
`evenness` measures how evenly texts are spread over the values of each axis, and `vary_next` finds
the least even axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.types import Judge
from qdkit.feedback.label import NO_LABEL, Label
from qdkit.feedback.pointwise import Reading, ask_judge, judge_template
from qdkit.feedback.poles import Closest, Embed
from qdkit.llm import Answer, Ask, Question
from qdkit.llm.templates import fence
from qdkit.metrics import Entropy, entropy
from qdkit.metrics.features import grams

# The greatest length in characters: the texts become lines of prompts and maps.
_LONGEST = {"name": 40, "question": 300, "value": 40, "meaning": 300}
MAX_VALUES = 24  # values of an axis
_MAX_SAMPLES = 20  # in the prompt
_MAX_SAMPLE_CHARACTERS = 1500  # of each sample


@dataclass(frozen=True)
class Attribute:
    """Something that texts may differ in: an axis of labels, as plain data.

    name: the name of the axis. question: what is asked about a text.
    values: the possible answers, each with its meaning, in words that such a text would use; "" if
      the value explains itself.

    Raises ValueError for fewer than two values, for a value that is listed twice or is "none of
    these" (which is always among the answers), and for a text that is not one line.
    """

    name: str
    question: str
    values: Mapping[str, str]

    def __post_init__(self) -> None:
        _check_line("name", self.name, "an axis")
        _check_line("question", self.question, f"the axis {self.name!r}")
        for value, meaning in self.values.items():
            _check_line("value", value, f"the axis {self.name!r}")
            if meaning != "":
                _check_line("meaning", meaning, f"the value {value!r} of {self.name!r}")
        _check_different(f"the axis {self.name!r} lists the value", self.values)
        if NO_LABEL in {value.casefold() for value in self.values}:
            raise ValueError(
                f"the axis {self.name!r} lists {NO_LABEL!r}, which is always among the answers: "
                f"leave it out"
            )
        if not 2 <= len(self.values) <= MAX_VALUES:
            raise ValueError(
                f"the axis {self.name!r} has {len(self.values)} values: give it 2 to {MAX_VALUES}"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The values without their meanings."""
        return tuple(self.values)

    def plain(self) -> dict[str, Any]:
        """Returns the axis as JSON values, which `attributes` reads."""
        values = [
            {"value": value, "meaning": meaning} if meaning else value
            for value, meaning in self.values.items()
        ]
        return {"name": self.name, "question": self.question, "values": values}

    def judge(self, ask: Ask | None = None, embed: Embed = grams) -> Judge:
        """Returns a judge that chooses one of the values for a text.

        With `ask`, it is a `Label` that asks this model. Without, it is a `Closest`: the value
        whose description is closest to the text by the vectors of `embed`, also if none fits.
        """
        if ask is None:
            described = {
                value: (f"{value}: {meaning}" if meaning else value,)
                for value, meaning in self.values.items()
            }
            return Closest(described, embed, self.name)
        meanings = "\n".join(
            f"- {value} means: {meaning}" for value, meaning in self.values.items() if meaning
        )
        return Label(
            ask,
            judge_template("attribute", question=self.question, meanings=meanings),
            self.name,
            labels=self.labels,
        )


class Next(NamedTuple):
    """What to vary next: the least even axis, and its rarest value.

    axis: the index of the axis; `attribute` is the axis itself.
    value: the index of the value in its list; `label` is the value itself.
    entropy: how evenly texts are spread over the values of the axis.
    """

    axis: int
    attribute: Attribute
    value: int
    label: str
    entropy: Entropy

    @property
    def words(self) -> str:
        """The question and the wanted answer, for a prompt."""
        meaning = self.attribute.values[self.label]
        return f"{self.attribute.question} Let the answer be: {self.label}" + (
            f" ({meaning})" if meaning else ""
        )


def attributes(value: Any) -> tuple[Attribute, ...]:
    """Returns the axes of a JSON value: `{"axes": [...]}`, or the list alone.

    Each axis is an object `{"name", "question", "values"}`. Each of its values is a text or
    `{"value", "meaning"}`; their order is that of the axis.

    Raises ValueError, with the place and the reason, for anything else, and for a name that two
    axes share.
    """
    rows = value.get("axes") if isinstance(value, Mapping) else value
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ValueError(
            f'axes are a list of at least one object, or {{"axes": [...]}}, and this is '
            f"{value!r:.80}"
        )
    axes = tuple(map(_attribute, rows))
    _check_different("two axes have the name", [axis.name for axis in axes])
    return axes


def proposed(ask: Ask, task: str, samples: Sequence[str], n: int = 3) -> tuple[Attribute, ...]:
    """Returns `n` axes that a model proposes for the texts of a task.

    The prompt shows the first 20 of `samples`, texts written for this task. An answer that cannot
    be used is asked for once more, with the reason. Raises RuntimeError if that fails too, and
    ValueError if there are no samples or `n` is below 1.
    """
    if not samples or n < 1:
        raise ValueError(
            f"{n} axes from {len(samples)} samples: ask for one or more, and show one or more"
        )
    blocks = [fence(sample[:_MAX_SAMPLE_CHARACTERS]) for sample in samples[:_MAX_SAMPLES]]
    prompt = judge_template(
        "attributes", task=fence(task), samples="\n\n".join(blocks), n=str(n), none=NO_LABEL
    )
    verdict = ask_judge(ask, Question(prompt, schema=_schema()), _read)
    if not verdict.answers:
        raise RuntimeError(f"no axes came of the question: {verdict.notes['error']}")
    return attributes(verdict.notes["axes"])


def evenness(axes: Sequence[Attribute], notes: Iterable[Mapping[str, Any]]) -> dict[str, Entropy]:
    """Returns how evenly candidates are spread over the values of each axis, from their notes.

    The fields are those of `metrics.entropy`. normalised: `H_2(p)/log2 V` over all V listed
    values, including those that never occur (GRADE). outside: the share of the judged candidates
    that no value fits. Compare it only with an entropy over the same list of values.
    """
    notes = list(notes)
    return {axis.name: entropy(_labels(axis, notes), axis.labels) for axis in axes}


def vary_next(axes: Sequence[Attribute], notes: Iterable[Mapping[str, Any]]) -> Next | None:
    """Returns the least even axis and its rarest value; of equal ones, the first.

    Returns None if no candidate was judged on any axis.
    """
    notes = list(notes)
    entropies = evenness(axes, notes)
    known = [i for i, axis in enumerate(axes) if entropies[axis.name].effective > 0]
    if not known:
        return None
    axis = min(known, key=lambda i: entropies[axes[i].name].normalised)
    counts, labels = Counter(_labels(axes[axis], notes)), axes[axis].labels
    value = min(range(len(labels)), key=lambda i: counts[labels[i]])
    return Next(axis, axes[axis], value, labels[value], entropies[axes[axis].name])


def _labels(axis: Attribute, notes: Iterable[Mapping[str, Any]]) -> list[str]:
    judged = (note.get("judged", {}).get(axis.name, {}) for note in notes)
    return [entry["label"] for entry in judged if "label" in entry]


def _attribute(row: Any) -> Attribute:
    keys = {"name", "question", "values"}
    if not isinstance(row, Mapping) or set(row) != keys:
        raise ValueError(
            f"an axis is an object with the keys name, question and values, and this is "
            f"{row!r:.120}"
        )
    axis, values = f"the axis {row['name']!r}", row["values"]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"the values of {axis} are a list, and not {values!r:.60}")
    pairs = [_value(entry, axis) for entry in values]
    # A mapping would hide a value that is listed twice.
    _check_different(f"{axis} lists the value", [value for value, _ in pairs])
    return Attribute(row["name"], row["question"], dict(pairs))


def _value(entry: Any, axis: str) -> tuple[str, str]:
    """Returns a value and its meaning."""
    value, meaning = entry, ""
    if isinstance(entry, Mapping):
        value, meaning = entry.get("value"), entry.get("meaning", "")
    unknown_keys = isinstance(entry, Mapping) and not set(entry) <= {"value", "meaning"}
    if not isinstance(value, str) or unknown_keys:
        raise ValueError(
            f'a value of {axis} is a text, or {{"value": ..., "meaning": ...}}, and not '
            f"{entry!r:.80}"
        )
    return value, meaning


def _read(answer: Answer) -> Reading:
    """Returns the proposed axes as notes, or the reason why the answer cannot be used."""
    if not answer.ok:
        return Reading(np.nan, {}, answer.error)
    try:
        attributes(answer.data)
    except ValueError as error:
        return Reading(np.nan, {}, str(error))
    return Reading(1.0, {"axes": answer.data["axes"]})


def _schema() -> dict[str, Any]:
    text = {"type": "string"}
    thing = lambda **parts: {
        "type": "object", "properties": parts, "required": [*parts], "additionalProperties": False
    }  # fmt: skip
    values = {"type": "array", "items": thing(value=text, meaning=text)}
    return thing(axes={"type": "array", "items": thing(name=text, question=text, values=values)})


def _check_line(what: str, text: Any, of: str) -> None:
    if (
        not isinstance(text, str)
        or not text.strip()
        or len(text) > _LONGEST[what]
        or not text.isprintable()
    ):
        raise ValueError(
            f"the {what} of {of} is one line of 1 to {_LONGEST[what]} characters, and not "
            f"{text!r:.80}"
        )


def _check_different(subject: str, names: Iterable[str]) -> None:
    counts = Counter(name.strip().casefold() for name in names)
    name, times = counts.most_common(1)[0] if counts else ("", 0)
    if times > 1:
        raise ValueError(
            f"{subject} {name!r} {times} times: each is listed once, whatever its case"
        )
