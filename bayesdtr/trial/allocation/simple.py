"""Rules that look at no outcome."""

from dataclasses import dataclass

import numpy as np

from .rule import AllocationRule, Situation


@dataclass(frozen=True)
class Equal(AllocationRule):
    """Equal probabilities among the feasible options."""

    @property
    def adaptive(self) -> bool:
        """False."""
        return False

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        return situation.feasible / situation.feasible.sum(axis=1, keepdims=True)

    def text(self) -> str:
        """The rule in words."""
        return "equal"
