"""Declarations: frozen, without data, without JAX or PyMC, JSON in and out."""

from .attitude import Attitude, Exponential, Neutral, PiecewiseLinear, Power
from .borrowing import Commensurate, RobustMAP
from .codec import from_json, to_json
from .conditions import Condition, at_least, below, between, one_of, when
from .counts import Hurdle, NegativeBinomial, Poisson, ZeroInflated
from .families import Bernoulli, BetaBinomial, Categorical, Family, LogNormal, Normal, Ordinal, StudentT
from .lifetime import QualityAdjusted, RestrictedMean, SurvivalAt
from .models import Hierarchical, Saturated, UserModel
from .priors import NormalInverseGamma, Prior
from .rules import Rules, written
from .safety import Safety, SafetyGate
from .shift import Shift
from .study import History, Scale, Study
from .survival import Survival
from .timeline import Baseline, Decision, Response
from .utility import Utility

__all__ = [
    "Attitude", "Baseline", "Bernoulli", "BetaBinomial", "Categorical", "Commensurate", "Condition", "Decision", "Exponential", "Family",
    "Hierarchical", "History", "Hurdle", "LogNormal", "NegativeBinomial", "Neutral", "Normal", "NormalInverseGamma", "Ordinal", "PiecewiseLinear",
    "Poisson", "Power", "Prior", "QualityAdjusted", "Response", "RestrictedMean", "RobustMAP", "Rules", "Safety", "SafetyGate", "Saturated",
    "Scale", "Shift", "StudentT", "Study", "Survival", "SurvivalAt", "UserModel", "Utility", "ZeroInflated", "at_least", "below", "between",
    "from_json", "one_of", "to_json", "when", "written",
]
