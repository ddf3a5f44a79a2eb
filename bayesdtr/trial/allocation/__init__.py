"""How patients are assigned: rules as declarations, and their probabilities as pure functions."""

from .rule import AllocationRule, Situation
from .simple import Equal

__all__ = ["AllocationRule", "Equal", "Situation"]
