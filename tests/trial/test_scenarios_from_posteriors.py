"""Scenarios from posteriors: the laws, covariates and values of every draw, and assurance over them."""

import jax.numpy as jnp
import numpy as np
import pytest
from known import SMART, cohort, posterior_with, random_cells

import bayesdtr as dtr
from bayesdtr.data import read
from bayesdtr.decision.values import values_of
from bayesdtr.model import given_effect
from bayesdtr.model.distributions import LAWS
from bayesdtr.runtime import double_precision
from bayesdtr.study.counts import Hurdle, NegativeBinomial, Poisson, ZeroInflated
from bayesdtr.study.rules import embedded_regimes
from bayesdtr.study.survival import Survival
from bayesdtr.trial.nature import bind
from bayesdtr.trial.nature.draws import needs, quantile
from bayesdtr.trial.nature.fitted import read_off
from bayesdtr.trial.nature.resampled import Resampled

Scenario = dtr.Scenario


def values(posterior):
    """Value of each embedded regime under each draw, by the decision layer."""
    return values_of(posterior, embedded_regimes(posterior.study), posterior.seed).draws.reshape(posterior.size, -1)


# ---- values ------------------------------------------------------------------------------------------


def test_truth_under_a_draw_is_what_the_posterior_says_of_it():
    posterior = posterior_with(SMART, random_cells(SMART, 3))
    for draw, expected in enumerate(values(posterior)):
        found = dtr.truth(SMART, Scenario.from_posterior(posterior, draw=draw))
        assert found.exact
        np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_labelled_covariates_come_with_the_draws_own_weights():
    study = dtr.Study(dtr.Baseline("stage", levels=["I", "II", "III"]), dtr.Decision("arm", ["A", "B"]),
                      dtr.Response("y", dtr.Normal(), model=dtr.Saturated()), utility="y")
    posterior = posterior_with(study, random_cells(study, 5))
    expected = values(posterior)
    assert np.ptp(expected[:, 0]) > 0.1
    for draw in (0, 7, 23):
        np.testing.assert_allclose(dtr.truth(study, Scenario.from_posterior(posterior, draw=draw)).values, expected[draw], atol=1e-12)
    # One response of one decision: the mean law has the mean values, under the observed frequencies.
    mean = Scenario.from_posterior(posterior)
    means = {(s, a): posterior.draws("y")["mean"][:, k].mean() for k, (s, a) in enumerate((s, a) for s in ("I", "II", "III") for a in "AB")}
    frequency = cohort(study)["stage"].value_counts(normalize=True)
    by_hand = [sum(frequency[s] * means[s, a] for s in frequency.index) for a in "AB"]
    np.testing.assert_allclose(dtr.truth(study, mean).values, by_hand, atol=1e-12)


def test_responses_that_share_a_patients_effect_are_drawn_given_the_earlier_ones():
    study = dtr.Study(dtr.Decision("a", ["p", "q"]), dtr.Response("r", dtr.Bernoulli()), dtr.Decision("b", ["u", "v"]),
                      dtr.Response("y", dtr.Bernoulli()), utility="y", patient_effects=["r", "y"])
    posterior = posterior_with(study, {n: random_draws(study, n, 4, np.random.default_rng(k)) for k, n in enumerate(("r", "y"))}, cohort(study, 40))
    for draw, expected in enumerate(values(posterior)):
        np.testing.assert_allclose(dtr.truth(study, Scenario.from_posterior(posterior, draw=draw)).values, expected, atol=1e-12)
    both = dtr.Study(*study.timeline[:3], dtr.Response("y", dtr.Normal()), utility="y", patient_effects=["r", "y"])
    other = posterior_with(both, {n: random_draws(both, n, 2, np.random.default_rng(k)) for k, n in enumerate(("r", "y"))}, cohort(both, 40))
    with pytest.raises(dtr.TrialError, match=r"'y' shares a patient's effect .* mixture of Normal laws"):
        Scenario.from_posterior(other)


