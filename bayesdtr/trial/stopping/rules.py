"""Superiority, futility, equivalence, and dropping the worst."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import TrialError
from ...study import Study
from .rule import DroppingRule, LookState, StoppingRule, Threshold, at_look, per_look


def _probability(threshold: float | Sequence[float], what: str) -> Threshold:
    made = per_look(threshold)
    if not all(0 < t < 1 for t in np.atleast_1d(made)):
        raise TrialError(f"{what} takes probabilities between 0 and 1, got {threshold!r}.")
    return made


def _fits(threshold: Threshold, looks: int, what: str) -> None:
    if isinstance(threshold, tuple) and len(threshold) != looks:
        raise TrialError(f"{what} has {len(threshold)} thresholds and the design {looks} looks; give one number, or one for each look.")


@dataclass(frozen=True, init=False)
class Superiority(StoppingRule):
    """P(best) of a regime exceeds a threshold."""

    threshold: Threshold

    def __init__(self, threshold, *, binding=True):
        object.__setattr__(self, "threshold", _probability(threshold, "Superiority"))
        object.__setattr__(self, "binding", binding)

    @property
    def declares(self) -> bool:
        return True

    def check(self, study: Study, looks: int) -> None:
        _fits(self.threshold, looks, "Superiority")

    def statistic(self, state: LookState) -> np.ndarray:
        return state.values.p_best(state.regimes)[0].max(axis=1)

    def level(self, look: int) -> float:
        return at_look(self.threshold, look)

    def declared(self, state: LookState) -> np.ndarray:
        return state.values.p_best(state.regimes)[0] > self.level(state.look)

    def at(self, level: Threshold) -> "Superiority":
        return replace(self, threshold=level)

    def text(self) -> str:
        return f"superiority: P(best) > {self.threshold}"


@dataclass(frozen=True, init=False)
class Equivalence(StoppingRule):
    """All active are within a margin."""

    threshold: Threshold
    margin: float

    def __init__(self, threshold, *, margin, binding=True):
        object.__setattr__(self, "threshold", _probability(threshold, "Equivalence"))
        object.__setattr__(self, "margin", margin)
        object.__setattr__(self, "binding", binding)

    def statistic(self, state: LookState) -> np.ndarray:
        return state.values.within(self.margin, state.regimes)

    def level(self, look: int) -> float:
        return at_look(self.threshold, look)

    def text(self) -> str:
        return f"equivalence: P(all within {self.margin}) > {self.threshold}"


@dataclass(frozen=True, init=False)
class DropWorst(DroppingRule):
    """Drop arms with small P(best), one decision."""

    threshold: float

    def __init__(self, threshold):
        object.__setattr__(self, "threshold", threshold)

    def dropped(self, state: LookState) -> np.ndarray:
        active = state.regimes.copy()
        for _ in range(active.shape[1]):
            p = state.values.p_best(active)[0]
            out = active & (p < self.threshold)
            if not out.any():
                break
            active &= ~out
        return state.active & (state.layout.uses[None] & (state.regimes & ~active)[:, :, None]).any(axis=1)

    def text(self) -> str:
        return f"drop arms with P(best) < {self.threshold}"
