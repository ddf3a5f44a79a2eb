"""From a posterior to decisions: the optimal regime, and the embedded regimes compared."""

from .bestset import BestSet, best_set
from .compare import Comparison, EmbeddedValue, compare
from .files import load
from .optimize import optimize
from .regime import Regime
from .values import Summary

__all__ = ["BestSet", "Comparison", "EmbeddedValue", "Regime", "Summary", "best_set", "compare", "load", "optimize"]
