"""P(best) and P(all within a margin) of independent Betas on one short grid, for batches by the ten thousand.

On the logit scale the density of a Beta is smooth and falls off exponentially, so that the trapezoid rule converges geometrically, and so does its
companion for the cdf, the indefinite integral of the sinc interpolant:
``F(u_i) ~ h sum_k s(i - k) f(u_k)`` with ``s(m) = 1/2 + Si(pi m) / pi`` (Stenger 1993, Numerical Methods Based on Sinc and Analytic Functions, 3.6).
A few dozen points give what a fixed grid on [0, 1] needs hundreds for.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import sici

from ...runtime import double_precision
from ..analysis.betas import Betas

WIDTH = 512
"""Trials in one call of a compiled program; the trial is the last axis, so all of them go through the same instructions."""

DEPTH = 20.0
"""The grid covers what lies within ``exp(-DEPTH)`` of each density's peak."""

POINTS = (40, 56, 80, 120, 192, 384)
"""Lengths of grids; each trial gets the shortest whose step is at most `STEP` standard deviations of its sharpest density. Which one that is
depends on the trial's own data alone."""

STEP = 0.48
SMOOTH = 12.0
"""Least first parameter for which a density moved away from 0 is smooth enough there for the trapezoid rule."""


@functools.cache
def _sinc(points: int) -> np.ndarray:
    """Weights of the indefinite integral, shape (point, point)."""
    apart = np.arange(points)[:, None] - np.arange(points)[None, :]
    return 0.5 + sici(np.pi * apart)[0] / np.pi


def _reach(rise: jax.Array, fall: jax.Array) -> jax.Array:
    """How far below its mode, on the logit scale, the density ``p^rise (1 - p)^fall`` has lost `DEPTH` in its logarithm, or a little further.

    The loss at distance t is ``rise t + n log(q + p exp(-t))`` with ``p = rise / n``, convex, so Newton's steps stay beyond the root after the first.
    """
    n = rise + fall
    p, q = rise / n, fall / n
    t = jnp.sqrt(2 * DEPTH * n / (rise * fall))
    for _ in range(3):
        shrunk = p * jnp.exp(-t)
        loss = rise * t + n * jnp.log(q + shrunk)
        slope = rise - n * shrunk / (q + shrunk)
        t = t - (loss - DEPTH) / slope
    return t


def _nodes(low: jax.Array, high: jax.Array, points: int) -> tuple[jax.Array, jax.Array]:
    """``log p`` and ``log (1 - p)`` along a grid of logits, shape (point, trial)."""
    u = low + (high - low) / (points - 1) * jnp.arange(points)[:, None]
    log_p = jnp.minimum(u, 0.0) - jnp.log1p(jnp.exp(-jnp.abs(u)))
    return log_p, log_p - u


@jax.jit
def _extent(a: jax.Array, b: jax.Array, active: jax.Array, margin: jax.Array) -> jax.Array:
    """Where each trial's grid begins and ends, and how many steps it needs, shape (3, trial)."""
    mode = jnp.log(a) - jnp.log(b)
    low = jnp.where(active, mode - _reach(a, b), jnp.inf).min(axis=0)
    high = jnp.where(active, mode + _reach(b, a), -jnp.inf).max(axis=0)
    top = jnp.minimum(jax.nn.sigmoid(high) + margin, 1 - 1e-12)
    high = jnp.where(margin > 0, jnp.log(top) - jnp.log1p(-top), high)
    # Moved by the margin, a density is narrower on the logit scale where it comes to lie nearer 1/2.
    p = a / (a + b)
    moved = jnp.minimum(p + margin, 1 - 1e-12)
    narrower = jnp.maximum(moved * (1 - moved) / (p * (1 - p)), 1.0)
    sharpest = jnp.where(active, jnp.sqrt((a + b) / (a * b)) / narrower, jnp.inf).min(axis=0)
    return jnp.stack([low, high, (high - low) / (STEP * sharpest)])


def _peak(a: jax.Array, b: jax.Array) -> jax.Array:
    n = a + b
    return a * jnp.log(a / n) + b * jnp.log(b / n)


def _cumulated(density: jax.Array, points: int) -> jax.Array:
    flat = density.reshape(points, -1)
    return jnp.einsum("im,mx->ix", jnp.asarray(_sinc(points)), flat, precision="highest").reshape(density.shape)


def _others(below: jax.Array) -> list[jax.Array]:
    """Product over all arms but one of (point, arm, trial), for each one left out."""
    arms = below.shape[1]
    return [functools.reduce(lambda x, y: x * y, [below[:, j] for j in range(arms) if j != k], jnp.ones(())) for k in range(arms)]


