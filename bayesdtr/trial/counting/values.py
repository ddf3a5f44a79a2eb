"""Values of Beta arms whose P(best) and equivalence come from short grids."""

import numpy as np

from ..analysis.betas import Betas
from . import grid


class CountedValues:
    """Joint posterior of ``weight p`` with independent ``p ~ Beta(a, b)``; see :class:`~bayesdtr.trial.analysis.values.Values`.

    Parameters
    ----------
    a, b : array, shape (trial, arm)
    weight : float
        Not 0.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, weight: float):
        self.plain = Betas(a, b, weight)
        good, bad = (a, b) if weight > 0 else (b, a)
        self._a, self._b, self._margin = np.ascontiguousarray(good.T), np.ascontiguousarray(bad.T), abs(weight)
        self._asked: tuple[np.ndarray, np.ndarray] | None = None

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
        """Probability of having the largest value, and its error, 0; trials asked about again with the same arms are remembered."""
        among = np.ones(self.shape, dtype=bool) if active is None else np.asarray(active, dtype=bool)
        found, new = np.zeros(self.shape), np.ones(len(among), dtype=bool)
        if self._asked is not None:
            new = (self._asked[0] != among).any(axis=1)
            found[~new] = self._asked[1][~new]
        rows = np.flatnonzero(new)
        if len(rows):
            found[rows] = grid.best(self._a[:, rows], self._b[:, rows], among[rows].T).T
        self._asked = among.copy(), found
        return found.copy(), np.zeros(self.shape)

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active, ``[trial]``."""
        among = np.ones(self.shape, dtype=bool) if active is None else np.asarray(active, dtype=bool)
        step = margin / self._margin
        return grid.within(self._a, self._b, among.T, step) if 0 < step < 1 else self.plain.within(margin, among)

    def take(self, index: np.ndarray) -> "CountedValues":
        """Some of the trials, by index."""
        return CountedValues(self.plain.a[index], self.plain.b[index], float(self.plain.scale.flat[0]))
