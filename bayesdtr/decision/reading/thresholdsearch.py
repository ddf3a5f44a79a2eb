"""`search_thresholds`: a written regime with thresholds left open, valued for every combination of them."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError, did_you_mean, listing
from ...inference import Posterior
from ...study.rules import Rules
from ...text import decimal, fold, number, places
from ..compare import Comparison, EmbeddedValue, compare
from ..regime import Regime
from ..values import batch_error

MOST_MEMBERS = 441
SHOWN = 8
NEAR_SE = 3.0
"""Two members closer than this many Monte Carlo standard errors are a Monte Carlo tie."""


@dataclass(frozen=True, eq=False)
class ThresholdSearch:
    """The members of a family of regimes, valued on the same draws, patients and random numbers.

    Attributes
    ----------
    names : tuple of str
        The thresholds.
    members : array, shape (member, threshold)
        Their values, the last threshold running fastest.
    comparison : Comparison
        Value, P(best) and membership of the set of best of every member.
    """

    names: tuple[str, ...]
    members: np.ndarray
    comparison: Comparison

    @property
    def best(self) -> dict[str, float]:
        """Thresholds of the member with the highest posterior mean value."""
        return self._at(self.comparison.best)

    @property
    def row(self) -> EmbeddedValue:
        """The best member with its value, P(best) and, against an optimal regime, what that gains over it."""
        return self.comparison.rows[self.comparison.best]

    @property
    def rules(self) -> Rules:
        """The best member as a written regime."""
        return self.row.rules

    @property
    def set(self) -> tuple[dict[str, float], ...]:
        """Thresholds of the members that cannot be told from the best, simultaneously."""
        return tuple(self._at(k) for k, r in enumerate(self.comparison.rows) if r.in_best_set)

    @property
    def mc_tie(self) -> bool:
        """Whether Monte Carlo error could have decided between the best member and the next, other than by members of equal value."""
        lead, error = self._lead()
        return bool(lead <= NEAR_SE * error)

    def _lead(self) -> tuple[float, float]:
        """Lead over the next best member that is not the same on every draw, and its Monte Carlo standard error."""
        draws = self.comparison.draws["value"].values
        gap = draws[..., [self.comparison.best]] - draws
        mean, error = gap.mean(axis=(0, 1)), batch_error(gap)
        other = np.flatnonzero(np.abs(gap).max(axis=(0, 1)) > 0)
        if not other.size:
            return np.inf, 0.0
        near = other[mean[other].argmin()]
        return float(mean[near]), float(error[near])

    def _at(self, member: int) -> dict[str, float]:
        return dict(zip(self.names, self.members[member].tolist(), strict=True))

    def frame(self) -> Any:
        """The surface as a pandas frame: a column per threshold, then value, Monte Carlo error, P(best) and membership of the set of best."""
        table = self.comparison.frame()
        found = table.drop(columns=["regime", "rules"])
        for k, name in enumerate(self.names):
            found.insert(k, name, self.members[:, k])
        found.insert(len(self.names) + 2, "mcse", [r.value.mcse for r in self.comparison.rows])
        return found

    def __str__(self) -> str:
        c, best = self.comparison, self.row
        inside = [k for k, r in enumerate(c.rows) if r.in_best_set]
        lines = [f"{len(c.rows)} regimes, thresholds {', '.join(self.names)}", f"Best: {_words(self.best)}", f"  {best.rules.label}"]
        lines.append(f"  value {best.value}, Monte Carlo error {number(best.value.mcse, '.2g')}; P(best) {best.p_best:.4f} "
                     f"(error {number(best.p_best_error, '.2g')})")
        if best.gain is not None:
            lines.append(f"  The optimal regime gains {best.gain}, Monte Carlo error {number(best.gain.mcse, '.2g')}")
        if self.mc_tie:
            lead, error = self._lead()
            lines.append(f"  Its lead over the next, {lead:.2g}, is within {NEAR_SE:g} Monte Carlo errors ({error:.2g}); more draws could name "
                         "another.")
        lines.append(f"{len(inside)} of {len(c.rows)} cannot be told from the best (simultaneous {1 - c.alpha:.0%}, {c.scale} scale):")
        lines += [f"  {name} from {self.members[inside, k].min():g} to {self.members[inside, k].max():g}" for k, name in enumerate(self.names)]
        edge = [n for k, n in enumerate(self.names) if len(np.unique(self.members[:, k])) > 2
                and self.best[n] in (self.members[:, k].min(), self.members[:, k].max())]
        if edge:
            lines.append(f"The best lies at the edge of the grid in {', '.join(edge)}: a wider grid may hold a better one.")
        return fold("\n".join([*lines, *self._table(), f"Computed by {c.method}; P(best) counts equal values in equal shares."]))

    def _table(self) -> list[str]:
        """The members of the highest values."""
        rows = self.comparison.rows
        order = np.argsort([-r.value.mean for r in rows], kind="stable")[:SHOWN]
        prob, digits = rows[0].value.ci_prob, places(*(r.value.sd for r in rows))
        width = [max(8, len(n)) for n in self.names]
        names = " ".join(f"{n:>{w}}" for n, w in zip(self.names, width, strict=True))
        lines = [f"{names} {'mean':>9} {'sd':>8} {f'{prob:.0%} interval':>20} {'P(best)':>8}"]
        for k in order:
            v = rows[k].value
            at = " ".join(f"{x:>{w}.4g}" for x, w in zip(self.members[k], width, strict=True))
            lines.append(f"{at} {decimal(v.mean, digits):>9} {decimal(v.sd, digits):>8} {v.between(digits):>20} {rows[k].p_best:>8.4f}")
        if len(rows) > len(order):
            lines.append(f"({len(order)} of {len(rows)}, the highest means first)")
        return lines


def search_thresholds(
    posterior: Posterior, family: Callable[..., Any], *, grid: Mapping[str, Sequence[float]], against: Regime | None = None, alpha: float = 0.05,
    ci_prob: float = 0.95, scale: str = "auto",
) -> ThresholdSearch:
    """Value every member of a family of regimes with thresholds, and find the best and those that cannot be told from it.

    ``search_thresholds(posterior, lambda c: {"first": "a", "second": {when(x=at_least(c)): "intensify", when(x=below(c)): "continue"}},
    grid={"c": np.linspace(0, 10, 21)})``.

    Parameters
    ----------
    posterior : Posterior
    family : callable
        From thresholds, by name, to a regime: a mapping of decisions to an option or to a mapping of conditions to options. None leaves a
        combination out, such as one in which a lower threshold exceeds a higher one.
    grid : mapping of str to sequence of float
        Values of every threshold; all combinations are members, at most 441 of them. Each takes as long as a regime in
        :func:`bayesdtr.compare`: begin with a coarse grid, then a finer one around the best.
    against : Regime, optional
        The optimal regime of this posterior: what it gains over each member.
    alpha : float
        One minus the simultaneous probability of the set of best.
    ci_prob : float
        Probability of the equal-tailed intervals.
    scale : {"auto", "identity", "log-odds"}
        Scale of the differences to the best, as for :func:`bayesdtr.compare`.

    Returns
    -------
    ThresholdSearch

    Raises
    ------
    DecisionError
        For a grid that does not fit the family, or too many members.
    StudyError
        For a member that is no regime of the study.

    Notes
    -----
    The Bayes rule within the family is the member with the highest posterior mean of ``V(c; theta)``: the expectation is taken before the
    maximum. All members are valued under the same draws, patients and random numbers (or on the same tree of histories), so that
    differences between them are free of most of the noise. P(best) is the posterior probability of being the best of these members.

    References
    ----------
    Rodriguez Duque et al., arXiv:2303.15281 (families of regimes indexed by thresholds).
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"search_thresholds takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    axes = _grid(family, grid)
    regimes, members = _members(family, axes)
    found = compare(posterior, regimes=regimes, against=against, alpha=alpha, ci_prob=ci_prob, scale=scale)
    return ThresholdSearch(tuple(axes), np.array(members), found)


