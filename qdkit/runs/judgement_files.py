"""Judgements as files: CSV for spreadsheets, JSON lines for other programs.

Both have one row for each reply, including withdrawn ones, and the fields of `Reply` by name.
Reading a file returns the replies that were written. In CSV, a text that a spreadsheet would take
for a formula is written after an apostrophe, and so is a text that begins with an apostrophe;
reading removes one.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from qdkit.core.jsonable import nan_as_none, to_json
from qdkit.core.run_files import write_text
from qdkit.runs.judgements import Reply, check_reply

# A cell that begins with one of these is more than data to a spreadsheet.
_FORMULA = re.compile(r"['=+\-@\t\r]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def write_replies(replies: Iterable[Reply], path: Path) -> None:
    """Writes replies to `path`, in the format of its suffix, .csv or .jsonl.

    Raises ValueError for another suffix.
    """
    text = io.StringIO(newline="")
    if _ending(path) == ".csv":
        rows = csv.writer(text)
        rows.writerow(Reply._fields)
        rows.writerows([_cell(value) for value in reply] for reply in replies)
    else:
        text.writelines(to_json(nan_as_none(reply._asdict())) + "\n" for reply in replies)
    write_text(path, text.getvalue())


def read_replies(path: Path) -> list[Reply]:
    """Returns the replies in `path`.

    Raises ValueError, with the number of the first row that is no reply.
    """
    replies = []
    with path.open(encoding="utf-8", newline="") as file:
        if _ending(path) == ".csv":
            rows: Iterable[Any] = csv.DictReader(file, strict=True)
            parse: Callable[[Any], Reply] = _of_cells
        else:
            rows, parse = file, _of_json
        try:
            for row in rows:
                reply = parse(row)
                check_reply(reply)
                replies.append(reply)
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            OverflowError,
            RecursionError,
            csv.Error,
        ) as error:
            raise ValueError(
                f"row {len(replies) + 1} of {path} is no judgement: {_reason(error)}"
            ) from None
    return replies


def _reason(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _ending(path: Path) -> str:
    if path.suffix not in (".csv", ".jsonl"):
        raise ValueError(
            f"{path} ends in {path.suffix or 'nothing'}: name a file that ends in .csv or .jsonl"
        )
    return path.suffix


def _cell(value: Any) -> str:
    """Returns a value as a cell of CSV.

    Blanks separate several numbers. None and nan are an empty cell.
    """
    if value is None or value != value:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _of_cells(row: Mapping[str, str]) -> Reply:
    if None in row or None in row.values():
        raise ValueError("it has more or fewer cells than the first row")
    cells = {name: text[1:] if text.startswith("'") else text for name, text in row.items()}
    integers = lambda text: [int(number) for number in text.split()]
    answer: Any = cells["answer"] or None
    if answer is not None and cells["question"] != "label":
        answer = integers(answer) if cells["question"] == "ranking" else _number(answer)
    parsed = {
        "ids": integers(cells["ids"]),
        "order": integers(cells["order"]),
        "answer": answer,
        "seconds": float(cells["seconds"]) if cells.get("seconds") else None,
        "token": cells.get("token") or None,
    }
    return _reply({**cells, **parsed})


def _of_json(line: str) -> Reply:
    return _reply(json.loads(line))


def _reply(row: Mapping[str, Any]) -> Reply:
    """Returns the reply in a row, which may lack `number` and fields of `Reply` with a default."""
    row = {name: value for name, value in row.items() if name in Reply._fields}
    answer = tuple(row["answer"]) if isinstance(row["answer"], list) else row["answer"]
    seconds = math.nan if row.get("seconds") is None else row["seconds"]
    parts = {"number": int(row.get("number") or 0), "answer": answer, "seconds": seconds}
    return Reply(**{**row, **parts, "ids": tuple(row["ids"]), "order": tuple(row["order"])})


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
