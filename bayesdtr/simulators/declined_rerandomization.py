"""A two-stage survival SMART in which some responders decline the second randomization.

    T1 | a        ~ Exponential(rate lambda[a]): time to response or death, whichever comes first,
    response | a  ~ Bernoulli(p[a]), whatever the time,
    consent | a   ~ Bernoulli(c[a]) among responders, whatever else,
    T2 | a, b     ~ Exponential(rate mu[a][b]): from response to death, for those randomized to b.

A responder who declines has no second option and is followed no further; censoring comes at an
independent uniform time. The estimand is the survival had all responders accepted: consent is ignorable
given the first arm. Survival at t of the regime (a, b) is

    exp(-lambda t) + p lambda (exp(-mu t) - exp(-lambda t)) / (lambda - mu).

Taking who declined out of the data lowers the share of responders, and with it every regime's survival.
"""

import itertools

import numpy as np
import pandas as pd

from ..study import Bernoulli, Decision, Response, Study, Survival, SurvivalAt, when
from .common import KnownRegime, Policy, Truth, always, decide, start

FIRST, SECOND = ("growth factor", "placebo"), ("single", "combination")
RATE = np.array([0.35, 0.30])
RESPONDS, CONSENTS = np.array([0.55, 0.45]), np.array([0.60, 0.85])
LATER = np.array([[0.05, 0.035], [0.06, 0.045]])
AT = 12.0
FOLLOW_UP = (6.0, 60.0)


def study(at: float = AT) -> Study:
    """The declaration of this study; the utility is survival at a time."""
    return Study(
        Decision("first", FIRST),
        Response("t1", Survival("weibull", event="event1")),
        Response("response", Bernoulli()),
        Decision("second", {when(response=1): SECOND, when(response=0): []}),
        Response("t2", Survival("weibull", event="died")),
        utility=SurvivalAt(["t1", "t2"], at=at),
        estimand={
            "declining the second randomization": "survival had all responders accepted, consent being ignorable given the first arm",
            "death": "ends the course; the time lived until then counts",
        },
    )


def simulate(n: int, *, seed: int, policy: Policy | None = None, declining: bool = True) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default fair coins.
    declining : bool
        Whether responders may decline.

    Returns
    -------
    DataFrame, n rows
        Columns ``first, t1, event1, response, second, t2, died``.
    """
    rng = start(n, seed, policy, ("first", "second"))
    coin, luck, uniform = rng.integers(0, 2, (2, n)), rng.exponential(size=(2, n)), rng.random((2, n))
    end = rng.uniform(*FOLLOW_UP, n)
    columns: dict[str, np.ndarray] = {}
    columns["first"] = decide({"row": np.arange(n)}, "first", FIRST, coin[0], policy)
    a = (columns["first"] == FIRST[1]).astype(int)
    t1 = luck[0] / RATE[a]
    seen = t1 <= end
    columns["t1"], columns["event1"] = np.minimum(t1, end), seen.astype(int)
    responds = uniform[0] < RESPONDS[a]
    columns["response"] = np.where(seen, responds, np.nan)
    second = decide(columns, "second", SECOND, coin[1], policy)
    t2 = luck[1] / LATER[a, (second == SECOND[1]).astype(int)]
    goes_on = seen & responds & ((uniform[1] < CONSENTS[a]) | (not declining))
    columns["second"] = np.where(goes_on, second, None)
    columns["t2"] = np.where(goes_on, np.minimum(t2, np.where(seen, end - t1, 0.0)), np.nan)
    columns["died"] = np.where(goes_on, t1 + t2 <= end, np.nan)
    return pd.DataFrame(columns)


def survival(a: int, b: int, at: float = AT) -> float:
    """Survival at a time under two options, had all responders accepted, in closed form."""
    rate, later = RATE[a], LATER[a, b]
    gone_on = RESPONDS[a] * rate * (np.exp(-later * at) - np.exp(-rate * at)) / (rate - later)
    return float(np.exp(-rate * at) + gone_on)


def truth(at: float = AT) -> Truth:
    """The four regimes.

    Returns
    -------
    Truth
        `regimes` by ``"first, second"``. Second options differ in their constant hazard only, so tailoring to the time
        of response gains nothing and the best of the four is optimal.
    """
    regimes = {
        f"{FIRST[a]}, {SECOND[b]}": KnownRegime(survival(a, b, at), {"first": always(FIRST[a]), "second": always(SECOND[b])})
        for a, b in itertools.product((0, 1), repeat=2)
    }
    return Truth(max(regimes.values(), key=lambda regime: regime.value), regimes)