def _members(family: Callable[..., Any], axes: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], list[tuple[float, ...]]]:
    """Regimes by name, and the thresholds of each."""
    regimes, members = {}, []
    if (count := int(np.prod([len(v) for v in axes.values()], dtype=float))) > MOST_MEMBERS:
        raise DecisionError(f"search_thresholds: {count} combinations of thresholds; at most {MOST_MEMBERS}: give a coarser grid, then a finer one "
                            "around the best.")
    for values in itertools.product(*(v.tolist() for v in axes.values())):
        at = dict(zip(axes, values, strict=True))
        if (regime := family(**at)) is not None:
            regimes[_words(at)] = regime
            members.append(values)
    if not members:
        raise DecisionError("search_thresholds: the family returned None for every combination of thresholds; give values that belong to a regime.")
    return regimes, members


def _words(at: Mapping[str, float]) -> str:
    return ", ".join(f"{n} = {x:.10g}" for n, x in at.items())


def _grid(family: Any, grid: Any) -> dict[str, np.ndarray]:
    """Values of every threshold, checked against what the family takes."""
    if not callable(family):
        raise DecisionError(f"search_thresholds: family is a function of thresholds that returns a regime, got {type(family).__name__}.")
    if not isinstance(grid, Mapping) or not grid:
        raise DecisionError(f"search_thresholds: grid is a mapping of thresholds to their values, such as {{'c': [1, 2, 3]}}, got {grid!r}.")
    taken = inspect.signature(family).parameters
    for name in grid:
        if name not in taken:
            raise DecisionError(f"search_thresholds: grid names {name!r}; the family takes {listing(taken)}{did_you_mean(name, taken)}")
    if lost := [n for n, p in taken.items() if p.default is p.empty and n not in grid]:
        raise DecisionError(f"search_thresholds: grid lacks values of {listing(lost)}.")
    found = {}
    for name, values in grid.items():
        column = np.asarray(list(values) if not isinstance(values, str) else [], dtype=object)
        numbers = [isinstance(v, int | float | np.number) and not isinstance(v, bool) and np.isfinite(v) for v in column.tolist()]
        if not numbers or not all(numbers):
            raise DecisionError(f"search_thresholds: the values of {name!r} are finite numbers, got {values!r}.")
        found[name] = np.unique(column.astype(float))
    return found
