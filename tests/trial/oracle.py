"""Exact operating characteristics of two-armed trials by forward recursion over counts: no chance, no simulation.

After n patients the states are one table for each number n1 in the first arm, rows successes there, columns successes in the second.
Beta(1, 1) priors.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy.special import betaln
from scipy.stats import binom


@functools.cache
def second_better(n1: int, n2: int) -> np.ndarray:
    """P(p2 > p1) for all successes, shape (n1 + 1, n2 + 1).

    None in the second arm: ``B(a1, b1 + n2 + 1) / B(a1, b1)``. One success more instead of a failure adds
    ``h (1 / a2 + 1 / b)`` with ``h = B(a1 + a2, b1 + b) / (B(a1, b1) B(a2, b))``, ``b`` one less than the failures' parameter.
    """
    a1, b1 = np.arange(n1 + 1)[:, None] + 1.0, n1 - np.arange(n1 + 1)[:, None] + 1.0
    start = np.exp(betaln(a1, b1 + n2 + 1) - betaln(a1, b1))
    a2 = np.arange(n2)[None, :] + 1.0
    b = n2 + 1 - a2
    steps = np.exp(betaln(a1 + a2, b1 + b) - betaln(a1, b1) - betaln(a2, b)) * (1 / a2 + 1 / b)
    return np.clip(np.cumsum(np.concatenate([start, steps], axis=1), axis=1), 0.0, 1.0)


def thompson(power: float | str, size: int, floor: float = 0.0, rule: str = "clip") -> Callable[[np.ndarray, int], np.ndarray]:
    """Probability of the second arm from q = P(p2 > p1) and the patients so far."""

    def probability(q: np.ndarray, n: int) -> np.ndarray:
        c = n / (2 * size) if isinstance(power, str) else power
        up, down = q**c, (1 - q) ** c
        share = up / (up + down)
        return floor + (1 - 2 * floor) * share if rule == "affine" else np.clip(share, floor, 1 - floor)

    return probability


class Sequential:
    """Probabilities of all counts after `size` patients who are assigned one by one; `allocation` None is a fair coin."""

    def __init__(self, p1: float, p2: float, size: int, allocation: Callable | None, burn_in: int = 0):
        tables = [np.ones((1, 1))]
        for n in range(size):
            grown = [np.zeros((m + 1, n + 2 - m)) for m in range(n + 2)]
            for n1, weight in enumerate(tables):
                second = 0.5 if allocation is None else allocation(second_better(n1, n - n1), n)
                second = float(n % 2) if n < burn_in else second  # alternately
                one, two = weight * (1 - second), weight * second
                grown[n1 + 1][1:] += one * p1
                grown[n1 + 1][:-1] += one * (1 - p1)
                grown[n1][:, 1:] += two * p2
                grown[n1][:, :-1] += two * (1 - p2)
            tables = grown
        self.size, self.tables = size, tables

    def mean(self, function: Callable) -> float:
        """Expectation of a function of (n1, s1, n2, s2), the final counts, s1 down and s2 across."""
        parts = [(w * function(n1, np.arange(n1 + 1)[:, None], self.size - n1, np.arange(self.size - n1 + 1)[None, :])).sum()
                 for n1, w in enumerate(self.tables)]
        return float(sum(parts))

    def small_trial_row(self) -> tuple[float, ...]:
        """E[N2], E[successes], P(PP > .975), P(PP < .025), P(N1 - N2 >= 8), with PP = P(p2 > p1)."""
        return (self.mean(lambda n1, s1, n2, s2: n2), self.mean(lambda n1, s1, n2, s2: s1 + s2),
                self.mean(lambda n1, s1, n2, s2: second_better(n1, n2) > 0.975), self.mean(lambda n1, s1, n2, s2: second_better(n1, n2) < 0.025),
                self.mean(lambda n1, s1, n2, s2: n1 - n2 >= 8))

    def rejects(self, bound: float = 1.645) -> float:
        """P(unpooled Z > bound)."""
        return self.mean(lambda *counts: unpooled_z(*counts) > bound)

    def successes(self) -> float:
        """Expected successes."""
        return self.mean(lambda n1, s1, n2, s2: s1 + s2)


def unpooled_z(n1, s1, n2, s2) -> np.ndarray:
    """Difference of the second and first rates over its unpooled standard error; 0 where that is undefined."""
    n1, s1, n2, s2 = (np.asarray(x, dtype=float) for x in (n1, s1, n2, s2))
    with np.errstate(divide="ignore", invalid="ignore"):
        p1, p2 = s1 / n1, s2 / n2
        z = (p2 - p1) / np.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
    return np.where(np.isnan(z), 0.0, z)


def group_sequential(p1: float, p2: float, allocation: Callable | None, *, size: int = 200, first: int = 20, block: int = 20,
                     bound: float = 0.99) -> dict[str, float]:
    """Exact characteristics of a trial with `first` in each arm, then blocks with fixed probabilities, stopped where P(p2 > p1) is beyond a bound.

    Returns
    -------
    dict
        upper, lower : probability of stopping for either arm; patients, in_first : expected patients, and those in the first arm.
    """
    out = {"upper": 0.0, "lower": 0.0, "patients": 0.0, "in_first": 0.0}
    grow = [[_growth(m, p, size) for m in range(block + 1)] for p in (p1, p2)]
    start = [binom.pmf(np.arange(first + 1), first, p) for p in (p1, p2)]
    tables = {first: start[0][:, None] * start[1][None, :]}
    for n in range(2 * first, size + 1, block):
        grown: dict[int, np.ndarray] = {}
        for n1, weight in tables.items():
            n2, q = n - n1, second_better(n1, n - n1)
            stop = (q > bound) | (q < 1 - bound) | (n >= size)
            out["upper"] += weight[q > bound].sum()
            out["lower"] += weight[q < 1 - bound].sum()
            out["patients"] += n * weight[stop].sum()
            out["in_first"] += n1 * weight[stop].sum()
            on = np.where(stop, 0.0, weight)
            if n >= size or on.sum() < 1e-14:
                continue
            second = np.full(q.shape, 0.5) if allocation is None else allocation(q, n)
            for m2 in range(block + 1):
                m1 = block - m2
                moved = grow[0][m1][: n1 + 1, : n1 + m1 + 1].T @ (on * binom.pmf(m2, block, second)) @ grow[1][m2][: n2 + 1, : n2 + m2 + 1]
                grown[n1 + m1] = grown.get(n1 + m1, 0.0) + moved
        tables = grown
    return out


def _growth(m: int, p: float, size: int) -> np.ndarray:
    """Probability of going from s to t successes by m patients, shape (size + 1, size + m + 1)."""
    out = np.zeros((size + 1, size + m + 1))
    for x, weight in enumerate(binom.pmf(np.arange(m + 1), m, p)):
        out[np.arange(size + 1), np.arange(size + 1) + x] = weight
    return out
