"""Borrowed priors against closed forms: weighted conjugate updates, mixture weights, effective sample sizes."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import betaln

import bayesdtr as dtr
from bayesdtr.errors import DataError, InferenceError
from bayesdtr.inference import ess
from bayesdtr.study import NormalInverseGamma, mixtures
from bayesdtr.study.priors import Prior

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
MAP = dtr.RobustMAP.from_counts([12, 30, 9], [40, 80, 30], between=0.5)
CELLS = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()), utility="r")
MIXED = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated(), priors={"probability.a": MAP}),
                  utility="r")
DRAWS = 40_000


def arms(yes_a: int, n_a: int, yes_b: int, n_b: int) -> pd.DataFrame:
    return pd.DataFrame({"arm": ["a"] * n_a + ["b"] * n_b, "r": [1] * yes_a + [0] * (n_a - yes_a) + [1] * yes_b + [0] * (n_b - yes_b)})


def within(draws: np.ndarray, law, errors: float = 4) -> None:
    """Mean and variance of independent draws against a law's, within 4 Monte Carlo standard errors."""
    n, sd = draws.size, law.std()
    assert abs(draws.mean() - law.mean()) < errors * sd / math.sqrt(n)
    kurtosis = ((draws - draws.mean()) ** 4).mean() / draws.var() ** 2
    assert abs(draws.var() / sd**2 - 1) < errors * math.sqrt((kurtosis - 1) / n)


# ---- power prior ---------------------------------------------------------------------------------------


def test_power_prior_of_proportions_is_the_weighted_conjugate_update():
    posterior = dtr.fit(CELLS, arms(6, 20, 9, 18), seed=1, engine="exact", draws=DRAWS, borrow=dtr.PowerPrior(arms(20, 50, 30, 40), a0=0.3))
    drawn = posterior.draws("r")["probability"]
    within(drawn[:, 0], stats.beta(1 + 6 + 0.3 * 20, 1 + 14 + 0.3 * 30))
    within(drawn[:, 1], stats.beta(1 + 9 + 0.3 * 30, 1 + 9 + 0.3 * 10))
    line = dtr.priors(posterior)["r.(patients)"]
    assert line.ess == pytest.approx(0.3 * 90) and line.source == "borrowed"


def test_power_prior_of_means_is_the_weighted_conjugate_update():
    prior = NormalInverseGamma(1.0, 2.0, 3.0, 4.0)
    study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Normal(), model=dtr.Saturated(conjugate=prior)), utility="y")
    rng = np.random.default_rng(3)
    new = pd.DataFrame({"arm": ["a", "b"] * 15, "y": rng.normal(1, 2, 30)})
    old = pd.DataFrame({"arm": ["a", "b"] * 40, "y": rng.normal(0, 2, 80)})
    posterior = dtr.fit(study, new, seed=1, engine="exact", draws=DRAWS, borrow=dtr.PowerPrior(old, a0=0.25))
    shape, rate = 3 + 15 + 0.25 * 40, 4.0
    for i, arm in enumerate("ab"):
        y = np.concatenate([new.y[new.arm == arm], old.y[old.arm == arm]])
        w = np.concatenate([np.ones(15), np.full(40, 0.25)])
        mean, k = (w @ y + 2.0) / (w.sum() + 2), w.sum() + 2
        rate += 0.5 * (w @ (y - mean) ** 2 + 2 * (1 - mean) ** 2)
        assert abs(posterior.draws("y")["mean"][:, i].mean() - mean) < 4 * 2.5 / math.sqrt(k * DRAWS)
    within(posterior.draws("y")["sigma"] ** -2, stats.gamma(shape, scale=1 / rate))


def test_a_power_of_one_pools_and_conflict_is_boxs_p_value():
    new, old = arms(2, 20, 10, 20), arms(30, 40, 20, 40)
    borrowed = dtr.fit(CELLS, new, seed=1, engine="exact", draws=DRAWS, borrow=dtr.PowerPrior(old, a0=1))
    within(borrowed.draws("r")["probability"][:, 0], stats.beta(1 + 32, 1 + 28))
    tests = {c.statistic: c for c in borrowed.borrowed.conflict}
    # The predictive number of successes is beta-binomial.
    for arm, yes, law in (("a", 2, stats.betabinom(20, 31, 11)), ("b", 10, stats.betabinom(20, 21, 21))):
        exact = min(1.0, 2 * min(law.cdf(yes), law.sf(yes - 1)))
        assert tests[f"mean, arm = {arm}"].p == pytest.approx(exact, abs=4 * math.sqrt(exact / 2000) + 2e-3)
    assert tests["mean, arm = a"].p < 0.01 < tests["mean, arm = b"].p


