"""Searches do not share the state of their parts: each search starts as if they were new."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import threading
from dataclasses import dataclass, field, replace

import jax
import numpy as np
import pytest

import qdkit
from qdkit import Lessons, Search
from qdkit.archives import Grid, Thresholds
from qdkit.axes import AutoencoderAxes, PrincipalAxes, TaxonsAxes, TripletAxes
from qdkit.axes.triplet_questions import TripletQuestions
from qdkit.comparing.baselines import Chain, Independent, Multistart
from qdkit.core.fresh_copies import copy_parts
from qdkit.core.types import Operator
from qdkit.domains import Sphere
from qdkit.domains.words import Respell
from qdkit.novelty import Cascade, Distinct, EditDistance, EmbeddingDistance, NoveltyJudge, Rouge
from qdkit.operators import (
    LMX,
    CutUp,
    Emitter,
    Evolution,
    FewShot,
    Gaussian,
    GradientArborescence,
    IsoLine,
    NoveltySearch,
    Polish,
    Portfolio,
    Repair,
    Replace,
    Rewarded,
    Rewrite,
    Steered,
    Syntax,
    TwoPhase,
    cma_mae,
    cma_me,
    gaussian_shake,
)
from qdkit.selection.bandits import EXP3, UCB, Thompson, UCBTuned
from qdkit.selection.parents import Annealed, Curious, Weighted
from tests.worlds import BOX, Chatter, Points, Texts, search_of

SPHERE = Sphere(3)
ROOMS = (
    "operators",
    "novelty",
    "comparing.baselines",
    "selection.lessons",
    "axes",
    "domains",
    "selection.parents",
    "selection.bandits",
    "feedback",
)


def numbers(operator, archive=None, **settings):
    archive = archive or Grid((6, 6), SPHERE.bounds)
    return {
        "domain": SPHERE,
        "archive": archive,
        "operator": operator,
        "batch": operator.size or 6,
        **settings,
    }


def words(operator=None, **settings):
    operator = operator or Chatter()
    return {
        "domain": Texts(),
        "archive": Grid((8, 5), Texts.bounds),
        "operator": operator,
        "batch": 3,
        **settings,
    }


def echo(prompt):
    """A model without state: it answers with some letters of the prompt."""
    return f"a {prompt[-60:].strip()[:40][::-1]} sea"


def same(prompt):
    return "yes" if len(prompt) % 2 else "no"


@dataclass(frozen=True)
class Programs:
    """Programs of one file; those with an even number of characters fail."""

    bounds = ((0, 200), (0, 20))

    def seeds(self, key, n):
        return [{"solve.py": f"def solve():\n    return {i}\n"} for i in range(min(n, 3))]

    def evaluate(self, genomes):
        sizes = [len(genome["solve.py"]) for genome in genomes]
        found = [
            (size % 200, genome["solve.py"].count("+"))
            for size, genome in zip(sizes, genomes, strict=True)
        ]
        outcome = ["failed" if size % 2 else "ok" for size in sizes]
        return qdkit.Evaluation([float(size) for size in sizes], found, outcome=outcome)


def programs(operator, **settings):
    return {
        "domain": Programs(),
        "archive": Grid((8, 5), Programs.bounds),
        "operator": operator,
        "batch": 2,
    } | settings


def patch(prompt):
    return f"```python\ndef solve():\n    return {len(prompt)} + {prompt.count('1')}\n```"


def two_phase():
    explore = NoveltySearch(4, 2, neighbours=3, sigma=0.3)
    return numbers(TwoPhase(explore, Rewarded(explore), chunk=12), judge=near_the_middle)


def near_the_middle(key, batch):
    return np.where(np.abs(batch.features[:, 0]) < 2, 1.0 + batch.features[:, 1], 0.0)


def emitter(archive, seed):
    from ribs.emitters import GaussianEmitter

    return GaussianEmitter(archive, sigma=0.2, x0=[0.0] * 3, batch_size=6, seed=seed)


def answer(question, three, number):
    return 1 + number % 2


def steps():
    return [Gaussian(0.1, name="small"), Gaussian(2.0, name="large")]


def bandit(rule):
    return lambda: numbers(Portfolio(steps(), bandit=rule))


def learning(axes, **settings):
    unit = Grid((5, 5), ((0.0, 1.0), (0.0, 1.0)))
    return numbers(IsoLine(0.2, 0.2), unit, axes=axes, **settings)


# The settings of a search, made for each case, in which the named part has state.
PARTS = {
    "Gaussian": lambda: numbers(Gaussian(0.3)),
    "IsoLine": lambda: numbers(IsoLine(0.2, 0.2)),
    "Curious": lambda: numbers(IsoLine(0.2, 0.2), parents=Curious()),
    "Polish": lambda: numbers(Polish(lambda x: 0.9 * x, gaussian_shake(0.3))),
    "Evolution": lambda: numbers(Evolution(emitters=2, batch=3)),
    "cma_mae": lambda: numbers(
        cma_mae(emitters=2, batch=3), Thresholds(Grid((6, 6), SPHERE.bounds))
    ),
    "GradientArborescence": lambda: numbers(GradientArborescence(SPHERE, batch=6)),
    "Emitter": lambda: numbers(Emitter(emitter, 3, SPHERE.bounds)),
    "cma_me": lambda: numbers(cma_me(3, SPHERE.bounds, batch=6, emitters=2)),
    "Portfolio": lambda: numbers(Portfolio(steps(), [1, 5]), batch=1),
    "UCB": bandit(UCB()),
    "UCBTuned": bandit(UCBTuned(window=9)),
    "Thompson": bandit(Thompson()),
    "EXP3": bandit(EXP3()),
    "Steered": lambda: numbers(Steered(Evolution(emitters=2, batch=3), Weighted())),
    "NoveltySearch": lambda: numbers(NoveltySearch(4, 2, neighbours=3, sigma=0.3)),
    "Rewarded": two_phase,
    "TwoPhase": two_phase,
    "Independent": lambda: numbers(Independent(IsoLine(0.2, 0.2))),
    "Chain": lambda: numbers(Chain(Gaussian(0.3))),
    "Multistart": lambda: numbers(Multistart(Gaussian(0.3), SPHERE)),
    "TripletAxes": lambda: learning(
        TripletAxes(each=2), replies=TripletQuestions(answer, 4, at=(1, 3))
    ),
    "TaxonsAxes": lambda: learning(TaxonsAxes(chunk=6)),
    "AutoencoderAxes": lambda: learning(AutoencoderAxes(at=(1, 3), steps=3)),
    "PrincipalAxes": lambda: learning(PrincipalAxes(at=(1, 3))),
    "Annealed": lambda: numbers(IsoLine(0.2, 0.2), parents=Annealed(Weighted())),
    "CutUp": lambda: words(CutUp()),
    "Rewrite": lambda: words(Rewrite(echo, "Another text than {genome}")),
    "FewShot": lambda: words(FewShot(echo, "A text:", shuffled=True), novelty=None),
    "LMX": lambda: words(LMX(echo, "A text:", start=4), novelty=None),
    "Replace": lambda: words(Replace(echo, "A text:", start=4), novelty=None),
    "Repair": lambda: programs(Portfolio([Repair(patch, "count", name="mend")]), novelty=None),
    "Syntax": lambda: programs(Syntax()),
    "Distinct": lambda: words(novelty=Distinct(str.strip)),
    "EditDistance": lambda: words(novelty=EditDistance(0.8)),
    "Rouge": lambda: words(novelty=Rouge(0.8)),
    "EmbeddingDistance": lambda: words(novelty=EmbeddingDistance(cosine=0.95)),
    "NoveltyJudge": lambda: words(novelty=NoveltyJudge(same, EditDistance(0.5))),
    "Cascade": lambda: words(novelty=Cascade([Distinct(), EditDistance(0.9)])),
    "Lessons": lambda: words(Rewrite(echo, "{lessons}\n{genome}"), lessons=Lessons(every=4)),
    "Respell": lambda: words(Respell()),
}
# Classes that have no state of their own, and the class whose case covers them.
ALIKE = {
    "Patch": "Repair",
    "Full": "Repair",
    "Cross": "Repair",
    "Edit": "Repair",
    "Several": "FewShot",
    "Crossover": "FewShot",
    "Directional": "FewShot",
    "Guided": "FewShot",
    "BatchAllocation": "UCB",
    "NoiseTurn": "NoveltySearch",
    "PortfolioTurn": "Portfolio",
    "Sketch": "CutUp",
    "Redraw": "Rewrite",
    "Phrases": "CutUp",
    "Rework": "Rewrite",
    "Blind": "Chain",
    "Writing": "FewShot",
    "Pure": "Evolution",
}


def learning_classes():
    """The names of the concrete classes of the package that learn."""
    for room in ROOMS:
        top = importlib.import_module(f"qdkit.{room}")
        names = [
            info.name
            for info in pkgutil.walk_packages(getattr(top, "__path__", ()), f"{top.__name__}.")
        ]
        for module in [top, *map(importlib.import_module, names)]:
            for name, kind in vars(module).items():
                mine = inspect.isclass(kind) and kind.__module__.startswith(f"qdkit.{room}")
                if (
                    mine
                    and not name.startswith("_")
                    and (issubclass(kind, Operator) or hasattr(kind, "learn"))
                ):
                    yield name


def test_every_part_that_learns_is_in_these_tests():
    """A new class needs a search here."""
    assert sorted({*learning_classes()} - {*PARTS} - {*ALIKE}) == []
    assert {*ALIKE.values()} <= {*PARTS}


def run_search(settings, steps=4, **more):
    with search_of(**{**settings, **more}) as search:
        search.run(steps, progress=False)
        elites = jax.tree.leaves(search.elites)
        return search.ledger.dump(), [np.asarray(column).tobytes() for column in elites]


class Breaks:
    """A domain whose second evaluation is interrupted by Ctrl-C, or fails."""

    def __init__(self, domain, error):
        self.domain, self.error, self.calls = domain, error, 0

    def __getattr__(self, name):
        if name.startswith("__") or name == "domain":
            raise AttributeError(name)
        return getattr(self.domain, name)

    def seeds(self, key, n):
        return self.domain.seeds(key, n)

    def evaluate(self, genomes):
        self.calls += 1
        if self.calls == 2:
            raise self.error
        return self.domain.evaluate(genomes)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_part_starts_each_search_without_state(part):
    """After a finished and an interrupted search the run is equal to one with a new part."""
    used = PARTS[part]()
    run_search(used, seed=1)
    settings = {**used, "domain": Breaks(used["domain"], KeyboardInterrupt()), "seed": 2}
    with search_of(**settings) as broken, pytest.raises(KeyboardInterrupt):
        broken.run(9, progress=False)
    assert run_search(used, seed=3) == run_search(PARTS[part](), seed=3)


@pytest.mark.parametrize("part", ["Evolution", "cma_mae", "GradientArborescence", "IsoLine"])
def test_a_part_starts_each_compiled_search_without_state(part):
    """Before and after an ordinary search."""
    used = PARTS[part]()
    run_search(used, seed=1, compiled=True)
    run_search(used, seed=1)
    assert (
        run_search(used, seed=2, compiled=True)[1]
        == run_search(PARTS[part](), seed=2, compiled=True)[1]
    )
    assert run_search(used, seed=3) == run_search(PARTS[part](), seed=3)


@pytest.mark.parametrize("part", ["Repair", "Replace", "Lessons", "Cascade", "UCB", "TwoPhase"])
def test_a_part_starts_each_search_without_state_with_many_steps_in_flight(part):
    used = PARTS[part]()
    run_search(used, seed=1, in_flight=2)
    assert run_search(used, seed=2, in_flight=2) == run_search(PARTS[part](), seed=2, in_flight=2)


@pytest.mark.parametrize(
    "part",
    ["Evolution", "Emitter", "TwoPhase", "UCB", "Lessons", "Cascade", "Repair", "TaxonsAxes"],
)
def test_a_run_resumes_with_the_object_that_started_it(part, run_folder):
    """In one process, like a cell of a notebook that runs again after Ctrl-C."""
    used = PARTS[part]()
    run_search(used, steps=3, seed=5, run=run_folder)
    assert (
        run_search(used, steps=2, seed=5, run=run_folder, resume=True)[1]
        == run_search(PARTS[part](), steps=5, seed=5)[1]
    )


def test_a_search_after_an_interrupted_one_with_the_same_operator_is_accepted():
    """Ctrl-C interrupts an evaluation, and a new search has the same strategy."""
    settings = numbers(Evolution(emitters=2, batch=3))
    broken = settings | {"domain": Breaks(SPHERE, KeyboardInterrupt())}
    with search_of(**broken) as search, pytest.raises(KeyboardInterrupt):
        search.run(5, progress=False)
    with search_of(**settings) as search:
        assert len(search.run(3, progress=False).commits) == 3


@pytest.mark.parametrize(
    "wrap", [lambda x: Portfolio([x]), lambda x: Steered(x, Weighted()), Independent, Chain]
)
def test_a_wrapped_part_starts_without_state(wrap):
    inner = Evolution(emitters=2, batch=3)
    used = numbers(wrap(inner))
    run_search(used, seed=1)
    assert run_search(used, seed=2) == run_search(
        numbers(wrap(Evolution(emitters=2, batch=3))), seed=2
    )
    assert run_search(numbers(wrap(inner)), seed=2) == run_search(
        numbers(wrap(Evolution(emitters=2, batch=3))), seed=2
    )


@pytest.mark.parametrize(
    "part", ["Evolution", "TwoPhase", "NoveltySearch", "UCB", "Replace", "Lessons", "Cascade"]
)
def test_the_parts_of_an_earlier_search_start_without_state_too(part):
    """`search.operator` of an earlier search is replaced by its original."""
    with search_of(**PARTS[part]()) as first:
        first.run(4, progress=False)
        found = {name: getattr(first, name) for name in ("domain", "operator", "axes", "judge")}
        steering = {
            name: getattr(first.steering, name) for name in ("novelty", "lessons", "parents")
        }
        again = {**PARTS[part](), **found, **steering}
        assert run_search(again, seed=2) == run_search(PARTS[part](), seed=2)
    inner = {**PARTS[part](), "operator": Portfolio([first.operator])}
    assert run_search(inner, seed=2) == run_search(
        {**inner, "operator": Portfolio([PARTS[part]()["operator"]])}, seed=2
    )


def test_two_searches_at_once_share_nothing():
    """The steps of two searches with one object alternate."""
    used = numbers(Evolution(emitters=2, batch=3))
    with search_of(**used, seed=1) as one, search_of(**used, seed=2) as two:
        for _ in zip(one.steps(4), two.steps(4), strict=True):
            pass
        dumps = one.ledger.dump(), two.ledger.dump()
    alone = [run_search(numbers(Evolution(emitters=2, batch=3)), seed=seed)[0] for seed in (1, 2)]
    assert [dump.replace('"goal", [4', '"goal", [4') for dump in dumps] == alone


def test_copies_share_what_their_originals_share():
    """`explore` receives what `exploit` made, and the search's domain is that of its operator."""
    settings = two_phase()
    with search_of(**settings) as search:
        assert (
            search.operator.exploit.explore
            is search.operator.explore
            is not settings["operator"].explore
        )
    domain = Points()
    with Search(domain, Grid((5, 5), BOX), Multistart(Gaussian(0.1), domain)) as search:
        assert search.operator.domain is search.domain is not domain


