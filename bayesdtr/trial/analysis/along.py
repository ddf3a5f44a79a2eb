"""Lines through draws of the parameters, along which values of options or regimes change most: made to be traced, for one trial."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from ...inference.latent import Latent
from .laws import Nudges


class Fitted(NamedTuple):
    """One response's posterior in one trial: Normal coefficients at points over the other parameters, and draws.

    Attributes
    ----------
    draws : dict of str to array, shape (draw, ...)
        The reported parameters.
    point : array of int, shape (draw,)
    deviations : array, shape (draw, p)
        Of the draws' coefficients from the means at their points.
    covariances : array, shape (point, p, p)
    """

    draws: dict[str, jax.Array]
    point: jax.Array
    deviations: jax.Array
    covariances: jax.Array


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
    function: Callable[[Any, Nudges], jax.Array], fits: Fits, weights: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values at draws, their slopes along lines, and where on a line each draw is.

    At a point where the coefficients have covariance C, a line whose values have gradient g goes along ``C g / sqrt(g'C g)``, and a draw
    that is d from the point's mean stands at ``g'd / sqrt(g'C g)``. Products with coefficients are made at the points, of which there are fewer
    than draws.

    Parameters
    ----------
    function : callable
        Draws by response and parameter ``[draw, ...]``, and nudges to what is predicted from them, to values ``[group, entry, draw]``.
        A group has patients of its own, that follow one another.
    fits : mapping of str to Fitted
    weights : array, shape (group, line, entry)
        Each line goes along the gradient of a weighted sum of values at the posterior's middle.

    Returns
    -------
    values : array, shape (group, entry, draw)
    slopes : array, shape (group, line, entry, draw)
    at : array, shape (group, line, draw)
    """
    groups, lines, _ = weights.shape
    draws = {n: f.draws for n, f in fits.items()}
    middle = jax.tree.map(lambda v: jnp.mean(v, axis=0, keepdims=True), draws)
    plan = Nudges(groups)
    jax.eval_shape(lambda d: function(d, plan), middle)
    shapes = [(r.name, r.shape) for r in plan.read]

    def values_of(draws: Any) -> Callable[[Any], Any]:
        def values(added: Any) -> Any:
            nudges = Nudges(groups, added)
            return function(draws, nudges), [r.slopes for r in nudges.read]

        return values

    _, back, slopes = jax.vjp(values_of(middle), [jnp.zeros((*shape, 1)) for _, shape in shapes], has_aux=True)
    felt = jax.vmap(lambda w: back(w[..., None])[0], in_axes=1)(weights)  # [line, ...] of each that was read
    gradients: dict[str, jax.Array] = {}
    for (name, _), slope, mine in zip(shapes, slopes, felt, strict=True):
        mine = jnp.swapaxes(mine.reshape(lines, groups, -1), 0, 1)
        mine = mine if slope is None else jnp.einsum("glj,gjp->glp", mine, slope)
        gradients[name] = gradients[name] + mine if name in gradients else mine
    moves = {n: jnp.einsum("kpq,glq->glkp", fits[n].covariances, g) for n, g in gradients.items()}
    zero = jnp.zeros((groups, lines, 1))
    length = sum((jnp.einsum("glkp,glp->glk", moves[n], g)[..., fits[n].point] for n, g in gradients.items()), zero)
    scale = jnp.where(length > 0, jax.lax.rsqrt(jnp.where(length > 0, length, 1.0)), 0.0)
    at = sum((jnp.einsum("glp,bp->glb", g, fits[n].deviations) for n, g in gradients.items()), zero) * scale
    size = next(iter(next(iter(draws.values())).values())).shape[0]
    tangents = []
    for (name, shape), slope in zip(shapes, slopes, strict=True):
        ahead = jnp.swapaxes(moves[name], 2, 3) if slope is None else jnp.einsum("gjp,glkp->gljk", slope, moves[name])
        tangent = ahead[..., fits[name].point] * scale[:, :, None]
        tangents.append(jnp.swapaxes(tangent, 0, 1).reshape(lines, *shape, size))
    values, push, _ = jax.linearize(values_of(draws), [jnp.zeros((*shape, size)) for _, shape in shapes], has_aux=True)
    rises = [push([t[line] for t in tangents]) for line in range(lines)]
    return values, jnp.stack(rises, axis=1), jnp.broadcast_to(at, (groups, lines, size))


def contrasts(feasible: jax.Array, lines: int) -> jax.Array:
    """Weights ``[line, entry]``: each entry against the average of the other feasible ones; or, for one line, the first feasible one."""
    count = jnp.sum(feasible)
    entries = feasible.shape[0]
    chosen = jnp.eye(entries) if lines > 1 else jnp.eye(entries)[jnp.argmax(feasible)][None]
    others = feasible * (1.0 - chosen)
    return chosen * feasible - others / jnp.maximum(count - 1, 1)
