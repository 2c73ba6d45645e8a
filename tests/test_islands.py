"""Islands: separate populations over one geometry, and what happens between them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid, Islands, Migrate, Reset, Spawn
from qdkit.archives.islands import EVERYWHERE
from qdkit.core.elites import double

from .worlds import BOX, Chatter, Jitter, Points, Texts, search_of

GRID = Grid((3, 3), BOX)
KEY = jax.random.key(4)
RULES = [
    (),
    (Migrate(3, 0.3),),
    (Migrate(2, 0.5, "random"), Reset(5)),
    (Migrate(4), Spawn(3, "random"), Reset(7)),
]


def filled(islands, seed=0, n=40):
    """Candidates on all islands; those of island k have objectives between k and k + 1."""
    random = np.random.default_rng(seed)
    island, place = random.integers(islands.count, size=n), random.random((n, 2))
    objective = island + random.random(n)
    with double():
        elites, added = islands.add(
            islands.init(np.int32(0)), objective, place, np.arange(n, dtype=np.int32), island
        )
    return elites, added, island, place, objective


def after(change, key, elites, islands):
    with double():
        return change.change(key, elites, islands)


def by_island(islands, elites):
    return np.asarray(elites.objective).reshape(islands.count, -1)


def test_islands_are_independent():
    """Each is the archive that its own candidates alone would make."""
    islands = Islands(GRID, 4)
    elites, added, island, place, objective = filled(islands)
    assert (np.asarray(added.cell) // 9 == island).all()
    for k in range(4):
        mine = island == k
        with double():
            alone, _ = GRID.add(
                GRID.init(np.int32(0)), objective[mine], place[mine], np.flatnonzero(mine)
            )
        assert np.array_equal(by_island(islands, elites)[k], alone.objective)


def test_seeds_enter_all_islands_that_have_begun():
    """The status is the best of all islands, and the united elites have each candidate once."""
    islands = Islands(GRID, 4, begin=3)
    elites, _, *_ = filled(Islands(GRID, 4), n=8)
    with double():
        later, added = islands.add(
            elites, [9.0, np.nan], [[0.5, 0.5], [0.1, 0.1]], np.int32([77, 78]), [EVERYWHERE] * 2
        )
        assert np.asarray(added.status).tolist()[1] == 0 and np.asarray(added.status)[0] > 0
    stored = np.asarray(later.payload).reshape(4, 9)
    assert (
        (stored[:3] == 77).any(1).all()
        and not (stored[3] == 77).any()
        and not (stored == 78).any()
    )


def test_united_elites_are_the_best_of_all_islands():
    """Coverage and QD score count a kind once: equal to one archive of all candidates."""
    islands = Islands(GRID, 5)
    elites, _, _, place, objective = filled(islands, n=60)
    with double():
        one, _ = GRID.add(GRID.init(np.int32(0)), objective, place, np.arange(60, dtype=np.int32))
    united = islands.united(elites)
    assert np.array_equal(united.objective, one.objective) and np.array_equal(
        united.payload, one.payload
    )


@pytest.mark.parametrize("by", ["ring", "random"])
def test_migrants_are_copies_that_replace_worse_elites(by):
    """No elite leaves or gets worse, and arrivals are copies from the same cell elsewhere."""
    islands = Islands(GRID, 4)
    before, *_ = filled(islands)
    for seed in range(10):
        later = after(Migrate(1, 0.5, by), jax.random.key(seed), before, 4)
        old, new = by_island(islands, before), by_island(islands, later)
        assert (new >= old).all() and (new > old).any()
        for island, cell in zip(*np.nonzero(new > old), strict=True):
            source = (
                (island - 1) % 4
                if by == "ring"
                else next(k for k in range(4) if old[k, cell] == new[island, cell])
            )
            assert old[source, cell] == new[island, cell] and source != island
    few = after(Migrate(1, 1e-9, by), KEY, before, 4)
    sent = np.isin(by_island(islands, few), by_island(islands, before)).all()
    assert sent, "even of the smallest share one elite is drawn, and nothing new appears"


def test_the_weaker_half_restarts_from_the_better_half():
    """Two of four are emptied, and then have one elite, the best of an island that stayed."""
    islands = Islands(GRID, 4)
    before, *_ = filled(islands)
    later = by_island(islands, after(Reset(1), KEY, before, 4))
    old = by_island(islands, before)
    assert np.array_equal(later[2:], old[2:])
    assert np.isfinite(later[:2]).sum(1).tolist() == [1, 1]
    assert set(later[:2].max(1)) <= {old[2].max(), old[3].max()}
    alone, *_ = filled(Islands(GRID, 1))
    assert np.array_equal(after(Reset(1), KEY, alone, 1).objective, alone.objective)


@pytest.mark.parametrize("founder", ["best", "random"])
def test_an_empty_island_begins_after_stagnation(founder):
    """The next one, with a copy of an elite; and nothing happens when all have begun."""
    islands = Islands(GRID, 3, begin=1)
    with double():
        random = np.random.default_rng(0)
        elites, _ = islands.add(
            islands.init(np.int32(0)), random.random(20), random.random((20, 2)), np.arange(20), 0
        )
    spawn = Spawn(5, founder)
    assert [s for s in range(12) if spawn.due(30, s)] == [5, 10]
    for lived in (2, 3, 3):
        elites = after(spawn, KEY, elites, 3)
        stored = by_island(islands, elites)
        assert np.isfinite(stored).any(1).sum() == lived
        if founder == "best":
            assert (stored.max(1)[:lived] == stored[0].max()).all()
    assert np.isfinite(by_island(islands, elites)[1:]).sum() == 2


@pytest.mark.parametrize("changes", RULES, ids=repr)
@pytest.mark.parametrize("numeric", [True, False])
def test_a_search_over_islands_is_loaded_and_resumed(changes, numeric, tmp_path):
    """A loaded run has the same elites, and one that is gone on with comes to the same end."""
    domain, grid = (
        (Points(), Grid((4, 4), BOX)) if numeric else (Texts(), Grid((5, 4), Texts.bounds))
    )
    archive = lambda: Islands(
        grid, 3, 1 if any(isinstance(c, Spawn) for c in changes) else None, changes
    )
    make = lambda name, **more: search_of(
        domain,
        archive(),
        Jitter() if numeric else Chatter(),
        batch=4,
        seed=2,
        run=tmp_path / name,
        **more,
    )
    with make("whole") as whole:
        whole.run(24, progress=False)
    with make("broken") as broken:
        for i, _ in enumerate(broken.steps(24)):
            if i == 10:
                break
    with make("broken", resume=True) as broken:
        broken.run(24 - len(broken.commits), progress=False)
        assert broken.commits[-1].untimed == whole.commits[-1].untimed
    opened = qdkit.load(tmp_path / "whole")
    assert opened.archive.count == 3 and opened.archive.changes == changes
    for name in ("objective", "descriptor"):
        assert np.array_equal(
            getattr(opened.elites, name), getattr(whole.elites, name), equal_nan=True
        )
    assert np.array_equal(opened.elites.payload["id"], whole.elites.payload["id"])
    assert (
        len(opened.pool) == opened.summary()["occupied"]
        and opened.summary()["cells"] == grid.cells
    )


def test_islands_take_turns_and_breed_apart():
    """Without changes, candidates are on the island of their parents, equally many on each."""
    search = qdkit.Search(
        Points(), Islands(Grid((4, 4), BOX), 3, changes=()), Jitter(), batch=6, seed=1
    )
    home = {}
    for batch in search.steps(15):
        cells = {
            int(id): set(np.flatnonzero(np.asarray(search._loop.elites.payload["id"]) == id) // 16)
            for id in batch.id
        }
        for candidate in batch:
            if candidate.origin != "seed" and cells[candidate.id]:
                home[candidate.id] = cells[candidate.id]
                grown = [home[p] for p in candidate.parents if p in home]
                assert all(cells[candidate.id] <= islands for islands in grown)
    assert all(len(islands) == 1 for islands in home.values())


def test_a_map_of_islands_has_the_cells_of_their_geometry():
    """Drawn as the united archive is, with the same number of cells."""
    from matplotlib import pyplot

    from qdkit import viz

    search = qdkit.Search(Points(), Islands(Grid((4, 4), BOX), 3), Jitter(), batch=8).run(
        5, progress=False
    )
    pyplot.close(viz.overview(search))
    assert (
        len(search.elites.objective) == 16
        and search.history["coverage"][-1] == search.elites.occupied.mean()
    )


def test_invalid_settings_are_refused_with_a_reason():
    """The error says which values are valid."""
    for make, message in (
        (lambda: Islands(GRID, 0), "count is 0: a whole number from 1"),
        (lambda: Islands(GRID, 2, begin=3), "begin"),
        (lambda: Migrate(0), "every is 0: a whole number from 1"),
        (lambda: Migrate(by="star"), "ring"),
        (lambda: Reset(0), "every is 0: a whole number from 1"),
        (lambda: Spawn(0), "after is 0: a whole number from 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
