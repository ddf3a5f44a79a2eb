"""How far the recommendations of a regime extrapolate, decision by decision, over the observed patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...inference.check import SPARSE
from ...text import fold
from ..induction import feasible_at
from ..regime import Regime, rows_before
from ..world import World
from .neighbors import NEAR
from .overlap import overlap_at, prior_world, runner_up, widths

SHOWN = 50
"""Observed patients of a decision, evenly spaced, whose widths are worked out."""
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class DecisionOverlap:
    """The data behind the recommendations at one decision, over the observed patients who reached it with a choice.

    Attributes
    ----------
    decision : str
    patients : int
    extrapolating : float
        Share of them for whom fewer than five patients like them received the recommended option.
    fewest : int
        Smallest number of patients behind a recommendation.
    largest_weight : float
        Largest inverse probability of the recommended option; infinite where nobody like a patient received it.
    width : tuple of float, or None
        10 %, 50 % and 90 % quantiles over (at most 50 of) these patients of the posterior over prior width of the difference between the
        recommended option and the next; None where it was not worked out.
    """

    decision: str
    patients: int
    extrapolating: float
    fewest: int
    largest_weight: float
    width: tuple[float, float, float] | None


@dataclass(frozen=True)
class Extrapolation:
    """How far recommendations extrapolate; printing shows it.

    Attributes
    ----------
    rows : tuple of DecisionOverlap
        Decisions that no observed patient reached with a choice are absent.
    no_width : str
        Why no width is given, or none for some decisions; empty where all have one.
    """

    rows: tuple[DecisionOverlap, ...]
    no_width: str

    def __str__(self) -> str:
        size = max([len("decision"), *(len(r.decision) for r in self.rows)])
        out = [f"{'decision':<{size}} {'patients':>8} {'extrapolating':>14} {'fewest':>7} {'largest weight':>15} {'width 10% / 50% / 90%':>22}"]
        for r in self.rows:
            width = "not provided" if r.width is None else " / ".join(f"{w:.2f}" for w in r.width)
            out.append(f"{r.decision:<{size}} {r.patients:>8} {r.extrapolating:>14.0%} {r.fewest:>7} {r.largest_weight:>15.3g} {width:>22}")
        out += [RULE, *([f"Width: {WIDTH}"] if any(r.width for r in self.rows) else []), *([f"No width: {self.no_width}"] if self.no_width else [])]
        return fold("\n".join(out))


RULE = (
    f"Of patients with a choice. Extrapolating: fewer than {SPARSE} patients like them received the recommended option. Like: the same discrete "
    f"history, and no continuous variable more than {NEAR:g} SD away. Weight: one over the probability of receiving the recommended option."
)
WIDTH = ("posterior over prior width of the difference between the recommended option and the next; 1 where the data said nothing. Under a vague "
         "prior it is small even where few patients speak.")


def extrapolation(regime: Regime, *, width: bool, drawn: Mapping[str, Mapping[str, np.ndarray]] | None) -> Extrapolation:
    """How far recommendations extrapolate, decision by decision, over the observed patients.

    Parameters
    ----------
    regime : Regime
    width : bool
        Whether to work out posterior over prior widths too, which samples the prior.
    drawn : mapping or None
        Prior draws that are at hand, from :func:`bayesdtr.inference.prior.prior_draws`.

    Returns
    -------
    Extrapolation
    """
    study, t = regime.posterior.study, regime.posterior.trajectories
    prior = "The prior was not sampled: ask regime.extrapolation()." if not width else regime.prior if drawn is None else prior_world(regime, drawn)
    found, reasons = [], [prior] if isinstance(prior, str) else []
    for stage, decision in enumerate(study.decisions):
        near = regime.neighborhoods[decision.name]
        rows = rows_before(regime.posterior, t, decision.name, near.patients)
        if rows.n:
            rows = rows.take(np.flatnonzero(feasible_at(World.of(regime.posterior), stage, rows).sum(axis=1) > 1))
        if not rows.n:
            continue
        a, behind = regime.assess(decision.name, rows), overlap_at(regime, decision, rows)
        mine = np.arange(rows.n), a.choice
        ratios = None
        if not isinstance(prior, str):
            some = np.linspace(0, rows.n - 1, min(rows.n, SHOWN)).astype(int)
            got = widths(regime, decision, rows.take(some), a.choice[some], runner_up(a)[some], prior)
            reasons += [got.missing] if got.missing else []
            known = got.ratio[np.isfinite(got.ratio)]
            ratios = tuple(float(q) for q in np.quantile(known, QUANTILES)) if known.size else None
        found.append(DecisionOverlap(decision.name, rows.n, float(behind.extrapolates[mine].mean()), int(behind.received[mine].min()),
                                     float(behind.weight[mine].max()), ratios))
    return Extrapolation(tuple(found), " ".join(dict.fromkeys(reasons)))
