"""Simulated trials: few true interactions among many, and an effect that is no straight line."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr import Baseline, Decision, Hierarchical, Normal, Response, Study, fit, optimize

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")]
SETTINGS = {"seed": 1, "draws": 500, "warmup": 500, "progress": False}


def test_sparse_interactions():
    """20 covariates of which two modify the effect (.6 and -.5 per SD): the horseshoe is nearer to the truth than one common scale."""
    rng = np.random.default_rng(1)
    n, names = 400, [f"x{i}" for i in range(20)]
    x, arm = rng.standard_normal((n, 20)), rng.integers(0, 2, n)
    y = 0.3 * x[:, 0] + np.where(arm == 1, 1, -1) * (0.1 + 0.6 * x[:, 0] - 0.5 * x[:, 1]) + rng.standard_normal(n)
    frame = pd.DataFrame(x, columns=names).assign(arm=np.array(["a", "b"])[arm], y=y)
    truth, error = np.r_[0.6, -0.5, np.zeros(18)], {}
    for kind in ("normal", "auto", "r2d2"):
        study = Study(*map(Baseline, names), Decision("arm", ["a", "b"]), Response("y", Normal(), model=Hierarchical(interactions=kind)), utility="y",
                      scales={name: (0.0, 1.0) for name in ("y", *names)})
        posterior = fit(study, frame, **SETTINGS)
        assert posterior.verdict.status != "fail"
        draws = posterior.draws("y")["interaction"] / np.sqrt(2)  # contrasts are orthonormal: half a difference is the coefficient over root 2
        error[kind] = np.sqrt(((draws.mean(axis=0) - truth) ** 2).mean())
        assert (np.abs(draws[:, :2].mean(axis=0) - truth[:2]) < 4 * draws[:, :2].std(axis=0)).all()
    assert error["auto"] < 0.75 * error["normal"]
    assert error["r2d2"] < error["normal"]


def test_a_smooth_effect():
    """The effect of the arm is cos(pi x / 1.5) on (-2, 2), which no straight line follows: regret of the rule under both models."""
    rng = np.random.default_rng(4)
    x, arm = rng.uniform(-2, 2, 500), rng.integers(0, 2, 500)
    y = 0.5 * x + arm * np.cos(np.pi * x / 1.5) + rng.standard_normal(500)
    frame = pd.DataFrame({"x": x, "arm": np.array(["no", "yes"])[arm], "y": y})
    grid = np.linspace(-2, 2, 401)
    effect, regret = np.cos(np.pi * grid / 1.5), {}
    for name, model in (("linear", Hierarchical()), ("smooth", Hierarchical(covariates="s(x)", modifiers="s(x)"))):
        study = Study(Baseline("x"), Decision("arm", ["no", "yes"]), Response("y", Normal(), model=model), utility="y")
        posterior = fit(study, frame, **SETTINGS)
        assert posterior.verdict.status != "fail"
        chosen = optimize(posterior).recommend(pd.DataFrame({"x": grid}))["option"] == "yes"
        regret[name] = np.mean(np.maximum(effect, 0) - effect * chosen)
    assert regret["smooth"] < 0.03 < regret["linear"]
