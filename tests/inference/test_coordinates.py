"""Coordinates of latent Gaussian models: the map, its Jacobian, and that a posterior does not depend on them."""

import arviz_stats as azs
import jax
import jax.numpy as jnp
import numpy as np
import one_contrast as small
import pytest
import xarray as xr

import bayesdtr as dtr
from bayesdtr.inference import coordinates, nuts
from bayesdtr.inference.coordinates import COEFFICIENTS, OTHER
from bayesdtr.inference.transport import _dense, factor, transport
from bayesdtr.runtime import in_double_precision, key


def problem(p, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4 * p, p))
    return rows.T @ rows, rng.normal(size=p), rng.normal(size=p), rng.normal(size=p)


@in_double_precision
def test_the_map_sends_standard_normals_to_the_conditional_posterior():
    gram, log_scale, b, mean = problem(5)
    scale = np.exp(log_scale)
    precision = gram + np.diag(scale**-2)
    exact = np.linalg.solve(precision, b + mean / scale**2)
    to_x = lambda z: mean + scale * transport(gram, log_scale, scale * (b - gram @ mean), z)[0]  # noqa: E731
    np.testing.assert_allclose(to_x(jnp.zeros(5)), exact, rtol=1e-9)
    root = jax.jacobian(to_x)(jnp.zeros(5))
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(precision), rtol=1e-8)
    jacobian = transport(gram, log_scale, b, jnp.zeros(5))[1] + log_scale.sum()
    assert float(jacobian) == pytest.approx(np.linalg.slogdet(root)[1], rel=1e-9)


@in_double_precision
@pytest.mark.parametrize("spread", [1.0, 12.0])
def test_derivatives_written_by_hand(spread):
    """Against automatic differentiation through the factor, also where scales differ by orders of magnitude."""
    gram, log_scale, r, z = problem(6)
    log_scale = spread * log_scale

    def value(function):
        return lambda *args: jnp.sum(jnp.sin(function(*args)[0]) * z) + 0.7 * function(*args)[1]

    def plain(log_scale, r, z):
        _, low, inverse = factor(jnp.asarray(gram), log_scale)
        return inverse.T @ (inverse @ r + z), -jnp.sum(jnp.log(jnp.diagonal(low)))

    ours = jax.grad(value(lambda *a: _dense(jnp.asarray(gram), *a)), (0, 1, 2))(log_scale, r, z)
    theirs = jax.grad(value(plain), (0, 1, 2))(log_scale, r, z)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-8)


CURVES = dtr.Study(
    dtr.Baseline("x"), dtr.Decision("a", ["old", "new"]),
    dtr.Response("y", dtr.Normal(), model=dtr.Hierarchical(covariates="s(x)", modifiers="s(x)")),
    utility="y", scales={"x": (0.0, 1.0), "y": (0.0, 1.0)},
)


@pytest.fixture(scope="module", params=["bernoulli", "normal", "curves"])
def charted(request):
    rng, data = np.random.default_rng(3), small.frame()
    if request.param != "bernoulli":
        data["y"] = data["y"] + rng.normal(size=len(data))
    block = small.block_of(CURVES, data.assign(x=rng.normal(size=len(data)))) if request.param == "curves" else small.block(request.param, data)
    return block, in_double_precision(lambda: jax.jit(lambda d: coordinates.chart(block.compiled, d))(block.data))()


@in_double_precision
def test_density_and_jacobian_of_the_models_coordinates(charted):
    """The density in the coordinates is the model's own times the determinant of the map, by automatic differentiation."""
    block, chart = charted
    d, p = len(chart.pilot.psi), len(chart.pilot.at.x)
    names = (*block.compiled.linear.hyper, *block.compiled.linear.latent)

    def flat(z):
        u, _ = coordinates.to_model(block.compiled, {OTHER: z[:d], COEFFICIENTS: z[d:]}, chart, block.data)
        return jnp.concatenate([jnp.ravel(u[n]) for n in names])

    for seed in range(3):
        z = jnp.asarray(np.random.default_rng(seed).normal(size=d + p))
        position = {OTHER: z[:d], COEFFICIENTS: z[d:]}
        u, jacobian = coordinates.to_model(block.compiled, position, chart, block.data)
        assert float(jacobian) == pytest.approx(float(jnp.linalg.slogdet(jax.jacobian(flat)(z))[1]), abs=1e-9)
        density = coordinates.potential(block.compiled, position, chart, block.data)
        assert float(density) == pytest.approx(float(block.compiled.potential(u, *block.data) - jacobian), rel=1e-9)


@in_double_precision
def test_without_patients_the_coordinates_are_non_centred(charted):
    block, _ = charted
    inputs, y, weight = block.data
    data = (inputs, y, 0.0 * weight)
    chart = jax.jit(lambda d: coordinates.chart(block.compiled, d))(data)
    z = jnp.asarray(np.random.default_rng(5).normal(size=len(chart.pilot.at.x)))
    u, _ = coordinates.to_model(block.compiled, {OTHER: 0.1 + jnp.zeros(len(chart.pilot.psi)), COEFFICIENTS: z}, chart, data)
    prior = block.compiled.linear.prior(u, inputs)
    standard = np.concatenate([np.ravel((u[n] - prior[n][0]) / prior[n][1]) for n in block.compiled.linear.latent])
    np.testing.assert_allclose(standard, z if chart.basis is None else chart.basis @ z, atol=1e-9)


def test_the_posterior_is_that_of_quadrature():
    block = small.block()
    truth = small.quadrature(block)
    own = nuts.sample([block], seed=4, draws=2000, warmup=500, chains=4, show=False)[0]
    assert own.stats["diverging"].sum() == 0
    values = {n: own.values[n].reshape(4, 2000) for n in ("intercept", "tau", "treatment")}
    values["positive"] = (values["treatment"] > 0).astype(float)
    for name, (mean, sd) in truth.items():
        draws = xr.DataArray(values[name], dims=("chain", "draw"))
        assert abs(float(draws.mean()) - mean) < 4 * float(azs.mcse(draws, method="mean")), name
        if name != "positive":
            assert abs(float(draws.std()) - sd) < 4 * float(azs.mcse(draws, method="sd")), name


@in_double_precision
def test_starting_points_differ_by_chain_and_not_by_company(charted):
    block, chart = charted
    starts = [coordinates.start_of(block.compiled, chart, block.data, key(1, "y", c)) for c in (0, 1, 0)]
    assert not np.allclose(starts[0][COEFFICIENTS], starts[1][COEFFICIENTS])
    np.testing.assert_array_equal(starts[0][COEFFICIENTS], starts[2][COEFFICIENTS])
