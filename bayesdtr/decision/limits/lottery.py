"""The best lottery over a finite class of regimes, by linear programming on posterior means."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from ...errors import DecisionError

NOTHING = 1e-9
"""Shares below this are rounding."""


@dataclass(frozen=True, eq=False)
class Lottery:
    """A regime drawn once for each patient.

    Attributes
    ----------
    shares : tuple of (str, float)
        The regimes that are drawn, and how often; in the order of the class.
    weights : array, shape (regime,)
        The same, over the whole class.
    value : float
        Posterior mean value over all patients.
    group_values : array, shape (group,)
        Posterior mean value of each subgroup.
    """

    shares: tuple[tuple[str, float], ...]
    weights: np.ndarray
    value: float
    group_values: np.ndarray

    def mixed(self, draws: np.ndarray) -> np.ndarray:
        """The lottery's value draw by draw, given those of the class along axis 2: ``(chain, draw, regime, ...)`` without the regimes."""
        return np.tensordot(draws, self.weights, axes=([2], [0]))


def best_lottery(names: tuple[str, ...], means: np.ndarray, by_group: np.ndarray, floor: np.ndarray | None, objective: str) -> Lottery | None:
    """The lottery of highest mean value, or of highest smallest subgroup mean (and among these of highest value).

    Parameters
    ----------
    names : tuple of str
    means : array, shape (regime,)
    by_group : array, shape (regime, group)
    floor : array, shape (group,), or None
        Least mean value of each subgroup.
    objective : {"value", "maxmin"}

    Returns
    -------
    Lottery or None
        None where no lottery reaches the floor.
    """
    unit = max(float(np.ptp(np.concatenate([by_group.ravel(), means]))), 1e-300)
    base = by_group.min(axis=0)
    height = (by_group - base) / unit  # gains in units of the spread, so that the solver's tolerance is relative to it
    least = np.full(len(base), -np.inf) if floor is None else (floor - base) / unit
    if objective == "maxmin":
        top = _solved(np.zeros(len(names)), height, least, base / unit)
        if top is None:
            return None
        smallest = float((top @ height + base / unit).min())
        least = np.maximum(least, smallest - base / unit - NOTHING)
    weights = _solved((means - means.min()) / unit, height, least, None)
    if weights is None:
        return None
    weights = np.where(weights > NOTHING, weights, 0.0)
    weights /= weights.sum()
    shares = tuple((n, float(w)) for n, w in zip(names, weights, strict=True) if w)
    return Lottery(shares, weights, float(weights @ means), weights @ by_group)


def _solved(gain: np.ndarray, height: np.ndarray, least: np.ndarray, base: np.ndarray | None) -> np.ndarray | None:
    """Shares that maximise a gain, or with `base` the smallest of ``height + base``, above the least heights; None where there are none."""
    regimes, groups = height.shape
    bounded = np.isfinite(least)
    rows, right = [-np.c_[height.T, np.zeros(groups)][bounded]], [-least[bounded]]
    cost = np.append(-gain, 0.0)
    if base is not None:
        rows.append(np.c_[-height.T, np.ones(groups)])
        right.append(base)
        cost = np.append(np.zeros(regimes), -1.0)
    bounds = [(0, None)] * regimes + [(None, None) if base is not None else (0, 0)]
    found = linprog(cost, A_ub=np.concatenate(rows), b_ub=np.concatenate(right), A_eq=np.append(np.ones(regimes), 0.0)[None], b_eq=[1.0],
                    bounds=bounds, method="highs")
    if found.status == 2:
        return None
    if found.status != 0:
        raise DecisionError(f"fair: the search for the best lottery did not end: {found.message}")
    return found.x[:regimes]
