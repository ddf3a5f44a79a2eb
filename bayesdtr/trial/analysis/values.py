"""Joint posteriors of the values of a few entries (options or regimes), for a batch: what allocation and stopping rules ask."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Values(Protocol):
    """The joint posterior of the values of `n` entries, batch by batch; larger is better.

    Every array below has the batch's axis first; `active` ``[batch, entry]`` leaves entries out (None: none).
    An entry left out has probability 0 of being best. Exact ties are shared equally.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the batch and number of entries."""
        ...

    def mean(self) -> np.ndarray:
        """Posterior means ``[batch, entry]``."""
        ...

    def sd(self) -> np.ndarray:
        """Posterior SDs ``[batch, entry]``."""
        ...

    def quantile(self, level: float) -> np.ndarray:
        """Quantiles ``[batch, entry]``."""
        ...

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, and its Monte Carlo error (0 where by quadrature), both ``[batch, entry]``."""
        ...

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[batch, entry]``; `reference` ``[batch]`` holds entries; 0.5 for the reference itself."""
        ...

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active, ``[batch]``."""
        ...

    def take(self, index: np.ndarray) -> "Values":
        """Some of the batch, by index; repeats allowed."""
        ...


class Later:
    """Values that are worked out when somebody asks: at most looks nobody does.

    Parameters
    ----------
    make : callable
        Gives the values.
    """

    def __init__(self, make: Callable[[], Values]):
        self._make = make

    @functools.cached_property
    def made(self) -> Values:
        """The values themselves."""
        return self._make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made, name)


def made(values: Values) -> Values:
    """Values themselves, where what is at hand may be `Later`."""
    return values.made if isinstance(values, Later) else values
