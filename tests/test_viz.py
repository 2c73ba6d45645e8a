"""The pictures show the data: values in their places, labels, hostile texts, and golden pictures.

The golden pictures are in `tests/golden`. After an intended change, make them again with
`python -m tests.test_viz`, and look at them.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from matplotlib.testing.compare import compare_images
from PIL import Image, ImageOps

import qdkit
from qdkit import viz
from qdkit.archives import CVT, DeepGrid, Grid
from qdkit.core.elites import Elites
from qdkit.domains.drawings.drawings import Drawings, seed_drawings
from qdkit.viz.cells import intervals, voronoi
from qdkit.viz.colour import EMPTY
from qdkit.viz.pictures import fit_text, printable, spread_cells
from qdkit.viz.style import format_number

from .worlds import Jitter, Points

GOLDEN = Path(__file__).parent / "golden"
UNIT = (0.0, 1.0)
PLANE = Grid((6, 5), (UNIT, UNIT), names=("reach", "height"))
FORMS = Grid((3, 3), (("haiku", "sonnet", "fr$e$e"), (0, 1, 10, 40)), names=("form", "len$gth$"))
BLOCKS = Grid(
    (3, 2, 2, 3), (UNIT, ("a", "b"), ("short", "long"), UNIT), names=("x", "y", "length", "z")
)
POINTS = CVT(np.random.default_rng(3).uniform(0, 1, (30, 2)), (UNIT, UNIT))
MANY = CVT(np.random.default_rng(4).uniform(0, 1, (25, 4)), (UNIT,) * 4)
HOSTILE = "a $\\frac{$ b\x1b[31m\x00 \u202e \ud800 \U0001f600 漢\t" + "x" * 100_000 + "\n" * 5000


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


class Arrow:
    """A domain that draws its own pictures."""

    def draw(self, genome, ax):
        ax.plot([0, genome[0]], [0, genome[1]], marker="o")
        ax.set(xlim=(-3, 3), ylim=(-3, 3))
        return ax


def view_of(archive, occupied, **more):
    """Returns the view of a search with elites in these cells, a higher cell with a better elite.

    Their descriptors are the middles of their cells.
    """
    middles = archive.centroids if isinstance(archive, CVT) else _middles(archive)
    full = np.isin(np.arange(archive.cells), occupied)
    objective = np.where(full, np.arange(archive.cells) / archive.cells, -np.inf)
    elites = Elites(
        objective,
        np.where(full[:, None], middles, np.nan),
        {"id": np.where(full, np.arange(archive.cells), -1)},
    )
    genome = lambda id: np.random.default_rng(id).normal(size=9)
    attributes = {"archive": archive, "elites": elites, "genome": genome}
    return SimpleNamespace(**attributes | {"history": history(20)} | more)


def _middles(grid):
    along = [(grid.edges(axis)[1:] + grid.edges(axis)[:-1]) / 2 for axis in range(grid.axes)]
    return np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, grid.axes)


def history(n):
    at = np.arange(n) * 64.0
    columns = {
        "coverage": at / (at + 500),
        "qd_score": at**0.5,
        "best": 1 - 1 / (1 + at / 100),
        "parents": at / 20,
    }
    return {"evaluations": at, **columns}


def operator_counts(*names):
    """Returns how many candidates each operator made in forty steps, and how many entered."""
    shares = np.stack([np.arange(40) // (3 * i + 1) for i in range(len(names))])
    return {
        name: np.stack([share, share // (i + 2)])
        for i, (name, share) in enumerate(zip(names, shares, strict=True))
    }


def partly_filled(archive, step=3):
    return view_of(archive, np.flatnonzero(np.arange(archive.cells) % step))


PICTURES = {
    "plane": lambda: viz.heatmap(partly_filled(PLANE), title="a map"),
    "forms": lambda: viz.heatmap(partly_filled(FORMS)),
    "line": lambda: viz.heatmap(partly_filled(Grid((9,), (UNIT,)))),
    "blocks": lambda: viz.heatmap(partly_filled(BLOCKS)),
    "points": lambda: viz.heatmap(partly_filled(POINTS)),
    "parallel": lambda: viz.parallel(partly_filled(MANY)),
    "progress": lambda: viz.progress(partly_filled(PLANE)),
    "profile": lambda: viz.profile(partly_filled(PLANE)),
    "origins": lambda: viz.origins(
        SimpleNamespace(origins=operator_counts("a model", "seed", "fr$e$e noise"))
    ),
    "gallery": lambda: viz.gallery(view_of(PLANE, range(30), domain=Arrow()), 2, 3),
    "novelty": lambda: viz.novelty(novelty_view()),
    "sheet": lambda: viz.sheet(
        view_of(
            FORMS, [0, 1, 4, 5, 6, 8], domain=Drawings(), genome=lambda id: seed_drawings()[id]
        )
    ),
    "overview": lambda: viz.overview(partly_filled(PLANE)),
    "empty": lambda: viz.overview(view_of(PLANE, [], history=None)),
}


def novelty_view():
    """Returns the view of a run in which three novelty stages recorded likenesses.

    The limits of the second and third are 0.8 and 0.9.
    """
    drawn = np.random.default_rng(5).beta(6, 2, (2, 200))
    of = lambda stage, values, limit: [
        (stage, x, limit if x >= limit else None) for x in values.tolist()
    ]
    rows = (
        [("form", 1.0, 1.0)] * 30
        + of("edit $distance$", drawn[0], 0.8)
        + of("cosine", 0.5 + drawn[1] / 2, 0.9)
    )
    return SimpleNamespace(ledger=SimpleNamespace(likenesses=lambda: rows))


def save(drawn, path):
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure()
    figure.savefig(path, dpi=50, metadata={"Software": None})
    plt.close(figure)


TOLERANCE = 10  # root mean square of 255
CONSTRAINTS = (Path(__file__).parents[1] / "constraints.txt").read_text("utf-8")
PINNED = re.findall(r"^matplotlib==(\S+)", CONSTRAINTS, re.M)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_equal_the_golden_ones(name, tmp_path):
    """Each picture is the same as the golden one.

    Where matplotlib is not the pinned version, only coarse copies are compared.
    """
    golden, drawn = GOLDEN / f"{name}.png", tmp_path / f"{name}.png"
    save(PICTURES[name](), drawn)
    # Another version has other letters, which move the rest by a few pixels.
    if matplotlib.__version__ not in PINNED:
        golden = coarse(golden, tmp_path / "golden.png")
        drawn = coarse(drawn, tmp_path / "drawn.png")
    assert compare_images(str(golden), str(drawn), tol=TOLERANCE) is None


def coarse(path, to):
    """Saves the picture as eight by eight colours, without its letters."""
    with Image.open(path) as picture:
        picture.convert("RGB").resize((8, 8), Image.Resampling.BOX).save(to)
    return to


@pytest.mark.parametrize(
    "name", sorted({*PICTURES} - {"gallery", "origins", "profile", "progress"})
)
def test_the_coarse_comparison_detects_a_mirrored_picture(name, tmp_path):
    """The looser comparison can fail; pictures of a few thin lines are too faint for it."""
    with Image.open(GOLDEN / f"{name}.png") as picture:
        ImageOps.mirror(picture).save(tmp_path / "mirrored.png")
    mirrored = coarse(tmp_path / "mirrored.png", tmp_path / "small.png")
    golden = coarse(GOLDEN / f"{name}.png", tmp_path / "golden.png")
    assert compare_images(str(golden), str(mirrored), tol=TOLERANCE) is not None


def drawn_at(ax, x, y):
    """Returns the value that a map of squares has at a place; masked where it has none."""
    corners = ax.collections[0].get_coordinates()
    column = np.searchsorted(corners[0, :, 0], x) - 1
    row = np.searchsorted(corners[:, 0, 1], y) - 1
    return ax.collections[0].get_array()[row, column]


@pytest.mark.parametrize("place", [(0.1, 0.9), (0.7, 0.1)])
def test_an_elite_appears_where_its_descriptor_says(place):
    """Axis 0 runs to the right and axis 1 upward; the other cells are empty."""
    elites, _ = PLANE.add(PLANE.init(), np.array([2.5]), np.array([place]), np.array([0]))
    ax = viz.heatmap(SimpleNamespace(archive=PLANE, elites=elites))
    assert drawn_at(ax, *place) == 2.5
    assert ax.collections[0].get_array().count() == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("reach", "height")


def test_uneven_edges_and_labels_keep_their_places():
    """Cells lie between the true edges, and labels are in the middle of their cells."""
    ax = viz.heatmap(view_of(FORMS, [3 * 2 + 1]))  # fr$e$e, between 1 and 10
    assert drawn_at(ax, 2, 9.9) == drawn_at(ax, 2, 1.1) == pytest.approx(7 / 9)
    assert drawn_at(ax, 2, 10.1) is np.ma.masked and drawn_at(ax, 1, 5) is np.ma.masked
    assert [text.get_text() for text in ax.get_xticklabels()] == ["haiku", "sonnet", "fr$e$e"]
    assert ax.get_xticks().tolist() == [0, 1, 2]


def test_every_cell_of_a_nested_grid_is_in_its_block():
    """Axes 2 and 3 lay out blocks along x and y, axes 0 and 1 run within a block."""
    shape = BLOCKS.shape
    ax = viz.heatmap(view_of(BLOCKS, range(36)))
    for cell, (i, j, k, m) in enumerate(np.ndindex(shape)):
        assert drawn_at(ax, k * shape[0] + i + 0.5, m * shape[1] + j + 0.5) == cell / 36
    above, beside = (child for child in ax.child_axes if hasattr(child, "set_functions"))
    assert [text.get_text() for text in above.get_xticklabels()] == ["short", "long"]
    assert beside.get_ylabel() == "z"


def test_a_line_of_cells_around_points_is_cut_half_way():
    """On one axis, each place has the colour of the elite of the nearest centroid."""
    line = CVT(np.array([[0.8], [0.1], [0.5]]), (UNIT,))
    ax = viz.heatmap(view_of(line, [0, 1, 2]))
    for x in (0.01, 0.29, 0.31, 0.64, 0.66, 0.99):
        assert drawn_at(ax, x, 0.5) == np.abs(line.centroids[:, 0] - x).argmin() / 3


def test_polygons_have_the_colours_of_their_cells():
    """Cell i of a plane of centroids is polygon i, and empty cells are grey."""
    ax = viz.heatmap(view_of(POINTS, range(0, 30, 2)))
    cells = ax.collections[0]
    for i, centroid in enumerate(POINTS.centroids):
        assert cells.get_paths()[i].contains_point(centroid)
        assert (cells.get_array()[i] is np.ma.masked) == (i % 2 == 1)
    ax.figure.canvas.draw()
    assert tuple(cells.get_facecolor()[1]) == to_rgba(EMPTY)


CLOUDS = {
    "many": np.random.default_rng(0).uniform(0, 1, (60, 2)) * (1, 3),
    "one": np.array([[0.0, 0.0]]),
    "on the border and in the corners": np.array(
        [[0, 0], [1, 0], [1, 3], [0, 3], [0.5, 0], [0.5, 1.5]]
    ),
    "in a row": np.column_stack([np.linspace(0, 1, 7), np.linspace(0, 3, 7)]),
    "outside": np.array([[-5, 1], [0.4, 0.5], [0.5, 9], [2, 2]]),
    "twice": np.array([[0.2, 0.2], [0.8, 2.0], [0.2, 0.2], [0.8, 2.0]]),
    "on a lattice": np.stack(np.meshgrid([0.1, 0.5, 0.9], [0.5, 1.5, 2.5]), -1).reshape(-1, 2),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_the_plane_is_divided_among_the_nearest(name):
    """The polygons fill the box without overlap.

    Each place lies in the polygon of the first nearest centroid.
    """
    points, bounds = CLOUDS[name], np.array([(0, 1), (0, 3)])
    cells = voronoi(points, bounds)
    assert sum(map(area, cells)) == pytest.approx(3)
    places = np.random.default_rng(1).uniform(0, 1, (300, 2)) * (1, 3)
    nearest = np.linalg.norm(places[:, None] - points, axis=2).argmin(1)
    for cell in np.unique(nearest):
        assert (
            Outline(cells[cell]).contains_points(places[nearest == cell], radius=1e-9).all()
            or Outline(cells[cell]).contains_points(places[nearest == cell], radius=-1e-9).all()
        )


def area(polygon):
    x, y = polygon.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_of_equal_centroids_on_a_line_the_first_has_the_cell():
    """The second of two equal centroids has no place on the line."""
    edges, cells = intervals(np.array([0.5, 0.1, 0.5]), np.array(UNIT))
    assert edges.tolist() == [0, 0.3, 1] and cells.tolist() == [1, 0]


def test_other_values_replace_the_objective():
    """`values` are drawn as they are, nan as empty, between the given ends of the colours."""
    values = np.arange(30.0)
    values[7] = np.nan
    ax = viz.heatmap(view_of(PLANE, [2]), values=values, vmin=-1, vmax=50, colorbar=False)
    assert ax.collections[0].get_array().compressed().tolist() == [
        x for x in values.reshape(6, 5).T.ravel() if x == x
    ]
    assert ax.collections[0].get_clim() == (-1, 50)
    with pytest.raises(ValueError, match=r"30 cells, shape \(30,\), not \(29,\)"):
        viz.heatmap(view_of(PLANE, [2]), values=values[1:])


@pytest.mark.parametrize("archive", [MANY, SimpleNamespace(axes=2)])
def test_an_archive_without_a_map_is_refused_with_a_remedy(archive):
    """The message names the archive, and the function that can draw it."""
    with pytest.raises(ValueError, match=r"with [24] axes: use viz\.parallel"):
        viz.heatmap(SimpleNamespace(archive=archive, elites=MANY.init()))


def test_parallel_draws_a_line_through_each_descriptor():
    """The lines are the descriptors as shares of the bounds, the best last and so on top."""
    view = view_of(MANY, [4, 9, 20])
    lines = viz.parallel(view).collections[0]
    assert np.allclose(
        [segment[:, 1] for segment in lines.get_segments()], MANY.centroids[[4, 9, 20]]
    )
    assert lines.get_array().tolist() == [4 / 25, 9 / 25, 20 / 25]


def test_parallel_draws_an_archive_without_bounds():
    """Where the archive has neither bounds nor names, the axes end at the elites."""
    elites = Elites(np.array([1.0, 2.0]), np.array([[0.0, 5.0], [1.0, 5.0]]), np.arange(2))
    ax = viz.parallel(SimpleNamespace(archive=SimpleNamespace(axes=2), elites=elites))
    assert [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()] == [
        [0, 0.5],
        [1, 0.5],
    ]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["axis 0", "axis 1"]


def test_progress_draws_the_history_on_the_given_axes():
    """Each panel has its curve and its last value, with gaps where the value is unknown."""
    columns = history(8)
    columns["best"][:3] = (np.nan, -np.inf, 0.5)
    figure = Figure()
    axes = figure.subplots(4)
    assert viz.progress(view_of(PLANE, [], history=columns), axes) is figure
    for ax, name in zip(axes, ("coverage", "qd_score", "best", "parents"), strict=True):
        x, y = ax.lines[0].get_data()
        known = np.isfinite(columns[name])
        assert np.array_equal(x, columns["evaluations"])
        assert np.array_equal(y[known], columns[name][known])
        assert np.isnan(y[~known]).all()
    assert axes[0].get_title(loc="right") == "47.3%"
    with pytest.raises(ValueError, match="progress draws on 4 axes"):
        viz.progress(view_of(PLANE, []), axes[:2])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (11301.7, "11302"),
        (-58513.2, "-58513"),
        (0.00343, "0.00343"),
        (47.31, "47.31"),
        (2e12, "2e+12"),
    ],
)
def test_numbers_are_written_without_an_exponent_where_possible(value, text):
    """A number of five digits or more is written as a whole number, others with four digits."""
    assert format_number(value) == text


def test_histogram_and_profile_count_the_elites():
    """The bars add up to the elites; the profile falls from all of them to none."""
    view = partly_filled(PLANE)
    assert sum(bar.get_height() for bar in viz.histogram(view).patches) == 20
    x, y = viz.profile(view).lines[0].get_data()
    assert (y[0], y[-1]) == (20, 0) and x[0] == 1 / 30 and x[-1] == 29 / 30


def test_novelty_draws_passed_and_rejected_candidates_on_their_side_of_the_limit():
    """Every likeness is in a bar on its own side, passed ones left and rejected ones right.

    There is no line where no candidate was rejected.
    """
    axes, counts, limits = viz.novelty(novelty_view()).axes, (30, 200, 200), (1.0, 0.8, 0.9)
    for ax, count, limit in zip(axes, counts, limits, strict=True):
        left, right = ([bar for bar in bars if bar.get_height()] for bars in ax.containers)
        assert all(bar.get_x() >= limit - 1e-9 for bar in right)
        assert all(bar.get_x() + bar.get_width() <= limit + 1e-9 for bar in left)
        assert sum(bar.get_height() for bar in [*left, *right]) == count
        assert ax.lines[0].get_xdata()[0] == limit
    passed = [("cosine", -0.2, None), ("cosine", 1.0, None)]
    view = SimpleNamespace(ledger=SimpleNamespace(likenesses=lambda: passed))
    (ax,) = viz.novelty(view).axes
    assert sum(bar.get_height() for bar in ax.patches) == 2 and not ax.lines
    (ax,) = viz.novelty(SimpleNamespace(ledger=SimpleNamespace(likenesses=list))).axes
    assert ax.texts[0].get_text() == "no likeness was noted"


@pytest.mark.parametrize("last", [2.635983, 1e15, 0.0])
def test_objectives_that_differ_in_the_last_digit_are_drawn(last):
    """Record objectives may be equal to fifteen digits.

    All pictures of them are drawn.
    """
    objective = np.array([last, np.nextafter(last, 1e16), np.nextafter(last, -1e16), -np.inf])
    elites = Elites(objective, np.array([[0.1], [0.4], [0.6], [np.nan]]), np.arange(4))
    view = SimpleNamespace(archive=Grid((4,), (UNIT,)), elites=elites)
    axes = Figure().subplots(3)
    for draw, ax in zip((viz.histogram, viz.profile, viz.heatmap), axes, strict=True):
        draw(view, ax)
    axes[0].figure.canvas.draw()
    assert sum(bar.get_height() for bar in axes[0].patches) == 3


def test_best_is_drawn_by_the_domain():
    """The domain's `draw` gets the genome of the best elite and the axes to draw on."""
    view = view_of(PLANE, [3, 11], domain=Arrow())
    ax = viz.best(view)
    assert ax.lines[0].get_xydata()[1].tolist() == view.genome(11)[:2].tolist()
    assert ax.get_title(loc="left") == "best: 0.3667 at 0.417, 0.3"


