"""Trials simulated by counts: the same trials as patient by patient, whatever is asked for beside them; P(best) and equivalence on short grids."""

import os

import designs
import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.runtime import allowed_threads
from bayesdtr.trial.analysis import Betas, analyst
from bayesdtr.trial.counting import applies, drawing, grid, line, run
from bayesdtr.trial.counting.values import CountedValues
from bayesdtr.trial.course import Course
from bayesdtr.trial.luck import uniforms
from bayesdtr.trial.nature import bind

IDS = np.arange(7, 31)
DRIFTING = dtr.Scenario("drifting", {"event": {"A": 0.3, "B": 0.5}}, drift=dtr.LinearDrift(0.8))


def followed(design, scenario, ids, *, seed, keep):
    engine = analyst(design.study, design.analysis, design.size, design.looks.count)
    return Course(design, bind(design, scenario), engine, ids, seed=seed, keep=keep).run()


CASES = {
    "three arms": (designs.three_arm(), designs.three_arm_truth(0.25, 0.2, 0.3)),
    "from the first patient": designs.two_arm(0.3, 0.5, dtr.Thompson("n/2N", floor=0.1, floor_rule="clip"), 40, range(1, 41)),
    "top two": designs.two_arm(0.3, 0.5, dtr.TopTwo(floor=0.1, ceiling=0.8), 100, range(20, 101, 20), 20, 2,
                               [dtr.Superiority(0.9), dtr.Futility(0.05, against="A", regime="B")]),
    "burn-in cut in a block": designs.two_arm(0.3, 0.5, dtr.Thompson(0.5, floor=0.1), 90, [30, 50, 70], 13, 6,
                                              [dtr.Superiority(0.97, binding=False)]),
    "fixed": designs.two_arm(0.3, 0.5, dtr.Fixed({"A": 0.4, "B": 0.6}), 100, range(20, 101, 20), 0),
    "drift": (designs.two_arm(0.3, 0.5, dtr.Thompson(), 120, [30, 60, 90], 30, None, [dtr.Equivalence(0.5, margin=0.2)])[0], DRIFTING),
}


@pytest.mark.parametrize("name", CASES)
def test_counted_and_followed_trials_are_the_same(name):
    design, scenario = CASES[name]
    assert applies(design, scenario, "looks") and not applies(design, scenario, "patients")
    for this in (design, design.equal):
        counted, wanted = run(this, scenario, IDS, seed=4, keep="looks"), followed(this, scenario, IDS, seed=4, keep="looks")
        assert counted.keys() == wanted.keys()
        for field, value in wanted.items():
            assert counted[field].dtype == value.dtype and counted[field].shape == value.shape, field
            if value.dtype.kind == "f":
                np.testing.assert_allclose(counted[field], value, rtol=0, atol=1e-7, err_msg=field)
            else:
                np.testing.assert_array_equal(counted[field], value, err_msg=field)


def test_a_replicate_does_not_depend_on_the_others_to_the_last_bit():
    design, scenario = designs.three_arm(), designs.three_arm_truth(0.25, 0.2, 0.3)
    ids = np.arange(1300)
    together = run(design, scenario, ids, seed=9, keep="looks")
    order = np.random.default_rng(0).permutation(ids)
    shuffled = run(design, scenario, order, seed=9, keep="looks")
    some = run(design, scenario, np.array([1203, 5]), seed=9, keep="looks")
    for field, value in together.items():
        np.testing.assert_array_equal(shuffled[field], value[order], err_msg=field)
        np.testing.assert_array_equal(some[field], value[[1203, 5]], err_msg=field)


def test_a_task_of_a_worker_keeps_one_thread_busy(monkeypatch):
    distributed = pytest.importorskip("distributed")
    assert allowed_threads() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(distributed, "get_worker", lambda: "one")
    assert allowed_threads() == 1


def test_patients_are_drawn_with_the_numbers_of_luck():
    ids = np.array([3, 70, 12])
    u = uniforms(11, ids, "assignment", (500, 1))[:, :, 0]
    y = uniforms(11, ids, "response:event", (500,))
    words = [drawing.keys(11, p, ids) for p in ("assignment", "response:event")]
    pi = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]])
    mean = np.linspace(0.2, 0.8, 1500).reshape(500, 3)
    found = drawing.free(*words, pi, drawing.thresholds(1 - mean), 130, 190, 100)
    for t in range(3):
        option = np.minimum((np.cumsum(pi[t]) <= u[t, 130:190, None]).sum(axis=1), pi[t].nonzero()[0][-1])
        good = y[t, 130:190] >= 1 - mean[np.arange(130, 190), option]
        assert found[:, t].tolist() == [(option == k).sum() for k in range(3)] + [((option == k) & good).sum() for k in range(3)]


