"""Two transition times in a row, censored: a first treatment that delays progression and shortens life after it.

    T1 | a1      ~ Exponential(rate lambda[a1]),   lambda = .10, .07,
    T2 | a1, a2  ~ Exponential(rate mu[a1][a2]),   mu = (.08, .12), (.20, .16),

the second decision being made at the first transition, censoring at an independent uniform time between
0 and 36. The utility is the time lived up to 24. The first option "1" has the longer first time and leads to
the shorter life: who looks at the first transition only chooses wrongly.

With ``lambda``, ``mu`` and the horizon L, ``E min(T1 + T2, L)`` is
``[mu (1 - exp(-lambda L)) / lambda - lambda (1 - exp(-mu L)) / mu] / (mu - lambda)``.
"""

import itertools

import numpy as np
import pandas as pd

from ..study import Decision, Response, RestrictedMean, Study, Survival
from .common import KnownRegime, Policy, Truth, always, decide, start

OPTIONS = ("0", "1")
FIRST = np.array([0.10, 0.07])
SECOND = np.array([[0.08, 0.12], [0.20, 0.16]])
HORIZON, LONGEST_FOLLOW_UP = 24.0, 36.0


def study(distribution: str = "weibull", breaks: tuple[float, ...] | None = None) -> Study:
    """The declaration of this study, by default with Weibull times."""
    return Study(
        Decision("first", OPTIONS),
        Response("t1", Survival(distribution, event="event1", breaks=breaks)),
        Decision("second", OPTIONS),
        Response("t2", Survival(distribution, event="event2", breaks=breaks)),
        utility=RestrictedMean(["t1", "t2"], horizon=HORIZON),
    )


def simulate(n: int, *, seed: int, policy: Policy | None = None, censored: bool = True) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default fair coins.
    censored : bool
        Whether follow-up ends; without it every time is observed.

    Returns
    -------
    DataFrame, n rows
        Columns ``first, t1, event1, second, t2, event2``; the last three are empty after a censored first time.
    """
    rng = start(n, seed, policy, ("first", "second"))
    coin, luck = rng.integers(0, 2, (2, n)), rng.exponential(size=(2, n))
    end = rng.uniform(0, LONGEST_FOLLOW_UP, n) if censored else np.full(n, np.inf)
    columns: dict[str, np.ndarray] = {}
    columns["first"] = decide({"row": np.arange(n)}, "first", OPTIONS, coin[0], policy)
    a1 = (columns["first"] == "1").astype(int)
    t1 = luck[0] / FIRST[a1]
    columns["t1"], columns["event1"] = np.minimum(t1, end), (t1 <= end).astype(int)
    second = decide(columns, "second", OPTIONS, coin[1], policy)
    t2 = luck[1] / SECOND[a1, (second == "1").astype(int)]
    went_on = t1 <= end
    columns["second"] = np.where(went_on, second, None)
    columns["t2"] = np.where(went_on, np.minimum(t2, np.where(went_on, end - t1, 0.0)), np.nan)
    columns["event2"] = np.where(went_on, t1 + t2 <= end, np.nan)
    return pd.DataFrame(columns)


def restricted_mean(a1: int, a2: int, horizon: float = HORIZON) -> float:
    """``E min(T1 + T2, horizon)`` under two options, in closed form."""
    rate, later = FIRST[a1], SECOND[a1, a2]
    return float((later * -np.expm1(-rate * horizon) / rate - rate * -np.expm1(-later * horizon) / later) / (later - rate))


def survival(a1: int, a2: int, at: float) -> float:
    """``P(T1 + T2 > at)`` under two options, in closed form."""
    rate, later = FIRST[a1], SECOND[a1, a2]
    return float((later * np.exp(-rate * at) - rate * np.exp(-later * at)) / (later - rate))


def truth() -> Truth:
    """The four regimes.

    Returns
    -------
    Truth
        `regimes` by ``"a1 a2"``: ``"00"`` is option 0 twice. Tailoring the second decision to the first time gains
        nothing here: given ``a1`` one second option has the lower hazard at all times, so the best of the four is optimal.
    """
    regimes = {
        f"{a1}{a2}": KnownRegime(restricted_mean(a1, a2), {"first": always(OPTIONS[a1]), "second": always(OPTIONS[a2])})
        for a1, a2 in itertools.product((0, 1), repeat=2)
    }
    best = max(regimes.values(), key=lambda regime: regime.value)
    return Truth(best, regimes, {f"first time under {a}": float(1 / FIRST[a]) for a in (0, 1)})
