"""Declarations: frozen, without data, without JAX or PyMC, JSON in and out."""

from .attitude import Attitude, Exponential, Neutral, PiecewiseLinear, Power
from .borrowing import Commensurate, RobustMAP
from .codec import from_json, to_json
from .conditions import Condition, at_least, below, between, one_of, otherwise, when
from .counts import Hurdle, NegativeBinomial, Poisson, ZeroInflated
from .families import Bernoulli, BetaBinomial, Categorical, Family, LogNormal, Normal, Ordinal, StudentT
from .lifetime import QualityAdjusted, RestrictedMean, SurvivalAt
from .lottery import Lottery
from .models import Hierarchical, Saturated, UserModel
from .priors import NormalInverseGamma, Prior
from .rules import Rules, as_assigned, at_random, written
from .safety import Safety, SafetyGate
from .shift import Shift
from .study import History, Scale, Study
from .survival import Survival
from .timeline import Baseline, Decision, Response
from .utility import Utility

__all__ = [
    "Attitude", "Baseline", "Bernoulli", "BetaBinomial", "Categorical", "Commensurate", "Condition", "Decision", "Exponential", "Family",
    "Hierarchical", "History", "Hurdle", "LogNormal", "Lottery", "NegativeBinomial", "Neutral", "Normal", "NormalInverseGamma", "Ordinal",
    "PiecewiseLinear", "Poisson", "Power", "Prior", "QualityAdjusted", "Response", "RestrictedMean", "RobustMAP", "Rules", "Safety", "SafetyGate",
    "Saturated", "Scale", "Shift", "StudentT", "Study", "Survival", "SurvivalAt", "UserModel", "Utility", "ZeroInflated", "as_assigned",
    "at_least", "at_random", "below", "between", "from_json", "one_of", "otherwise", "to_json", "when", "written",
]