# Parts that users write as plain classes.


class Counts(Operator):
    """An operator with state of every kind that a plain class can have."""

    name = "counts"

    def __init__(self):
        self.turns, self.random, self.memory = (
            0,
            np.random.default_rng(7),
            {"ids": [], "last": None},
        )
        self.lock = threading.Lock()

    def turn(self, n):
        self.turns += 1
        return self

    def propose(self, key, context, n):
        with self.lock:
            size = 0.01 * self.turns * (1 + len(self.memory["ids"]))
            noise = self.random.normal(0, size, context.parents.genome.shape)
        return qdkit.Proposal.of(
            np.clip(context.parents.genome + noise, 0, 1), self.name, context.parents
        )

    def learn(self, batch, added):
        self.memory["ids"] += batch.id.tolist()


class Slotted(Operator):
    """An operator without a `__dict__`."""

    __slots__ = ("step",)
    name = "slotted"

    def __init__(self):
        self.step = 0.0

    def propose(self, key, context, n):
        return qdkit.Proposal.of(
            np.clip(context.parents.genome + self.step, 0, 1), self.name, context.parents
        )

    def learn(self, batch, added):
        self.step += 0.01


@dataclass(frozen=True)
class Tires:
    """A frozen domain whose objectives fall with every call."""

    asked: list[int] = field(default_factory=list)
    lock: object = field(default_factory=threading.RLock)
    bounds = BOX

    def seeds(self, key, n):
        return Points().seeds(key, n)

    def evaluate(self, genomes):
        with self.lock:
            self.asked.append(len(genomes))
        return qdkit.Evaluation(genomes.sum(1) - len(self.asked), genomes)


