"""The exact engine: posteriors of saturated cells in closed form, regimes and options by quadrature or fixed quasi-random points."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ...errors import TrialError
from ...study import Study
from ...study.rules import embedded_regimes
from ..observed import Observed
from .betas import Betas
from .counted import BetaCells, CellModel, CellPosterior, NormalCells, reduced
from .drawn import Drawn
from .matched import Matched
from .points import beta_quantiles, middles, orders, scale_quantiles
from .spec import Analysis
from .students import Students
from .tree import Answer, Step, Tree, pairs, variance, walk
from .values import Values


class CellsAnalyst:
    """Exact analysis of looks where every response is Bernoulli or Normal with saturated cells and conjugate priors.

    Parameters
    ----------
    study : Study
    analysis : Analysis
        `draws` is the number of quasi-random points where a value is no single cell's.

    Raises
    ------
    TrialError
        Where the study is not of this kind; the message names the response.

    Notes
    -----
    Cells are independent given the data, so posterior means of regimes are products and sums of the cells' means, exactly, and where a regime's
    histories share no cell its posterior variance follows in closed form too. Options and regimes that rest on one cell each are compared by
    quadrature; others by scrambled Sobol points, the same for all looks, put through the cells' exact quantile functions and moved to the exact
    means and SDs. Equal data have equal answers, to the last bit, whatever else is in the batch.

    Averages over baseline covariates are over the patients enrolled; before anybody is, over all combinations alike.
    """

    divisible = False

    def __init__(self, study: Study, analysis: Analysis):
        if study.utility.times:
            raise TrialError("engine='exact' has no utilities of times; use Analysis(engine='laplace').")
        if study.shared:
            raise TrialError(f"engine='exact' has separate cells for every response, and {study.shared[0]!r} shares parameters with others "
                             "(patient_effects=, pool_stages=); use Analysis(engine='laplace').")
        if analysis.period_effects:
            raise TrialError("engine='exact' has no period effects; use Analysis(engine='laplace') or leave period_effects out.")
        self.study, self.draws = study, analysis.draws
        self.models = {r.name: CellModel(study, r) for r in study.responses}
        self.tree = Tree(study)
        regimes = tuple(self.tree.following(rules) for rules in embedded_regimes(study))
        self.regimes = Branches(regimes, tuple(self.tree.line(steps) for steps in regimes))
        self.last = self._last()

    def _last(self) -> "Lines | None":
        """What the options of the last decision rest on where that is a single cell each, for every history."""
        tree, k = self.tree, len(self.tree.places) - 1
        step = tree.decision(k)
        line = tree.line(tree.steps[tree.places[k] + 1 :])
        return None if line is None else Lines.of(line, np.where(step.feasible, step.child, -1))

    @functools.cached_property
    def orders(self) -> np.ndarray:
        """Orders of the points' strata: a dimension for every cell, and one for the residual SD of every Normal response."""
        size = sum(len(m.cells.labels) + (not m.binary) for m in self.models.values())
        return orders(size, self.draws)

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> "CellsPosterior":
        """Posteriors of a batch of trials; chance has no part in them."""
        del replicates, look
        return CellsPosterior(self, reduced(self.models, data), data)


Line = tuple[str, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Lines:
    """Entries ``(row, entry)`` that are worth ``level + slope theta`` of a cell of their own, of one response; cell -1 where not possible."""

    name: str
    cell: np.ndarray
    slope: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, line: Line, child: np.ndarray) -> "Lines | None":
        """Entries that go on as some rows of a tree's step do, ``(row, entry)``; None where entries of a row share a cell."""
        name, cell, slope, level = line
        there = np.maximum(child, 0)
        cells = np.where(child >= 0, cell[there], -1 - np.arange(child.shape[1]))
        if any(len(np.unique(row)) < len(row) for row in cells):
            return None
        return cls(name, np.maximum(cells, -1), slope[there], np.where(child >= 0, level[there], -np.inf))

    def values(self, posterior: CellPosterior, trial: np.ndarray, row: np.ndarray, feasible: np.ndarray) -> Values:
        """Joint posterior for given trials, rows ``(m,)`` and feasible entries ``(m, entry)``."""
        cell, slope, level = self.cell[row], self.slope[row], np.where(feasible, self.level[row], -np.inf)
        possible = np.isfinite(level)
        at = (trial[:, None], np.maximum(cell, 0))
        if isinstance(posterior, BetaCells):
            return Betas(np.where(possible, posterior.a[at], 1.0), np.where(possible, posterior.b[at], 1.0), slope, level)
        assert isinstance(posterior, NormalCells)
        return Students(level + slope * posterior.center[at], np.abs(slope) / np.sqrt(posterior.strength[at]), posterior.shape[trial],
                        posterior.rate[trial])


