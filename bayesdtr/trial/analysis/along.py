"""Lines through draws of the parameters, along which values of options or regimes change most: made to be traced, for one trial."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from ...inference.latent import Latent


class Fitted(NamedTuple):
    """One response's posterior in one trial: Normal coefficients at points over the other parameters, and draws.

    Attributes
    ----------
    draws : dict of str to array, shape (draw, ...)
        The reported parameters.
    point : array of int, shape (draw,)
    roots : array, shape (point, p, p)
        Rows belong to standard coordinates.
    """

    draws: dict[str, jax.Array]
    point: jax.Array
    roots: jax.Array


export.register_namedtuple_serialization(Fitted, serialized_name="bayesdtr.Fitted")

Fits = Mapping[str, Fitted]


def uniforms(models: Mapping[str, Latent], draws: int) -> dict[str, np.ndarray]:
    """Fixed quasi-random numbers in the unit cube for all responses together, ``[draw, 1 + p]`` each: points, then standard coordinates."""
    from scipy.stats import qmc

    sizes = [m.p for m in models.values()]
    table = qmc.Sobol(len(sizes) + sum(sizes), seed=2).random_base2(int(np.log2(draws)))
    parts = np.split(table[:, len(sizes):], np.cumsum(sizes)[:-1], axis=1) if sizes else []
    return {n: np.column_stack([table[:, i], part]) for i, (n, part) in enumerate(zip(models, parts, strict=True))}


def along(
    function: Callable[[Any], jax.Array], models: Mapping[str, Latent], fits: Fits, standard: Mapping[str, np.ndarray], weights: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values at draws, their slopes along lines, and where on a line each draw is.

    Parameters
    ----------
    function : callable
        Draws by response and parameter ``[draw, ...]`` to values ``[entry, draw]``.
    models : mapping of str to Latent
        Of the responses with coefficients.
    fits : mapping of str to Fitted
    standard : mapping of str to array, shape (draw, p)
        The draws' standard coordinates.
    weights : array, shape (line, entry)
        Each line goes along the gradient of a weighted sum of values at the posterior's middle, at every point in that point's standard coordinates.

    Returns
    -------
    values : array, shape (entry, draw)
    slopes : array, shape (line, entry, draw)
    at : array, shape (line, draw)
    """
    draws = {n: f.draws for n, f in fits.items()}
    names = {n: tuple(m.linear.latent) for n, m in models.items()}

    def put(base: Any, coefficients: Any) -> Any:
        return {n: {**base[n], **coefficients[n]} if n in coefficients else base[n] for n in base}

    own = {n: {p: draws[n][p] for p in names[n]} for n in models}
    middle = jax.tree.map(lambda v: jnp.mean(v, axis=0, keepdims=True), draws)
    center = {n: {p: middle[n][p] for p in names[n]} for n in models}
    _, back = jax.vjp(lambda c: weights @ function(put(middle, c))[:, 0], center)
    values, push = jax.linearize(lambda c: function(put(draws, c)), own)

    def line(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        slope = jax.tree.map(lambda v: v[0], back(direction)[0])
        ahead = {n: jnp.einsum("kap,p->ka", fits[n].roots, models[n].flat(slope[n])) for n in models}
        length = sum((jnp.sum(a**2, axis=1)[fits[n].point] for n, a in ahead.items()), jnp.zeros(()))
        scale = jnp.where(length > 0, jax.lax.rsqrt(jnp.where(length > 0, length, 1.0)), 0.0)
        tangent, at = {}, jnp.zeros(())
        for n, a in ahead.items():
            moves = jnp.einsum("kap,ka->kp", fits[n].roots, a)[fits[n].point] * scale[:, None]
            tangent[n] = jax.vmap(models[n].named)(moves)
            at += jnp.sum(a[fits[n].point] * standard[n], axis=1) * scale
        return push(tangent), at

    slopes, at = jax.vmap(line)(jnp.eye(len(weights)))
    return values, slopes, at


def contrasts(feasible: jax.Array, lines: int) -> jax.Array:
    """Weights ``[line, entry]``: each entry against the average of the other feasible ones; or, for one line, the first feasible one."""
    count = jnp.sum(feasible)
    entries = feasible.shape[0]
    chosen = jnp.eye(entries) if lines > 1 else jnp.eye(entries)[jnp.argmax(feasible)][None]
    others = feasible * (1.0 - chosen)
    return chosen * feasible - others / jnp.maximum(count - 1, 1)
