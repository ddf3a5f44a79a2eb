"""Whether the mean of a response with one linear predictor lies beyond a limit, for very many histories: matrix products instead of densities."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ..runtime import in_double_precision
from .compile import CompiledResponse

PAIRS = 2**20
"""Draws times histories at once."""
ROWS = 2**15
"""Histories whose predictors are built at once."""


@in_double_precision
def share_beyond(
    compiled: CompiledResponse, draws: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], cut: float, above: bool
) -> np.ndarray | None:
    """Share of draws under which the linear predictor is above, or below, a number, shape (row,).

    Predictors are affine in the coefficients: ``eta = offset + design @ coefficients`` for every history.

    Parameters
    ----------
    compiled : CompiledResponse
    draws : mapping of str to array, shape (draw, ...)
    inputs : mapping of str to array, shape (row,) or ()
    cut : float
        On the scale of the linear predictor.
    above : bool

    Returns
    -------
    array, or None
        None where the model has no single linear predictor that is affine in coefficients among the draws.
    """
    linear = compiled.linear
    if linear is None or not linear.affine or linear.parts != 1 or any(n not in draws for n in linear.latent):
        return None
    shapes = [draws[n].shape[1:] for n in linear.latent]
    sizes = [int(np.prod(s)) for s in shapes]
    coefficients = np.concatenate([draws[n].reshape(len(draws[n]), -1) for n in linear.latent], axis=1)

    def eta(flat: jax.Array, rows: Mapping[str, np.ndarray]) -> jax.Array:
        parts = jnp.split(flat, np.cumsum(sizes)[:-1])
        return linear.eta({n: p.reshape(s) for n, p, s in zip(linear.latent, parts, shapes, strict=True)}, rows)[:, 0]

    by_row = [n for n in inputs if n in compiled.by_row]
    size = len(inputs[by_row[0]])
    out, step = np.empty(size), max(1, PAIRS // len(coefficients))
    for begin in range(0, size, ROWS):
        rows = {n: v[begin : begin + ROWS] if n in by_row else v for n, v in inputs.items()}
        offset = np.asarray(eta(jnp.zeros(sum(sizes)), rows))
        design = np.asarray(jax.vmap(lambda unit, rows=rows: eta(unit, rows))(jnp.eye(sum(sizes)))) - offset  # (coefficient, row)
        for first in range(0, len(offset), step):
            piece = slice(first, first + step)
            found = coefficients @ design[:, piece] + offset[piece]
            out[begin + first : begin + min(first + step, len(offset))] = ((found > cut) if above else (found < cut)).mean(axis=0)
    return out
