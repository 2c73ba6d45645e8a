"""The robot in the maze: its motion, its rays and bumpers, and its walls."""

from __future__ import annotations

from itertools import pairwise

import jax
import numpy as np
import pytest

from qdkit.archives import Grid
from qdkit.domains import Maze
from qdkit.domains.maze import (
    RADIUS,
    SIGHT,
    SPEED,
    START,
    WALLS,
    picture_of_places,
    rays,
    simulate,
)
from qdkit.operators import Gaussian
from qdkit.testing import check_domain
from tests.worlds import search_of

WEIGHTS = 66


def steered(left, right):
    """A genome whose wheels roll these shares of their full speed, whatever it sees."""
    genome = np.zeros((1, WEIGHTS), np.float32)
    genome[0, -2:] = np.arctanh([left, right])
    return genome


def crosses(a, b, wall):
    """Whether the way from a to b meets a wall."""
    side = lambda p, q, r: np.cross(np.append(q - p, 0), np.append(r - p, 0))[2] > 0
    c, d = wall
    return side(a, c, d) != side(b, c, d) and side(a, b, c) != side(a, b, d)


def test_it_goes_straight_until_a_wall_stops_it():
    """At half speed upwards from the start: a step is half of SPEED, and it stops at the wall."""
    objective, path = simulate(steered(0.5, 0.5), 10)
    steps = np.arange(1, 11) * SPEED / 2
    np.testing.assert_allclose(path[0], np.stack([np.full(10, 0.15), 0.15 + steps], 1), atol=1e-6)
    assert objective[0] == pytest.approx(100 * (0.3 - 10 * 2 * (SPEED / 2) ** 2) / 0.3)
    end = np.asarray(simulate(steered(0.5, 0.5), 100)[1])[0, -1]
    assert end[0] == pytest.approx(0.15) and 0.3 < end[1] < 0.78


def test_it_turns_on_the_spot_and_along_a_circle():
    """Opposite wheels change nothing but the angle; one wheel alone goes around the other."""
    spin = np.asarray(simulate(steered(0.5, -0.5), 20)[1])[0]
    np.testing.assert_allclose(spin, np.tile(START[:2], (20, 1)), atol=1e-6)
    circle = np.asarray(simulate(steered(0.0, 0.5), 20)[1])[0]
    centre = np.array(START[:2]) - [RADIUS, 0]
    np.testing.assert_allclose(np.linalg.norm(circle - centre, axis=1), RADIUS, atol=1e-6)


def test_a_robot_at_rest_has_100_and_one_at_full_speed_the_floor():
    """The objective is the effort, between these two."""
    maze = Maze()
    stays, hurries = (
        simulate(steered(0, 0), 250)[0][0],
        simulate(steered(0.99999, 0.99999), 250)[0][0],
    )
    assert stays == 100 and hurries == pytest.approx(maze.floor, abs=0.01)
    assert Maze(steps=1).floor == 0


@pytest.mark.parametrize("seed", range(3))
def test_it_passes_no_wall(seed):
    """No step of 200 networks with large weights meets a wall or comes nearer than the radius."""
    genomes = 10 * Maze().seeds(jax.random.key(seed), 200)
    path = np.asarray(simulate(genomes, 250)[1], float)
    begin, edge = WALLS[:, 0], WALLS[:, 1] - WALLS[:, 0]
    share = (((path[:, :, None] - begin) * edge).sum(-1) / (edge**2).sum(1)).clip(0, 1)
    away = np.linalg.norm(begin + share[..., None] * edge - path[:, :, None], axis=-1)
    assert away.min() > RADIUS - 1e-5
    assert ((path > 0) & (path < 1)).all()
    assert len(np.unique(path[:, -1].round(2), axis=0)) > 10, "they hardly move"
    far = np.concatenate([np.tile(START[:2], (200, 1, 1)), path], 1)
    assert not any(
        crosses(a, b, wall) for way in far[:20] for a, b in pairwise(way) for wall in WALLS
    )


def test_its_rays_see_the_walls():
    """At the start: nothing ahead and to the left, the end of the middle wall to the right.

    Then close to a wall.
    """
    x, y, angle = START
    right, ahead, left = np.asarray(rays(np.array([x, y]), angle))
    assert (ahead, left) == pytest.approx((SIGHT, SIGHT))
    assert right == pytest.approx(0.1 * np.sqrt(2), abs=1e-5) or right == pytest.approx(SIGHT)
    np.testing.assert_allclose(rays(np.array([0.15, 0.15]), np.pi)[1], 0.15, atol=1e-6)
    np.testing.assert_allclose(rays(np.array([0.2, 0.5]), 0.0)[1], 0.05, atol=1e-6)


def test_the_bumper_on_the_side_of_the_wall_is_pressed():
    """A robot that turns when a bumper is pressed leaves the wall again."""
    genome = steered(0.5, 0.5)
    genome[0, 4 * 8 - 8] = 1.0  # from the left bumper to the first hidden unit
    genome[0, 40] = 0.0
    genome[0, 48:50] = [2.0, -2.0]  # which makes it turn
    stuck, turned = (np.asarray(simulate(g, 250)[1])[0, -1] for g in (steered(0.5, 0.5), genome))
    assert np.linalg.norm(stuck - turned) > 0.05


def test_features_are_the_path_or_a_picture_of_its_end():
    """All x then all y; or a spot that is brightest where the robot is."""
    genomes = Maze().seeds(jax.random.key(0), 3)
    path = np.asarray(simulate(genomes, 250)[1])
    found = Maze(see="path").evaluate(genomes)
    np.testing.assert_array_equal(
        found.features[1], np.concatenate([path[1, :, 0], path[1, :, 1]])
    )
    np.testing.assert_array_equal(Maze().evaluate(genomes).descriptor, path[:, -1])
    picture = np.asarray(Maze(see="picture").evaluate(genomes).features).reshape(3, 16, 16)
    for spot, (x, y) in zip(picture, path[:, -1], strict=True):
        assert np.unravel_index(spot.argmax(), (16, 16)) == (int(y * 16), int(x * 16))
    assert picture.max() <= 1 and np.asarray(
        picture_of_places(np.zeros((1, 2), np.float32))
    ).shape == (1, 256)


def test_it_is_searched_compiled_and_plain_and_drawn():
    """As a domain of numbers like any; its picture shows walls and path."""
    maze = Maze(steps=50)
    check_domain(maze)
    settings = {"batch": 32, "seed": 1}
    grid = Grid((10, 10), maze.bounds)
    plain = search_of(maze, grid, Gaussian(0.2), **settings).run(5, progress=False)
    compiled = search_of(maze, grid, Gaussian(0.2), **settings, compiled=True).run(
        5, progress=False
    )
    assert plain.summary()["occupied"] > 2 and compiled.summary()["occupied"] > 2
    from matplotlib.figure import Figure

    ax = maze.draw(plain.best.genome, Figure().add_subplot())
    assert len(ax.lines) == len(WALLS) + 1


def test_wrong_settings_are_refused():
    """At the door."""
    for settings, why in (({"steps": 0}, "steps is 0"), ({"see": "sound"}, "not 'sound'")):
        with pytest.raises(ValueError, match=why):
            Maze(**settings)
