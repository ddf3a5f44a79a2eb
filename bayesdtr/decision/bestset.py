"""The simultaneous set of best: which regimes cannot be told from the best (Artman et al., arXiv:2008.02341)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BestSet:
    """Result of a multiple comparison with the best.

    Attributes
    ----------
    best : int
        Index of the regime with the highest posterior mean.
    upper : array, shape (regime,)
        Simultaneous one-sided upper limits of each regime's difference to it, 0 for itself.
    member : array of bool, shape (regime,)
        Whether the upper limit reaches 0.
    """

    best: int
    upper: np.ndarray
    member: np.ndarray


def best_set(values: np.ndarray, *, alpha: float = 0.05, scale: str = "identity") -> BestSet:
    """Simultaneous set of best by the rank method.

    Every regime's differences to the best one are ranked over draws; the limit is the order
    statistic at the ``1 - alpha`` quantile of the largest rank per draw, the same for all.

    Parameters
    ----------
    values : array, shape (draw, regime)
    alpha : float
        One minus the simultaneous probability.
    scale : {"identity", "log-odds"}
        Scale on which differences are taken.

    Returns
    -------
    BestSet
    """
    best = int(values.mean(axis=0).argmax())
    g = np.log(values) - np.log1p(-values) if scale == "log-odds" else values
    others = np.delete(np.arange(values.shape[1]), best)
    upper = np.zeros(values.shape[1])
    if others.size:
        difference = g[:, others] - g[:, [best]]
        order = np.argsort(difference, axis=0, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, len(values) + 1)[:, None], axis=0)
        position = int(np.ceil(np.quantile(rank.max(axis=1), 1 - alpha)))
        upper[others] = np.sort(difference, axis=0)[position - 1]
    return BestSet(best, upper, upper >= 0)
