"""What is asked of a response's distribution: summaries of one row of distributions, by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from .compile import CompiledResponse
from .distributions import finite_quantile, log_prob, mean_and_variance, quantile
from .lifetimes import Lifetime


def _moments(d: dist.Distribution, compiled: CompiledResponse, _: jax.Array) -> jax.Array:
    mean, variance = mean_and_variance(d)
    return jnp.stack([mean, jnp.sqrt(variance)], axis=-1)


def _mean(d: dist.Distribution, compiled: CompiledResponse, _: jax.Array) -> jax.Array:
    return mean_and_variance(d)[0]


def _density(d: dist.Distribution, compiled: CompiledResponse, points: jax.Array) -> jax.Array:
    return jnp.exp(log_prob(d, points.T)).T


def _log_density(d: dist.Distribution, compiled: CompiledResponse, outcomes: jax.Array) -> jax.Array:
    return log_prob(d, outcomes)


def _sample(d: dist.Distribution, compiled: CompiledResponse, uniforms: jax.Array) -> jax.Array:
    if compiled.support is not None:
        return finite_quantile(d, jnp.asarray(compiled.support, dtype=float), uniforms)
    return quantile(d, uniforms, compiled.whole)


LARGEST_COUNT = 1e9
"""Means beyond which a count's own variation is of no account, nor can a sampler of whole numbers hold it."""


def _random(d: dist.Distribution, compiled: CompiledResponse, uniforms: jax.Array) -> jax.Array:
    """As "sample", but counts are drawn, not inverted: far quicker where a prior expects huge ones. The first uniform is the seed."""
    if compiled.support is not None or not compiled.whole:
        return _sample(d, compiled, uniforms)
    seed = jax.lax.bitcast_convert_type(uniforms[0].astype(jnp.float32), jnp.uint32)
    mean = mean_and_variance(d)[0]
    return jnp.where(mean < LARGEST_COUNT, d.sample(jax.random.key(seed)).astype(float), mean)


def _cdf(d: dist.Distribution, compiled: CompiledResponse, points: jax.Array) -> jax.Array:
    return d.cdf(points.T).T


def _quantiles(d: dist.Distribution, compiled: CompiledResponse, levels: jax.Array) -> jax.Array:
    return d.icdf(levels.T).T


def _lifetime(d: dist.Distribution, compiled: CompiledResponse) -> Lifetime:
    assert isinstance(d, Lifetime), compiled.name
    return d


def _survival(d: dist.Distribution, compiled: CompiledResponse, time: jax.Array) -> jax.Array:
    return jnp.exp(_lifetime(d, compiled).log_survival(time))


def _log_survival(d: dist.Distribution, compiled: CompiledResponse, time: jax.Array) -> jax.Array:
    return _lifetime(d, compiled).log_survival(time)


def _restricted(d: dist.Distribution, compiled: CompiledResponse, horizon: jax.Array) -> jax.Array:
    return _lifetime(d, compiled).restricted_mean(horizon)


def _discounted(d: dist.Distribution, compiled: CompiledResponse, extra: jax.Array) -> jax.Array:
    return _lifetime(d, compiled).discounted_mean(extra[..., 0], extra[..., 1])


SUMMARIES: dict[str, Callable[[dist.Distribution, CompiledResponse, jax.Array], jax.Array]] = {
    "mean": _mean, "moments": _moments, "density": _density, "log_density": _log_density, "sample": _sample, "random": _random,
    "cdf": _cdf, "quantiles": _quantiles, "survival": _survival, "log_survival": _log_survival,
    "restricted": _restricted, "discounted": _discounted,
}
