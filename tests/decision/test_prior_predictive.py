"""What the priors say before data, against closed forms for two Beta cells."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import bayesdtr as dtr
from bayesdtr.errors import InferenceError

BETAS = dtr.Study(
    dtr.Decision("arm", ["a", "b"]),
    dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated(), priors={"probability.a": dtr.Prior("Beta", concentration1=8, concentration0=4)}),
    utility="r",
)
DRAWS = 4000


@pytest.fixture(scope="session")
def betas() -> dtr.PriorPredictive:
    """Beta(8, 4) against a uniform."""
    return dtr.prior_predictive(BETAS, seed=1, draws=DRAWS)


def test_probabilities_values_and_effective_sizes_of_two_betas(betas):
    # Four standard errors, draws of NUTS taken to be worth a quarter of independent ones.
    error = 4 / np.sqrt(DRAWS / 4)
    first = integrate.quad(lambda p: stats.beta(8, 4).pdf(p) * p, 0, 1)[0]
    (best,) = betas.best
    assert best.options == ("a", "b") and best.probability[0] == pytest.approx(first, abs=0.5 * error)
    assert betas.starts_best == dict(zip(best.options, best.probability, strict=True))
    table = betas.regimes.set_index("regime")
    for arm, law, size in (("a", stats.beta(8, 4), 12), ("b", stats.beta(1, 1), 2)):
        assert table.loc[arm, "mean"] == pytest.approx(law.mean(), abs=error * law.std())
        assert table.loc[arm, "sd"] == pytest.approx(law.std(), rel=error)
        assert table.loc[arm, "ess"] == pytest.approx(size, rel=2 * error)
    assert table.loc["b", "difference_sd"] == pytest.approx(np.hypot(stats.beta(8, 4).std(), 12**-0.5), rel=error)
    assert betas.warnings == () and all(len(line) <= 98 for line in str(betas).splitlines())


def test_the_plot_takes_it(betas):
    table = dtr.plot.prior_predictive_data(betas).set_index("response")
    assert table.loc["r", "q0.5"] == np.quantile(betas.drawn["r"].mean(axis=1), 0.5) and np.isnan(table.loc["r", "mean"])
    assert len(dtr.plot.prior_predictive(betas).axes) == 1
    with pytest.raises(InferenceError, match="hand in simulated outcomes"):
        dtr.plot.prior_predictive_data("posterior")  # type: ignore[arg-type]


def test_what_is_missing_is_named():
    study = dtr.Study(dtr.Baseline("age"), dtr.Decision("arm", ["a", "b"]), dtr.Response("n", dtr.Poisson()), dtr.Response("y", dtr.Normal()),
                      utility="y")
    with pytest.raises(InferenceError, match=r"scale of 'age', 'n', 'y' is not known; declare Study\(..., scales="):
        dtr.prior_predictive(study, seed=1)
    with pytest.raises(InferenceError, match="'n', 'y'"):
        dtr.prior_predictive(study, pd.DataFrame({"age": [1.0, 2.0, 4.0]}), seed=1)
    with pytest.raises(InferenceError, match="location above 0"):
        dtr.prior_predictive(study.with_scales({"age": (0, 1), "n": 1.0, "y": (0, 1)}), seed=1)
    with pytest.raises(InferenceError, match="takes a Study or a Posterior"):
        dtr.prior_predictive("study", seed=1)  # type: ignore[arg-type]


def test_an_absurd_prior_is_called_so():
    wide = dtr.Prior("Normal", loc=0, scale=40)
    study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("n", dtr.Poisson(), priors={"intercept": wide}),
                      utility="n", scales={"n": (3, 2)})
    found = dtr.prior_predictive(study, seed=1, draws=200)
    assert any("prior counts exceed 10000" in w for w in found.warnings)
    assert found.outcomes.loc[0, "extreme"] == pytest.approx(stats.norm(0, 40.1).sf(np.log(1e4)), abs=0.15)
