"""Programs as values: their marks, syntax and scopes, and the sandbox that runs them."""

from qdkit.core.lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(__name__, {})
