"""Two randomized decisions with nonlinear effects of continuous covariates: linear working models are wrong.

    x1, x2 ~ Uniform(-1, 1)          first, second ~ Bernoulli(1/2)
    x3 = .5 x1 + .8 (first - .5) x2 + .5 e,                          e ~ N(0, 1)
    y  = 1 + sin(pi x1) + .3 x3 + first (.5 x2^2 - .2) + 1.5 second (x3 - .3 1{x1 > 0}) + N(0, 1)

The optimal second decision is ``1{x3 > .3 1{x1 > 0}}``. With ``m = .5 x1 + .8 (a - .5) x2`` and
``G(m) = E max(N(m, .5), 0)`` the value of starting with `a` is

    Q1(x1, x2, a) = 1 + sin(pi x1) + .3 m + a (.5 x2^2 - .2) + 1.5 G(m - .3 1{x1 > 0}).

With ``confounded=True`` treatment follows the covariates: ``first ~ expit(x1 + x2)``, ``second ~
expit(2 x3)``; the truth is the same. The generator is our own.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy.special import expit

from ..study import Baseline, Decision, Normal, Response, Study
from .common import KnownRegime, Policy, Truth, always, decide, gauss_legendre, positive_part, start, where

OPTIONS = ("no", "yes")


def study(confounded: bool = False) -> Study:
    """The declaration of this study."""
    assigned = "observed" if confounded else "randomized"
    return Study(
        Baseline("x1"), Baseline("x2"),
        Decision("first", OPTIONS, assigned=assigned),
        Response("x3", Normal()),
        Decision("second", OPTIONS, assigned=assigned),
        Response("y", Normal()),
        utility="y",
    )


def simulate(n: int, *, seed: int, policy: Policy | None = None, confounded: bool = False) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default as assigned.
    confounded : bool
        Whether assignment follows the covariates instead of fair coins.

    Returns
    -------
    DataFrame, n rows
        Columns ``x1, x2, first, x3, second, y``.
    """
    rng = start(n, seed, policy, ("first", "second"))
    x, noise, coin = rng.uniform(-1, 1, (2, n)), rng.standard_normal((2, n)), rng.random((2, n))
    columns = {"x1": x[0], "x2": x[1]}
    p = expit(x[0] + x[1]) if confounded else 0.5
    columns["first"] = decide(columns, "first", OPTIONS, (coin[0] < p).astype(int), policy)
    first = columns["first"] == "yes"
    x3 = columns["x3"] = 0.5 * x[0] + 0.8 * (first - 0.5) * x[1] + 0.5 * noise[0]
    p = expit(2 * x3) if confounded else 0.5
    columns["second"] = decide(columns, "second", OPTIONS, (coin[1] < p).astype(int), policy)
    second = columns["second"] == "yes"
    columns["y"] = (1 + np.sin(np.pi * x[0]) + 0.3 * x3 + first * (0.5 * x[1] ** 2 - 0.2)
                    + 1.5 * second * (x3 - 0.3 * (x[0] > 0)) + noise[1])
    return pd.DataFrame(columns)


def first_stage(x1: np.ndarray, x2: np.ndarray, a: int) -> np.ndarray:
    """Expected `y` when `a` (0 or 1) is followed by the optimal second decision, broadcast over arrays."""
    m = 0.5 * x1 + 0.8 * (a - 0.5) * x2
    return 1 + np.sin(np.pi * x1) + 0.3 * m + a * (0.5 * x2**2 - 0.2) + 1.5 * positive_part(m - 0.3 * (x1 > 0), 0.5)


@cache
def _integrals() -> tuple[float, float, float, float]:
    """V*, the values of fixed starts 0 and 1, and P(start with 1), by a composite rule cut at the jump in x1."""
    x1, w1 = gauss_legendre(np.concatenate([np.linspace(-1, 0, 41), np.linspace(0, 1, 41)[1:]]), 4)
    x2, w2 = gauss_legendre(np.linspace(-1, 1, 801), 4)
    weight = w1[:, None] * w2 / 4
    q0, q1 = (first_stage(x1[:, None], x2, a) for a in (0, 1))
    return tuple(float((weight * f).sum()) for f in (np.maximum(q0, q1), q0, q1, q1 > q0))  # type: ignore[return-value]


def truth() -> Truth:
    """Values of the optimal rule, of fixed starts followed by the optimal second decision, and of the four fixed sequences.

    The kink where the first decision changes sides leaves an error below 1e-7; the share of patients
    who start with "yes" (`details`) is exact to 1e-4.
    """
    value, start0, start1, share = _integrals()
    best = where(lambda f: first_stage(f["x1"].to_numpy(), f["x2"].to_numpy(), 1) > first_stage(f["x1"].to_numpy(), f["x2"].to_numpy(), 0),
                 "yes", "no")
    last = where(lambda f: f["x3"] > 0.3 * (f["x1"] > 0), "yes", "no")
    regimes = {
        "no; optimal": KnownRegime(start0, {"first": always("no"), "second": last}),
        "yes; optimal": KnownRegime(start1, {"first": always("yes"), "second": last}),
    }
    for a in (0, 1):
        for b in (0, 1):
            # E x3 = 0, E x2^2 = 1/3 and P(x1 > 0) = 1/2.
            static = 1 + a * (0.5 / 3 - 0.2) - 1.5 * 0.3 * 0.5 * b
            regimes[f"{OPTIONS[a]}; {OPTIONS[b]}"] = KnownRegime(static, {"first": always(OPTIONS[a]), "second": always(OPTIONS[b])})
    return Truth(KnownRegime(value, {"first": best, "second": last}), regimes, {"share treated first": share}, 1e-7)
