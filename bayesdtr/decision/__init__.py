"""From a posterior to decisions: the optimal regime, and the embedded regimes compared."""

from .accuracy import Accuracy
from .before import prior_starts_best
from .bestset import BestSet, best_set
from .budget import Budgeted, within_budget
from .compare import Comparison, EmbeddedValue, compare
from .evppi import ParameterInformation, evppi
from .evsi import SampleInformation, evsi
from .exchange import exchange_bands
from .explain import Explanation
from .extrapolation import DecisionOverlap, Extrapolation
from .fair import Fair, fair
from .files import load
from .information import InformationValue, value_of_information
from .models import ModelComparison, compare_models
from .netbenefit import Acceptability, acceptability
from .optimize import optimize
from .policytree import PolicyTree, policy_tree
from .prior_predictive import PriorPredictive, prior_predictive
from .qlearning import q_learn
from .regime import Regime
from .risk import RiskProfile, risk_profile
from .sets import DecisionTies, Ties
from .shift import missing_shift, tipping
from .stagewise import StagewisePosterior, StagewiseRegime
from .stakeholders import stakeholders
from .subgroups import Subgroups, by_group
from .thresholdsearch import ThresholdSearch, search_thresholds
from .utilities import with_utility
from .values import Summary

__all__ = [
    "Acceptability", "Accuracy", "BestSet", "Budgeted", "Comparison", "DecisionOverlap", "DecisionTies", "EmbeddedValue", "Explanation",
    "Extrapolation", "Fair", "InformationValue", "ModelComparison", "ParameterInformation", "PolicyTree", "PriorPredictive", "Regime",
    "RiskProfile", "SampleInformation", "StagewisePosterior", "StagewiseRegime", "Subgroups", "Summary", "ThresholdSearch", "Ties", "acceptability",
    "best_set", "by_group", "compare", "compare_models", "evppi", "evsi", "exchange_bands", "fair", "load", "missing_shift", "optimize",
    "policy_tree", "prior_predictive", "prior_starts_best", "q_learn", "risk_profile", "search_thresholds", "stakeholders", "tipping",
    "value_of_information", "with_utility", "within_budget",
]
