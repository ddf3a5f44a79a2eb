"""Verdicts that must not be kind, and constants that must not be short."""

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayesdtr.decision import optimize
from bayesdtr.decision.world import World
from bayesdtr.gallery import adhd_smart
from bayesdtr.inference import PredictiveCheck, fit
from bayesdtr.inference.check import convergence, convergence_reasons, marked
from bayesdtr.model import compile_response, evaluate
from bayesdtr.study import Decision, Normal, Response, Saturated, Study


def dataset(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"theta": (("chain", "draw"), values)})


def test_draws_that_are_not_finite_fail():
    good = np.random.default_rng(0).normal(size=(4, 500))
    assert convergence_reasons(convergence(dataset(good), None))[0] == "ok"
    for where in (np.s_[:], np.s_[2], np.s_[0, 0]):
        bad = good.copy()
        bad[where] = np.nan
        status, reasons = convergence_reasons(convergence(dataset(bad), None))
        assert status == "fail" and "theta has draws that are not finite" in reasons[0]


def test_chains_that_disagree_fail():
    apart = np.random.default_rng(0).normal(size=(4, 500)) + np.arange(4)[:, None]
    assert convergence_reasons(convergence(dataset(apart), None))[0] == "fail"


def test_predictive_warnings_can_always_fire():
    """With many statistics the Bonferroni threshold falls below the smallest attainable tail, which must still count."""
    checks = [PredictiveCheck("y", f"s{i}", 0.0, 0.0, 1.0, 2 / 1001 if i == 0 else 0.5) for i in range(60)]
    assert [c.misfit for c in marked(checks, 1000)] == [True] + [False] * 59


def test_constants_of_compiled_graphs_have_64_bits():
    compiled = compile_response(adhd_smart.study, "performance")
    history = {n: np.zeros(4) for n in compiled.history} | {"first": np.array([0, 1, 0, 1]), "second": np.array([0, 0, 1, 1])}
    inputs = {n: history[n] if n in history else np.float64(n.endswith("::sd")) for n in compiled.inputs}
    draws = {p: np.zeros((1, *(len(compiled.coords[d]) for d in compiled.dims[p]))) for p in compiled.parameters}
    draws["tau"][:], draws["treatment"][:, 0], draws["sigma"][:] = 1.0, 1.0, 1.0
    np.testing.assert_allclose(evaluate(compiled, draws, inputs, "mean")[0], np.array([-1, 1, -1, 1]) / np.sqrt(2), rtol=1e-15)


def heavy(history):
    effect = pm.Normal("effect", 0, 1, shape=2)
    return pm.StudentT("m", nu=1.5, mu=effect[history.code("a")], sigma=pm.HalfNormal("scale", 1))


def test_heavy_tails_are_simulated_not_put_on_a_grid():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": ["p", "q"] * 40, "m": rng.standard_t(1.5, 80), "b": ["u", "u", "v", "v"] * 20})
    data["y"] = (data.b == "v") * 1.0 + rng.normal(size=80)
    study = Study(Decision("a", ["p", "q"]), Response("m", model=heavy), Decision("b", ["u", "v"]),
                  Response("y", Normal(), model=Saturated(over=["a", "b"])), utility="y")
    posterior = fit(study, data, seed=1, draws=200, warmup=300, progress=False)
    assert World.of(posterior).width("m") in (1, np.inf)
    watching = Study(Decision("a", ["p", "q"]), Response("m", model=heavy), Decision("b", ["u", "v"]), Response("y", Normal()), utility="y")
    regime = optimize(fit(watching, data, seed=1, draws=200, warmup=300, progress=False))
    assert regime.methods["a"].startswith("regression") and np.isfinite(regime.value_draws).all()
