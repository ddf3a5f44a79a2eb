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
    log_scale : array, shape (p,)
        Log prior scales there; what follows is in units of them.
    basis : array, shape (p, p), or None
        Orthogonal: combinations of coefficients that the data tell apart. None stands for the coefficients themselves.
    information, target : array, shape (p,)
        Each combination's own pseudo-likelihood, a Normal of this precision and precision times mean around the prior mean.
    rotation : array, shape (p, p)
        Root of the combinations' posterior correlation.
    """

    pilot: Pilot
    log_scale: jax.Array
    basis: jax.Array | None
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
    scale = jnp.exp(log_scale)
    _, _, inverse = factor(pilot.at.gram, log_scale)
    covariance = inverse.T @ inverse  # in units of the prior scale
    centre = (pilot.at.x - mean) / scale
    basis = _basis(model, scale[:, None] * pilot.at.gram * scale)
    if basis is not None:
        covariance, centre = basis.T @ covariance @ basis, basis.T @ centre
    sd = jnp.sqrt(jnp.diagonal(covariance))
    information = jnp.maximum(1.0 / sd**2 - 1.0, 0.0)
    return Chart(pilot, log_scale, basis, information, centre / sd**2, jnp.linalg.cholesky(covariance / jnp.outer(sd, sd)))


def _basis(model: Latent, gram: jax.Array) -> jax.Array | None:
    """Principal axes of what the data say about the coefficients of curves; other coefficients stay as they are.

    A curve's coefficients share a spread, and their posterior correlation changes with it. Along the principal axes each
    combination moves between prior and data by itself, whatever the spread is.
    """
    if not model.curves:
        return None
    basis = jnp.eye(model.p)
    for begin, end in model.curves:
        basis = basis.at[begin:end, begin:end].set(jnp.linalg.eigh(gram[begin:end, begin:end])[1])
    return basis


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

    Each coefficient (of curves: each combination along the chart's basis) is moved between centred and non-centred
    by itself as its scale says; the correlations between them stay the pilot's. Factoring the whole covariance anew at every
    point (:func:`transport` with a matrix) costs some thirty times as much at 50 coefficients, and makes paths no shorter but
    of curves: there it removes the divergences that are left.
    """
    psi = model.other(made.pilot.psi + made.pilot.spread @ position[OTHER])
    ratio = relative(model, made.pilot, psi, data)
    mean, log_scale = model.prior(psi, data[0])
    z = made.rotation @ position[COEFFICIENTS]
    widening = log_scale - made.log_scale
    if made.basis is not None:
        widening = widening @ made.basis**2
    v, jacobian = transport(ratio * made.information, widening, ratio * jnp.exp(widening) * made.target, z)
    if made.basis is not None:
        v = made.basis @ v
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