def random_draws(study, response, size, rng, clusters=()):
    """Arbitrary draws of a hierarchical model's parameters, scales positive."""
    compiled = given_effect(study, response, clusters)
    sizes = {d: len(v) for d, v in compiled.coords.items()}
    draws = {}
    for name in compiled.parameters:
        dims = compiled.dims.get(name, ())
        drawn = rng.normal(0, 1, (1, size, *(sizes[d] for d in dims)))
        draws[name] = drawn if dims or name == "intercept" else np.abs(drawn)
    return draws


CLINICS = dtr.Study(dtr.Baseline("x"), dtr.Decision("arm", ["A", "B", "C"]), dtr.Response("y", dtr.Normal()), utility="y", cluster="clinic")


@pytest.fixture(scope="module")
def clinics():
    """A hierarchical Normal model with clinics that have no effects, in one draw, and with effects in the others."""
    rng = np.random.default_rng(2)
    frame = cohort(CLINICS, 60).assign(clinic=rng.choice(["north", "south", "west"], 60, p=[0.5, 0.3, 0.2]))
    draws = random_draws(CLINICS, "y", 6, rng, read(CLINICS, frame).cluster_labels)
    for name in ("cluster_effect", "cluster_treatment"):
        draws[name][:, 0] = 0.0
    return posterior_with(CLINICS, {"y": draws}, frame)


def test_sites_are_new_ones_with_the_draws_sd(clinics):
    np.testing.assert_allclose(dtr.truth(CLINICS, Scenario.from_posterior(clinics, draw=0)).values, values(clinics)[0], atol=1e-9)
    for draw in (0, 3):
        scenario = Scenario.from_posterior(clinics, draw=draw)
        assert scenario.clusters.labels == ("north", "south", "west")
        np.testing.assert_allclose(dict(scenario.clusters.sd)["y"], clinics.draws("y")["cluster_sd"][draw])
        counts = np.bincount(clinics.trajectories.cluster)
        np.testing.assert_allclose(scenario.clusters.weights, counts / counts.sum())
        law = bind(CLINICS, scenario, size=3).laws[0]
        _, extras = law.parameters({"x": np.zeros(4), "arm": np.zeros(4)}, 4)
        np.testing.assert_allclose(extras["sd"], clinics.draws("y")["sigma"][draw], rtol=1e-14)
    pooled = bind(CLINICS, Scenario.from_posterior(clinics), size=3).laws[0].parameters({"x": np.zeros(2), "arm": np.zeros(2)}, 2)[1]["sd"]
    np.testing.assert_allclose(pooled, np.sqrt((clinics.draws("y")["sigma"] ** 2).mean()), rtol=1e-12)


def test_a_patients_law_depends_on_no_other_patient_to_the_last_bit(clinics):
    for draw in (None, 4):
        law = bind(CLINICS, Scenario.from_posterior(clinics, draw=draw), size=3).laws[0]
        rng = np.random.default_rng(0)
        columns = {"x": rng.normal(size=700), "arm": rng.integers(0, 3, 700)}
        whole = law.parameters(columns, 700)[0]
        for rows in (slice(0, 1), slice(3, 10), slice(250, 517), slice(699, 700)):
            part = law.parameters({n: c[rows] for n, c in columns.items()}, rows.stop - rows.start)[0]
            np.testing.assert_array_equal(part, whole[rows])


