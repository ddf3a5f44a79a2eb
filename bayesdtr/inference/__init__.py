"""From a study and data to a posterior: engines, checks, saving and loading."""

from .borrow import PowerPrior
from .check import check
from .fit import fit
from .fits import Fits, fit_many
from .loo import LeaveOneOut, leave_one_out, log_likelihood
from .posterior import Posterior
from .prior_table import PriorTable, priors
from .stacked import StackedModel, StackedPosterior
from .verdict import Convergence, PredictiveCheck, Verdict

__all__ = [
    "Convergence", "Fits", "LeaveOneOut", "Posterior", "PowerPrior", "PredictiveCheck", "PriorTable", "StackedModel", "StackedPosterior",
    "Verdict",
    "check", "fit", "fit_many", "leave_one_out", "log_likelihood", "priors",
]
