"""Where a latent Gaussian posterior lies: mode and curvature of its few other parameters, by Newton steps.

The other parameters `psi` (scales, residual SD) are few. Their marginal density, Laplace's
approximation over the coefficients, is climbed with gradients from automatic differentiation and
second derivatives from differences of those gradients. What is found steers a sampler or a grid; it is
never the answer.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .latent import Arrays, Curvature, Data, Latent, mode, reads
from .transport import transport

CLIMB = 15
"""Newton steps over the other parameters, at most."""
DIFFERENCE = 1e-3
"""Half-width of the central difference between gradients."""
LONGEST = 2.0
"""Longest step in any coordinate; parameters are logs of scales, so this is a factor of 7."""
SD_LIMITS = (1e-3, 2.0)
"""Plausible posterior SDs of a log scale."""


class Pilot(NamedTuple):
    """Mode and spread of the other parameters, and the data's curvature there.

    Attributes
    ----------
    psi : array, shape (d,)
    spread : array, shape (d, d)
        Lower-triangular square root of the inverse negative Hessian.
    at : Curvature
        At the conditional mode of the coefficients given `psi`.
    total : scalar
        Trace of the curvature over all rows.
    level, squares, count : scalar
        Log likelihood at `at`, sum of squared standardized residuals there (Normal responses), rows that count.
    """

    psi: jax.Array
    spread: jax.Array
    at: Curvature
    total: jax.Array
    level: jax.Array
    squares: jax.Array
    count: jax.Array


def relative(latent: Latent, pilot: Pilot, psi: Arrays, data: Data) -> jax.Array:
    """Curvature at other parameters, as a multiple of the pilot's: for a Normal response, the ratio of residual precisions."""
    if latent.normal:  # the same in all rows: one tells it
        return latent.first_row(pilot.at.eta, psi, data) / latent.first_row(pilot.at.eta, latent.other(pilot.psi), data)
    if not reads(lambda given: latent.linear.rows(pilot.at.eta, given, data[0], data[1]), psi):
        return jnp.ones(())
    ratio = jnp.sum(jnp.trace(latent.second(pilot.at.eta, psi, data)[1], axis1=1, axis2=2)) / jnp.where(pilot.total > 0, pilot.total, 1.0)
    return jnp.where(pilot.total > 0, jnp.clip(ratio, 1e-8, 1e8), 1.0)


def likelihood(latent: Latent, pilot: Pilot, x: jax.Array, psi: Arrays, ratio: jax.Array, data: Data) -> jax.Array:
    """Log likelihood; where it is quadratic in the predictors, from the Gram matrix instead of the rows' predictors."""
    if not latent.quadratic:
        return latent.likelihood(latent.eta(x, data[0]), psi, data)
    at, move = pilot.at, x - pilot.at.x
    if latent.normal:  # sufficient statistics: no pass over the patients
        level = pilot.level + 0.5 * pilot.count * jnp.log(ratio) - 0.5 * (ratio - 1.0) * pilot.squares
    else:
        level = latent.likelihood(at.eta, psi, data)
    return level + ratio * (at.gradient @ move - 0.5 * move @ at.gram @ move)


def conditional(
    latent: Latent, pilot: Pilot, psi: Arrays, z: jax.Array, ratio: jax.Array, data: Data
) -> tuple[jax.Array, jax.Array]:
    """Coefficients from standard coordinates under the pilot's curvature, and the log Jacobian determinant."""
    mean, log_scale = latent.prior(psi, data[0])
    at = pilot.at
    working = at.gradient + at.gram @ (at.x - mean)
    root = 0.5 * jnp.log(ratio)
    v, jacobian = transport(at.gram, log_scale + root, ratio * jnp.exp(log_scale) * working, z)
    return mean + jnp.exp(log_scale) * v, jnp.sum(log_scale) + jacobian


def log_joint(latent: Latent, pilot: Pilot, x: jax.Array, psi: Arrays, ratio: jax.Array, data: Data) -> jax.Array:
    """Exact log posterior density of all unconstrained parameters, up to its constant."""
    return likelihood(latent, pilot, x, psi, ratio, data) + latent.log_prior(x, psi, data)


def marginal(latent: Latent, pilot: Pilot, flat: jax.Array, data: Data) -> jax.Array:
    """Laplace's approximation to the log marginal density of the other parameters, up to a constant; exact for Normal responses."""
    psi = latent.other(flat)
    ratio = relative(latent, pilot, psi, data)
    x, jacobian = conditional(latent, pilot, psi, jnp.zeros(latent.p), ratio, data)
    return log_joint(latent, pilot, x, psi, ratio, data) + jacobian


