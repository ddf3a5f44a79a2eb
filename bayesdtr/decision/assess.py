"""Assess every option for given patients at one decision: expected utility, interval, probabilities, regret."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ..inference import Posterior
from ..study.safety import Safety
from .induction import clairvoyant, committed, solve
from .regression import StageFit
from .values import affordable, batch_error, chains_of, win_rates
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
        Lead over the next option and its Monte Carlo standard error; infinite lead for a single option.
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
    finite = np.where(feasible, q, 0.0)
    low, high = np.quantile(finite, [(1 - ci_prob) / 2, (1 + ci_prob) / 2], axis=0)
    ranked = np.sort(qbar, axis=1)
    single = feasible.sum(axis=1) == 1
    others = qbar.copy()
    others[rows, choice] = -np.inf
    second = np.where(single, choice, others.argmax(axis=1))
    lead = finite[:, rows, choice] - finite[:, rows, second]
    blank = lambda a: np.where(feasible, a, np.nan)  # noqa: E731
    return Assessment(
        expected=blank(qbar), lower=blank(low), upper=blank(high),
        p_best=blank(win_rates(q)),
        p_starts_best=blank(win_rates(best)),
        p_near_best=blank((q >= q.max(axis=2, keepdims=True) - epsilon).mean(axis=0)),
        p_equivalent=blank((np.abs(finite - finite[:, rows, choice, None]) <= epsilon).mean(axis=0)),
        choice=choice,
        regret=np.maximum((best.max(axis=2) - q[:, rows, choice]).mean(axis=0), 0.0),
        margin=np.where(single, np.inf, ranked[:, -1] - ranked[:, -2] if qbar.shape[1] > 1 else np.inf),
        margin_error=batch_error(chains_of(posterior, lead)),
    )


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
        for answer in solve(world, stage, distinct, [committed, clairvoyant]):
            left = np.isfinite(answer.qbar)
            values = answer.values if safety is None else tuple(np.where(left, v, -np.inf) for v in answer.values)
            parts.append(summarize_options(posterior, answer.qbar, *values, ci_prob, epsilon))
    else:
        name = posterior.study.decisions[stage].name
        for begin in range(0, distinct.n, 256):
            some = distinct.take(np.arange(begin, min(begin + 256, distinct.n)))
            q, best = fit.tables(posterior.study, name, some.columns, some.cluster, some.n)
            qbar = fit.qbar(posterior.study, name, some.columns, some.cluster, some.n)
            parts.append(summarize_options(posterior, qbar, q, best, ci_prob, epsilon))
    joined = Assessment(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in Assessment.__dataclass_fields__})
    return joined.take(inverse)
