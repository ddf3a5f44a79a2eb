"""The five scenarios of a planned adaptive SMART in depression care (CODIACS-QoL).

With ``a1 = 1`` for therapy, ``a2 = 1`` for a switch and `r` for improvement,

    P(r = 1 | a1 = 0) = 29/56,   P(r = 1 | a1 = 1) = 28/52,
    y ~ N(theta . (1, a1, a2, r, a1 a2, a1 r, a2 r, a1 a2 r), 6.7^2).

The trial enrolls 4 patients a month at exponential intervals, follows each for 6 months and has 100
patients; those are properties of a design, not of this generator.

Source: Cheung, Chakraborty & Davidson, Biometrics 2015;71:450; scenario labels S1 to S5 are those of
later re-implementations.
"""

import itertools

import numpy as np
import pandas as pd

from ..errors import DecisionError, did_you_mean, listing
from ..study import Bernoulli, Decision, Normal, Response, Study
from .common import KnownRegime, Policy, Truth, always, decide, start, where

FIRST, SECOND = ("medication", "therapy"), ("stay", "switch")
IMPROVES = (29 / 56, 28 / 52)
SD = 6.7

SCENARIOS: dict[str, tuple[float, ...]] = {
    # Coefficients of (1, a1, a2, r, a1 a2, a1 r, a2 r, a1 a2 r).
    "S1": (2.206, 5.594, 8.294, 7.745, -12.102, 6.455, -13.045, 6.59),
    "S2": (2.206, 5.594, 8.294, 7.745, -6.051, 6.455, -6.5225, 0.0675),
    "S3": (2.206, 5.594, 8.294, 7.745, -12.102, -6.455, -13.045, 19.5),
    "S4": (2.206, 5.594, 8.294, 7.745, -6.051, -6.455, -6.5225, 12.9775),
    "S5": (1.320, 6.480, 9.180, 9.555, -11.822, 4.645, -14.855, 6.382),
}


def study() -> Study:
    """The declaration of this study, the same for every scenario."""
    return Study(
        Decision("first", FIRST),
        Response("improved", Bernoulli()),
        Decision("second", SECOND),
        Response("y", Normal()),
        utility="y",
    )


def mean(scenario: str, a1: np.ndarray | int, r: np.ndarray | int, a2: np.ndarray | int) -> np.ndarray:
    """Expected `y` of a cell, broadcast over arrays of 0 and 1."""
    if scenario not in SCENARIOS:
        raise DecisionError(f"codiacs_qol: no scenario {scenario!r}; scenarios: {listing(SCENARIOS)}{did_you_mean(scenario, SCENARIOS)}")
    b0, b1, b2, br, b12, b1r, b2r, b12r = SCENARIOS[scenario]
    return np.asarray(b0 + b1 * a1 + b2 * a2 + br * r + b12 * a1 * a2 + b1r * a1 * r + b2r * a2 * r + b12r * a1 * a2 * r)


def simulate(n: int, *, seed: int, policy: Policy | None = None, scenario: str = "S1") -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default fair coins.
    scenario : {"S1", "S2", "S3", "S4", "S5"}

    Returns
    -------
    DataFrame, n rows
        Columns ``first, improved, second, y``.
    """
    rng = start(n, seed, policy, ("first", "second"))
    coin, uniform, noise = rng.integers(0, 2, (2, n)), rng.random(n), rng.standard_normal(n)
    columns: dict[str, np.ndarray] = {}
    # There is no covariate; the row numbers tell a rule how many patients there are.
    columns["first"] = decide({"row": np.arange(n)}, "first", FIRST, coin[0], policy)
    a1 = (columns["first"] == "therapy").astype(int)
    columns["improved"] = (uniform < np.array(IMPROVES)[a1]).astype(int)
    columns["second"] = decide(columns, "second", SECOND, coin[1], policy)
    a2 = (columns["second"] == "switch").astype(int)
    columns["y"] = mean(scenario, a1, columns["improved"], a2) + SD * noise
    return pd.DataFrame(columns)


def truth(scenario: str = "S1") -> Truth:
    """The eight embedded regimes of a scenario, by enumeration.

    Returns
    -------
    Truth
        `regimes` by ``"d1 d2(0) d2(1)"`` in 0/1: ``"100"`` is therapy, then stay whether or not
        improved. One of them is optimal, for there is nothing else to tailor to.
    """
    regimes = {}
    for a1, unimproved, improved in itertools.product((0, 1), repeat=3):
        p = IMPROVES[a1]
        value = (1 - p) * mean(scenario, a1, 0, unimproved) + p * mean(scenario, a1, 1, improved)
        second = where(lambda f: f["improved"] == 1, SECOND[improved], SECOND[unimproved])
        regimes[f"{a1}{unimproved}{improved}"] = KnownRegime(float(value), {"first": always(FIRST[a1]), "second": second})
    best = max(regimes.values(), key=lambda regime: regime.value)
    return Truth(best, regimes)
