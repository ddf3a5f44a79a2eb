"""TRY IT: adaptive trials, declared once, simulated by the ten thousand, calibrated, sized, replayed."""

from .allocation import Equal, Fixed, NullStabilized, PermutedBlock, SmartAR, Stratified, Thompson, TopTwo
from .analysis import Analysis
from .assignment import BurnIn
from .characteristics import (
    Assurance,
    Calibration,
    DriftInflation,
    OperatingCharacteristics,
    Sizing,
    assurance,
    calibrate,
    drift_inflation,
    null_grid,
    power_curve,
    size_for,
)
from .design import TrialDesign
from .looks import Looks
from .nature import (
    Adherence,
    ArmDrift,
    Calendar,
    Dropout,
    ExponentialDelay,
    Gaussian,
    Joint,
    Law,
    Levels,
    LinearDrift,
    PiecewiseAccrual,
    PoissonAccrual,
    QuantileDelay,
    Scenario,
    ScenarioTruth,
    Sites,
    Steady,
    StepDrift,
    Uniform,
    UniformDelay,
    truth,
)
from .running import Replay, Run, replay
from .simulation import load_run, simulate
from .stopping import DropUnsafe, DropWorst, Equivalence, Futility, Inferiority, SafetyStop, SuccessProbability, Superiority

__all__ = [
    "Adherence", "Analysis", "ArmDrift", "Assurance", "BurnIn", "Calendar", "Calibration", "DriftInflation", "DropUnsafe", "DropWorst", "Dropout",
    "Equal", "Equivalence", "ExponentialDelay", "Fixed", "Futility", "Gaussian", "Inferiority", "Joint", "Law", "Levels", "LinearDrift", "Looks",
    "NullStabilized", "OperatingCharacteristics", "PermutedBlock", "PiecewiseAccrual", "PoissonAccrual", "QuantileDelay", "Replay", "Run",
    "SafetyStop", "Scenario", "ScenarioTruth", "Sites", "Sizing", "SmartAR", "Steady", "StepDrift", "Stratified", "SuccessProbability",
    "Superiority", "Thompson", "TopTwo", "TrialDesign", "Uniform", "UniformDelay", "assurance", "calibrate", "drift_inflation", "load_run",
    "null_grid", "power_curve", "replay", "simulate", "size_for", "truth",
]
