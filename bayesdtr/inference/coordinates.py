"""Coordinates in which a model is sampled.

A latent Gaussian model is sampled in standard coordinates: the few other parameters in units of their
posterior spread around their mode, the coefficients by a map whose constants come from a pilot run
of Newton's method on the data (:mod:`transport`). In these coordinates the posterior is close to a
standard Normal whatever the data say about each effect, so nobody chooses between centred and non-centred
forms. The map is a bijection for any constants: they decide how fast the sampler is, never what it finds.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..model import CompiledResponse
from .latent import Arrays, Data, Latent, latent_of
from .pilot import Pilot, find, log_joint, relative
from .transport import factor, transport

LARGEST = 1000
"""Above this many coefficients no pilot is run: the coordinates are non-centred."""
OTHER, COEFFICIENTS = "other", "coefficients"


class Chart(NamedTuple):
    """Constants of the coordinates of one data set.

    Attributes
    ----------
    pilot : Pilot
    information, target : array, shape (p,)
        Each coefficient's own pseudo-likelihood, a Normal of this precision and precision times mean around the prior mean.
    rotation : array, shape (p, p)
        Root of the coefficients' posterior correlation.
    """

    pilot: Pilot
    information: jax.Array
    target: jax.Array
    rotation: jax.Array


def latent(compiled: CompiledResponse, inputs: Arrays) -> Latent | None:
    """The latent structure that the coordinates rest on, or None where they are plain."""
    if compiled.linear is None or not compiled.linear.affine:
        return None
    found = latent_of(compiled, inputs)
    return found if found.p <= LARGEST else None


def chart(compiled: CompiledResponse, data: Data) -> Chart | None:
    """Constants of the coordinates from the data; None where they are plain."""
    model = latent(compiled, data[0])
    if model is None:
        return None
    pilot = find(model, data)
    mean, log_scale = model.prior(model.other(pilot.psi), data[0])
    _, _, inverse = factor(pilot.at.gram, log_scale)
    covariance = inverse.T @ inverse  # in units of the prior scale
    sd = jnp.sqrt(jnp.diagonal(covariance))
    information = jnp.maximum(1.0 / sd**2 - 1.0, 0.0) * jnp.exp(-2.0 * log_scale)
    target = (pilot.at.x - mean) * jnp.exp(-2.0 * log_scale) / sd**2
    return Chart(pilot, information, target, jnp.linalg.cholesky(covariance / jnp.outer(sd, sd)))


def to_model(compiled: CompiledResponse, position: Arrays, made: Chart | None, data: Data) -> tuple[dict[str, jax.Array], jax.Array]:
    """Unconstrained parameters of the model from a position, and the log Jacobian determinant of the map.

    Parameters
    ----------
    compiled : CompiledResponse
    position : mapping of str to array
        ``other`` (d,) and ``coefficients`` (p,) where there is a chart; else the model's own parameters,
        latent ones in units of their prior scale.
    made : Chart or None
    data : tuple
        Inputs, outcomes, weights.
    """
    if made is None:
        return _plain(compiled, position, data[0])
    model = latent(compiled, data[0])
    assert model is not None
    psi, x, _, jacobian = _placed(model, position, made, data)
    return {**psi, **model.named(x)}, jacobian


def _placed(model: Latent, position: Arrays, made: Chart, data: Data) -> tuple[Arrays, jax.Array, jax.Array, jax.Array]:
    """Other parameters, coefficients, the ratio of curvatures, and the log Jacobian determinant of the whole map.

    Each coefficient by itself is moved between centred and non-centred as its scale says; the
    correlations between them stay the pilot's. Factoring the whole covariance anew at every point
    (:func:`transport` with a matrix) makes paths no shorter and costs thirty times as much at 50 coefficients.
    """
    psi = model.other(made.pilot.psi + made.pilot.spread @ position[OTHER])
    ratio = relative(model, made.pilot, psi, data)
    mean, log_scale = model.prior(psi, data[0])
    z = made.rotation @ position[COEFFICIENTS]
    v, jacobian = transport(ratio * made.information, log_scale, ratio * jnp.exp(log_scale) * made.target, z)
    jacobian += jnp.sum(log_scale) + jnp.sum(jnp.log(jnp.diagonal(made.rotation))) + jnp.sum(jnp.log(jnp.diagonal(made.pilot.spread)))
    return psi, mean + jnp.exp(log_scale) * v, ratio, jacobian


def _plain(compiled: CompiledResponse, position: Arrays, inputs: Arrays) -> tuple[dict[str, jax.Array], jax.Array]:
    """The model's own parameters, latent coefficients in units of their prior scale (non-centred)."""
    u, jacobian = dict(position), jnp.zeros(())
    if compiled.linear is not None:
        for name, (mean, scale) in compiled.linear.prior(position, inputs).items():
            u[name] = mean + scale * position[name]
            jacobian += jnp.sum(jnp.broadcast_to(jnp.log(scale), jnp.shape(position[name])))
    return u, jacobian


def potential(compiled: CompiledResponse, position: Arrays, made: Chart | None, data: Data) -> jax.Array:
    """Negative log posterior density in the sampler's coordinates."""
    if made is None:
        u, jacobian = _plain(compiled, position, data[0])
        return compiled.potential(u, *data) - jacobian
    model = latent(compiled, data[0])
    assert model is not None
    psi, x, ratio, jacobian = _placed(model, position, made, data)
    return -(log_joint(model, made.pilot, x, psi, ratio, data) + jacobian)


def start_of(compiled: CompiledResponse, made: Chart | None, data: Data, key: jax.Array) -> dict[str, Any]:
    """A starting point, dispersed around the middle of the posterior."""
    if made is not None:
        sizes = {OTHER: len(made.pilot.psi), COEFFICIENTS: len(made.pilot.at.x)}
        keys = jax.random.split(key, 2)
        return {n: jax.random.uniform(k, (s,), minval=-2.0, maxval=2.0) for (n, s), k in zip(sizes.items(), keys, strict=True)}
    inputs = data[0]
    names = compiled.linear.latent if compiled.linear else ()
    centre, tree = jax.tree.flatten({n: jnp.zeros_like(v) if n in names else v for n, v in compiled.initial(inputs).items()})
    keys = jax.random.split(key, max(len(centre), 1))
    spread = jnp.minimum(1.0, inputs.get(f"{compiled.name}::sd", 1.0))
    return jax.tree.unflatten(tree, [
        c + spread * jax.random.uniform(k, c.shape, minval=-1.0, maxval=1.0) for c, k in zip(centre, keys, strict=False)
    ])
