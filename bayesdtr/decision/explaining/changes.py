"""The nearest change of a patient's history that would change the recommendation."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import like
from ...study.timeline import Decision, finite_values, labels_of, shown
from ..induction import leaves
from ..regime import Regime
from ..world import Rows, World
from .contributions import possible
from .overlap import choose_at

GRID, PAIR_GRID = 65, 9
"""Points across the observed range of a continuous variable: for a single change, and for a pair of them."""
FEW = 10
"""A number with at most so many observed values changes to one of those."""
COUNTS = 200
ROUNDS, PARTS = 6, 16
"""Bisection by parts: 16 to the power of 6 of a step of the grid."""
PAIR_EVALUATIONS = 1e8


@dataclass(frozen=True)
class Change:
    """A change of one variable of the history, or of two, after which another option is recommended.

    Attributes
    ----------
    variables : tuple of str
    present, changed : tuple of str
        Values as they are read; those of a continuous variable rounded away from the present one.
    values : tuple of float
        The changed values as the models see them: numbers and codes.
    option : str
        Recommended then.
    difference : tuple of float
        In the variable's own units; NaN for a label.
    distance : float
        In SDs among the patients who reached the decision. A label is as far as one over the SD of having the new one; for a pair, the
        root of the sum of squares.
    """

    variables: tuple[str, ...]
    present: tuple[str, ...]
    changed: tuple[str, ...]
    values: tuple[float, ...]
    option: str
    difference: tuple[float, ...]
    distance: float

    def __str__(self) -> str:
        parts = []
        for n, old, new, by in zip(self.variables, self.present, self.changed, self.difference, strict=True):
            parts.append(f"{n} {new} instead of {old}" + (f" ({by:+.3g})" if by == by else ""))
        return f"{' and '.join(parts)}: {self.option}; {self.distance:.2f} SD away"


@dataclass(frozen=True)
class Changes:
    """What would change the recommendation.

    Attributes
    ----------
    singles : tuple of Change
        The nearest change of each variable that flips the recommendation by itself; nearest first.
    pair : Change or None
        Where no single change does, the nearest pair of changes that was found on a grid.
    searched : bool
        Whether pairs were searched for; they are not where that would take too long.
    tried : tuple of str
        Variables that were changed.
    """

    singles: tuple[Change, ...]
    pair: Change | None
    searched: bool
    tried: tuple[str, ...]

    def frame(self, kind: str = "pandas") -> Any:
        """One row per variable of a change: ``change`` (its number), ``variable``, ``present``, ``changed``, ``difference``, ``distance``,
        ``option`` (recommended then)."""
        out: dict[str, list] = {n: [] for n in ("change", "variable", "present", "changed", "difference", "distance", "option")}
        for k, c in enumerate(self.singles or ((self.pair,) if self.pair else ()), 1):
            for n, old, new, by in zip(c.variables, c.present, c.changed, c.difference, strict=True):
                for column, value in zip(out, (k, n, old, new, by, c.distance, c.option), strict=True):
                    out[column].append(value)
        return like(kind, out)

    def lines(self) -> list[str]:
        """One line per change."""
        if self.singles:
            return [str(c) for c in self.singles]
        if not self.tried:
            return ["Nothing can: the recommendation looks at no variable."]
        if self.pair is not None:
            return ["No single change flips it. A pair does:", str(self.pair)]
        return ["No single change flips it" + (", and no pair of changes that was tried." if self.searched else "; pairs were not searched.")]


def rounded_away(value: float, present: float) -> float:
    """A value to four digits, away from the present one: what is read is then on the far side of a threshold too."""
    if value == 0:
        return value
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 3)
    return float((np.ceil if value > present else np.floor)(value / unit) * unit)


class _Search:
    """Histories that differ from one patient's, and what is recommended there."""

    def __init__(self, regime: Regime, stage: int, rows: Rows, option: int):
        posterior = regime.posterior
        self.regime, self.stage, self.rows, self.option = regime, stage, rows, option
        self.decision: Decision = posterior.study.decisions[stage]
        self.near = regime.neighborhoods[self.decision.name]
        self.study, t = posterior.study, posterior.trajectories
        self.world = World.of(posterior).under(regime.safety)
        matter = {*self.near.discrete, *self.near.continuous}
        self.names = [n.name for n in self.study.before(self.decision.name) if n.name in matter]
        seen = t.history(self.names, self.near.patients)
        self.seen = {n: np.asarray(seen[n], dtype=float) for n in self.names}
        self.present = {n: float(np.asarray(rows.columns[n])[0]) for n in self.names}
        self.open = self.study.feasible(self.decision.name, rows.columns)[0] if rows.columns else np.ones(len(self.decision.options), dtype=bool)

    def steps(self, name: str) -> bool:
        """Whether a variable moves from value to value, not continuously."""
        return finite_values(self.study[name]) is not None or len(np.unique(self.seen[name])) <= FEW or self._whole(name)

    def _whole(self, name: str) -> bool:
        column = self.seen[name]
        counts = name in {r.name for r in self.study.responses} and getattr(self.regime.posterior.compiled(name), "whole", False)
        return bool(counts) and bool((column == np.rint(column)).all()) and np.ptp(column) <= COUNTS

    def values(self, name: str, grid: int) -> np.ndarray:
        """Other values to try."""
        node, column = self.study[name], self.seen[name]
        if (finite := finite_values(node)) is not None:
            tried = np.array([self.study.code(name, v) for v in finite], dtype=float)
        elif not len(column):
            tried = np.zeros(0)
        elif self._whole(name):
            tried = np.arange(column.min(), column.max() + 1)
        elif len(np.unique(column)) <= FEW:
            tried = np.unique(column)
        else:
            tried = np.linspace(column.min(), column.max(), grid)
        return tried[tried != self.present[name]]

    def distance(self, name: str, value: np.ndarray) -> np.ndarray:
        """Of other values from the patient's, in SDs."""
        column = self.seen[name]
        if labels_of(self.study[name]) is None:
            spread = column.std(ddof=1) if len(column) > 1 else 0.0
            return np.abs(value - self.present[name]) / spread if spread > 0 else np.full(np.shape(value), np.inf)
        share = np.array([(column == v).mean() if len(column) else 0.0 for v in np.atleast_1d(value)])
        spread = np.sqrt(share * (1 - share))
        return np.reshape(np.divide(1, spread, out=np.full(spread.shape, np.inf), where=spread > 0), np.shape(value))

    def flips(self, changed: dict[str, np.ndarray]) -> np.ndarray:
        """What is recommended after changes ``(change,)`` of some variables: the code where the recommendation flips, -1 elsewhere.

        A change that makes the history impossible, or takes away the option recommended now, does not count; neither does a new option
        that is not open to the patient as is.
        """
        n = len(next(iter(changed.values())))
        found = np.full(n, -1)
        if not n:
            return found
        at = self.rows.take(np.zeros(n, dtype=int))
        columns = dict(at.columns)
        for name, values in changed.items():
            columns[name] = values.astype(np.asarray(columns[name]).dtype)
        valid = np.flatnonzero(possible(self.study, self.stage, columns, (self.option,)))
        if valid.size:
            choice = choose_at(self.regime, self.world, self.stage, Rows(columns, at.cluster, n).take(valid))
            found[valid] = np.where((choice != self.option) & self.open[choice], choice, -1)
        return found

    def change(self, values: dict[str, float], option: int) -> Change:
        """A change in words."""
        names = tuple(values)
        nodes = [self.study[n] for n in names]
        far = [float(self.distance(n, np.array(v))) for n, v in values.items()]
        text = lambda node, v: shown(node, v) if labels_of(node) is not None else f"{v:.4g}"  # noqa: E731
        beyond = [v if self.steps(n) else rounded_away(v, self.present[n]) for n, v in values.items()]
        return Change(
            names, tuple(text(node, self.present[n]) for node, n in zip(nodes, names, strict=True)),
            tuple(text(node, v) for node, v in zip(nodes, beyond, strict=True)), tuple(float(v) for v in values.values()),
            self.decision.options[option],
            tuple(np.nan if labels_of(node) is not None else float(v - self.present[n]) for node, (n, v) in zip(nodes, values.items(), strict=True)),
            float(np.hypot.reduce(far)),
        )


