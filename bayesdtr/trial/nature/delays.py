"""How long it takes from a decision until a response to it is known."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TrialError
from .functions import Function
from .reading import not_negative, positive


@dataclass(frozen=True)
class Delay(abc.ABC):
    """A distribution of delays by its quantiles; frozen."""

    @abc.abstractmethod
    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Delays at probabilities, of the same shape."""

    @abc.abstractmethod
    def text(self, unit: str) -> str:
        """In words."""


@dataclass(frozen=True)
class FixedDelay(Delay):
    """The same for everybody; a plain number means this."""

    length: float

    def __post_init__(self):
        object.__setattr__(self, "length", not_negative(self.length, "A delay"))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """The length."""
        return np.full(np.shape(u), self.length)

    def text(self, unit: str) -> str:
        """In words."""
        return f"{self.length:g} {unit}{'' if self.length == 1 else 's'}"


@dataclass(frozen=True)
class ExponentialDelay(Delay):
    """Exponential with a mean."""

    mean: float

    def __post_init__(self):
        object.__setattr__(self, "mean", positive(self.mean, "ExponentialDelay: the mean"))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """``-mean log(1 - u)``."""
        return -self.mean * np.log1p(-u)

    def text(self, unit: str) -> str:
        """In words."""
        return f"exponential with mean {self.mean:g} {unit}s"


@dataclass(frozen=True)
class UniformDelay(Delay):
    """Uniform between two lengths."""

    low: float
    high: float

    def __post_init__(self):
        object.__setattr__(self, "low", not_negative(self.low, "UniformDelay: the shortest delay"))
        object.__setattr__(self, "high", positive(self.high, "UniformDelay: the longest delay"))
        if self.high <= self.low:
            raise TrialError(f"UniformDelay: the longest delay, {self.high:g}, must be above the shortest, {self.low:g}.")

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Linear."""
        return self.low + (self.high - self.low) * u

    def text(self, unit: str) -> str:
        """In words."""
        return f"{self.low:g} to {self.high:g} {unit}s"


@dataclass(frozen=True, init=False)
class QuantileDelay(Delay):
    """Any distribution, by a function from probabilities to delays (``scipy.stats.gamma(2).ppf``)."""

    function: Function

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]):
        if not callable(function):
            raise TrialError(f"QuantileDelay takes a function from probabilities to delays, got {function!r}.")
        object.__setattr__(self, "function", Function.of(function))
        tried = np.asarray(self.function.call(np.array([0.01, 0.5, 0.99])), dtype=float)
        if tried.shape != (3,) or not np.isfinite(tried).all() or tried[0] < 0 or (np.diff(tried) < 0).any():
            raise TrialError(f"QuantileDelay: the function must give increasing delays of at least 0 for increasing probabilities; at .01, .5, .99 "
                             f"it gave {tried.tolist()!r}.")

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """As the function says."""
        return np.asarray(self.function.call(u), dtype=float)

    def text(self, unit: str) -> str:
        """In words."""
        return f"by {self.function}, in {unit}s"


def read_delay(given: Any, what: str) -> Delay:
    """A delay from what a user gives: a number, a delay, or a function from probabilities to delays."""
    if isinstance(given, Delay):
        return given
    if callable(given):
        return QuantileDelay(given)
    return FixedDelay(not_negative(given, what))
