"""Operators: the ways in which new genomes are made out of elites."""

from .cutup import CutUp
from .edits import Cross, Full, Patch, Repair, programmer
from .emitter import Emitter, cma_me
from .evolution import Arborescence, Evolution, Pure, cma_mae
from .gaussian import Gaussian
from .line import Line
from .novel import Novel
from .polish import Polish, gaussian_shake, scipy_minimise
from .portfolio import Portfolio
from .rewarded import Rewarded
from .rewrite import Rewrite
from .steered import Steered
from .syntax import Syntax, mutated
from .texts import LMX, Crossover, Directional, FewShot, Guided, Replace, Scale, Several
from .two_phase import TwoPhase

__all__ = [
    "LMX",
    "Arborescence",
    "Cross",
    "Crossover",
    "CutUp",
    "Directional",
    "Emitter",
    "Evolution",
    "FewShot",
    "Full",
    "Gaussian",
    "Guided",
    "Line",
    "Novel",
    "Patch",
    "Polish",
    "Portfolio",
    "Pure",
    "Repair",
    "Replace",
    "Rewarded",
    "Rewrite",
    "Scale",
    "Several",
    "Steered",
    "Syntax",
    "TwoPhase",
    "cma_mae",
    "cma_me",
    "gaussian_shake",
    "mutated",
    "programmer",
    "scipy_minimise",
]