def test_best_without_a_picture_is_a_row_of_numbers():
    """Where the domain draws nothing, numbers are bars."""
    ax = viz.best(view_of(PLANE, [3, 11], genome=lambda id: np.arange(4, 8) + id - 11))
    assert [bar.get_height() for bar in ax.patches] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    "genome", [HOSTILE, {"main.py": HOSTILE}, {"$a$": [1, "$\\x$"]}, b"\x00\xff" * 500, ["\ud800"]]
)
def test_a_hostile_text_is_drawn_as_plain_text(genome):
    """No genome is read as mathematics or TeX, breaks the picture, or leaves its axes."""
    ax = viz.best(view_of(FORMS, [8], genome=lambda id: genome))
    (page,) = ax.texts
    assert not page.get_parse_math() and not page.get_usetex() and page.get_clip_on()
    assert len(page.get_text().split("\n")) < 50 and len(page.get_text()) < 5000
    ax.figure.canvas.draw()


def test_printable_keeps_characters_that_can_be_drawn():
    """Lines, accents and dollars stay; other characters and control characters are replaced."""
    assert printable("é $x$\r\n\tb", ["sans-serif"]) == "é $x$\n    b"
    assert printable("a\x1b\u202e\ud800漢b", ["sans-serif"]) == "a����b"


