"""Attitudes to outcome risk: what a course's total utility is worth to somebody who would rather not gamble with it.

An attitude is an increasing, concave function `f` with ``f(0) = 0``. The utility of a course is then ``f(U)``, `U` the sum of
everything earned, and not a sum of parts. It is paid in instalments: each response pays ``f(U so far) - f(U before it)``, so that a
course earns ``f`` of its own total wherever it ends, and backward induction stays what it is on histories that hold what was earned.
"""

import abc
import itertools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StudyError
from .families import LogNormal, Normal, StudentT
from .timeline import Response, finite_values

if TYPE_CHECKING:
    from .study import Study

MOST_TILT = 30.0
"""Largest risk aversion times the SD of a response's contribution that a grid is widened for; at 30, gambles are judged by one part in 1e130."""


def _number(what: str, value: object, *, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= least:
        raise StudyError(f"{what} must be a finite number{'' if least == -math.inf else f' above {least:g}'}, got {value!r}.")
    return float(value)


@dataclass(frozen=True)
class Attitude(abc.ABC):
    """Base of the attitudes to outcome risk: frozen, an increasing concave function that is 0 at 0."""

    @abc.abstractmethod
    def worth(self, total: np.ndarray) -> np.ndarray:
        """What totals are worth, of the same shape."""

    @abc.abstractmethod
    def certain(self, worth: np.ndarray) -> np.ndarray:
        """The total that is worth so much: the inverse of :meth:`worth`."""

    @abc.abstractmethod
    def slope(self, total: np.ndarray) -> np.ndarray:
        """Derivative of :meth:`worth`."""

    @property
    def aversion(self) -> float:
        """Rate at which worth grows exponentially downwards; 0 where it does not."""
        return 0.0

    @property
    def bends(self) -> tuple[float, ...]:
        """Totals at which the slope jumps."""
        return ()

    def unsimulable(self, study: "Study") -> tuple[str, ...]:
        """Responses so rarely so bad that an average over simulated patients says nothing of the expected worth."""
        del study
        return ()

    @abc.abstractmethod
    def check(self, study: "Study") -> None:
        """Raise where expectations would not exist."""


@dataclass(frozen=True)
class Neutral(Attitude):
    """Indifference to risk: the plain utility, but paid as any attitude is, so that histories hold single outcomes of all that counts."""

    def worth(self, total: np.ndarray) -> np.ndarray:
        """The totals themselves."""
        return total

    def certain(self, worth: np.ndarray) -> np.ndarray:
        """The worth itself."""
        return worth

    def slope(self, total: np.ndarray) -> np.ndarray:
        """Ones."""
        return np.ones(np.shape(total))

    def check(self, study: "Study") -> None:
        """Nothing is asked for."""


@dataclass(frozen=True, init=False)
class Exponential(Attitude):
    """Constant absolute risk aversion: ``f(U) = (1 - exp(-a U)) / a``.

    What is already earned, and what everybody gets, changes no decision. For a Normal total the certainty equivalent is
    ``mean - a variance / 2``.

    Parameters
    ----------
    risk_aversion : float
        `a`, above 0, per unit of utility. A gamble between losing and gaining a small `x` at even odds costs about ``a x^2 / 2``.

    Raises
    ------
    StudyError
        For a risk aversion that is not a finite number above 0.

    References
    ----------
    Pratt (1964), Risk aversion in the small and in the large, Econometrica 32, 122-136.
    """

    risk_aversion: float

    def __init__(self, risk_aversion: float):
        object.__setattr__(self, "risk_aversion", _number("Exponential: risk_aversion", risk_aversion, least=0.0))

    def worth(self, total: np.ndarray) -> np.ndarray:
        """What totals are worth."""
        with np.errstate(over="ignore"):
            found = -np.expm1(-self.risk_aversion * np.asarray(total, dtype=float)) / self.risk_aversion
        if np.isinf(found).any():
            raise StudyError(f"{self}: a total of {np.nanmin(total):.4g} is beyond what can be computed; the risk aversion is per unit of utility, "
                             "and is too large for such totals.")
        return found

    def certain(self, worth: np.ndarray) -> np.ndarray:
        """The total that is worth so much."""
        return -np.log1p(-self.risk_aversion * np.asarray(worth, dtype=float)) / self.risk_aversion

    def slope(self, total: np.ndarray) -> np.ndarray:
        """``exp(-a U)``."""
        return np.exp(-self.risk_aversion * np.asarray(total, dtype=float))

    @property
    def aversion(self) -> float:
        """The risk aversion."""
        return self.risk_aversion

    def check(self, study: "Study") -> None:
        """Raise for tails so heavy that the expected worth would be minus infinity."""
        for name, weight in study.utility.weights:
            node = study[name]
            assert isinstance(node, Response)
            family = getattr(node.family, "base", node.family)  # of a response with its own probability of a zero
            if isinstance(family, StudentT) or (isinstance(family, LogNormal) and weight < 0):
                raise StudyError(f"{self}: {name!r} has tails so heavy that its expected worth would be minus infinity; use PiecewiseLinear, or a "
                                 "response with lighter tails.")

    def unsimulable(self, study: "Study") -> tuple[str, ...]:
        """Weighed responses, other than Normal ones, that are unbounded towards the worse."""
        found = []
        for name, weight in study.utility.weights:
            node = study[name]
            assert isinstance(node, Response)
            bounded = finite_values(node) is not None or (weight > 0 and node.family is not None and node.family.link == "log")
            if not bounded and not isinstance(node.family, Normal):
                found.append(name)
        return tuple(found)

    def __str__(self) -> str:
        return f"Exponential(risk_aversion={self.risk_aversion:g})"


@dataclass(frozen=True, init=False)
class Power(Attitude):
    """Constant relative risk aversion above a floor: ``f(U) = ((U + c)^(1 - g) - c^(1 - g)) / (1 - g)``, ``log(1 + U / c)`` for g = 1.

    Parameters
    ----------
    risk_aversion : float
        `g`, above 0.
    offset : float
        `c`, above 0: what a patient has beside the utility. Totals must stay above ``-c``, which is checked when the study is declared.

    Raises
    ------
    StudyError
        For numbers that are not finite and above 0.
    """

    risk_aversion: float
    offset: float

    def __init__(self, risk_aversion: float, *, offset: float):
        object.__setattr__(self, "risk_aversion", _number("Power: risk_aversion", risk_aversion, least=0.0))
        object.__setattr__(self, "offset", _number("Power: offset", offset, least=0.0))

    def worth(self, total: np.ndarray) -> np.ndarray:
        """What totals are worth."""
        ratio, rest = np.log1p(np.asarray(total, dtype=float) / self.offset), 1 - self.risk_aversion
        return ratio if rest == 0 else self.offset**rest * np.expm1(rest * ratio) / rest

    def certain(self, worth: np.ndarray) -> np.ndarray:
        """The total that is worth so much."""
        worth, rest = np.asarray(worth, dtype=float), 1 - self.risk_aversion
        return self.offset * np.expm1(worth if rest == 0 else np.log1p(worth * rest / self.offset**rest) / rest)

    def slope(self, total: np.ndarray) -> np.ndarray:
        """``(U + c)^-g``."""
        return (np.asarray(total, dtype=float) + self.offset) ** -self.risk_aversion

    def check(self, study: "Study") -> None:
        """Raise unless totals stay above the floor."""
        least = lowest(study)
        if not least > -self.offset:
            why = "is unbounded below" if least == -math.inf else f"may be as low as {least:g}"
            raise StudyError(f"{self}: totals must stay above {-self.offset:g}, and the utility {why}; "
                             f"use {'Exponential or PiecewiseLinear' if least == -math.inf else 'a larger offset'}.")

    def __str__(self) -> str:
        return f"Power(risk_aversion={self.risk_aversion:g}, offset={self.offset:g})"


@dataclass(frozen=True, init=False)
class PiecewiseLinear(Attitude):
    """Losses weigh more than gains: straight between knots, with slopes that do not increase.

    Parameters
    ----------
    knots : sequence of float
        Totals at which the slope changes, increasing.
    slopes : sequence of float
        One more than knots, from the lowest totals to the highest, above 0, never increasing.

    Raises
    ------
    StudyError
        For knots or slopes that are not so.

    Examples
    --------
    >>> print(PiecewiseLinear(knots=[0.0], slopes=[2.0, 1.0]))
    PiecewiseLinear(knots=[0], slopes=[2, 1])
    """

    knots: tuple[float, ...]
    slopes: tuple[float, ...]

    def __init__(self, *, knots: Sequence[float], slopes: Sequence[float]):
        if isinstance(knots, str) or isinstance(slopes, str) or not isinstance(knots, Sequence) or not isinstance(slopes, Sequence):
            raise StudyError(f"PiecewiseLinear takes lists of numbers, got knots={knots!r} and slopes={slopes!r}.")
        at = tuple(_number("PiecewiseLinear: a knot", k) for k in knots)
        steep = tuple(_number("PiecewiseLinear: a slope", s, least=0.0) for s in slopes)
        if not at or len(steep) != len(at) + 1:
            raise StudyError(f"PiecewiseLinear takes one slope more than knots, and at least one knot; got {len(steep)} and {len(at)}.")
        if any(b <= a for a, b in itertools.pairwise(at)):
            raise StudyError(f"PiecewiseLinear: knots must increase, got {list(at)}.")
        if any(b > a for a, b in itertools.pairwise(steep)):
            raise StudyError(f"PiecewiseLinear: slopes must not increase, or gambles would be sought; got {list(steep)}.")
        object.__setattr__(self, "knots", at)
        object.__setattr__(self, "slopes", steep)

    def _heights(self) -> tuple[float, np.ndarray]:
        """Worth of 0 and of the knots, where the first knot is worth 0."""
        rising = np.concatenate([[0.0], np.cumsum(np.diff(self.knots) * self.slopes[1:-1])])
        return float(self._along(np.zeros(1), np.array(self.knots), rising, np.array(self.slopes))[0]), rising

    @staticmethod
    def _along(x: np.ndarray, at: np.ndarray, height: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Values at `x` of the broken line through points, beyond them at the outer slopes."""
        piece = np.searchsorted(at, x)
        start = np.maximum(piece - 1, 0)
        return height[start] + (x - at[start]) * slopes[piece]

    def worth(self, total: np.ndarray) -> np.ndarray:
        """What totals are worth."""
        zero, rising = self._heights()
        return self._along(np.asarray(total, dtype=float), np.array(self.knots), rising, np.array(self.slopes)) - zero

    def certain(self, worth: np.ndarray) -> np.ndarray:
        """The total that is worth so much."""
        zero, rising = self._heights()
        return self._along(np.asarray(worth, dtype=float) + zero, rising, np.array(self.knots), 1 / np.array(self.slopes))

    def slope(self, total: np.ndarray) -> np.ndarray:
        """The slope of the piece."""
        return np.array(self.slopes)[np.searchsorted(self.knots, np.asarray(total, dtype=float))]

    def check(self, study: "Study") -> None:
        """Nothing is asked for: worth grows no faster than the total."""

    @property
    def bends(self) -> tuple[float, ...]:
        """The knots at which the slope changes."""
        return tuple(k for k, a, b in zip(self.knots, self.slopes, self.slopes[1:], strict=False) if a != b)

    def __str__(self) -> str:
        shown = [", ".join(f"{x:g}" for x in v) for v in (self.knots, self.slopes)]
        return f"PiecewiseLinear(knots=[{shown[0]}], slopes=[{shown[1]}])"


def lowest(study: "Study") -> float:
    """A bound below every total that a course can earn under the study's utility without its attitude; minus infinity where there is none."""
    return earned_between(study)[0] + sum(min(weight * end for end in life.bounds) for life, weight in study.linear.utility.times)


def earned_between(study: "Study", stage: int = 1) -> tuple[float, float]:
    """Bounds of what responses, tables and costs can come to from a stage on, by the utility without its attitude; infinite where there are none."""
    plain, low, high = study.linear, 0.0, 0.0
    for response in plain.responses:
        if plain.stage(response.name) < stage:
            continue
        parts = []
        if weight := plain.weight(response.name):
            values = finite_values(response)
            family = response.family
            ends = (min(values), max(values)) if values else (0.0 if family is not None and family.link == "log" else -math.inf, math.inf)
            parts.append([weight * float(e) for e in ends])
        factor = plain.utility.discount ** (plain.stage(response.name) - 1)
        parts += [[factor * x for _, x in t.rows] for t in plain.tables_of(response.name)]
        if (decision := plain.charges(response.name)) is not None:
            parts.append([0.0, *(-factor * x for _, x in dict(plain.utility.costs)[decision])])
        worst, best = sum(min(p) for p in parts), sum(max(p) for p in parts)
        later = plain.stage(response.name) > stage  # may not be reached
        low, high = low + (min(worst, 0.0) if later else worst), high + (max(best, 0.0) if later else best)
    return low, high
