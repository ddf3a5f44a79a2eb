"""Predictive probability of success: outcomes to come of Bernoulli arms from their beta-binomial law, elsewhere posteriors that shrink."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from ...study import Study
from ..analysis.betas import Betas
from ..analysis.drawn import Drawn
from ..analysis.values import made
from .completions import Completed, Contest
from .rule import LookState

POINTS = 256
"""Quasi-random completions of each trial that has too many to be enumerated."""
ENUMERATED = 512
"""Completions are enumerated where there are no more than so many."""
FUTURES, INNER = 128, 256
"""Futures of each trial, and draws of the posterior in each, where values are no independent Betas."""
ROWS = 1 << 17
"""Completed trials whose posteriors are held at once."""

Likely = Callable[[Any, np.ndarray, Study], np.ndarray]


def success_of_arms(state: LookState, contests: Sequence[Contest], success: float) -> np.ndarray | None:
    """Predictive probability of success with all outcomes known, shape (trial,); None unless values are independent Betas.

    Parameters
    ----------
    state : LookState
    contests : sequence of Contest
        A trial succeeds where a probability of any of them exceeds `success`.
    success : float
    """
    values = made(state.values)
    if not isinstance(values, Betas):
        return None
    extra = to_come(state)
    found = np.empty(len(extra))
    few = (extra + 1.0).prod(axis=1) <= ENUMERATED
    # Trials with as many outcomes to come under each arm have the same completions.
    groups, member = np.unique(extra, axis=0, return_inverse=True)
    for trials in (np.flatnonzero(few & (member.ravel() == g)) for g in range(len(groups)) if (groups[g] + 1.0).prod() <= ENUMERATED):
        yes = np.stack(np.meshgrid(*(np.arange(n + 1) for n in extra[trials[0]]), indexing="ij"), axis=-1).reshape(-1, extra.shape[1])
        step = max(ROWS // len(yes), 1)
        for some in (trials[i : i + step] for i in range(0, len(trials), step)):
            weight = stats.betabinom.pmf(yes[None], extra[some][:, None], values.a[some][:, None], values.b[some][:, None]).prod(axis=2)
            reached = _reached(state, some, extra[some], np.broadcast_to(yes, (len(some), *yes.shape)), contests, success, enumerated=True)
            found[some] = np.clip((weight * reached).sum(axis=1), 0.0, 1.0)
    uniform = stats.qmc.Sobol(2 * extra.shape[1], seed=0).random(POINTS)
    rest = np.flatnonzero(~few)
    for some in (rest[i : i + ROWS // POINTS] for i in range(0, len(rest), ROWS // POINTS)):
        n = extra[some][:, None]
        p = special.betaincinv(values.a[some][:, None], values.b[some][:, None], uniform[None, :, : extra.shape[1]])
        yes = np.where(n > 0, stats.binom.ppf(uniform[None, :, extra.shape[1] :], n, p), 0.0)
        found[some] = _reached(state, some, extra[some], yes, contests, success, enumerated=False).mean(axis=1)
    return found


def success_by_growth(state: LookState, likely: Likely, success: float) -> np.ndarray:
    """Predictive probability that `likely` exceeds `success` for any posterior, shape (trial,).

    It is taken to shrink about a mean that moves as a growing sample's does.

    With the share ``f`` of outcomes known, the final mean is ``m + sqrt(1 - f) (v' - m)`` for a draw ``v'`` of the values with mean ``m``, and
    the final posterior is that of ``final mean + sqrt(f) (v - m)``: exact for a jointly Normal posterior under a flat prior and known SDs.
    """
    values = made(state.values)
    mean, sd = values.mean(), values.sd()
    possible = np.isfinite(mean)
    mean, sd = np.where(possible, mean, 0.0), np.where(possible, sd, 0.0)
    around = stats.norm.ppf(stats.qmc.Sobol(mean.shape[1], seed=0).random(INNER))
    known = np.clip(state.known / np.maximum(state.known + state.remaining, 1), 1e-9, 1.0)
    found, step = np.empty(len(mean)), max(ROWS // (FUTURES * mean.shape[1]), 1)
    for some in (np.arange(i, min(i + step, len(mean))) for i in range(0, len(mean), step)):
        if isinstance(values, Drawn):
            away = np.where(possible[some, None], values.draws[some, :INNER], 0.0) - mean[some, None]
        else:
            away = around[None] * sd[some, None]
        f, away = known[some, None], np.ascontiguousarray(np.moveaxis(away, 2, 0))  # entries first: draws lie side by side
        ends = mean[some].T[..., None] + np.sqrt(1 - f) * away[..., :FUTURES]
        final = ends[..., None] + np.sqrt(f)[..., None] * away[:, :, None]
        if not possible[some].all():
            final[~possible[some].T] = -np.inf
        every = np.repeat(state.regimes[some], ends.shape[2], axis=0)
        found[some] = (likely(Ends(final.reshape(len(final), -1, away.shape[2])), every, state.study).reshape(ends.shape[1:]) > success).mean(axis=1)
    return found


@dataclass(frozen=True, eq=False)
class Ends:
    """Draws of final posteriors, as :class:`~bayesdtr.trial.analysis.drawn.Drawn` with the entries first: a few rows of many draws.

    Attributes
    ----------
    draws : array, shape (entry, batch, draw)
    """

    draws: np.ndarray

    def p_best(self, active: np.ndarray) -> tuple[np.ndarray, None]:
        """Probability of having the largest value among the active, ties shared, ``[batch, entry]``."""
        shown = self.draws if active.all() else np.where(active.T[..., None], self.draws, -np.inf)
        best = shown == shown.max(axis=0)
        tied = best.sum(axis=0)
        return (best.mean(axis=2) if (tied == 1).all() else (best / tied).mean(axis=2)).T, None

    def exceeds(self, reference: np.ndarray, margin: float) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ties half, ``[batch, entry]``; one reference for the whole batch."""
        other = self.draws[int(reference[0])] + margin
        return ((self.draws > other).mean(axis=2) + 0.5 * (self.draws == other).mean(axis=2)).T


def _reached(state: LookState, trials: np.ndarray, extra: np.ndarray, yes: np.ndarray, contests: Sequence[Contest], success: float, *,
             enumerated: bool) -> np.ndarray:
    """Whether some trials succeed when completed by `yes` ``[trial, completion, arm]``, shape (trial, completion)."""
    values = made(state.values).take(trials)
    assert isinstance(values, Betas)
    completed = Completed(values, state.regimes[trials], extra, yes)
    return np.any([c.reached(completed, success, enumerated=enumerated) for c in contests], axis=0)


def to_come(state: LookState) -> np.ndarray:
    """Outcomes yet to come under each regime if the trial goes on to its largest size, shape (trial, regime).

    Those of patients enrolled already are under the arms that they are in, where each regime is an option of the only decision and there is
    one response; where some of them may be lost and it is not known who, in proportion to the patients of each arm without an outcome. All
    others are divided equally among the active, the first ones taking what is left over.
    """
    active = state.regimes
    pending = np.zeros(active.shape, dtype=np.int64)
    study, data = state.study, state.data
    if data is not None and len(study.decisions) == 1 and len(study.responses) == 1 and active.shape[1] == len(state.layout.arms):
        option, y = data.columns[study.decisions[0].name], data.columns[study.responses[0].name]
        waiting = data.enrolled & np.isnan(y)
        open_ = np.stack([(waiting & (option == j)).sum(axis=1) for j in range(active.shape[1])], axis=1)
        pending = _shared(np.clip(state.recruited - state.known, 0, state.remaining), open_)
    rest = state.remaining - pending.sum(axis=1)
    count = np.maximum(active.sum(axis=1, keepdims=True), 1)
    rank = np.cumsum(active, axis=1) - 1
    return pending + np.where(active, rest[:, None] // count + (rank < rest[:, None] % count), 0)


def _shared(total: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to `parts` with given totals, and never above them, by largest remainders; the first of equal ones comes first."""
    there = parts.sum(axis=1)
    total = np.minimum(total, there)
    ideal = parts * (total / np.maximum(there, 1))[:, None]
    whole = np.floor(ideal + 1e-9).astype(np.int64)
    order = np.argsort(-(ideal - whole), axis=1, kind="stable")
    place = np.argsort(order, axis=1, kind="stable")
    return whole + (place < (total - whole.sum(axis=1))[:, None])
