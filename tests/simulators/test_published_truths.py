"""Truths of the published test-beds, derived again by enumeration or brute-force integration."""

import itertools

import numpy as np
import pytest
from scipy.special import expit, ndtr

from bayesdtr.errors import DecisionError
from bayesdtr.simulators import chakraborty, codiacs_qol, nonlinear_two_stage, polle_two_stage

# p, phi, psi10, psi11, V*, best first option (None: tie); recomputed, and for the printed columns
# equal to Chakraborty et al. (2010) and Laber et al. (2014).
NINE = {
    "1": (1, np.nan, 0, 0, 0, None),
    "2": (0, np.inf, 0, 0, 0.01, None),
    "3": (0.5, 1, 0, 0, 0.5, None),
    "4": (0, 1.0204, -0.01, 0, 0.51, "-1"),
    "5": (0.25, 1.4142, 0, 0, 1, None),
    "6": (0, 0.3451, -0.368771, 0.018688, 1.012458, "-1"),
    "A": (0, 1.0352, 0.143688, 0.006229, 1.024917, "+1"),
    "B": (0.5, 1, 0.25, 0, 0.5, "+1"),
    "C": (0, 1.0417, 0.24, 0, 0.49, "+1"),
}
SIGNS = (-1, 1)


@pytest.mark.parametrize("example", NINE)
def test_nine_examples_match_their_table(example):
    p, phi, psi10, psi11, value, first = NINE[example]
    known = chakraborty.truth(example)
    assert known.details["p"] == pytest.approx(p, abs=1e-12)
    assert known.details["phi"] == pytest.approx(phi, abs=5e-5, nan_ok=True)
    assert known.details["psi10"] == pytest.approx(psi10, abs=1e-6)
    assert known.details["psi11"] == pytest.approx(psi11, abs=1e-6)
    assert known.optimal.value == pytest.approx(value, abs=1e-6)
    assert known.details["tie"] == (first is None)
    if first:
        frame = chakraborty.simulate(50, seed=1, example=example)
        assert set(known.optimal.policy["first"](frame)) == {first}


@pytest.mark.parametrize("example", NINE)
def test_nine_examples_by_enumerating_every_rule(example):
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[example]
    best = -np.inf
    for rule1 in itertools.product(SIGNS, repeat=2):
        for rule2 in itertools.product(SIGNS, repeat=4):
            value = 0.0
            for (i, o1), (j, o2) in itertools.product(enumerate(SIGNS), enumerate(SIGNS)):
                a1 = rule1[i]
                a2 = rule2[2 * (a1 == 1) + j]
                up = expit(d1 * o1 + d2 * a1)
                value += 0.5 * (up if o2 == 1 else 1 - up) * (g3 * a1 + a2 * (g5 + g6 * o2 + g7 * a1))
            best = max(best, value)
    assert chakraborty.truth(example).optimal.value == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("example", ["6", "A"])
def test_first_stage_coefficients_by_least_squares(example):
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[example]
    cells = np.array(list(itertools.product(SIGNS, repeat=2)), dtype=float)
    o1, a1 = cells.T
    up = expit(d1 * o1 + d2 * a1)
    q = g3 * a1 + up * abs(g5 + g6 + g7 * a1) + (1 - up) * abs(g5 - g6 + g7 * a1)
    beta = np.linalg.solve(np.stack([np.ones(4), o1, a1, o1 * a1], axis=1), q)
    details = chakraborty.truth(example).details
    assert (details["psi10"], details["psi11"]) == pytest.approx(tuple(beta[2:]), abs=1e-12)


def _g(m):
    return m * ndtr(m) + np.exp(-(m**2) / 2) / np.sqrt(2 * np.pi)


