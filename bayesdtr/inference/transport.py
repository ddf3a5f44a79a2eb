"""The map from standard coordinates to Gaussian coefficients given their prior scales and the data's curvature.

Coefficients ``x ~ Normal(mean, scale)`` seen through a Gaussian pseudo-likelihood ``b'x - x'Gx/2``
have, given their scales, mean and covariance in closed form. With ``B = I + S G S`` and ``B = L L'``,

    x = mean + S L^-T (L^-1 S (b - G mean) + z),   log |dx/dz| = sum log S - sum log L_ii,

sends independent standard Normal `z` to exactly that distribution. It is a smooth bijection for any
scales, whatever `b` and `G` are, so a sampler may move in `z` and report `x`: where the data say
nothing it is the non-centred form, where they say everything the centred one, and in between what
lies between. `B` has no eigenvalue below 1, so the factor exists at every scale.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

Gram = jax.Array
"""Curvature: shape (p, p), or (p,) for its diagonal only."""


def transport(gram: Gram, log_scale: jax.Array, r: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coefficients in units of their prior scale, and the log Jacobian determinant.

    Parameters
    ----------
    gram : array, shape (p, p) or (p,)
        Constant: no derivative is taken with respect to it.
    log_scale, r, z : array, shape (p,)
        Log prior scales, ``S (b - G mean)``, standard coordinates.

    Returns
    -------
    v : array, shape (p,)
        ``L^-T (L^-1 r + z)``.
    log_jacobian : scalar
        ``-sum log L_ii``.
    """
    if gram.ndim == 1:
        inverse = 1.0 / (1.0 + jnp.exp(2.0 * log_scale) * gram)
        return inverse * r + jnp.sqrt(inverse) * z, 0.5 * jnp.sum(jnp.log(inverse))
    return _dense(jax.lax.stop_gradient(gram), log_scale, r, z)


def factor(gram: jax.Array, log_scale: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``B``, its Cholesky factor and the factor's inverse."""
    scale = jnp.exp(log_scale)
    eye = jnp.eye(len(scale), dtype=scale.dtype)
    b = eye + scale[:, None] * gram * scale
    low = jnp.linalg.cholesky(b, symmetrize_input=False)
    return b, low, solve_triangular(low, eye, lower=True)


@jax.custom_vjp
def _dense(gram: jax.Array, log_scale: jax.Array, r: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _forward(gram, log_scale, r, z)[0]


def _forward(gram, log_scale, r, z):
    b, low, inverse = factor(gram, log_scale)
    u = inverse @ r
    v = inverse.T @ (u + z)
    return (v, -jnp.sum(jnp.log(jnp.diagonal(low)))), (b, inverse, u, z)


def _backward(kept, cotangents):
    # With E = L^-1 dB L^-T and Phi its lower triangle with halved diagonal, d(L^-1) = -Phi(E) L^-1.
    b, inverse, u, z = kept
    v_bar, jacobian_bar = cotangents
    t_bar = inverse @ v_bar
    k = -(jnp.outer(u + z, t_bar) + jnp.outer(t_bar, u))
    eye = jnp.eye(len(u), dtype=u.dtype)
    k = jnp.tril(k) - 0.5 * eye * (jnp.diagonal(k) + jacobian_bar)
    m = inverse.T @ (k @ inverse)
    log_scale_bar = jnp.sum((m + m.T) * (b - eye), axis=1)
    return jnp.zeros_like(b), log_scale_bar, inverse.T @ t_bar, t_bar


_dense.defvjp(_forward, _backward)
