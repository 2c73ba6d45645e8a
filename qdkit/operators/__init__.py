"""Operators: the ways in which new genomes are made out of elites."""

from .cutup import CutUp
from .edits import Cross, Full, Patch, Repair, programmer
from .emitter import Emitter, cma_me
from .gaussian import Gaussian
from .line import Line
from .polish import Polish, gaussian_shake, scipy_minimise
from .portfolio import Portfolio
from .rewrite import Rewrite
from .steered import Steered
from .syntax import Syntax, mutated

__all__ = [
    "Cross",
    "CutUp",
    "Emitter",
    "Full",
    "Gaussian",
    "Line",
    "Patch",
    "Polish",
    "Portfolio",
    "Repair",
    "Rewrite",
    "Steered",
    "Syntax",
    "cma_me",
    "gaussian_shake",
    "mutated",
    "programmer",
    "scipy_minimise",
]
