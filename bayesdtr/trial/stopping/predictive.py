"""Predictive probability of success of trials of Bernoulli arms: outcomes to come from their beta-binomial law."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special, stats

from ...study import Study
from ..analysis.betas import Betas
from .rule import LookState

POINTS = 256
"""Quasi-random completions of each trial; the error of a probability is at most 1 / (2 sqrt(POINTS)), and smaller since they are spread evenly."""


def success_of_arms(state: LookState, likely: Callable[[Any, np.ndarray, Study], np.ndarray], success: float) -> np.ndarray | None:
    """Predictive probability that `likely` exceeds `success` with all outcomes known, shape (trial,); None unless values are independent Betas.

    Outcomes yet to come are divided equally among the active arms, the first ones taking what is left over.
    """
    values = state.values
    if not isinstance(values, Betas):
        return None
    a, b = np.broadcast_arrays(values.a, values.b)
    trials, arms = a.shape
    active = state.regimes
    count = active.sum(axis=1, keepdims=True)
    rank = np.cumsum(active, axis=1) - 1
    extra = np.where(active, state.remaining[:, None] // count + (rank < state.remaining[:, None] % count), 0)
    uniform = stats.qmc.Sobol(2 * arms, seed=0).random(POINTS)
    p = special.betaincinv(a[:, None], b[:, None], uniform[None, :, :arms])
    yes = stats.binom.ppf(uniform[None, :, arms:], extra[:, None], p)
    yes = np.where(extra[:, None] > 0, yes, 0.0)
    worth = (np.repeat(v, POINTS, axis=0) for v in (values.scale, values.offset))
    final = Betas((a[:, None] + yes).reshape(-1, arms), (b[:, None] + extra[:, None] - yes).reshape(-1, arms), *worth)
    reached = likely(final, np.repeat(active, POINTS, axis=0), state.study) > success
    return reached.reshape(trials, POINTS).mean(axis=1)
