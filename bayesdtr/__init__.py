"""Bayesian dynamic treatment regimes: declare a study once; analyse, optimize, randomize and explain."""

from . import plot
from .data import Trajectories
from .decision import Comparison, Regime, best_set, compare, load, optimize
from .errors import BayesDTRError, DataError, DecisionError, FileError, InferenceError, ModelError, StudyError, VerdictWarning
from .inference import Posterior, Verdict, check, fit
from .reporting import report
from .study import (
    Baseline,
    Bernoulli,
    Condition,
    Decision,
    Normal,
    NormalInverseGamma,
    Prior,
    Response,
    Rules,
    Saturated,
    Scale,
    Study,
    Utility,
    at_least,
    below,
    between,
    one_of,
    when,
)

__version__ = "0.1.0"

__all__ = [
    "Baseline", "BayesDTRError", "Bernoulli", "Comparison", "Condition", "DataError", "Decision", "DecisionError", "FileError", "InferenceError",
    "ModelError", "Normal", "NormalInverseGamma", "Posterior", "Prior", "Regime", "Response", "Rules", "Saturated", "Scale", "Study", "StudyError",
    "Trajectories", "Utility", "Verdict", "VerdictWarning",
    "at_least", "below", "best_set", "between", "check", "compare", "fit", "load", "one_of", "optimize", "plot", "report", "when",
]
