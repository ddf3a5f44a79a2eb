"""Stepped care of high blood pressure: three decisions, each opened or closed by a systolic pressure of 140.

With ``t = (age - 60) / 10``, ``d`` diabetes, ``p = 1`` for the program, ``c = 1`` for the calcium
blocker and ``D = 1`` for doubling,

    age in {45, 55, 65, 75} with probabilities (.2, .3, .3, .2),   d ~ Bernoulli(.15 + .05 (age - 45) / 10)
    sbp  = 140 + 40 Beta(2, 3)
    sbp1 = 149 + .85 (sbp - 156) + t - p (5 - 2 d) + N(0, 6^2)
    drug: none where sbp1 < 140, otherwise an ACE inhibitor or a calcium blocker
    sbp2 = 140 + .8 (sbp1 - 138) + N(0, 5^2)                                       without a drug
    sbp2 = 130 + .8 (sbp1 - 145) - c (1 + 2 t) - 4 d (1 - c) + N(0, 5^2)           on a drug
    dose: unchanged where sbp2 < 140 or without a drug, otherwise keep or double
    benefit = (sbp - sbp2) - p - 3 on_drug - c
              + D (2 + .3 (sbp2 - 150) - 1.5 t - 2 c) + N(0, 6^2).

`benefit` is the fall in pressure in mmHg less a burden of treatment on the same scale. The program
lowers the pressure of everybody at the next visit, so a physician who looks no further always
chooses it; yet in mild hypertension it takes patients just below the threshold, where no drug is
given, and they end with a higher pressure. The generator and its numbers are our own and are no
advice about real patients.

The truth is found by dynamic programming. The last two steps are closed forms in `sbp1` (integrals
of piecewise linear functions of a Normal variable); `sbp1` and `sbp` are integrated by composite
Gauss-Legendre rules cut at every threshold and change of the best option.
"""

from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from .common import KnownRegime, Policy, Truth, always, decide, density, gauss_legendre, partial_linear, start

LIFESTYLE, DRUG, DOSE = ("advice", "program"), ("ace_inhibitor", "calcium_blocker", "no_drug"), ("keep", "double", "no_change")
AGES, P_AGE = (45, 55, 65, 75), (0.2, 0.3, 0.3, 0.2)
CUT, SD1, SD2, SD_BENEFIT = 140.0, 6.0, 5.0, 6.0
Cell = tuple[float, int]
"""``t`` and diabetes."""


def p_diabetes(age):
    """P(diabetes) at an age."""
    return 0.15 + 0.05 * (np.asarray(age) - 45) / 10


def mean_sbp1(sbp, t, d, p):
    """Expected pressure after the lifestyle step, broadcast."""
    return 149 + 0.85 * (sbp - 156) + t - p * (5 - 2 * d)


def mean_sbp2(sbp1, t, d, c):
    """Expected pressure on the ACE inhibitor (``c = 0``), the calcium blocker (1) or no drug (None)."""
    if c is None:
        return 140 + 0.8 * (sbp1 - 138)
    return 130 + 0.8 * (sbp1 - 145) - c * (1 + 2 * t) - 4 * d * (1 - c)


def double_effect(sbp2, t, c):
    """Effect of doubling the dose on the benefit."""
    return 2 + 0.3 * (sbp2 - 150) - 1.5 * t - 2 * c


