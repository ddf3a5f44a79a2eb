"""Whether new patients contradict what was borrowed: Box's prior predictive p-values."""

import dataclasses

import numpy as np

from ..study.families import Ordinal
from ..study.timeline import Decision, Response, labels_of
from .borrow import Conflict
from .fit import replicate
from .posterior import Posterior
from .prior import prior_draws

DRAWS = 500
FEWEST = 5
"""Patients of an option below which it is not compared on its own."""


def box_conflict(posterior: Posterior, warmup: int) -> Posterior:
    """A posterior with its borrowed patients' conflict worked out: what they predict of the new ones beside what was seen.

    The prior predictive distribution is that of the earlier patients at their discount, each new
    patient's own history given; statistics are means (shares of unordered levels), over all
    patients and by option of the latest decision.

    Returns
    -------
    Posterior
    """
    borrowed = posterior.borrowed
    assert borrowed is not None
    drawn = prior_draws(posterior, seed=posterior.seed, draws=DRAWS, warmup=warmup)  # the fit's own warm-up: nothing is compiled anew
    found = []
    for response in posterior.study.responses:
        if not borrowed.a0[response.name] or not posterior.trajectories.observed(response.name).any():
            continue
        expected = replicate(posterior.compiled(response.name), drawn[response.name], posterior.trajectories, dict(posterior.scales), posterior.seed)
        found += _compared(posterior, response, expected)
    return dataclasses.replace(posterior, borrowed=dataclasses.replace(borrowed, conflict=tuple(found)))


def _compared(posterior: Posterior, response: Response, expected: np.ndarray) -> list[Conflict]:
    """Statistics of one response; `expected` ``(draw, patient)``."""
    t = posterior.trajectories
    seen = t.observed(response.name)
    latest = [n for n in posterior.study.before(response.name) if isinstance(n, Decision)][-1]
    groups = {"all": seen}
    if len(latest.options) > 1:
        groups |= {f"{latest.name} = {o}": seen & (t.columns[latest.name] == i) for i, o in enumerate(latest.options)}
    labels = labels_of(response)
    unordered = labels is not None and not isinstance(response.family, Ordinal)
    found = []
    for where, rows in groups.items():
        if rows.sum() < FEWEST:
            continue
        y, x = t.columns[response.name][rows], expected[:, rows]
        if unordered:
            found += [_conflict(response.name, f"share of {label}, {where}", y == i, x == i) for i, label in enumerate(labels or ())]
        else:
            found.append(_conflict(response.name, f"mean, {where}", y, x))
    return found


def _conflict(response: str, statistic: str, y: np.ndarray, x: np.ndarray) -> Conflict:
    observed, predicted = float(y.mean()), x.mean(axis=1)
    predicted = predicted[np.isfinite(predicted)]
    low, high = np.quantile(predicted, [0.025, 0.975])
    # One is added to either count, so that no finite number of draws gives a p-value of zero.
    tail = min((predicted >= observed).sum(), (predicted <= observed).sum()) + 1
    return Conflict(response, statistic, observed, float(low), float(high), float(min(1.0, 2 * tail / (predicted.size + 1))))