@functools.partial(jax.jit, static_argnames="points")
def _best(a: jax.Array, b: jax.Array, active: jax.Array, extent: jax.Array, points: int) -> jax.Array:
    peak = _peak(a, b)
    log_p, log_q = _nodes(extent[0], extent[1], points)
    density = jnp.where(active, jnp.exp(a * log_p[:, None] + b * log_q[:, None] - peak), 0.0)
    total = jnp.where(active, density.sum(axis=0), 1.0)
    below = jnp.where(active, _cumulated(density, points) / total, 1.0)
    won = jnp.stack([(density[:, k] * rest).sum(axis=0) / total[k] for k, rest in enumerate(_others(below))])
    won = jnp.clip(won, 0.0, None)
    return won / won.sum(axis=0)


@functools.partial(jax.jit, static_argnames="points")
def _within(a: jax.Array, b: jax.Array, active: jax.Array, extent: jax.Array, margin: jax.Array, points: int) -> jax.Array:
    peak = _peak(a, b)
    log_p, log_q = _nodes(extent[0], extent[1], points)
    density = jnp.where(active, jnp.exp(a * log_p[:, None] + b * log_q[:, None] - peak), 0.0)
    total = jnp.where(active, density.sum(axis=0), 1.0)
    # The same densities seen from `margin` higher up: as functions of the grid's logit, with the change of scale between the two.
    p = jnp.exp(log_p)
    lower = p - margin
    inside = lower > 0
    lower = jnp.where(inside, lower, 0.5)
    log_low, log_high = jnp.log(lower)[:, None], jnp.log1p(-lower)[:, None]
    moved = jnp.exp((a - 1) * log_low + (b - 1) * log_high + (log_p + log_q)[:, None] - peak)
    moved = jnp.where(active & inside[:, None], moved, 0.0)
    near = jnp.where(active, (_cumulated(density, points) - _cumulated(moved, points)) / total, 1.0)
    highest = sum((density[:, k] * rest).sum(axis=0) / total[k] for k, rest in enumerate(_others(near)))
    return jnp.clip(highest, 0.0, 1.0)


def _by_width(program, arrays: list[np.ndarray], *more) -> np.ndarray:
    """Call a program of (arm, trial) arrays on any number of trials, always `WIDTH` at once."""
    size = arrays[0].shape[-1]
    parts = []
    with double_precision():
        for begin in range(0, size, WIDTH):
            block = [x[..., begin : begin + WIDTH] for x in arrays]
            if (short := WIDTH - block[0].shape[-1]) > 0:
                block = [np.concatenate([x, np.repeat(x[..., :1], short, axis=-1)], axis=-1) for x in block]
            parts.append(program(*block, *more))
        return np.concatenate([np.asarray(p) for p in parts], axis=-1)[..., :size]


def _lengths(a: np.ndarray, b: np.ndarray, active: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Begin and end of each trial's grid, shape (2, trial), and its number of points, -1 where none is long enough."""
    extent = _by_width(_extent, [a, b, active], np.float64(margin))
    place = np.searchsorted(np.array(POINTS) - 1, extent[2])
    return extent[:2], np.append(POINTS, -1)[place]


def best(a: np.ndarray, b: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Probability that each arm has the largest rate; errors are below 3e-8.

    Parameters
    ----------
    a, b : array, shape (arm, trial)
    active : array of bool, shape (arm, trial)
        At least one in each trial.

    Returns
    -------
    array, shape (arm, trial)
    """
    out = np.empty(a.shape)
    extent, length = _lengths(a, b, active, 0.0)
    for points in np.unique(length):
        rows = np.flatnonzero(length == points)
        here = [x[:, rows] for x in (a, b, active)]
        out[:, rows] = _far(*here) if points < 0 else _by_width(functools.partial(_best, points=int(points)), [*here, extent[:, rows]])
    return out


def _far(a: np.ndarray, b: np.ndarray, active: np.ndarray) -> np.ndarray:
    return Betas(a.T, b.T).p_best(active.T)[0].T


def within(a: np.ndarray, b: np.ndarray, active: np.ndarray, margin: float) -> np.ndarray:
    """``P(largest rate - smallest rate < margin)`` among the active, shape (trial,); parameters as of :func:`best`."""
    out = np.empty(a.shape[1])
    extent, length = _lengths(a, b, active, margin)
    length = np.where((np.where(active, a, np.inf) < SMOOTH).any(axis=0), -1, length)
    for points in np.unique(length):
        rows = np.flatnonzero(length == points)
        here = [x[:, rows] for x in (a, b, active)]
        if points < 0:
            out[rows] = Betas(here[0].T, here[1].T).within(margin, here[2].T)
        else:
            out[rows] = _by_width(lambda a, b, active, extent, p=int(points): _within(a, b, active, extent, np.float64(margin), p),
                                  [*here, extent[:, rows]])
    return out
