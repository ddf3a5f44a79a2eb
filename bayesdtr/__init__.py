"""Bayesian dynamic treatment regimes: declare a study once; analyse, optimize, randomize and explain."""

import importlib
from typing import TYPE_CHECKING, Any

from .errors import BayesDTRError, DataError, DecisionError, FileError, InferenceError, ModelError, StudyError, TrialError, VerdictWarning
from .study import (
    Baseline,
    Bernoulli,
    BetaBinomial,
    Categorical,
    Commensurate,
    Condition,
    Decision,
    Exponential,
    Hierarchical,
    Hurdle,
    LogNormal,
    Lottery,
    NegativeBinomial,
    Normal,
    NormalInverseGamma,
    Ordinal,
    PiecewiseLinear,
    Poisson,
    Power,
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
    as_assigned,
    at_least,
    at_random,
    below,
    between,
    one_of,
    otherwise,
    when,
)

if TYPE_CHECKING:
    from . import plot
    from .data import Trajectories
    from .decision import (
        Acceptability,
        Budgeted,
        Comparison,
        Explanation,
        Extrapolation,
        Fair,
        InformationValue,
        ModelComparison,
        ParameterInformation,
        PolicyTree,
        PriorPredictive,
        Regime,
        RiskProfile,
        SampleInformation,
        StagewiseRegime,
        Subgroups,
        ThresholdSearch,
        acceptability,
        best_set,
        by_group,
        compare,
        compare_models,
        evppi,
        evsi,
        exchange_bands,
        fair,
        load,
        missing_shift,
        optimize,
        policy_tree,
        prior_predictive,
        q_learn,
        risk_profile,
        search_thresholds,
        stakeholders,
        tipping,
        value_of_information,
        with_utility,
        within_budget,
    )
    from .evaluate import HonestValue, honest_value
    from .inference import Fits, Posterior, PowerPrior, PriorTable, StackedPosterior, Verdict, check, fit, fit_many, priors
    from .reporting import report
    from .trial import (
        Adherence,
        Analysis,
        ArmDrift,
        BurnIn,
        Calendar,
        Dropout,
        DropUnsafe,
        DropWorst,
        Equal,
        Equivalence,
        ExponentialDelay,
        Fixed,
        Futility,
        Gaussian,
        Inferiority,
        Joint,
        Law,
        Levels,
        LinearDrift,
        Looks,
        NullStabilized,
        PermutedBlock,
        PiecewiseAccrual,
        PoissonAccrual,
        SafetyStop,
        Scenario,
        Sites,
        SmartAR,
        Steady,
        StepDrift,
        Stratified,
        SuccessProbability,
        Superiority,
        Thompson,
        TopTwo,
        TrialDesign,
        Uniform,
        UniformDelay,
    )

__version__ = "0.1.0"

