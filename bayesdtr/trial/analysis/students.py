"""Values that are jointly Normal given a common residual SD of which only a posterior is known: one-stage arms with a Normal outcome."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, ndtr, stdtr, stdtrit

from .betas import by_blocks

_X, _W = np.polynomial.legendre.leggauss(10)
MARKS = np.array([-8.5, -6.0, -4.2, -2.8, -1.4, 0.0, 1.4, 2.8, 4.2, 6.0, 8.5])
"""Ends of panels in standard deviations of each entry."""
POINTS = ((0.0, 4.0, 192), (4.0, 25.0, 64), (25.0, np.inf, 32))
"""Points over the logarithm of the precision for ranges of the shape: with a small one the posterior has a long tail."""


@dataclass(frozen=True, eq=False)
class Students:
    """Joint posterior of values that are independent ``Normal(center, spread * sigma)`` given ``sigma``; see
    :class:`~bayesdtr.trial.analysis.values.Values`.

    Parameters
    ----------
    center, spread : array, shape (batch, entry)
        An entry with center -inf is not possible.
    shape_, rate : array, shape (batch,)
        ``sigma^2 ~ InverseGamma(shape_, rate)``.

    Notes
    -----
    Each value is a Student t with ``2 shape_`` degrees of freedom, and so is each difference: comparisons of two are exact. Those of more average
    ``P(. | sigma)``, by Gauss-Legendre quadrature on panels, over the precision by the trapezoidal rule on its logarithm, which converges
    geometrically; absolute errors are below 1e-9.
    """

    center: np.ndarray
    spread: np.ndarray
    shape_: np.ndarray
    rate: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the batch and number of entries."""
        return self.center.shape  # type: ignore[return-value]

    @property
    def possible(self) -> np.ndarray:
        """Entries that are possible, ``[batch, entry]``."""
        return np.isfinite(self.center)

    def mean(self) -> np.ndarray:
        """Posterior means ``[batch, entry]``."""
        return self.center.copy()

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[batch, entry]``, infinite where the shape is not above 1; 0 for entries that are not possible."""
        finite = self.shape_ > 1
        variance = np.where(finite, self.rate / np.where(finite, self.shape_ - 1, 1.0), np.inf)
        return np.where(self.possible, self.spread * np.sqrt(variance)[:, None], 0.0)

    def quantile(self, level: float) -> np.ndarray:
        """Quantiles ``[batch, entry]``."""
        t = stdtrit(2 * self.shape_, level) * np.sqrt(self.rate / self.shape_)
        return np.where(self.possible, np.where(self.possible, self.center, 0.0) + self.spread * t[:, None], -np.inf)

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, and its error, 0."""
        among = self._among(active)
        out, few = np.zeros(self.shape), among.sum(axis=1) <= 2
        first, last = among.argmax(axis=1), self.shape[1] - 1 - among[:, ::-1].argmax(axis=1)
        rows = np.arange(len(out))
        won = self._above(first, last, 0.0)
        out[rows, first] = np.where(among.any(axis=1), won, 0.0)
        out[rows, last] = np.where(among.sum(axis=1) == 2, 1 - won, np.where(among.any(axis=1), 1.0, 0.0))
        if not few.all():
            won = self._mixed(among, 0.0, few)[:, :-1]
            out[~few] = won / won.sum(axis=1, keepdims=True)
        return out, np.zeros(self.shape)

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[batch, entry]``; 0.5 for the reference itself."""
        rows = np.arange(self.shape[0])
        p = np.stack([self._above(np.full(len(rows), k), reference, margin) for k in range(self.shape[1])], axis=1)
        p = np.where(self.possible, p, 0.0)
        p[rows, reference] = 0.5
        return p

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active and possible, ``[batch]``."""
        among = self._among(active)
        if margin <= 0:
            return np.zeros(len(among))
        few = among.sum(axis=1) <= 2
        first, last = among.argmax(axis=1), self.shape[1] - 1 - among[:, ::-1].argmax(axis=1)
        out = np.where(among.sum(axis=1) == 2, self._above(first, last, -margin) - self._above(first, last, margin), 1.0)
        if not few.all():
            out[~few] = np.clip(self._mixed(among, margin, few)[:, -1], 0.0, 1.0)
        return out

    def take(self, index: np.ndarray) -> "Students":
        """Some of the batch, by index."""
        return Students(self.center[index], self.spread[index], self.shape_[index], self.rate[index])

    def _among(self, active: np.ndarray | None) -> np.ndarray:
        return self.possible if active is None else self.possible & active

    def _above(self, one: np.ndarray, other: np.ndarray, margin: float) -> np.ndarray:
        """``P(value of one - value of other > margin)``, shape (batch,); 1 against one that is not possible."""
        rows = np.arange(self.shape[0])
        possible = self.possible[rows, other]
        ahead = np.where(self.possible, self.center, 0.0)
        gap = ahead[rows, one] - ahead[rows, other] - margin
        sd = np.sqrt((self.spread[rows, one] ** 2 + self.spread[rows, other] ** 2) * self.rate / self.shape_)
        return np.where(possible, stdtr(2 * self.shape_, gap / sd), 1.0)

    def _mixed(self, among: np.ndarray, margin: float, leave: np.ndarray) -> np.ndarray:
        """P(best) of each entry and P(range < margin) in the last column, of rows that are not left out."""
        rows = np.flatnonzero(~leave)
        center = np.where(among, np.where(self.possible, self.center, 0.0), 0.0)
        parts = (center, self.spread, among.astype(float), self.shape_[:, None], self.rate[:, None], np.full((len(among), 1), float(margin)))
        table = np.concatenate(parts, axis=1)[rows]
        out = np.empty((len(rows), self.shape[1] + 1))
        for low, high, points in POINTS:
            some = (self.shape_[rows] >= low) & (self.shape_[rows] < high)
            if some.any():
                out[some] = by_blocks(lambda block, points=points: _averaged(block, points), table[some])
        return out