def test_borrowing_by_response_and_files(tmp_path):
    posterior = dtr.fit(CELLS, arms(2, 20, 10, 20), seed=1, engine="exact", draws=4000, borrow=dtr.PowerPrior(arms(30, 40, 20, 40), a0={"r": 0.5}))
    again = dtr.load(posterior.save(tmp_path / "p.nc"))
    assert again.borrowed.conflict == posterior.borrowed.conflict and dict(again.borrowed.a0) == {"r": 0.5}
    assert again.borrowed.trajectories.hash == posterior.borrowed.trajectories.hash and str(again) == str(posterior)


def test_bad_power_priors():
    data = arms(2, 20, 10, 20)
    for make, message in ((lambda: dtr.PowerPrior(data, a0=1.5), "at most 1, got 1.5"), (lambda: dtr.PowerPrior(data, a0={}), "names no response")):
        with pytest.raises(InferenceError, match=message):
            make()
    fit = lambda power: dtr.fit(CELLS, data, seed=1, engine="exact", draws=400, borrow=power)  # noqa: E731
    with pytest.raises(InferenceError, match="did you mean 'r'"):
        fit(dtr.PowerPrior(arms(1, 9, 2, 9), a0={"R": 0.5}))
    with pytest.raises(InferenceError, match="count twice"):
        fit(dtr.PowerPrior(data))
    with pytest.raises(DataError, match="earlier trial's data"):
        fit(dtr.PowerPrior(data.rename(columns={"r": "q"})))
    with pytest.raises(InferenceError, match="takes a PowerPrior"):
        fit(data)


# ---- meta-analytic-predictive ----------------------------------------------------------------------------


def test_mixture_weights_update_analytically():
    yes, n = 27, 30  # far above what the trials predict
    posterior = dtr.fit(MIXED, arms(yes, n, 9, 18), seed=2, engine="exact", draws=DRAWS)
    weight, a, b = np.array(MAP.components).T
    log = np.log(weight) + betaln(a + yes, b + n - yes) - betaln(a, b)
    exact = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
    mean = exact @ ((a + yes) / (a + b + n))
    drawn = posterior.draws("r")["probability.a"]
    assert abs(drawn.mean() - mean) < 4 * drawn.std() / math.sqrt(DRAWS)
    vague = np.exp(ess.log_shares(MAP, drawn)[:, -1])
    assert abs(vague.mean() - exact[-1]) < 4 * vague.std() / math.sqrt(DRAWS)
    assert exact[-1] > 0.9
    assert f"{vague.mean():.3g} after" in dtr.priors(posterior)["r.probability.a"].conflict


def test_prediction_without_uncertainty_between_trials_is_the_pooled_estimate():
    """As the SD between trials goes to 0 the prediction is the fixed-effect meta-analysis."""
    points = mixtures.predictive_of_estimates([(1.0, 0.1), (1.3, 0.2)], 1e-6)
    w = np.array([100, 25.0])
    assert points.mean() == pytest.approx((w @ [1.0, 1.3]) / w.sum(), abs=1e-6)
    assert points.std() == pytest.approx(w.sum() ** -0.5, rel=2e-3)


def test_prediction_from_one_trial_has_its_variance_and_twice_that_between():
    """One estimate: mean unknown, so the new value varies by se^2 + 2 E[tau^2], tau half-normal weighed by the flat mean only."""
    mean, sd, weight = mixtures.estimates_given_between([(0.4, 0.3)], 0.2)
    assert np.allclose(mean, 0.4)
    assert weight @ sd**2 == pytest.approx(0.3**2 + 2 * 0.2**2, rel=1e-3)


