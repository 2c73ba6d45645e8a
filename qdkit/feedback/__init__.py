"""Judges: who says how good a candidate is, and of what kind, where no one can write a metric.

Each is a `Judge(key, batch) -> Judgement` that fills the objective, or one axis. `Probability`, `Rating`,
`Rubric`, `Label` and `Pairwise` ask a model; `Measured`, `Poles` and `Closest` do without one; `Pictured` shows
it a picture. `Fallback` is the first of several that has an answer, and a `Panel` judges quality and axes together:

    panel = Panel(Rating(model, quality), (Label(model, genre, name="genre", labels=("haiku", "sonnet")),))
    Search(domain, Grid((2,), panel.bounds, names=panel.names), operator, judge=panel)

`asking` puts one question, and one more where the answer cannot be used; the forms of the questions are
the files beside it. What was said, by whom, and the model that answered is in every candidate's notes.
An answer that is missing stays missing: nan, and an outcome that says why; never a made-up number.
`attributes` holds axes that a model proposes and people edit.
`audit` says how far a judge can be trusted, and `qdkit.noise` what its errors do to an archive.
"""

from .attributes import Attribute, Next, attributes, evenness, proposed, vary_next
from .audit import Audit, audit
from .forms import FORMS, Form, closest_form, form_kept
from .label import Label
from .lexicon import sentiment
from .measures import Measured, readability, repetition
from .pairs import Strengths, strengths, win_rate
from .pairwise import Pairwise
from .panel import Fallback, Panel
from .pictured import Pictured
from .poles import Closest, Poles
from .probability import Probability
from .rating import Rating, Rubric

# Measures by name, for the command line.
MEASURES = {
    "sentiment": Measured(sentiment, "sentiment", (-1.0, 1.0)),
    "readability": Measured(readability, "readability", (0.0, 100.0)),
    "repetition": Measured(repetition, "repetition"),
    "form": Measured(closest_form, "form", tuple(FORMS)),
}

__all__ = [
    "FORMS",
    "MEASURES",
    "Attribute",
    "Audit",
    "Closest",
    "Fallback",
    "Form",
    "Label",
    "Measured",
    "Next",
    "Pairwise",
    "Panel",
    "Pictured",
    "Poles",
    "Probability",
    "Rating",
    "Rubric",
    "Strengths",
    "attributes",
    "audit",
    "closest_form",
    "evenness",
    "form_kept",
    "proposed",
    "readability",
    "repetition",
    "sentiment",
    "strengths",
    "vary_next",
    "win_rate",
]
