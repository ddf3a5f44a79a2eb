"""Numbers estimated from replicates, each with what it owes to every replicate, so that differences on common random numbers have their own error."""

from dataclasses import dataclass, field

import numpy as np
from scipy import special, stats

PROBABILITY, NUMBER = "probability", "number"
WIDTH = 1.959963984540054
"""Half width of 95 % intervals in standard errors."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number, its Monte Carlo standard error and a 95 % interval.

    Attributes
    ----------
    value, error, lower, upper : float
        NaN where there is no number. The error of a probability that was never or always observed is that of Wilson's centre, never 0.
    """

    value: float
    error: float
    lower: float
    upper: float


MISSING = Estimate(np.nan, np.nan, np.nan, np.nan)
NONE = np.zeros(0)
"""Errors of truths where none enters."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A functional of a run's replicates.

    Attributes
    ----------
    value : float
    influence : array, shape (replicate,)
        What each replicate contributes to the error: it has mean 0, and its SD over the root of the number of replicates is the standard error.
    kind : {"probability", "number"}
    truth : array, shape (regime,)
        Derivative with respect to the true values of the regimes, which may be known with an error of their own.
    """

    value: float
    influence: np.ndarray
    kind: str = NUMBER
    truth: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def replicates(self) -> int:
        """Number of replicates."""
        return len(self.influence)


# ---- functionals -------------------------------------------------------------------------------------------------


def ratio(top: np.ndarray, bottom: np.ndarray, truth: np.ndarray | None = None) -> Measured:
    """Ratio of two means, such as a share of patients: ``E top / E bottom``, with the linearised error of a ratio estimator."""
    top, bottom = np.asarray(top, float), np.asarray(bottom, float)
    below = bottom.mean() if len(bottom) else 0.0
    if below == 0:
        return Measured(np.nan, np.full(len(bottom), np.nan))
    value = top.mean() / below
    rest = top - value * bottom
    # What is rounding alone is no error: a share that every replicate keeps exactly.
    rest[np.abs(rest) <= 1e-12 * np.abs(top)] = 0.0
    return Measured(float(value), rest / below, truth=np.zeros(0) if truth is None else truth)


def mean(x: np.ndarray, truth: np.ndarray | None = None) -> Measured:
    """Mean over the replicates that have a number."""
    x = np.asarray(x, float)
    there = np.isfinite(x)
    return ratio(np.where(there, x, 0.0), there, truth)


def probability(event: np.ndarray) -> Measured:
    """Probability of an event, from its occurrence in each replicate."""
    event = np.asarray(event, float)
    if not len(event):
        return Measured(np.nan, event, PROBABILITY)
    value = float(event.mean())
    return Measured(value, event - value, PROBABILITY)


def spread(x: np.ndarray) -> Measured:
    """Standard deviation between replicates."""
    x = np.asarray(x, float)
    x = x[np.isfinite(x)] if not np.isfinite(x).all() else x
    if len(x) < 2:
        return Measured(np.nan, np.full(len(x), np.nan))
    centred = x - x.mean()
    value = float(x.std(ddof=1))
    return Measured(value, np.zeros(len(x)) if value == 0 else (centred**2 - (centred**2).mean()) / (2 * value))


def root_mean_square(x: np.ndarray, truth: np.ndarray | None = None) -> Measured:
    """Root of the mean square over the replicates that have a number."""
    square = mean(np.asarray(x, float) ** 2)
    value = float(np.sqrt(square.value))
    below = 2 * value if value > 0 else np.inf
    return Measured(value, square.influence / below, truth=np.zeros(0) if truth is None else truth / below)


def quantile(x: np.ndarray, level: float) -> Measured:
    """A quantile, the smallest value that the share `level` does not exceed; its error by Maritz and Jarrett's exact bootstrap variance."""
    x = np.asarray(x, float)
    ordered = np.sort(x[np.isfinite(x)])
    n = len(ordered)
    if n < 2:
        return Measured(np.nan, np.full(len(x), np.nan))
    rank = max(int(np.ceil(level * n - 1e-9)), 1)
    value = ordered[rank - 1]
    weights = np.diff(special.betainc(rank, n - rank + 1, np.arange(n + 1) / n))
    centre = weights @ ordered
    error = np.sqrt(max(weights @ (ordered - centre) ** 2, 0.0))
    below = (x <= value) - np.mean(x <= value)
    scale = below.std()
    return Measured(float(value), -below / scale * error * np.sqrt(n) if scale > 0 else np.zeros(len(x)))


# ---- from functionals to numbers with errors ---------------------------------------------------------------------


def estimate(measured: Measured, errors: np.ndarray) -> Estimate:
    """A number with its error.

    Parameters
    ----------
    measured : Measured
    errors : array, shape (regime,)
        Standard errors of the true values.
    """
    n = measured.replicates
    if n == 0 or not np.isfinite(measured.value):
        return MISSING
    if measured.kind == PROBABILITY:
        count = round(measured.value * n)
        centre = measured.value if 0 < count < n else (count + WIDTH**2 / 2) / (n + WIDTH**2)
        lower, upper = exact_interval(count, n)
        return Estimate(measured.value, float(np.sqrt(centre * (1 - centre) / n)), lower, upper)
    return _normal(measured.value, _error(measured.influence, measured.truth, errors))


def paired(one: Measured, other: Measured, errors: np.ndarray) -> Estimate:
    """Difference of two functionals of runs on common random numbers, with the error of a paired comparison.

    Notes
    -----
    Between probabilities, half a replicate is added to each of the four cells before the error and the interval are formed (Agresti and Min 2005,
    Statistics in Medicine 24:729-740), so that two runs which never differ do not look certain to be equal.
    """
    if not (np.isfinite(one.value) and np.isfinite(other.value)) or one.replicates != other.replicates or not one.replicates:
        return MISSING
    value = one.value - other.value
    if one.kind == PROBABILITY:
        n = one.replicates + 2
        step = (one.influence - other.influence) + value
        up, down = (step > 0.5).sum() + 0.5, (step < -0.5).sum() + 0.5
        centre, error = (up - down) / n, float(np.sqrt(max(up + down - (up - down) ** 2 / n, 0.0)) / n)
        return Estimate(value, error, float(centre - WIDTH * error), float(centre + WIDTH * error))
    slope = one.truth - other.truth if one.truth.shape == other.truth.shape else np.zeros(0)
    return _normal(value, _error(one.influence - other.influence, slope, errors))


def exact_interval(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a probability; both sides share the error, also where one of them is 0 or 1."""
    tail = (1 - confidence) / 2
    return lower_bound(count, n, 1 - tail), upper_bound(count, n, 1 - tail)


def upper_bound(count: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper confidence bound of a probability."""
    return 1.0 if count >= n else float(stats.beta.ppf(confidence, count + 1, n - count))


def lower_bound(count: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided lower confidence bound of a probability."""
    return 0.0 if count <= 0 else float(stats.beta.ppf(1 - confidence, count, n - count + 1))


def _error(influence: np.ndarray, slope: np.ndarray, errors: np.ndarray) -> float:
    n = len(influence)
    own = influence.std(ddof=1) ** 2 / n if n > 1 else np.nan
    return float(np.sqrt(own + ((slope * errors) ** 2).sum() if len(slope) else own))


def _normal(value: float, error: float) -> Estimate:
    return Estimate(value, error, value - WIDTH * error, value + WIDTH * error)


