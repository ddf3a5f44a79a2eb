"""Laplace's approximation where the other parameters are scales of coefficients only: their marginal is climbed in closed form.

For a likelihood seen as quadratic around the coefficients' mode, with precision ``G`` and prior precisions ``P = S^-2``, the coefficients
given their scales are Normal with covariance ``V = (G + P)^-1`` and mean `m`. With ``r = m - prior mean`` the log marginal density has, in
the log scales, the derivatives

    g_i = P_i (r_i^2 + V_ii) - 1,    H_ij = 2 P_i P_j V_ij (2 r_i r_j + V_ij) - 2 [i = j] P_i (r_i^2 + V_ii),

so that Newton's method over the scales reads no patient and differentiates nothing. All else is as in :mod:`bayesdtr.inference.many`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ...inference import many
from ...inference.coordinates import latent
from ...inference.laplace import halves, skewness, students_t
from ...inference.latent import Curvature, Data, Latent, mode, reads
from ...inference.pareto import smooth
from ...inference.pilot import LONGEST, SD_LIMITS, Pilot, marginal
from ...inference.transport import factor
from ...model import CompiledResponse

STEPS = 12
"""Newton steps over the scales, at most."""
LEVEL = 1e-2
"""A step that gains less in log density is the last: what is found steers a design of points and is never the answer."""
MOST = 12
"""Other parameters up to which this is done."""


def approximate(compiled: CompiledResponse, data: Data, draws: int) -> dict[str, jax.Array]:
    """Draws ``[draw, ...]`` of one trial's parameters: fixed quasi-random points, the same for all trials.

    Parameters
    ----------
    compiled : CompiledResponse
        With a latent Gaussian structure.
    data : tuple
        Inputs, outcomes, weights.
    draws : int
    """
    model = latent(compiled, data[0])
    assert model is not None
    for_design, for_draws, for_picks = jax.random.split(jax.random.key(0), 3)
    if not scales_only(model, data):
        return many.approximate(compiled, data, for_draws, draws, 0)[0]
    table = many.tables(model.d, model.p, draws)
    mixture = _mixture(model, table.design + jax.random.uniform(for_design, (model.d,)), data)
    point, x, z = mixture.draw((table.draws + jax.random.uniform(for_draws, (1 + model.p,))) % 1.0, WIDER)
    log_ratios = _exact(model, mixture, point, x, data) + 0.5 * jnp.sum((z / WIDER) ** 2, axis=1)
    weights, khat = smooth(log_ratios)
    picked = many._systematic(weights, draws, jax.random.uniform(for_picks))
    found = jax.vmap(lambda other, x: compiled.constrain({**model.other(other), **model.named(x)}, data[0]))(mixture.others[point], x)
    return {**{n: v[picked] for n, v in found.items()}, KHAT: khat}


KHAT = "(k-hat)"
"""Among a trial's draws: the shape of the importance weights' tail; no parameter is called so."""
WIDER = 1.1
"""Scale of the proposals' coordinates, so that the largest weights are not in their tails."""


def _exact(model: Latent, mixture: many.Mixture, point: jax.Array, x: jax.Array, data: Data) -> jax.Array:
    """Log posterior density of draws over the mixture's, but for the standard coordinates' part: all predictors in one product."""
    inputs = data[0]
    eta = jnp.einsum("rmp,dp->drm", model.design(inputs), x) + model.eta(jnp.zeros(model.p), inputs)
    psi = model.other(jnp.zeros(model.d))  # the rows do not look at it
    rows = jax.vmap(lambda e: model.likelihood(e, psi, data))(eta)
    prior = jax.vmap(lambda other, x: model.log_prior(x, model.other(other), data))(mixture.others[point], x)
    return rows + prior - mixture.log_density[point]


def scales_only(model: Latent, data: Data) -> bool:
    """Whether the rows' likelihood depends on the coefficients alone."""
    if model.normal or not 0 < model.d <= MOST:
        return False
    psi = model.other(jnp.zeros(model.d))
    eta = jnp.zeros((len(data[1]), model.linear.parts))
    return not reads(lambda given: model.linear.rows(eta, given, data[0], data[1]), psi)