def test_polle_by_two_dimensional_quadrature():
    z, w = np.polynomial.hermite_e.hermegauss(80)
    e = np.linspace(-9, 9, 20_001)
    step = (e[1] - e[0]) * np.exp(-(e**2) / 2) / np.sqrt(2 * np.pi)
    l1, c1 = z[:, None], z[:, None] + e
    weight = (w / w.sum())[:, None] * step
    no, yes = _g(0.5 * l1) + 0 * c1, c1 + _g(0.5 * l1 + 1)
    known = polle_two_stage.truth()
    assert known.optimal.value == pytest.approx((weight * np.maximum(no, yes)).sum(), abs=1e-6)
    assert known.regimes["myopic start"].value == pytest.approx((weight * np.where(c1 > 0, yes, no)).sum(), abs=1e-4)
    assert known.optimal.value == pytest.approx(1.449062, abs=1e-6)
    assert known.regimes["myopic start"].value == pytest.approx(1.388858, abs=1e-6)
    assert known.regimes["yes; yes"].value == 1


def test_nonlinear_by_a_midpoint_grid():
    n = 1600
    x = (np.arange(n) + 0.5) / n * 2 - 1
    x1, x2 = x[:, None], x

    def q(a):
        m = 0.5 * x1 + 0.8 * (a - 0.5) * x2
        h = m - 0.3 * (x1 > 0)
        later = h * ndtr(2 * h) + 0.5 * np.exp(-2 * h**2) / np.sqrt(2 * np.pi)
        return 1 + np.sin(np.pi * x1) + 0.3 * m + a * (0.5 * x2**2 - 0.2) + 1.5 * later

    known = nonlinear_two_stage.truth()
    assert known.optimal.value == pytest.approx(np.maximum(q(0), q(1)).mean(), abs=2e-6)
    listed = {"no; optimal": 1.245525, "yes; optimal": 1.212191, "no; no": 1, "no; yes": 0.775, "yes; no": 0.966667, "yes; yes": 0.741667}
    assert known.optimal.value == pytest.approx(1.419962, abs=1e-6)
    assert {k: r.value for k, r in known.regimes.items()} == pytest.approx(listed, abs=1e-6)
    assert known.details["share treated first"] == pytest.approx(0.3765, abs=1e-4)
    assert known.details["share treated first"] == pytest.approx((q(1) > q(0)).mean(), abs=1e-3)


OPTIMA = {"S1": ("100", 15.4462), "S2": ("110", 16.4814), "S3": ("010", 10.2157), "S4": ("111", 14.2134), "S5": ("100", 15.4462)}
S1 = {"000": 6.2168, "001": 3.7565, "010": 10.2157, "011": 7.7554, "100": 15.4462, "101": 9.9199, "110": 13.6886, "111": 8.1624}


@pytest.mark.parametrize("scenario", OPTIMA)
def test_quality_of_life_scenarios_by_enumeration(scenario):
    theta = np.array(codiacs_qol.SCENARIOS[scenario])
    known = codiacs_qol.truth(scenario)
    values = {}
    for a1, low, high in itertools.product((0, 1), repeat=3):
        p = (29 / 56, 28 / 52)[a1]
        rows = [(1, a1, a2, r, a1 * a2, a1 * r, a2 * r, a1 * a2 * r) for r, a2 in ((0, low), (1, high))]
        values[f"{a1}{low}{high}"] = float(np.array([1 - p, p]) @ np.array(rows) @ theta)
    assert {k: r.value for k, r in known.regimes.items()} == pytest.approx(values, abs=1e-12)
    name, value = OPTIMA[scenario]
    assert known.optimal == known.regimes[name]
    assert known.optimal.value == pytest.approx(value, abs=5e-5)
    if scenario == "S1":
        assert values == pytest.approx(S1, abs=5e-5)


def test_a_mistyped_example_is_answered_with_a_suggestion():
    with pytest.raises(DecisionError, match="did you mean 'A'"):
        chakraborty.truth("a")
    with pytest.raises(DecisionError, match="no scenario 'S6'"):
        codiacs_qol.simulate(5, seed=1, scenario="S6")
