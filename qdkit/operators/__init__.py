"""Operators: the ways in which new genomes are made out of elites."""

from .emitter import Emitter, cma_me
from .gaussian import Gaussian
from .line import Line
from .portfolio import Portfolio
from .rewrite import Rewrite
from .syntax import Syntax, mutated

__all__ = ["Emitter", "Gaussian", "Line", "Portfolio", "Rewrite", "Syntax", "cma_me", "mutated"]
