"""Bayesian dynamic treatment regimes: declare a study once; analyse, optimize, randomize and explain."""

import importlib
from typing import TYPE_CHECKING, Any

from .errors import BayesDTRError, DataError, DecisionError, FileError, InferenceError, ModelError, StudyError, VerdictWarning
from .study import (
    Baseline,
    Bernoulli,
    BetaBinomial,
    Categorical,
    Commensurate,
    Condition,
    Decision,
    Hierarchical,
    Hurdle,
    LogNormal,
    NegativeBinomial,
    Normal,
    NormalInverseGamma,
    Ordinal,
    Poisson,
    Prior,
    QualityAdjusted,
    Response,
    RestrictedMean,
    RobustMAP,
    Rules,
    SafetyGate,
    Saturated,
    Scale,
    Shift,
    StudentT,
    Study,
    Survival,
    SurvivalAt,
    Utility,
    ZeroInflated,
    at_least,
    below,
    between,
    one_of,
    when,
)

if TYPE_CHECKING:
    from . import plot
    from .data import Trajectories
    from .decision import (
        Budgeted,
        Comparison,
        Fair,
        InformationValue,
        ModelComparison,
        PriorPredictive,
        Regime,
        Subgroups,
        best_set,
        by_group,
        compare,
        compare_models,
        exchange_bands,
        fair,
        load,
        missing_shift,
        optimize,
        prior_predictive,
        stakeholders,
        tipping,
        value_of_information,
        with_utility,
        within_budget,
    )
    from .evaluate import HonestValue, honest_value
    from .inference import Fits, Posterior, PowerPrior, PriorTable, StackedPosterior, Verdict, check, fit, fit_many, priors
    from .reporting import report

__version__ = "0.1.0"

# What needs JAX and PyMC is imported when it is first used: a declaration or a typing error answers at once.
_LATER = {
    "missing_shift": "decision", "tipping": "decision", "InformationValue": "decision", "value_of_information": "decision",
    "with_utility": "decision", "within_budget": "decision", "Budgeted": "decision", "Subgroups": "decision", "by_group": "decision",
    "exchange_bands": "decision", "stakeholders": "decision", "Fair": "decision", "fair": "decision",
    "Trajectories": "data", "Comparison": "decision", "ModelComparison": "decision", "Regime": "decision", "best_set": "decision",
    "compare": "decision", "compare_models": "decision", "load": "decision", "optimize": "decision", "Posterior": "inference",
    "StackedPosterior": "inference", "Verdict": "inference", "check": "inference", "fit": "inference", "report": "reporting",
    "PowerPrior": "inference", "PriorTable": "inference", "priors": "inference", "PriorPredictive": "decision", "prior_predictive": "decision",
    "Fits": "inference", "fit_many": "inference", "HonestValue": "evaluate", "honest_value": "evaluate",
}

__all__ = [
    "Baseline", "BayesDTRError", "Bernoulli", "BetaBinomial", "Budgeted", "Categorical", "Commensurate", "Comparison", "Condition", "DataError",
    "Decision", "DecisionError", "Fair", "FileError", "Fits", "Hierarchical", "HonestValue", "Hurdle", "InferenceError", "InformationValue",
    "LogNormal", "ModelComparison", "ModelError", "NegativeBinomial", "Normal", "NormalInverseGamma", "Ordinal", "Poisson", "Posterior", "PowerPrior",
    "Prior", "PriorPredictive", "PriorTable", "QualityAdjusted", "Regime", "Response", "RestrictedMean", "RobustMAP", "Rules", "SafetyGate",
    "Saturated", "Scale", "Shift", "StackedPosterior", "StudentT", "Study", "StudyError", "Subgroups", "Survival", "SurvivalAt", "Trajectories",
    "Utility", "Verdict", "VerdictWarning", "ZeroInflated", "at_least", "below", "best_set", "between", "by_group", "check", "compare",
    "compare_models", "exchange_bands", "fair", "fit", "fit_many", "honest_value", "load", "missing_shift", "one_of", "optimize", "plot",
    "prior_predictive", "priors", "report", "stakeholders", "tipping", "value_of_information", "when", "with_utility", "within_budget",
]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return importlib.import_module(".plot", __name__)
    if name in _LATER:
        value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
