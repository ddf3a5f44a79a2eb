"""Every built-in family says the same in PyMC, after it was compiled, and in SciPy: density, moments, quantiles, predictors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.stats as st
from scipy import special

import bayesdtr as dtr
from bayesdtr.model import compile_response, evaluate, make_inputs
from bayesdtr.model.distributions import log_prob, mean_and_variance
from bayesdtr.model.likelihoods import _rising
from bayesdtr.runtime import double_precision
from bayesdtr.study import Scale

LEVELS = ["low", "middle", "high"]
X, A, EXPOSURE = np.array([0.3, -1.0, 2.0, 0.0]), np.array([0, 1, 2, 1]), np.array([1.0, 2.0, 0.5, 3.0])


def expit(v):
    return 1 / (1 + np.exp(-v))


def softmax(v):
    return np.exp(v) / np.exp(v).sum(axis=-1, keepdims=True)


def ordinal(eta, p):
    below = expit(p["cutpoint"] - eta[:, :1])
    return np.diff(np.column_stack([np.zeros(len(eta)), below, np.ones(len(eta))]), axis=1)


def categorical(eta, p):
    # Helmert contrasts of three levels, written out.
    rows = np.array([[-1 / np.sqrt(2), -1 / np.sqrt(6)], [1 / np.sqrt(2), -1 / np.sqrt(6)], [0, 2 / np.sqrt(6)]])
    return softmax(eta @ rows.T)


def truncated(law):
    class Above:
        logpmf = staticmethod(lambda y: law.logpmf(y) - np.log1p(-law.pmf(0)))
        mean = staticmethod(lambda: law.mean() / (1 - law.pmf(0)))
        second = staticmethod(lambda: (law.var() + law.mean() ** 2) / (1 - law.pmf(0)))

    return Above()


def with_zeros(gate, logp, mean, second, inflated_zero=0.0):
    """Log density, mean and variance of a law with probability `gate` of a zero added."""
    def logpdf(y):
        return np.where(y == 0, np.log(gate + (1 - gate) * inflated_zero), np.log1p(-gate) + logp(np.where(y == 0, 1, y)))

    m = (1 - gate) * mean
    return logpdf, m, (1 - gate) * second - m**2


def mu_of(eta, exposure=False):
    return np.exp(eta[:, 0]) * (EXPOSURE if exposure else 1.0)


class nb:  # noqa: N801
    """Negative binomial by mean and dispersion, without forming the probability 1 - p, which loses digits for small means."""

    def __init__(self, mu, dispersion):
        self.mu, self.size = mu, dispersion**-2.0

    def logpmf(self, y):
        mu, a = self.mu, self.size
        return special.gammaln(y + a) - special.gammaln(a) - special.gammaln(y + 1) - a * np.log1p(mu / a) + y * (np.log(mu) - np.log(mu + a))

    def pmf(self, y):
        return np.exp(self.logpmf(y))

    def mean(self):
        return self.mu

    def var(self):
        return self.mu + self.mu**2 / self.size


def discrete(p):
    codes = np.arange(p.shape[1])
    mean = p @ codes
    return (lambda y: np.log(p[np.arange(len(p)), y.astype(int)])), mean, p @ codes**2 - mean**2


def plain(law, density="logpdf"):
    return getattr(law, density), law.mean(), law.var()


def inflated(law, gate):
    return with_zeros(gate, law.logpmf, law.mean(), law.var() + law.mean() ** 2, law.pmf(0))


def hurdle(law, gate):
    above = truncated(law)
    return with_zeros(gate, above.logpmf, above.mean(), above.second())


def beta_binomial(n, eta, p):
    return plain(st.betabinom(n, expit(eta[:, 0]) * p["concentration"], expit(-eta[:, 0]) * p["concentration"]), "logpmf")


def hurdle_lognormal(eta, p):
    law = st.lognorm(p["sigma"], scale=np.exp(eta[:, 0]))
    return with_zeros(expit(eta[:, 1]), law.logpdf, law.mean(), law.var() + law.mean() ** 2)


# Family, values to try, and from predictors and the family's parameters to (log density, mean, variance) written with SciPy.
CASES = {
    "normal": (dtr.Normal(), [0.0, 1.5, -2, 0.3], lambda e, p: plain(st.norm(e[:, 0], p["sigma"]))),
    "t": (dtr.StudentT(), [0.0, 1.5, -2, 9], lambda e, p: plain(st.t(2 + p["df_excess"], e[:, 0], p["sigma"]))),
    "lognormal": (dtr.LogNormal(), [0.2, 1.5, 2, 0.7], lambda e, p: plain(st.lognorm(p["sigma"], scale=np.exp(e[:, 0])))),
    "bernoulli": (dtr.Bernoulli(), [0, 1, 1, 0], lambda e, p: plain(st.bernoulli(expit(e[:, 0])), "logpmf")),
    "beta-binomial": (dtr.BetaBinomial(7), [0, 3, 7, 5], lambda e, p: beta_binomial(7, e, p)),
    "beta-binomial of many trials": (dtr.BetaBinomial(40), [0, 13, 40, 25], lambda e, p: beta_binomial(40, e, p)),
    "ordinal": (dtr.Ordinal(LEVELS), [0, 1, 2, 1], lambda e, p: discrete(ordinal(e, p))),
    "categorical": (dtr.Categorical(LEVELS), [0, 1, 2, 2], lambda e, p: discrete(categorical(e, p))),
    "poisson": (dtr.Poisson("years"), [0, 1, 5, 2], lambda e, p: plain(st.poisson(mu_of(e, True)), "logpmf")),
    "negative binomial": (dtr.NegativeBinomial("years"), [0, 1, 5, 2], lambda e, p: plain(nb(mu_of(e, True), p["dispersion"]), "logpmf")),
    "inflated poisson": (dtr.ZeroInflated(dtr.Poisson()), [0, 1, 5, 0], lambda e, p: inflated(st.poisson(mu_of(e)), expit(e[:, 1]))),
    "inflated negative binomial": (
        dtr.ZeroInflated(dtr.NegativeBinomial()), [0, 1, 5, 0], lambda e, p: inflated(nb(mu_of(e), p["dispersion"]), expit(e[:, 1])),
    ),
    "hurdle poisson": (dtr.Hurdle(dtr.Poisson("years")), [0, 1, 5, 2], lambda e, p: hurdle(st.poisson(mu_of(e, True)), expit(e[:, 1]))),
    "hurdle negative binomial": (
        dtr.Hurdle(dtr.NegativeBinomial()), [0, 1, 5, 2], lambda e, p: hurdle(nb(mu_of(e), p["dispersion"]), expit(e[:, 1])),
    ),
    "hurdle log-normal": (dtr.Hurdle(dtr.LogNormal()), [0.0, 1.2, 5, 0.0], hurdle_lognormal),
}


def utility_of(family):
    return {"y": dict(zip(LEVELS, range(3), strict=True))} if family.levels else "y"


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return made(CASES[request.param])


def made(case):
    """A family's compiled response at arbitrary parameters, with SciPy's law there."""
    family, y, law = case
    study = dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q", "r"]), dtr.Response("y", family), utility=dtr.Utility(utility_of(family)), cluster="site",
    )
    compiled = compile_response(study, "y", ("s1", "s2"))
    scales = {"x": Scale(0.1, 1.2), "y": Scale(1.3, 1.1)}
    inputs = make_inputs(compiled, {"x": X, "a": A}, np.array([0, 1, 2, 0]), scales, {"y::years": EXPOSURE, "y::exposure": EXPOSURE})
    rng = np.random.default_rng(3)
    with double_precision():
        u = {n: np.asarray(v) + 0.5 * rng.normal(size=v.shape) for n, v in compiled.initial(inputs).items()}
        parameters = {n: np.asarray(v) for n, v in compiled.constrain(u, inputs).items()}
        eta = np.asarray(compiled.linear.eta(u, inputs))
    return compiled, inputs, np.array(y, dtype=float), u, parameters, eta, law(eta, parameters)


def test_density_moments_and_predictors(case):
    compiled, inputs, y, u, parameters, eta, (logpdf, mean, variance) = case
    with double_precision():
        rows = np.asarray(compiled.log_density(u, inputs, y)[0])
        law = compiled.predict({n: parameters[n] for n in compiled.parameters}, inputs)
        carried = np.asarray(log_prob(law, jnp.asarray(y)))
        moments = [np.asarray(v) for v in mean_and_variance(law)]
        from_eta = np.asarray(compiled.linear.rows(eta, u, inputs, y))
    np.testing.assert_allclose(rows, logpdf(y), rtol=0, atol=1e-11)
    # NumPyro's log beta function is good to 5e-8, and less so of many trials.
    np.testing.assert_allclose(carried, logpdf(y), rtol=0, atol=5e-7 if y.max() > 7 else 2e-7)
    np.testing.assert_allclose(moments, [mean, variance], rtol=1e-8)
    np.testing.assert_array_equal(from_eta, rows)


POISSON_LIMITS = {
    "negative binomial": lambda e: plain(st.poisson(mu_of(e, True)), "logpmf"),
    "inflated negative binomial": lambda e: inflated(st.poisson(mu_of(e)), expit(e[:, 1])),
    "hurdle negative binomial": lambda e: hurdle(st.poisson(mu_of(e)), expit(e[:, 1])),
}


@pytest.mark.parametrize("name", POISSON_LIMITS)
def test_counts_of_vanishing_dispersion_are_poisson(name):
    """Where a sampler's or an importance proposal's tail may reach: a false density there would outweigh all others."""
    compiled, inputs, y, u, _, _, (logpdf, *_) = made((CASES[name][0], [0, 1, 40, 700], lambda e, _: POISSON_LIMITS[name](e)))
    with double_precision():
        density = jax.jit(lambda u: compiled.log_density(u, inputs, y)[0])
        slopes = jax.jit(jax.grad(lambda u: jnp.sum(compiled.log_density(u, inputs, y)[0])))
        for log_dispersion in (-12.0, -17.5, -40.0):
            u = u | {"dispersion_log__": np.asarray(log_dispersion)}
            # A count of 700 differs from Poisson by about 700^2 dispersion^2 / 2; rounding, by 1e-16 of 700 log 700.
            np.testing.assert_allclose(np.asarray(density(u)), logpdf(y), rtol=1e-12, atol=700**2 * np.exp(2 * log_dispersion))
            assert all(np.isfinite(v).all() for v in slopes(u).values())


def test_rising_factorials_of_any_size():
    """Against the sum of logarithms, rounded once."""
    start, count = pt.dscalar(), pt.dscalar()
    value = _rising(start, pt.log(start), count)
    rising = pytensor.function([start, count], [value, pt.grad(value, start)])
    for s in 10.0 ** np.arange(-12, 19):
        for n in (0, 1, 2, 33, 5000):
            exact = math.fsum(math.log(s + j) for j in range(n)), math.fsum(1 / (s + j) for j in range(n))
            np.testing.assert_allclose(rising(s, n), exact, rtol=1e-12, atol=1e-13, err_msg=f"{s}, {n}")


def test_predictors_are_affine_in_the_coefficients(case):
    compiled, inputs, _, u, *_ = case
    linear = compiled.linear
    assert linear.affine and linear.parts == case[5].shape[1]
    with double_precision():
        zero = {n: np.zeros_like(u[n]) for n in linear.latent}
        at = lambda s: np.asarray(linear.eta({n: s * u[n] for n in linear.latent}, inputs))  # noqa: E731
        np.testing.assert_allclose(at(2.0) - at(0.0), 2 * (at(1.0) - np.asarray(linear.eta(zero, inputs))), atol=1e-12)


def test_gradients_stay_finite_far_out(case):
    """Predictors of +-30, which a sampler's first steps reach, give finite densities and gradients."""
    compiled, inputs, y, u, *_ = case
    with double_precision():
        gradient = jax.jit(jax.grad(lambda u: compiled.potential(u, inputs, y, np.ones(len(y)))))
        for shift in (-30.0, 30.0):
            far = {n: v + (shift if n in ("intercept", "zero_intercept") else 0.0) for n, v in u.items()}
            assert all(np.isfinite(v).all() for v in gradient(far).values())


