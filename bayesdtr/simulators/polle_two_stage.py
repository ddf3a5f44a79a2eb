"""Two observational decisions confounded by what the physician sees, with a closed-form optimal rule.

    l1 ~ N(0, 1)                     c1 = l1 + N(0, 1)      first  ~ Bernoulli(expit(beta c1))
    c2 = gamma l1 + first + N(0, 1)                         second ~ Bernoulli(expit(beta c2))
    u  = l1 + first c1 + l2 + second c2 + l3,  l2, l3 ~ N(0, 1)

Treating now raises `c2`, so it is worth more than it pays at once: the myopic first rule treats too
seldom. With ``g(m) = E max(N(m, 1), 0)`` the optimal rules are ``second = 1{c2 > 0}`` and ``first =
1{c1 + g(gamma l1 + 1) - g(gamma l1) > 0}``. `l1` is observed here as a baseline covariate.

Source: the two-stage example that accompanies the R package polle (Nordland & Holst); the values
are our own integrals.
"""

import pandas as pd
from scipy.integrate import quad
from scipy.special import expit, ndtr

from ..study import Baseline, Decision, Normal, Response, Study
from .common import KnownRegime, Policy, Truth, always, decide, density, positive_part, start, where

OPTIONS = ("no", "yes")


def study() -> Study:
    """The declaration of this study; treatments were observed, not randomized."""
    return Study(
        Baseline("l1"), Baseline("c1"),
        Decision("first", OPTIONS, assigned="observed"),
        Response("c2", Normal()),
        Decision("second", OPTIONS, assigned="observed"),
        Response("u", Normal()),
        utility="u",
    )


def simulate(n: int, *, seed: int, policy: Policy | None = None, gamma: float = 0.5, beta: float = 1.0) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default physicians treat by `c1` and `c2`.
    gamma, beta : float
        Dependence of `c2` on `l1`, and of treatment on what is seen.

    Returns
    -------
    DataFrame, n rows
        Columns ``l1, c1, first, c2, second, u``.
    """
    rng = start(n, seed, policy, ("first", "second"))
    noise, coin = rng.standard_normal((5, n)), rng.random((2, n))
    l1 = noise[0]
    columns = {"l1": l1, "c1": l1 + noise[1]}
    columns["first"] = decide(columns, "first", OPTIONS, (coin[0] < expit(beta * columns["c1"])).astype(int), policy)
    first = columns["first"] == "yes"
    columns["c2"] = gamma * l1 + first + noise[2]
    columns["second"] = decide(columns, "second", OPTIONS, (coin[1] < expit(beta * columns["c2"])).astype(int), policy)
    second = columns["second"] == "yes"
    columns["u"] = l1 + first * columns["c1"] + noise[3] + second * columns["c2"] + noise[4]
    return pd.DataFrame(columns)


def truth(gamma: float = 0.5) -> Truth:
    """Values of the optimal rule, of the rule with a myopic start, and of the four fixed sequences.

    Given `l1`, `c1` is Normal(l1, 1), so that one smooth integral over `l1` remains.
    """

    def gain(l1):
        return positive_part(gamma * l1 + 1) - positive_part(gamma * l1)

    def over_l1(function):
        return quad(lambda x: function(x) * density(x), -12, 12, epsabs=1e-12, epsrel=1e-12, limit=200)[0]

    last = where(lambda f: f["c2"] > 0, "yes", "no")
    best = where(lambda f: f["c1"] + gain(f["l1"].to_numpy()) > 0, "yes", "no")
    now = where(lambda f: f["c1"] > 0, "yes", "no")
    value = over_l1(lambda x: positive_part(gamma * x) + positive_part(x + gain(x)))
    myopic = over_l1(lambda x: positive_part(gamma * x) + positive_part(x) + ndtr(x) * gain(x))
    regimes = {"myopic start": KnownRegime(float(myopic), {"first": now, "second": last})}
    for a in OPTIONS:
        for b in OPTIONS:
            # E c1 = 0 and E c2 = 1{first}: only treating twice pays on average.
            paid = float(a == "yes" and b == "yes")
            regimes[f"{a}; {b}"] = KnownRegime(paid, {"first": always(a), "second": always(b)})
    share = over_l1(lambda x: ndtr(x + gain(x)))
    return Truth(KnownRegime(float(value), {"first": best, "second": last}), regimes, {"share treated first": float(share)}, 1e-9)
