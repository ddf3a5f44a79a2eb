"""Many data sets at once: the same answers whatever the batch, the padding and the form of the data."""

import numpy as np
import one_contrast as small
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.data import fix_scales, read
from bayesdtr.inference import fits as fits_module
from bayesdtr.inference import stack as stacks
from bayesdtr.inference.fit import blocks_of

COUNTS = [((11, 16), (24, 22)), ((5, 14), (20, 20)), ((8, 9), (15, 18)), ((0, 3), (12, 12)), ((10, 10), (23, 23))]
HISTORIES = [{"a": "old"}, {"a": "new"}]


@pytest.fixture(scope="module")
def frames():
    return [small.frame(yes, n) for yes, n in COUNTS]


@pytest.fixture(scope="module")
def fits(frames):
    return dtr.fit_many(small.study(), frames, seed=3, draws=2048, khat=True)


def stacked(frames, n):
    """Arrays of codes with room for `n` patients."""
    a, y = np.full((len(frames), n), -1), np.full((len(frames), n), np.nan)
    for i, frame in enumerate(frames):
        a[i, : len(frame)] = (frame["a"] == "new").to_numpy()
        y[i, : len(frame)] = frame["y"]
    return {"a": a, "y": y}


def test_against_quadrature(fits, frames):
    """Means within a few hundredths of a posterior SD: the approximation's own error, for quasi-random draws add little."""
    for i, frame in enumerate(frames):
        truth = small.quadrature(small.block(data=frame))
        drawn = {n: fits.draws["y"][n][i].reshape(2048) for n in ("intercept", "tau", "treatment")}
        for name, values in drawn.items():
            mean, sd = truth[name]
            assert abs(values.mean() - mean) < 0.06 * sd, (i, name)
            assert abs(np.log(values.std() / sd)) < 0.12, (i, name)
        # the contrast of the second option is +1/sqrt(2): "new" is best where it is positive
        assert fits.p_best("y", HISTORIES)[i, 1] == pytest.approx(truth["positive"][0], abs=0.01)
    khat = fits.diagnostics["y"]["khat"]
    assert (np.delete(khat, 3) < 0.7).all() and khat[3] > 0.7  # 3 of 24 succeeded, all on one option: far from Normal, and said so


def test_corrected_draws_against_quadrature(frames):
    """Closer than the plain draws in the data set that is far from Normal: nothing but Monte Carlo error is left."""
    fits = dtr.fit_many(small.study(), frames, seed=3, draws=4096, corrected=True)
    assert (fits.diagnostics["y"]["khat"] < 0.7).all()
    for i, frame in enumerate(frames):
        truth = small.quadrature(small.block(data=frame))
        size = fits.diagnostics["y"]["ess"][i]
        assert size > 2000
        for name in ("intercept", "tau", "treatment"):
            values, (mean, sd) = fits.draws["y"][name][i].reshape(-1), truth[name]
            assert abs(values.mean() - mean) < 4 * sd / np.sqrt(size), (i, name)
            assert abs(np.log(values.std() / sd)) < 0.06, (i, name)
        assert fits.p_best("y", HISTORIES)[i, 1] == pytest.approx(truth["positive"][0], abs=4 * 0.5 / np.sqrt(size))


def test_a_large_khat_of_corrected_draws_names_the_data_sets(frames, monkeypatch):
    monkeypatch.setattr(fits_module, "LARGEST_KHAT", -np.inf)
    with pytest.warns(dtr.VerdictWarning, match="2 of 2 data sets .7, 8.: .* use engine='nuts' for them"):
        dtr.fit_many(small.study(), frames[:2], seed=3, draws=64, corrected=True, first=7)


def test_answers_do_not_depend_on_the_batch_or_on_padding(fits, frames):
    again = dtr.fit_many(small.study(), stacked(frames, 60), seed=3, draws=2048, batch=2)
    np.testing.assert_allclose(again.draws["y"]["treatment"], fits.draws["y"]["treatment"], rtol=1e-6, atol=1e-8)
    last = dtr.fit_many(small.study(), stacked(frames[2:], 60), seed=3, draws=2048, batch=2, first=2)
    np.testing.assert_allclose(last.draws["y"]["treatment"], fits.draws["y"]["treatment"][2:], rtol=1e-6, atol=1e-8)


def test_batched_nuts_agrees(fits, frames):
    slow = dtr.fit_many(small.study(), frames, seed=3, engine="nuts", draws=1000, warmup=300)
    assert slow.diagnostics["y"]["divergences"].sum() == 0
    a, b = fits.p_best("y", HISTORIES), slow.p_best("y", HISTORIES)
    assert np.abs(a - b).max() < 4 * 0.5 / np.sqrt(400)  # 1000 draws of a chain are worth at least 400 for this contrast
    np.testing.assert_allclose(b.sum(axis=1), 1)


def test_expected_responses_are_probabilities_of_the_right_option(fits):
    expected = fits.expected("y", HISTORIES)
    assert expected.shape == (len(COUNTS), 2048, 2)
    assert ((expected > 0) & (expected < 1)).all()
    p = np.array([[k / m for k, m in zip(yes, n, strict=True)] for yes, n in COUNTS])
    assert np.corrcoef(expected.mean(axis=1).ravel(), p.ravel())[0, 1] > 0.95
    assert fits.dims("y", "treatment") == {"treatment_contrast": fits.dims("y", "treatment")["treatment_contrast"]}


