"""Utilities of times: restricted mean survival, survival at a time, quality-adjusted and discounted life.

The time lived is the sum of transition times. What each transition earns depends on the time elapsed
before it, so that the parts add up to the utility of the whole; given the history, the expectation of
a part has a closed form through the restricted mean or the survival probability of that transition.
"""

import abc
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .survival import Survival
from .timeline import Response

if TYPE_CHECKING:
    from .study import Study

History = Mapping[str, np.ndarray]


def _names(what: str, values: object) -> tuple[str, ...]:
    names = (values,) if isinstance(values, str) else tuple(values) if isinstance(values, Sequence | Mapping) else ()
    if not names or any(not isinstance(n, str) for n in names):
        raise StudyError(f"{what} takes the survival responses whose times add up, for example ['t1', 't2'], got {values!r}.")
    if repeated := [n for i, n in enumerate(names) if n in names[:i]]:
        raise StudyError(f"{what} names {repeated[0]!r} twice.")
    return names


def _positive(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < math.inf:
        raise StudyError(f"{what} must be a finite time above 0, got {value!r}.")
    return float(value)


@dataclass(frozen=True)
class Expectation:
    """What a transition is expected to earn given the history: `factor` times a summary of its distribution.

    Attributes
    ----------
    what : {"restricted", "discounted", "survival"}
        ``E min(T, horizon)``; ``E`` of the discounted time up to the horizon; ``P(T > time)``.
    extra : array, shape (n,), or (n, 2) for "discounted"
        The horizon or time left; and the rate.
    factor : array, shape (n,)
    """

    what: str
    extra: np.ndarray
    factor: np.ndarray


@dataclass(frozen=True)
class LifeUtility(abc.ABC):
    """Base of the utilities of a sum of transition times."""

    names: tuple[str, ...]

    @property
    @abc.abstractmethod
    def limit(self) -> float:
        """The time beyond which nothing changes."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that it can be; 0 lies between."""
        return 0.0, self.limit

    @abc.abstractmethod
    def realized(self, response: str, elapsed: np.ndarray, time: np.ndarray) -> np.ndarray:
        """What a transition of a given time earned, shape (n,)."""

    @abc.abstractmethod
    def expected(self, response: str, elapsed: np.ndarray) -> Expectation:
        """What a transition is expected to earn after some elapsed time ``(n,)``."""

    def elapsed(self, response: str, columns: History) -> np.ndarray:
        """Time before a transition, shape (n,)."""
        before = self.names[: self.names.index(response)]
        some = next(iter(columns.values())) if columns else np.zeros(1)
        return sum((np.asarray(columns[n], dtype=float) for n in before), np.zeros(np.shape(some)))

    def check(self, study: "Study") -> None:
        """Raise unless the names are survival responses in time order."""
        responses = [r.name for r in study.responses]
        for name in self.names:
            if name not in responses:
                raise StudyError(f"{type(self).__name__} names {name!r}; responses: {listing(responses)}{did_you_mean(name, responses)}")
            node = study[name]
            assert isinstance(node, Response)
            if not isinstance(node.family, Survival):
                raise StudyError(f"{type(self).__name__}: {name!r} is no time: declare Response({name!r}, Survival(...)).")
        if list(self.names) != sorted(self.names, key=study.names.index):
            raise StudyError(f"{type(self).__name__}: name the times in the order of the timeline, got {listing(self.names)}.")


@dataclass(frozen=True, init=False)
class RestrictedMean(LifeUtility):
    """Time lived up to a horizon: ``min(t1 + t2 + ..., horizon)``.

    Parameters
    ----------
    names : str or sequence of str
        Survival responses in time order; their times add up.
    horizon : float
        In the unit of the times.
    """

    horizon: float

    def __init__(self, names: str | Sequence[str], *, horizon: float):
        object.__setattr__(self, "names", _names("RestrictedMean", names))
        object.__setattr__(self, "horizon", _positive("RestrictedMean: horizon", horizon))

    @property
    def limit(self) -> float:
        """The horizon."""
        return self.horizon

    def realized(self, response: str, elapsed: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Time lived before the horizon in this transition."""
        return np.minimum(time, np.maximum(self.horizon - elapsed, 0.0))

    def expected(self, response: str, elapsed: np.ndarray) -> Expectation:
        """Restricted mean at the remaining horizon."""
        return Expectation("restricted", np.maximum(self.horizon - elapsed, 0.0), np.ones_like(elapsed))

    def __str__(self) -> str:
        return f"min({' + '.join(self.names)}, {self.horizon:g})"


@dataclass(frozen=True, init=False)
class SurvivalAt(LifeUtility):
    """Whether somebody lives longer than a time: its expectation is the survival probability there.

    Parameters
    ----------
    names : str or sequence of str
        Survival responses in time order; their times add up.
    at : float
        In the unit of the times.
    """

    at: float

    def __init__(self, names: str | Sequence[str], *, at: float):
        object.__setattr__(self, "names", _names("SurvivalAt", names))
        object.__setattr__(self, "at", _positive("SurvivalAt: at", at))

    @property
    def limit(self) -> float:
        """The time."""
        return self.at

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and 1."""
        return 0.0, 1.0

    def realized(self, response: str, elapsed: np.ndarray, time: np.ndarray) -> np.ndarray:
        """1 for the transition in which the time is passed."""
        return ((elapsed <= self.at) & (elapsed + time > self.at)).astype(float)

    def expected(self, response: str, elapsed: np.ndarray) -> Expectation:
        """Survival probability of the time that is left."""
        left = np.maximum(self.at - elapsed, 0.0)
        return Expectation("survival", np.maximum(left, 1e-300), (elapsed <= self.at).astype(float))

    def __str__(self) -> str:
        return f"1({' + '.join(self.names)} > {self.at:g})"


@dataclass(frozen=True, init=False)
class QualityAdjusted(LifeUtility):
    """Quality-adjusted time up to a horizon, discounted at a constant rate.

    The integral from 0 to the horizon of ``exp(-discount_rate t)`` times the quality of the transition
    under way at `t`.

    Parameters
    ----------
    qualities : mapping of str to float
        What a unit of time is worth during each survival response, in time order.
    horizon : float
        In the unit of the times.
    discount_rate : float
        Per unit of time, 0 or above.
    """

    qualities: tuple[float, ...]
    horizon: float
    discount_rate: float

    def __init__(self, qualities: Mapping[str, float], *, horizon: float, discount_rate: float = 0.0):
        if not isinstance(qualities, Mapping):
            raise StudyError(f"QualityAdjusted takes a mapping of survival responses to what a unit of time is worth, got {qualities!r}.")
        for name, q in qualities.items():
            if isinstance(q, bool) or not isinstance(q, numbers.Real) or not math.isfinite(q):
                raise StudyError(f"QualityAdjusted: the quality during {name!r} must be a finite number, got {q!r}.")
        if isinstance(discount_rate, bool) or not isinstance(discount_rate, numbers.Real) or not 0 <= discount_rate < math.inf:
            raise StudyError(f"QualityAdjusted: discount_rate must be a finite number of 0 or above, got {discount_rate!r}.")
        object.__setattr__(self, "names", _names("QualityAdjusted", qualities))
        object.__setattr__(self, "qualities", tuple(float(q) for q in qualities.values()))
        object.__setattr__(self, "horizon", _positive("QualityAdjusted: horizon", horizon))
        object.__setattr__(self, "discount_rate", float(discount_rate))

    @property
    def limit(self) -> float:
        """The horizon."""
        return self.horizon

    @property
    def bounds(self) -> tuple[float, float]:
        """The worst and the best quality all along."""
        return self.horizon * min(0.0, *self.qualities), self.horizon * max(0.0, *self.qualities)

    def _quality(self, response: str) -> float:
        return self.qualities[self.names.index(response)]

    def realized(self, response: str, elapsed: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Discounted, quality-weighted time lived before the horizon in this transition."""
        lived = np.minimum(time, np.maximum(self.horizon - elapsed, 0.0))
        if not self.discount_rate:
            return self._quality(response) * lived
        return self._quality(response) * np.exp(-self.discount_rate * elapsed) * -np.expm1(-self.discount_rate * lived) / self.discount_rate

    def expected(self, response: str, elapsed: np.ndarray) -> Expectation:
        """Discounted restricted mean at the remaining horizon."""
        left = np.maximum(self.horizon - elapsed, 0.0)
        if not self.discount_rate:
            return Expectation("restricted", left, np.full_like(elapsed, self._quality(response)))
        extra = np.stack([left, np.full_like(left, self.discount_rate)], axis=-1)
        return Expectation("discounted", extra, self._quality(response) * np.exp(-self.discount_rate * elapsed))

    def __str__(self) -> str:
        worth = " + ".join(f"{q:g} {n}" for n, q in zip(self.names, self.qualities, strict=True))
        rate = f", discounted at {self.discount_rate:g} per unit of time" if self.discount_rate else ""
        return f"quality-adjusted time {worth} up to {self.horizon:g}{rate}"