def changes(regime: Regime, stage: int, rows: Rows, option: int) -> Changes:
    """The smallest changes of one patient's history that flip the recommendation.

    Parameters
    ----------
    regime : Regime
    stage : int
    rows : Rows
        One history before the decision.
    option : int
        Code of the option recommended now.

    Returns
    -------
    Changes

    Notes
    -----
    Labels and numbers with few values are tried one by one. A continuous variable is searched on 65 points across the range of the patients
    who reached the decision and then bisected; a recommendation that flips only between two neighbors of those points is not seen. Clusters
    are not changed.
    """
    search = _Search(regime, stage, rows, option)
    cost = leaves(search.world, stage) * search.world.size
    grid = int(np.clip(PAIR_EVALUATIONS / cost / max(len(search.names), 1), PAIR_GRID, GRID))
    singles = [c for name in search.names if (c := _single(search, name, grid)) is not None]
    names = tuple(search.names)
    if singles or len(names) < 2:
        return Changes(tuple(sorted(singles, key=lambda c: c.distance)), None, True, names)
    tried = {n: search.values(n, PAIR_GRID) for n in search.names}
    total = sum(len(v) for v in tried.values())
    if total**2 / 2 * cost > PAIR_EVALUATIONS:
        return Changes((), None, False, names)
    return Changes((), _pair(search, tried), True, names)


