"""Values of Beta arms whose P(best) and equivalence come from short grids, together where the margin is known beforehand."""

import numpy as np

from ..analysis.betas import Betas
from . import grid, line


class CountedValues:
    """Joint posterior of ``weight p`` with independent ``p ~ Beta(a, b)``; see :class:`~bayesdtr.trial.analysis.values.Values`.

    Parameters
    ----------
    a, b : array, shape (trial, arm)
    weight : float
        Not 0.
    margin : float, optional
        That an equivalence rule of the design will ask about. The last bits of P(best) depend on it.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, weight: float, margin: float | None = None):
        self.plain = Betas(a, b, weight)
        good, bad = (a, b) if weight > 0 else (b, a)
        self._a, self._b, self._scale = np.ascontiguousarray(good.T), np.ascontiguousarray(bad.T), abs(weight)
        self._margin = margin if margin is not None and 0 < margin / self._scale < 1 else None
        self._asked: tuple[np.ndarray, ...] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of trials and arms."""
        return self.plain.shape

    def mean(self) -> np.ndarray:
        """Posterior means ``[trial, arm]``."""
        return self.plain.mean()

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[trial, arm]``."""
        return self.plain.sd()

    def quantile(self, level: float) -> np.ndarray:
        """Quantiles ``[trial, arm]``."""
        return self.plain.quantile(level)

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[trial, arm]``."""
        return self.plain.exceeds(reference, margin)

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, and its error, 0."""
        return self._answers(self._among(active))[0].copy(), np.zeros(self.shape)

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active, ``[trial]``."""
        among, step = self._among(active), margin / self._scale
        if not 0 < step < 1:
            return self.plain.within(margin, among)
        if margin != self._margin:
            return grid.within(self._a, self._b, among.T, step)
        found = self._answers(among)[1]
        rows = np.flatnonzero(np.isnan(found))
        if len(rows):
            found[rows] = grid.within(self._a[:, rows], self._b[:, rows], among[rows].T, step)
        return found.copy()

    def take(self, index: np.ndarray) -> "CountedValues":
        """Some of the trials, by index; what is remembered of them comes along."""
        made = CountedValues(self.plain.a[index], self.plain.b[index], float(self.plain.scale.flat[0]), self._margin)
        if self._asked is not None:
            made._asked = tuple(x[index] for x in self._asked)
        return made

    def _among(self, active: np.ndarray | None) -> np.ndarray:
        return np.ones(self.shape, dtype=bool) if active is None else np.asarray(active, dtype=bool)

    def _answers(self, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P(best) and, where it came along, equivalence, else NaN; trials asked about again with the same arms are remembered."""
        rows: np.ndarray | slice = slice(None)
        if self._asked is not None:
            new = self._asked[0][:, 0] != among[:, 0]
            for k in range(1, among.shape[1]):
                new |= self._asked[0][:, k] != among[:, k]
            rows = np.flatnonzero(new)
            if not len(rows):
                return self._asked[1], self._asked[2]
            best, within = self._asked[1].copy(), self._asked[2].copy()
        else:
            best, within = np.empty(self.shape), np.empty(len(among))
        best[rows], within[rows] = self._worked_out(self._a[:, rows], self._b[:, rows], np.ascontiguousarray(among[rows].T))
        self._asked = among.copy(), best, within
        return best, within

    def _worked_out(self, a: np.ndarray, b: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._margin is None:
            return grid.best(a, b, among).T, np.full(a.shape[1], np.nan)
        best, within, found = line.best_and_within(a, b, among, self._margin / self._scale)
        rest = np.flatnonzero(~found)
        if len(rest):
            best[:, rest], within[rest] = grid.best(a[:, rest], b[:, rest], among[:, rest]), np.nan
        return best.T, within
