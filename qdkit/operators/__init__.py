"""Operators: the ways in which new genomes are made out of elites."""

from .emitter import Emitter, cma_me
from .gaussian import Gaussian
from .line import Line
from .polish import Polish, gaussian_shake, scipy_minimise
from .portfolio import Portfolio
from .rewrite import Rewrite
from .syntax import Syntax, mutated

__all__ = [
    "Emitter",
    "Gaussian",
    "Line",
    "Polish",
    "Portfolio",
    "Rewrite",
    "Syntax",
    "cma_me",
    "gaussian_shake",
    "mutated",
    "scipy_minimise",
]
