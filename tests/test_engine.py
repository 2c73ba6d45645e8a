"""What results/engine/ says of the engine is what was measured.

The measuring itself is no test.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "results" / "engine"


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure", HERE / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("served", "slots", "share"),
    [
        ([(0, 1), (1, 2), (2, 3)], 1, 1.0),
        (
            [(0, 1), (0, 1), (1, 2), (2, 3)],
            2,
            0.75,
        ),  # one of the slots stood idle in the second second
        (
            [(0, 3), (1, 2), (2, 9)],
            2,
            0.75,
        ),  # filled after a second; what comes after the last request is not counted
    ],
)
def test_the_busy_share_is_the_work_of_the_slots_between_the_first_and_the_last_request(
    measure, served, slots, share
):
    """Calculated by hand for logs of a few requests."""
    log = [{"arrived": arrived, "answered": answered} for arrived, answered in served]
    assert measure.busy(log, slots) == pytest.approx(share)


def test_the_table_agrees_with_figures_json(measure):
    """The rows of the page are made from figures.json again."""
    text, figures = (
        (HERE / "README.md").read_text(),
        json.loads((HERE / "figures.json").read_text()),
    )
    for what, should, value in measure.rows(figures, ["openevolve", "shinka-evolve"]):
        assert f"| {what} | {should} | {value} |" in text
