"""From a posterior to decisions: the optimal regime, and the embedded regimes compared."""

from .accuracy import Accuracy
from .before import prior_starts_best
from .bestset import BestSet, best_set
from .compare import Comparison, EmbeddedValue, compare
from .explaining.explain import Explanation
from .explaining.extrapolation import DecisionOverlap, Extrapolation
from .files import load
from .information.evppi import ParameterInformation, evppi
from .information.evsi import SampleInformation, evsi
from .information.information import InformationValue, value_of_information
from .limits.budget import Budgeted, within_budget
from .limits.fair import Fair, fair
from .limits.subgroups import Subgroups, by_group
from .models import ModelComparison, compare_models
from .optimize import optimize
from .prior_predictive import PriorPredictive, prior_predictive
from .reading.policytree import PolicyTree, policy_tree
from .reading.thresholdsearch import ThresholdSearch, search_thresholds
from .regime import Regime
from .sets import DecisionTies, Ties
from .shift import missing_shift, tipping
from .stagewise.qlearning import q_learn
from .stagewise.stagewise import StagewisePosterior, StagewiseRegime
from .values import Summary
from .worth.exchange import exchange_bands
from .worth.netbenefit import Acceptability, acceptability
from .worth.risk import RiskProfile, risk_profile
from .worth.stakeholders import stakeholders
from .worth.utilities import with_utility

__all__ = [
    "Acceptability", "Accuracy", "BestSet", "Budgeted", "Comparison", "DecisionOverlap", "DecisionTies", "EmbeddedValue", "Explanation",
    "Extrapolation", "Fair", "InformationValue", "ModelComparison", "ParameterInformation", "PolicyTree", "PriorPredictive", "Regime",
    "RiskProfile", "SampleInformation", "StagewisePosterior", "StagewiseRegime", "Subgroups", "Summary", "ThresholdSearch", "Ties", "acceptability",
    "best_set", "by_group", "compare", "compare_models", "evppi", "evsi", "exchange_bands", "fair", "load", "missing_shift", "optimize",
    "policy_tree", "prior_predictive", "prior_starts_best", "q_learn", "risk_profile", "search_thresholds", "stakeholders", "tipping",
    "value_of_information", "with_utility", "within_budget",
]
