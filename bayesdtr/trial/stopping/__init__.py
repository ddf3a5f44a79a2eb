"""When a trial ends or drops an option: rules as declarations, and their statistics."""

from .contrasts import Equivalence, Futility, Inferiority, SuccessProbability, Superiority
from .dropping import DropWorst
from .rule import DroppingRule, LookState, StoppingRule
from .safety import DropUnsafe, SafetyStop

__all__ = [
    "DropUnsafe", "DropWorst", "DroppingRule", "Equivalence", "Futility", "Inferiority", "LookState", "SafetyStop", "StoppingRule",
    "SuccessProbability", "Superiority",
]