def test_the_fit_reproduces_the_prediction():
    trials = [(0.3, 0.1), (0.5, 0.12), (0.1, 0.15)]
    mean, sd, weight = mixtures.estimates_given_between(trials, 0.3)
    prior = dtr.RobustMAP(*zip(*trials, strict=True), between=0.3, vague_sd=2, weight=0.2)
    w, m, s = np.array(prior.components[:-1]).T
    x = np.linspace(-0.8, 1.4, 45)
    exact = stats.norm.cdf((x[:, None] - mean) / sd) @ weight
    assert np.abs(stats.norm.cdf((x[:, None] - m) / s) @ w / 0.8 - exact).max() < 0.01
    assert w.sum() == pytest.approx(0.8) and prior.components[-1][0] == 0.2


def test_counts_without_spread_between_trials_are_pooled():
    points = mixtures.predictive_of_counts([(12, 40), (30, 80), (9, 30)], 1e-3)
    # A Normal(0, 2) prior of the log-odds is worth little beside 150 patients: the posterior is close to a Beta.
    assert points.mean() == pytest.approx(51.5 / 151, abs=0.003) and points.std() == pytest.approx(math.sqrt(0.341 * 0.659 / 151), rel=0.05)


# ---- effective sample sizes --------------------------------------------------------------------------------


def test_effective_sample_sizes_in_closed_form():
    assert ess.ess_of_probability(Prior("Beta", concentration1=3, concentration0=5)) == 8
    alone = object.__new__(dtr.RobustMAP)
    for name, value in (("components", ((0.7, 3.0, 5.0), (0.3, 3.0, 5.0))), ("of_probability", True)):
        object.__setattr__(alone, name, value)
    assert ess.ess_of_probability(alone) == pytest.approx(8, rel=1e-9)  # a mixture of one and the same Beta
    assert ess.information(Prior("Normal", loc=3, scale=0.5)) == 4
    # Fisher information of location by quadrature of the score.
    x = np.linspace(-400, 400, 400_001)
    for prior, law in ((Prior("StudentT", df=5, loc=0, scale=2), stats.t(5, 0, 2)), (Prior("Cauchy", loc=0, scale=2), stats.cauchy(0, 2))):
        p = law.pdf(x)
        assert ess.information(prior) == pytest.approx(np.trapezoid(np.gradient(p, x) ** 2 / p, x), rel=1e-3)


def test_information_of_a_mixture_is_that_of_its_score():
    prior = dtr.RobustMAP([0.3, 0.5, 0.1], [0.1, 0.12, 0.15], between=0.3, vague_sd=2)
    w, m, s = np.array(prior.components).T
    x = np.linspace(-15, 15, 300_001)
    parts = w * stats.norm.pdf(x[:, None], m, s)
    p = parts.sum(axis=1)
    score = (parts * (m - x[:, None]) / s**2).sum(axis=1) / p
    # Midpoint quantiles leave out the tail beyond the last of 400.
    assert ess.information(prior) == pytest.approx(np.trapezoid(score**2 * p, x), rel=0.01)


def test_prior_table_before_data():
    own = {"beta.age": Prior("Normal", loc=0, scale=1), "treatment.arm[b vs a]": Prior("Normal", loc=0, scale=2)}
    study = dtr.Study(
        dtr.Baseline("age"), dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Normal(), priors=own),
        utility="y", scales={"y": (0, 4.0), "age": (0, 1)},
    )
    table = dtr.priors(study)
    assert table["y.intercept"].ess == pytest.approx(1 / 2.5**2)
    assert table["y.beta.age"].ess == pytest.approx(4.0**2 / 1)  # sigma^2 / scale^2
    # n patients, half on either option, estimate the difference with variance 4 sigma^2 / n.
    assert table["y.treatment.arm[b vs a]"].ess == pytest.approx(4 * 4.0**2 / 2**2)
    assert table["y.sigma"].ess is None and set(table.frame["response"]) == {"y"}
    tau = dtr.priors(dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Normal()), utility="y"))["y.tau"]
    assert tau.ess == pytest.approx(1 / (0.25 * 0.5)) and tau.method == "variance"
    logit = dtr.priors(dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("r", dtr.Bernoulli()), utility="r"))["r.intercept"]
    draws = 1.5 * stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    assert logit.ess == pytest.approx(((2 + 2 * np.cosh(draws)) / 1.5**2).mean(), rel=1e-3)
    assert all(len(line) <= 98 for line in str(table).splitlines())
    with pytest.raises(InferenceError, match=r"did you mean 'y.tau'|no address"):
        table["y.tua"]
    with pytest.raises(InferenceError, match="takes a Study or a Posterior"):
        dtr.priors("y")
