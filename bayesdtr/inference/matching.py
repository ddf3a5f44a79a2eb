"""Proposals that learn from their own weights: importance sampling in rounds, each round placed by the moments of the one before.

Normal proposals for coefficients are too narrow where the likelihood says little on one side (the part of
a zero-inflated response that makes zeros: its intercept may be very low, and then its other coefficients
are free), and they take the scales' directions one at a time. A round's weighted mean and covariance place the
next, as in the moment matching of Paananen, Piironen, Buerkner & Vehtari (2021), Statistics and Computing
31:16; every kept draw is weighed against the density it was drawn from, so that the weights stay exact
whatever the moments were.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

ROUNDS = 4
KEPT = 2
"""The last rounds, whose draws are used."""
PRIOR = 2.0
"""The standard coordinates count in the moments as so many draws for each coordinate."""


class Frame(NamedTuple):
    """Where a round's standard coordinates lie: ``centre + root @ e``, shapes (p,) and (p, p)."""

    centre: jax.Array
    root: jax.Array

    def place(self, e: jax.Array) -> jax.Array:
        """Coordinates of standard ones, shape (..., p)."""
        return self.centre + e @ self.root.T

    @property
    def log_volume(self) -> jax.Array:
        """Log Jacobian determinant of :meth:`place`; the root is lower triangular."""
        return jnp.sum(jnp.log(jnp.diagonal(self.root)))


def standard(p: int) -> Frame:
    """The frame of the first round."""
    return Frame(jnp.zeros(p), jnp.eye(p))


def matched(z: jax.Array, log_weights: jax.Array) -> Frame:
    """The frame with the weighted moments of a round's coordinates.

    Parameters
    ----------
    z : array, shape (draw, p)
    log_weights : array, shape (draw,)
        Smoothed; sum to 1 after exponentiation. Few effective draws move the frame little from the standard one.
    """
    p = z.shape[1]
    weights = jnp.exp(log_weights)
    size = 1.0 / jnp.sum(weights**2)
    share = size / (size + PRIOR * p)
    seen = jnp.where(weights[:, None] > 0, z, 0.0)
    mean = weights @ seen
    around = seen - mean
    covariance = jnp.einsum("s,si,sj->ij", weights, around, around)
    root = jnp.linalg.cholesky(share * covariance + (1.0 - share) * jnp.eye(p))
    usable = jnp.isfinite(root).all()
    return jax.tree.map(lambda new, old: jnp.where(usable, new, old), Frame(share * mean, root), standard(p))