def simulate(n: int, *, seed: int, policy: Policy | None = None) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``lifestyle``, ``drug``, ``dose``); by default equal probabilities
        among the feasible options.

    Returns
    -------
    DataFrame, n rows
        Columns ``age, diabetes, sbp, lifestyle, sbp1, drug, sbp2, dose, benefit``.
    """
    rng = start(n, seed, policy, ("lifestyle", "drug", "dose"))
    age, u, sbp = rng.choice(AGES, n, p=P_AGE), rng.random(n), 140 + 40 * rng.beta(2, 3, n)
    noise, coin = rng.standard_normal((3, n)), rng.integers(0, 2, (3, n))
    d, t = (u < p_diabetes(age)).astype(int), (age - 60) / 10
    columns = {"age": age, "diabetes": d, "sbp": sbp}
    columns["lifestyle"] = decide(columns, "lifestyle", LIFESTYLE, coin[0], policy)
    p = (columns["lifestyle"] == "program").astype(int)
    sbp1 = columns["sbp1"] = mean_sbp1(sbp, t, d, p) + SD1 * noise[0]
    treated = sbp1 >= CUT
    feasible = np.stack([treated, treated, ~treated], axis=1)
    columns["drug"] = decide(columns, "drug", DRUG, np.where(treated, coin[1], 2), policy, feasible)
    c = (columns["drug"] == "calcium_blocker").astype(int)
    sbp2 = columns["sbp2"] = np.where(treated, mean_sbp2(sbp1, t, d, c), mean_sbp2(sbp1, t, d, None)) + SD2 * noise[1]
    titrated = treated & (sbp2 >= CUT)
    feasible = np.stack([titrated, titrated, ~titrated], axis=1)
    columns["dose"] = decide(columns, "dose", DOSE, np.where(titrated, coin[2], 2), policy, feasible)
    double = columns["dose"] == "double"
    columns["benefit"] = sbp - sbp2 - p - (3 + c) * treated + double * double_effect(sbp2, t, c) + SD_BENEFIT * noise[2]
    return pd.DataFrame(columns)


# ---- dynamic programming: everything below is benefit minus sbp, which no later step depends on ----


def on_drug(sbp1, cell: Cell, c: int, dose: int | None = None):
    """Value of a drug at a pressure `sbp1`, then always `dose` (0 keep, 1 double), or the better where None; broadcast."""
    t, d = cell
    mean = mean_sbp2(sbp1, t, d, c)
    turn = max(CUT, 150 - (2 - 1.5 * t - 2 * c) / 0.3)  # doubling pays above this pressure
    low = {None: turn, 0: np.inf, 1: CUT}[dose]
    doubled = partial_linear(double_effect(0.0, t, c), 0.3, mean, SD2, low, np.inf)
    return -mean - 3 - c + doubled


def best_drug(sbp1, cell: Cell):
    """Value of the better drug, then the better dose; broadcast."""
    return np.maximum(on_drug(sbp1, cell, 0), on_drug(sbp1, cell, 1))


def _roots(function, low: float, high: float, pieces: int = 200) -> list[float]:
    x = np.linspace(low, high, pieces + 1)
    y = np.array([function(v) for v in x])
    change = np.flatnonzero(y[:-1] * y[1:] < 0)
    return [brentq(function, x[i], x[i + 1], xtol=1e-12) for i in change]  # type: ignore[misc]


@cache
def _drug_turns(cell: Cell) -> tuple[float, ...]:
    """Pressures `sbp1` above the threshold at which the better drug changes."""
    return tuple(_roots(lambda x: float(on_drug(x, cell, 0) - on_drug(x, cell, 1)), CUT, 220))


def after_lifestyle(sbp: float, cell: Cell, p: int, later: tuple[int, int] | None = None) -> float:
    """Value of a lifestyle option for one baseline pressure, followed by a fixed drug and dose or by the best ones."""
    t, d = cell
    mean = float(mean_sbp1(sbp, t, d, p))
    low, high = mean - 9 * SD1, mean + 9 * SD1
    untreated = partial_linear(-mean_sbp2(0.0, t, d, None), -0.8, mean, SD1, -np.inf, CUT)
    inside = [x for x in (CUT, *_drug_turns(cell)) if low < x < high and x >= CUT]
    edges = sorted({max(low, CUT), *inside, *np.linspace(max(low, CUT), max(high, CUT + 1), 7)})
    x, w = gauss_legendre(edges)
    value = best_drug(x, cell) if later is None else on_drug(x, cell, *later)
    return float(untreated + (w * value * density((x - mean) / SD1) / SD1).sum() - p)


@cache
def _start_turns(cell: Cell) -> tuple[float, ...]:
    """Baseline pressures at which the better lifestyle option changes."""
    return tuple(_roots(lambda s: after_lifestyle(s, cell, 1) - after_lifestyle(s, cell, 0), 140, 180, 80))


def _average(function, cell: Cell) -> float:
    """Mean over the law of the baseline pressure, cut where the best start changes."""
    s, w = gauss_legendre(sorted({*np.linspace(140, 180, 5), *_start_turns(cell)}), 10)
    z = (s - 140) / 40
    return float((w * 12 * z * (1 - z) ** 2 / 40 * np.array([function(x, cell) for x in s])).sum())


def _value(function) -> float:
    total = 140 + 40 * 0.4  # the mean of sbp, left out above
    for age, weight in zip(AGES, P_AGE, strict=True):
        for d in (0, 1):
            p = float(p_diabetes(age))
            total += weight * (p if d else 1 - p) * _average(function, ((age - 60) / 10, d))
    return total


def _cells(frame: pd.DataFrame) -> list[tuple[Cell, np.ndarray]]:
    return [(((age - 60) / 10, d), ((frame["age"] == age) & (frame["diabetes"] == d)).to_numpy()) for age, d in product(AGES, (0, 1))]


def best_lifestyle(frame: pd.DataFrame) -> np.ndarray:
    """The optimal first rule: which side of the turning pressures of its age and diabetes a patient is on."""
    better = np.zeros(len(frame), dtype=bool)
    for cell, rows in _cells(frame):
        at_start = after_lifestyle(140.0, cell, 1) > after_lifestyle(140.0, cell, 0)
        better[rows] = (np.searchsorted(_start_turns(cell), frame["sbp"].to_numpy()[rows]) % 2 == 1) ^ at_start
    return np.where(better, "program", "advice").astype(object)


def best_drug_rule(frame: pd.DataFrame) -> np.ndarray:
    """The optimal second rule, by the closed form of :func:`on_drug`."""
    x, better = frame["sbp1"].to_numpy(), np.zeros(len(frame), dtype=bool)
    for cell, rows in _cells(frame):
        better[rows] = on_drug(x[rows], cell, 1) > on_drug(x[rows], cell, 0)
    return np.where(x < CUT, "no_drug", np.where(better, "calcium_blocker", "ace_inhibitor")).astype(object)


def best_dose(frame: pd.DataFrame) -> np.ndarray:
    """The optimal third rule: double where it pays."""
    c = (frame["drug"] == "calcium_blocker").to_numpy(dtype=int)
    x = frame["sbp2"].to_numpy()
    double = double_effect(x, (frame["age"].to_numpy() - 60) / 10, c) > 0
    closed = (frame["drug"] == "no_drug").to_numpy() | (x < CUT)
    return np.where(closed, "no_change", np.where(double, "double", "keep")).astype(object)


@cache
def truth() -> Truth:
    """Values of the optimal rule, of a myopic start, and of the eight embedded regimes.

    Returns
    -------
    Truth
        `regimes`: ``"myopic start"`` gives everybody the program, which has the lowest expected
        pressure at the next visit, and goes on optimally; ``"advice; ace_inhibitor; keep"`` and so
        on are the embedded regimes. `details`: ``share on advice`` under the optimal rule.
    """
    last = {"drug": best_drug_rule, "dose": best_dose}
    optimal = KnownRegime(_value(lambda s, cell: max(after_lifestyle(s, cell, p) for p in (0, 1))), {"lifestyle": best_lifestyle, **last})
    regimes = {"myopic start": KnownRegime(_value(lambda s, cell: after_lifestyle(s, cell, 1)), {"lifestyle": always("program"), **last})}
    for p, c, dose in product((0, 1), repeat=3):
        value = _value(lambda s, cell, p=p, c=c, dose=dose: after_lifestyle(s, cell, p, (c, dose)))
        names = (LIFESTYLE[p], DRUG[c], DOSE[dose])
        regimes["; ".join(names)] = KnownRegime(value, dict(zip(("lifestyle", "drug", "dose"), map(always, names), strict=True)))
    advice = _value(lambda s, cell: float(after_lifestyle(s, cell, 0) >= after_lifestyle(s, cell, 1))) - 156
    return Truth(optimal, regimes, {"share on advice": advice}, 1e-8)
