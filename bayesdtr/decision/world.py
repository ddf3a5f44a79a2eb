"""What the decision layer knows of a posterior: predictive distributions of responses, draw by draw."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, logit

from ..errors import DecisionError
from ..inference import Posterior
from ..model import Predictor, look, look_paired, spread_over
from ..schema import MISSING_SHIFT
from ..study.attitude import MOST_TILT
from ..study.conditions import Test
from ..study.rules import Rules, tailoring_variables
from ..study.safety import Safety
from ..study.study import Scale, Study
from ..study.timeline import Node, Response
from .points import EXTRA, GRID, Points, bends_of, cells_of, panels

REACH = 7.0
"""Half-width of the grid in residual SDs beyond the means of the draws."""
SPACING = 0.5
"""Widest spacing of the grid in residual SDs: half an SD integrates a Normal density to machine precision."""
FINEST = 8 * GRID
COUNT_REACH = 20.0
"""SDs above the mean up to which counts are enumerated: what an exponential tail leaves above is 2e-9."""
RANGE_DRAWS = 256
PROBABILITY, SHIFT = "probability", "shift"
"""Variables of the group ``missing_shift``: share of missing outcomes, and shift of their linear predictor, by option."""


def mark(name: str) -> str:
    """Name, among a response's draws, of a variable of the group ``missing_shift``; no parameter is called so."""
    return f"({name})"