class Branches:
    """The embedded regimes' parts of the tree, and the cells they rest on where each rests on one of its own."""

    def __init__(self, steps: tuple[tuple[Step, ...], ...], lines: tuple[Line | None, ...]):
        self.steps = steps
        self.lines: Lines | None = None
        if all(line is not None and len(line[1]) == 1 for line in lines) and len({line[0] for line in lines if line}) == 1:
            name = lines[0][0]  # type: ignore[index]
            cell, slope, level = (np.concatenate([line[k] for line in lines if line]) for k in (1, 2, 3))
            self.lines = Lines.of((name, cell, slope, level), np.arange(len(lines))[None])


class CellsPosterior:
    """Posteriors of a batch of trials at one look, made by :class:`CellsAnalyst`."""

    def __init__(self, analyst: CellsAnalyst, cells: Mapping[str, CellPosterior], data: Observed):
        self.analyst, self.cells, self.data = analyst, cells, data

    # ---- cells ---------------------------------------------------------------------------------------

    @functools.cached_property
    def theta(self) -> dict[str, np.ndarray]:
        """Joint draws of the cells of every response, ``[trial, cell, draw]``."""
        draws, begin, found = self.analyst.draws, 0, {}
        for name, model in self.analyst.models.items():
            size, cells = len(model.cells.labels), self.cells[name]
            order = self.analyst.orders[begin : begin + size]
            begin += size
            if isinstance(cells, BetaCells):
                found[name] = np.take_along_axis(beta_quantiles(cells.a, cells.b, draws), order[None], axis=2)
            else:
                sigma = scale_quantiles(cells.shape, cells.rate, draws)[:, self.analyst.orders[begin]]
                score = _scores(draws)[order]
                found[name] = cells.center[..., None] + sigma[:, None] * score / np.sqrt(cells.strength)[..., None]
                begin += 1
        return found

    @functools.cached_property
    def means(self) -> dict[str, np.ndarray]:
        """Posterior means of the cells, ``[trial, cell, 1]``."""
        return {n: c.mean()[..., None] for n, c in self.cells.items()}

    @functools.cached_property
    def variances(self) -> dict[str, np.ndarray]:
        """Posterior variances of the cells, ``[trial, cell, 1]``."""
        return {n: c.variance()[..., None] for n, c in self.cells.items()}

    # ---- what is asked for -----------------------------------------------------------------------------

    def regimes(self) -> Values:
        """Values of the embedded regimes; batch = trials."""
        branches, trials = self.analyst.regimes, np.arange(self.data.size)
        if branches.lines is not None:
            one = np.zeros(len(trials), dtype=int)
            return branches.lines.values(self.cells[branches.lines.name], trials, one, np.ones((len(trials), len(branches.steps)), dtype=bool))
        weight = self.root_weights()
        draws = np.empty((len(trials), self.analyst.draws, len(branches.steps)))
        mean, sd = np.empty((len(trials), len(branches.steps))), np.full((len(trials), len(branches.steps)), np.nan)
        for r, steps in enumerate(branches.steps):
            draws[:, :, r] = _weighted(walk(steps, self.theta), weight)
            mean[:, r] = _weighted(walk(steps, self.means), weight)[:, 0]
            if (v := variance(steps, self.means, self.variances)) is not None:
                sd[:, r] = np.sqrt(_weighted(v, weight**2)[:, 0])
        return Matched.of(draws, mean, sd)

    def options(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> Values:
        """Values of a decision's options for given patients; batch = patients."""
        trial = np.asarray(trial)
        row = np.broadcast_to(self.analyst.tree.rows(decision, columns), trial.shape)
        if (row < 0).any():
            raise TrialError(f"Decision {self.analyst.study.decisions[decision].name!r}: some histories are not known or infeasible under the study.")
        last = decision == len(self.analyst.tree.places) - 1
        if last and self.analyst.last is not None:
            return self.analyst.last.values(self.cells[self.analyst.last.name], trial, row, feasible)
        values, mean, spread = self.tables(decision)
        draws = np.where(feasible[:, None], values[trial, row].swapaxes(1, 2), -np.inf)
        if mean is None:
            return Drawn(draws)
        return Matched.of(draws, np.where(feasible, mean[trial, row], -np.inf), None if spread is None else spread[trial, row])

    def marginal(self, decision: int, feasible: np.ndarray) -> Values:
        """As :meth:`options`, averaged over the enrolled patients' histories with this declared feasible set ``(option,)``; batch = trials.

        Where a trial has no such patients yet, over all histories with the set alike.
        """
        step = self.analyst.tree.decision(decision)
        rows = np.flatnonzero((step.feasible == feasible).all(axis=1))
        if not len(rows):
            raise TrialError(f"Decision {step.name!r} has no history with just the options asked about feasible.")
        trials = np.arange(self.data.size)
        last = decision == len(self.analyst.tree.places) - 1
        if last and self.analyst.last is not None and len(rows) == 1:
            return self.analyst.last.values(self.cells[self.analyst.last.name], trials, np.repeat(rows, len(trials)),
                                            np.broadcast_to(feasible, (len(trials), len(feasible))))
        weight = self.weights(decision, rows)
        values, mean, spread = self.tables(decision)
        draws = np.einsum("tr,trod->tdo", weight, np.where(feasible[:, None], values[:, rows], 0.0))
        draws = np.where(feasible, draws, -np.inf)
        if mean is None:
            return Drawn(draws)
        sd = None if spread is None else np.sqrt(np.einsum("tr,tro->to", weight**2, np.where(feasible, spread[:, rows], 0.0) ** 2))
        return Matched.of(draws, np.where(feasible, np.einsum("tr,tro->to", weight, np.where(feasible, mean[:, rows], 0.0)), -np.inf), sd)

    # ---- tables over all histories -----------------------------------------------------------------------

    def tables(self, decision: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Values of a decision's options for all histories before it.

        Returns
        -------
        values : array, shape (trial, row, option, draw)
            Later decisions made by each draw's own optimum; -inf where infeasible.
        mean, sd : array, shape (trial, row, option), or None
            Exact moments, where no decision follows and, of the SD, where histories share no cell.
        """
        if decision not in (held := self._tables):
            tree = self.analyst.tree
            steps, step = tree.steps[tree.places[decision] :], tree.decision(decision)
            shape = (self.data.size, *step.feasible.shape)
            values = pairs(steps, self.theta).reshape(*shape, -1)
            mean = sd = None
            if decision == len(tree.places) - 1:
                mean = pairs(steps, self.means).reshape(shape)
                v = variance(steps[1:], self.means, self.variances) if all(isinstance(s, Answer) for s in steps[1:]) else None
                if v is not None:
                    sd = np.where(step.child >= 0, np.sqrt(v[..., 0])[:, np.maximum(step.child, 0)], 0.0)
            held[decision] = values, mean, sd
        return held[decision]

    @functools.cached_property
    def _tables(self) -> dict[int, tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
        return {}

    def root_weights(self) -> np.ndarray:
        """Share of each combination of baseline covariates among the patients enrolled, ``(trial, root)``."""
        roots = self.analyst.tree.roots
        rows = np.arange(len(next(iter(roots.values()))) if roots else 1)
        return self.weights(0, rows)

    def weights(self, decision: int, rows: np.ndarray) -> np.ndarray:
        """Share of each of some histories among the enrolled patients who came so far, ``(trial, row)``; alike where nobody did."""
        if len(rows) == 1:
            return np.ones((self.data.size, 1))
        where = np.where(self.data.enrolled, self.analyst.tree.rows(decision, self.data.columns), -1)
        total = len(self.analyst.tree.decision(decision).feasible)
        place = (np.arange(self.data.size)[:, None] * total + where)[where >= 0]
        count = np.bincount(place, minlength=self.data.size * total).reshape(self.data.size, total)[:, rows].astype(float)
        size = count.sum(axis=1, keepdims=True)
        return np.where(size > 0, count / np.where(size > 0, size, 1.0), 1 / len(rows))


def _weighted(worth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Average ``[trial, draw]`` of values ``[trial, root, draw]`` over roots."""
    return worth[:, 0] if weight.shape[1] == 1 else np.einsum("trd,tr->td", worth, weight)


@functools.lru_cache(maxsize=8)
def _scores(draws: int) -> np.ndarray:
    return ndtri(middles(draws))
