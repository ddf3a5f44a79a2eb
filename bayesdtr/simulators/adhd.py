"""A two-stage SMART of school children with ADHD: medication or behavioral treatment, then more of the same or both.

Children who respond to the first treatment continue with it; the others are randomized to intensify
it or to augment it with the other treatment. With ``b = 1`` for behavioral (``m = 1 - b``),
``i = 1`` for intensify, ``s = severity - 4``,

    odd ~ Bernoulli(.35), priormed ~ Bernoulli(.3), race ~ Bernoulli(.7), severity ~ N(4, 1), independent
    logit P(responded)   = -.8 - .4 odd - .4 m + 1.6 m priormed + .3 b odd
    logit P(adherence)   = .6 - .4 odd - .8 m + 1.6 m priormed + .5 responded
    performance          = 2.5 - .35 odd - .25 priormed + .15 race - .12 s + .1 b + .45 adherence + .9 responded
                           + (1 - responded) i (-1.0 + 1.5 adherence - .15 b + .25 s) + N(0, .7^2)

so that intensifying pays for children who took what was prescribed, and augmenting for the others. What a child was
given before bears on the best start through response and adherence: the default model can learn it.
Neither probability depends on severity: every embedded mean is a finite sum. Given the discrete
variables the optimal value is the mean of a piecewise linear function of a Normal variable, so it is
in closed form too.

The structure (two decisions, responders not randomized again, these covariates) is that of the
school-based study of Pelham et al., Journal of Clinical Child and Adolescent Psychology 2016;45:396;
every number is our own and says nothing about real children.
"""

import itertools

import numpy as np
import pandas as pd
from scipy.special import expit

from .common import KnownRegime, Policy, Truth, always, decide, piecewise_mean, piecewise_roots, start

FIRST, SECOND = ("medication", "behavioral"), ("augment", "intensify", "continue")
P_ODD, P_PRIORMED, P_RACE = 0.35, 0.30, 0.70
SEVERITY_MEAN, SD = 4.0, 0.7


