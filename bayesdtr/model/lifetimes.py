"""Distributions of a time to an event in JAX: density, survival, quantiles, restricted means in closed form."""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammainc, gammaln, log_ndtr, ndtr, ndtri
from numpyro.distributions import constraints

NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)


class Lifetime(dist.Distribution):
    """Base of the distributions of times above 0; one time per row, values broadcast against the rows."""

    support = constraints.positive

    @abc.abstractmethod
    def log_survival(self, time: jax.Array) -> jax.Array:
        """Log probability that the event comes after a time."""

    @abc.abstractmethod
    def log_hazard(self, time: jax.Array) -> jax.Array:
        """Log of the rate of events at a time among those without one."""

    @abc.abstractmethod
    def restricted_mean(self, horizon: jax.Array) -> jax.Array:
        """``E min(T, horizon)``, the area under the survival curve up to a finite horizon of 0 or more."""

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Log density."""
        return self.log_hazard(value) + self.log_survival(value)

    def cdf(self, value: jax.Array) -> jax.Array:
        """Probability that the event comes by a time."""
        return -jnp.expm1(self.log_survival(value))

    def discounted_mean(self, horizon: jax.Array, rate: jax.Array) -> jax.Array:
        """``E`` of the integral of ``exp(-rate t)`` from 0 to ``min(T, horizon)``, by Gauss-Legendre quadrature."""
        v = (jnp.asarray(NODES) + 1) / 2  # t = horizon v^2: a survival curve may start with a root
        t = horizon[..., None] * v**2
        curve = jnp.exp(jax.vmap(self.log_survival, in_axes=-1, out_axes=-1)(t) - rate[..., None] * t)
        return (curve * jnp.asarray(WEIGHTS) * v).sum(axis=-1) * horizon

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Times by inversion."""
        return self.icdf(jax.random.uniform(key, sample_shape + self.batch_shape, minval=jnp.finfo(float).tiny))


class WeibullTime(Lifetime):
    """``S(t) = exp(-(t / exp(location))^shape)``."""

    arg_constraints: ClassVar[dict] = {"location": constraints.real, "shape": constraints.positive}

    def __init__(self, location: jax.Array, shape: jax.Array):
        self.location, self.concentration = jnp.broadcast_arrays(location, shape)
        super().__init__(batch_shape=self.location.shape, validate_args=False)

    def log_survival(self, time: jax.Array) -> jax.Array:
        """Log probability that the event comes after a time."""
        return -jnp.exp(self.concentration * (jnp.log(time) - self.location))

    def log_hazard(self, time: jax.Array) -> jax.Array:
        """Log rate."""
        return jnp.log(self.concentration) - self.location + (self.concentration - 1) * (jnp.log(time) - self.location)

    def icdf(self, q: jax.Array) -> jax.Array:
        """Quantiles."""
        return jnp.exp(self.location + jnp.log(-jnp.log1p(-q)) / self.concentration)

    def restricted_mean(self, horizon: jax.Array) -> jax.Array:
        """Through the incomplete gamma function."""
        a = 1 / self.concentration
        return jnp.exp(self.location + gammaln(1 + a)) * gammainc(a, (horizon * jnp.exp(-self.location)) ** self.concentration)

    @property
    def mean(self) -> jax.Array:
        """Unrestricted mean."""
        return jnp.exp(self.location + gammaln(1 + 1 / self.concentration))

    @property
    def variance(self) -> jax.Array:
        """Variance."""
        return jnp.exp(2 * self.location + gammaln(1 + 2 / self.concentration)) - self.mean**2


class LogNormalTime(Lifetime):
    """``log T ~ Normal(location, sigma)``."""

    arg_constraints: ClassVar[dict] = {"location": constraints.real, "sigma": constraints.positive}

    def __init__(self, location: jax.Array, sigma: jax.Array):
        self.location, self.sigma = jnp.broadcast_arrays(location, sigma)
        super().__init__(batch_shape=self.location.shape, validate_args=False)

    def _z(self, time: jax.Array) -> jax.Array:
        return (jnp.log(time) - self.location) / self.sigma

    def log_survival(self, time: jax.Array) -> jax.Array:
        """Log probability that the event comes after a time."""
        return log_ndtr(-self._z(time))

    def log_hazard(self, time: jax.Array) -> jax.Array:
        """Log rate."""
        z = self._z(time)
        return -0.5 * z**2 - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(self.sigma * time) - log_ndtr(-z)

    def cdf(self, value: jax.Array) -> jax.Array:
        """Probability that the event comes by a time, small ones with all their digits."""
        return ndtr(self._z(value))

    def icdf(self, q: jax.Array) -> jax.Array:
        """Quantiles."""
        return jnp.exp(self.location + self.sigma * ndtri(q))

    def restricted_mean(self, horizon: jax.Array) -> jax.Array:
        """Through the normal distribution function."""
        z = self._z(horizon)
        below = jnp.exp(self.location + self.sigma**2 / 2 + log_ndtr(z - self.sigma))
        return below + jnp.where(horizon > 0, horizon * ndtr(-z), 0.0)

    @property
    def mean(self) -> jax.Array:
        """Unrestricted mean."""
        return jnp.exp(self.location + self.sigma**2 / 2)

    @property
    def variance(self) -> jax.Array:
        """Variance."""
        return jnp.expm1(self.sigma**2) * self.mean**2


