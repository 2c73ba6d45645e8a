"""What a model takes for the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qdkit.llm import Ask, answer_of
from qdkit.novelty.known import as_it_is, name_of, nothing_against, standing
from qdkit.record import Unanswered
from qdkit.types import Batch, Filter, Genome, Verdict

STAGE = "opinion"
PROMPT = (Path(__file__).parent / "same.md").read_text(encoding="utf-8")


class Asked:
    """A candidate that is `near` a known one is new unless a model says that the two are the same.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    near: which candidates to ask about: a filter that notes the nearest, with a lower limit than one
      would reject by, such as `EditDistance(0.8)` or `Unlike(embed, cosine=0.9)`.
    prompt: what is asked, with `{known}` and `{new}` for the two, and `{fence}` for a line around
      each that neither contains. An answer that begins with "yes" rejects.

    One question at most for each candidate, before its evaluation; never at its commit. Whatever is
    no answer (no server, a refusal, neither yes nor no) lets the candidate pass.
    """

    def __init__(self, ask: Ask, near: Filter, prompt: str = PROMPT):
        if missing := [name for name in ("{known}", "{new}") if name not in prompt]:
            raise ValueError(f"the prompt shows two candidates, and has no {' and no '.join(missing)}: {prompt!r:.80}")
        self.ask, self.near, self.prompt = ask, near, prompt
        self.form = getattr(near, "form", None)
        self._genomes: dict[int, Genome] = {}

    def __repr__(self) -> str:
        custom = "" if self.prompt == PROMPT else f", {self.prompt!r}"
        return f"Asked({name_of(self.ask)}, {self.near!r}{custom})"

    def new(self, batch: Batch, before: int) -> Verdict:
        """New: what is not near, and what the model does not take for the same as its nearest."""
        if len(batch) and batch.id[0] >= 0:
            return Verdict(*nothing_against(batch))
        verdict = Verdict.of(self.near.new(batch, before), len(batch))
        fresh, notes = np.ones(len(batch), bool), list(verdict.notes)
        for row in np.flatnonzero(~verdict.new).tolist():
            note = notes[row]
            known = batch.genome[note["row"]] if "row" in note else self._genomes.get(note.get("id", -1))
            if known is not None and self._same(known, batch.genome[row]):
                fresh[row], notes[row] = False, {**note, "stage": STAGE}
            else:
                left = {name: value for name, value in note.items() if name not in ("stage", "limit", "id", "row")}
                likeness = left.pop("likeness", None)
                notes[row] = left | ({} if likeness is None else {"passed": {STAGE: likeness}})
        return Verdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit that may be shown beside a new one."""
        self.near.learn(batch)
        self._genomes |= {int(batch.id[row]): batch.genome[row] for row in standing(batch)}

    def _same(self, known: Genome, new: Genome) -> bool:
        try:
            answer = answer_of(self.ask, question(self.prompt, known, new))
        except Unanswered:
            return False
        return answer.ok and re.match(r"\W*yes\b", answer.text, re.IGNORECASE) is not None


def question(prompt: str, known: Genome, new: Genome) -> str:
    """`prompt` with the two candidates in it; what they say in braces stays as they say it."""
    shown = {"known": _text(known), "new": _text(new)}
    longest = max((len(run) for text in shown.values() for run in re.findall("`+", text)), default=0)
    shown["fence"] = "`" * max(3, longest + 1)
    return re.sub(r"\{(known|new|fence)\}", lambda found: shown[found[1]], prompt)


def _text(genome: Genome) -> str:
    """A text, or the files of a program one after the other, or JSON."""
    if isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values()):
        return "\n".join(f"# {path}\n{text.rstrip()}" for path, text in genome.items())
    return as_it_is(genome)
