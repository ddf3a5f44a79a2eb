"""Continuous histories with known parameters: quadrature and regression against the exact optimal rules."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from bayesdtr import Baseline, Decision, Response, Study, fit, optimize
from bayesdtr.simulators import nonlinear_two_stage, polle_two_stage

FRESH = 20_000
REGRET = 1e-3


def polle_c2(history):
    return pm.Normal("c2", 0.5 * history["l1"] + history.code("first"), 1.0)


def polle_u(history):
    return pm.Normal("u", history["l1"] + history.code("first") * history["c1"] + history.code("second") * history["c2"], np.sqrt(2.0))


def nonlinear_x3(history):
    return pm.Normal("x3", 0.5 * history["x1"] + 0.8 * (history.code("first") - 0.5) * history["x2"], 0.5)


def nonlinear_y(history):
    x1, x2, x3 = history["x1"], history["x2"], history["x3"]
    mean = 1 + pt.sin(np.pi * x1) + 0.3 * x3 + history.code("first") * (0.5 * x2**2 - 0.2)
    return pm.Normal("y", mean + 1.5 * history.code("second") * (x3 - 0.3 * pt.cast(pt.gt(x1, 0), "float64")), 1.0)


POLLE = Study(
    Baseline("l1"), Baseline("c1"), Decision("first", ["no", "yes"], assigned="observed"), Response("c2", model=polle_c2),
    Decision("second", ["no", "yes"], assigned="observed"), Response("u", model=polle_u), utility="u",
)
NONLINEAR = Study(
    Baseline("x1"), Baseline("x2"), Decision("first", ["no", "yes"]), Response("x3", model=nonlinear_x3),
    Decision("second", ["no", "yes"]), Response("y", model=nonlinear_y), utility="y",
)
BEDS = {"polle": (POLLE, polle_two_stage, 1.449062), "nonlinear": (NONLINEAR, nonlinear_two_stage, 1.419962)}


@pytest.fixture(scope="module")
def posteriors():
    # The patients only lend their covariates: nothing is estimated.
    return {name: fit(study, simulator.simulate(2000, seed=5), seed=1) for name, (study, simulator, _) in BEDS.items()}


def policy_of(regime, decision):
    return {decision: lambda frame: regime.recommend(frame)["option"].to_numpy(dtype=object)}


@pytest.mark.parametrize("method", ["tree", "regression"])
@pytest.mark.parametrize("name", BEDS)
def test_rules_and_values(posteriors, name, method):
    _, simulator, printed = BEDS[name]
    regime = optimize(posteriors[name], method=method)
    best = simulator.truth().optimal
    assert best.value == pytest.approx(printed, abs=1e-6)
    policy = policy_of(regime, "first") | policy_of(regime, "second")
    # Common random numbers: where both rules agree the difference is exactly 0, so its SE is small. Where they
    # differ, outcomes differ by their true effects, without noise.
    followed = simulator.simulate(FRESH, seed=77, policy=policy)
    optimal = simulator.simulate(FRESH, seed=77, policy=best.policy)
    utility = followed.columns[-1]
    loss = (optimal[utility] - followed[utility]).to_numpy()
    error = loss.std() / np.sqrt(FRESH)
    print(f"{name} {method}: regret {loss.mean():.2e} +- {error:.1e}, value {followed[utility].mean():.4f} against {best.value:.4f}")
    assert loss.mean() <= REGRET
    assert abs(followed[utility].mean() - best.value) <= 4 * followed[utility].std() / np.sqrt(FRESH) + REGRET
