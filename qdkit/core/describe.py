"""Descriptions of the parts of a search as plain data.

A ledger stores them, and a reader builds the parts again from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from qdkit.core.elites import Archive
from qdkit.core.jsonable import as_jsonable, encode_nonfinite, encode_setting
from qdkit.core.redaction import redacted

# The present package of each module of older versions, which wrote the module into a run.
_MOVED = {
    "cli": "catalog doctor options order printed",
    "comparing": "baselines comparison methods",
    "core": "compiled elites keys parts plain record stages types",
    "feedback": "preferences",
    "llm": "encoder prompts",
    "metrics": "features noise",
    "programs": "names sandbox",
    "runs": "exchange judgements ledger levels looks rows seen",
    "search": "budget challenge choosing cluster flow loop progress remap scan stopping "
    "taskrecord tasks work",
    "selection": "bandits lessons parents rewards shown",
}
_ROOM = {module: room for room, modules in _MOVED.items() for module in modules.split()}
# The present names of parts that have been renamed, by package.
_RENAMED = {
    "archives": {"Deep": "DeepGrid", "Dominated": "DominatedNovelty", "Soft": "Thresholds"},
    "axes": {
        "Asking": "TripletQuestions",
        "Encoded": "AutoencoderAxes",
        "Principal": "PrincipalAxes",
        "Taught": "TripletAxes",
        "Taxons": "TaxonsAxes",
    },
    "core": {"given": "domain_objective"},
    "novelty": {"Asked": "NoveltyJudge", "Unlike": "EmbeddingDistance"},
    "operators": {
        "Arborescence": "GradientArborescence",
        "Line": "IsoLine",
        "Novel": "NoveltySearch",
    },
    "search": {"Challenge": "Reevaluation"},
    "selection": {"Fresh": "Restarts", "Novel": "ByNovelty", "Shown": "Inspirations"},
}
# A repr in a description holds the names of classes. Descriptions are compared by the former
# names, since one of them, Novel, was the name of two classes.
_FORMER = {
    "RateLimits": "Limits",
    **{now: former for names in _RENAMED.values() for former, now in names.items()},
}
_CALL = re.compile(rf"\b({'|'.join(_FORMER)})\(")
_NAME = re.compile(r"qdkit\.(\w+)(?:\.\w+)*:(\w[\w.]*)")


def public_name(name: str) -> str:
    """Returns the public name of a part, `qdkit.room:Name`, as runs on disk write it.

    Any other name is returned unchanged.

    name: `module:Name`, with the module of this version or of an older one.
    """
    if (match := _NAME.fullmatch(name)) is None:
        return name
    room, kind = _ROOM.get(match[1], match[1]), match[2]
    return f"qdkit.{room}:{_RENAMED.get(room, {}).get(kind, kind)}"


def describe_part(part: Any) -> dict[str, Any]:
    """Returns the class of a part with its settings, if it is a dataclass, else with its repr.

    `qdkit.core.jsonable.decode_setting` restores the settings. Raises TypeError for a setting that
    is a set.

    A field with `repr=False` says where and how a part is used here, such as a key, a server or a
    level of isolation. It is left out at any depth, and so are credentials in addresses.
    """
    kind = {"is": public_name(f"{type(part).__module__}:{type(part).__qualname__}")}
    if is_dataclass(part) and not isinstance(part, type):
        settings = {
            field.name: getattr(part, field.name)
            for field in fields(part)
            if field.init and field.repr
        }
        if any(map(callable, settings.values())):  # a function cannot be written and built again
            readable = {
                name: stable_repr(x) if callable(x) else redacted(encode_nonfinite(as_jsonable(x)))
                for name, x in settings.items()
            }
            return kind | {"of": readable}
        written = {
            name: encode_setting(x, f"{type(part).__name__}.{name}", _part)
            for name, x in settings.items()
        }
        return kind | {"with": redacted(written)}
    return kind | {"repr": stable_repr(part)}


def _part(value: Any) -> dict[str, Any] | None:
    """Returns the description of a part among the settings; None for any other value."""
    dataclass = is_dataclass(value) and not isinstance(value, type)
    return describe_part(value) if dataclass or isinstance(value, Archive) else None


def stable_repr(part: Any) -> str:
    """Returns the name of a function, or the repr of a part without its address in memory.

    The result is the same in every process.
    """
    if hasattr(part, "__qualname__"):
        return public_name(f"{part.__module__}:{part.__qualname__}")
    return str(redacted(re.sub(r" at 0x[0-9a-f]+", "", repr(part))))


# Settings in the descriptions of older runs that are not part of a description any more.
_LEFT_OUT = {
    "qdkit.domains:Program": {"sandbox"},
    "qdkit.llm:LLM": {"base_url", "api_key", "prices", "timeout", "patience", "limits"},
    "qdkit.llm:Embedder": {"base_url", "api_key"},
}
# Settings that the descriptions of older runs lack, with the value that those runs go on with.
_ADDED = {"qdkit.domains:Program": {"referee_seconds": 60.0}}
_ADDRESS = re.compile(r"(Embedder\(model='[^']*'), base_url=(None|'[^']*')")


def comparable(description: Any) -> Any:
    """Returns a form of a description in which those of older runs and newer searches agree.

    It has no settings that newer descriptions leave out, and one name for each class.
    """
    if isinstance(description, str):
        text = _CALL.sub(lambda call: f"{_FORMER[call[1]]}(", description)
        return public_name(str(redacted(_ADDRESS.sub(r"\1", text))))
    if isinstance(description, list):
        return [comparable(part) for part in description]
    if not isinstance(description, Mapping):
        return description
    left_out = _LEFT_OUT.get(public_name(str(description.get("is"))), set())
    kept = {name: comparable(part) for name, part in description.items()}
    for key in ("with", "of"):
        if left_out and isinstance(kept.get(key), Mapping):
            kept[key] = {name: part for name, part in kept[key].items() if name not in left_out}
    return kept


def without_added(now: Any, was: Any) -> Any:
    """Returns a description without settings that `was`, of an older run, lacks.

    These are the settings of `_ADDED` that have the value there. Both are `comparable`.
    """
    if not isinstance(now, Mapping) or not isinstance(was, Mapping):
        return now
    added = _ADDED.get(str(now.get("is")), {})
    kept = dict(now)
    for key in ("with", "of"):
        settings, recorded = now.get(key), was.get(key)
        if added and isinstance(settings, Mapping) and isinstance(recorded, Mapping):
            gone = {name for name in added if name not in recorded}
            kept[key] = {
                name: value
                for name, value in settings.items()
                if name not in gone or value != added[name]
            }
    return kept