def _single(search: _Search, name: str, grid: int) -> Change | None:
    """The nearest change of one variable that flips the recommendation."""
    tried = search.values(name, grid)
    found = search.flips({name: tried})
    hits = np.flatnonzero(found >= 0)
    if not hits.size:
        return None
    far = search.distance(name, tried[hits])
    best = hits[far.argmin()]
    if search.steps(name):
        return search.change({name: float(tried[best])}, int(found[best]))
    present, value, option = search.present[name], float(tried[best]), int(found[best])
    inner = [v for v in (*tried, present) if min(present, value) <= v <= max(present, value) and v != value]
    begin = min(inner, key=lambda v: abs(v - value))  # the last point on the way that does not flip
    value, option = _closer(search, {name: begin}, {name: value}, option)
    return search.change(value, option)


def _closer(search: _Search, begin: dict[str, float], end: dict[str, float], option: int) -> tuple[dict[str, float], int]:
    """The first flip on the way from one history to another that flips."""
    for _ in range(ROUNDS):
        part = np.arange(1, PARTS + 1) / PARTS
        way = {n: begin[n] + (end[n] - begin[n]) * part for n in end}
        for n in end:
            way[n][-1] = end[n]
        found = search.flips(way)
        first = int(np.flatnonzero(found >= 0)[0])
        option = int(found[first])
        begin, end = {n: begin[n] if first == 0 else float(v[first - 1]) for n, v in way.items()}, {n: float(v[first]) for n, v in way.items()}
    return end, option


def _pair(search: _Search, tried: dict[str, np.ndarray]) -> Change | None:
    """The nearest pair of changes on the grid that flips the recommendation, drawn closer where it is continuous."""
    best, found = np.inf, None
    for i, one in enumerate(search.names):
        for two in search.names[i + 1 :]:
            x, y = (v.ravel() for v in np.meshgrid(tried[one], tried[two], indexing="ij"))
            option = search.flips({one: x, two: y})
            hits = np.flatnonzero(option >= 0)
            if hits.size:
                far = np.hypot(search.distance(one, x[hits]), search.distance(two, y[hits]))
                k = int(far.argmin())
                if far[k] < best:
                    best, found = far[k], ({one: float(x[hits[k]]), two: float(y[hits[k]])}, int(option[hits[k]]))
    if found is None:
        return None
    values, option = found
    begin = {n: v if search.steps(n) else search.present[n] for n, v in values.items()}
    if begin != values and search.flips({n: np.array([v]) for n, v in begin.items()})[0] < 0:
        values, option = _closer(search, begin, values, option)
    return search.change(values, option)

