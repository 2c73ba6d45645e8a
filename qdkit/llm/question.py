"""A question to a model, its messages and its images."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdkit.core.jsonable import to_json
from qdkit.core.redaction import REDACTED, is_credential
from qdkit.llm.templates import fill_template

_SCHEMA_TEMPLATE = Path(__file__).parent / "schema.md"
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """One question. Its fields are JSON values.

    prompt: text, or messages of the protocol (`{"role": ..., "content": ...}`).
    images: data URLs or addresses, which follow the text of the last message; see `data_url`.
    schema: a JSON schema that the answer must fit; `Answer.data` then holds the value. With
      `"additionalProperties": false` the server is asked to enforce it strictly.
    logprobs: how many alternatives of each token to list with log-probabilities; 0 asks for none.
    temperature, max_tokens: for this question; those of the model where None.
    seed: passed on to servers that support it.
    stop: texts before which the answer ends; few servers take more than four, and some models
      none.
    in_words: whether the schema is part of the prompt, for a server that does not support schemas.
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
    def of(cls, question: str | Sequence[Message] | Question) -> Question:
        """Returns the question itself, or a question with this prompt."""
        return question if isinstance(question, Question) else cls(question)

    def messages(self, system: str = "") -> list[Message]:
        """Returns the messages to send: the system's text first, the images last."""
        prompt = self.prompt
        messages: list[Message]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*prompt]
        if self.in_words and self.schema is not None:
            last = messages[-1]
            demand = fill_template(_SCHEMA_TEMPLATE, schema=to_json(self.schema))
            messages[-1] = {**last, "content": _with_paragraph(last["content"], demand)}
        if self.images:
            content = messages[-1]["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else [*content]
            parts += [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
            messages[-1] = {**messages[-1], "content": parts}
        return [{"role": "system", "content": system}] * bool(system) + messages

    def text(self) -> str:
        """Returns the text of the prompt, for a plain function.

        Raises ValueError if the question has images.
        """
        if self.images or (not isinstance(self.prompt, str) and has_images(self.prompt)):
            raise ValueError(
                "this question shows images, and a plain function `str -> str` sees text only: "
                "ask a model, or pass an object with a method `ask(question) -> Answer`"
            )
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(part for message in self.prompt for part in _texts(message["content"]))


def data_url(data: bytes, kind: str = "image/png") -> str:
    """Returns an image as a data URL, for `Question.images`; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def recordable(value: Any) -> Any:
    """Returns a request as the record keeps it: images by their digest, and without secrets.

    A data URL becomes `data:image/png;sha256,...`. The image of a candidate can be drawn again,
    and an image that differs has another digest. A value whose name is that of a key, among
    `options` for example, is replaced.
    """
    if isinstance(value, Mapping):
        if value.get("type") == "image_url":
            image = value["image_url"]
            return {**value, "image_url": {**image, "url": _with_digest(image["url"])}}
        return {
            name: REDACTED if is_credential(name, part) else recordable(part)
            for name, part in value.items()
        }
    return [recordable(part) for part in value] if isinstance(value, list | tuple) else value


def has_images(messages: Sequence[Message]) -> bool:
    """Whether messages have a part that is not text."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    return any(part["type"] != "text" for part in parts)


def bytes_of(url: str) -> bytes:
    """Returns the bytes of an image from its base64 data URL.

    Raises ValueError for any other address.
    """
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ValueError(
            f"not an image in itself but an address: {url[:80]!r}; qdkit follows no links"
        )
    return base64.b64decode(data, validate=True)


def _with_digest(url: str) -> str:
    """Returns a data URL with the digest of its data in their place; any other URL unchanged."""
    if not url.startswith("data:"):
        return url
    kind = url.removeprefix("data:").partition(",")[0].removesuffix(";base64")
    return f"data:{kind};sha256,{hashlib.sha256(url.encode()).hexdigest()}"


def _with_paragraph(
    content: str | Sequence[Mapping[str, Any]], text: str
) -> str | list[Mapping[str, Any]]:
    """Returns the content of a message with another paragraph."""
    if isinstance(content, str):
        return f"{content}\n\n{text}"
    return [*content, {"type": "text", "text": text}]


def _texts(content: str | Sequence[Mapping[str, Any]]) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content]