def test_levels_are_worth_what_they_are_said_to_be():
    """An ordinal response has no mean of its own: its expectation is that of the numbers given for the levels."""
    levels = ["low", "middle", "high"]
    worth = {"high": 5.0, "low": 0.0, "middle": 1.0}
    study = dtr.Study(dtr.Decision("a", ["old", "new"]), dtr.Response("y", dtr.Ordinal(levels)), utility=dtr.Utility({"y": worth}))
    rng = np.random.default_rng(0)
    many = dtr.fit_many(study, {"a": rng.integers(0, 2, (3, 40)), "y": rng.integers(0, 3, (3, 40)).astype(float)}, seed=1, draws=64)
    found = many.expected("y", HISTORIES, worth)
    shares = many.draws["y"]
    eta = shares["treatment"][..., 0, None] * np.array([-1, 1]) / np.sqrt(2)
    cut = np.log(np.cumsum(shares["baseline"], axis=-1)[..., :2] / (1 - np.cumsum(shares["baseline"], axis=-1)[..., :2]))
    below = 1 / (1 + np.exp(eta[..., None] - cut[:, :, None, :]))
    np.testing.assert_allclose(found, (below[..., 1] - below[..., 0]) + 5 * (1 - below[..., 1]), rtol=1e-8)
    np.testing.assert_allclose(many.p_best("y", HISTORIES, worth).sum(axis=1), 1)
    with pytest.raises(dtr.InferenceError, match="worth="):
        many.expected("y", HISTORIES)


def test_bad_arguments_are_named(frames):
    study = small.study()
    with pytest.raises(dtr.InferenceError, match="did you mean 'laplace'"):
        dtr.fit_many(study, frames, seed=1, engine="laplce")
    with pytest.raises(dtr.InferenceError, match="draws must be a whole number"):
        dtr.fit_many(study, frames, seed=1, draws=0)
    with pytest.raises(dtr.InferenceError, match="corrected=True corrects Laplace's"):
        dtr.fit_many(study, frames, seed=1, engine="nuts", corrected=True)
    with pytest.raises(dtr.DataError, match="lack 'y'"):
        dtr.fit_many(study, {"a": np.zeros((2, 3))}, seed=1)
    with pytest.raises(dtr.DataError, match="code 2"):
        dtr.fit_many(study, {"a": np.full((2, 3), 2), "y": np.zeros((2, 3))}, seed=1)
    with pytest.raises(dtr.DataError, match="shape"):
        dtr.fit_many(study, {"a": np.zeros((2, 3)), "y": np.zeros((2, 4))}, seed=1)
    with pytest.raises(dtr.DataError, match="Data set 1"):
        dtr.fit_many(study, [frames[0], pd.DataFrame({"a": ["old", "newest"], "y": [0, 1]})], seed=1)
    with pytest.raises(dtr.InferenceError, match="use engine='nuts'"):
        cells = dtr.Study(dtr.Decision("a", ["old", "new"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
        dtr.fit_many(cells, frames, seed=1)


@pytest.mark.parametrize("column", ["event", "upper"])
def test_censored_times_are_read_as_for_one_fit(column):
    """Inputs and scales of stacked data sets, from frames and from arrays, are those of each data set by itself; an empty upper end is infinite."""
    family = dtr.Survival("weibull", **{column: "until"})
    study = dtr.Study(dtr.Decision("a", ["p", "q"]), dtr.Response("t", family), dtr.Decision("b", ["p", "q"]), dtr.Response("y", dtr.Normal()),
                      utility="y")
    rng, frames = np.random.default_rng(1), []
    for n in (9, 12):
        t = rng.exponential(3.0, n).round(2) + 0.01
        until = (t < 3).astype(float) if column == "event" else np.where(t < 2, t, np.where(t < 3, t + 1, np.nan))
        lives = until == 1 if column == "event" else ~np.isnan(until)
        frames.append(pd.DataFrame({"a": rng.choice(["p", "q"], n), "t": t, "until": until, "b": np.where(lives, rng.choice(["p", "q"], n), None),
                                    "y": np.where(lives, rng.normal(size=n), np.nan)}))
    sets = [read(study, f) for f in frames]
    from_frames = stacks.stacked(study, frames)
    raw = {n: np.full((2, 12), np.nan) for n in ("t", "y", f"t::{column}")} | {n: np.full((2, 12), -1) for n in ("a", "b")}
    for i, s in enumerate(sets):
        for n in ("a", "t", "b", "y"):
            raw[n][i, : s.n] = s.columns[n]
        raw[f"t::{column}"][i, : s.n] = frames[i]["until"]
    for stack in (from_frames, stacks.stacked(study, raw)):
        for i, s in enumerate(sets):
            scales = fix_scales(study, s)
            for n, scale in scales.items():
                np.testing.assert_allclose([v[i] for v in stack.scales[n]], [scale.location, scale.sd])
            for block in blocks_of(study, s, scales):
                inputs, y, weight = stack.data(block.compiled, np.array([i]))
                some = block.weight > 0
                for n, v in block.inputs.items():
                    np.testing.assert_allclose(inputs[n][0][: s.n][some] if v.ndim else inputs[n][0], v[some] if v.ndim else v)
                np.testing.assert_array_equal(weight[0, : s.n], block.weight)
                np.testing.assert_allclose(y[0, : s.n][some], block.y[some])


@pytest.mark.parametrize("scales", [None, {"t": 0.5}])
def test_times_without_an_event_have_no_scale(scales):
    time = dtr.Response("t", dtr.Survival(event="died"))
    study = dtr.Study(dtr.Decision("a", ["p", "q"]), time, utility=dtr.SurvivalAt("t", at=1.0), scales=scales)
    data = {"a": np.zeros((2, 5), dtype=int), "t": np.ones((2, 5)), "t::event": np.array([[1.0] * 5, [0.0] * 5])}
    with pytest.raises(dtr.DataError, match="Data set 1"):
        stacks.stacked(study, data)
