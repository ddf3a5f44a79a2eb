"""Priors of single coefficients as the compiled model has them: log densities against SciPy, weights of borrowed patients."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr.data import fix_scales, read
from bayesdtr.inference.borrow import borrowed_of
from bayesdtr.inference.fit import blocks_of
from bayesdtr.model import compile_response
from bayesdtr.runtime import double_precision

MAP = dtr.RobustMAP([0.3, 0.5, 0.1], [0.1, 0.12, 0.15], between=0.3, vague_sd=2)
HALF = stats.halfnorm


def log_prior(priors, u, family=None):
    """Log prior of a response with unconstrained parameters `u`, its SD 2 and its location 1."""
    study = dtr.Study(dtr.Baseline("age"), dtr.Decision("first", ["a", "b"]), dtr.Response("y", family or dtr.Normal(), priors=priors), utility="y",
                      scales={"age": (0, 1), "y": (1, 2)})
    compiled = compile_response(study, "y")
    inputs = {"age": np.zeros(2), "first": np.zeros(2, dtype=int), "age::location": 0.0, "age::sd": 1.0, "y::location": 1.0, "y::sd": 2.0}
    with double_precision():
        start = compiled.initial(inputs)
        assert set(u) <= set(start), set(start)
        at = {n: np.broadcast_to(np.asarray(u.get(n, 0.0), dtype=float), v.shape) for n, v in start.items()}
        return compiled, float(compiled.log_density(at, {n: inputs[n] for n in compiled.inputs}, np.zeros(2))[1])


def mixture(x, factor=1.0):
    w, m, s = np.array(MAP.components).T
    return np.log((w * stats.norm.pdf(x * factor, m, s)).sum() * factor)


def common(sigma=1.0, tau_interaction=1.0):
    """Log prior of intercept 0, interactions 0, log scales 0."""
    return (stats.norm(1, 5).logpdf(0) + HALF(scale=2).logpdf(sigma) + HALF(scale=0.5).logpdf(tau_interaction)
            + stats.norm(0, 1).logpdf(0))


def test_a_mixture_on_the_difference_is_a_mixture_on_its_coefficient():
    compiled, found = log_prior({"treatment.first[b vs a]": MAP}, {"treatment.first[b vs a]": 0.37})
    assert found == pytest.approx(common() + stats.norm(0, 2).logpdf(0) + mixture(0.37, np.sqrt(2)), abs=1e-9)
    assert not compiled.linear.affine and "tau_log__" not in compiled.initial({n: np.zeros(2, dtype=int) if n in compiled.history else 1.0
                                                                               for n in compiled.inputs})
    assert compiled.dims["treatment"] == ("treatment_contrast",)


def test_a_commensurate_prior_stays_normal_given_the_sd_between_trials():
    prior = dtr.Commensurate(0.4, 0.3, between=0.5)
    compiled, found = log_prior({"treatment.first[b vs a]": prior}, {"treatment": 0.2, "treatment.first[b vs a].between_log__": -0.7})
    d = np.exp(-0.7)
    law = stats.norm(0.4 / np.sqrt(2), np.sqrt(0.09 + d**2) / np.sqrt(2))
    expected = common() + stats.norm(0, 2).logpdf(0) + law.logpdf(0.2) + HALF(scale=0.5).logpdf(d) - 0.7
    assert found == pytest.approx(expected, abs=1e-9) and compiled.linear.affine and "treatment" in compiled.linear.latent


def test_one_coefficient_one_argument_and_one_decision():
    _, found = log_prior({"beta.age": dtr.Prior("Normal", loc=1, scale=0.2), "tau.first.scale": 0.1, "intercept.scale": 1},
                         {"beta": 0.9, "treatment": 0.3})
    changed = common() - stats.norm(1, 5).logpdf(0) + stats.norm(1, 2).logpdf(0)
    assert found == pytest.approx(changed + stats.norm(1, 0.2).logpdf(0.9) + HALF(scale=0.2).logpdf(1) + stats.norm(0, 1).logpdf(0.3), abs=1e-9)


def test_a_coefficient_that_is_not_normal_stands_alone():
    compiled, found = log_prior({"beta.age": dtr.Prior("StudentT", df=4, loc=0, scale=1.5)}, {"beta.age": 2.0})
    tau = HALF(scale=1).logpdf(1) + stats.norm(0, 1).logpdf(0)
    assert found == pytest.approx(common() + tau + stats.t(4, 0, 1.5).logpdf(2.0), abs=1e-9)
    assert "beta" in compiled.reported and "beta.age" in compiled.parameters


def test_one_cell_with_a_mixture_of_betas():
    prior = dtr.RobustMAP.from_counts([4, 9], [10, 20], between=0.5)
    study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated(), priors={"probability.b": prior}),
                      utility="r")
    compiled = compile_response(study, "r")
    names = sorted(compiled.initial({"arm": np.zeros(2, dtype=int)}))
    with double_precision():
        at = {n: np.asarray(-0.4 if ".b" in n else 0.3) for n in names}
        found = float(compiled.log_density(at, {"arm": np.zeros(2, dtype=int)}, np.zeros(2))[1])
    p, q = 1 / (1 + np.exp(0.4)), 1 / (1 + np.exp(-0.3))
    w, a, b = np.array(prior.components).T
    expected = np.log((w * stats.beta.pdf(p, a, b)).sum()) + np.log(p * (1 - p)) + np.log(q * (1 - q))
    assert len(names) == 2 and found == pytest.approx(expected, abs=1e-9)


def test_borrowed_patients_are_rows_of_less_weight():
    study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("r", dtr.Bernoulli()), dtr.Response("y", dtr.Normal()), utility="y",
                      cluster="site")
    new = pd.DataFrame({"site": ["1", "2", "2", "1"], "arm": ["a", "b", "a", "b"], "r": [0, 1, 1, 0], "y": [0.1, 0.2, 0.4, 1.0]})
    old = pd.DataFrame({"site": ["9", "2", "9"], "arm": ["b", "a", "a"], "r": [1, 0, 1], "y": [3.0, 5.0, None]})
    trajectories, borrowed = borrowed_of(study, dtr.PowerPrior(old, {"y": 0.4}), read(study, new))
    r, y = blocks_of(study, trajectories, fix_scales(study, trajectories), borrowed)
    assert trajectories.cluster_labels == ("1", "2", "9") and len(r.weight) == 4
    assert y.weight.tolist() == [1, 1, 1, 1, 0.4, 0.4, 0] and y.y[:6].tolist() == [0.1, 0.2, 0.4, 1.0, 3.0, 5.0]
    assert y.inputs["cluster::code"][:6].tolist() == [0, 1, 1, 0, 2, 1] and y.inputs["arm"][:6].tolist() == [0, 1, 0, 1, 1, 0]
    assert borrowed.effective("y") == pytest.approx(0.8) and borrowed.effective("r") == 0
