"""Judges: how good a candidate is, and of what kind, where there is no metric.

Each is a `Judge(key, batch) -> Judgement` that fills the objective, or one axis. `Probability`,
`Rating`, `Rubric`, `Label` and `Pairwise` ask a model; `Measured`, `Poles` and `Closest` need
none; `Pictured` shows the model a picture. `Fallback` takes the first of several judges that has
an answer, and a `Panel` judges quality and axes together:

    genre = Label(model, question, name="genre", labels=("haiku", "sonnet"))
    panel = Panel(Rating(model, quality), (genre,))
    grid = Grid((2,), panel.bounds, names=panel.names)
    Search(domain, grid, operator, judge=panel)

`pointwise.ask_judge` asks one question, and once more if the answer cannot be used; the templates
of the questions are the files beside it. Each candidate's notes hold the answer, the judge and the
model that answered.
A missing answer stays missing: the value is nan and the outcome gives the reason, and no score is
made up. `attributes` reads axes that a model proposes and people edit.
`audit` measures how far a judge can be trusted, and `qdkit.metrics.judge_noise` what its errors do
to an archive.
"""

from .attributes import Attribute, Next, attributes, evenness, proposed, vary_next
from .audit import Audit, audit
from .label import Label
from .lexicon import sentiment
from .measures import Measured, readability, repetition
from .pair_strengths import Strengths, strengths, win_rate
from .pairwise import Pairwise
from .panel import Fallback, Panel
from .pictured import Pictured
from .poles import Closest, Poles
from .probability import Probability
from .rating import Rating, Rubric
from .verse_forms import FORMS, Form, closest_form, form_kept

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
