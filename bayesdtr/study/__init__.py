"""Declarations: frozen, without data, without JAX or PyMC, JSON in and out."""

from .codec import from_json, to_json
from .conditions import Condition, at_least, below, between, one_of, when
from .families import Bernoulli, Family, Normal
from .models import Hierarchical, Saturated, UserModel
from .priors import NormalInverseGamma, Prior
from .rules import Rules, written
from .study import History, Scale, Study
from .timeline import Baseline, Decision, Response
from .utility import Utility

__all__ = [
    "Baseline", "Bernoulli", "Condition", "Decision", "Family", "Hierarchical", "History", "Normal", "NormalInverseGamma",
    "Prior", "Response", "Rules", "Saturated", "Scale", "Study", "UserModel", "Utility",
    "at_least", "below", "between", "from_json", "one_of", "to_json", "when", "written",
]
