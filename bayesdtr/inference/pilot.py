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
    """

    psi: jax.Array
    spread: jax.Array
    at: Curvature
    total: jax.Array


def relative(latent: Latent, pilot: Pilot, psi: Arrays, data: Data) -> jax.Array:
    """Curvature at other parameters, as a multiple of the pilot's: for a Normal response, the ratio of residual precisions."""
    if not reads(lambda given: latent.linear.rows(pilot.at.eta, given, data[0], data[1]), psi):
        return jnp.ones(())
    ratio = jnp.sum(jnp.trace(latent.second(pilot.at.eta, psi, data)[1], axis1=1, axis2=2)) / jnp.where(pilot.total > 0, pilot.total, 1.0)
    return jnp.where(pilot.total > 0, jnp.clip(ratio, 1e-8, 1e8), 1.0)


def likelihood(latent: Latent, pilot: Pilot, x: jax.Array, psi: Arrays, ratio: jax.Array, data: Data) -> jax.Array:
    """Log likelihood; where it is quadratic in the predictors, from the Gram matrix instead of the rows' predictors."""
    if not latent.quadratic:
        return latent.likelihood(latent.eta(x, data[0]), psi, data)
    at, move = pilot.at, x - pilot.at.x
    return latent.likelihood(at.eta, psi, data) + ratio * (at.gradient @ move - 0.5 * move @ at.gram @ move)


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


def hessian(slope: Callable[[jax.Array], jax.Array], at: jax.Array) -> jax.Array:
    """Symmetric second derivatives from central differences of a gradient."""
    steps = DIFFERENCE * jnp.eye(len(at))
    up, down = jax.vmap(lambda s: slope(at + s))(steps), jax.vmap(lambda s: slope(at - s))(steps)
    second = (up - down) / (2 * DIFFERENCE)
    return 0.5 * (second + second.T)


def climb(density: Callable[[jax.Array], jax.Array], start: jax.Array, steps: int = CLIMB) -> tuple[jax.Array, jax.Array]:
    """Mode of a smooth density in a few dimensions, and the root of its inverse negative Hessian.

    Eigenvalues of the Hessian enter by size, so a step always climbs; of five lengths the best is taken.
    """
    slope = jax.grad(density)
    lengths = jnp.array([1.0, 0.5, 0.2, 0.05, 0.0])

    def spectrum(at):
        values, vectors = jnp.linalg.eigh(-hessian(slope, at))
        return jnp.clip(jnp.abs(values), SD_LIMITS[1] ** -2, SD_LIMITS[0] ** -2), vectors

    def step(state):
        count, at, best, _ = state
        values, vectors = spectrum(at)
        move = vectors @ ((vectors.T @ slope(at)) / values)
        move = move * jnp.minimum(1.0, LONGEST / jnp.max(jnp.abs(move)).clip(1e-12))
        tried = jax.vmap(density)(at + lengths[:, None] * move)
        tried = jnp.where(jnp.isfinite(tried), tried, -jnp.inf)
        which = jnp.argmax(tried)
        return count + 1, at + lengths[which] * move, tried[which], tried[which] - best

    first = (0, start, density(start), jnp.full((), jnp.inf))
    at = jax.lax.while_loop(lambda s: (s[0] < steps) & (s[3] > 1e-3), step, first)[1]
    values, vectors = spectrum(at)
    return at, jnp.linalg.cholesky((vectors / values) @ vectors.T)


def find(latent: Latent, data: Data, rounds: int = 2) -> Pilot:
    """Pilot of a data set: conditional mode, then the other parameters, then the conditional mode there.

    Where anything is not finite, the model's central starting point with unit spread stands in.
    """
    inputs = data[0]
    begin = latent.compiled.initial(inputs)
    design = latent.design(inputs)
    flat, d = latent.flat_other(begin), latent.d
    x = latent.prior(begin, inputs)[0]

    def at(flat, x):
        psi = latent.other(flat)
        curvature = mode(latent, x, psi, design, data)
        return curvature, jnp.sum(jnp.trace(curvature.weight, axis1=1, axis2=2))

    pilot = Pilot(flat, jnp.eye(d), *at(flat, x))
    first = pilot
    if 0 < d <= 24:
        def improve(_, pilot):
            flat, spread = climb(lambda f: marginal(latent, pilot, f, data), pilot.psi)
            return Pilot(flat, spread, *at(flat, pilot.at.x))

        pilot = jax.lax.fori_loop(0, 1 if latent.quadratic else rounds, improve, pilot)
    good = jnp.all(jnp.array([jnp.all(jnp.isfinite(v)) for v in jax.tree.leaves(pilot)]))
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), pilot, first)
