"""Sealed links and questions: only the key of the run can make their seals.

So the page has no state in memory that a restart would lose, and it accepts only replies to
questions that it asked this rater. The key lies among the user's own files and never in the run's
folder: otherwise the sender of a folder would know all its links. Without the key all links are
void, and new ones are made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import secrets
import warnings
from pathlib import Path
from typing import NamedTuple

from qdkit.core.jsonable import to_json
from qdkit.core.run_files import PRIVATE, file_kind, open_plain, write_text

_FOLDER = Path("qdkit", "rating")  # of the keys, within the user's folder for states


class RequestRefused(Exception):
    """Raised for a request that is refused, with the HTTP status and a sentence for the sender."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def key_file(run: Path) -> Path:
    """Returns the path of the key of a run's folder.

    It depends on the path and the inode of the folder, and not on its content.
    """
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    status = os.stat(run)
    identity = f"{os.path.realpath(run)}\0{status.st_dev}\0{status.st_ino}"
    name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32]
    return home / _FOLDER / f"{name}.key"


class ShownQuestion(NamedTuple):
    """A question as it was on the screen of a rater.

    ids, order: as in `qdkit.runs.judgements.Reply`.
    earlier_rows: the number of rows of this rater before it.
    at: the time when it was first asked, in seconds since the epoch.
    """

    question: str
    ids: tuple[int, ...]
    order: tuple[int, ...]
    rater: str
    earlier_rows: int
    at: float


class Seals:
    """Makes and checks sealed links and questions with `key`."""

    def __init__(self, key: bytes):
        self._key = key

    @classmethod
    def of(cls, run: Path) -> Seals:
        """Returns the seals with the key of a run's folder, and creates the key if there is none.

        Only this user can read the key. If it cannot be stored, this warns, and the links are
        valid until the page is closed.
        """
        file = key_file(run)
        try:
            if not file_kind(file):
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_text(file, secrets.token_hex(32), PRIVATE)
            with open_plain(file) as opened:
                text = opened.read(100).decode("ascii", "replace").strip()
        except OSError as error:
            warnings.warn(
                f"the links hold until the page is closed, as {file} cannot be kept: {error}",
                stacklevel=2,
            )
            text = secrets.token_hex(32)
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise ValueError(
                f"{file} is no key of 64 hexadecimal digits: delete it, and all links are made "
                "anew"
            )
        return cls(bytes.fromhex(text))

    def link(self, rater: str) -> str:
        """Returns the secret part of a rater's link, 32 hexadecimal digits."""
        return self._seal("rater", rater)

    def is_link(self, rater: str, link: str) -> bool:
        """Returns whether `link` is that of the rater, in the same time for any link."""
        return hmac.compare_digest(self.link(rater).encode(), link.encode())

    def question_id(self, question: ShownQuestion) -> str:
        """Returns the token of a question in the store: the same however often it was shown."""
        return self._seal("question", question._replace(at=0.0))

    def seal_question(self, question: ShownQuestion) -> str:
        """Returns the question as a sealed text, which the browser sends with the reply."""
        text = base64.urlsafe_b64encode(to_json(question).encode()).decode()
        return f"{text}.{self._seal('asked', question)}"

    def open_question(self, token: str, rater: str) -> ShownQuestion:
        """Returns the question in a sealed text.

        Raises RequestRefused for a text that is not a question to this rater.
        """
        text, _, seal = token.rpartition(".")
        try:
            kind, ids, order, *rest = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
            question = ShownQuestion(kind, tuple(ids), tuple(order), *rest)
            expected = self._seal("asked", question)
        except (ValueError, TypeError, binascii.Error, RecursionError):
            raise RequestRefused(400, "this is no question of this page: load it again") from None
        if not hmac.compare_digest(expected.encode(), seal.encode()):
            raise RequestRefused(403, "this question was not asked here: load the page again")
        if question.rater != rater:
            raise RequestRefused(
                403, "this question was asked of somebody else: load the page again"
            )
        return question

    def _seal(self, kind: str, value: object) -> str:
        return hmac.new(self._key, to_json([kind, value]).encode(), "sha256").hexdigest()[:32]
