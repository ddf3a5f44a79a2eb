"""Many data sets at once: the same answers whatever the batch, the padding and the form of the data."""

import numpy as np
import one_contrast as small
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.inference import fits as fits_module

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


def test_a_labelled_response_is_expected_as_its_code():
    study = dtr.Study(
        dtr.Decision("a", ["old", "new"]), dtr.Response("y", dtr.Ordinal(["low", "middle", "high"])),
        utility=dtr.Utility({"y": {"low": 0, "middle": 1, "high": 2}}))
    rng = np.random.default_rng(4)
    a = rng.integers(0, 2, (2, 60))
    fits = dtr.fit_many(study, {"a": a, "y": rng.integers(0, 2, a.shape) + a}, seed=1, draws=64)
    expected = fits.expected("y", HISTORIES)
    assert ((expected > 0) & (expected < 2)).all()
    assert (fits.p_best("y", HISTORIES)[:, 1] > 0.95).all()  # a whole level more on the new option in every patient


def test_bad_arguments_are_named(frames):
    study = small.study()
    with pytest.raises(dtr.InferenceError, match="did you mean 'laplace'"):
        dtr.fit_many(study, frames, seed=1, engine="laplce")
    with pytest.raises(dtr.InferenceError, match="draws must be a whole number"):
        dtr.fit_many(study, frames, seed=1, draws=0)
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
