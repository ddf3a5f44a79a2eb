"""Integrals over a patient's own effect: Gauss-Hermite nodes placed where each patient's responses put it.

Fixed nodes of the standard Normal miss what lies between two of them. A residual SD small beside the
effect makes a patient's likelihood a narrow peak, and the model would then prefer parameters under which
the peaks fall on nodes. (Pinheiro and Bates 1995; adaptive quadrature.)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

NODES = 25
"""Nodes: exact for polynomials of degree 49 times the Normal density they are placed by."""
STEPS = 10
"""Newton steps to a patient's mode; one suffices for Normal responses near it."""
LONGEST = 10.0
"""Of one step, in SDs of the effect."""
DIFFERENCE = 1e-4
"""Half the distance over which slopes are compared."""
FLAT = 0.25
"""Least curvature: a likelihood with heavy tails may bend upwards away from its peak."""

LogLikelihood = Callable[[jax.Array], jax.Array]
"""From each patient's effect to the log likelihood of that patient's responses, both of shape (patient,)."""


def standard() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes of the standard Normal and the logs of their weights, shape (node,)."""
    x, w = np.polynomial.hermite_e.hermegauss(NODES)
    return x, np.log(w / w.sum())


def settled(log_likelihood: LogLikelihood, size: int) -> tuple[jax.Array, jax.Array]:
    """Mode of each patient's effect, a standard Normal before the responses, and its SD there, shape (patient,)."""
    one, h = jnp.ones(size), DIFFERENCE

    def bend(u):
        left, right = (jax.jvp(log_likelihood, (u + d,), (one,))[1] for d in (-h, h))
        slope, curvature = 0.5 * (left + right) - u, 1.0 - (right - left) / (2 * h)
        return jnp.nan_to_num(slope, nan=0.0, posinf=LONGEST, neginf=-LONGEST), jnp.maximum(jnp.nan_to_num(curvature, nan=1.0), FLAT)

    def step(_, u):
        slope, curvature = bend(u)
        return u + jnp.clip(slope / curvature, -LONGEST, LONGEST)

    mode = jax.lax.fori_loop(0, STEPS, step, jnp.zeros(size))
    return mode, 1.0 / jnp.sqrt(bend(mode)[1])


def placed(log_likelihood: LogLikelihood, size: int) -> tuple[jax.Array, jax.Array]:
    """Each patient's nodes and the logs of what they weigh under the standard Normal, shape (node, patient).

    Nodes are constants to derivatives: where they are decides how exact the integral is, not what it is.
    """
    mode, sd = (jax.lax.stop_gradient(v) for v in settled(log_likelihood, size))
    z, log_weight = (v[:, None] for v in standard())
    points = mode + sd * z
    return points, log_weight + 0.5 * (z**2 - points**2) + jnp.log(sd)


def log_integral(log_likelihood: LogLikelihood, frozen: LogLikelihood, size: int) -> jax.Array:
    """Log of each patient's likelihood with the effect integrated over, shape (patient,).

    Parameters
    ----------
    log_likelihood : callable
    frozen : callable
        The same with parameters that are constants to derivatives; it places the nodes.
    size : int
        Patients.
    """
    points, log_weight = placed(frozen, size)
    return jax.scipy.special.logsumexp(jax.vmap(log_likelihood)(points) + log_weight, axis=0)
