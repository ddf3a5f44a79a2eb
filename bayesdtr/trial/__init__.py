"""TRY IT: adaptive trials, declared once, simulated by the ten thousand, calibrated, sized, replayed."""

from .allocation import Equal, Fixed, NullStabilized, PermutedBlock, SmartAR, Stratified, Thompson, TopTwo
from .analysis import Analysis
from .assignment import BurnIn
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
    Scenario,
    Sites,
    Steady,
    StepDrift,
    Uniform,
    UniformDelay,
)
from .stopping import DropUnsafe, DropWorst, Equivalence, Futility, Inferiority, SafetyStop, SuccessProbability, Superiority

__all__ = [
    "Adherence",
    "Analysis",
    "ArmDrift",
    "BurnIn",
    "Calendar",
    "DropUnsafe",
    "DropWorst",
    "Dropout",
    "Equal",
    "Equivalence",
    "ExponentialDelay",
    "Fixed",
    "Futility",
    "Gaussian",
    "Inferiority",
    "Joint",
    "Law",
    "Levels",
    "LinearDrift",
    "Looks",
    "NullStabilized",
    "PermutedBlock",
    "PiecewiseAccrual",
    "PoissonAccrual",
    "SafetyStop",
    "Scenario",
    "Sites",
    "SmartAR",
    "Steady",
    "StepDrift",
    "Stratified",
    "SuccessProbability",
    "Superiority",
    "Thompson",
    "TopTwo",
    "TrialDesign",
    "Uniform",
    "UniformDelay",
]