# What needs JAX and PyMC is imported when it is first used: a declaration or a typing error answers at once.
_LATER = {
    "Trajectories": "data",
    "Acceptability": "decision", "Budgeted": "decision", "Comparison": "decision", "Explanation": "decision", "Extrapolation": "decision",
    "Fair": "decision", "InformationValue": "decision", "ModelComparison": "decision", "ParameterInformation": "decision", "PolicyTree": "decision",
    "PriorPredictive": "decision", "Regime": "decision", "RiskProfile": "decision", "SampleInformation": "decision", "StagewiseRegime": "decision",
    "Subgroups": "decision", "ThresholdSearch": "decision", "acceptability": "decision", "best_set": "decision", "by_group": "decision",
    "compare": "decision", "compare_models": "decision", "evppi": "decision", "evsi": "decision", "exchange_bands": "decision", "fair": "decision",
    "load": "decision", "missing_shift": "decision", "optimize": "decision", "policy_tree": "decision", "prior_predictive": "decision",
    "q_learn": "decision", "risk_profile": "decision", "search_thresholds": "decision", "stakeholders": "decision", "tipping": "decision",
    "value_of_information": "decision", "with_utility": "decision", "within_budget": "decision",
    "HonestValue": "evaluate", "honest_value": "evaluate",
    "Fits": "inference", "Posterior": "inference", "PowerPrior": "inference", "PriorTable": "inference", "StackedPosterior": "inference",
    "Verdict": "inference", "check": "inference", "fit": "inference", "fit_many": "inference", "priors": "inference",
    "report": "reporting",
    "Adherence": "trial", "Analysis": "trial", "ArmDrift": "trial", "BurnIn": "trial", "Calendar": "trial", "DropUnsafe": "trial",
    "DropWorst": "trial", "Dropout": "trial", "Equal": "trial", "Equivalence": "trial", "ExponentialDelay": "trial", "Fixed": "trial",
    "Futility": "trial", "Gaussian": "trial", "Inferiority": "trial", "Joint": "trial", "Law": "trial", "Levels": "trial", "LinearDrift": "trial",
    "Looks": "trial", "NullStabilized": "trial", "PermutedBlock": "trial", "PiecewiseAccrual": "trial", "PoissonAccrual": "trial",
    "SafetyStop": "trial", "Scenario": "trial", "SmartAR": "trial", "Sites": "trial", "Steady": "trial", "StepDrift": "trial",
    "Stratified": "trial", "SuccessProbability": "trial", "Superiority": "trial", "Thompson": "trial", "TopTwo": "trial", "TrialDesign": "trial",
    "Uniform": "trial", "UniformDelay": "trial",
}

__all__ = [
    "Acceptability", "Adherence", "Analysis", "ArmDrift", "Baseline", "BayesDTRError", "Bernoulli", "BetaBinomial", "Budgeted", "BurnIn",
    "Calendar", "Categorical", "Commensurate", "Comparison", "Condition", "DataError", "Decision", "DecisionError", "DropUnsafe", "DropWorst",
    "Dropout", "Equal", "Equivalence", "Explanation", "Exponential", "ExponentialDelay", "Extrapolation", "Fair", "FileError", "Fits", "Fixed",
    "Futility", "Gaussian", "Hierarchical", "HonestValue", "Hurdle", "InferenceError", "Inferiority", "InformationValue", "Joint", "Law", "Levels",
    "LinearDrift", "LogNormal", "Looks", "Lottery", "ModelComparison", "ModelError", "NegativeBinomial", "Normal", "NormalInverseGamma",
    "NullStabilized", "Ordinal", "ParameterInformation", "PermutedBlock", "PiecewiseAccrual", "PiecewiseLinear", "Poisson", "PoissonAccrual",
    "PolicyTree", "Posterior", "Power", "PowerPrior", "Prior", "PriorPredictive", "PriorTable", "QualityAdjusted", "Regime", "Response",
    "RestrictedMean", "RiskProfile", "RobustMAP", "Rules", "SafetyGate", "SafetyStop", "SampleInformation", "Saturated", "Scale", "Scenario",
    "Shift", "Sites", "SmartAR", "StackedPosterior", "StagewiseRegime", "Steady", "StepDrift", "Stratified", "StudentT", "Study", "StudyError",
    "Subgroups", "SuccessProbability", "Superiority", "Survival", "SurvivalAt", "Thompson", "ThresholdSearch", "TopTwo", "Trajectories",
    "TrialDesign", "TrialError", "Uniform", "UniformDelay", "Utility", "Verdict", "VerdictWarning", "ZeroInflated", "acceptability", "as_assigned",
    "at_least", "at_random", "below", "best_set", "between", "by_group", "check", "compare", "compare_models", "evppi", "evsi", "exchange_bands",
    "fair", "fit", "fit_many", "honest_value", "load", "missing_shift", "one_of", "optimize", "otherwise", "plot", "policy_tree",
    "prior_predictive", "priors", "q_learn", "report", "risk_profile", "search_thresholds", "stakeholders", "tipping", "value_of_information",
    "when", "with_utility", "within_budget",
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
