"""What a model is asked."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdkit.plain import to_json
from qdkit.prompts import filled

FORM = Path(__file__).parent / "schema.md"
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """One question, as a JSON value.

    prompt: text, or messages as the protocol has them (`{"role": ..., "content": ...}`).
    images: data URLs or addresses, shown after the text of the last message; see `data_url`.
    schema: a JSON schema the answer must fit; what it says is then found in `Answer.data`. With
      `"additionalProperties": false` the server is asked to hold to it strictly.
    logprobs: how many alternatives to tell of each token, with log-probabilities; 0 asks for none.
    temperature, max_tokens: of this question alone; the model's own where None.
    seed: passed on to servers that know it.
    stop: texts before which the answer ends; few servers take more than four, and some models none.
    in_words: the schema is said in the prompt, to a server that knows none.
    """

    prompt: str | Sequence[Message]
    images: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None
    logprobs: int = 0
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    in_words: bool = False

    @classmethod
    def of(cls, asked: str | Sequence[Message] | Question) -> Question:
        """The question itself, or one made of a prompt alone."""
        return asked if isinstance(asked, Question) else cls(asked)

    def messages(self, system: str = "") -> list[Message]:
        """What is sent: the system's text first, the images last."""
        asked: list[Message]
        asked = [{"role": "user", "content": self.prompt}] if isinstance(self.prompt, str) else [*self.prompt]
        if self.in_words and self.schema is not None:
            asked[-1] = {**asked[-1], "content": _and(asked[-1]["content"], filled(FORM, schema=to_json(self.schema)))}
        if self.images:
            content = asked[-1]["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else [*content]
            parts += [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
            asked[-1] = {**asked[-1], "content": parts}
        return [{"role": "system", "content": system}] * bool(system) + asked

    def text(self) -> str:
        """The words alone, for a plain function. Raises ValueError if there are images to look at."""
        if self.images or (not isinstance(self.prompt, str) and pictured(self.prompt)):
            raise ValueError(
                "this question shows images, and a plain function `str -> str` sees text only: ask a model, "
                "or hand in an object with a method `ask(question) -> Answer`"
            )
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(part for message in self.prompt for part in _texts(message["content"]))


def data_url(data: bytes, kind: str = "image/png") -> str:
    """An image as a data URL, for `Question.images`; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def recordable(value: Any) -> Any:
    """A request as the record keeps it: of an image in itself the digest, `data:image/png;sha256,...`, not its bytes.

    A picture of a candidate can be drawn again, and a drawing that came out otherwise has another digest.
    """
    if isinstance(value, Mapping):
        if value.get("type") == "image_url":
            return {**value, "image_url": {**value["image_url"], "url": _digest(value["image_url"]["url"])}}
        return {name: recordable(part) for name, part in value.items()}
    return [recordable(part) for part in value] if isinstance(value, list | tuple) else value


def pictured(messages: Sequence[Message]) -> bool:
    """Whether messages show anything but text."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    return any(part["type"] != "text" for part in parts)


def bytes_of(url: str) -> bytes:
    """The bytes of an image that came or went as a base64 data URL. Raises ValueError for any other address."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ValueError(f"not an image in itself but an address: {url[:80]!r}; qdkit follows no links")
    return base64.b64decode(data, validate=True)


def _digest(url: str) -> str:
    if not url.startswith("data:"):
        return url
    kind = url.removeprefix("data:").partition(",")[0].removesuffix(";base64")
    return f"data:{kind};sha256,{hashlib.sha256(url.encode()).hexdigest()}"


def _and(content: str | Sequence[Mapping[str, Any]], more: str) -> str | list[Mapping[str, Any]]:
    """The content of a message with another paragraph."""
    return f"{content}\n\n{more}" if isinstance(content, str) else [*content, {"type": "text", "text": more}]


def _texts(content: str | Sequence[Mapping[str, Any]]) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content]
