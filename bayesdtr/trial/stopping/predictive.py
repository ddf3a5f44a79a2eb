"""Predictive probability of success of trials of Bernoulli arms: outcomes to come from their beta-binomial law."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special, stats

from ...study import Study
from ..analysis.betas import Betas
from .rule import LookState

POINTS = 256
"""Quasi-random completions of each trial that has too many to be enumerated."""
ENUMERATED = 512
"""Completions are enumerated where there are no more than so many."""
ROWS = 1 << 17
"""Completed trials whose posteriors are held at once."""

Likely = Callable[[Any, np.ndarray, Study], np.ndarray]


def success_of_arms(state: LookState, likely: Likely, success: float) -> np.ndarray | None:
    """Predictive probability that `likely` exceeds `success` with all outcomes known, shape (trial,); None unless values are independent Betas.

    Parameters
    ----------
    state : LookState
    likely : callable
        Of values, the active entries and the study: the probability that success is about.
    success : float
    """
    values = state.values
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
            reached = _reached(state, some, extra[some], np.broadcast_to(yes, (len(some), *yes.shape)), likely, success)
            found[some] = np.clip((weight * reached).sum(axis=1), 0.0, 1.0)
    uniform = stats.qmc.Sobol(2 * extra.shape[1], seed=0).random(POINTS)
    rest = np.flatnonzero(~few)
    for some in (rest[i : i + ROWS // POINTS] for i in range(0, len(rest), ROWS // POINTS)):
        n = extra[some][:, None]
        p = special.betaincinv(values.a[some][:, None], values.b[some][:, None], uniform[None, :, : extra.shape[1]])
        yes = np.where(n > 0, stats.binom.ppf(uniform[None, :, extra.shape[1] :], n, p), 0.0)
        found[some] = _reached(state, some, extra[some], yes, likely, success).mean(axis=1)
    return found


def _reached(state: LookState, trials: np.ndarray, extra: np.ndarray, yes: np.ndarray, likely: Likely, success: float) -> np.ndarray:
    """Whether some trials succeed when completed by `yes` ``[trial, completion, arm]``, shape (trial, completion)."""
    values, shape = state.values, yes.shape
    assert isinstance(values, Betas)
    every = np.repeat(trials, shape[1])
    yes, no = yes.reshape(-1, shape[2]), (extra[:, None] - yes).reshape(-1, shape[2])
    final = Betas(values.a[every] + yes, values.b[every] + no, values.scale[every], values.offset[every])
    return likely(final, state.regimes[every], state.study).reshape(shape[:2]) > success


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