def respond(odd: np.ndarray, priormed: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """P(responded = 1), broadcast over arrays of 0 and 1."""
    m = 1 - b
    return expit(-0.8 - 0.4 * odd - 0.4 * m + 1.6 * m * priormed + 0.3 * b * odd)


def adhere(odd: np.ndarray, priormed: np.ndarray, b: np.ndarray | int, responded: np.ndarray | int) -> np.ndarray:
    """P(adherence = 1), broadcast over arrays of 0 and 1."""
    m = 1 - b
    return expit(0.6 - 0.4 * odd - 0.8 * m + 1.6 * m * priormed + 0.5 * responded)


def performance(odd, priormed, race, s, b, responded, adherence):
    """Expected performance under continue or augment; `s` is severity minus 4."""
    return 2.5 - 0.35 * odd - 0.25 * priormed + 0.15 * race - 0.12 * s + 0.1 * b + 0.45 * adherence + 0.9 * responded


def intensify_effect(s, b, adherence):
    """Effect of intensify against augment in a child who did not respond."""
    return -1.0 + 1.5 * adherence - 0.15 * b + 0.25 * s


def simulate(n: int, *, seed: int, policy: Policy | None = None) -> pd.DataFrame:
    """Simulate children; the same seed gives the same children under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default fair coins. Responders continue.

    Returns
    -------
    DataFrame, n rows
        Columns ``odd, severity, priormed, race, first, responded, adherence, second, performance``.
    """
    rng = start(n, seed, policy, ("first", "second"))
    uniform, noise, coin = rng.random((5, n)), rng.standard_normal((2, n)), rng.integers(0, 2, (2, n))
    columns = {"odd": (uniform[0] < P_ODD).astype(int), "severity": SEVERITY_MEAN + noise[0],
               "priormed": (uniform[1] < P_PRIORMED).astype(int), "race": (uniform[2] < P_RACE).astype(int)}
    odd, priormed, s = columns["odd"], columns["priormed"], noise[0]
    columns["first"] = decide(columns, "first", FIRST, coin[0], policy)
    b = (columns["first"] == "behavioral").astype(int)
    responded = columns["responded"] = (uniform[3] < respond(odd, priormed, b)).astype(int)
    adherence = columns["adherence"] = (uniform[4] < adhere(odd, priormed, b, responded)).astype(int)
    again = responded == 0
    feasible = np.stack([again, again, ~again], axis=1)
    columns["second"] = decide(columns, "second", SECOND, np.where(again, coin[1], 2), policy, feasible)
    i = columns["second"] == "intensify"
    mean = performance(odd, priormed, columns["race"], s, b, responded, adherence) + i * intensify_effect(s, b, adherence)
    columns["performance"] = mean + SD * noise[1]
    return pd.DataFrame(columns)


def first_stage(odd, priormed, race, s, b, i: int | None = None):
    """Expected performance after starting with `b`, then always `i` (0 or 1), or the better of both where `i` is None."""
    total = 0.0
    for responded, adherence in itertools.product((0, 1), repeat=2):
        p = respond(odd, priormed, b)
        q = adhere(odd, priormed, b, responded)
        weight = (p if responded else 1 - p) * (q if adherence else 1 - q)
        gain = intensify_effect(s, b, adherence)
        second = 0.0 if responded else np.maximum(gain, 0) if i is None else i * gain
        total = total + weight * (performance(odd, priormed, race, s, b, responded, adherence) + second)
    return total


def _cells() -> list[tuple[float, int, int]]:
    return [((P_ODD if odd else 1 - P_ODD) * (P_PRIORMED if prior else 1 - P_PRIORMED), odd, prior)
            for odd, prior in itertools.product((0, 1), repeat=2)]


def _optimal() -> tuple[float, float]:
    """Value of the fully tailored rule, and the share of children it starts on behavioral treatment."""
    kinks = [(1.0 - 1.5 * adherence + 0.15 * b) / 0.25 for adherence, b in itertools.product((0, 1), repeat=2)]
    value = share = 0.0
    for weight, odd, prior in _cells():
        # Race enters additively, so its mean may stand for it.
        q = [lambda s, b=b, odd=odd, prior=prior: float(first_stage(odd, prior, P_RACE, s, b)) for b in (0, 1)]
        cuts = kinks + piecewise_roots(lambda s, q=q: q[1](s) - q[0](s), kinks)
        value += weight * piecewise_mean(lambda s, q=q: max(q[0](s), q[1](s)), cuts)
        share += weight * piecewise_mean(lambda s, q=q: float(q[1](s) > q[0](s)), cuts)
    return value, share


def truth() -> Truth:
    """The four embedded means and the value of the fully tailored rule, in closed form.

    Returns
    -------
    Truth
        `regimes` by label, ``"medication; augment"`` being medication and, for children who do not
        respond, augment. `details`: ``share started on behavioral`` under the optimal rule.
    """
    regimes = {}
    for (b, first), (i, second) in itertools.product(enumerate(FIRST), enumerate(SECOND[:2])):
        # Linear in severity, so its mean may stand for it.
        value = sum(w * float(first_stage(odd, prior, P_RACE, 0.0, b, i)) for w, odd, prior in _cells())
        regimes[f"{first}; {second}"] = KnownRegime(value, {"first": always(first), "second": always(second)})

    def start_rule(frame: pd.DataFrame) -> np.ndarray:
        odd, prior, s = (frame[c].to_numpy(dtype=float) for c in ("odd", "priormed", "severity"))
        q = [first_stage(odd, prior, P_RACE, s - SEVERITY_MEAN, b) for b in (0, 1)]
        return np.where(q[1] > q[0], "behavioral", "medication").astype(object)

    def second_rule(frame: pd.DataFrame) -> np.ndarray:
        b = (frame["first"] == "behavioral").to_numpy(dtype=int)
        gain = intensify_effect(frame["severity"].to_numpy() - SEVERITY_MEAN, b, frame["adherence"].to_numpy())
        return np.where(frame["responded"] == 1, "continue", np.where(gain > 0, "intensify", "augment")).astype(object)

    value, share = _optimal()
    return Truth(KnownRegime(value, {"first": start_rule, "second": second_rule}), regimes, {"share started on behavioral": share})
