"""Axes that a model proposes and people edit: attributes of texts, and how evenly texts fall on their values (GRADE).

    axes = proposed(model, "a poem", samples)  # plain data: [axis.plain() for axis in axes] is JSON, edit it
    panel = Panel(Rating(model, quality), [axis.judge(model) for axis in axes])
    grid = Grid(tuple(map(len, panel.bounds)), panel.bounds, names=panel.names)

`evenness` says of an axis whether texts differ in it, and `vary_next` in which they differ least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qdkit.features import grams
from qdkit.feedback.asking import Reading, asked, form
from qdkit.feedback.label import NONE, Label
from qdkit.feedback.poles import Closest, Embed
from qdkit.llm import Answer, Ask, Question
from qdkit.metrics import Entropy, entropy
from qdkit.prompts import fence
from qdkit.types import Judge

LONGEST = {
    "name": 40,
    "question": 300,
    "value": 40,
    "meaning": 300,
}  # characters: they become lines of prompts and maps
MOST = 24  # values of an axis
SAMPLES, SHOWN = 20, 1500  # how many samples are shown, and how many characters of each


@dataclass(frozen=True)
class Attribute:
    """Something that texts may differ in: an axis of labels, as plain data.

    name: of the axis. question: what is asked about a text.
    values: the answers there may be, each with what it means, in words that such a text would use; "" where it says so
      itself.

    Raises ValueError for fewer than two values, for one that is listed twice or is "none of these" (which is always
    among the answers), and for what is not one line of text.
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
        if NONE in {value.casefold() for value in self.values}:
            raise ValueError(f"the axis {self.name!r} lists {NONE!r}, which is always among the answers: leave it out")
        if not 2 <= len(self.values) <= MOST:
            raise ValueError(f"the axis {self.name!r} has {len(self.values)} values: give it 2 to {MOST}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The values without their meaning."""
        return tuple(self.values)

    def plain(self) -> dict[str, Any]:
        """JSON values, of which `attributes` makes it again."""
        said = [{"value": value, "meaning": meaning} if meaning else value for value, meaning in self.values.items()]
        return {"name": self.name, "question": self.question, "values": said}

    def judge(self, ask: Ask | None = None, embed: Embed = grams) -> Judge:
        """Who says which value a text has: a model, or where there is none the vectors of `embed`.

        Without a model it is the value whose description a text is closest to, which never says that none fits.
        """
        if ask is None:
            described = {
                value: (f"{value}: {meaning}" if meaning else value,) for value, meaning in self.values.items()
            }
            return Closest(described, embed, self.name)
        meanings = "\n".join(f"- {value} means: {meaning}" for value, meaning in self.values.items() if meaning)
        return Label(ask, form("attribute", question=self.question, meanings=meanings), self.name, labels=self.labels)


class Next(NamedTuple):
    """What to vary next: the axis that texts differ in least, and its value that came least often.

    axis: its number; `attribute` is the axis itself.
    value: the number of the value in its list; `label` is the value itself.
    entropy: how evenly texts fall on the axis.
    """

    axis: int
    attribute: Attribute
    value: int
    label: str
    entropy: Entropy

    @property
    def words(self) -> str:
        """For a prompt: the question, and the answer that is wanted."""
        meaning = self.attribute.values[self.label]
        return f"{self.attribute.question} Let the answer be: {self.label}" + (f" ({meaning})" if meaning else "")


def attributes(written: Any) -> tuple[Attribute, ...]:
    """The axes of a JSON value: `{"axes": [...]}` or the list, each `{"name", "question", "values"}`.

    values: a list, of each value its text or `{"value", "meaning"}`; its order is that of the axis.

    Raises ValueError, with what is wrong where, for anything else, and for a name that two axes have.
    """
    rows = written.get("axes") if isinstance(written, Mapping) else written
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ValueError(f'axes are a list of at least one object, or {{"axes": [...]}}, and this is {written!r:.80}')
    axes = tuple(map(_attribute, rows))
    _check_different("two axes have the name", [axis.name for axis in axes])
    return axes


def proposed(ask: Ask, task: str, samples: Sequence[str], n: int = 3) -> tuple[Attribute, ...]:
    """The axes that a model proposes, having seen some samples (the first 20) of what is written for a task.

    One question, and one more with what was wrong with the answer. Raises RuntimeError if no axes come of it, and
    ValueError where there are no samples, or fewer than one axis is asked for.
    """
    if not samples or n < 1:
        raise ValueError(f"{n} axes from {len(samples)} samples: ask for one or more, and show one or more")
    shown = "\n\n".join(fence(sample[:SHOWN]) for sample in samples[:SAMPLES])
    prompt = form("attributes", task=fence(task), samples=shown, n=str(n), none=NONE)
    said = asked(ask, Question(prompt, schema=_schema()), _read)
    if not said.answers:
        raise RuntimeError(f"no axes came of the question: {said.notes['error']}")
    return attributes(said.notes["axes"])


def evenness(axes: Sequence[Attribute], notes: Iterable[Mapping[str, Any]]) -> dict[str, Entropy]:
    """How evenly candidates fall on the values of each axis, by their notes; see `metrics.entropy`.

    normalised: `H_2(p)/log2 V` over all V listed values, those that never came included (GRADE); `outside` is the
    share of the judged whom no value fits. It can only be held against one of the same list of values.
    """
    notes = list(notes)
    return {axis.name: entropy(_labels(axis, notes), axis.labels) for axis in axes}


def vary_next(axes: Sequence[Attribute], notes: Iterable[Mapping[str, Any]]) -> Next | None:
    """The least even axis and its rarest value, the first of equals; None where no axis has been judged."""
    notes = list(notes)
    found = evenness(axes, notes)
    known = [i for i, axis in enumerate(axes) if found[axis.name].effective > 0]
    if not known:
        return None
    axis = min(known, key=lambda i: found[axes[i].name].normalised)
    counts, labels = Counter(_labels(axes[axis], notes)), axes[axis].labels
    value = min(range(len(labels)), key=lambda i: counts[labels[i]])
    return Next(axis, axes[axis], value, labels[value], found[axes[axis].name])


def _labels(axis: Attribute, notes: Iterable[Mapping[str, Any]]) -> list[str]:
    told = (note.get("judged", {}).get(axis.name, {}) for note in notes)
    return [said["label"] for said in told if "label" in said]


def _attribute(row: Any) -> Attribute:
    keys = {"name", "question", "values"}
    if not isinstance(row, Mapping) or set(row) != keys:
        raise ValueError(f"an axis is an object with the keys name, question and values, and this is {row!r:.120}")
    whose, values = f"the axis {row['name']!r}", row["values"]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"the values of {whose} are a list, and not {values!r:.60}")
    pairs = [_value(value, whose) for value in values]
    _check_different(f"{whose} lists the value", [value for value, _ in pairs])  # a mapping would hide it
    return Attribute(row["name"], row["question"], dict(pairs))


def _value(said: Any, whose: str) -> tuple[str, str]:
    """A value and what it means."""
    value, meaning = (said.get("value"), said.get("meaning", "")) if isinstance(said, Mapping) else (said, "")
    if not isinstance(value, str) or (isinstance(said, Mapping) and not set(said) <= {"value", "meaning"}):
        raise ValueError(f'a value of {whose} is a text, or {{"value": ..., "meaning": ...}}, and not {said!r:.80}')
    return value, meaning


def _read(answer: Answer) -> Reading:
    """What a model proposed, where it can be used."""
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
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST[what] or not text.isprintable():
        raise ValueError(f"the {what} of {of} is one line of 1 to {LONGEST[what]} characters, and not {text!r:.80}")


def _check_different(whose: str, names: Iterable[str]) -> None:
    name, times = Counter(name.strip().casefold() for name in names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise ValueError(f"{whose} {name!r} {times} times: each is listed once, whatever its case")
