"""A filter that asks a language model whether two candidates are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.core.record import Unanswered
from qdkit.core.types import Batch, Filter, Genome, NoveltyVerdict
from qdkit.llm import Ask, answer_of
from qdkit.novelty.candidates import all_new, as_it_is, rows_to_remember, stable_name

_STAGE = "opinion"
PROMPT = (Path(__file__).parent / "same.md").read_text(encoding="utf-8")


class NoveltyJudge:
    """Rejects a candidate that is `near` a known one if a model says that the two are the same.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    near: a filter that selects the candidates to ask about and notes the nearest one. Its limit
      should be lower than one to reject by, such as `EditDistance(0.8)` or
      `EmbeddingDistance(embed, cosine=0.9)`.
    prompt: the question, with `{known}` and `{new}` for the two candidates and `{fence}` for a
      line around each that neither contains. An answer that begins with "yes" rejects.

    The model is asked at most once for each candidate, before its evaluation and never at its
    commit. Without an answer (no server, a refusal, neither yes nor no) the candidate passes.
    Raises ValueError for a prompt without `{known}` or `{new}`.
    """

    def __init__(self, ask: Ask, near: Filter, prompt: str = PROMPT):
        if missing := [name for name in ("{known}", "{new}") if name not in prompt]:
            raise ValueError(
                f"the prompt needs a place for each of the two candidates, and has no "
                f"{' and no '.join(missing)}: {prompt!r:.80}"
            )
        self.ask, self.near, self.prompt = ask, near, prompt
        self.form = getattr(near, "form", None)
        self._genomes: dict[int, Genome] = {}

    def __repr__(self) -> str:
        custom = "" if self.prompt == PROMPT else f", {self.prompt!r}"
        return f"NoveltyJudge({stable_name(self.ask)}, {self.near!r}{custom})"

    def new(self, batch: Batch, before: int) -> NoveltyVerdict:
        """Accepts rows that are not near a known candidate, or that the model tells from it."""
        if len(batch) and batch.id[0] >= 0:
            return NoveltyVerdict(*all_new(batch))
        verdict = NoveltyVerdict.of(self.near.new(batch, before), len(batch))
        fresh, notes = np.ones(len(batch), bool), list(verdict.notes)
        for row in np.flatnonzero(~verdict.new).tolist():
            note = notes[row]
            known = (
                batch.genome[note["row"]]
                if "row" in note
                else self._genomes.get(note.get("id", -1))
            )
            if known is not None and self._same(known, batch.genome[row]):
                fresh[row], notes[row] = False, {**note, "stage": _STAGE}
            else:
                notes[row] = _as_passed(note)
        return NoveltyVerdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit that a prompt may show beside a new one."""
        self.near.learn(batch)
        self._genomes |= {int(batch.id[row]): batch.genome[row] for row in rows_to_remember(batch)}

    def _same(self, known: Genome, new: Genome) -> bool:
        try:
            answer = answer_of(self.ask, novelty_prompt(self.prompt, known, new))
        except Unanswered:
            return False
        return answer.ok and re.match(r"\W*yes\b", answer.text, re.IGNORECASE) is not None


def _as_passed(note: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the note of a row that `near` rejected and the model accepted."""
    rejection = ("stage", "limit", "id", "row", "likeness")
    kept = {name: value for name, value in note.items() if name not in rejection}
    likeness = note.get("likeness")
    return kept | ({} if likeness is None else {"passed": {_STAGE: likeness}})


def novelty_prompt(prompt: str, known: Genome, new: Genome) -> str:
    """Returns `prompt` with the two candidates in it; braces in their texts stay as they are."""
    sections = {"known": _text(known), "new": _text(new)}
    runs = [run for text in sections.values() for run in re.findall("`+", text)]
    longest = max(map(len, runs), default=0)
    sections["fence"] = "`" * max(3, longest + 1)
    return re.sub(r"\{(known|new|fence)\}", lambda match: sections[match[1]], prompt)


def _text(genome: Genome) -> str:
    """Returns a text, or the files of a program one after another, or JSON."""
    if isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values()):
        return "\n".join(f"# {path}\n{text.rstrip()}" for path, text in genome.items())
    return as_it_is(genome)
