"""When patients come: steadily, at random, or at rates that change."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...errors import TrialError
from ..luck import uniforms
from .reading import positive


@dataclass(frozen=True)
class Accrual(abc.ABC):
    """How patients are enrolled; frozen."""

    @abc.abstractmethod
    def times(self, seed: int, replicates: np.ndarray, size: int) -> np.ndarray:
        """Calendar times of enrolment, shape (trial, size), not decreasing along patients."""

    @abc.abstractmethod
    def text(self, unit: str) -> str:
        """In words."""


@dataclass(frozen=True)
class Steady(Accrual):
    """Patients at equal intervals: patient `i` (from 0) enters at ``(i + 1) / rate``.

    Parameters
    ----------
    rate : float
        Patients a unit of time.
    """

    rate: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "rate", positive(self.rate, "Steady: the rate, in patients a unit of time,"))

    def times(self, seed: int, replicates: np.ndarray, size: int) -> np.ndarray:
        """The same in every replicate."""
        return np.broadcast_to(np.arange(1, size + 1) / self.rate, (len(replicates), size))

    def text(self, unit: str) -> str:
        """In words."""
        return f"{self.rate:g} patient{"" if self.rate == 1 else "s"} a {unit}, at equal intervals"


@dataclass(frozen=True)
class PoissonAccrual(Accrual):
    """Patients at random: the gaps between them are exponential.

    Parameters
    ----------
    rate : float
        Patients a unit of time, on average.
    """

    rate: float

    def __post_init__(self):
        object.__setattr__(self, "rate", positive(self.rate, "PoissonAccrual: the rate, in patients a unit of time,"))

    def times(self, seed: int, replicates: np.ndarray, size: int) -> np.ndarray:
        """Sums of exponential gaps."""
        return _arrivals(seed, replicates, size) / self.rate

    def text(self, unit: str) -> str:
        """In words."""
        return f"{self.rate:g} patient{"" if self.rate == 1 else "s"} a {unit} on average, at exponential intervals"


@dataclass(frozen=True, init=False)
class PiecewiseAccrual(Accrual):
    """Patients at rates that change in time, for example while sites open.

    Parameters
    ----------
    pieces : sequence of (float, float)
        ``(until, rate)``: the rate up to a time; times increase, and the last rate goes on for ever (write ``math.inf``).
        A rate may be 0 while nobody is enrolled, the last one excepted.
    poisson : bool, default True
        At random with these rates; otherwise evenly within pieces.
    """

    pieces: tuple[tuple[float, float], ...]
    poisson: bool

    def __init__(self, pieces: Sequence[tuple[float, float]], *, poisson: bool = True):
        try:
            read = tuple((float(until), float(rate)) for until, rate in pieces)
        except (TypeError, ValueError):
            raise TrialError(f"PiecewiseAccrual takes pairs (until, rate), for example [(6, 2), (math.inf, 5)], got {pieces!r}.") from None
        ends = [0.0, *(until for until, _ in read)]
        if not read or any(not b > a for a, b in pairwise(ends)):
            raise TrialError(f"PiecewiseAccrual: the times until which rates hold are above 0 and increase, got {[u for u, _ in read]!r}.")
        if any(not 0 <= rate < math.inf for _, rate in read) or not read[-1][1] > 0:
            raise TrialError(f"PiecewiseAccrual: rates are finite and not negative, the last one above 0, got {[r for _, r in read]!r}.")
        object.__setattr__(self, "pieces", read)
        object.__setattr__(self, "poisson", bool(poisson))

    def times(self, seed: int, replicates: np.ndarray, size: int) -> np.ndarray:
        """Where the cumulative rate reaches 1, 2, ..., or a unit-rate Poisson process's points."""
        wanted = _arrivals(seed, replicates, size) if self.poisson else np.broadcast_to(np.arange(1.0, size + 1), (len(replicates), size))
        begin, rates = np.array([0.0, *(u for u, _ in self.pieces[:-1])]), np.array([r for _, r in self.pieces])
        reached = np.concatenate([[0.0], np.cumsum(np.diff(begin) * rates[:-1])])
        piece = np.searchsorted(reached, wanted, side="left") - 1  # "left": what is reached at the end of a piece with rate 0 was reached before it
        return begin[piece] + (wanted - reached[piece]) / rates[piece]

    def text(self, unit: str) -> str:
        """In words."""
        parts = [f"{rate:g}" + (f" until {until:g}" if i < len(self.pieces) - 1 else " from then on") for i, (until, rate) in enumerate(self.pieces)]
        return f"patients a {unit}{' on average' if self.poisson else ''}: {', '.join(parts)}"


def _arrivals(seed: int, replicates: np.ndarray, size: int) -> np.ndarray:
    """Points of a Poisson process of rate 1, shape (trial, size)."""
    return np.cumsum(-np.log(uniforms(seed, replicates, "accrual", (size,))), axis=1)
