"""Coordinates in which a model is sampled: latent coefficients in units of their prior scale (non-centred)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..model import CompiledResponse


def to_model(compiled: CompiledResponse, z: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[dict[str, jax.Array], jax.Array]:
    """Unconstrained parameters of the model, and the log Jacobian determinant of the map, from the sampler's coordinates."""
    if compiled.linear is None:
        return dict(z), jnp.zeros(())
    u, jacobian = dict(z), jnp.zeros(())
    for name, (mean, scale) in compiled.linear.prior(z, inputs).items():
        u[name] = mean + scale * z[name]
        jacobian += jnp.sum(jnp.broadcast_to(jnp.log(scale), jnp.shape(z[name])))
    return u, jacobian


def start_of(compiled: CompiledResponse, inputs: Mapping[str, Any]) -> dict[str, jax.Array]:
    """A central point in the sampler's coordinates."""
    latent = compiled.linear.latent if compiled.linear else ()
    return {n: jnp.zeros_like(v) if n in latent else v for n, v in compiled.initial(inputs).items()}