def test_text_is_cut_to_its_room():
    """Lines are wrapped to the columns, and an ellipsis stands for the lines left out."""
    assert fit_text("one two three\n\n  four", 9, 9) == ["one two", "  three", "", "  four"]
    assert fit_text("a\nb\nc\nd", 9, 3) == ["a", "b", "…"]


def test_the_gallery_is_spread_over_the_archive():
    """It takes the best elite, then the farthest from all taken; the first cell wins a tie.

    It takes no elite twice.
    """
    view = view_of(Grid((5,), (UNIT,)), [0, 1, 2, 4])
    assert spread_cells(view, 1) == [4]
    assert spread_cells(view, 2) == [0, 4]
    assert spread_cells(view, 3) == [0, 2, 4]
    assert spread_cells(view, 9) == [0, 1, 2, 4]
    same = Elites(np.zeros(3), np.zeros((3, 1)), np.arange(3))
    assert spread_cells(SimpleNamespace(archive=None, elites=same), 2) == [0, 1]


def test_a_gallery_has_a_picture_for_each_elite():
    """Further panels stay empty, and each caption has the objective and the descriptor."""
    figure = viz.gallery(view_of(FORMS, [0, 8], domain=Arrow()), 2, 2)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "0 at haiku, 0.5",
        "0.8889 at fr$e$e, 25",
        "",
        "",
    ]
    assert [ax.axison for ax in figure.axes] == [True, True, False, False]