class Stern:
    """A judge whose values fall with every batch, and axes that drift."""

    marks = 0

    def __call__(self, key, batch):
        self.marks += 1
        return batch.objective - self.marks

    def axes(self, batch):
        self.marks += 1
        return batch.features / (1 + 0.01 * self.marks)


class Every:
    """A filter that rejects every third candidate."""

    def __init__(self):
        self.known = 0

    def new(self, batch, before):
        return (np.arange(len(batch)) + self.known) % 3 > 0

    def learn(self, batch):
        self.known += 1


class Grows:
    """A person who answers one more question each time, without a store."""

    def __init__(self):
        self.asked = 0

    def ask(self, key, known, axes, replies, take):
        self.asked += 1
        return TripletQuestions(answer, self.asked, at=(known.steps,)).ask(
            key, known, axes, replies, take
        )


def test_the_person_that_axes_ask_starts_without_state_and_a_store_is_shared():
    used = learning(TripletAxes(each=2), replies=Grows())
    run_search(used, seed=1)
    assert run_search(used, seed=2) == run_search(
        learning(TripletAxes(each=2), replies=Grows()), seed=2
    )

    class Store:
        def __init__(self):
            self.looks = 0

        def since(self, number):
            self.looks += 1
            return []

    store = Store()
    run_search(learning(TripletAxes(each=2), replies=store))
    assert store.looks == 4