def climb(
    density: Callable[[jax.Array], jax.Array], start: jax.Array, steps: jax.Array | int = CLIMB, sds: tuple[float, float] = SD_LIMITS,
    longest: float = LONGEST,
) -> tuple[jax.Array, jax.Array]:
    """Mode of a smooth density in a few dimensions, and the root of its inverse negative Hessian there.

    Newton steps with a Hessian from central differences of gradients. Its eigenvalues enter by size, so
    that every step points uphill; a step that does not raise the density is taken back and made shorter.
    All points of an iteration are evaluated by one traced copy of the density, for the compiler's sake.
    """
    d = len(start)
    around = DIFFERENCE * jnp.concatenate([jnp.zeros((1, d)), jnp.eye(d), -jnp.eye(d)])

    def step(state):
        count, at, tried, best, values, vectors, move, reach, _ = state
        value, slopes = jax.vmap(jax.value_and_grad(density))(tried + around)
        good = jnp.all(jnp.isfinite(slopes)) & (value[0] > best)
        second = (slopes[1 : d + 1] - slopes[d + 1 :]) / (2 * DIFFERENCE)
        fresh, basis = jnp.linalg.eigh(jnp.where(good, -0.5 * (second + second.T), jnp.eye(d)))
        fresh = jnp.clip(jnp.abs(fresh), sds[1] ** -2, sds[0] ** -2)
        ahead = basis @ ((basis.T @ jnp.where(good, slopes[0], 0.0)) / fresh)
        at, best, gain = jnp.where(good, tried, at), jnp.where(good, value[0], best), jnp.where(good, value[0] - best, jnp.inf)
        values, vectors, move = jnp.where(good, fresh, values), jnp.where(good, basis, vectors), jnp.where(good, ahead, move)
        reach = jnp.where(good, longest, 0.25 * jnp.minimum(reach, jnp.max(jnp.abs(move))))
        shortened = move * jnp.minimum(1.0, reach / jnp.max(jnp.abs(move)).clip(1e-12))
        return count + 1, at, at + shortened, best, values, vectors, move, reach, gain

    infinite = jnp.full((), jnp.inf)
    first = (0, start, start, -infinite, jnp.ones(d), jnp.eye(d), jnp.zeros(d), infinite, infinite)
    _, at, _, _, values, vectors, *_ = jax.lax.while_loop(lambda s: (s[0] < steps) & (s[8] > 1e-3) & (s[7] > 1e-6), step, first)
    return at, jnp.linalg.cholesky((vectors / values) @ vectors.T)


def residual(slope: jax.Array, weight: jax.Array) -> jax.Array:
    """Sum of squared standardized residuals of a Normal response: squared gradients over curvatures."""
    w = weight[:, 0, 0]
    return jnp.sum(jnp.where(w > 0, slope[:, 0] ** 2 / jnp.where(w > 0, w, 1.0), 0.0))


def find(latent: Latent, data: Data, rounds: int = 2, view: Latent | None = None) -> Pilot:
    """Pilot of a data set: conditional mode, then the other parameters, then the conditional mode there, and so on.

    Where anything is not finite, prior means and the model's central starting point with unit spread
    stand in: slower coordinates, the same posterior. With a `view`, its likelihood is climbed in place of the model's.
    """
    view = latent if view is None else view
    inputs = data[0]
    begin = latent.compiled.initial(inputs)
    design = latent.design(inputs)
    flat, d = latent.flat_other(begin), latent.d
    x = latent.prior(begin, inputs)[0]
    # The stand-in's curvature is the true one there: a Normal response's likelihood is computed from it.
    nothing = latent.curvature(x, begin, design, data)
    count = jnp.sum(data[2])

    def pilot_at(flat, spread, at):
        psi = latent.other(flat)
        slope = latent.second(at.eta, psi, data)[0]
        total = jnp.sum(jnp.trace(at.weight, axis1=1, axis2=2))
        return Pilot(flat, spread, at, total, latent.likelihood(at.eta, psi, data), residual(slope, at.weight), count)

    first = pilot_at(flat, jnp.eye(d), nothing)

    def improve(round_, pilot):
        flat, spread = pilot.psi, pilot.spread
        if 0 < d <= 24:  # the first round finds the conditional mode only
            flat, spread = climb(lambda f: marginal(view, pilot, f, data), flat, jnp.where(round_ == 0, 0, CLIMB))
        at = mode(latent, pilot.at.x, latent.other(flat), design, data)
        return pilot_at(flat, spread, at)

    pilot = jax.lax.fori_loop(0, 1 + (1 if latent.quadratic else rounds), improve, first)
    good = jnp.all(jnp.array([jnp.all(jnp.isfinite(v)) for v in jax.tree.leaves(pilot)]))
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), pilot, first)
