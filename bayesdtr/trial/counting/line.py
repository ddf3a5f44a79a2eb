"""P(best) and P(all within a margin) of independent Betas at once, on a grid of rates of which the margin is a whole number of steps.

Where a Beta has some successes and failures, its density on (0, 1) is smooth and vanishes at both ends to a high order, so that the trapezoid rule
and the indefinite integral of the sinc interpolant (see :mod:`.grid`) serve as well here as on the scale of logits. A distribution function a margin
further on is then the same column some places further down, and equivalence comes for a few products beside P(best).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import sici

from ...runtime import double_precision

WIDTH = 256
"""Trials in one call of a compiled program; the trial is the last axis."""

POINTS = (24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 192)
"""Lengths of grids; each trial gets the shortest that is long enough."""

STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
"""Steps in the margin; each trial gets the fewest that are at most `STEP` standard deviations of its sharpest density."""

STEP = 0.48
SMOOTH = 20.0
"""Least parameter of a density that is smooth enough at its end of (0, 1)."""

DEPTH = 20.0
"""The grid covers what lies within about ``exp(-DEPTH)`` of each density's peak."""

NEVER = 1e300
"""Logarithm of a peak that leaves nothing of a density beside it: that of an arm left out."""


@functools.cache
def _sinc(points: int) -> np.ndarray:
    """Weights of the indefinite integral in steps of the grid, shape (to, from)."""
    place = np.arange(points)
    return 0.5 + sici(np.pi * (place[:, None] - place[None, :]))[0] / np.pi


def _others(columns: list[jax.Array]) -> list[jax.Array | float]:
    """Product over all arms but one, for each one left out."""
    return [functools.reduce(lambda x, y: x * y, [c for j, c in enumerate(columns) if j != k], 1.0) for k in range(len(columns))]


@functools.partial(jax.jit, static_argnames="points")
def _both(table: jax.Array, steps: jax.Array, points: int) -> jax.Array:
    """P(best) of each arm, then P(all within), shape (arm + 1, trial); `table` as :func:`_table` makes it."""
    arms = (len(table) - 2) // 4
    rise, fall, peak, out = (table[k * arms : (k + 1) * arms] for k in range(4))
    p = table[-2] + table[-1] * jnp.arange(points)[:, None]
    # Beyond 0 and 1 the densities are exp(-700) and less.
    log_p, log_q = jnp.log(jnp.maximum(p, 1e-300)), jnp.log(jnp.maximum(1 - p, 1e-300))
    density = [jnp.exp(rise[k] * log_p + fall[k] * log_q - peak[k]) for k in range(arms)]
    total = [density[k].sum(axis=0) + out[k] for k in range(arms)]
    sinc = jnp.asarray(_sinc(points))
    below = [jnp.matmul(sinc, density[k], precision="highest") * ((1 - out[k]) / total[k]) + out[k] for k in range(arms)]
    won = [(density[k] * rest).sum(axis=0) / total[k] for k, rest in enumerate(_others(below))]
    whole = functools.reduce(lambda x, y: x + y, won)
    beyond = jnp.ones((points, table.shape[1]))
    further = [jax.lax.dynamic_slice_in_dim(jnp.concatenate([c, beyond]), steps, points) for c in below]
    near = [further[k] - below[k] + out[k] for k in range(arms)]
    inside = functools.reduce(lambda x, y: x + y, [(density[k] * rest).sum(axis=0) / total[k] for k, rest in enumerate(_others(near))])
    return jnp.stack([*(w / whole for w in won), jnp.clip(inside, 0.0, 1.0)])


def _reach(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which rates a density is above ``exp(-DEPTH)`` of its peak, nearly: as far on both sides on the scale that stabilizes its variance."""
    n = a + b - 2
    top, far = np.arcsin(np.sqrt((a - 1) / n)), np.sqrt(DEPTH / (2 * n))
    return np.sin(np.maximum(top - far, 0.0)) ** 2, np.sin(np.minimum(top + far, np.pi / 2)) ** 2


def _table(a: np.ndarray, b: np.ndarray, active: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """What the program is asked with, shape (4 arm + 2, trial), and each trial's kind: its places in `POINTS` and `STEPS` as one number, or -1."""
    smooth = ~(active & (np.minimum(a, b) < SMOOTH)).any(axis=0)
    some = active & smooth
    # Parameters of arms that do not count are those of a harmless density.
    a, b = np.where(some, a, SMOOTH), np.where(some, b, SMOOTH)
    n = a + b
    rise, fall = a - 1, b - 1
    peak = np.where(some, rise * np.log(rise / (n - 2)) + fall * np.log(fall / (n - 2)), NEVER)
    sharpest = np.sqrt(np.where(some, a * b / (n * n * (n + 1)), 1.0).min(axis=0))
    place = np.searchsorted(STEPS, margin / (STEP * sharpest))
    step = margin / np.append(STEPS, 1)[place]
    low, high = _reach(a, b)
    low, high = np.where(some, low, 1.0).min(axis=0), np.where(some, high, 0.0).max(axis=0)
    length = np.searchsorted(POINTS, (high - low) / step + 1)
    kind = np.where(smooth & (place < len(STEPS)) & (length < len(POINTS)), length * len(STEPS) + place, -1)
    return np.concatenate([rise, fall, peak, 1.0 - some, low[None], step[None]]), kind


def best_and_within(a: np.ndarray, b: np.ndarray, active: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(best) and P(largest rate - smallest rate < margin) among the active, where a grid of rates gives them; errors are below 3e-8.

    Parameters
    ----------
    a, b : array, shape (arm, trial)
    active : array of bool, shape (arm, trial)
        At least one in each trial.
    margin : float
        Above 0 and below 1.

    Returns
    -------
    best : array, shape (arm, trial)
    within : array, shape (trial,)
    found : array of bool, shape (trial,)
        False where the grid would be too long or a density is not smooth enough; the numbers mean nothing there.
    """
    table, kind = _table(a, b, active, margin)
    order = np.argsort(kind, kind="stable")
    table, kinds = np.ascontiguousarray(table[:, order]), kind[order]
    begins = np.flatnonzero(np.diff(kinds, prepend=-2))
    answers, parts = np.empty((len(a) + 1, len(kind))), []
    with double_precision():
        for begin, end in zip(begins, np.append(begins[1:], len(kinds)), strict=True):
            if (one := int(kinds[begin])) < 0:
                continue
            points, steps = POINTS[one // len(STEPS)], np.int64(STEPS[one % len(STEPS)])
            for at in range(begin, end, WIDTH):
                block = table[:, at : min(at + WIDTH, end)]
                if (short := WIDTH - block.shape[1]) > 0:
                    block = np.concatenate([block, np.repeat(block[:, :1], short, axis=1)], axis=1)
                parts.append((at, min(at + WIDTH, end), _both(block, steps, points)))
        for at, end, part in parts:
            answers[:, order[at:end]] = np.asarray(part)[:, : end - at]
    return answers[:-1], answers[-1], kind >= 0
