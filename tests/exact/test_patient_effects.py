"""A patient's own effect shared by responses: integrals against SciPy, predictions that learn from the patient, weights of draws."""

import arviz_stats as azs
import jax
import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import halfnorm, norm

from bayesdtr import Baseline, Bernoulli, Decision, InferenceError, Normal, Poisson, Response, Saturated, Study, StudyError, compare, fit, optimize
from bayesdtr.data import fix_scales, read
from bayesdtr.decision import value_of_information
from bayesdtr.decision.induction import committed, grow, own_histories, solve
from bayesdtr.decision.world import Rows, World
from bayesdtr.inference import leave_one_out, log_likelihood
from bayesdtr.inference.fit import blocks_of
from bayesdtr.inference.loo import refitted_density
from bayesdtr.inference.prior import prior_draws
from bayesdtr.model import compile_response, evaluate, evaluate_paired, make_inputs
from bayesdtr.runtime import double_precision
from bayesdtr.study import from_json, to_json

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def sick(history):
    """P(x = 1) = expit(1.5 u)."""
    return pm.Bernoulli("x", logit_p=1.5 * history.patient_effect)


def gain(history):
    """The second decision's effect is .3 u - .02."""
    return pm.Normal("y", history.code("second") * (0.3 * history.patient_effect - 0.02), 1.0)


FRAILTY = Study(
    Decision("first", ["start"]), Response("x", Bernoulli(), model=sick), Decision("second", ["keep", "treat"]), Response("y", Normal(), model=gain),
    utility="y", patient_effects=["x", "y"],
)
TWO = Study(
    Baseline("age"), Decision("first", ["a", "b"]), Response("r", Bernoulli()), Decision("second", ["c", "d"]), Response("y", Normal()),
    utility="y", patient_effects=["y", "r"], scales={"y": (0.0, 1.0), "age": (0.0, 1.0)},
)


