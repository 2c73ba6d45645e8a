"""What was asked of whom: every link and every question carries a seal that only this run's key can make.

So the page keeps nothing in memory that a restart would lose, and takes no reply but to a question that it
has asked this rater. The key lies in the run's folder; without it all links are void, and new ones are made.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from qdkit.plain import to_json

KEY = "rating.key"


class Refused(Exception):
    """A request that is not answered, with the status of HTTP and a sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Asked(NamedTuple):
    """A question as it stood on somebody's screen.

    ids, order: as in `qdkit.judgements.Reply`. place: how many rows of this rater there were before. at: seconds of
    the clock when it was first asked.
    """

    question: str
    ids: tuple[int, ...]
    order: tuple[int, ...]
    rater: str
    place: int
    at: float


class Seals:
    """What is sealed with `key`, and recognised again."""

    def __init__(self, key: bytes):
        self._key = key

    @classmethod
    def of(cls, run: Path) -> Seals:
        """With the key of a run's folder, which is made where there is none; only its owner can read it."""
        file = run / KEY
        if not file.exists():
            made = run / f"{KEY}.{secrets.token_hex(4)}"
            with open(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as half:
                half.write(secrets.token_hex(32))
            made.replace(file)
        text = file.read_text(encoding="ascii", errors="replace").strip()
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise ValueError(f"{file} is no key of 64 hexadecimal digits: delete it, and all links are made anew")
        return cls(bytes.fromhex(text))

    def link(self, rater: str) -> str:
        """What nobody but this rater is told: 32 hexadecimal digits."""
        return self._seal("rater", rater)

    def known(self, rater: str, link: str) -> bool:
        """Whether the link is this rater's; takes as long for a wrong one."""
        return hmac.compare_digest(self.link(rater).encode(), link.encode())

    def number(self, asked: Asked) -> str:
        """What a question is known by in the store: the same however often it was shown."""
        return self._seal("question", asked._replace(at=0.0))

    def closed(self, asked: Asked) -> str:
        """The question as a text that the browser gives back."""
        text = base64.urlsafe_b64encode(to_json(asked).encode()).decode()
        return f"{text}.{self._seal('asked', asked)}"

    def opened(self, token: str, rater: str) -> Asked:
        """The question that was asked of this rater. Raises Refused for what was not."""
        text, _, seal = token.rpartition(".")
        try:
            question, ids, order, *rest = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
            asked = Asked(question, tuple(ids), tuple(order), *rest)
            expected = self._seal("asked", asked)
        except (ValueError, TypeError, binascii.Error, RecursionError):
            raise Refused(400, "this is no question of this page: load it again") from None
        if not hmac.compare_digest(expected.encode(), seal.encode()):
            raise Refused(403, "this question was not asked here: load the page again")
        if asked.rater != rater:
            raise Refused(403, "this question was asked of somebody else: load the page again")
        return asked

    def _seal(self, kind: str, value: object) -> str:
        return hmac.new(self._key, to_json([kind, value]).encode(), "sha256").hexdigest()[:32]
