"""When a trial ends or drops an option: rules as declarations, and their statistics."""

from .rule import DroppingRule, LookState, StoppingRule
from .rules import DropWorst, Equivalence, Superiority

__all__ = ["DropWorst", "DroppingRule", "Equivalence", "LookState", "StoppingRule", "Superiority"]
