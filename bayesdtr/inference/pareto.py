"""Pareto-smoothed importance weights and their shape k-hat, as array operations that run under ``vmap``.

Sources: Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72);
the fit of the generalized Pareto distribution is that of Zhang & Stephens (2009), Technometrics
51:316, with the weak prior that the former put on the shape.
"""

import math

import jax
import jax.numpy as jnp

LARGEST_KHAT = 0.7
"""Above it, importance weights have tails too heavy to be trusted."""


def tail_length(draws: int) -> int:
    """Number of largest weights that the Pareto distribution is fitted to."""
    return max(5, min(draws // 5, math.ceil(3 * math.sqrt(draws))))


def fit_tail(excess: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shape and scale of a generalized Pareto distribution.

    Parameters
    ----------
    excess : array, shape (m,)
        Ascending, not negative.
    """
    m = len(excess)
    grid = 30 + int(math.sqrt(m))
    quartile = excess[max(int(m / 4 + 0.5) - 1, 0)]
    theta = (1.0 - jnp.sqrt(grid / (jnp.arange(1, grid + 1) - 0.5))) / (3.0 * quartile) + 1.0 / excess[-1]
    shapes = jnp.mean(jnp.log1p(-theta[:, None] * excess), axis=1)
    profile = m * (jnp.log(-theta / shapes) - shapes - 1.0)
    mean = jax.nn.softmax(profile) @ theta
    shape = jnp.mean(jnp.log1p(-mean * excess))
    scale = -shape / mean
    return (shape * m + 0.5 * 10.0) / (m + 10.0), scale


def smooth(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Normalized log weights with a smoothed tail, and k-hat.

    Parameters
    ----------
    log_weights : array, shape (draw,)
        Log importance ratios up to a constant; minus infinity stands for a ratio of 0.

    Returns
    -------
    log_weights : array, shape (draw,)
        Sum to 1 after exponentiation.
    khat : scalar
        Shape of the tail of the ratios; minus infinity where all ratios are (almost) equal,
        infinity where none is finite.
    """
    size = len(log_weights)
    usable = jnp.isfinite(log_weights)
    any_usable = jnp.any(usable)
    raw = jnp.where(usable, log_weights, -jnp.inf)
    raw = jnp.where(any_usable, raw, 0.0)
    raw = raw - jnp.max(raw)
    m = tail_length(size)
    order = jnp.argsort(raw)
    tail = raw[order[size - m :]]
    cut = jnp.maximum(raw[order[size - m - 1]], math.log(jnp.finfo(raw.dtype).tiny))
    excess = jnp.exp(tail) - jnp.exp(cut)
    flat = excess[-1] < 1e-10
    shape, scale = fit_tail(jnp.where(flat, jnp.linspace(0.1, 1.0, m), jnp.maximum(excess, 1e-30)))
    p = (jnp.arange(m) + 0.5) / m
    exponential = -jnp.log1p(-p)
    bent = jnp.expm1(shape * exponential) / jnp.where(shape == 0, 1.0, shape)
    quantiles = scale * jnp.where(jnp.abs(shape) > 1e-8, bent, exponential)
    fitted = jnp.minimum(jnp.log(quantiles + jnp.exp(cut)), 0.0)  # no weight above the largest ratio
    smoothed = raw.at[order[size - m :]].set(jnp.where(flat | ~jnp.isfinite(shape), tail, fitted))
    khat = jnp.where(any_usable, jnp.where(flat, -jnp.inf, shape), jnp.inf)
    return jax.nn.log_softmax(smoothed), khat
