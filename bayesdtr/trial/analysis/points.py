"""Fixed quasi-random points, and the quantiles of cells' posteriors at them."""

import functools

import numpy as np
from scipy.special import betaincinv, gammaincinv, ndtr, ndtri
from scipy.stats import qmc

from .betas import by_blocks, distinct

SEED = 20_261_127
"""Of the scrambling: one set of points for all looks of all trials, so that equal data have equal answers."""
MARKS = 20
"""Points between which a quantile function is interpolated."""


@functools.lru_cache(maxsize=8)
def orders(dimensions: int, draws: int) -> np.ndarray:
    """Scrambled Sobol points with each coordinate moved to the middle of its stratum: a permutation of the strata per dimension.

    Returns
    -------
    array of int, shape (dimension, draw)
    """
    points = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(SEED)).random(draws)
    return np.floor(points * draws).astype(int).T.copy()


def middles(draws: int) -> np.ndarray:
    """Middles of equal strata of (0, 1)."""
    return (np.arange(draws) + 0.5) / draws


@functools.lru_cache(maxsize=8)
def _interpolation(draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of Chebyshev points, and the matrix from values there to values at the scores of the strata's middles."""
    z = ndtri(middles(draws))
    marks = np.cos(np.pi * (np.arange(MARKS) + 0.5) / MARKS) * z[-1]
    basis = np.polynomial.chebyshev.chebvander(marks / z[-1], MARKS - 1)
    return marks, np.linalg.solve(basis.T, np.polynomial.chebyshev.chebvander(z / z[-1], MARKS - 1).T)


def beta_quantiles(a: np.ndarray, b: np.ndarray, draws: int) -> np.ndarray:
    """Quantiles of Betas at the middles of equal strata, shape ``(*a.shape, draw)``.

    Log-odds are a smooth function of the normal score, nearly a straight line: exact at a few scores, interpolated between.
    """
    marks, matrix = _interpolation(draws)
    below, above = ndtr(marks), ndtr(-marks)

    def some(table: np.ndarray) -> np.ndarray:
        a, b = table.T[..., None]
        p = betaincinv(a, b, below)
        q = np.where(p < 0.5, 1 - p, betaincinv(b, a, above))
        log_odds = np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-300))
        return 1 / (1 + np.exp(-np.matmul(log_odds[:, None, :], matrix)[:, 0]))

    return by_blocks(some, np.stack([a.ravel(), b.ravel()], axis=1)).reshape(*a.shape, draws)


def scale_quantiles(shape: np.ndarray, rate: np.ndarray, draws: int) -> np.ndarray:
    """Standard deviations at the middles of equal strata, where the variance is ``InverseGamma(shape, rate)``; shape ``(*shape.shape, draw)``."""
    first, inverse = distinct(shape.reshape(-1, 1))
    gamma = gammaincinv(shape.ravel()[first][:, None], middles(draws))
    return np.sqrt(rate[..., None] / gamma[inverse].reshape(*shape.shape, draws))