@pytest.mark.parametrize(("low", "high", "arms", "margin"), [(100, 700, 3, 0.05), (0, 20, 2, 0.1), (0, 148, 2, 0.1), (20, 200, 2, 0.05),
                                                           (5, 1000, 4, 0.05)])
def test_short_grids_have_the_probabilities_of_adaptive_panels(low, high, arms, margin):
    rng = np.random.default_rng(low + arms)
    n = rng.integers(low, high, (arms, 1024))
    y = rng.binomial(n, np.clip(rng.uniform(0.02, 0.98, 1024) + rng.normal(size=n.shape) * 0.05, 0, 1))
    active = rng.random(n.shape) < 0.8
    active[0] |= ~active.any(axis=0)
    a, b = 1.0 + y, 1.0 + n - y
    exact = Betas(a.T, b.T)
    assert grid.best(a, b, active) == pytest.approx(exact.p_best(active.T)[0].T, abs=3e-8)
    assert grid.within(a, b, active, margin) == pytest.approx(exact.within(margin, active.T), abs=3e-8)
    best, within, found = line.best_and_within(a, b, active, margin)
    smooth = np.where(active, np.minimum(a, b), np.inf).min(axis=0) >= line.SMOOTH
    assert not (found & ~smooth).any() and found.sum() >= 0.95 * smooth.sum()
    assert best[:, found] == pytest.approx(exact.p_best(active.T)[0].T[:, found], abs=3e-8)
    assert within[found] == pytest.approx(exact.within(margin, active.T)[found], abs=3e-8)


@pytest.mark.parametrize("weight", [1.0, -2.0])
@pytest.mark.parametrize("margin", [None, 0.05, 0.1, 1.5])
def test_values_are_those_of_betas_whichever_grid_they_take(weight, margin):
    rng = np.random.default_rng(3)
    n = np.exp(rng.uniform(0, 7, (1200, 3))).astype(int)
    y = rng.binomial(n, np.clip(rng.uniform(0.05, 0.95, (1200, 1)) + rng.normal(size=n.shape) * 0.05, 0, 1))
    few = rng.random(n.shape) < 0.7
    few[:, 0] |= ~few.any(axis=1)
    made, exact = CountedValues(1.0 + y, 1.0 + n - y, weight, margin), Betas(1.0 + y, 1.0 + n - y, weight)
    first, second = made.p_best()[0], made.p_best(few)[0]
    assert first == pytest.approx(exact.p_best()[0], abs=3e-8) and second == pytest.approx(exact.p_best(few)[0], abs=3e-8)
    for asked in (0.1, 0.05, 2.5):
        for active in (few, None):
            assert made.within(asked, active) == pytest.approx(exact.within(asked, active), abs=3e-8)
    # What is asked before, of whom, and beside whom makes no difference to the last bit.
    index = rng.permutation(1200)[:700]
    fresh = CountedValues(1.0 + y[index], 1.0 + n[index] - y[index], weight, margin)
    assert (made.take(index).p_best(few[index])[0] == second[index]).all() and (fresh.p_best(few[index])[0] == second[index]).all()
    assert (fresh.within(0.1, few[index]) == made.within(0.1, few)[index]).all() and (made.p_best()[0] == first).all()


def test_published_probabilities():
    a, b = np.array([[30.0], [41], [35]]), np.array([[30.0], [20], [27]])
    assert grid.best(a, b, np.ones((3, 1), bool))[:, 0] == pytest.approx([0.01796526, 0.8788907, 0.1031441], abs=1e-7)


def test_trials_that_are_not_counted():
    design, scenario = designs.two_arm(0.3, 0.5, dtr.Thompson(), 40, [20], 10)
    assert applies(design, scenario)
    with_ = lambda **more: dtr.TrialDesign(designs.arms_study(), **({"size": 40, "looks": [20], "allocation": dtr.Thompson()} | more))  # noqa: E731
    refused = [
        with_(burn_in=30),
        with_(allocation=dtr.PermutedBlock()),
        with_(calendar=dtr.Calendar(dtr.PoissonAccrual(2.0))),
        with_(stopping=[dtr.SuccessProbability(0.1, success=0.95)]),
        with_(analysis=dtr.Analysis(engine="nuts")),
        with_(allocation=dtr.Thompson(control="A", protect="matched")),
    ]
    assert not any(applies(d, scenario) for d in refused)
    assert not applies(design, dtr.Scenario("x", {"event": {"A": 0.3, "B": 0.5}}, dropout=dtr.Dropout(rate=0.1)))
