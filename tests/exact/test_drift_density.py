"""The whole density of a model with drifting periods against NumPy and SciPy, and every engine's answer from the same data."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st

import bayesdtr as dtr
from bayesdtr.data import read
from bayesdtr.model import compile_response, make_inputs
from bayesdtr.runtime import double_precision
from bayesdtr.study import Scale, from_json, to_json

PERIODS = ["1", "2", "3", "4"]
STUDY = dtr.Study(
    dtr.Baseline("block", levels=PERIODS, drift=True), dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Normal()), utility="y")
N = 30


def _at_random():
    compiled = compile_response(STUDY, "y")
    rng = np.random.default_rng(0)
    h = {"block": rng.integers(0, 4, N), "arm": rng.integers(0, 2, N)}
    inputs = make_inputs(compiled, h, None, {"y": Scale(2.0, 3.0)})
    with double_precision():
        u = {n: np.asarray(v) + 0.3 * rng.standard_normal(v.shape) for n, v in compiled.initial(inputs).items()}
    return compiled, h, inputs, u, rng.normal(2, 3, N)


def test_the_density_is_that_of_numpy_and_scipy():
    """Steps are Normal with 2.5 SDs of the response; the level in a period is the sum of the steps before it."""
    compiled, h, inputs, u, y = _at_random()
    with double_precision():
        p = {n: np.asarray(v) for n, v in compiled.constrain(u, inputs).items()}
        rows, prior = (np.asarray(v) for v in compiled.log_density(u, inputs, y))
    assert set(p) == {"intercept", "treatment", "drift", "tau", "sigma"}
    contrast = np.where(h["arm"] == 1, 1, -1) / np.sqrt(2)
    level = np.concatenate([[0.0], np.cumsum(p["drift"])])[h["block"]]
    np.testing.assert_allclose(rows, st.norm(p["intercept"] + contrast * p["treatment"][0] + level, p["sigma"]).logpdf(y), rtol=1e-10)
    half = lambda name, scale: np.log(2) + st.norm(0, scale).logpdf(p[name])  # noqa: E731
    wanted = (st.norm(2, 7.5).logpdf(p["intercept"]) + st.norm(0, p["tau"]).logpdf(p["treatment"]).sum() + half("tau", 1.5) + half("sigma", 3.0)
              + st.norm(0, 2.5 * 3.0).logpdf(p["drift"]).sum())
    jacobian = sum(float(np.log(p[n])) for n in ("tau", "sigma"))
    assert float(prior) == pytest.approx(wanted + jacobian, abs=1e-5)


def test_the_walk_is_latent_gaussian():
    compiled, _, inputs, u, y = _at_random()
    assert compiled.linear is not None
    assert compiled.linear.affine
    assert set(compiled.linear.latent) == {"intercept", "treatment", "drift"}
    with double_precision():
        rows = compiled.linear.rows(compiled.linear.eta(u, inputs), u, inputs, y)
        np.testing.assert_allclose(rows, compiled.log_density(u, inputs, y)[0], rtol=1e-10)
        moved = {**u, **{n: -1.3 * u[n] for n in compiled.linear.latent}}
        laws = {n: st.norm(np.asarray(mean), np.asarray(scale)) for n, (mean, scale) in compiled.linear.prior(u, inputs).items()}
        change = sum(float(np.sum(law.logpdf(moved[n]) - law.logpdf(u[n]))) for n, law in laws.items())
        assert float(compiled.log_density(moved, inputs, y)[1] - compiled.log_density(u, inputs, y)[1]) == pytest.approx(change, rel=1e-8)


def _frame(seed=3, n=200):
    rng = np.random.default_rng(seed)
    block, arm = np.arange(n) * 4 // n, rng.integers(0, 2, n)
    y = 0.5 * arm + 0.6 * (block >= 2) + rng.normal(size=n)
    return pd.DataFrame({"block": np.array(PERIODS)[block], "arm": np.array(["a", "b"])[arm], "y": y})


def _effect(draws):
    return draws["treatment"][..., 0] * np.sqrt(2)


def test_many_fits_are_single_fits():
    """By Laplace, among others, and by NUTS, which takes no approximation: the same effect and the same steps."""
    frames = [_frame(s) for s in (3, 4, 5)]
    many = dtr.fit_many(STUDY, frames, seed=1, draws=512)
    own = dtr.fit(STUDY, frames[1], seed=1, engine="nuts", draws=500, warmup=500, chains=2)
    drawn = own.draws("y")
    found = {n: v[1] for n, v in many.draws["y"].items()}
    for value in (_effect, lambda d: d["drift"].sum(axis=-1), lambda d: d["drift"][..., 1]):
        exact = np.asarray(value(drawn)).ravel()
        approximate = np.asarray(value(found))
        assert approximate.mean() == pytest.approx(exact.mean(), abs=0.25 * exact.std())
        assert approximate.std() == pytest.approx(exact.std(), rel=0.2)


def test_blocks_may_be_whole_numbers_in_the_data():
    frame = _frame()
    numbers = frame.assign(block=frame["block"].astype(int))
    text, number = (read(STUDY, f).history(["block"])["block"] for f in (frame, numbers))
    assert np.array_equal(text, number)
    assert set(text) == {0, 1, 2, 3}


def test_a_study_without_periods_is_saved_as_ever():
    assert '"drift":true' in to_json(STUDY)
    assert from_json(to_json(STUDY)) == STUDY
    plain = dtr.Study(dtr.Baseline("x"), dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Normal()), utility="y")
    assert "drift" not in to_json(plain)
    assert from_json(to_json(plain)) == plain
