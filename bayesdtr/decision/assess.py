"""Assess every option for given patients at one decision: expected utility, interval, probabilities, regret."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ..inference import Posterior
from ..study.safety import Safety
from .induction import clairvoyant, committed, solve
from .regression import StageFit
from .values import affordable, batch_error, chains_of
from .world import Rows, World

NEAR_SE = 3.0
"""Two options closer than this many Monte Carlo standard errors are a Monte Carlo tie."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known about each option, shape (row, option) unless said otherwise; NaN where infeasible.

    Attributes
    ----------
    expected, lower, upper : array
        Posterior-expected utility with committed later decisions, and its equal-tailed interval.
    p_best : array
        Probability that the option has the highest committed value.
    p_starts_best : array
        Probability that it starts the optimum of a draw (clairvoyant later decisions).
    p_near_best, p_equivalent : array
        Probability that its committed value lies within a margin of the highest one, and of the recommended option's to either side.
    choice : array of int, shape (row,)
        The recommended option.
    regret : array, shape (row,)
        Expected loss against knowing the parameters: the clairvoyant optimum minus the committed value.
    margin, margin_error : array, shape (row,)
        Lead over the next option and its Monte Carlo standard error, that of fitted values included; infinite lead for a single option.
    """

    expected: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p_best: np.ndarray
    p_starts_best: np.ndarray
    p_near_best: np.ndarray
    p_equivalent: np.ndarray
    choice: np.ndarray
    regret: np.ndarray
    margin: np.ndarray
    margin_error: np.ndarray

    @property
    def mc_tie(self) -> np.ndarray:
        """Whether Monte Carlo error could have decided the recommendation, shape (row,)."""
        return ~(self.margin > NEAR_SE * self.margin_error) & np.isfinite(self.margin)

    @property
    def p_flip(self) -> np.ndarray:
        """Probability that Monte Carlo error alone put the recommended option before the next one, shape (row,); NaN with too few draws to tell."""
        with np.errstate(divide="ignore", invalid="ignore"):
            flip = ndtr(-self.margin / self.margin_error)
        return np.where((self.margin == 0) & (self.margin_error == 0), 0.5, flip)

    def take(self, index: np.ndarray) -> "Assessment":
        """Rows by index."""
        return Assessment(**{n: getattr(self, n)[index] for n in self.__dataclass_fields__})


def summarize_options(
    posterior: Posterior, qbar: np.ndarray, q: np.ndarray, best: np.ndarray, ci_prob: float, epsilon: float = 0.0
) -> Assessment:
    """Summaries of per-draw values.

    Parameters
    ----------
    qbar : array, shape (row, option)
        Defines the recommendation.
    q, best : array, shape (draw, row, option)
        Committed and clairvoyant values; ``-inf`` where infeasible.
    epsilon : float
        The margin of `p_near_best` and `p_equivalent`.
    """
    rows = np.arange(len(qbar))
    feasible = np.isfinite(qbar)
    choice = qbar.argmax(axis=1)
    same = best is q
    q = np.ascontiguousarray(np.moveaxis(q, 0, -1))  # (row, option, draw): what follows goes along draws
    best = q if same else np.ascontiguousarray(np.moveaxis(best, 0, -1))
    single = feasible.sum(axis=1) == 1
    others = qbar.copy()
    others[rows, choice] = -np.inf
    second = np.where(single, choice, others.argmax(axis=1))
    chosen, top = q[rows, choice], q.max(axis=1)
    with np.errstate(invalid="ignore"):
        lead = np.where(single[:, None], 0.0, chosen - q[rows, second])
        near = np.stack([(q[:, o] >= top - epsilon).mean(axis=-1) for o in range(q.shape[1])], axis=1)
        alike = np.stack([(np.abs(q[:, o] - chosen) <= epsilon).mean(axis=-1) for o in range(q.shape[1])], axis=1)
    shares = _win_rates(q, top)
    ahead = shares if same else _win_rates(best, best.max(axis=1))
    regret = np.maximum((top if same else best.max(axis=1)).mean(axis=-1) - chosen.mean(axis=-1), 0.0)
    low, high = _quantiles(np.where(feasible[..., None], q, 0.0), ((1 - ci_prob) / 2, (1 + ci_prob) / 2))
    blank = lambda a: np.where(feasible, a, np.nan)  # noqa: E731
    return Assessment(
        expected=blank(qbar), lower=blank(low), upper=blank(high), p_best=blank(shares), p_starts_best=blank(ahead), p_near_best=blank(near),
        p_equivalent=blank(alike), choice=choice, regret=regret,
        margin=np.where(single, np.inf, qbar[rows, choice] - qbar[rows, second]),
        margin_error=batch_error(chains_of(posterior, lead.T)),
    )


def _lead_error(qbar: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Standard error by regression of the lead over the next option, shape (row,), from those of fitted values ``(row, option)``."""
    ranked = np.take_along_axis(np.where(np.isfinite(qbar), error, 0.0), np.argsort(-qbar, axis=1), axis=1)
    return np.hypot(ranked[:, 0], ranked[:, 1]) if qbar.shape[1] > 1 else np.zeros(len(qbar))


