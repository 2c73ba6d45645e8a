"""Operators, which make new genomes from elites."""

from .cutup import CutUp
from .edits import Cross, Full, Patch, Repair, programmer
from .evolution import Evolution, GradientArborescence, Pure, cma_mae
from .gaussian import Gaussian
from .iso_line import IsoLine
from .novelty_search import NoveltySearch
from .polish import Polish, gaussian_shake, scipy_minimise
from .portfolio import Portfolio
from .rewarded import Rewarded
from .rewrite import Rewrite
from .ribs_emitter import Emitter, cma_me
from .steered import Steered
from .syntax import Syntax, mutated
from .texts import LMX, Crossover, Directional, FewShot, Guided, Replace, Scale, Several
from .two_phase import TwoPhase

__all__ = [
    "LMX",
    "Cross",
    "Crossover",
    "CutUp",
    "Directional",
    "Emitter",
    "Evolution",
    "FewShot",
    "Full",
    "Gaussian",
    "GradientArborescence",
    "Guided",
    "IsoLine",
    "NoveltySearch",
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
