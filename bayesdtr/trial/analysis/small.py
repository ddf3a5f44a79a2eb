"""Small symmetric matrices by the hundred, worked on side by side: made to be traced.

A matrix is packed as its lower triangle, column by column, and the last axis runs over matrices: ``[p (p + 1) / 2, many]``.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WRITTEN = 14
"""Size up to which factors are written out entry by entry: some three times as fast as a loop or a call for each matrix, but soon slow to compile."""


class Inverses(NamedTuple):
    """Inverses of many matrices.

    Attributes
    ----------
    packed : array, shape (p (p + 1) / 2, many)
    halves : array, shape (p (p + 1) / 2, many)
        Packed lower triangular ``h`` with ``h'h`` the inverse.
    log_det : array, shape (many,)
        Of the matrices themselves.
    """

    packed: jax.Array
    halves: jax.Array
    log_det: jax.Array


def places(p: int) -> np.ndarray:
    """Where each entry of a matrix is packed, shape (p, p)."""
    place = np.zeros((p, p), dtype=int)
    column, row = np.triu_indices(p)
    place[row, column] = place[column, row] = np.arange(len(row))
    return place


def products(v: jax.Array) -> jax.Array:
    """``v v'``, packed, of many vectors ``[p, many]``."""
    return jnp.concatenate([v[j : j + 1] * v[j:] for j in range(len(v))])


def packed(matrix: jax.Array) -> jax.Array:
    """A symmetric matrix's lower triangle ``[p (p + 1) / 2]``, or those of many, on whatever axes follow."""
    column, row = np.triu_indices(len(matrix))
    return matrix[row, column]


def whole(packed: jax.Array, p: int) -> jax.Array:
    """Symmetric matrices ``[many, p, p]``."""
    return packed[places(p).ravel()].T.reshape(-1, p, p)


def rooted(halves: jax.Array, p: int) -> jax.Array:
    """Triangular matrices as roots ``[many, p, p]``: the first row, which has no zeros, belongs to the first standard coordinate."""
    return (jnp.tril(jnp.ones((p, p))) * whole(halves, p))[:, ::-1]


def moved(halves: jax.Array, which: jax.Array, standard: np.ndarray) -> jax.Array:
    """Standard coordinates ``[draw, p]`` through the roots, by :func:`rooted`, of some matrices ``(draw,)``; shape (draw, p)."""
    p = standard.shape[1]
    place = places(p)

    def coordinate(i: int) -> jax.Array:
        # Draws one after the other in memory, and entries alone: whole roots of every draw would be copied.
        return sum((halves[place[r, i]][which] * jnp.asarray(standard[:, p - 1 - r]) for r in range(i, p)), jnp.zeros(()))

    return jnp.stack([_made(coordinate(i)) for i in range(p)], axis=1)


def symmetric_times(packed: jax.Array, v: jax.Array) -> jax.Array:
    """Matrices times vectors ``[p, many]``."""
    place = places(len(v))
    return jnp.stack([sum((packed[place[i, j]] * v[j] for j in range(len(v))), jnp.zeros(())) for i in range(len(v))])


@dataclass(frozen=True)
class Factors:
    """Cholesky factors of many matrices, for what follows from them.

    Attributes
    ----------
    low : list of array, or array
        Written out: columns ``[p - j, many]``, from the diagonal down. Called: ``[many, p, p]``.
    smallest : array, shape (many,)
        Smallest pivot; not above 0, or NaN, where a matrix is not positive definite.
    inverse : list of array, shape (many,)
        Written out: inverses of the diagonal.
    """

    low: Any
    smallest: jax.Array
    inverse: list[jax.Array]

    @staticmethod
    def of(packed: jax.Array, p: int) -> "Factors":
        """Factorise packed matrices."""
        if p > WRITTEN:
            low = jnp.linalg.cholesky(whole(packed, p), symmetrize_input=False)
            return Factors(low, jnp.min(jnp.diagonal(low, axis1=1, axis2=2), axis=1) ** 2, [])
        columns, pivots = jnp.split(_made(packed), np.cumsum(np.arange(p, 1, -1))), []
        low, inverse = [], []
        for j, column in enumerate(columns):
            for k in range(j):
                column = column - low[k][j - k :] * low[k][j - k]
            pivots.append(column[0])
            inverse.append(_made(jax.lax.rsqrt(column[0])))
            low.append(_made(column * inverse[j]))
        # NaN where a pivot was negative.
        return Factors(low, jnp.min(jnp.stack(pivots), axis=0), inverse)

    def where(self, good: jax.Array, other: "Factors") -> "Factors":
        """These where `good` ``(many,)``, and others where not."""
        pick = lambda a, b: jnp.where(good if a.ndim < 3 else good[:, None, None], a, b)  # noqa: E731
        return Factors(*jax.tree.map(pick, (self.low, self.smallest, self.inverse), (other.low, other.smallest, other.inverse)))

    def solve(self, v: jax.Array) -> jax.Array:
        """Matrices' inverses times vectors ``[p, many]``."""
        if not isinstance(self.low, list):
            return jax.vmap(lambda low, b: jax.scipy.linalg.cho_solve((low, True), b), in_axes=(0, 1), out_axes=1)(self.low, v)
        low, inverse, p = self.low, self.inverse, len(self.low)
        half: list[jax.Array] = []
        for i in range(p):
            rest = v[i]
            for k in range(i):
                rest = rest - low[k][i - k] * half[k]
            half.append(_made(rest * inverse[i]))
        found: list[Any] = [None] * p
        for i in reversed(range(p)):
            rest = half[i]
            for k in range(i + 1, p):
                rest = rest - low[i][k - i] * found[k]
            found[i] = _made(rest * inverse[i])
        return jnp.stack(found)

    def inverses(self) -> Inverses:
        """The matrices' inverses."""
        if not isinstance(self.low, list):
            p = self.low.shape[1]
            back = jax.vmap(lambda low: jax.scipy.linalg.solve_triangular(low, jnp.eye(p), lower=True))(self.low)
            whole_ = jnp.einsum("nka,nkb->abn", back, back)
            return Inverses(packed(whole_), packed(jnp.moveaxis(back, 0, -1)), 2 * jnp.sum(jnp.log(jnp.diagonal(self.low, axis1=1, axis2=2)), axis=1))
        low, inverse, p = self.low, self.inverse, len(self.low)
        back = []  # columns of the inverse factor, from the diagonal down
        for j in range(p):
            column = [inverse[j]]
            for i in range(j + 1, p):
                column.append(_made(-sum((low[k][i - k] * column[k - j] for k in range(j, i)), jnp.zeros(())) * inverse[i]))
            back.append(jnp.stack(column))
        square = _made(jnp.stack([jnp.concatenate([jnp.zeros((j, *column.shape[1:])), column]) for j, column in enumerate(back)]))
        full = [sum((square[j, k] * square[j:, k] for k in range(j, p)), jnp.zeros(())) for j in range(p)]
        log_det = -2 * jnp.sum(jnp.log(jnp.stack(inverse)), axis=0)
        return Inverses(jnp.concatenate(full), jnp.concatenate(back), log_det)


def _made(values: jax.Array) -> jax.Array:
    """The same, made once: the compiler would rather work out again what each of many readers needs."""
    return jax.lax.optimization_barrier(values)
