"""Top-two and null-stabilized allocation: published values, quadrature by brute force, limits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from bayesdtr.errors import TrialError
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Prior, Response, Saturated, Study, Utility, when
from bayesdtr.trial.allocation import Equal, Fixed, NullStabilized, Situation, Thompson, TopTwo, check_together
from bayesdtr.trial.allocation.null import bernoulli_arms, normal_factor
from bayesdtr.trial.allocation.top_two import top_two
from bayesdtr.trial.analysis import Drawn
from bayesdtr.trial.observed import Observed

THREE = np.ones((1, 3), dtype=bool)
ARMS = Study(Decision("arm", ["a", "b", "c"]), Response("y", Bernoulli(), model=Saturated()), utility="y")


class Drawing:
    """A posterior of options made of given draws."""

    def __init__(self, draws):
        self.draws = draws

    def options(self, decision, trial, columns, feasible):
        return Drawn(np.where(feasible[:, None, :], self.draws[trial], -np.inf))


def asked(study, columns, *, decision=0, trial=None, patient=None, feasible=None, draws=None):
    size = len(next(iter(columns.values())))
    data = Observed(columns, None, np.zeros((size, 1), dtype=int), np.ones((size, 1), dtype=bool))
    trial = np.arange(size) if trial is None else trial
    options = len(study.decisions[decision].options)
    feasible = np.ones((len(trial), options), dtype=bool) if feasible is None else feasible
    draws = np.random.default_rng(2).normal(size=(size, 640, options)) if draws is None else draws
    return Situation(study, decision, trial, patient or {}, feasible, Drawing(draws), data, np.full(len(trial), 10), 100,
                     np.zeros((len(trial), options), dtype=int))


# ---- top-two --------------------------------------------------------------------------------------


def test_top_two_published_value():
    np.testing.assert_allclose(top_two(np.array([[0.5, 0.3, 0.2]]), 0.5, THREE)[0], [0.4196, 0.3375, 0.2429], atol=5e-5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=5).filter(any), st.floats(0.05, 1), st.randoms(use_true_random=False))
def test_top_two_by_its_two_draws(raw, beta, random):
    p = np.array(raw) / sum(raw)
    feasible = np.ones((1, len(p)), dtype=bool)
    got = top_two(p[None], beta, feasible)[0]
    want = beta * p
    for i in range(len(p)):
        others = [j for j in range(len(p)) if j != i]
        rest = sum(p[j] for j in others)
        for j in others:
            want[j] += (1 - beta) * p[i] * (p[j] / rest if rest else 1 / len(others))
    np.testing.assert_allclose(got, want, atol=1e-14)
    assert got.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(top_two(p[None], 1.0, feasible)[0], p, atol=1e-15)
    order = list(range(len(p)))
    random.shuffle(order)
    np.testing.assert_allclose(top_two(p[None, order], beta, feasible)[0], got[order], atol=1e-14)


def test_top_two_where_one_is_certain_or_alone():
    np.testing.assert_allclose(top_two(np.array([[1.0, 0, 0]]), 0.6, THREE)[0], [0.6, 0.2, 0.2])
    np.testing.assert_allclose(top_two(np.array([[0, 1.0, 0]]), 0.6, np.array([[False, True, False]]))[0], [0, 1, 0])
    np.testing.assert_allclose(top_two(np.array([[0, 1.0, 0]]), 0.6, np.array([[False, True, True]]))[0], [0, 0.6, 0.4])


def test_top_two_with_a_floor():
    draws = np.repeat(np.eye(3), [50, 30, 20], axis=0)[None]
    rule = TopTwo(0.5, floor=0.1)
    rule.check(ARMS, "arm")
    got = rule.probabilities(asked(ARMS, {"y": np.full((1, 1), np.nan)}, draws=draws))
    np.testing.assert_allclose(got[0], 0.1 + 0.7 * np.array([0.4196, 0.3375, 0.2429]), atol=5e-5)
    assert rule.text() == "top-two, beta 0.5, floor 0.1"


# ---- null-stabilized ------------------------------------------------------------------------------


def bernoulli_data(yes, no):
    arm = np.repeat(np.tile(np.arange(len(yes)), 2), [*yes, *no])[None]
    y = np.repeat([1.0, 0.0], [sum(yes), sum(no)])[None]
    return {"arm": arm, "y": y}


def evidence(a, b, yes, no):
    """Probability of the outcomes by quadrature over a Beta prior."""
    return integrate.quad(lambda p: stats.beta.pdf(p, a, b) * p**yes * (1 - p) ** no, 0, 1, epsabs=0, epsrel=1e-12)[0]


def test_the_bayes_factor_of_saturated_arms_by_quadrature():
    yes, no = (5, 9, 3), (7, 4, 8)
    priors = {"probability": Prior("Beta", concentration1=2, concentration0=1), "probability.b": Prior("Beta", concentration1=3, concentration0=4)}
    study = Study(Decision("arm", ["a", "b", "c"]), Response("y", Bernoulli(), model=Saturated(), priors=priors), utility="y")
    alone = np.prod([evidence(*ab, s, f) for ab, s, f in zip(((2, 1), (3, 4), (2, 1)), yes, no, strict=True)])
    together = evidence(2, 1, sum(yes), sum(no))
    want = 0.3 * together / (0.3 * together + 0.7 * alone)
    rule = NullStabilized(0.3)
    here = asked(study, bernoulli_data(yes, no))
    assert rule.null(here)[0] == pytest.approx(want, rel=1e-9)
    p = here.p_best()[0]
    np.testing.assert_allclose(rule.probabilities(here)[0], want / 3 + (1 - want) * p, rtol=1e-9)
    # Of two options left, the third's data say nothing.
    pair = evidence(2, 1, 5, 7) * evidence(2, 1, 3, 8)
    common = evidence(2, 1, 8, 15)
    left = asked(study, bernoulli_data(yes, no), feasible=np.array([[True, False, True]]))
    assert rule.null(left)[0] == pytest.approx(0.3 * common / (0.3 * common + 0.7 * pair), rel=1e-9)


def test_the_bayes_factor_is_that_of_each_history():
    study = Study(Decision("first", ["a", "b"]), Response("r", Bernoulli(), model=Saturated()),
                  Decision("second", {when(r=0): ["x", "y"], when(r=1): ["x"]}), Response("z", Bernoulli(), model=Saturated()), utility="z")
    rng = np.random.default_rng(5)
    shape = (3, 120)
    first, r = rng.integers(2, size=shape), rng.integers(2, size=shape).astype(float)
    second = np.where(r == 0, rng.integers(2, size=shape), 0)
    z = (rng.random(shape) < 0.3 + 0.3 * second).astype(float)
    z[:, ::9] = np.nan
    columns = {"first": first, "r": r, "second": second, "z": z}
    grid = np.array(list(itertools.product(range(3), (0, 1))))
    patient = {"first": grid[:, 1], "r": np.zeros(6)}
    got = NullStabilized(0.5).null(asked(study, columns, decision=1, trial=grid[:, 0], patient=patient))
    for (t, a), mine in zip(grid, got, strict=True):
        counts = [[int(((first[t] == a) & (r[t] == 0) & (second[t] == k) & (z[t] == v)).sum()) for v in (1, 0)] for k in (0, 1)]
        alone = np.prod([evidence(1, 1, *c) for c in counts])
        together = evidence(1, 1, *np.sum(counts, axis=0))
        assert mine == pytest.approx(together / (together + alone), rel=1e-9)
    responder = asked(study, columns, decision=1, patient={"first": np.zeros(3, dtype=int), "r": np.ones(3)}, feasible=np.array([[True, False]] * 3))
    np.testing.assert_array_equal(NullStabilized(0.5).probabilities(responder), [[1, 0]] * 3)
    # At the first decision an option is valued by what comes after, so the factor is approximated.
    assert bernoulli_arms(study, 0) is None and bernoulli_arms(study, 1).name == "z"


@pytest.mark.parametrize("study", [
    Study(Decision("arm", ["a", "b"]), Response("y", Bernoulli()), utility="y"),
    Study(Decision("arm", ["a", "b"]), Response("y", Normal(), model=Saturated()), utility="y"),
    Study(Decision("arm", ["a", "b"]), Response("y", Bernoulli(), model=Saturated()), utility=Utility("y", costs={"arm": {"a": 0.1}})),
    Study(Baseline("x", levels=["u", "v"]), Decision("arm", ["a", "b"]), Response("y", Bernoulli(), model=Saturated(over=["x"])), utility="y"),
    Study(Decision("arm", ["a", "b"]), Response("y", Bernoulli(), model=Saturated()), Response("t", Bernoulli(), model=Saturated()),
          utility=Utility({"y": 1, "t": -1})),
])
def test_where_no_single_probability_decides(study):
    assert bernoulli_arms(study, 0) is None


def test_the_normal_factor_by_quadrature():
    mean, variance, spread = np.array([0.3, 1.1, -0.4]), np.array([0.2, 0.3, 0.25]), 0.7
    line = np.linspace(-30, 30, 200_001)
    density = lambda total: np.exp(sum(stats.norm.logpdf(m, line, np.sqrt(v)) for m, v in zip(mean, total, strict=True)))  # noqa: E731
    want = np.log(np.trapezoid(density(variance), line) / np.trapezoid(density(variance + spread), line))
    assert normal_factor(mean[None], variance[None], np.array([spread]), THREE)[0] == pytest.approx(want, rel=1e-8)
    alone = normal_factor(np.array([[0.3, 0.0, -0.4]]), np.array([[0.2, 1.0, 0.25]]), np.array([spread]), np.array([[True, False, False]]))
    assert alone[0] == 0


def test_the_approximation_uses_one_patients_information():
    study = Study(Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y", scales={"y": 1})
    rng = np.random.default_rng(8)
    draws = rng.normal([0.0, 0.5], [0.1, 0.2], size=(1, 4096, 2))
    columns = {"arm": np.array([[0, 0, 1, 1, 1, 0]]), "y": np.array([[1.0, 2.0, 0.5, 1.5, np.nan, 0.0]])}
    here = asked(study, columns, draws=draws)
    mean, variance = draws.mean(axis=1), draws.std(axis=1, ddof=1) ** 2
    log_factor = normal_factor(mean, variance, np.array([(3 * variance[0, 0] + 2 * variance[0, 1]) / 2]), np.ones((1, 2), dtype=bool))[0]
    assert NullStabilized(0.5).null(here)[0] == pytest.approx(1 / (1 + np.exp(-log_factor)), rel=1e-12)
    told = normal_factor(mean, variance, np.array([4.0]), np.ones((1, 2), dtype=bool))[0]
    assert NullStabilized(0.5, effect=2.0).null(here)[0] == pytest.approx(1 / (1 + np.exp(-told)), rel=1e-12)


def test_limits_are_equal_and_thompson():
    here = asked(ARMS, bernoulli_data((5, 9, 3), (7, 4, 8)))
    np.testing.assert_allclose(NullStabilized(1).probabilities(here)[0], 1 / 3, rtol=1e-14)
    np.testing.assert_allclose(NullStabilized(0).probabilities(here), Thompson().probabilities(here), rtol=1e-14)
    # No data: the prior probability stays.
    empty = asked(ARMS, {"arm": np.full((1, 1), -1), "y": np.full((1, 1), np.nan)})
    assert NullStabilized(0.4).null(empty)[0] == pytest.approx(0.4, abs=1e-12)


@pytest.mark.parametrize("make, words", [
    (lambda: TopTwo(0), "above 0"),
    (lambda: TopTwo(1.5), "at most 1, got 1.5"),
    (lambda: TopTwo(floor=0.5).check(ARMS, "arm"), "1.5, above 1"),
    (lambda: NullStabilized(-0.1), "at least 0"),
    (lambda: NullStabilized(effect=0), "effect takes a number above 0"),
    (lambda: NullStabilized(floor=0.5).check(ARMS, "arm"), "1.5, above 1"),
    (lambda: check_together({"first": Thompson(level="sequence"), "second": Equal()}), "'second' by another rule"),
    (lambda: check_together({"first": Thompson(level="sequence"), "second": Thompson(0.5, level="sequence")}), "different rules of this kind"),
])
def test_refusals(make, words):
    with pytest.raises(TrialError, match=words):
        make()


def test_rules_that_go_together():
    check_together({"first": Thompson(level="sequence"), "second": Thompson(level="sequence")})
    check_together({"first": Thompson(), "second": Fixed({"a": 0.5, "b": 0.5})})
    assert NullStabilized(0.25, floor=0.1).text() == "null-stabilized, P(no difference) 0.25 a priori, floor 0.1"
