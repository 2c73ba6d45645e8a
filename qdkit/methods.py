"""QDAIF and what it was compared with (Bradley et al. 2023, appendix), each as a line of parts.

    Search(domain, **method("quality only", domain, model), judge=domain.judge(model), batch=1)

All write by example, from the seeds of a domain of texts (`Opinions`, `Stories`): what differs is which
texts are kept as examples. The map in which they are compared is made of all that each of them wrote,
by one judge (`judged_map`), as none but QDAIF keeps one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from qdkit.elites import Elites, double
from qdkit.llm import Ask
from qdkit.types import Batch, Judge, Judgement, Key

EVERYTHING = 10_000  # places in a pool that forgets nothing
SEEDS = 3  # that every pool begins with
GOOD, POOL = 0.8, 100  # the least quality of an example, and how many are kept, where a judge decides


def method(name: str, domain: Any, model: Ask) -> dict[str, Any]:
    """The archive, the operator, the rule of parents and the filter of a method, as `Search` takes them.

    Raises LookupError for a name that is not among `METHODS`.
    """
    if name not in METHODS:
        raise LookupError(f"there is no method {name!r}: take one of {', '.join(METHODS)}")
    from qdkit.catalog import grid

    return {"novelty": None, **METHODS[name].parts(grid(domain), domain, model)}


class Method(NamedTuple):
    """How a method is made of parts, and which answers of the judge it reads to choose its examples.

    parts: (the domain's own archive, the domain, the model) -> arguments of `Search`.
    """

    parts: Callable[[Any, Any, Ask], dict[str, Any]]
    quality: bool = False
    axes: bool = False

    def calls(self, domain: Any) -> int:
        """Of the model, for one text: one that writes, and one for each answer that is read."""
        return 1 + self.quality + self.axes * len(domain.bounds)


def _fixed(archive: Any, domain: Any, model: Ask, shuffled: bool = False) -> dict[str, Any]:
    from qdkit.operators import FewShot

    return {"archive": archive, "operator": FewShot(model, domain.task, shuffled=shuffled, max_tokens=domain.longest)}


def _qdaif(archive: Any, domain: Any, model: Ask) -> dict[str, Any]:
    return {"archive": archive, "operator": domain.asking(model)}


def _replace(archive: Any, domain: Any, model: Ask) -> dict[str, Any]:
    from qdkit.operators import Replace

    return {"archive": archive, "operator": Replace(model, domain.task, max_tokens=domain.longest)}


def _pool(archive: Any, domain: Any, model: Ask, **more: Any) -> dict[str, Any]:
    """Examples drawn evenly from all that an archive keeps."""
    from qdkit.operators import LMX

    operator = LMX(model, domain.task, near=None, start=0, max_tokens=domain.longest)
    return {"archive": archive, "operator": operator, **more}


def _best(archive: Any, domain: Any, model: Ask) -> dict[str, Any]:
    from qdkit.archives import Deep
    from qdkit.baselines import Single

    return _pool(Deep(Single(getattr(archive, "archive", archive)), POOL), domain, model)


def _recent(domain: Any, model: Ask, novelty: Any = None, **settings: Any) -> dict[str, Any]:
    from qdkit.archives import Recent

    return _pool(Recent(len(domain.bounds), free=SEEDS, **settings), domain, model, novelty=novelty)


def _rouge(domain: Any, model: Ask, good: bool) -> dict[str, Any]:
    from qdkit.novelty import Rouge

    if good:
        return _recent(domain, model, Rouge(least=GOOD, last=POOL), capacity=POOL, least=GOOD)
    return _recent(domain, model, Rouge(), capacity=EVERYTHING)


def _novel(domain: Any, model: Ask, **settings: Any) -> dict[str, Any]:
    """Novelty search among the judgements of the axes."""
    return _recent(domain, model, capacity=POOL, threshold=0.05, edges=domain.bounds, **settings)


METHODS: dict[str, Method] = {
    "qdaif": Method(_qdaif, quality=True, axes=True),
    "qdaif replace": Method(_replace, quality=True, axes=True),
    "fixed": Method(_fixed),
    "shuffled": Method(lambda a, d, m: _fixed(a, d, m, shuffled=True)),
    "random": Method(lambda a, d, m: _recent(d, m, capacity=EVERYTHING)),
    "quality only": Method(_best, quality=True),
    "rouge": Method(lambda a, d, m: _rouge(d, m, good=False)),
    "rouge, good": Method(lambda a, d, m: _rouge(d, m, good=True), quality=True),
    "novelty": Method(lambda a, d, m: _novel(d, m), axes=True),
    "novelty, good": Method(lambda a, d, m: _novel(d, m, least=GOOD), quality=True, axes=True),
}


def judged_map(archive: Any, written: Batch, judge: Judge, key: Key) -> Elites:
    """The elites of `archive` after these candidates, judged anew by one judge; as numpy arrays.

    Texts that a filter had rejected count too, as they were written; those that are no text do not.
    """
    value, place = judged_texts(written, judge, key)
    return map_of(archive, written.id, value, place)


def judged_texts(written: Batch, judge: Judge, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """(objective `[n]`, descriptor `[n, d]`) of candidates by a judge; nan for those that are no text."""
    rows = np.array([bool(genome) for genome in written.genome])
    said = judge(key, written.take(rows))
    if not isinstance(said, Judgement) or said.features is None:
        raise TypeError("a map is made of a judgement with features for its axes, such as that of a Panel")
    value, place = np.full(len(rows), np.nan), np.full((len(rows), said.features.shape[1]), np.nan)
    value[rows], place[rows] = said.value, said.features
    return value, place


def map_of(archive: Any, id: np.ndarray, objective: np.ndarray, descriptor: np.ndarray) -> Elites:
    """The elites of `archive` after these candidates; those with a nan do not count."""
    import jax

    with double():
        elites, _ = archive.add(archive.init({"id": np.int32(0)}), objective, descriptor, {"id": id})
    return jax.tree.map(np.asarray, elites)


__all__ = ["METHODS", "Method", "judged_map", "judged_texts", "map_of", "method"]