def shifted_mean(response: Node, mean: np.ndarray, share: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Mixture of the means of measured and of missing outcomes, whose linear predictor is shifted; equally shaped arrays."""
    family = response.family if isinstance(response, Response) else None
    assert family is not None
    if family.link == "identity":
        return mean + share * shift
    if family.link == "log":
        return mean * (1 + share * np.expm1(shift))
    top = float(family.support[-1]) if family.support else 1.0
    return (1 - share) * mean + share * top * expit(logit(mean / top) + shift)


@dataclass(frozen=True, eq=False)
class Rows:
    """Histories as columns of equal length, with the clusters they belong to.

    Attributes
    ----------
    columns : mapping of str to array, shape (n,)
    cluster : array of int, shape (n,), or None
    n : int
    sets : int
        The same patients several times, one set after another, with other values in place of what is missing of them.
    """

    columns: Mapping[str, np.ndarray]
    cluster: np.ndarray | None
    n: int
    sets: int = 1

    def take(self, index: np.ndarray) -> "Rows":
        """Rows by index, repeats allowed."""
        return Rows({k: v[index] for k, v in self.columns.items()}, None if self.cluster is None else self.cluster[index], len(index))

    def put(self, name: str, values: np.ndarray) -> "Rows":
        """Add a column."""
        return Rows({**self.columns, name: values}, self.cluster, self.n)

    def unique(self) -> tuple["Rows", np.ndarray]:
        """Distinct rows, and for each row the index of its distinct one."""
        first, inverse = self.first()
        return self.take(first), inverse

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of distinct rows, and for each row the position of its distinct one."""
        columns = [np.asarray(v, dtype=float) for v in self.columns.values()]
        if self.cluster is not None:
            columns.append(self.cluster.astype(float))
        if not columns:
            return np.zeros(1, dtype=int), np.zeros(self.n, dtype=int)
        _, first, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
        return first, inverse.ravel()


def leveled(weights: np.ndarray) -> np.ndarray:
    """Weights with mean 1 over draws; where none is positive, all 1."""
    total = weights.mean(axis=0)
    return np.where(total > 0, weights / np.where(total > 0, total, 1.0), 1.0)


def resampled(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Draws ``[draw, row, ...]`` of each row's own posterior, by systematic resampling in the order of the draws."""
    size = len(values)
    reached = np.cumsum(own, axis=0) / own.sum(axis=0)
    points = (np.arange(size) + 0.5) / size
    index = np.stack([np.minimum(np.searchsorted(reached[:, r], points), size - 1) for r in range(own.shape[1])], axis=1)
    return np.stack([values[index[:, r], r] for r in range(own.shape[1])], axis=1)


@dataclass(frozen=True, eq=False)
class World:
    """A study's responses as predictive distributions under posterior (or prior) draws.

    Attributes
    ----------
    study : Study
    compiled : mapping of str to CompiledResponse or Mixture
    scales : mapping of str to Scale
    draws : mapping of str to mapping of str to array, shape (draw, ...)
    size : int
        Number of draws.
    watched : mapping of str to tuple of float
        Variables that the regimes to be valued look at, so that they are kept even where no model needs them, with the thresholds
        that those regimes name.
    """

    study: Study
    compiled: Mapping[str, Predictor]
    scales: Mapping[str, Scale]
    draws: Mapping[str, Mapping[str, np.ndarray]]
    size: int
    watched: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    safety: Safety | None = None
    """Gates that the committed rule heeds; written regimes do as they are written."""
    judge: "World | None" = None
    grid: int = GRID
    """Points along one continuous response, at least."""
    shifted: tuple[str, str] | None = None
    """The response whose mean mixes measured and missing outcomes, and the decision that their share and shift go by; draws among the response's."""

    @classmethod
    def of(cls, posterior: Posterior, regimes: Iterable[Rules] = ()) -> "World":
        """The world of a posterior, all draws, in which the given regimes can be followed."""
        names = [r.name for r in posterior.study.responses]
        draws = {n: posterior.draws(n) for n in names}
        shifted = None
        if MISSING_SHIFT in posterior.tree.children:
            group = posterior.tree[MISSING_SHIFT].to_dataset()
            shifted = str(group.attrs["response"]), str(group.attrs["by"])
            draws[shifted[0]] |= {mark(n): group[n].values.reshape(posterior.size, -1) for n in (PROBABILITY, SHIFT)}
        compiled = {n: posterior.compiled(n) for n in names}
        made = cls(posterior.study, compiled, posterior.scales, draws, posterior.size, looked_at(regimes), shifted=shifted)
        if shifted and made.matters(shifted[0]):
            raise DecisionError(
                f"This posterior shifts the missing outcomes of {shifted[0]!r} in their mean only, and a regime or a utility looks at single "
                "outcomes of it; use the posterior without missing_shift, or a utility that weighs the response."
            )
        return made

    def under(self, safety: Safety | None) -> "World":
        """The same world with a committed rule that heeds gates; all draws of this one judge them, however the other is thinned later."""
        return dataclasses.replace(self, safety=safety, judge=None if safety is None else self)

    def take(self, index: np.ndarray) -> "World":
        """Some of the draws, by index."""
        draws = {n: {p: v[index] for p, v in d.items()} for n, d in self.draws.items()}
        return dataclasses.replace(self, draws=draws, size=len(index))

    def block(self, begin: int, end: int) -> "World":
        """A run of consecutive draws."""
        draws = {n: {p: v[begin:end] for p, v in d.items()} for n, d in self.draws.items()}
        return dataclasses.replace(self, draws=draws, size=min(end, self.size) - begin)

    def look(self, response: str, rows: Rows, what: str, extra: np.ndarray | None = None, *, average: bool = False) -> np.ndarray:
        """Summaries of a response at given histories; see :func:`bayesdtr.model.evaluate`.

        A model without parameters answers once for all draws.

        Returns
        -------
        array, shape (draw, row, ...), or (row, ...) when averaged
        """
        compiled = self.compiled[response]
        if what == "mean" and self.shifted and response == self.shifted[0]:
            out = look(compiled, self.draws[response], rows.columns, rows.cluster, self.scales, what)
            out = self._mixed(np.broadcast_to(out, (self.size, rows.n)), rows.columns)
            return out.mean(axis=0) if average else out
        out = look(compiled, self.draws[response], rows.columns, rows.cluster, self.scales, what, extra, average=average)
        return out if average or compiled.parameters else np.broadcast_to(out, (self.size, *out.shape[1:]))

    def simulate(
        self, response: str, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, what: str, extra: np.ndarray | None = None
    ) -> np.ndarray:
        """As :meth:`look` with rows of their own for each draw: every column ``(draw, row)``."""
        out = look_paired(self.compiled[response], self.draws[response], columns, cluster, self.scales, what, extra)
        return self._mixed(out, columns) if what == "mean" and self.shifted and response == self.shifted[0] else out

    def _mixed(self, mean: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Means of measured outcomes ``(draw, row)`` mixed with those of missing ones, by the option received."""
        assert self.shifted is not None
        name, by = self.shifted
        option = np.broadcast_to(columns[by], mean.shape)
        share, shift = (np.take_along_axis(self.draws[name][mark(n)], option, axis=1) for n in (PROBABILITY, SHIFT))
        return shifted_mean(self.study[name], mean, share, shift)

    def with_shift(self, shift: np.ndarray) -> "World":
        """The same world with the shift of every option fixed, shape (option,)."""
        assert self.shifted is not None
        mine = self.draws[self.shifted[0]]
        fixed = {**mine, mark(SHIFT): np.broadcast_to(shift, mine[mark(SHIFT)].shape)}
        return dataclasses.replace(self, draws={**self.draws, self.shifted[0]: fixed})

    def shares(self, response: str) -> bool:
        """Whether a response's parameters also tell about others, so that a history's likelihood tells draws apart."""
        return response in self.study.shared and bool(self.compiled[response].parameters)

    def own_history(self, stage: int, rows: Rows) -> np.ndarray | None:
        """Weight of each draw given what patients showed before a decision, mean 1 over draws; shape (draw, row).

        ``p(theta | data, own history)`` over ``p(theta | data)``: the likelihood of the earlier
        responses whose parameters later ones share. None where there is none of these.
        """
        shared = [r.name for d in self.study.decisions[:stage] for r in self.study.after(d.name) if self.shares(r.name)]
        if not shared:
            return None
        points = {n: np.asarray(rows.columns[n], dtype=float)[:, None] for n in shared}
        log = sum(np.log(np.maximum(self.look(n, rows, "density", points[n])[..., 0], 1e-300)) for n in shared)
        return leveled(np.exp(log - log.max(axis=0)))

    def expected(self, response: str, rows: Rows, *, with_mean: bool, average: bool = False) -> np.ndarray | float:
        """What a response is expected to earn in closed form: its weighted mean if asked for, utilities of times, less the cost of what preceded it.

        Returns
        -------
        array, shape (draw, row), or (row,) when averaged; 0 where it earns nothing of the kind
        """
        total: np.ndarray | float = 0.0
        if with_mean and (weight := self.study.weight(response)):
            total = total + weight * self.look(response, rows, "mean", average=average)
        for life, weight in self.study.lives(response):
            e = life.expected(response, np.broadcast_to(life.elapsed(response, rows.columns), (rows.n,)))
            total = total + weight * e.factor * self.look(response, rows, e.what, e.extra, average=average)
        if self.study.charges(response) is not None:
            shape = (rows.n,) if average else (self.size, rows.n)
            total = total + np.broadcast_to(self.study.charged(response, rows.columns), shape)
        return total

    def earning(self, response: str, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray | float:
        """As :meth:`expected`, mean included, with rows of their own for each draw: ``(draw, row)``."""
        total: np.ndarray | float = 0.0
        if weight := self.study.weight(response):
            total = total + weight * self.simulate(response, columns, cluster, "mean")
        for life, weight in self.study.lives(response):
            e = life.expected(response, life.elapsed(response, columns))
            total = total + weight * e.factor * self.simulate(response, columns, cluster, e.what, e.extra)
        return total + self.study.charged(response, columns)

    def matters(self, response: str) -> bool:
        """Whether anything later depends on a response: another response, a feasible set, a decision tailored to it."""
        if response in self.watched or self.study.pays(response) or self.study.keeps(response):
            return True
        later = self.study.timeline[self.study.names.index(response) + 1 :]
        for node in later:
            if node.name in self.compiled and response in self.compiled[node.name].uses:
                return True
        return any(
            response in condition.variables for d in self.study.decisions if d in later for condition, _ in d.choices
        ) or any(response in tailoring_variables(self.study, d) for d in self.study.decisions if d in later)

    def width(self, response: str) -> float:
        """Number of points a response is expanded to; infinite where it can only be simulated."""
        compiled = self.compiled[response]
        if not self.matters(response):
            return 1
        if compiled.support is not None:
            return len(compiled.support)
        if compiled.whole:
            scale = self.scales[response]
            count = scale.location + COUNT_REACH * scale.sd
            return max(count, self.grid) if count <= FINEST else np.inf
        attitude = self.study.utility.attitude
        bends = len(attitude.bends) if attitude is not None and self.study.linear.weight(response) else 0
        if compiled.smooth and (cuts := len(self.cuts(response)) + bends):
            return self.grid * (bends + 1) + EXTRA * (cuts + 1)
        return self.grid if compiled.smooth or compiled.cells else np.inf

    def cuts(self, response: str) -> tuple[float, ...]:
        """Values of a response at which a decision's conditions, or those of a regime to be valued, change; sorted."""
        tests = [test for d in self.study.decisions for c, _ in d.choices for name, test in c.tests if name == response]
        return tuple(sorted({*thresholds(tests), *self.watched.get(response, ())}))

    def points(self, response: str, rows: Rows) -> Points:
        """Points that carry a response's predictive distribution at given histories.

        The finite support; a uniform grid wide enough for every draw, on which the midpoint rule
        integrates a smooth density to machine precision and a kink to the square of the spacing; Gauss-Legendre
        panels between the thresholds of conditions, where what follows jumps; or, where the tails are heavy
        or an end is sharp, cells between quantiles.
        """
        support = self.compiled[response].support
        if support is not None:
            return Points(np.broadcast_to(np.array(support, dtype=float), (rows.n, len(support))))
        if self.compiled[response].cells:
            return cells_of(self, response, rows)
        some = spread_over(self.compiled[response], self.draws[response], self.size, RANGE_DRAWS)
        moments = self.take(some).look(response, rows, "moments")
        mean, sd = moments[..., 0], moments[..., 1]
        if not np.isfinite(moments).all():
            raise DecisionError(f"Response {response!r}: some draws predict no finite mean or SD; its model has not been learned from these data.")
        if self.compiled[response].whole:
            return Points(self._counts(response, rows.n, float((mean + COUNT_REACH * sd).max())))
        low, high = (mean - self.reach(response, sd) * sd).min(axis=0), (mean + self.reach(response, sd) * sd).max(axis=0)
        # Where draws differ by many residual SDs the grid is refined until each draw's own density is resolved.
        count = max(int(np.ceil(((high - low) / sd.min(axis=0)).max() / SPACING)) * self.grid // GRID, self.grid)
        if count > FINEST * self.grid // GRID:
            raise DecisionError(
                f"Response {response!r}: the draws differ by so many residual SDs that {count} grid points would be needed (at most {FINEST}); "
                "use optimize(method='regression'), or a more informative prior."
            )
        bends = bends_of(self.study, response, rows)
        if (cuts := self.cuts(response)) or bends is not None:
            fixed = np.broadcast_to(np.array(cuts, dtype=float), (rows.n, len(cuts)))
            return panels(low, high, fixed if bends is None else np.concatenate([fixed, bends], axis=1), count)
        fraction = (np.arange(count) + 0.5) / count
        return Points(low[:, None] + (high - low)[:, None] * fraction)

    def reach(self, response: str, sd: np.ndarray) -> np.ndarray | float:
        """Half-width of the grid in residual SDs: exponential risk aversion looks further into the tails."""
        attitude = self.study.utility.attitude
        tilt = attitude.aversion * abs(self.study.linear.weight(response)) * sd if attitude is not None else np.zeros(1)
        if (tilt > MOST_TILT).any():
            raise DecisionError(
                f"Response {response!r}: a residual SD of it is worth {tilt.max():.3g} times 1 / risk_aversion (at most {MOST_TILT:g}); "
                "the risk aversion is per unit of utility, and is too large for this response."
            )
        return REACH + tilt

    def _counts(self, response: str, rows: int, top: float) -> np.ndarray:
        """Whole numbers up to one that no draw leaves more than a trace of probability above, shape (row, point)."""
        if top > FINEST:
            raise DecisionError(
                f"Response {response!r}: some draws predict counts of up to {top:.4g}, and at most {FINEST} are enumerated; "
                "use optimize(method='regression'), or a more informative prior."
            )
        return np.broadcast_to(np.arange(np.ceil(top) + 1), (rows, int(np.ceil(top)) + 1))

    def probabilities(self, response: str, rows: Rows, points: Points, *, average: bool = False) -> np.ndarray:
        """Probability of each point, normalised per draw; shape (draw, row, point) or (row, point)."""
        if self.compiled[response].support is not None:
            return self.look(response, rows, "density", points.at, average=average)
        if points.edges is not None:
            below = self.look(response, rows, "cdf", points.edges, average=average)
            return np.diff(below, axis=-1, prepend=0.0, append=1.0)
        # The points cover every draw, so normalising after averaging is the same to rounding.
        density = np.array(self.look(response, rows, "density", points.at, average=average))
        if points.weights is not None:
            density *= points.weights
        density /= density.sum(axis=-1, keepdims=True)
        return density


def thresholds(tests: Iterable[Test]) -> set[float]:
    """Bounds that tests name of a variable without labels."""
    return {float(b) for t in tests for b in t.labels if not isinstance(b, str)}


def looked_at(regimes: Iterable[Rules]) -> dict[str, tuple[float, ...]]:
    """Variables that regimes look at, each with the thresholds they name."""
    found: dict[str, set[float]] = {}
    for condition in (c for r in regimes for _, branches in r.decisions for c, _ in branches):
        for name, test in condition.tests:
            found.setdefault(name, set()).update(thresholds([test]))
    return {n: tuple(sorted(v)) for n, v in found.items()}
