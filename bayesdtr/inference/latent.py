"""Latent Gaussian structure of a response with its data: linear predictors, curvature, conditional mode.

Notation: `psi` the unconstrained parameters that are not coefficients, `x` the coefficients end to
end (p), ``eta = offset + A x`` the linear predictors (row, m). Nothing here assumes a family: the
curvature of each row's log likelihood comes from automatic differentiation, m columns at a time,
because a row's likelihood depends on its own predictors only.
"""

import copy
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model import CompiledResponse

Arrays = Mapping[str, Any]
Data = tuple[Arrays, Any, Any]
"""Inputs, outcomes, weights."""

NEWTON = 40
"""Newton steps for a conditional mode, at most."""


class Curvature(NamedTuple):
    """Quadratic view of the log likelihood around `x`, for one data set.

    Attributes
    ----------
    x : array, shape (p,)
    eta : array, shape (row, m)
    gradient : array, shape (p,)
        ``A' dl/deta``.
    gram : array, shape (p, p)
        ``A' W A``.
    weight : array, shape (row, m, m)
        ``W``: negative second derivatives, made positive semidefinite, times the rows' weights.
    """

    x: jax.Array
    eta: jax.Array
    gradient: jax.Array
    gram: jax.Array
    weight: jax.Array


def _span(names: tuple[str, ...], sizes: list[int], wanted: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Where runs of neighbouring variables of some names begin and end among all coefficients."""
    found: list[tuple[int, int]] = []
    begin = 0
    for name, size in zip(names, sizes, strict=True):
        if name in wanted and found and found[-1][1] == begin:
            found[-1] = found[-1][0], begin + size
        elif name in wanted:
            found.append((begin, begin + size))
        begin += size
    return tuple(found)


class Latent:
    """A response's coefficients as one vector.

    Parameters
    ----------
    compiled : CompiledResponse
        With ``linear``.
    shapes : mapping of str to tuple of int
        Shape of every unconstrained parameter.
    """

    def __init__(self, compiled: CompiledResponse, shapes: Mapping[str, tuple[int, ...]]):
        assert compiled.linear is not None
        self.compiled, self.linear = compiled, compiled.linear
        self.shapes = dict(shapes)
        self.sizes = [int(np.prod(self.shapes[n])) for n in self.linear.latent]
        self.p = sum(self.sizes)
        self.cuts = np.cumsum(self.sizes)[:-1].tolist()
        self.curves = _span(self.linear.latent, self.sizes, self.linear.curves)
        self.d = sum(int(np.prod(self.shapes[n])) for n in self.linear.hyper)
        self.normal = compiled.distribution in ("normal", "lognormal") and self.linear.parts == 1 and not compiled.extras
        self.quadratic = self.normal

    def viewed(self) -> "Latent":
        """The same model with the likelihood replaced by its quadratic view around a pilot's mode."""
        view = copy.copy(self)
        view.quadratic = True
        return view

    def named(self, x: jax.Array) -> dict[str, jax.Array]:
        """Coefficients by name."""
        parts = jnp.split(x, self.cuts) if self.cuts else [x]
        return {n: part.reshape(self.shapes[n]) for n, part in zip(self.linear.latent, parts, strict=True)}

    def flat(self, values: Arrays) -> jax.Array:
        """Coefficients end to end, shape (p,)."""
        return jnp.concatenate([jnp.broadcast_to(jnp.asarray(values[n], dtype=float), self.shapes[n]).ravel() for n in self.linear.latent])

    def other(self, flat: jax.Array) -> dict[str, jax.Array]:
        """Other parameters by name, from one vector of shape (d,)."""
        found, begin = {}, 0
        for name in self.linear.hyper:
            size = int(np.prod(self.shapes[name]))
            found[name] = flat[begin : begin + size].reshape(self.shapes[name])
            begin += size
        return found

    def flat_other(self, values: Arrays) -> jax.Array:
        """Other parameters end to end, shape (d,)."""
        parts = [jnp.asarray(values[n], dtype=float).ravel() for n in self.linear.hyper]
        return jnp.concatenate(parts) if parts else jnp.zeros(0)

    def prior(self, psi: Arrays, inputs: Arrays) -> tuple[jax.Array, jax.Array]:
        """Prior means and log scales of the coefficients, each shape (p,)."""
        given = self.linear.prior(psi, inputs)
        return self.flat({n: mean for n, (mean, _) in given.items()}), jnp.log(self.flat({n: scale for n, (_, scale) in given.items()}))

    def eta(self, x: jax.Array, inputs: Arrays) -> jax.Array:
        """Linear predictors, shape (row, m)."""
        return self.linear.eta(self.named(x), inputs)

    def design(self, inputs: Arrays) -> jax.Array:
        """Derivatives of the predictors with respect to the coefficients, shape (row, m, p)."""
        _, push = jax.linearize(lambda x: self.eta(x, inputs), jnp.zeros(self.p))
        return jax.vmap(push, out_axes=-1)(jnp.eye(self.p))

    def likelihood(self, eta: jax.Array, psi: Arrays, data: Data) -> jax.Array:
        """Log likelihood of all rows that count."""
        inputs, y, weight = data
        return jnp.sum(jnp.where(weight > 0, self.linear.rows(eta, psi, inputs, y), 0.0) * weight)

    def joint(self, x: jax.Array, psi: Arrays, data: Data) -> jax.Array:
        """Log posterior density of all unconstrained parameters, up to its constant."""
        return -self.compiled.potential({**psi, **self.named(x)}, *data)

    def log_prior(self, x: jax.Array, psi: Arrays, data: Data) -> jax.Array:
        """Log prior density of all unconstrained parameters."""
        inputs, y, _ = data
        return self.compiled.log_density({**psi, **self.named(x)}, inputs, y)[1]

    def first_row(self, eta: jax.Array, psi: Arrays, data: Data) -> jax.Array:
        """Negative second derivative of the first row's log likelihood, scalar; its weight is taken as 1."""
        inputs, y, _ = data
        mine = {n: v[:1] if n in self.compiled.by_row else v for n, v in inputs.items()}
        return self.second(eta[:1], psi, (mine, y[:1], jnp.ones(1)))[1][0, 0, 0]

    def second(self, eta: jax.Array, psi: Arrays, data: Data) -> tuple[jax.Array, jax.Array]:
        """Gradient (row, m) and negative second derivative (row, m, m) of the log likelihood in the predictors."""
        slope = jax.grad(lambda e: self.likelihood(e, psi, data))
        parts = self.linear.parts
        directions = [jnp.zeros_like(eta).at[:, j].set(1.0) for j in range(parts)]
        pairs = [jax.jvp(slope, (eta,), (d,)) for d in directions]
        return pairs[0][0], -jnp.stack([column for _, column in pairs], axis=-1)

    def curvature(self, x: jax.Array, psi: Arrays, design: jax.Array, data: Data) -> Curvature:
        """Gradient and positive semidefinite curvature of the log likelihood at coefficients `x`."""
        eta = self.eta(x, data[0])
        slope, weight = self.second(eta, psi, data)
        weight = positive(weight)
        scaled = jnp.einsum("rij,rjp->rip", weight, design) if self.linear.parts > 1 else weight * design
        rows = design.reshape(-1, self.p)
        gram = rows.T @ scaled.reshape(-1, self.p)
        return Curvature(x, eta, rows.T @ slope.ravel(), gram, weight)


def positive(weight: jax.Array) -> jax.Array:
    """Symmetric matrices with negative eigenvalues set to zero, shape (row, m, m)."""
    if weight.shape[-1] == 1:
        return jnp.maximum(weight, 0.0)
    values, vectors = jnp.linalg.eigh(0.5 * (weight + jnp.swapaxes(weight, -1, -2)))
    return jnp.einsum("rij,rj,rkj->rik", vectors, jnp.maximum(values, 0.0), vectors)


def mode(
    latent: Latent, start: jax.Array, psi: Arrays, design: jax.Array, data: Data, steps: int = NEWTON, gain: float = 1e-9
) -> Curvature:
    """Conditional mode of the coefficients given the other parameters, by damped Newton steps.

    In units of the prior scales the negative Hessian is ``B = I + S G S``; a step that does not
    raise the density is shortened by a ridge. Stops when a step would gain less than `gain`.

    Returns
    -------
    Curvature
        At the mode.
    """
    mean, log_scale = latent.prior(psi, data[0])
    scale = jnp.exp(log_scale)
    eye = jnp.eye(latent.p)

    def step(state):
        count, v, tried, best, ridge, at, _ = state
        found = latent.curvature(mean + scale * tried, psi, design, data)
        density = latent.likelihood(found.eta, psi, data) - 0.5 * tried @ tried
        good = density >= best - 1e-12 * jnp.abs(best)
        at = jax.tree.map(lambda new, old: jnp.where(good, new, old), found, at)
        v, best = jnp.where(good, tried, v), jnp.where(good, density, best)
        ridge = jnp.where(good, jnp.where(ridge < 1e-3, 0.0, 0.1 * ridge), jnp.maximum(10.0 * ridge, 0.1))
        slope = scale * at.gradient - v
        b = (1.0 + ridge) * eye + scale[:, None] * at.gram * scale
        move = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(b), True), slope)
        return count + 1, v, v + move, best, ridge, at, jnp.where(good, slope @ move, jnp.inf)

    v = (start - mean) / scale
    rows = (len(data[1]), latent.linear.parts)
    nothing = Curvature(start, jnp.zeros(rows), jnp.zeros(latent.p), jnp.zeros((latent.p, latent.p)), jnp.zeros((*rows, rows[1])))
    first = (0, v, v, jnp.full((), -jnp.inf), jnp.zeros(()), nothing, jnp.full((), jnp.inf))
    return jax.lax.while_loop(lambda s: (s[0] < steps) & (s[6] > gain), step, first)[5]


def reads(function: Any, psi: Arrays) -> bool:
    """Whether a function's value depends on any of `psi`, by following its trace."""
    closed = jax.make_jaxpr(function)(psi)
    tainted = set(closed.jaxpr.invars)
    for equation in closed.jaxpr.eqns:
        if any(v in tainted for v in equation.invars if not isinstance(v, jax.extend.core.Literal)):
            tainted.update(equation.outvars)
    return any(v in tainted for v in closed.jaxpr.outvars if not isinstance(v, jax.extend.core.Literal))


@functools.lru_cache(maxsize=64)
def _latent(compiled: CompiledResponse, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Latent:
    return Latent(compiled, dict(shapes))


def latent_of(compiled: CompiledResponse, inputs: Arrays) -> Latent:
    """The latent structure of a compiled response (shapes read off its starting point)."""
    start = jax.eval_shape(compiled.initial, dict(inputs))
    return _latent(compiled, tuple((n, v.shape) for n, v in start.items()))
