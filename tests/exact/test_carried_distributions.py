"""A user's response distribution is the same in PyMC and after it was carried to JAX: log density, mean, simulated outcomes."""

import numpy as np
import pymc as pm
import pytest
import scipy.stats as st

from bayesdtr.errors import ModelError
from bayesdtr.model import compile_response, evaluate, evaluate_paired
from bayesdtr.model.distributions import LAWS
from bayesdtr.runtime import double_precision
from bayesdtr.study import Baseline, Decision, Response, Study

# Per name of the PyMC operation: the response's model with known parameters, and the same distribution in SciPy.
CASES = {
    "normal": (lambda x: pm.Normal("r", x, 2.0), lambda x: st.norm(x, 2.0)),
    "t": (lambda x: pm.StudentT("r", nu=5.0, mu=x, sigma=2.0), lambda x: st.t(5.0, x, 2.0)),
    "bernoulli": (lambda x: pm.Bernoulli("r", logit_p=x), lambda x: st.bernoulli(1 / (1 + np.exp(-x)))),
    "laplace": (lambda x: pm.Laplace("r", x, 1.5), lambda x: st.laplace(x, 1.5)),
    "logistic": (lambda x: pm.Logistic("r", x, 1.5), lambda x: st.logistic(x, 1.5)),
    "lognormal": (lambda x: pm.LogNormal("r", x, 0.5), lambda x: st.lognorm(0.5, scale=np.exp(x))),
    "gamma": (lambda x: pm.Gamma("r", alpha=2.0, beta=pm.math.exp(x)), lambda x: st.gamma(2.0, scale=np.exp(-x))),
    "exponential": (lambda x: pm.Exponential("r", lam=pm.math.exp(x)), lambda x: st.expon(scale=np.exp(-x))),
    "beta": (lambda x: pm.Beta("r", alpha=pm.math.exp(x), beta=3.0), lambda x: st.beta(np.exp(x), 3.0)),
    "uniform": (lambda x: pm.Uniform("r", x, x + 2.0), lambda x: st.uniform(x, 2.0)),
    "poisson": (lambda x: pm.Poisson("r", mu=pm.math.exp(x)), lambda x: st.poisson(np.exp(x))),
}
X = np.array([-0.4, 0.3, 1.1])


def build(name: str):
    study = Study(Baseline("x"), Decision("a", ["u", "v"]), Response("r", model=lambda history: CASES[name][0](history["x"])), utility="r")
    compiled = compile_response(study, "r")
    inputs = {n: np.float64(1.0) for n in compiled.inputs} | {"x": X, "a": np.zeros(3, dtype=int)}
    return compiled, inputs


@pytest.mark.parametrize("name", CASES)
def test_log_density_mean_and_density(name):
    compiled, inputs = build(name)
    assert compiled.distribution == name
    truth = CASES[name][1](X)
    y = truth.ppf(0.4)
    log = truth.logpmf(y) if hasattr(truth.dist, "_pmf") and isinstance(truth.dist, st.rv_discrete) else truth.logpdf(y)
    with double_precision():  # PyTensor keeps constants that fit in 32 bits there, so log(2.0) is good to 1e-8 only
        np.testing.assert_allclose(np.asarray(compiled.log_density({}, inputs, y)[0]), log, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(evaluate(compiled, {}, inputs, "mean")[0], truth.mean(), rtol=1e-10)
    np.testing.assert_allclose(evaluate(compiled, {}, inputs, "density", y[:, None])[0, :, 0], np.exp(log), rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_simulated_outcomes(name):
    compiled, inputs = build(name)
    size = 4000
    rows = {n: np.broadcast_to(v, (size, *np.shape(v))) if np.ndim(v) else v for n, v in inputs.items()}
    drawn = evaluate_paired(compiled, {}, rows, "sample", np.random.default_rng(0).random((size, 3)))
    truth = CASES[name][1](X)
    error = truth.std() / np.sqrt(size)
    assert (np.abs(drawn.mean(axis=0) - truth.mean()) < 4 * error).all()
    np.testing.assert_allclose((drawn <= truth.ppf(0.5)).mean(axis=0), truth.cdf(truth.ppf(0.5)), atol=4 * 0.5 / np.sqrt(size))


def test_every_carried_distribution_is_proven():
    assert set(CASES) == {name for name, law in LAWS.items() if law.plain}


def test_what_cannot_be_carried_is_refused_by_name():
    study = Study(
        Baseline("x"), Decision("a", ["u", "v"]), Response("r", model=lambda history: pm.SkewNormal("r", mu=history["x"], sigma=1.0, alpha=1.0)),
        utility="r",
    )
    with pytest.raises(ModelError, match="'r': its model ends in a 'skewnormal' distribution, which cannot be carried over"):
        compile_response(study, "r")