def _mixture(model: Latent, design: jax.Array, data: Data) -> many.Mixture:
    """As :func:`bayesdtr.inference.many.approximate` stretches a design to a data set's posterior."""
    view = model.viewed()
    pilot = _pilot(model, data)
    skew = skewness(model, pilot, data)
    scales = halves(lambda w: marginal(view, pilot, pilot.psi + pilot.spread @ w, data), model.d)
    sides, log_density = students_t(design % 1.0)
    sides_scale = jnp.where(sides > 0, scales[0], scales[1])
    others = pilot.psi + (sides_scale * sides) @ pilot.spread.T
    centres, roots, jacobians, marginals = jax.vmap(lambda other: many._point(view, pilot, skew, other, data))(others)
    density = log_density - jnp.sum(jnp.log(sides_scale), axis=1)
    log_weights = marginals - density
    log_weights = jax.nn.log_softmax(jnp.where(jnp.isfinite(log_weights), log_weights, -jnp.inf))
    share = many._spread(log_weights, many.SPREAD)
    return many.Mixture(others, centres, roots, share, share + density - jacobians, 1.0 / jnp.sum(jnp.exp(2 * log_weights)))


def _pilot(model: Latent, data: Data) -> Pilot:
    """Mode of the coefficients, then of the scales, and both again."""
    begin = model.compiled.initial(data[0])
    design = model.design(data[0])
    psi = model.flat_other(begin)
    at = mode(model, model.prior(begin, data[0])[0], begin, design, data)
    for _ in range(2):
        psi, spread = climb(model, at, psi, data)
        at = mode(model, at.x, model.other(psi), design, data)
    total = jnp.sum(jnp.trace(at.weight, axis1=1, axis2=2))
    level = model.likelihood(at.eta, model.other(psi), data)
    return Pilot(psi, spread, at, total, level, jnp.zeros(()), jnp.sum(data[2]))


def climb(model: Latent, at: Curvature, start: jax.Array, data: Data) -> tuple[jax.Array, jax.Array]:
    """Mode of the scales' marginal density under the quadratic view, and a root of its inverse negative Hessian there."""
    inputs = data[0]

    def parts(psi: jax.Array) -> tuple[jax.Array, jax.Array]:
        return model.prior(model.other(psi), inputs)

    def own(psi: jax.Array) -> jax.Array:  # log prior density of the other parameters themselves
        mean, log_scale = parts(psi)
        return model.log_prior(mean, model.other(psi), data) + jnp.sum(log_scale)

    def look(psi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        mean, log_scale = parts(psi)
        scale, precision = jnp.exp(log_scale), jnp.exp(-2.0 * log_scale)
        _, low, inverse = factor(at.gram, log_scale)
        root = inverse * scale
        v = root.T @ root
        pull = at.gradient + at.gram @ (at.x - mean)
        r = v @ pull
        value = 0.5 * pull @ r - jnp.sum(jnp.log(jnp.diagonal(low))) + own(psi)
        size = precision * (r**2 + jnp.diagonal(v))
        across = 2.0 * precision[:, None] * precision * v * (2.0 * jnp.outer(r, r) + v)
        second = across - 2.0 * jnp.diag(size)
        mean_slope, scale_slope = jax.jacfwd(parts)(psi)
        slope = scale_slope.T @ (size - 1.0) + mean_slope.T @ (precision * r) + jax.grad(own)(psi)
        return value, slope, scale_slope.T @ second @ scale_slope + jax.hessian(own)(psi)

    def step(state: Any) -> Any:
        count, psi, tried, best, values, vectors, move, reach, _ = state
        value, slope, second = look(tried)
        good = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope)) & (value > best)
        fresh, basis = jnp.linalg.eigh(jnp.where(good, -0.5 * (second + second.T), jnp.eye(len(psi))))
        fresh = jnp.clip(jnp.abs(fresh), SD_LIMITS[1] ** -2, SD_LIMITS[0] ** -2)
        ahead = basis @ ((basis.T @ jnp.where(good, slope, 0.0)) / fresh)
        gain = jnp.where(good, value - best, jnp.inf)
        psi, best = jnp.where(good, tried, psi), jnp.where(good, value, best)
        values, vectors, move = jnp.where(good, fresh, values), jnp.where(good, basis, vectors), jnp.where(good, ahead, move)
        reach = jnp.where(good, LONGEST, 0.25 * jnp.minimum(reach, jnp.max(jnp.abs(move))))
        shortened = move * jnp.minimum(1.0, reach / jnp.max(jnp.abs(move)).clip(1e-12))
        return count + 1, psi, psi + shortened, best, values, vectors, move, reach, gain

    d, infinite = len(start), jnp.full((), jnp.inf)
    first = (0, start, start, -infinite, jnp.ones(d), jnp.eye(d), jnp.zeros(d), infinite, infinite)
    _, psi, _, _, values, vectors, *_ = jax.lax.while_loop(lambda s: (s[0] < STEPS) & (s[8] > LEVEL) & (s[7] > 1e-6), step, first)
    return psi, jnp.linalg.cholesky((vectors / values) @ vectors.T)
