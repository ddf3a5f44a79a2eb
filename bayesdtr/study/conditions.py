"""Conditions on a patient's history: feasible sets as data, printable and evaluated on arrays.

`when(improved=0, sbp=at_least(140))` is a conjunction of one test per variable. A condition holds
no data; :meth:`Condition.mask` evaluates it on the columns of any number of patients at once.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import StudyError, did_you_mean, listing

Level = str | int | float | bool
Coder = Callable[[str, Level], float]
"""Turns a label of a named variable into the number that stands for it in a history."""


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise StudyError(f"{what} needs a number, got {value!r}.")
    if not np.isfinite(value):
        raise StudyError(f"{what} needs a finite number, got {value!r}.")
    return float(value)


def _plain(value: object) -> Level:
    """Labels as plain Python values, so that conditions compare, hash and round-trip through JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise StudyError(f"A condition compares with a label or a finite number, got {value!r}.")


@dataclass(frozen=True)
class Equals:
    """The variable equals one value: a label of a decision, or a number."""

    value: Level

    def holds(self, column: np.ndarray, code: Callable[[Level], float]) -> np.ndarray:
        """Evaluate on a column, shape ``(n,)``."""
        return column == code(self.value)

    def text(self, name: str) -> str:
        """Readable form."""
        return f"{name} = {self.value}"

    @property
    def labels(self) -> tuple[Level, ...]:
        """The values that the test names."""
        return (self.value,)


@dataclass(frozen=True)
class OneOf:
    """The variable equals one of several values."""

    values: tuple[Level, ...]

    def holds(self, column: np.ndarray, code: Callable[[Level], float]) -> np.ndarray:
        """Evaluate on a column, shape ``(n,)``."""
        return np.isin(column, [code(v) for v in self.values])

    def text(self, name: str) -> str:
        """Readable form."""
        return f"{name} in {{{', '.join(map(str, self.values))}}}"

    @property
    def labels(self) -> tuple[Level, ...]:
        """The values that the test names."""
        return self.values


@dataclass(frozen=True)
class Interval:
    """The variable lies in ``[low, high)``; a missing end is open."""

    low: float | None = None
    high: float | None = None

    def holds(self, column: np.ndarray, code: Callable[[Level], float]) -> np.ndarray:
        """Evaluate on a column, shape ``(n,)``; a missing value (NaN) lies in no interval."""
        del code
        inside = ~np.isnan(column)
        if self.low is not None:
            inside &= column >= self.low
        if self.high is not None:
            inside &= column < self.high
        return inside

    def text(self, name: str) -> str:
        """Readable form."""
        if self.low is None:
            return f"{name} < {self.high:g}"
        if self.high is None:
            return f"{name} >= {self.low:g}"
        return f"{self.low:g} <= {name} < {self.high:g}"

    @property
    def labels(self) -> tuple[Level, ...]:
        """The bounds of the interval."""
        return tuple(b for b in (self.low, self.high) if b is not None)


Test = Equals | OneOf | Interval


def at_least(bound: float) -> Interval:
    """Threshold test ``variable >= bound``, for use inside :func:`when`."""
    return Interval(low=_number(bound, "at_least(...)"))


def below(bound: float) -> Interval:
    """Threshold test ``variable < bound``, for use inside :func:`when`."""
    return Interval(high=_number(bound, "below(...)"))


def between(low: float, high: float) -> Interval:
    """Interval test ``low <= variable < high``, for use inside :func:`when`."""
    low, high = _number(low, "between(...)"), _number(high, "between(...)")
    if low >= high:
        raise StudyError(f"between({low:g}, {high:g}) is empty: the first bound must be smaller than the second.")
    return Interval(low, high)


def one_of(*values: Level) -> OneOf:
    """Membership test, for use inside :func:`when`."""
    if not values:
        raise StudyError("one_of() needs at least one value, for example one_of('medication', 'therapy').")
    return OneOf(tuple(_plain(v) for v in values))


@dataclass(frozen=True)
class Condition:
    """A conjunction of tests on named variables; with no tests it always holds."""

    tests: tuple[tuple[str, Test], ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that the condition looks at."""
        return tuple(name for name, _ in self.tests)

    def mask(self, history: Mapping[str, np.ndarray], coder: Coder) -> np.ndarray:
        """Evaluate on columns of equal length.

        Parameters
        ----------
        history : mapping of str to array, shape (n,)
            Numbers for numeric variables, codes for labelled ones.
        coder : callable
            ``coder(name, label)`` gives the number that stands for a label.

        Returns
        -------
        array of bool, shape (n,)
        """
        n = len(next(iter(history.values()))) if history else 1
        holds = np.ones(n, dtype=bool)
        for name, test in self.tests:
            holds &= test.holds(np.asarray(history[name]), lambda level, name=name: coder(name, level))
        return holds

    def __str__(self) -> str:
        return " and ".join(test.text(name) for name, test in self.tests) or "always"


ALWAYS = Condition()
otherwise = ALWAYS
"""In a regime written by a person, the last key of a decision: what is done where none of the conditions before it holds."""


def when(**tests: Test | Level) -> Condition:
    """Declare a condition on the history: ``when(improved=0, sbp=at_least(140))``.

    Parameters
    ----------
    **tests
        One test per variable: a value (equality), or :func:`at_least`, :func:`below`,
        :func:`between`, :func:`one_of`.

    Returns
    -------
    Condition

    Raises
    ------
    StudyError
        If no test is given or a value cannot be compared with.
    """
    if not tests:
        raise StudyError("when() needs at least one test, for example when(improved=0).")
    return Condition(tuple((n, t if isinstance(t, (Equals, OneOf, Interval)) else Equals(_plain(t))) for n, t in tests.items()))


def check_condition(condition: Condition, finite: Mapping[str, tuple[Level, ...] | None], where: str) -> None:
    """Raise when a condition names an unknown variable or an impossible value.

    Parameters
    ----------
    condition : Condition
    finite : mapping
        The variables that may be named, each with its possible values (None: any number).
    where : str
        What the message calls the place of the condition.
    """
    for name, test in condition.tests:
        if name not in finite:
            raise StudyError(
                f"{where}: when({name}=...) names {name!r}, which is not observed before it; "
                f"known there: {listing(finite) or 'nothing'}{did_you_mean(name, finite)}"
            )
        allowed = finite[name]
        if allowed is None:
            if isinstance(test, (Equals, OneOf)) and any(isinstance(v, str) for v in test.labels):
                raise StudyError(f"{where}: {name!r} is numeric, so it cannot be compared with {listing(test.labels)}.")
            continue
        if isinstance(test, Interval) and any(isinstance(v, str) for v in allowed):
            raise StudyError(f"{where}: {name!r} has labels ({listing(allowed)}), so a threshold does not apply; name a label.")
        if not isinstance(test, Interval):
            for value in test.labels:
                if value not in allowed:
                    raise StudyError(
                        f"{where}: {name!r} cannot equal {value!r}; allowed: {listing(allowed)}{did_you_mean(value, allowed)}"
                    )


def representatives(tests: list[Test]) -> tuple[float, ...]:
    """Numbers of which one lies in every region that the tests can tell apart on a numeric variable."""
    cuts = sorted({float(b) for t in tests for b in t.labels if not isinstance(b, str)})
    if not cuts:
        return (0.0,)
    middles = [(a + b) / 2 for a, b in itertools.pairwise(cuts)]
    return tuple(sorted([cuts[0] - 1, *cuts, *middles, cuts[-1] + 1]))