class PiecewiseExponentialTime(Lifetime):
    """A constant hazard between breaks; the last piece has no end.

    Parameters
    ----------
    log_hazards : array, shape (row, piece)
    breaks : array, shape (row, piece - 1)
        Increasing times above 0.
    """

    arg_constraints: ClassVar[dict] = {"log_hazards": constraints.real_vector, "breaks": constraints.real_vector}

    def __init__(self, log_hazards: jax.Array, breaks: jax.Array):
        self.log_hazards, self.breaks = log_hazards, breaks
        self.hazards = jnp.exp(log_hazards)
        self.starts = jnp.concatenate([jnp.zeros_like(breaks[..., :1]), breaks], axis=-1)
        self.widths = jnp.concatenate([jnp.diff(self.starts, axis=-1), jnp.full_like(breaks[..., :1], jnp.inf)], axis=-1)
        super().__init__(batch_shape=log_hazards.shape[:-1], validate_args=False)

    def _spent(self, time: jax.Array) -> jax.Array:
        """Time spent in each piece by a time, shape (..., row, piece)."""
        return jnp.clip(time[..., None] - self.starts, 0.0, self.widths)

    def log_survival(self, time: jax.Array) -> jax.Array:
        """Log probability that the event comes after a time."""
        return -(self.hazards * self._spent(time)).sum(axis=-1)

    def log_hazard(self, time: jax.Array) -> jax.Array:
        """Log rate; at a break that of the piece before it."""
        inside = (time[..., None] > self.starts) & (time[..., None] <= self.starts + self.widths)
        return jnp.where(inside, self.log_hazards, 0.0).sum(axis=-1)

    def icdf(self, q: jax.Array) -> jax.Array:
        """Quantiles: the time at which the cumulative hazard reaches ``-log(1 - q)``."""
        target = -jnp.log1p(-q)[..., None]
        by_piece = jnp.cumsum(self.hazards[..., :-1] * self.widths[..., :-1], axis=-1)
        begun = jnp.concatenate([jnp.zeros_like(by_piece[..., :1]), by_piece], axis=-1)
        return jnp.clip((target - begun) / self.hazards, 0.0, self.widths).sum(axis=-1)

    def restricted_mean(self, horizon: jax.Array) -> jax.Array:
        """Sum over pieces of the area under an exponential curve."""
        return self.discounted_mean(horizon, jnp.zeros_like(horizon))

    def discounted_mean(self, horizon: jax.Array, rate: jax.Array) -> jax.Array:
        """Sum over pieces, discounting being one more hazard."""
        hazards, spent = self.hazards + rate[..., None], self._spent(horizon)
        begun = jnp.exp(-(jnp.cumsum(hazards * spent, axis=-1) - hazards * spent))
        return (begun * _area(hazards, spent)).sum(axis=-1)

    @property
    def mean(self) -> jax.Array:
        """Unrestricted mean, the last hazard going on for ever."""
        last = self.breaks[..., -1]
        return self.restricted_mean(last) + jnp.exp(self.log_survival(last)) / self.hazards[..., -1]

    @property
    def variance(self) -> jax.Array:
        """Variance: ``E T^2`` is twice the integral of ``t S(t)``."""
        h, w = self.hazards, self.widths
        begun = jnp.exp(self.log_survival(jnp.moveaxis(self.starts, -1, 0)))
        begun = jnp.moveaxis(begun, 0, -1)
        finite = jnp.where(jnp.isfinite(w), w, 0.0)
        left = jnp.where(jnp.isfinite(w), jnp.exp(-h * finite), 0.0)  # share of those who begin a piece that outlive it
        area = -jnp.expm1(-h * finite) / h
        area = jnp.where(jnp.isfinite(w), area, 1 / h)
        moment = jnp.where(jnp.isfinite(w), (area - finite * left) / h, 1 / h**2)
        return 2 * (begun * (self.starts * area + moment)).sum(axis=-1) - self.mean**2


def _area(hazard: jax.Array, width: jax.Array) -> jax.Array:
    """Integral of ``exp(-hazard t)`` from 0 to `width`, without loss of digits at small hazards."""
    x = hazard * width
    small = x < 1e-6
    return width * jnp.where(small, 1 - x / 2, -jnp.expm1(-x) / jnp.where(small, 1.0, x))
