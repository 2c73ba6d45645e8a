"""The command line."""

from qdkit.core.lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(__name__, {})
