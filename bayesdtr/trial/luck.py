"""Random numbers of one replicate's own: keys by folding in the seed, the replicate and a purpose."""

import jax
import jax.numpy as jnp
import numpy as np

from ..runtime import double_precision, key

WIDTH = 64
"""Replicates drawn in one call of a compiled program, whatever the batch: the last bits may depend on a program's width, so it is always the same."""


def uniforms(seed: int, replicates: np.ndarray, purpose: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in (0, 1) for each replicate, shape ``(trial, *shape)``; the same whatever replicates are asked for beside it.

    Parameters
    ----------
    seed : int
    replicates : array of int, shape (trial,)
    purpose : str
        Sets numbers for different uses apart, so that a design that needs more of one kind leaves the others as they are.
    shape : tuple of int
    """
    out = np.empty((len(replicates), *shape))
    with double_precision():
        start = key(seed, purpose)
        for begin in range(0, len(replicates), WIDTH):
            part = np.zeros(WIDTH, dtype=np.uint32)
            ids = np.asarray(replicates[begin : begin + WIDTH], dtype=np.uint32)
            part[: len(ids)] = ids
            out[begin : begin + WIDTH] = np.asarray(_drawn(start, part, shape))[: len(ids)]
    return out


def _uniform(start: jax.Array, replicates: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    one = lambda r: jax.random.uniform(jax.random.fold_in(start, r), shape, minval=jnp.finfo(float).tiny)  # noqa: E731
    return jax.vmap(one)(replicates)


_drawn = jax.jit(_uniform, static_argnums=2)
