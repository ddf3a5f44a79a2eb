"""What the prior says about decisions before any data: who is favored by the design alone."""

from collections.abc import Mapping

import numpy as np

from ..inference import Posterior
from ..inference.prior import prior_draws
from .induction import MOST_LEAVES, clairvoyant, leaves, solve
from .values import baseline_rows, win_rates
from .world import World

PATIENTS = 50


def prior_starts_best(
    posterior: Posterior, *, seed: int, draws: int = 1000, drawn: Mapping[str, Mapping[str, np.ndarray]] | None = None
) -> dict[str, float] | None:
    """Prior probability that each first option starts the best regime.

    One divided by the number of options where the tree of later options is symmetric; an option with
    more choices after it is favored elsewhere, which is worth knowing before a trial adapts.

    Parameters
    ----------
    posterior : Posterior
        Its study, scales and (at most 50 of) its patients' baseline covariates are used, not its draws.
    seed : int
    draws : int
        Prior draws per chain.
    drawn : mapping, optional
        Prior draws that are at hand, from :func:`bayesdtr.inference.prior.prior_draws`.

    Returns
    -------
    dict of str to float, or None
        By option of the first decision, averaged over patients; None where the tree of histories is
        too large to answer exactly.

    Raises
    ------
    InferenceError
        When the prior is improper.
    """
    drawn = prior_draws(posterior, seed=seed, draws=draws) if drawn is None else drawn
    names = list(drawn)
    size = max((len(next(iter(d.values()))) for d in drawn.values() if d), default=1)
    world = World(posterior.study, {n: posterior.compiled(n) for n in names}, posterior.scales, drawn, size)
    if leaves(world, 0) > MOST_LEAVES:
        return None
    rows = baseline_rows(posterior)
    some = rows.take(np.linspace(0, rows.n - 1, min(rows.n, PATIENTS)).astype(int))
    distinct, inverse = some.unique()
    decision = posterior.study.decisions[0]
    share = np.zeros((distinct.n, len(decision.options)))
    for answer in solve(world, 0, distinct, [clairvoyant]):
        share[answer.begin : answer.begin + len(answer.qbar)] = win_rates(answer.values[0])
    return dict(zip(decision.options, share[inverse].mean(axis=0).tolist(), strict=True))
