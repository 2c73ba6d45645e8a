"""QDAIF and the methods that it was compared with (Bradley et al. 2023, appendix).

    Search(domain, **method("quality only", domain, model), judge=domain.judge(model), batch=1)

All methods write texts from examples, beginning with the seeds of a domain of texts (`Opinions`,
`Stories`). They differ in the texts that they keep as examples. They are compared in one map of
all texts of each method, judged by one judge (`judged_map`), as only QDAIF has a map of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.elites import Elites, double
from qdkit.core.types import Batch, Judge, Judgement, Key
from qdkit.llm import Ask

_UNLIMITED = 10_000  # the size of a pool that keeps all texts
_SEEDS = 3  # seeds at the start of every pool
_MIN_QUALITY = 0.8  # of an example, in the methods with a judge
_POOL_SIZE = 100  # in the methods with a limited pool


def method(name: str, domain: Any, model: Ask) -> dict[str, Any]:
    """Returns the arguments of `Search` for a method: archive, operator, parents and filter.

    Raises LookupError for a name that is not in `METHODS`.
    """
    if name not in METHODS:
        raise LookupError(f"there is no method {name!r}: take one of {', '.join(METHODS)}")
    from qdkit.domains.suited_archive import grid
    from qdkit.search.steering import Steering

    parts = {"novelty": None, **METHODS[name].parts(grid(domain), domain, model)}
    steering = {key: parts.pop(key) for key in ("novelty", "parents") if key in parts}
    return {**parts, "steering": Steering(**steering)}


class Method(NamedTuple):
    """The parts of a method, and the judgements that it uses to choose its examples.

    parts: (the archive of the domain, the domain, the model) -> arguments of `Search`.
    quality: whether it uses the quality.
    axes: whether it uses the judgements of the axes.
    """

    parts: Callable[[Any, Any, Ask], dict[str, Any]]
    quality: bool = False
    axes: bool = False

    def calls(self, domain: Any) -> int:
        """Returns the number of calls per text: one to write it, and one per judgement used."""
        return 1 + self.quality + self.axes * len(domain.bounds)


def _fixed(archive: Any, domain: Any, model: Ask, shuffled: bool = False) -> dict[str, Any]:
    from qdkit.operators import FewShot

    operator = FewShot(model, domain.task, shuffled=shuffled, max_tokens=domain.longest)
    return {"archive": archive, "operator": operator}


def _qdaif(archive: Any, domain: Any, model: Ask) -> dict[str, Any]:
    return {"archive": archive, "operator": domain.asking(model)}


def _replace(archive: Any, domain: Any, model: Ask) -> dict[str, Any]:
    from qdkit.operators import Replace

    return {"archive": archive, "operator": Replace(model, domain.task, max_tokens=domain.longest)}


def _pool(archive: Any, domain: Any, model: Ask, **more: Any) -> dict[str, Any]:
    """Returns a method whose examples are drawn uniformly from its archive."""
    from qdkit.operators import LMX

    operator = LMX(model, domain.task, near=None, start=0, max_tokens=domain.longest)
    return {"archive": archive, "operator": operator, **more}


def _best(archive: Any, domain: Any, model: Ask) -> dict[str, Any]:
    from qdkit.archives import DeepGrid
    from qdkit.comparing.baselines import Single

    return _pool(DeepGrid(Single(getattr(archive, "archive", archive)), _POOL_SIZE), domain, model)


def _recent(domain: Any, model: Ask, novelty: Any = None, **settings: Any) -> dict[str, Any]:
    from qdkit.archives import Recent

    archive = Recent(len(domain.bounds), free=_SEEDS, **settings)
    return _pool(archive, domain, model, novelty=novelty)


def _rouge(domain: Any, model: Ask, good: bool) -> dict[str, Any]:
    from qdkit.novelty import Rouge

    if good:
        novelty = Rouge(least=_MIN_QUALITY, last=_POOL_SIZE)
        return _recent(domain, model, novelty, capacity=_POOL_SIZE, least=_MIN_QUALITY)
    return _recent(domain, model, Rouge(), capacity=_UNLIMITED)


def _novel(domain: Any, model: Ask, **settings: Any) -> dict[str, Any]:
    """Returns novelty search on the judgements of the axes."""
    settings |= {"capacity": _POOL_SIZE, "threshold": 0.05, "edges": domain.bounds}
    return _recent(domain, model, **settings)


METHODS: dict[str, Method] = {
    "qdaif": Method(_qdaif, quality=True, axes=True),
    "qdaif replace": Method(_replace, quality=True, axes=True),
    "fixed": Method(_fixed),
    "shuffled": Method(lambda a, d, m: _fixed(a, d, m, shuffled=True)),
    "random": Method(lambda a, d, m: _recent(d, m, capacity=_UNLIMITED)),
    "quality only": Method(_best, quality=True),
    "rouge": Method(lambda a, d, m: _rouge(d, m, good=False)),
    "rouge, good": Method(lambda a, d, m: _rouge(d, m, good=True), quality=True),
    "novelty": Method(lambda a, d, m: _novel(d, m), axes=True),
    "novelty, good": Method(
        lambda a, d, m: _novel(d, m, least=_MIN_QUALITY), quality=True, axes=True
    ),
}


def judged_map(archive: Any, written: Batch, judge: Judge, key: Key) -> Elites:
    """Returns the elites of `archive` with these candidates, judged by one judge; numpy arrays.

    Texts that a filter rejected count too, as they were written; empty genomes do not.
    """
    objective, descriptor = judged_texts(written, judge, key)
    return map_of(archive, written.id, objective, descriptor)


def judged_texts(written: Batch, judge: Judge, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Returns (objective `[n]`, descriptor `[n, d]`) of candidates by a judge.

    The values of empty genomes are nan.
    """
    rows = np.array([bool(genome) for genome in written.genome])
    judgement = judge(key, written.take(rows))
    if not isinstance(judgement, Judgement) or judgement.features is None:
        raise TypeError(
            "a map is made of a judgement with features for its axes, such as that of a Panel"
        )
    objective = np.full(len(rows), np.nan)
    descriptor = np.full((len(rows), judgement.features.shape[1]), np.nan)
    objective[rows], descriptor[rows] = judgement.value, judgement.features
    return objective, descriptor


def map_of(archive: Any, id: np.ndarray, objective: np.ndarray, descriptor: np.ndarray) -> Elites:
    """Returns the elites of `archive` with these candidates; rows with a nan do not count."""
    import jax

    with double():
        elites, _ = archive.add(
            archive.init({"id": np.int32(0)}), objective, descriptor, {"id": id}
        )
    return jax.tree.map(np.asarray, elites)


__all__ = ["METHODS", "Method", "judged_map", "judged_texts", "map_of", "method"]
