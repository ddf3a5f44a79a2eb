"""Gains by regression over draws, with the estimate beside them that regression cannot have pushed up."""

import numpy as np

from ..values import batch_error


class Bracketed:
    """What EVPPI and EVSI have in common: gains per draw, their cautious twins, and the gain of knowing everything, ``(chain, draw, ...)`` each."""

    draws: np.ndarray
    cautious: np.ndarray
    everything: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The gain of each block or size, shape (block,) or (size,)."""
        return self.draws.mean(axis=(0, 1))

    @property
    def errors(self) -> np.ndarray:
        """Monte Carlo standard errors of :attr:`values`."""
        return batch_error(self.draws)

    @property
    def at_least(self) -> np.ndarray:
        """Estimates that regression cannot have pushed up; NaN where nothing is fitted."""
        return self.cautious.mean(axis=(0, 1))

    @property
    def at_least_errors(self) -> np.ndarray:
        """Monte Carlo standard errors of :attr:`at_least`."""
        return batch_error(self.cautious)

    @property
    def evpi(self) -> float:
        """Expected value of perfect information on all parameters, which is also the limit of large trials."""
        return float(self.everything.mean())

    @property
    def evpi_error(self) -> float:
        """Monte Carlo standard error of the EVPI."""
        return float(batch_error(self.everything))
