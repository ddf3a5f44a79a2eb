"""How each decision's look-ahead was worked out, and how far that may be off: numerical error, apart from the draws' own."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..text import fold
from .induction import leaves, solve
from .learner import REGRESSION
from .lines import straight
from .values import any_grid, baseline_rows, thin_to
from .world import GRID, World

if TYPE_CHECKING:
    from .regime import Regime
    from .world import Rows

ENUMERATION, CLOSED, QUADRATURE, FITTED = "enumeration", "closed form", "quadrature", "regression Monte Carlo"
WORK = 4e7
"""Evaluations of models that comparing two grids may take."""
MOST_ROWS, CHECK_DRAWS = 32, 50


@dataclass(frozen=True)
class Accuracy:
    """How a decision's expected utilities were worked out, and their numerical error.

    Attributes
    ----------
    decision : str
    method : {"enumeration", "closed form", "quadrature", "regression Monte Carlo"}
        Nothing ahead but finite lists of values, or expectations alone; these, then a Normal response integrated exactly; a continuous response
        or unbounded counts on a grid; values at simulated histories regressed on a basis.
    error : float
        Standard error (regression) or largest error found (quadrature) of posterior-expected utilities, in units of the utility; 0 where exact
        to rounding; NaN where no history could be tried.
    relative : float
        The same as a share of the smallest difference that matters (`mcid`); NaN where that is 0.
    gap : float
        For the first decision under regression: average fitted value of the observed patients less the value of the rule worked out afresh; NaN
        otherwise. The rule's value never comes from the fit.
    gap_error : float
        Monte Carlo standard error of `gap`.
    how : str
        What the error is, in words.
    """

    decision: str
    method: str
    error: float
    relative: float
    gap: float
    gap_error: float
    how: str

    def __str__(self) -> str:
        if self.method in (ENUMERATION, CLOSED):
            return f"{self.decision}: {self.method}, exact to rounding"
        size = "not known" if np.isnan(self.error) else f"{self.error:.2g}"
        gap = "" if np.isnan(self.gap) else f"; fitted value less that of the rule followed: {self.gap:+.2g} (SE {self.gap_error:.2g})".replace(
            "SE nan", "too few draws for its SE")
        return f"{self.decision}: {self.method}, error of expected utilities {size} ({self.how}){gap}"


class Accuracies(tuple[Accuracy, ...]):
    """The accuracy of every decision; printed, a line for each."""

    __slots__ = ()

    def __str__(self) -> str:
        return fold("\n".join(map(str, self)))


def accuracy_of(regime: "Regime") -> Accuracies:
    """The accuracy of every decision of a regime, in the order of the timeline."""
    from .regime import mcid_of

    world = World.of(regime.posterior).under(regime.safety)
    margin = mcid_of(regime.posterior)
    found = []
    for stage, decision in enumerate(regime.posterior.study.decisions):
        gap = gap_error = np.nan
        if regime.methods[decision.name].startswith(REGRESSION):
            method, how = FITTED, "standard error by left-out residuals"
            error = _fitted_error(regime, world, decision.name)
            if stage == 0:
                gap, gap_error = _gap(regime, world)
        elif not any_grid(world, stage):
            method, how, error = ENUMERATION, "exact", 0.0
        elif any(straight(world, r.name) for d in world.study.decisions[stage:] for r in world.study.after(d.name)) and not _grids(world, stage):
            method, how, error = CLOSED, "exact", 0.0
        else:
            method, how = QUADRATURE, "largest change on a grid twice as fine"
            error = _grid_error(regime, world, stage)
        found.append(Accuracy(decision.name, method, error, error / margin if margin > 0 else np.nan, gap, gap_error, how))
    return Accuracies(found)


def _grids(world: World, stage: int) -> bool:
    """Whether a response other than the one with a closed form is integrated on a grid."""
    later = [r.name for d in world.study.decisions[stage:] for r in world.study.after(d.name)]
    return any(world.matters(n) and world.compiled[n].support is None and not straight(world, n) for n in later)


def _histories(regime: "Regime", decision: str, most: int) -> "Rows | None":
    from .reading.readable import evaluation_rows

    rows = evaluation_rows(regime.posterior, regime.posterior.study[decision])
    if not rows.n:
        return None
    distinct = rows.unique()[0]
    return distinct.take(np.unique(np.linspace(0, distinct.n - 1, min(most, distinct.n)).astype(int)))


def _fitted_error(regime: "Regime", world: World, decision: str) -> float:
    """Root mean square standard error of fitted values over the histories that describe a decision."""
    rows = _histories(regime, decision, 4096)
    if rows is None:
        return np.nan
    fit = regime.fits[decision]
    error = fit.error(rows.columns, rows.cluster, rows.n)
    feasible = np.isfinite(fit.qbar(world, decision, rows.columns, rows.cluster, rows.n))
    return float(np.sqrt((error[feasible] ** 2).mean()))


def _gap(regime: "Regime", world: World) -> tuple[float, float]:
    """Average fitted value of the first decision's best option less the value of the rule, and its standard error."""
    study, rows = regime.posterior.study, baseline_rows(regime.posterior)
    fit, name = regime.fits[study.decisions[0].name], study.decisions[0].name
    best = fit.qbar(world, name, rows.columns, rows.cluster, rows.n).max(axis=1)
    error = regime.value_error * np.sqrt(1 + regime.value_draws.size / fit.committed.shape[2])  # of two averages over draws, as if these differed
    return float(best.mean() - regime.value_draws.mean()), float(error)


def _grid_error(regime: "Regime", world: World, stage: int) -> float:
    """Largest change of posterior-expected utilities on a grid twice as fine, over some histories that describe a decision."""
    some = thin_to(world, regime.posterior, CHECK_DRAWS)
    fine = replace(some, grid=2 * GRID)
    most = int(np.clip(WORK // (leaves(fine, stage, closed=True) * some.size), 1, MOST_ROWS))
    rows = _histories(regime, world.study.decisions[stage].name, most)
    if rows is None:
        return np.nan
    found = [np.concatenate([a.qbar for a in solve(w, stage, rows, [])]) for w in (some, fine)]
    known = np.isfinite(found[0]) & np.isfinite(found[1])
    return float(np.abs(found[0][known] - found[1][known]).max(initial=0.0))