class Talks:
    """A model that counts its questions; searches share it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, prompt):
        self.calls += 1
        return echo(prompt)


def own(operator=None, **settings):
    return {
        "domain": Points(),
        "archive": Grid((5, 5), BOX),
        "operator": operator or Gaussian(0.1),
    } | settings


@pytest.mark.parametrize(
    "settings",
    [
        lambda: own(Counts()),
        lambda: own(Slotted()),
        lambda: own(domain=Tires()),
        lambda: own(judge=Stern()),
        lambda: own(axes=Stern().axes),
        lambda: own(novelty=Every()),
        lambda: own(
            Portfolio([Counts(), Slotted()]), domain=Tires(), judge=Stern(), novelty=Every()
        ),
    ],
)
def test_the_parts_of_users_start_without_state(settings):
    """Counters, generators, containers, locks, slots, frozen classes and bound methods."""
    used = {**settings(), "batch": 4}
    run_search(used, seed=1)
    assert run_search(used, seed=2) == run_search({**settings(), "batch": 4}, seed=2)


def test_searches_share_a_model():
    """A model is a connection to the outside, and all calls of it count together."""
    model = Talks()
    with search_of(**words(Rewrite(model, "{genome}"))) as search:
        search.run(2, progress=False)
        assert search.operator.ask is model
    assert model.calls == 3


@pytest.fixture
def taken_folder(run_folder):
    with search_of(**own(run=run_folder)) as search:
        search.run(1, progress=False)
    return run_folder


class Handle:
    """A domain that holds an object that cannot be copied."""

    bounds = BOX

    def __init__(self):
        self.numbers = iter(x for x in range(1000))

    def seeds(self, key, n):
        return Points().seeds(key, n)

    def evaluate(self, genomes):
        return qdkit.Evaluation(genomes.sum(1) + next(self.numbers), genomes)


def test_a_part_that_cannot_be_copied_serves_one_search(taken_folder):
    """A second search is refused with the mend, unless the class has its own `__deepcopy__`."""
    domain = Handle()
    run_search(own(domain=domain, batch=4))
    with pytest.raises(
        ValueError, match=r"the domain holds a Handle that an earlier search .* `__deepcopy__"
    ):
        search_of(**own(domain=domain))
    with pytest.raises(ValueError, match="make a new one for each search"):
        search_of(**own(Multistart(Gaussian(0.1), domain)))
    with pytest.raises(ValueError, match="make a new one"):
        search_of(**own(Gaussian(0.1), domain=Breaks(domain, ValueError())))
    run_search(own(domain=Handle(), batch=4))

    spared = Handle()
    for refused in ({"seed": 1.5}, {"batch": 0}, {"run": taken_folder}):
        with pytest.raises((TypeError, ValueError, FileExistsError)):
            search_of(**own(domain=spared) | refused)
    run_search(own(domain=spared, batch=4))  # no method has been called until now

    class Renewed(Handle):
        def __deepcopy__(self, memo):
            return Renewed()

    used = own(domain=Renewed(), batch=4)
    assert run_search(used, seed=1) == run_search(used, seed=1)


class Delegates(Operator):
    """Delegates all attributes to another operator."""

    def __init__(self, inner):
        self.inner = inner
        self.name = inner.name

    def __getattr__(self, name):
        return (
            getattr(vars(self)["inner"], name)
            if "inner" in vars(self)
            else object.__getattribute__(self, name)
        )

    def turn(self, n):
        return self.inner.turn(n)

    def propose(self, key, context, n):
        raise TypeError("a turn does")

    def learn(self, batch, added):
        self.inner.learn(batch, added)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: Portfolio([x])])
def test_a_part_that_delegates_its_copying_counts_as_not_copyable(wrap):
    """Its copy would be a copy of the wrapped operator."""
    hands = Delegates(Evolution(emitters=2, batch=3))
    hands.size = 6
    run_search(numbers(wrap(hands)))
    with pytest.raises(ValueError, match=r"a copy of a Delegates would be a Evolution"):
        run_search(numbers(wrap(hands)))


def test_settings_survive_the_copy():
    """A copy has the settings of the original, also those changed after its construction."""
    operator = Evolution(emitters=2, batch=3)
    operator.sigma = 0.125
    [twin] = copy_parts(operator=operator)
    assert (twin.sigma, twin.size, twin.name) == (0.125, 6, "cma-me")
    assert vars(copy.deepcopy(twin)).keys() == vars(twin).keys()
    assert replace(twin, emitters=3).size == 9


def test_constant_values_are_not_copied():
    """Values of jax, read-only arrays and functions, which may be large or compiled."""

    class Large:
        bounds = BOX

        def __init__(self):
            self.table, self.compiled, self.held = jax.numpy.zeros(3), jax.jit(abs), np.zeros(3)
            self.held.flags.writeable = False

    large = Large()
    [twin] = copy_parts(domain=large)
    assert twin is not large
    assert all(getattr(twin, name) is value for name, value in vars(large).items())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a mistake")])
@pytest.mark.parametrize("where", ["learn", "turn"])
def test_a_search_that_failed_within_a_step_refuses_to_continue(error, where):
    """The state of its parts is incomplete then."""

    class Broken(Gaussian):
        def learn(self, batch, added):
            if where == "learn" and "gaussian" in batch.origin:
                raise error

        def turn(self, n):
            if where == "turn":
                raise error
            return self

    with search_of(**own(Broken(0.1), batch=8)) as search:
        with pytest.raises(type(error)):
            search.run(4, progress=False)
        with pytest.raises(RuntimeError, match="broken off in the middle of a step"):
            search.run(1, progress=False)
        assert len(search.elites_frame()) == search.summary()["occupied"] > 0