ON_AXES = [viz.heatmap, viz.parallel, viz.histogram, viz.profile, viz.best]


@pytest.mark.parametrize("draw", ON_AXES, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("occupied", [[], [4], range(30)], ids=["none", "one", "all"])
def test_a_picture_leaves_everything_else_alone(draw, occupied):
    """On given axes, a function returns them, opens no figure and changes no setting."""
    before, ax = dict(matplotlib.rcParams), Figure().add_subplot()
    assert draw(view_of(PLANE, occupied), ax) is ax
    ax.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
    assert ("no elites yet" in [text.get_text() for text in ax.texts]) == (len(occupied) == 0)


@pytest.mark.parametrize("archive", [BLOCKS, MANY], ids=["nested", "no map"])
def test_an_overview_of_any_archive(archive):
    """An archive of one elite and a history of one point is drawn, also where it has no map."""
    viz.overview(view_of(archive, [1], history=history(1))).canvas.draw()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        save(draw(), GOLDEN / f"{name}.png")


def test_a_map_of_a_deep_archive_has_the_best_of_each_cell():
    """The overview of a deep archive is drawn with one elite per cell, as for a plain one."""
    search = qdkit.Search(
        Points(), DeepGrid(Grid((5, 5), Points.bounds), 3), Jitter(), batch=16
    ).run(8, progress=False)
    plt.close(viz.overview(search))
    ax = viz.heatmap(search)
    count = ax.collections[0].get_array().count()
    assert count == search.summary()["occupied"] < np.asarray(search.elites.occupied).sum()
    plt.close(ax.figure)
