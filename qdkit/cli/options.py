"""The options of `qdkit run`, from the settings of the parts that the command line names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

from cyclopts import Group, Parameter

from qdkit.cli import catalog

# Settings that a domain or an operator decides.
_NO_OPTIONS = {"name", "names", "arity", "bounds", "outside"}


def with_settings(command: Callable[..., None], words: Sequence[str]) -> Callable[..., None]:
    """Returns `command` with the options of the parts that `words` name, so that --help shows
    them.
    """
    signature = inspect.signature(command)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if words and not words[0].startswith("-"):
        domain, archive, operator = (
            words[0],
            _value_of(words, "--archive") or "grid",
            _value_of(words, "--operator"),
        )
        part = catalog.found(domain)
        parts = {
            f"Domain {domain}": part if catalog.makes(part) else None,
            f"Archive {archive}": catalog.ARCHIVES.get(archive),
        }
        parts["Operator"] = (
            catalog.operator(part, operator) if operator or "--model" not in words else None
        )
        parameters += [
            option
            for title, part in parts.items()
            if part
            for option in _options(Group(title), part)
        ]
        parameters += [
            option for part in catalog.STEERING for option in _options(Group("Steering"), part)
        ]

    @functools.wraps(command)
    def called(*args: Any, **settings: Any) -> None:
        command(*args, **settings)

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called


def _value_of(words: Sequence[str], option: str) -> str | None:
    """Returns the value of an option that is needed before the others can be read."""
    joined = [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    after = [value for word, value in pairwise(words) if word == option]
    return next(iter(joined + after), None)


def _options(group: Group, part: Callable[..., Any]) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=Annotated[
                option.type,
                Parameter(help=option.help, group=group, consume_multiple=True, negative=""),
            ],
        )
        for option in catalog.options(part)
        if option.name not in _NO_OPTIONS
    ]