def test_covariates_of_a_patient_stay_together():
    columns = {"x": np.array([0.0, 1.0, 2.0]), "sex": np.array(["f", "m", "f"])}
    study = dtr.Study(dtr.Baseline("x"), dtr.Baseline("sex", levels=["f", "m"]), dtr.Decision("arm", ["A", "B"]),
                      dtr.Response("y", dtr.Bernoulli()), utility="y")
    law = Resampled(columns, [0.2, 0.5, 0.3])
    drawn = law.columns(np.array([[0.0], [0.19], [0.21], [0.69], [0.71], [0.999]]), study)
    assert drawn["x"].tolist() == [0, 0, 1, 1, 2, 2] and drawn["sex"].tolist() == [0, 0, 1, 1, 0, 0]
    other = Resampled(columns, [0.3, 0.4, 0.3])
    assert law != other and law == Resampled(columns, [0.2, 0.5, 0.3])
    found = dtr.truth(study, Scenario("s", {"y": lambda h: 0.1 + 0.2 * h["x"] + 0.1 * (h["sex"] == "m")}, baseline=law))
    assert found.exact
    np.testing.assert_allclose(found.values, 0.2 * 0.1 + 0.5 * 0.4 + 0.3 * 0.5)


# ---- families ----------------------------------------------------------------------------------------


LAW = {
    "normal": (dtr.Normal(), (1.5, 0.7)), "t": (dtr.StudentT(), (5.0, -1.0, 2.0)), "lognormal": (dtr.LogNormal(), (0.3, 0.8)),
    "poisson": (Poisson(), (3.5,)), "negative_binomial": (NegativeBinomial(), (4.0, 1.7)), "beta_binomial": (dtr.BetaBinomial(7), (7.0, 1.5, 2.5)),
    "inflated_poisson": (ZeroInflated(Poisson()), (0.3, 2.5)), "inflated_negative_binomial": (ZeroInflated(NegativeBinomial()), (0.2, 3.0, 0.9)),
    "hurdle_lognormal": (Hurdle(dtr.LogNormal()), (0.4, 0.2, 0.6)), "weibull_time": (Survival("weibull"), (0.5, 1.4)),
    "lognormal_time": (Survival("lognormal"), (0.5, 0.9)), "ordered": (dtr.Ordinal(["low", "mid", "high"]), (0.4, np.array([-0.5, 1.0]))),
    "bernoulli": (dtr.Bernoulli(), (0.35,)),
}


@pytest.mark.parametrize("name", LAW)
def test_quantiles_of_the_scenario_are_those_of_the_model(name):
    family, parameters = LAW[name]
    u = np.array([0.02, 0.21, 0.35, 0.5, 0.74, 0.93, 0.995])
    with double_precision():
        made = LAWS[name].make(*(jnp.broadcast_to(jnp.asarray(p, dtype=float), (len(u), *np.shape(p))) for p in parameters))
        found = {n: np.asarray(v) for n, v in read_off(family, made).items()}
        assert set(found) == {"mean", *needs(family, "y")}
        y = quantile(family, u, found.pop("mean"), found)
        if family.support is not None or LAWS[name].whole:
            whole = np.arange(0, 200 if family.support is None else len(family.support))
            p = np.exp(np.asarray(made.log_prob(jnp.asarray(whole)[:, None])))[:, 0]
            below = np.concatenate([[0.0], np.cumsum(p)])
            assert (below[y.astype(int)] <= u + 1e-12).all() and (u <= below[y.astype(int) + 1] + 1e-12).all()
            return
        from scipy import stats

        if name == "t":
            reached = stats.t.cdf((y + 1.0) / 2.0, 5.0)
        elif name == "hurdle_lognormal":
            reached = np.where(y > 0, 0.4 + 0.6 * stats.lognorm.cdf(np.maximum(y, 1e-9), 0.6, scale=np.exp(0.2)), 0.0)
            assert (y[u < 0.4] == 0).all()
            y, u, reached = y[y > 0], u[y > 0], reached[y > 0]
        else:
            reached = np.asarray(made.cdf(jnp.asarray(y)))
        np.testing.assert_allclose(reached, u, atol=1e-10)


# ---- the next trial --------------------------------------------------------------------------------


ARMS = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated()), utility="event")


