"""Comparison of runs at equal cost, baselines, and the methods of the QDAIF paper."""

from qdkit.comparing.baselines import Chain, Independent, Multistart, Single

__all__ = ["Chain", "Independent", "Multistart", "Single"]
