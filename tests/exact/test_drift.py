"""Periods over which the level walks: the density by hand, what data say of a step, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr.decision.world import World
from bayesdtr.model import compile_response
from bayesdtr.study import from_json, to_json

PERIODS = ["1", "2", "3", "4"]


def _study(**more):
    return dtr.Study(
        dtr.Baseline("x"), dtr.Baseline("block", levels=PERIODS, drift=True), dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Bernoulli()),
        utility="y", scales={"x": (0.0, 1.0)}, **more)


def _patients(n, step, seed=1):
    rng = np.random.default_rng(seed)
    block, arm, x = np.arange(n) * 4 // n, rng.integers(0, 2, n), rng.normal(size=n)
    p = 1 / (1 + np.exp(-(-0.3 + step * (block >= 2) + 0.5 * arm)))
    return pd.DataFrame({"x": x, "block": np.array(PERIODS)[block], "arm": np.array(["a", "b"])[arm], "y": (rng.random(n) < p).astype(int)})


def test_the_density_is_a_random_walk_on_the_predictor():
    study = _study()
    compiled = compile_response(study, "y", ())
    assert "drift" in compiled.linear.latent
    frame = _patients(12, 0.0)
    code = frame["block"].map(PERIODS.index).to_numpy()
    steps = np.array([0.3, -0.2, 0.5])
    posterior = dtr.fit(study, _patients(80, 0.0), seed=1, engine="laplace", draws=64)
    draws = {n: v[:1].copy() for n, v in posterior.draws("y").items()}
    base = {**draws, "drift": np.zeros((1, 3))}
    world = World.of(posterior)
    rows = world_rows(frame, code)
    from dataclasses import replace

    at = lambda d: replace(world, draws={"y": d}, size=1).look("y", rows, "mean")[0]  # noqa: E731
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    walked = logit(at({**draws, "drift": steps[None]})) - logit(at(base))
    assert walked == pytest.approx(np.concatenate([[0], np.cumsum(steps)])[code], abs=1e-12)


def world_rows(frame, code):
    from bayesdtr.decision.world import Rows

    return Rows({"x": frame["x"].to_numpy(), "block": code, "arm": (frame["arm"] == "b").astype(int).to_numpy()}, None, len(frame))


def test_the_prior_is_printed_and_can_be_set():
    study = _study(priors={"y.drift.scale": 0.3})
    row = study.priors("y")["drift"]
    assert row.prior["scale"] == 0.3
    assert _study().priors("y")["drift"].prior == dtr.Prior("Normal", loc=0, scale=2.5)
    text = str(_study())
    assert "+ drift: a random walk over block" in text
    assert "a random walk over block" in text
    assert "periods in time order" in text
    assert not any("block" in c.label for c in compile_labels(study, "interaction"))
    assert from_json(to_json(study)) == study


def compile_labels(study, table):
    from bayesdtr.study.predictor import default_predictor

    return getattr(default_predictor(study, study["y"]), table) + default_predictor(study, study["y"]).main


def test_a_step_in_the_level_is_found_and_the_effect_left_alone():
    """With 1,600 patients and a step of one logit in the middle, the walk's second step is it, and treatment is estimated as without drift."""
    study = _study()
    posterior = dtr.fit(study, _patients(1600, 1.0), seed=1, engine="laplace", draws=512)
    steps = posterior.draws("y")["drift"]
    assert steps[:, 1].mean() == pytest.approx(1.0, abs=4 * np.sqrt(4 / 400 + 4 / 400))
    for j in (0, 2):
        assert abs(steps[:, j].mean()) < 4 * np.sqrt(8 / 400)
    plain = posterior.draws("y")["treatment"][:, 0] * np.sqrt(2)
    assert plain.mean() == pytest.approx(0.5, abs=4 * np.sqrt(8 / 800))


def test_period_effects_keep_a_drifting_arm_comparison_honest():
    """Arm b enters mostly late, when everybody does better: without periods it looks better than it is."""
    rng = np.random.default_rng(3)
    n = 1200
    block = np.arange(n) * 4 // n
    arm = (rng.random(n) < np.array([0.2, 0.4, 0.6, 0.8])[block]).astype(int)
    y = (rng.random(n) < 1 / (1 + np.exp(-(-1.0 + 0.6 * block)))).astype(int)
    frame = pd.DataFrame({"block": np.array(PERIODS)[block], "arm": np.array(["a", "b"])[arm], "y": y})
    nodes = dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Bernoulli(), priors={"tau.scale": 1.0})
    effect = {}
    for name, covariates in (("with", [dtr.Baseline("block", levels=PERIODS, drift=True)]), ("without", [])):
        study = dtr.Study(*covariates, *nodes, utility="y")
        posterior = dtr.fit(study, frame, seed=1, engine="laplace", draws=512)
        draws = posterior.draws("y")["treatment"][:, 0] * np.sqrt(2)
        effect[name] = draws.mean(), draws.std()
    crude = stats.norm.sf(effect["without"][0] / effect["without"][1])
    assert crude < 1e-4
    assert abs(effect["with"][0]) < 4 * effect["with"][1]
    assert effect["with"][0] < effect["without"][0] / 2


def test_bad_declarations_are_refused():
    with pytest.raises(dtr.StudyError, match="levels"):
        dtr.Baseline("block", drift=True)
    with pytest.raises(dtr.StudyError, match="True or False"):
        dtr.Baseline("block", levels=PERIODS, drift="yes")
    with pytest.raises(dtr.StudyError, match="sensitive"):
        dtr.Baseline("block", levels=PERIODS, drift=True, sensitive="use")
    with pytest.raises(dtr.StudyError, match="drift"):
        dtr.Study(dtr.Baseline("block", levels=PERIODS, drift=True), dtr.Decision("arm", ["a", "b"]),
                  dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
    with pytest.raises(dtr.StudyError, match="enter by themselves"):
        dtr.Study(dtr.Baseline("block", levels=PERIODS, drift=True), dtr.Decision("arm", ["a", "b"]),
                  dtr.Response("y", dtr.Bernoulli(), model=dtr.Hierarchical(covariates="block")), utility="y")