def pilot(gains):
    """A posterior of a pilot in which B is better by given amounts, draw by draw."""
    gains = np.asarray(gains)
    chances = np.stack([np.full(len(gains), 0.3), 0.3 + gains], axis=1)[None]
    return posterior_with(ARMS, {"event": {"probability": chances}})


def test_assurance_averages_power_over_the_posterior():
    design = dtr.TrialDesign(ARMS, size=120, looks=[60], stopping=[dtr.Superiority(0.975)])
    posterior = pilot([0.05, 0.15, 0.3, 0.4])
    found = dtr.assurance(design, posterior, draws=16, replicates=60, seed=1)
    runs = dtr.simulate(design, [Scenario.from_posterior(posterior, draw=k) for k in range(4)], 1000, seed=2, compare=False)
    power = [runs.get(f"posterior draw {k}", "power").adaptive for k in range(4)]
    assert power[0].value + 0.1 < found.value < power[3].value - 0.1
    # Draws are picked at random, so the mean of all is within Monte Carlo error.
    assert abs(found.value - np.mean([p.value for p in power])) < 4 * np.hypot(found.error, power[1].error)
    for name, success, error in zip(found.scenarios, found.success, found.errors, strict=True):
        k = int(name.split()[-1])
        assert abs(success - power[k].value) < 4.5 * np.hypot(max(error, 0.02), power[k].error)
    assert f"16 scenarios drawn from the posterior of {posterior.trajectories.n} patients, 60 replicates each" in " ".join(str(found).split())
    again = dtr.assurance(design, Scenario.drawn_from(posterior), draws=16, replicates=60, seed=1)
    assert again.value == found.value


def test_arms_of_the_pilot_may_be_left_out_of_the_next_trial():
    three = dtr.Study(dtr.Decision("arm", ["A", "B", "C"]), dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated()), utility="event")
    posterior = posterior_with(three, {"event": {"probability": np.array([[[0.2, 0.4, 0.7]]])}})
    two = dtr.Study(dtr.Decision("arm", ["C", "A"]), dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated()), utility="event")
    np.testing.assert_allclose(dtr.truth(two, Scenario.from_posterior(posterior)).values, [0.7, 0.2])
    with pytest.raises(dtr.TrialError, match="the fitted study has no 'C' of 'arm' \\('A', 'B'\\)"):
        Scenario.from_posterior(pilot([0.1])).check(two)


def test_what_a_posterior_cannot_say_is_refused():
    posterior = pilot([0.1, 0.2])
    with pytest.raises(dtr.TrialError, match="made from a Posterior, got Study"):
        Scenario.from_posterior(ARMS)
    for draw in (2, -1, True, 0.5):
        with pytest.raises(dtr.TrialError, match="draws 0 to 1"):
            Scenario.from_posterior(posterior, draw=draw)
    with pytest.raises(dtr.TrialError, match="names 'event', which is no response"):
        Scenario.from_posterior(posterior).check(SMART)
    early, late = (dtr.Response(n, dtr.Bernoulli(), model=dtr.Saturated()) for n in ("early", "late"))
    both, reverse = (dtr.Study(dtr.Decision("arm", ["A", "B"]), *r, utility="late") for r in ((early, late), (late, early)))
    scenario = Scenario.from_posterior(posterior_with(both, random_cells(both, 1)))
    scenario.check(both)
    with pytest.raises(dtr.TrialError, match="fitted in a study in which 'arm', 'early' came before it, and here 'arm'"):
        scenario.check(reverse)
    counts = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("event", Poisson()), utility="event")
    with pytest.raises(dtr.TrialError, match="was fitted as"):
        Scenario.from_posterior(posterior).check(counts)


def test_scenarios_of_a_posterior_are_told_apart_in_stores():
    posterior, other = pilot([0.1, 0.2]), pilot([0.1, 0.3])
    describe = lambda p, k: Scenario.from_posterior(p, draw=k, name="s").description()  # noqa: E731
    assert describe(posterior, 0) == describe(other, 0) != describe(posterior, 1) != describe(other, 1)