def _precisions(shape: np.ndarray, rate: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations and their weights, ``(row, point)``: equal steps of the logarithm of the precision."""
    sd = 1 / np.sqrt(shape)
    # The log density of log(rate * precision) is shape y - e^y: Normal-like near log(shape), linear below, cut off above.
    low = np.log(shape) - np.maximum(9 * sd, 34 / shape * (shape < 8) + 10 * sd * (shape < 8))
    high = np.log(shape + 10 * np.sqrt(shape) + 40)
    y = low[:, None] + (high - low)[:, None] * np.arange(points) / (points - 1)
    log = shape[:, None] * y - np.exp(y) - gammaln(shape)[:, None]
    weight = np.exp(log)
    return np.sqrt(rate[:, None] / np.exp(y)), weight / weight.sum(axis=1, keepdims=True)


def _averaged(table: np.ndarray, points: int) -> np.ndarray:
    entries = (table.shape[1] - 3) // 3
    center, spread, among = (table[:, k * entries : (k + 1) * entries] for k in range(3))
    shape, rate, margin = table[:, 3 * entries :].T
    sigma, weight = _precisions(shape, rate, points)
    total = np.zeros((len(table), entries + 1))
    for k in range(points):
        total += weight[:, k, None] * _given(center, spread * sigma[:, k, None], among > 0, margin)
    return total


def _given(center: np.ndarray, sd: np.ndarray, among: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """P(best) of independent Normals and P(range < margin), ``(row, entry + 1)``."""
    rows, entries = center.shape
    marks = center[..., None] + sd[..., None] * MARKS
    marks = np.where(among[..., None], marks, marks[np.arange(rows), among.argmax(axis=1)][:, None])
    wide = margin.any()
    edges = np.concatenate([marks, marks - margin[:, None, None]], axis=2) if wide else marks
    edges = np.clip(np.sort(edges.reshape(rows, -1), axis=1), marks.min(axis=(1, 2))[:, None], marks.max(axis=(1, 2))[:, None])
    half = np.diff(edges, axis=1) / 2
    x = ((edges[:, :-1] + half)[..., None] + half[..., None] * _X).reshape(rows, 1, -1)
    weight = (half[..., None] * _W).reshape(rows, 1, -1)
    z = (x - center[..., None]) / sd[..., None]
    density = np.where(among[..., None], np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * sd[..., None]), 0.0) * weight
    below = np.where(among[..., None], ndtr(z), 1.0)
    out = np.empty((rows, entries + 1))
    near = np.where(among[..., None], ndtr(z + margin[:, None, None] / sd[..., None]) - ndtr(z), 1.0) if wide else None
    out[:, -1] = 0.0
    for i in range(entries):
        rest = [j for j in range(entries) if j != i]
        out[:, i] = (density[:, i] * below[:, rest].prod(axis=1)).sum(axis=1)
        if near is not None:
            out[:, -1] += (density[:, i] * near[:, rest].prod(axis=1)).sum(axis=1)
    return out
