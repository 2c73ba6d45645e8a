"""The prompts for edits of programs, with their scores, the referee's notes and the target.

Each prompt is a template beside this file (see `qdkit.llm.templates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.core.jsonable import nan_as_none, to_json
from qdkit.core.types import Candidate, Context, Outcome
from qdkit.llm import templates as prompts
from qdkit.llm.templates import fence
from qdkit.programs.syntax import Files, blocks

# Notes that are left out of prompts: those of operators; measurements, since the prompts of a
# repeated run have to be the same; and scores on held-out data, which programs must not fit.
_HIDDEN_NOTES = ("model", "dollars", "edit", "cpu_seconds", "novelty", "validation", "lockbox")
MAX_NOTE_CHARACTERS = 1500  # the longest note; all notes together have twice as many
_MAX_OTHERS_CHARACTERS = 30_000  # of the programs that are shown beside those to be edited


def edit_prompt(
    template: str, task: str, names: Sequence[str], context: Context, edited: Sequence[Candidate]
) -> str:
    """Returns the prompt of a kind of edit of the programs `edited`.

    template: the kind of edit.
    names: the names of the descriptor's axes, or none.
    context: that of one new program. The prompt shows its inspirations as other programs, as far
      as there is room, its target as the kind to aim for, and its lessons.
    """
    others = select_fitting([other for some in context.inspirations for other in some], edited)
    files = edited[0].genome
    candidates = [*others, *edited]
    scores = format_distinct([candidate.objective for candidate in candidates])
    programs = [
        _program(candidate, score, names)
        for candidate, score in zip(candidates, scores, strict=True)
    ]
    return fill_edit_template(
        template,
        task=task.strip(),
        learnt=_section("What the search has learnt", [context.lessons.strip()]),
        others=_section(
            "Other programs: the best, then those nearest in kind", programs[: len(others)]
        ),
        programs="\n\n".join(programs[len(others) :]),
        aim=_aim(None if context.target is None else context.target[0], names),
        path=next(iter(files)),
        marks=_marks(files),
    )


def fill_edit_template(template: str, **sections: str) -> str:
    """Returns a template beside this file, by its name, with its sections filled in."""
    return prompts.fill_template(Path(__file__).parent / f"{template}.md", **sections)


def format_distinct(values: Sequence[float]) -> list[str]:
    """Returns numbers as texts with at least 6 digits, and as many as different ones need."""
    different = len({repr(float(value)) for value in values})
    every = ([f"{value:.{digits}g}" for value in values] for digits in range(6, 18))
    return next(texts for texts in every if len(set(texts)) == different)


def shorten_middle(text: str, most: int) -> str:
    """Returns a text without its middle if it is longer than `most` characters.

    A third of what stays is from its beginning, since the end of an error says the most.
    """
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]}\n[{len(text) - most:,} characters left out]\n{text[head - most :]}"


def select_fitting(others: Sequence[Candidate], edited: Sequence[Candidate]) -> list[Candidate]:
    """Returns those of the others that a prompt has room for, without the edited programs."""
    known, room = {_text(candidate.genome) for candidate in edited}, _MAX_OTHERS_CHARACTERS
    selected: list[Candidate] = []
    for candidate in others:
        text = _text(candidate.genome)
        if text not in known and len(text) <= room:
            selected, room = [*selected, candidate], room - len(text)
    return selected


def _program(candidate: Candidate, score: str, names: Sequence[str]) -> str:
    """Returns one program for a prompt: its score and descriptor, its notes, and its files."""
    head = (
        f"Score {score}; {_place(candidate.descriptor, names)}"
        if candidate.outcome == Outcome.OK
        else f"No score: {candidate.outcome}"
    )
    notes = {name: note for name, note in candidate.notes.items() if name not in _HIDDEN_NOTES}
    feedback = [f"What the referee said of it:\n\n{fence(_notes(notes), 'text')}"] if notes else []
    files = [
        f"{path}\n{fence(text, 'python' if path.endswith('.py') else '')}"
        for path, text in candidate.genome.items()
    ]
    return "\n\n".join([head, *feedback, *files])


def _notes(notes: Mapping[str, Any]) -> str:
    lines = []
    for name, note in notes.items():
        text = note if isinstance(note, str) else to_json(nan_as_none(note))
        separator = "\n" if "\n" in text else " "
        lines.append(f"{name}:{separator}{shorten_middle(text, MAX_NOTE_CHARACTERS)}")
    return shorten_middle("\n".join(lines), 2 * MAX_NOTE_CHARACTERS)


def _place(descriptor: Sequence[float] | np.ndarray, names: Sequence[str]) -> str:
    values = [f"{x:.6g}" for x in descriptor]
    if len(names) != len(values):
        return f"descriptor {', '.join(values)}"
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def _aim(target: np.ndarray | None, names: Sequence[str]) -> str:
    if target is None or np.isnan(target).any():
        return ""
    kind = _place(target, names)
    return f"Aim for a program of this kind, with a score as high as can be there: {kind}."


def _section(title: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", *parts]) if any(parts) else ""


def _marks(files: Files) -> str:
    """Returns a sentence about the text that must not change, "" if all of it may."""
    if all(blocks(text, path) == [slice(0, len(text))] for path, text in files.items()):
        return ""
    return (
        "Only the lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change. Everything "
        "else, these marks included, stays as it is; an answer that changes it is refused."
    )


def _text(genome: Any) -> str:
    return to_json(genome)
