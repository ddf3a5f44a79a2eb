"""Top-two Thompson randomization: the leader's surplus goes to its challengers."""

from dataclasses import dataclass

import numpy as np

from ...errors import TrialError
from ...study import Study
from .bounds import bounded, bounds_text, check_bounds, check_fields, number
from .rule import AllocationRule, Situation
from .shares import summed


@dataclass(frozen=True, init=False)
class TopTwo(AllocationRule):
    """Each option with the probability that it is drawn as best, or, else, as best among those that were not drawn first.

    Parameters
    ----------
    beta : float, default 0.5
        Probability that the first drawn is taken; 1 is Thompson.
    floor, floor_rule, ceiling
        As of :class:`Thompson`.
    contextual : bool, default True
        As of :class:`Thompson`.

    Notes
    -----
    ``pi_a = p_a [beta + (1 - beta) sum of p_i / (1 - p_i) over i other than a]`` with ``p`` the posterior's probabilities of being best (Russo 2020,
    Operations Research 68:1625, whose algorithm draws; here its probabilities are computed). An option with p = 1 leaves the rest to the others in
    equal parts.

    Examples
    --------
    >>> TopTwo(beta=0.5, floor=0.05)
    """

    beta: float
    floor: float
    floor_rule: str
    ceiling: float | None
    contextual: bool

    def __init__(self, beta: float = 0.5, *, floor: float = 0.0, floor_rule: str = "affine", ceiling: float | None = None, contextual: bool = True):
        floor, floor_rule, ceiling = check_fields("TopTwo", floor, floor_rule, ceiling)
        if not isinstance(contextual, bool):
            raise TrialError(f"TopTwo: contextual is True or False, got {contextual!r}.")
        for field, value in (("beta", number(beta, "TopTwo: beta", 0, 1, above=True)), ("floor", floor), ("floor_rule", floor_rule),
                             ("ceiling", ceiling), ("contextual", contextual)):
            object.__setattr__(self, field, value)

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` where floor or ceiling cannot be kept."""
        check_bounds(study, decision, "TopTwo", self.floor, self.floor_rule, self.ceiling)

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        here, place = situation.distinct()
        share = top_two(here.p_best(not self.contextual), self.beta, here.feasible)
        return bounded(share, self.floor, self.floor_rule, self.ceiling, here.feasible)[place]

    def text(self) -> str:
        """The rule in words."""
        words = f"top-two, beta {self.beta:g}{bounds_text(self.floor, self.floor_rule, self.ceiling)}"
        return words if self.contextual else f"{words}, average history"


def top_two(p: np.ndarray, beta: float, feasible: np.ndarray) -> np.ndarray:
    """Top-two probabilities from probabilities of being best, shape (m, option).

    Parameters
    ----------
    p : array, shape (m, option)
        Sums to 1 among the feasible.
    beta : float
    feasible : array of bool, shape (m, option)
    """
    result = beta * p
    for first in range(p.shape[1]):
        others = feasible.copy()
        others[:, first] = False
        left = np.where(others, p, 0.0)
        total = summed(left)
        # Summing the others' is exact where 1 - p is not; where they have nothing, they share alike.
        second = np.where(total > 0, left / np.where(total > 0, total, 1.0), others / np.maximum(others.sum(axis=1, keepdims=True), 1))
        result = result + (1 - beta) * p[:, [first]] * second
    return np.where(feasible.sum(axis=1, keepdims=True) > 1, result, feasible * 1.0)
