"""User-written response models: what is counted, what is refused, and with which words."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest

from bayesdtr.errors import DataError, ModelError
from bayesdtr.inference import fit
from bayesdtr.study import Bernoulli, Decision, Normal, Response, Saturated, Study

QUICK = {"seed": 1, "draws": 250, "warmup": 300, "chains": 4, "progress": False}


def frame(y, second=None) -> pd.DataFrame:
    y = np.asarray(y, dtype=float)
    return pd.DataFrame({"a": np.where(np.arange(len(y)) % 2, "q", "p"), "y": y})


def one(model, family=None) -> Study:
    return Study(Decision("a", ["p", "q"]), Response("y", family, model=model), utility="y")


def two_rates(history):
    rate = pm.HalfNormal("rate", 5.0, shape=2)
    return pm.Exponential("y", lam=rate[history.code("a")])


def test_a_positive_response_is_fitted_on_its_own_scale():
    rng = np.random.default_rng(0)
    data = frame(rng.exponential(2.0, 400))
    posterior = fit(one(two_rates), data, **QUICK)
    rate = posterior.draws("y")["rate"]
    # Nearly Gamma(201, sum): posterior mean within 4 posterior SDs' worth of its Monte Carlo error.
    for code, arm in enumerate(("p", "q")):
        y = data.y[data.a == arm]
        target, sd = (len(y) + 1) / y.sum(), np.sqrt(len(y) + 1) / y.sum()
        assert abs(rate[:, code].mean() - target) < 4 * sd / np.sqrt(200) + 0.01 * target
    assert posterior.verdict.status == "ok", posterior.verdict


def with_earlier_trial(history):
    effect = pm.Normal("effect", 0, 1, shape=2)
    pm.Normal("earlier", effect[0], 0.1, observed=np.array([3.0, 3.0, 3.0]))
    return pm.Normal("y", effect[history.code("a")], 1.0)


def test_an_earlier_trial_inside_the_model_counts():
    posterior = fit(one(with_earlier_trial), frame([0.0, 0.0]), **QUICK)
    precision = 1 + 3 / 0.01 + 1
    assert abs(posterior.draws("y")["effect"][:, 0].mean() - 3 * 300 / precision) < 4 * precision**-0.5 / np.sqrt(100)


def test_study_free_patients_do_not_break_gradients():
    study = Study(
        Decision("a", ["p", "q"]), Response("mid", Normal(), model=Saturated()), Decision("b", ["p", "q"]), Response("y", model=logarithm),
        utility="y",
    )
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a": ["p", "q"] * 30, "mid": rng.uniform(1, 3, 60), "b": ["p", "p", "q", "q"] * 15})
    data["y"] = np.log(data.mid) + rng.normal(size=60)
    data.loc[40:, "y"] = np.nan
    data.loc[40:, "b"] = None
    data.loc[50:, "mid"] = np.nan
    posterior = fit(study, data, **QUICK)
    assert posterior.verdict.convergence.divergences == 0 and posterior.verdict.convergence.rhat < 1.05


def logarithm(history):
    return pm.Normal("y", pm.Normal("slope", 0, 2) * pm.math.log(history["mid"]), pm.HalfNormal("sd", 2))


def discrete_parameter(history):
    z = pm.Bernoulli("z", 0.5)
    return pm.Normal("y", z + history.zeros, 1.0)


def failing(history):
    return 1 / 0


def returns_nothing(history):
    pm.Normal("y", history.zeros, 1.0)


def wrong_name(history):
    return pm.Normal("y", history["A"], 1.0)


def labels_as_values(history):
    return pm.Normal("y", history["a"], 1.0)


def potential_on_patients(history):
    mean = pm.Normal("mean", 0, 1)
    pm.Potential("extra", (history.code("a") * mean).sum())
    return pm.Normal("y", mean + history.zeros, 1.0)


def normal(history):
    return pm.Normal("y", pm.Normal("mean", 0, 1) + history.zeros, 1.0)


def counts(history):
    return pm.Poisson("y", mu=pm.HalfNormal("mu", 3) + history.zeros)


@pytest.mark.parametrize(("model", "family", "message"), [
    (discrete_parameter, None, "'z' is discrete, and the sampler needs continuous parameters"),
    (failing, None, "failed: ZeroDivisionError: division by zero"),
    (returns_nothing, None, "returned nothing"),
    (wrong_name, None, "history has no 'A'.*did you mean 'a'"),
    (labels_as_values, None, r"use history.code\('a'\)"),
    (potential_on_patients, None, "'extra' is a likelihood term on patients' columns"),
    (normal, Bernoulli(), "declared Bernoulli, but its model ends in a 'normal'"),
])
def test_refused_models(model, family, message):
    with pytest.raises(ModelError, match=message):
        fit(one(model, family), frame([0.0, 1.0, 1.0, 0.0]), **QUICK)


@pytest.mark.parametrize(("model", "bad"), [(two_rates, -1.0), (counts, 1.5), (counts, -2.0)])
def test_data_outside_the_support_are_refused(model, bad):
    with pytest.raises(DataError, match=rf"Column 'y': {bad:g} \(patient 3\) cannot come from the response's model"):
        fit(one(model), frame([1.0, 2.0, bad, 3.0]), **QUICK)


@pytest.mark.parametrize("name", ["sigma", "tau", "intercept", "beta", "mean"])
def test_a_response_may_be_named_like_a_parameter(name):
    for model in (None, Saturated()):
        study = Study(Decision("a", ["p", "q"]), Response(name, Normal(), model=model), utility=name)
        data = frame(np.random.default_rng(0).normal(size=20)).rename(columns={"y": name})
        assert fit(study, data, seed=1, draws=20, warmup=20, chains=2, progress=False).study is study
