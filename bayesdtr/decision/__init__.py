"""From a posterior to decisions: the optimal regime, and the embedded regimes compared."""

from .accuracy import Accuracy
from .before import prior_starts_best
from .bestset import BestSet, best_set
from .budget import Budgeted, within_budget
from .compare import Comparison, EmbeddedValue, compare
from .exchange import exchange_bands
from .files import load
from .information import InformationValue, value_of_information
from .models import ModelComparison, compare_models
from .optimize import optimize
from .prior_predictive import PriorPredictive, prior_predictive
from .regime import Regime
from .sets import DecisionTies, Ties
from .shift import missing_shift, tipping
from .stakeholders import stakeholders
from .subgroups import Subgroups, by_group
from .utilities import with_utility
from .values import Summary

__all__ = [
    "Accuracy", "BestSet", "Budgeted", "Comparison", "DecisionTies", "EmbeddedValue", "InformationValue", "ModelComparison",
    "PriorPredictive", "Regime", "Subgroups", "Summary", "Ties", "best_set", "by_group", "compare", "compare_models",
    "exchange_bands", "load", "missing_shift", "optimize", "prior_predictive", "prior_starts_best", "stakeholders", "tipping",
    "value_of_information", "with_utility", "within_budget",
]
