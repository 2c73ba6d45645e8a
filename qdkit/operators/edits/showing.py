"""What a model is shown: programs with their scores, what the referee said, and the kind to aim for.

Each prompt is a template beside this file (see `qdkit.prompts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qdkit import prompts
from qdkit.plain import to_json
from qdkit.programs import Files, blocks
from qdkit.prompts import fence
from qdkit.types import Candidate, Context, Outcome

# Notes that operators and not referees have written; what was measured, as a prompt is the same in every run; and
# what only a report may say, or a model would write programs that fit the held-out data.
MINE = ("model", "dollars", "edit", "cpu_seconds", "novelty", "validation", "lockbox")
SAID = 1500  # characters of one note, and of all notes together twice as many
ROOM = 30_000  # characters for programs that are shown beside those to be edited


def prompt(template: str, task: str, names: Sequence[str], context: Context, edited: Sequence[Candidate]) -> str:
    """The question of a kind of edit about the programs `edited`.

    names: of the axes of the descriptor, or none.
    context: what concerns one new program. Its inspirations are shown as other programs, as far as
      there is room; its target as the kind to aim for, its lessons as what the search has learnt.
    """
    others = fitting([other for some in context.inspirations for other in some], edited)
    files = edited[0].genome
    scores = told_apart([c.objective for c in (*others, *edited)])
    shown = [_program(c, score, names) for c, score in zip((*others, *edited), scores, strict=True)]
    return filled(
        template,
        task=task.strip(),
        learnt=_section("What the search has learnt", [context.lessons.strip()]),
        others=_section("Other programs: the best, then those nearest in kind", shown[: len(others)]),
        programs="\n\n".join(shown[len(others) :]),
        aim=_aim(None if context.target is None else context.target[0], names),
        path=next(iter(files)),
        marks=_marks(files),
    )


def filled(template: str, **sections: str) -> str:
    """A template beside this file, by its name, with its sections."""
    return prompts.filled(Path(__file__).parent / f"{template}.md", **sections)


def told_apart(values: Sequence[float]) -> list[str]:
    """Numbers as texts of 6 significant digits, or as many as it takes that different ones look different."""
    different = len({repr(float(v)) for v in values})
    every = ([f"{v:.{digits}g}" for v in values] for digits in range(6, 18))
    return next(texts for texts in every if len(set(texts)) == different)


def clipped(text: str, most: int) -> str:
    """A text, its middle left out if it is longer than `most` characters: errors say most at their end."""
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]}\n[{len(text) - most:,} characters left out]\n{text[head - most :]}"


def fitting(others: Sequence[Candidate], edited: Sequence[Candidate]) -> list[Candidate]:
    """Those of the others for which there is room, in their order, without the programs that are edited."""
    known, room = {_text(candidate.genome) for candidate in edited}, ROOM
    kept: list[Candidate] = []
    for candidate in others:
        text = _text(candidate.genome)
        if text not in known and len(text) <= room:
            kept, room = [*kept, candidate], room - len(text)
    return kept


def _program(candidate: Candidate, score: str, names: Sequence[str]) -> str:
    """One program: its score and place, what was said of it, and its files."""
    if candidate.outcome == Outcome.OK:
        head = f"Score {score}; {_place(candidate.descriptor, names)}"
    else:
        head = f"No score: {candidate.outcome}"
    said = {name: note for name, note in candidate.notes.items() if name not in MINE}
    feedback = [f"What the referee said of it:\n\n{fence(_notes(said), 'text')}"] if said else []
    files = [
        f"{path}\n{fence(text, 'python' if path.endswith('.py') else '')}" for path, text in candidate.genome.items()
    ]
    return "\n\n".join([head, *feedback, *files])


def _notes(said: Mapping[str, Any]) -> str:
    texts = {name: note if isinstance(note, str) else to_json(note) for name, note in said.items()}
    lines = [f"{name}:{_gap(text)}{clipped(text, SAID)}" for name, text in texts.items()]
    return clipped("\n".join(lines), 2 * SAID)


def _gap(text: str) -> str:
    return "\n" if "\n" in text else " "


def _place(descriptor: Sequence[float] | np.ndarray, names: Sequence[str]) -> str:
    values = [f"{x:.6g}" for x in descriptor]
    if len(names) != len(values):
        return f"descriptor {', '.join(values)}"
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def _aim(target: np.ndarray | None, names: Sequence[str]) -> str:
    if target is None or np.isnan(target).any():
        return ""
    return f"Aim for a program of this kind, with a score as high as can be there: {_place(target, names)}."


def _section(title: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", *parts]) if any(parts) else ""


def _marks(files: Files) -> str:
    """Words about what must stay, if anything must."""
    if all(blocks(text) == [slice(0, len(text))] for text in files.values()):
        return ""
    return (
        "Only the lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change. Everything else, these marks "
        "included, stays as it is; an answer that changes it is refused."
    )


def _text(genome: Any) -> str:
    return to_json(genome)
