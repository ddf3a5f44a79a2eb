"""Lines through draws of the parameters, along which values of options or regimes change most: made to be traced, for one trial."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from ...inference.latent import Latent
from .laws import Nudges
from .lines import ahead_of


class Fitted(NamedTuple):
    """One response's posterior in one trial: Normal coefficients at points over the other parameters, and draws.

    Attributes
    ----------
    draws : dict of str to array, shape (draw, ...)
        The reported parameters.
    point : array of int, shape (draw,)
    deviations : array, shape (draw, p)
        Of the draws' coefficients from the means at their points.
    centres : array, shape (point, p)
    covariances : array, shape (point, p, p)
    share : array, shape (point,)
        Of the points; they sum to 1.
    """

    draws: dict[str, jax.Array]
    point: jax.Array
    deviations: jax.Array
    centres: jax.Array
    covariances: jax.Array
    share: jax.Array


export.register_namedtuple_serialization(Fitted, serialized_name="bayesdtr.Fitted")

Fits = Mapping[str, Fitted]


def uniforms(models: Mapping[str, Latent], draws: int) -> dict[str, np.ndarray]:
    """Fixed quasi-random numbers in the unit cube for all responses together, ``[draw, 1 + p]`` each: points, then standard coordinates."""
    from scipy.stats import qmc

    sizes = [m.p for m in models.values()]
    table = qmc.Sobol(len(sizes) + sum(sizes), seed=2).random_base2(int(np.log2(draws)))
    parts = np.split(table[:, len(sizes):], np.cumsum(sizes)[:-1], axis=1) if sizes else []
    return {n: np.column_stack([table[:, i], part]) for i, (n, part) in enumerate(zip(models, parts, strict=True))}


class Directions(NamedTuple):
    """Lines through draws, in the coefficients.

    Attributes
    ----------
    moves : dict of str to array, shape (group, line, point, p)
        By response, not yet scaled.
    scale : array, shape (group, line, draw)
        A step of 1 along the line, in standard coordinates, over `moves`.
    at : array, shape (group, line, draw)
        Where on its line each draw is.
    """

    moves: dict[str, jax.Array]
    scale: jax.Array
    at: jax.Array


Function = Callable[[Any, Nudges], jax.Array]
"""Draws by response and parameter ``[draw, ...]``, and nudges to what is predicted from them, to values ``[group, entry, draw]``.
A group has patients of its own, that follow one another."""


def directions(function: Function, fits: Fits, weights: jax.Array) -> Directions:
    """Lines along which weighted sums of values change most at the posterior's middle.

    At a point where the coefficients have covariance C, a line whose values have gradient g goes along ``C g / sqrt(g'C g)``, and a draw
    that is d from the point's mean stands at ``g'd / sqrt(g'C g)``. Products with coefficients are made at the points, of which there are fewer
    than draws.

    Parameters
    ----------
    function : callable
    fits : mapping of str to Fitted
    weights : array, shape (group, line, entry)
    """
    groups, lines, _ = weights.shape
    middle = jax.tree.map(lambda v: jnp.mean(v, axis=0, keepdims=True), {n: f.draws for n, f in fits.items()})
    read = _read(function, middle, groups)
    _, back, slopes = jax.vjp(_nudged(function, middle, groups), [jnp.zeros((*shape, 1)) for _, shape in read], has_aux=True)
    felt = jax.vmap(lambda w: back(w[..., None])[0], in_axes=1)(weights)  # [line, ...] of each that was read
    gradients: dict[str, jax.Array] = {}
    for (name, _), slope, mine in zip(read, slopes, felt, strict=True):
        mine = jnp.swapaxes(mine.reshape(lines, groups, -1), 0, 1)
        mine = mine if slope is None else jnp.einsum("glj,gjp->glp", mine, slope)
        gradients[name] = gradients[name] + mine if name in gradients else mine
    moves = {n: jnp.einsum("kpq,glq->glkp", fits[n].covariances, g) for n, g in gradients.items()}
    zero = jnp.zeros((groups, lines, 1))
    length = sum((jnp.einsum("glkp,glp->glk", moves[n], g)[..., fits[n].point] for n, g in gradients.items()), zero)
    scale = jnp.where(length > 0, jax.lax.rsqrt(jnp.where(length > 0, length, 1.0)), 0.0)
    at = sum((jnp.einsum("glp,bp->glb", g, fits[n].deviations) for n, g in gradients.items()), zero) * scale
    return Directions(moves, scale, jnp.broadcast_to(at, (groups, lines, _draws(fits))))


def along(function: Function, fits: Fits, lines: Directions) -> tuple[jax.Array, jax.Array]:
    """Values at draws ``[group, entry, draw]``, and their slopes along lines ``[group, line, entry, draw]``.

    Parameters
    ----------
    function : callable
        That of :func:`directions`.
    fits : mapping of str to Fitted
    lines : Directions
    """
    groups, count, _ = lines.scale.shape
    draws = {n: f.draws for n, f in fits.items()}
    read = _read(function, draws, groups)
    zeros = [jnp.zeros((*shape, _draws(fits))) for _, shape in read]
    values, push, slopes = jax.linearize(_nudged(function, draws, groups), zeros, has_aux=True)
    tangents = []
    for (name, shape), slope in zip(read, slopes, strict=True):
        moves, point = lines.moves[name], fits[name].point
        if slope is None:
            tangent = jnp.swapaxes(moves[:, :, point] * lines.scale[..., None], 2, 3)
        elif slope.shape[1] < slope.shape[2]:  # taken to draws where there is less to take
            tangent = jnp.einsum("gjp,glkp->gljk", slope, moves)[..., point] * lines.scale[:, :, None]
        else:
            tangent = jnp.einsum("gjp,glbp->gljb", slope, moves[:, :, point] * lines.scale[..., None])
        tangents.append(jnp.swapaxes(tangent, 0, 1).reshape(count, *shape, -1))
    rises = [push([t[line] for t in tangents]) for line in range(count)]
    return values, jnp.stack(rises, axis=1)


def ahead(fit: Fitted, offset: jax.Array, slopes: jax.Array) -> jax.Array:
    """Probabilities that ``offset + slopes x`` is positive for coefficients x ``(group,)``, half where it is 0: no draws, only the points.

    Parameters
    ----------
    fit : Fitted
    offset : array, shape (group,)
    slopes : array, shape (group, p)
    """
    middle = offset[:, None] + slopes @ fit.centres.T
    square = jnp.einsum("kpq,gpq->gk", fit.covariances, slopes[:, :, None] * slopes[:, None, :])
    return ahead_of(middle, jnp.sqrt(jnp.maximum(square, 0.0)), 0.0, jnp) @ fit.share


def _draws(fits: Fits) -> int:
    return len(next(iter(fits.values())).point)


def _read(function: Function, draws: Any, groups: int) -> list[tuple[str, tuple[int, ...]]]:
    """What a function reads, in turn, and the shapes of its nudges but for the draws."""
    plan = Nudges(groups)
    jax.eval_shape(lambda d: function(d, plan), draws)
    return [(r.name, r.shape) for r in plan.read]


def _nudged(function: Function, draws: Any, groups: int) -> Callable[[Any], Any]:
    """A function of nudges, and the slopes of the predictors that it reads."""

    def values(added: Any) -> Any:
        nudges = Nudges(groups, added)
        return function(draws, nudges), [r.slopes for r in nudges.read]

    return values


def contrasts(feasible: jax.Array, lines: int) -> jax.Array:
    """Weights ``[line, entry]``: each entry against the average of the other feasible ones; or, for one line, the first feasible one."""
    count = jnp.sum(feasible)
    entries = feasible.shape[0]
    chosen = jnp.eye(entries) if lines > 1 else jnp.eye(entries)[jnp.argmax(feasible)][None]
    others = feasible * (1.0 - chosen)
    return chosen * feasible - others / jnp.maximum(count - 1, 1)
