"""From a PyMC random variable to the `numpyro.distributions` object with the same parameters."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

from ..errors import ModelError, listing

# By the name of the PyMC variable's operation; arguments in the order of its `dist_params`.
_CARRIED: dict[str, Callable[..., dist.Distribution]] = {
    "normal": lambda mu, sigma: dist.Normal(mu, sigma),
    "t": lambda nu, mu, sigma: dist.StudentT(nu, mu, sigma),
    "bernoulli": lambda p: dist.Bernoulli(probs=p),
    "laplace": lambda mu, b: dist.Laplace(mu, b),
    "logistic": lambda mu, s: dist.Logistic(mu, s),
    "lognormal": lambda mu, sigma: dist.LogNormal(mu, sigma),
    "gamma": lambda alpha, scale: dist.Gamma(alpha, 1.0 / scale),
    "exponential": lambda scale: dist.Exponential(1.0 / scale),
    "beta": lambda a, b: dist.Beta(a, b),
    "uniform": lambda low, high: dist.Uniform(low, high),
    "poisson": lambda mu: dist.Poisson(mu),
}
FINITE = {"bernoulli": (0, 1)}
WHOLE = ("bernoulli", "poisson")
"""Take whole numbers only."""
SMOOTH = ("normal", "logistic")
"""Positive on the whole line with light tails: a uniform grid integrates them. Others are simulated."""


def operation_name(variable: Any) -> str:
    """Name of the PyMC operation behind a random variable, as `dist_params` users know it."""
    operation = variable.owner.op
    return getattr(operation, "name", None) or type(operation).__name__.lower()


def check_carried(variable: Any, response: str) -> str:
    """Return the operation's name, or refuse by name a distribution that cannot be carried to JAX.

    Raises
    ------
    ModelError
    """
    name = operation_name(variable)
    if name not in _CARRIED or not hasattr(variable.owner.op, "dist_params"):
        raise ModelError(
            f"Response {response!r}: its model ends in a {name!r} distribution, which cannot be carried over; "
            f"plain distributions can: {listing(sorted(_CARRIED), 20)}."
        )
    return name


def carried(name: str, parameters: list[Any]) -> dist.Distribution:
    """The NumPyro distribution of an operation with given parameters, broadcast against each other."""
    return _CARRIED[name](*jnp.broadcast_arrays(*(jnp.asarray(p, dtype=float) for p in parameters)))
