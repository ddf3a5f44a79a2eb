"""When a trial ends or drops an option: rules as declarations, and their statistics."""

from .rule import DroppingRule, LookState, StoppingRule

__all__ = ["DroppingRule", "LookState", "StoppingRule"]
