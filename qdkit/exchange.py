"""Judgements as files for people and other programs: CSV for spreadsheets, JSON lines for everything else.

Both have one row for each reply, also for what was withdrawn, and the fields of `Reply` by name; what is
written is read back as it was. A text of CSV that a spreadsheet would take for a formula is written behind
an apostrophe, and so is one that begins with an apostrophe; reading takes one off.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from qdkit.judgements import Reply, check
from qdkit.plain import plain, to_json

FORMULA = re.compile(r"['=+\-@\t\r]")  # what a cell begins with that is not only data to a spreadsheet
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def write(replies: Iterable[Reply], path: Path) -> None:
    """Into `path`, as its name ends: .csv or .jsonl. Raises ValueError for another ending."""
    half = path.with_name(path.name + ".part")
    with half.open("w", encoding="utf-8", newline="") as file:
        if _ending(path) == ".csv":
            rows = csv.writer(file)
            rows.writerow(Reply._fields)
            rows.writerows([_cell(value) for value in reply] for reply in replies)
        else:
            file.writelines(to_json(plain(reply._asdict())) + "\n" for reply in replies)
    half.replace(path)


def read(path: Path) -> list[Reply]:
    """The replies in `path`. Raises ValueError that names the first row that is none."""
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        if _ending(path) == ".csv":
            rows: Iterable[Any] = csv.DictReader(file, strict=True)
            made: Callable[[Any], Reply] = _of_cells
        else:
            rows, made = file, _of_json
        try:
            for row in rows:
                reply = made(row)
                check(reply)
                found.append(reply)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
            raise ValueError(f"row {len(found) + 1} of {path} is no judgement: {_why(error)}") from None
    return found


def _why(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _ending(path: Path) -> str:
    if path.suffix not in (".csv", ".jsonl"):
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}: name a file that ends in .csv or .jsonl")
    return path.suffix


def _cell(value: Any) -> str:
    """A value as a cell: several numbers stand beside each other, and what is absent is empty."""
    if value is None or value != value:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def _of_cells(row: Mapping[str, str]) -> Reply:
    if None in row or None in row.values():
        raise ValueError("it has more or fewer cells than the first row")
    said = {name: text[1:] if text.startswith("'") else text for name, text in row.items()}
    several = lambda text: [int(number) for number in text.split()]
    answer: Any = said["answer"] or None
    if answer is not None and said["question"] != "label":
        answer = several(answer) if said["question"] == "ranking" else _number(answer)
    seconds = float(said["seconds"]) if said.get("seconds") else None
    ids, order = several(said["ids"]), several(said["order"])
    token = said.get("token") or None
    return _reply({**said, "ids": ids, "order": order, "answer": answer, "seconds": seconds, "token": token})


def _of_json(line: str) -> Reply:
    return _reply(json.loads(line))


def _reply(said: Mapping[str, Any]) -> Reply:
    """What a row says, as a reply; a field that `Reply` can do without may be missing."""
    said = {name: value for name, value in said.items() if name in Reply._fields}
    answer = tuple(said["answer"]) if isinstance(said["answer"], list) else said["answer"]
    seconds = math.nan if said.get("seconds") is None else said["seconds"]
    parts = {"number": int(said.get("number") or 0), "answer": answer, "seconds": seconds}
    return Reply(**{**said, **parts, "ids": tuple(said["ids"]), "order": tuple(said["order"])})


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