def two_data(n: int, seed: int, tilt: float = 1.2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    u, age, first, second = rng.standard_normal(n), rng.standard_normal(n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    r = (rng.random(n) < expit(2 * u)).astype(float)
    y = 0.5 * u + (2 * second - 1) * tilt * u / 2 + rng.normal(0, 0.5, n)
    return pd.DataFrame({"age": age, "first": np.array(["a", "b"])[first], "r": r, "second": np.array(["c", "d"])[second], "y": y})


def test_frailty_truth():
    """Known parameters: gain 0 for a rule that ignores the history, .0695 with it, .1099 were the effect known."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"first": "start", "x": rng.integers(0, 2, 60), "second": rng.choice(["keep", "treat"], 60), "y": rng.normal(size=60)})
    posterior = fit(FRAILTY, frame, seed=1, progress=False)
    regime, table = optimize(posterior), compare(posterior)
    mean = quad(lambda u: norm.pdf(u) * u * expit(1.5 * u), -9, 9)[0] / 0.5
    assert max(0.0, 0.3 * mean - 0.02) / 2 == pytest.approx(0.0695, abs=1e-4)
    assert regime.value().mean == pytest.approx(max(0.0, 0.3 * mean - 0.02) / 2, abs=1e-9)
    fixed = {row.rules.label: row.value.mean for row in table.rows}
    assert max(fixed["keep"], fixed["treat"]) == pytest.approx(0.0, abs=1e-12)
    assert fixed["treat"] == pytest.approx(-0.02, abs=1e-9)
    assert quad(lambda u: norm.pdf(u) * max(0.0, 0.3 * u - 0.02), -9, 9, points=[0.02 / 0.3])[0] == pytest.approx(0.1099, abs=1e-4)


@pytest.fixture(scope="module")
def block():
    trajectories = read(TWO, two_data(12, 4))
    (made,) = blocks_of(TWO, trajectories, fix_scales(TWO, trajectories))
    return made


def parameters_at(block, seed: int):
    rng = np.random.default_rng(seed)
    with double_precision():
        u = {n: np.asarray(v) + 0.4 * rng.standard_normal(v.shape) for n, v in block.compiled.initial(block.inputs).items()}
        return u, {n: np.asarray(v) for n, v in block.compiled.constrain(u, block.inputs).items()}


def predictors(p: dict, frame: pd.DataFrame):
    """Level and slope in the patient's effect of both predictors, literally."""
    root = np.sqrt(0.5)
    first, second = (np.where(frame[n] == o, root, -root) for n, o in (("first", "b"), ("second", "d")))
    age = frame["age"].to_numpy()
    eta_r = p["r::intercept"] + p["r::beta"][0] * age + p["r::treatment"][0] * first + p["r::interaction"][0] * first * age
    columns = np.column_stack([first * age, second * age])
    eta_y = p["y::intercept"] + p["y::beta"][0] * age + np.column_stack([first, second]) @ p["y::treatment"]
    eta_y = eta_y + columns @ p["y::interaction"] + p["y::combination"][0] * second * first
    slope_r = p["r::patient_effect"] + p["r::patient_effect_treatment"][0] * first
    return eta_r, slope_r, eta_y, p["y::patient_effect"] + p["y::patient_effect_treatment"][0] * second


GRID = np.linspace(-150, 150, 3_000_001)
"""Of the effect: steps of 1e-4, far finer than any peak here, so that plain sums are exact; wide enough for outcomes nobody expects."""


def log_integral_of(p, frame, i, *, last=True):
    """Log of one patient's likelihood with the effect summed over a fine grid; with the first response alone where `last` is false."""
    eta_r, slope_r, eta_y, slope_y = (v[i] for v in predictors(p, frame))
    total = norm.logpdf(GRID) + log_expit((2 * frame["r"][i] - 1) * (eta_r + slope_r * GRID))
    if last:
        total += norm.logpdf(frame["y"][i], eta_y + slope_y * GRID, p["y::sigma"])
    return logsumexp(total) + np.log(GRID[1] - GRID[0])


@pytest.mark.parametrize("sigma", [None, 0.02])
def test_the_joint_density_is_the_integral(block, sigma):
    """Also where the residual SD is so small that a patient's likelihood is a peak narrower than any fixed nodes lie apart."""
    u, p = parameters_at(block, 0)
    if sigma:
        u["y::sigma_log__"], p["y::sigma"] = np.log(sigma), sigma
    frame = two_data(12, 4)
    weight = block.weight.copy()
    weight[1, :3] = 0.0  # without the last response
    with double_precision():
        rows = np.asarray(block.compiled.log_density(u, block.inputs, block.y, weight)[0])
    for i in range(12):
        assert rows[i] == pytest.approx(log_integral_of(p, frame, i, last=i >= 3), abs=1e-7)


def test_slopes_of_the_joint_density(block):
    """Nodes move with the parameters and are constants to derivatives: the slope is that of the integral all the same."""
    u, _ = parameters_at(block, 0)
    u["y::sigma_log__"] = np.log(0.05)
    with double_precision():
        of = jax.jit(lambda u: block.compiled.potential(u, block.inputs, block.y, block.weight))
        slopes = jax.grad(of)(u)
        for name in ("y::sigma_log__", "r::intercept"):
            h = 1e-5
            numeric = (of({**u, name: u[name] + h}) - of({**u, name: u[name] - h})) / (2 * h)
            assert float(slopes[name]) == pytest.approx(float(numeric), rel=1e-5)


def test_the_density_of_an_outcome_given_the_own_history(block):
    _, p = parameters_at(block, 1)
    p["y::sigma"] = np.float64(0.02)
    frame, compiled = two_data(12, 4), compile_response(TWO, "y")
    draws = {n: (p[f"y::{n}"] if "::" not in n else p[n])[None] for n in compiled.parameters}
    trajectories = read(TWO, frame)
    inputs = make_inputs(compiled, trajectories.history(compiled.history), None, fix_scales(TWO, trajectories))
    found = evaluate(compiled, draws, inputs, "log_density", frame["y"].to_numpy())[0]
    for i in range(12):
        assert found[i] == pytest.approx(log_integral_of(p, frame, i) - log_integral_of(p, frame, i, last=False), abs=1e-7)


def test_predictions_condition_on_the_own_history(block):
    _, p = parameters_at(block, 1)
    frame = two_data(12, 4)
    eta_r, slope_r, eta_y, slope_y = predictors(p, frame)
    compiled = compile_response(TWO, "y")
    assert compiled.parameters[-1].startswith("r::") and "r" in compiled.uses
    draws = {n: (p[f"y::{n}"] if "::" not in n else p[n])[None] for n in compiled.parameters}
    trajectories = read(TWO, frame)
    inputs = make_inputs(compiled, trajectories.history(compiled.history), None, fix_scales(TWO, trajectories))
    moments = evaluate(compiled, draws, inputs, "moments")[0]
    density = evaluate(compiled, draws, inputs, "density", np.full((12, 1), 0.3))[0, :, 0]
    uniforms = np.tile((np.arange(4000) + 0.5) / 4000, (12, 1)).T
    many = {n: np.repeat(v, 4000, axis=0) for n, v in draws.items()}
    rows = {n: np.broadcast_to(v, (4000, *v.shape)) if v.ndim else v for n, v in inputs.items()}
    drawn = evaluate_paired(compiled, many, rows, "sample", uniforms)
    for i in range(12):
        def prior(z, i=i):
            s = expit(eta_r[i] + slope_r[i] * z)
            return norm.pdf(z) * (s if frame["r"][i] else 1 - s)

        total = quad(prior, -9, 9)[0]
        mean = eta_y[i] + slope_y[i] * quad(lambda z: prior(z) * z, -9, 9)[0] / total
        square = quad(lambda z, i=i: prior(z) * (eta_y[i] + slope_y[i] * z) ** 2, -9, 9)[0] / total
        assert moments[i, 0] == pytest.approx(mean, abs=1e-8)
        assert moments[i, 1] == pytest.approx(np.sqrt(square - mean**2 + p["y::sigma"] ** 2), abs=1e-8)
        expected = quad(lambda z, i=i: prior(z) * norm.pdf(0.3, eta_y[i] + slope_y[i] * z, p["y::sigma"]), -9, 9)[0] / total
        assert density[i] == pytest.approx(expected, abs=1e-8)
        # A uniform grid of the uniform number is nearly exact: each node has its part of the grid.
        np.testing.assert_allclose([drawn[:, i].mean(), drawn[:, i].std()], moments[i], atol=0.02)


LINKED = {
    key: Study(Decision("first", ["a", "b"]), Response("r", Bernoulli()), Decision("second", ["a", "b"]), Response("y", Bernoulli()), utility="y",
               **{key: ["r", "y"]})
    for key in ("patient_effects", "pool_stages")
}


@pytest.fixture(scope="module", params=list(LINKED))
def few(request):
    """A posterior of eight very different draws."""
    return made_up(LINKED[request.param], 8, 1.5)


def made_up(study, size, sd):
    """A posterior of any draws, and its block."""
    rng = np.random.default_rng(5)
    columns = {n: rng.choice(["a", "b"], 40) if n in ("first", "second") else rng.integers(0, 2, 40) for n in study.names}
    frame = pd.DataFrame(columns)
    trajectories = read(study, frame)
    (block,) = blocks_of(study, trajectories, {})
    with double_precision():
        shapes = {n: np.shape(a) for n, a in block.compiled.constrain(block.compiled.initial(block.inputs), block.inputs).items()}
    values = {n: rng.normal(0, sd, (1, size, *shape)) for n, shape in shapes.items()}
    draws = {r: {n.removeprefix(f"{r}::"): np.abs(v) if "tau" in n or n == "r::patient_effect" else v for n, v in values.items() if n.startswith(r)}
             for r in ("r", "y")}
    return known.posterior_with(study, draws, frame), block


def test_draws_are_weighed_by_the_own_history(few):
    """The committed rule and values at a later decision, against sums over draws and paths written out."""
    posterior, _ = few
    world = World.of(posterior)
    p_r = world.look("r", Rows({"first": np.array([0, 1])}, None, 2), "mean")
    cells = [(a, r, s) for a in (0, 1) for r in (0, 1) for s in (0, 1)]
    columns = {n: np.array([c[k] for c in cells], dtype=float if n == "r" else int) for k, n in enumerate(("first", "r", "second"))}
    p_y = dict(zip(cells, world.look("y", Rows(columns, None, 8), "mean").T, strict=True))
    value = {}
    for a in (0, 1):
        for r in (0, 1):
            w = p_r[:, a] if r else 1 - p_r[:, a]
            value[a, r] = [float((w * p_y[a, r, s]).sum() / w.sum()) for s in (0, 1)]
    rows = Rows({"first": np.array([0, 0, 1, 1]), "r": np.array([0.0, 1.0, 0.0, 1.0])}, None, 4)
    (answer,) = solve(world, 1, rows, [committed])
    np.testing.assert_allclose(answer.qbar, [value[a, r] for a in (0, 1) for r in (0, 1)], rtol=1e-9)
    (start,) = solve(world, 0, Rows({}, None, 1), [committed])
    total = [np.mean(p_r[:, a]) * max(value[a, 1]) + np.mean(1 - p_r[:, a]) * max(value[a, 0]) for a in (0, 1)]
    np.testing.assert_allclose(start.qbar[0], total, rtol=1e-9)
    # The committed rule's value averaged over draws is what it promises: E before max, along the whole tree.
    np.testing.assert_allclose(start.values[0].mean(axis=0)[0], total, rtol=1e-9)
    found = value_of_information(posterior)
    likely = {(a, r): p_r[:, a] if r else 1 - p_r[:, a] for a in (0, 1) for r in (0, 1)}
    informed = [sum(likely[a, r] * np.maximum(p_y[a, r, 0], p_y[a, r, 1]) for r in (0, 1)) for a in (0, 1)]
    np.testing.assert_allclose(found.values, [np.max(informed, axis=0).mean(), max(v.mean() for v in informed), max(total)], rtol=1e-9)
    root = grow(world, 0, Rows({}, None, 1))
    second = root.child.child
    own = own_histories(world, root)[id(second)]
    at = second.rows.columns
    np.testing.assert_allclose(own, np.stack([likely[a, r] / likely[a, r].mean() for a, r in zip(at["first"], at["r"], strict=True)], axis=1))
    plain = [[float(p_y[a, r, s].mean()) for s in (0, 1)] for a in (0, 1) for r in (0, 1)]
    assert np.abs(np.array(plain) - answer.qbar).max() > 0.02  # equal weights would say something else


@pytest.mark.parametrize("name", LINKED)
def test_responses_that_share_parameters_are_left_out_together(name):
    """By the joint density of all that was observed of a patient."""
    posterior, _ = made_up(LINKED[name], 400, 0.2)
    joint = log_likelihood(posterior, "r") + log_likelihood(posterior, "y")
    found = leave_one_out(posterior)
    assert list(found.elpd) == ["r and y"] and found.high() == 0
    harmonic = np.log(400) - logsumexp(-joint, axis=0)  # before smoothing, which moves little where weights vary little
    moved = np.abs(found.elpd["r and y"] - harmonic).max()
    apart = sum(np.log(400) - logsumexp(-log_likelihood(posterior, n), axis=0) for n in ("r", "y"))
    assert moved < 0.02 and np.abs(apart - harmonic).max() > 3 * moved


def test_the_prior_of_responses_that_share_parameters():
    """Drawn with every patient's weight 0: intercepts are Normal(0, 1.5), whatever the data."""
    posterior, _ = made_up(LINKED["pool_stages"], 8, 1.5)
    drawn = prior_draws(posterior, seed=2, draws=400, warmup=300, chains=2)
    for name in ("r", "y"):
        intercept = xr.DataArray(drawn[name]["intercept"].reshape(2, 400), dims=("chain", "draw"))
        assert abs(float(intercept.mean())) < 4 * float(azs.mcse(intercept, method="mean"))
        assert abs(float(intercept.std()) - 1.5) < 4 * float(azs.mcse(intercept, method="sd"))
        assert set(drawn[name]) == set(posterior.compiled(name).parameters)


def test_pooled_stages():
    """Joint density of a pooled study: contrasts common to both stages, counted once in the prior."""
    study = LINKED["pool_stages"]
    frame = pd.DataFrame({"first": list("abab"), "r": [0, 1, 1, 0], "second": list("aabb"), "y": [1, 0, 1, 1]})
    (block,) = blocks_of(study, read(study, frame), {})
    u, p = parameters_at(block, 3)
    root = np.sqrt(0.5)
    first, second = (np.where(frame[n] == "b", root, -root) for n in ("first", "second"))
    r = 2 * frame["r"].to_numpy() - 1
    common = p["r::pooled_treatment"][0]
    eta_r = p["r::intercept"] + (p["r::treatment"][0] + common) * first
    eta_y = p["y::intercept"] + p["y::beta"][0] * r + p["y::treatment"][0] * first + (p["y::treatment"][1] + common) * second
    eta_y += np.column_stack([first * r, second * r]) @ p["y::interaction"] + p["y::combination"][0] * second * first
    with double_precision():
        rows, prior = (np.asarray(v) for v in block.compiled.log_density(u, block.inputs, block.y, block.weight))
    logs = [np.log(np.where(frame[n] == 1, expit(eta), expit(-eta))) for n, eta in (("r", eta_r), ("y", eta_y))]
    np.testing.assert_allclose(rows, sum(logs), rtol=1e-9)
    scales = {"r::tau": 0.5, "r::tau_pooled": 0.5, "y::tau": 0.5, "y::tau_interaction": 0.25, "y::tau_combination": 1.0}
    expected = sum(halfnorm.logpdf(p[n], scale=s) + np.log(p[n]) for n, s in scales.items())  # with the Jacobian of the logarithm
    for n, s in (("r::intercept", 1.5), ("y::intercept", 1.5), ("y::beta", 1.0), ("r::treatment", p["r::tau"]),
                 ("y::treatment", p["y::tau"]), ("y::interaction", p["y::tau_interaction"]),
                 ("y::combination", p["y::tau_combination"]), ("r::pooled_treatment", p["r::tau_pooled"])):
        expected += norm.logpdf(p[n], 0, s).sum()
    assert set(p) == {*scales, "r::intercept", "y::intercept", "y::beta", "r::treatment", "y::treatment", "y::interaction", "y::combination",
                      "r::pooled_treatment"}
    assert float(prior) == pytest.approx(expected, abs=1e-5)
    assert "+ tau_pooled, common to r, y: second[b vs a]" in str(study) and from_json(to_json(study)) == study


@pytest.mark.slow
def test_pooled_stages_learn_from_one_another():
    """With the same effect at both stages and few patients at the second, pooling narrows the second stage's contrast."""
    rng = np.random.default_rng(2)
    n = 400
    first, second = rng.integers(0, 2, n), rng.integers(0, 2, n)
    r = (rng.random(n) < expit(1.0 * (2 * first - 1))).astype(float)
    y = (rng.random(n) < expit(1.0 * (2 * second - 1))).astype(float)
    frame = pd.DataFrame({"first": np.array(["a", "b"])[first], "r": r, "second": np.array(["a", "b"])[second], "y": y})
    frame.loc[30:, "second"] = None
    frame.loc[30:, "y"] = np.nan
    spread = {}
    for pooled in ([], ["r", "y"]):
        study = Study(*LINKED["pool_stages"].timeline, utility="y", pool_stages=pooled)
        posterior = fit(study, frame, seed=1, draws=500, warmup=500, progress=False)
        effect = posterior.draws("y")["treatment"][:, 1] + (posterior.draws("y")["r::pooled_treatment"][:, 0] if pooled else 0.0)
        draws = xr.DataArray(effect.reshape(posterior.shape), dims=("chain", "draw"))
        spread[bool(pooled)] = effect.std(), float(azs.mcse(draws, method="sd"))
        assert abs(effect.mean() - np.sqrt(2)) < 3 * effect.std()
    (narrow, one), (wide, other) = spread[True], spread[False]
    assert narrow < wide - 4 * np.hypot(one, other)


@pytest.mark.slow
def test_fit_recovers_and_uses_the_effect():
    """The contrast of the second decision rises with the effect: patients who responded gain, the others lose.

    By 1.2 where the data were made; by .983 (standard error .087) in these data, the maximum of the likelihood with the effect summed out on
    801 points, towards which the prior pulls from below.
    """
    posterior = fit(TWO, two_data(400, 8), seed=3, draws=500, warmup=500, progress=False)
    assert posterior.verdict.status != "fail"
    tilt = posterior.draws("y")["patient_effect_treatment"][:, 0] * np.sqrt(2)
    assert abs(tilt.mean() - 0.983) < 1.5 * tilt.std() and tilt.std() == pytest.approx(0.087, rel=0.3)
    regime = optimize(posterior)
    told = regime.recommend(pd.DataFrame({"age": [0.0, 0.0], "first": ["a", "a"], "r": [0, 1]}))
    assert told["option"].tolist() == ["c", "d"]
    left = leave_one_out(posterior)
    assert left.high() == 0
    row = int(left.elpd["r and y"].argmin())
    # Both estimates average a patient's density over some 1,000 effective draws, whose spread relative to its mean is of order one.
    assert refitted_density(posterior, ("r", "y"), row) == pytest.approx(left.elpd["r and y"][row], abs=4 * np.sqrt(2 / 1000))


def test_declaration_and_file():
    assert from_json(to_json(TWO)) == TWO and TWO.patient_effects == ("r", "y")
    text = str(TWO)
    assert "y ~ Normal(eta, sigma)" in text and "patient's effect × (patient_effect + patient_effect_treatment × second[d vs c])" in text
    assert max(map(len, text.splitlines())) <= 98
    arm, r, y = Decision("a", ["u", "v"]), Response("r", Bernoulli()), Response("y", Normal())
    for names, message in ((["r", "y"], "same decision"), (["r"], "alone"), (["q"], "names 'q'")):
        with pytest.raises(StudyError, match=message):
            Study(arm, r, y, utility="y", pool_stages=names)
    for engine in ("laplace", "exact"):
        with pytest.raises(InferenceError, match="use engine='nuts'"):
            fit(TWO, pd.DataFrame(), seed=1, engine=engine)
    counts = Response("r", Poisson(exposure="days")), Decision("b", ["u", "w"]), Response("y", Poisson(exposure="days"))
    with pytest.raises(StudyError, match="further columns \\('days'\\)"):
        Study(arm, *counts, utility="y", patient_effects=["r", "y"])
    with pytest.raises(StudyError, match="one outcome"):
        Study(arm, r, Decision("b", ["u", "w"]), y, utility="y", pool_stages=["r", "y"])
    for names, message in ((["r", "z"], "names 'z'"), (["r"], "alone"), ("ry", "list of responses")):
        with pytest.raises(StudyError, match=message):
            Study(arm, r, y, utility="y", patient_effects=names)
    with pytest.raises(StudyError, match="Saturated"):
        Study(arm, Response("r", Bernoulli(), model=Saturated()), y, utility="y", patient_effects=["r", "y"])
