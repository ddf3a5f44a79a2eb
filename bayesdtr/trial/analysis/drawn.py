"""Values held as draws: what any posterior comes down to where no quadrature is at hand."""

from dataclasses import dataclass

import numpy as np

BATCHES = 16
"""Runs of consecutive draws, for Monte Carlo errors of averages."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Joint draws of the values of a few entries; see :class:`~bayesdtr.trial.analysis.values.Values`.

    Attributes
    ----------
    draws : array, shape (batch, draw, entry)
        -inf for entries that are not possible.
    """

    draws: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the batch and number of entries."""
        return self.draws.shape[0], self.draws.shape[2]

    def mean(self) -> np.ndarray:
        """Posterior means ``[batch, entry]``."""
        return self.draws.mean(axis=1)

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[batch, entry]``; 0 for entries that are not possible."""
        possible = np.isfinite(self.draws)
        return np.where(possible[:, 0], np.where(possible, self.draws, 0.0).std(axis=1, ddof=1), 0.0)

    def quantile(self, level: float) -> np.ndarray:
        """Quantiles ``[batch, entry]``."""
        possible = np.isfinite(self.draws)
        return np.where(possible[:, 0], np.quantile(np.where(possible, self.draws, 0.0), level, axis=1), -np.inf)

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, ties shared, and its Monte Carlo error by batches of draws."""
        shown = self._among(active)
        best = shown == shown.max(axis=2, keepdims=True)
        share = best / best.sum(axis=2, keepdims=True)
        p = share.mean(axis=1)
        size = share.shape[1] // BATCHES * BATCHES
        if size < 2 * BATCHES:
            return p, np.sqrt(p * (1 - p) / share.shape[1])
        means = share[:, :size].reshape(len(share), BATCHES, -1, share.shape[2]).mean(axis=2)
        return p, means.std(axis=1, ddof=1) / np.sqrt(BATCHES)

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[batch, entry]``; ties count half at margin 0; 0.5 for the reference itself."""
        against = np.take_along_axis(self.draws, reference[:, None, None], axis=2) + margin
        p = (self.draws > against).mean(axis=1) + 0.5 * (self.draws == against).mean(axis=1)
        np.put_along_axis(p, reference[:, None], 0.5, axis=1)
        return p

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active and possible, ``[batch]``."""
        shown = self._among(active)
        lowest = np.where(np.isfinite(shown), shown, np.inf).min(axis=2)
        return (shown.max(axis=2) - lowest < margin).mean(axis=1)

    def take(self, index: np.ndarray) -> "Drawn":
        """Some of the batch, by index."""
        return Drawn(self.draws[index])

    def _among(self, active: np.ndarray | None) -> np.ndarray:
        return self.draws if active is None else np.where(active[:, None, :], self.draws, -np.inf)
