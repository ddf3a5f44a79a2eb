"""The Laplace engine against quadrature; Pareto-smoothed weights; what the verdict says of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import one_contrast as small
import pandas as pd
import pymc as pm
import pytest
from arviz_stats.base import array_stats
from scipy import stats

import bayesdtr as dtr
from bayesdtr.inference import laplace
from bayesdtr.inference.check import convergence_reasons
from bayesdtr.inference.pareto import smooth
from bayesdtr.inference.pilot import climb
from bayesdtr.runtime import in_double_precision


@pytest.fixture(scope="module")
def posterior():
    return dtr.fit(small.study(), small.frame(), seed=2, engine="laplace", draws=4000, chains=4, progress=False)


def test_against_quadrature(posterior):
    truth = small.quadrature(small.block())
    draws = posterior.draws("y")
    values = {"intercept": draws["intercept"], "tau": draws["tau"], "treatment": draws["treatment"][:, 0]}
    values["positive"] = (values["treatment"] > 0).astype(float)
    # Resampled from weighted draws: their number is at worst the effective size of the weights.
    size = posterior.verdict.convergence.ess_bulk
    for name, (mean, sd) in truth.items():
        assert abs(values[name].mean() - mean) < 4 * sd / np.sqrt(size), name
        if name != "positive":
            assert abs(np.log(values[name].std() / sd)) < 4 / np.sqrt(size), name


def test_the_verdict_reports_khat_and_says_what_is_final(posterior, tmp_path):
    assert posterior.verdict.convergence.khat < 0.7
    assert posterior.verdict.convergence.khat_response == "y"
    assert "k-hat" in str(posterior) and "final analysis" in str(posterior)
    loaded = dtr.load(posterior.save(tmp_path / "p.nc"))
    assert loaded.verdict == posterior.verdict and loaded.engine == "laplace"
    assert loaded.tree["sample_stats"].attrs["y::khat"] == pytest.approx(posterior.verdict.convergence.khat)


def test_a_large_khat_warns_then_fails_and_says_what_to_try(posterior):
    fine = posterior.verdict.convergence
    for khat, status in ((0.69, "ok"), (0.8, "warn"), (1.2, "fail"), (float("inf"), "fail")):
        found, reasons = convergence_reasons(dataclasses.replace(fine, khat=khat))
        assert found == status
        assert not reasons or "engine='nuts'" in reasons[-1]


@pytest.mark.parametrize("variance", [0.18, 0.25])
@in_double_precision
def test_proposals_cover_a_scale_that_the_data_barely_keep_from_zero(variance):
    # The log of a scale under a half-Normal prior, two effects seen as 1 and -1: near its mode like a Normal, far below
    # it falls only like the scale itself.
    def density(x):
        seen = jnp.exp(2 * x[0]) + variance
        return x[0] - 2 * jnp.exp(2 * x[0]) - jnp.log(seen) - 1 / seen

    at, spread = climb(density, jnp.array([-1.0]), 50)
    scales = laplace.halves(lambda w: density(at + spread @ w), 1)
    step, w = 0.01, jnp.arange(-40, 15, 0.01)
    log_p = jax.vmap(lambda w: density(at + spread[:, 0] * w))(w)
    scale = jnp.where(w > 0, scales[0, 0], scales[1, 0])
    log_q = jnp.asarray(stats.t(4).logpdf(np.asarray(w / scale))) - jnp.log(scales.mean())
    assert jnp.sum(jnp.exp(log_q)) * step == pytest.approx(1, abs=1e-3)
    assert jnp.max(log_p - log_q) - jax.nn.logsumexp(log_p + jnp.log(step)) < 0.5


@pytest.mark.parametrize("size", [1, 100, 1000, 4000])
def test_proposals_come_in_whole_batches_for_every_kept_round(size):
    for rows in (1, 100, 1_000_000):
        made = laplace.proposals_for(size, rows)
        assert made % (laplace.KEPT * laplace.BATCH) == 0 and made >= 2 * size
    assert laplace.proposals_for(size, 1_000_000) <= laplace.proposals_for(size, 100)


def test_same_seed_same_draws():
    one, two, other = (laplace.sample([small.block()], seed=s, draws=50, chains=2, show=False)[0].values["treatment"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("truth", [0.1, 0.4, 0.9])
@in_double_precision
def test_khat_finds_the_shape_of_pareto_tails(truth):
    ratios = truth * np.random.default_rng(5).exponential(size=3600)  # exp of it has a Pareto tail of this shape
    log_weights, khat = smooth(ratios)
    theirs, their_khat = array_stats.psislw(-ratios)
    # Standard error of a fit to 180 exceedances: (1 + k) / sqrt(180).
    assert abs(float(khat) - truth) < 4 * (1 + truth) / np.sqrt(180)
    assert float(khat) == pytest.approx(float(their_khat), abs=1e-6)
    np.testing.assert_allclose(np.exp(log_weights), np.exp(theirs), rtol=1e-6)
    assert np.exp(log_weights).sum() == pytest.approx(1)


@in_double_precision
def test_khat_of_equal_and_of_impossible_ratios():
    log_weights, khat = smooth(np.zeros(100))
    np.testing.assert_allclose(np.exp(log_weights), 0.01)
    assert khat == -np.inf
    assert smooth(np.full(100, -np.inf))[1] == np.inf
    half = np.where(np.arange(100) < 50, -np.inf, 0.0)
    assert np.exp(smooth(half)[0])[:50].sum() == pytest.approx(0, abs=1e-12)


def test_systematic_resampling_keeps_shares():
    weights = np.array([0.1, 0.2, 0.7])
    picked = laplace.systematic(np.log(weights), 1000, np.random.default_rng(1))
    np.testing.assert_allclose(np.bincount(picked) / 1000, weights, atol=1e-3)


def coins(history):
    """A probability of success for each option: no linear predictor, so the posterior is approximated as a whole."""
    return pm.Bernoulli("y", p=pm.Beta("p", 2, 3, shape=2)[history.code("a")])


def test_a_model_without_linear_predictors_against_its_conjugate_posterior():
    study = dtr.Study(dtr.Decision("a", ["old", "new"]), dtr.Response("y", dtr.Bernoulli(), model=coins), utility="y")
    data = pd.DataFrame({"a": ["old", "new"] * 12, "y": [1, 1, 1, 0, 0, 0] * 4})  # of twelve each, eight and four
    posterior = dtr.fit(study, data, seed=3, engine="laplace", draws=2000, progress=False)
    assert posterior.verdict.convergence.khat < 0.7
    size = posterior.verdict.convergence.ess_bulk
    for p, yes in zip(posterior.draws("y")["p"].T, (8, 4), strict=True):
        truth = stats.beta(2 + yes, 3 + 12 - yes)
        assert abs(p.mean() - truth.mean()) < 4 * truth.std() / np.sqrt(size)
        assert abs(np.log(p.std() / truth.std())) < 4 / np.sqrt(size)
