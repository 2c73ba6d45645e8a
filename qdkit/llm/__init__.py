"""Calls to language models: questions, and answers with an outcome that names what went wrong.

`model` holds `LLM` and `answer_of`, through which all other packages ask. `question` and `answer`
define what they exchange. `recorded` plays answers back from a file, and `capabilities` tests a
server. `call` makes one recorded call with `client` (the connection), `pace` (when to send),
`presence` (whether the server can be reached), `fault` (what went wrong) and `prices`. A call is
written into the record of its task before its answer is used. `embedder` and `minilm` turn texts
into vectors; `templates` writes prompts.

Replies are untrusted data: `reply` and `answer` read them, `jsontext` and `schema` find JSON in
them, and `thoughts` removes the thoughts of a model. Code that parses an answer further does so
within `guarded`, so that an exception in it becomes the outcome of one candidate. Only
`record.Halt` and mistakes of a program propagate.
"""

from qdkit.core.record import Unanswered
from qdkit.llm.answer import Answer, AnswerOutcome, Token, Usage
from qdkit.llm.capabilities import Capabilities, capabilities
from qdkit.llm.embedder import Embedder
from qdkit.llm.fault import ModelError, Unable
from qdkit.llm.model import LLM, Ask, Model, answer_of
from qdkit.llm.pace import RateLimits
from qdkit.llm.question import Question, bytes_of, data_url
from qdkit.llm.recorded import Recorded
from qdkit.llm.reply import guarded

__all__ = [
    "LLM",
    "Answer",
    "AnswerOutcome",
    "Ask",
    "Capabilities",
    "Embedder",
    "Model",
    "ModelError",
    "Question",
    "RateLimits",
    "Recorded",
    "Token",
    "Unable",
    "Unanswered",
    "Usage",
    "answer_of",
    "bytes_of",
    "capabilities",
    "data_url",
    "guarded",
]