def test_simulated_outcomes_are_quantiles(case):
    """Outcomes at a grid of uniform numbers have the law's mean and variance, and options share their luck (monotone)."""
    compiled, inputs, _, _, parameters, _, (_, mean, variance) = case
    draws = {n: np.broadcast_to(parameters[n], (1, *parameters[n].shape)) for n in compiled.parameters}
    grid = (np.arange(2000) + 0.5) / 2000
    columns = {n: np.repeat(v, len(grid)) if n in compiled.by_row else v for n, v in inputs.items()}
    out = evaluate(compiled, draws, columns, "sample", np.tile(grid, len(X)))[0].reshape(len(X), -1)
    if compiled.distribution == "t":  # no quantile function: ordinary draws
        np.testing.assert_allclose(out.mean(axis=1), mean, atol=6 * np.sqrt(variance.max() / 2000))
        return
    assert (np.diff(out, axis=1) >= 0).all()
    spread = np.sqrt(variance)
    # The midpoint rule in the quantile misses part of the upper tail only: heavy tails need room.
    np.testing.assert_allclose((out.mean(axis=1) - mean) / spread, 0, atol=0.02)


def test_enumerated_probabilities_add_up(case):
    compiled, inputs, *_ = case
    if compiled.support is None:
        pytest.skip("no finite support")
    parameters = case[4]
    draws = {n: np.broadcast_to(parameters[n], (1, *parameters[n].shape)) for n in compiled.parameters}
    points = np.broadcast_to(np.array(compiled.support, dtype=float), (len(X), len(compiled.support)))
    p = evaluate(compiled, draws, inputs, "density", points)[0]
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_the_start_follows_the_scale(case):
    """Starting points are worked out from the data's scales, not from the placeholders a model is built on."""
    compiled, inputs, *_ = case
    if "intercept" in compiled.parameters and "y::location" in compiled.inputs:
        with double_precision():
            start = np.asarray(compiled.initial(inputs)["intercept"])
            np.testing.assert_allclose(start, np.asarray(compiled.linear.prior(compiled.initial(inputs), inputs)["intercept"][0]))
            assert (start != 0).all()
