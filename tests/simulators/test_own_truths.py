"""Truths of our own generators, derived again by brute-force dynamic programming."""

import itertools

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from bayesdtr.simulators import adhd, hypertension


def _adhd_values():
    """Embedded means and optimal value: every discrete variable enumerated, severity on a fine grid."""
    s = np.linspace(-9, 9, 60_001)
    density = norm.pdf(s) * (s[1] - s[0])
    embedded, optimal = np.zeros((2, 2)), 0.0
    for odd, prior, race in itertools.product((0, 1), repeat=3):
        weight = (0.35 if odd else 0.65) * (0.3 if prior else 0.7) * (0.7 if race else 0.3)
        starts = []
        for b in (0, 1):
            m, best, fixed = 1 - b, 0.0, [0.0, 0.0]
            p = expit(-0.8 - 0.4 * odd - 0.4 * m + 1.6 * m * prior + 0.3 * b * odd)
            for r, ad in itertools.product((0, 1), repeat=2):
                q = expit(0.6 - 0.4 * odd - 0.8 * m + 1.6 * m * prior + 0.5 * r)
                cell = (p if r else 1 - p) * (q if ad else 1 - q)
                level = 2.5 - 0.35 * odd - 0.25 * prior + 0.15 * race - 0.12 * s + 0.1 * b + 0.45 * ad + 0.9 * r
                outcome = [level + (1 - r) * i * (-1 + 1.5 * ad - 0.15 * b + 0.25 * s) for i in (0, 1)]
                best = best + cell * np.maximum(*outcome)
                fixed = [f + cell * o for f, o in zip(fixed, outcome, strict=True)]
            starts.append(best)
            embedded[b] += [weight * (density * f).sum() for f in fixed]
        optimal += weight * (density * np.maximum(*starts)).sum()
    return embedded, optimal


def test_adhd_by_enumeration_and_a_grid():
    embedded, optimal = _adhd_values()
    known = adhd.truth()
    names = [f"{a}; {b}" for a in ("medication", "behavioral") for b in ("augment", "intensify")]
    assert [known.regimes[n].value for n in names] == pytest.approx(list(embedded.ravel()), abs=1e-9)
    assert known.optimal.value == pytest.approx(optimal, abs=1e-7)


def _panels(cuts, width, order):
    """Gauss-Legendre nodes on panels that end at every cut."""
    x, w = np.polynomial.legendre.leggauss(order)
    edges = np.unique(np.concatenate([np.linspace(a, b, int(np.ceil((b - a) / width)) + 1) for a, b in itertools.pairwise(cuts)]))
    half, middle = np.diff(edges)[:, None] / 2, (edges[:-1] + edges[1:])[:, None] / 2
    return (middle + half * x).ravel(), (half * w).ravel()


def _hypertension_cell(age, d):
    """Optimal value and value of starting everybody on the program, for one age and diabetes status."""
    t = (age - 60) / 10
    x1, w1 = _panels((80, 140, 240), 0.5, 6)
    best = np.full(len(x1), -np.inf)
    for c in (0, 1):
        turn = 150 - (2 - 1.5 * t - 2 * c) / 0.3
        x2, w2 = _panels(sorted({50, 140, turn, 260}), 1.0, 6)
        extra = np.where(x2 >= 140, np.maximum(2 + 0.3 * (x2 - 150) - 1.5 * t - 2 * c, 0), 0)
        mean = 130 + 0.8 * (x1 - 145) - c * (1 + 2 * t) - 4 * d * (1 - c)
        best = np.maximum(best, norm.pdf(x2, mean[:, None], 5) @ (w2 * (extra - x2)) - 3 - c)
    later = np.where(x1 >= 140, best, -(140 + 0.8 * (x1 - 138)))
    s, ws = _panels((140, 180), 0.25, 5)
    z = (s - 140) / 40
    law = ws * 12 * z * (1 - z) ** 2 / 40
    start = [norm.pdf(x1, (149 + 0.85 * (s - 156) + t - p * (5 - 2 * d))[:, None], 6) @ (w1 * later) + s - p for p in (0, 1)]
    return law @ np.maximum(*start), law @ start[1]


def test_hypertension_by_brute_force_dynamic_programming():
    total = np.zeros(2)
    for age, weight in ((45, 0.2), (55, 0.3), (65, 0.3), (75, 0.2)):
        p = 0.15 + 0.005 * (age - 45)
        total += weight * ((1 - p) * np.array(_hypertension_cell(age, 0)) + p * np.array(_hypertension_cell(age, 1)))
    known = hypertension.truth()
    assert known.optimal.value == pytest.approx(total[0], abs=1e-6)
    assert known.regimes["myopic start"].value == pytest.approx(total[1], abs=1e-6)


def test_the_best_start_is_not_the_myopic_one():
    """The program has the lower expected pressure at the next visit, yet many patients should not start with it."""
    for age, d in itertools.product(hypertension.AGES, (0, 1)):
        t = (age - 60) / 10
        assert hypertension.mean_sbp1(150.0, t, d, 1) < hypertension.mean_sbp1(150.0, t, d, 0)
    known = hypertension.truth()
    frame = hypertension.simulate(20_000, seed=4)
    advised = known.optimal.policy["lifestyle"](frame) == "advice"
    share = known.details["share on advice"]
    assert 0.3 < share < 0.6
    assert abs(advised.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(frame))
    assert known.optimal.value > known.regimes["myopic start"].value + 0.4
