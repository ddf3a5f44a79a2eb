"""Censored times in the checks: Kaplan-Meier by hand, follow-up drawn from what is known of it, pointwise likelihoods."""

import jax
import known
import numpy as np
import pandas as pd

from bayesdtr import Decision, Response, Study, Survival, SurvivalAt
from bayesdtr.data import fix_scales
from bayesdtr.inference.check import predictive_checks
from bayesdtr.inference.fit import blocks_of
from bayesdtr.inference.follow_up import as_seen, follow_up, kaplan_meier
from bayesdtr.inference.loo import log_likelihood
from bayesdtr.runtime import double_precision


def test_kaplan_meier_by_hand():
    time, event = np.array([2.0, 3.0, 3.0, 5.0, 8.0]), np.array([True, True, False, False, True])
    found = kaplan_meier(time, event, np.array([0.0, 2.0, 2.9, 3.0, 7.9, 8.0, 9.0]))
    np.testing.assert_allclose(found, [1, 0.8, 0.8, 0.8 * 0.75, 0.6, 0.0, 0.0])


def test_follow_up_is_known_for_the_censored_and_later_than_the_event_for_the_others():
    rng = np.random.default_rng(0)
    time, end = rng.exponential(4.0, 20_000), rng.uniform(0, 10, 20_000)
    seen, censored = np.minimum(time, end), time > end
    drawn = follow_up(seen, censored, 3, rng)
    assert (drawn[:, censored] == seen[censored]).all()
    assert (drawn[:, ~censored] >= seen[~censored]).all()
    finite = np.where(np.isfinite(drawn[0]), drawn[0], 10.0)
    for at in (2.0, 5.0, 8.0):  # the law of the ends, events included, is the uniform one
        assert abs((finite > at).mean() - (1 - at / 10)) < 0.02


def _posterior(upper: bool):
    family = Survival("weibull", **({"upper": "until"} if upper else {"event": "died"}))
    study = Study(Decision("a", ["p", "q"]), Response("t", family), utility=SurvivalAt("t", at=2.0), scales={"t": (0.7, 1.0)})
    rng = np.random.default_rng(1)
    time = np.exp(0.7) * rng.exponential(size=400)
    end = rng.uniform(0.5, 6, 400)
    frame = pd.DataFrame({"a": rng.choice(["p", "q"], 400), "t": np.minimum(time, end), "died": (time <= end).astype(int)})
    frame["until"] = np.where(frame.died == 1, frame.t * rng.choice([1.0, 1.5], 400), np.inf)
    ones = np.zeros((2, 50))
    return known.posterior_with(study, {"t": {"intercept": ones, "treatment": ones[..., None], "tau": ones + 1, "shape": ones + 1}}, frame)


def test_pointwise_likelihood_is_the_models():
    for upper in (False, True):
        posterior = _posterior(upper)
        (block,) = blocks_of(posterior.study, posterior.trajectories, fix_scales(posterior.study, posterior.trajectories))
        with double_precision():
            values = {n: np.zeros(np.shape(v)) for n, v in block.compiled.initial(block.inputs).items()}
            wanted = np.asarray(jax.jit(lambda v, b=block: b.compiled.log_density(v, b.inputs, b.y)[0])(values))
        np.testing.assert_allclose(log_likelihood(posterior, "t")[0], wanted, rtol=1e-8, atol=1e-10)


def test_checks_pass_where_the_model_is_true_and_not_where_it_is_not():
    """Under the true law the replicates, cut off as the data were, resemble them; uncensored they would not."""
    posterior = _posterior(False)
    rng = np.random.default_rng(2)
    right = {"t": np.exp(0.7) * rng.exponential(size=(400, 400))}
    assert not any(c.misfit for c in predictive_checks(posterior.study, posterior.trajectories, right))
    assert any(c.misfit for c in predictive_checks(posterior.study, posterior.trajectories, {"t": right["t"] * 1.5}))
    times, events = as_seen(posterior.trajectories, "t", right["t"])
    assert (times <= right["t"]).all() and 0 < events.mean() < 1
