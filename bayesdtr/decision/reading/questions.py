"""Yes/no questions about a patient's history that a clinician can read, and the conditions that answers add up to."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...study.conditions import Condition, Equals, Interval, OneOf, Test
from ...study.families import Ordinal
from ...study.study import Study
from ...study.timeline import Node, Response, finite_values, labels_of


@dataclass(frozen=True, eq=False)
class Variable:
    """What can be asked about one variable.

    Attributes
    ----------
    name : str
    uppers : array, shape (bin - 1,)
        Of an ordered variable: a value belongs to the first bin whose bound is above it. Of levels: their codes but the first.
    levels : array or None
        Codes of the levels that are told apart, sorted; None where bins are intervals.
    inside : array of bool, shape (question, bin)
        Bins whose answer is yes.
    yes, no : tuple of Test
        By question, what either answer says.
    """

    name: str
    uppers: np.ndarray
    levels: np.ndarray | None
    inside: np.ndarray
    yes: tuple[Test, ...]
    no: tuple[Test, ...]
    only: tuple[float, float] | None = None
    """The two whole values of a number that takes no others, which read better than a threshold."""

    def test(self, question: int, answer: bool) -> Test:
        """What an answer says."""
        return (self.yes if answer else self.no)[question]

    def text(self, question: int, answer: bool) -> str:
        """What an answer says in words."""
        if self.only is not None:
            return f"{self.name} = {self.only[0 if answer else 1]:g}"
        return self.test(question, answer).text(self.name)

    def bins(self, column: np.ndarray) -> np.ndarray:
        """Bin of each value, shape (row,)."""
        if self.levels is not None:
            return np.searchsorted(self.levels, column)
        return np.searchsorted(self.uppers, column, side="right")


def variable(study: Study, name: str, column: np.ndarray, weight: np.ndarray, cuts: int) -> Variable:
    """The questions about a variable that tell the rows given apart.

    Parameters
    ----------
    study : Study
    name : str
    column, weight : array, shape (row,)
        Values, and how much each row counts when cuts are placed at quantiles.
    cuts : int
        Cuts of a variable without a finite list of values, at most: between all of its values where these are few enough.
    """
    node = study[name]
    finite = finite_values(node)
    kinds = np.unique(column)
    if finite is None:
        bounds = _cuts(column, weight, kinds, cuts)
        made = _ordered(name, bounds, [Interval(high=float(c)) for c in bounds], [Interval(low=float(c)) for c in bounds])
        whole = len(kinds) == 2 and all(float(k).is_integer() for k in kinds)
        return dataclasses.replace(made, only=(float(kinds[0]), float(kinds[1]))) if whole else made
    codes = np.array([study.code(name, v) for v in finite], dtype=float)
    if len(finite) > 2 and labels_of(node) is None:
        bounds = kinds[1:]
        return _ordered(name, bounds, [Interval(high=float(c)) for c in bounds], [Interval(low=float(c)) for c in bounds])
    if _in_order(node):
        sides = [(one_of_or_equal(finite[i] for i in np.flatnonzero(codes < b)), one_of_or_equal(finite[i] for i in np.flatnonzero(codes >= b)))
                 for b in kinds[1:]]
        return _ordered(name, kinds[1:], [a for a, _ in sides], [b for _, b in sides])
    asked = kinds if len(kinds) > 2 else kinds[:1] if len(kinds) == 2 else kinds[:0]
    at = [int(np.flatnonzero(codes == k)[0]) for k in asked]
    told = [(Equals(finite[i]), one_of_or_equal(v for j, v in enumerate(finite) if j != i)) for i in at]
    return Variable(name, kinds[1:], kinds, np.eye(len(kinds), dtype=bool)[: len(asked)], tuple(a for a, _ in told), tuple(b for _, b in told))


def _in_order(node: Node) -> bool:
    return isinstance(node, Response) and isinstance(node.family, Ordinal)


def _ordered(name: str, bounds: np.ndarray, yes: Sequence[Test], no: Sequence[Test]) -> Variable:
    bins = np.arange(len(bounds) + 1)
    return Variable(name, np.asarray(bounds, dtype=float), None, bins[None] < np.arange(1, len(bins))[:, None], tuple(yes), tuple(no))


def _cuts(column: np.ndarray, weight: np.ndarray, kinds: np.ndarray, most: int) -> np.ndarray:
    """Cuts between values, round numbers; at quantiles of the weighted values where there are too many gaps."""
    gaps = np.arange(len(kinds) - 1)
    if len(gaps) > most:
        order = np.argsort(column, kind="stable")
        total = np.cumsum(weight[order])
        at = column[order][np.searchsorted(total, total[-1] * np.arange(1, most + 1) / (most + 1))]
        gaps = np.unique(np.minimum(np.searchsorted(kinds, at), len(kinds) - 2))
    return np.array([round_between(kinds[g], kinds[g + 1]) for g in gaps])


def round_between(low: float, high: float) -> float:
    """The shortest decimal number above `low` and up to `high`, near their middle: to be below it is the same as to be at `low` or less."""
    if float(high).is_integer() and high - low == 1:
        return float(high)
    middle = low + (high - low) / 2
    for digits in range(1, 18):
        found = float(f"{middle:.{digits}g}")
        if low < found <= high:
            return found
    return float(high)


# ---- conditions ---------------------------------------------------------------------------------------


def one_of_or_equal(values: Iterable[object]) -> Test:
    """The test that a variable has one of some values."""
    named = tuple(values)
    return Equals(named[0]) if len(named) == 1 else OneOf(named)  # type: ignore[arg-type]


def both(one: Test, other: Test) -> Test | None:
    """What two tests of one variable say together; None where no value passes both."""
    if isinstance(one, Interval) and isinstance(other, Interval):
        low = max((x for x in (one.low, other.low) if x is not None), default=None)
        high = min((x for x in (one.high, other.high) if x is not None), default=None)
        return None if low is not None and high is not None and low >= high else Interval(low, high)
    if isinstance(one, Interval):
        one, other = other, one
    left = [v for v in one.labels if _passes(other, v)]
    return one_of_or_equal(left) if left else None


def _passes(test: Test, value: object) -> bool:
    if isinstance(test, Interval):
        return bool(test.holds(np.array([float(value)]), lambda level: float(level))[0])  # type: ignore[arg-type]
    return value in test.labels


def joint(condition: Condition, answers: Iterable[tuple[str, Test]]) -> Condition | None:
    """A condition and answers to questions together, one test for each variable; None where they exclude one another."""
    tests: dict[str, Test] = {}
    for name, test in (*condition.tests, *answers):
        merged = both(tests[name], test) if name in tests else test
        if merged is None:
            return None
        tests[name] = merged
    return Condition(tuple(tests.items()))