def _fitted(posterior: Posterior, fit: StageFit, world: World, decision: str, rows: Rows, ci_prob: float, epsilon: float) -> Assessment:
    """Summaries of fitted values, with the error of the fit in that of the lead."""
    qbar, q, best = fit.tables(world, decision, rows.columns, rows.cluster, rows.n)
    told = summarize_options(posterior, qbar, q, best, ci_prob, epsilon)
    error = fit.error(rows.columns, rows.cluster, rows.n)
    return dataclasses.replace(told, margin_error=np.hypot(told.margin_error, _lead_error(qbar, error)))


def _win_rates(values: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Share of draws in which each option is highest ``(row, option)``; values ``(row, option, draw)``, their maxima ``(row, draw)``."""
    wins = [values[:, o] == top for o in range(values.shape[1])]
    tied = np.sum(wins, axis=0, dtype=np.int8)
    if tied.max(initial=1) == 1:
        return np.stack([w.mean(axis=-1) for w in wins], axis=1)
    return np.stack([np.where(w, 1.0 / tied, 0.0).mean(axis=-1) for w in wins], axis=1)


def _quantiles(values: np.ndarray, levels: tuple[float, ...]) -> list[np.ndarray]:
    """Quantiles along the last axis, linear between order statistics, as NumPy's; `values` are sorted in part in place."""
    at = [level * (values.shape[-1] - 1) for level in levels]
    below = [int(a) for a in at]
    above = [min(b + 1, values.shape[-1] - 1) for b in below]
    values.partition(sorted({*below, *above}), axis=-1)
    return [values[..., b] + (a - b) * (values[..., c] - values[..., b]) for a, b, c in zip(at, below, above, strict=True)]


def assess(
    posterior: Posterior, stage: int, rows: Rows, fit: StageFit | None, *, ci_prob: float = 0.95, epsilon: float = 0.0, safety: Safety | None = None
) -> Assessment:
    """Assess every option at one decision for given histories.

    Parameters
    ----------
    posterior : Posterior
    stage : int
        Index of the decision.
    rows : Rows
        Histories before it.
    fit : StageFit or None
        The fitted values where the tree of histories would be too large.
    ci_prob, epsilon : float
        Of intervals; of the probabilities of lying within a margin.
    safety : Safety, optional
        Gates: what they remove counts as infeasible.
    """
    distinct, inverse = rows.unique()
    world = World.of(posterior).under(safety)
    parts = []
    if fit is None:
        world = affordable(world, posterior, distinct.n, stage, closed=True)
        ends = stage + 1 == len(world.study.decisions)  # nothing is decided later, so that both values are one
        for answer in solve(world, stage, distinct, [committed] if ends else [committed, clairvoyant]):
            left = np.isfinite(answer.qbar)
            values = answer.values if safety is None else tuple(np.where(left, v, -np.inf) for v in answer.values)
            parts.append(summarize_options(posterior, answer.qbar, values[0], values[-1], ci_prob, epsilon))
    else:
        name = posterior.study.decisions[stage].name
        for begin in range(0, distinct.n, 256):
            some = distinct.take(np.arange(begin, min(begin + 256, distinct.n)))
            parts.append(_fitted(posterior, fit, world, name, some, ci_prob, epsilon))
    joined = Assessment(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in Assessment.__dataclass_fields__})
    return joined.take(inverse)
