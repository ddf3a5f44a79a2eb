"""From a study and data to a posterior: engines, checks, saving and loading."""

from .check import check
from .fit import fit
from .posterior import Posterior
from .verdict import Convergence, PredictiveCheck, Verdict

__all__ = ["Convergence", "Posterior", "PredictiveCheck", "Verdict", "check", "fit"]
