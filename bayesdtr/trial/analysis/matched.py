"""Draws moved so that their moments are those known exactly."""

from dataclasses import dataclass

import numpy as np

from .drawn import Drawn


@dataclass(frozen=True, eq=False)
class Matched(Drawn):
    """Joint draws whose means, and SDs where known, have been set to the exact ones: what is left of the points' error is in the shape.

    Attributes
    ----------
    draws : array, shape (batch, draw, entry)
    exact : array, shape (batch, entry)
        Posterior means; -inf for entries that are not possible.
    spread : array, shape (batch, entry)
        Posterior SDs, those of the draws where they are not known exactly.
    """

    exact: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, draws: np.ndarray, mean: np.ndarray, sd: np.ndarray | None) -> "Matched":
        """From draws, exact means and exact SDs ``[batch, entry]``; SDs None, or not finite, where they are not known."""
        possible = np.isfinite(mean)
        held = np.where(possible[:, None], draws, 0.0)
        center = held.mean(axis=1)
        own = held.std(axis=1, ddof=1)
        spread = own if sd is None else np.where(np.isfinite(sd), sd, own)
        factor = np.where(own > 0, spread / np.where(own > 0, own, 1.0), 1.0)
        moved = np.where(possible, mean, 0.0)[:, None] + (held - center[:, None]) * factor[:, None]
        return cls(np.where(possible[:, None], moved, -np.inf), mean, np.where(possible, spread, 0.0))

    def mean(self) -> np.ndarray:
        """Posterior means ``[batch, entry]``, exact."""
        return self.exact.copy()

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[batch, entry]``."""
        return self.spread.copy()

    def take(self, index: np.ndarray) -> "Matched":
        """Some of the batch, by index."""
        return Matched(self.draws[index], self.exact[index], self.spread[index])
