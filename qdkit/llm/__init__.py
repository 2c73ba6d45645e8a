"""The door to language models: questions go out, answers with names for what went wrong come in.

`model` holds `LLM` and `answer_of`, through which every part of qdkit asks; `question` and `answer` are what
passes; `recorded` plays answers back from a file; `call` makes one recorded call out of `client` (the
connection), `pace` (when to send), `fault` (what went wrong) and `prices`. A call is written into the record
of its task before its answer is used.
"""

from qdkit.llm.answer import Answer, AnswerOutcome, Token, Usage
from qdkit.llm.capabilities import Capabilities, capabilities
from qdkit.llm.embedder import Embedder
from qdkit.llm.fault import ModelError, Unable
from qdkit.llm.model import LLM, Ask, Model, answer_of
from qdkit.llm.pace import Limits
from qdkit.llm.question import Question, bytes_of, data_url
from qdkit.llm.recorded import Recorded
from qdkit.record import Unanswered

__all__ = [
    "LLM",
    "Answer",
    "AnswerOutcome",
    "Ask",
    "Capabilities",
    "Embedder",
    "Limits",
    "Model",
    "ModelError",
    "Question",
    "Recorded",
    "Token",
    "Unable",
    "Unanswered",
    "Usage",
    "answer_of",
    "bytes_of",
    "capabilities",
    "data_url",
]
