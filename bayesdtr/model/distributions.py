"""From the parameters of a response to the `numpyro.distributions` object that has them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ..errors import ModelError, listing
from .lifetimes import LogNormalTime, PiecewiseExponentialTime, WeibullTime


@dataclass(frozen=True)
class Law:
    """One distribution that a response may have.

    Attributes
    ----------
    make : callable
        From parameters to the NumPyro distribution.
    whole : bool
        Takes whole numbers only.
    smooth : bool
        Positive on the whole line with light tails: a uniform grid integrates it. Others are simulated.
    trailing : tuple of int
        Axes of each parameter after the patients'; none by default.
    plain : bool
        A PyMC operation of this name ends in it, so that a user's model may.
    cells : bool
        Has a distribution function and quantiles, so that cells between quantiles carry it.
    """

    make: Callable[..., dist.Distribution]
    whole: bool = False
    smooth: bool = False
    trailing: tuple[int, ...] = ()
    plain: bool = True
    cells: bool = False


def _ordered(eta: jax.Array, cutpoints: jax.Array) -> dist.Distribution:
    """Category probabilities as products of sigmoids, so that small ones keep their digits."""
    above, below = jax.nn.sigmoid(eta[..., None] - cutpoints), jax.nn.sigmoid(cutpoints - eta[..., None])
    middle = below[..., 1:] * above[..., :-1] * -jnp.expm1(cutpoints[..., :-1] - cutpoints[..., 1:])
    return dist.CategoricalProbs(jnp.concatenate([below[..., :1], middle, above[..., -1:]], axis=-1))


def _poisson(mu: jax.Array) -> dist.Distribution:
    return dist.Poisson(mu)


def _negative_binomial(mu: jax.Array, alpha: jax.Array) -> dist.Distribution:
    return dist.NegativeBinomial2(mu, alpha)


def _lognormal(mu: jax.Array, sigma: jax.Array) -> dist.Distribution:
    return dist.LogNormal(mu, sigma)


def _inflated(base: Callable[..., dist.Distribution]) -> Callable[..., dist.Distribution]:
    return lambda gate, *parameters: dist.ZeroInflatedProbs(base(*parameters), gate)


def _hurdle(base: Callable[..., dist.Distribution]) -> Callable[..., dist.Distribution]:
    return lambda gate, *parameters: dist.HurdleProbs(base(*parameters), gate, validate_args=False)  # its support forgets the zero


# By the name of the PyMC variable's operation; arguments in the order of its `dist_params`.
LAWS: dict[str, Law] = {
    "normal": Law(lambda mu, sigma: dist.Normal(mu, sigma), smooth=True),
    "t": Law(lambda nu, mu, sigma: dist.StudentT(nu, mu, sigma)),
    "bernoulli": Law(lambda p: dist.Bernoulli(probs=p), whole=True),
    "laplace": Law(lambda mu, b: dist.Laplace(mu, b)),
    "logistic": Law(lambda mu, s: dist.Logistic(mu, s), smooth=True),
    "lognormal": Law(_lognormal, cells=True),
    "gamma": Law(lambda alpha, scale: dist.Gamma(alpha, 1.0 / scale)),
    "exponential": Law(lambda scale: dist.Exponential(1.0 / scale), cells=True),
    "beta": Law(lambda a, b: dist.Beta(a, b)),
    "uniform": Law(lambda low, high: dist.Uniform(low, high)),
    "poisson": Law(_poisson, whole=True),
    "beta_binomial": Law(lambda n, a, b: dist.BetaBinomial(a, b, n), whole=True, plain=False),
    "ordered": Law(_ordered, whole=True, trailing=(0, 1), plain=False),
    "categorical": Law(lambda p: dist.CategoricalProbs(p), whole=True, trailing=(1,), plain=False),
    "negative_binomial": Law(_negative_binomial, whole=True, plain=False),
    "inflated_poisson": Law(_inflated(_poisson), whole=True, plain=False),
    "inflated_negative_binomial": Law(_inflated(_negative_binomial), whole=True, plain=False),
    "hurdle_poisson": Law(_hurdle(_poisson), whole=True, plain=False),
    "hurdle_negative_binomial": Law(_hurdle(_negative_binomial), whole=True, plain=False),
    "hurdle_lognormal": Law(_hurdle(_lognormal), plain=False),
    "weibull_time": Law(WeibullTime, plain=False, cells=True),
    "lognormal_time": Law(LogNormalTime, plain=False, cells=True),
    "piecewise_time": Law(PiecewiseExponentialTime, trailing=(1, 1), plain=False, cells=True),
}
FINITE = {"bernoulli": (0, 1)}
"""Values of the distributions whose name alone tells them."""


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
    if name not in LAWS or not LAWS[name].plain or not hasattr(variable.owner.op, "dist_params"):
        raise ModelError(
            f"Response {response!r}: its model ends in a {name!r} distribution, which cannot be carried over; "
            f"plain distributions can: {listing(sorted(n for n, law in LAWS.items() if law.plain), 20)}."
        )
    return name


def carried(name: str, parameters: list[Any], rows: int) -> dist.Distribution:
    """The NumPyro distribution of a name with given parameters, one per row."""
    law = LAWS[name]
    trailing = law.trailing or (0,) * len(parameters)
    arrays = [jnp.asarray(p, dtype=float) for p in parameters]
    return law.make(*(jnp.broadcast_to(a, (rows, *a.shape[a.ndim - t :])) for a, t in zip(arrays, trailing, strict=True)))


@dataclass(frozen=True, eq=False)
class NodeMixture:
    """A mixture of one law over nodes, for each row.

    Attributes
    ----------
    base : Distribution, batch shape (node x row,)
        Rows of the first node, then of the second, and so on.
    log_weights : array, shape (node, row)
    """

    base: dist.Distribution
    log_weights: jax.Array

    def spread(self, value: jax.Array) -> jax.Array:
        """Values that broadcast against the rows, repeated for every node: ``(..., node x row)``."""
        nodes, rows = self.log_weights.shape
        value = jnp.broadcast_to(value, jnp.broadcast_shapes(jnp.shape(value), (rows,)))
        return jnp.tile(value, nodes)

    def gather(self, value: jax.Array) -> jax.Array:
        """Values of every node and row with the nodes on an axis of their own, ``(..., node, row)``."""
        return value.reshape(*value.shape[:-1], *self.log_weights.shape)


# ---- moments and quantiles that every law has -----------------------------------------------------


def log_prob(d: "dist.Distribution | NodeMixture", value: jax.Array) -> jax.Array:
    """Log density of each row at values that broadcast against the rows; codes may come as floats."""
    if isinstance(d, NodeMixture):
        return jax.scipy.special.logsumexp(d.gather(log_prob(d.base, d.spread(value))) + d.log_weights, axis=-2)
    return d.log_prob(value.astype(int) if isinstance(d, dist.CategoricalProbs) else value)


def mean_and_variance(d: "dist.Distribution | NodeMixture") -> tuple[jax.Array, jax.Array]:
    """Mean and variance of each row; of codes, where the response is categorical."""
    if isinstance(d, NodeMixture):
        weights = jnp.exp(d.log_weights)
        means, variances = (d.gather(jnp.broadcast_to(m, (d.log_weights.size,))) for m in mean_and_variance(d.base))
        mean = (weights * means).sum(axis=0)
        return mean, (weights * (variances + (means - mean) ** 2)).sum(axis=0)
    if isinstance(d, dist.CategoricalProbs):
        codes = jnp.arange(d.probs.shape[-1])
        mean = d.probs @ codes
        return mean, d.probs @ codes**2 - mean**2
    return d.mean, d.variance


def _cdf(d: dist.Distribution, value: jax.Array) -> jax.Array:
    """Distribution function of a count law with or without extra zeros."""
    if isinstance(d, dist.ZeroInflatedProbs):
        return d.gate + (1 - d.gate) * _cdf(d.base_dist, value)
    if isinstance(d, dist.HurdleProbs):
        zero = jnp.exp(d.base_dist.log_prob(jnp.zeros(())))
        return d.gate + (1 - d.gate) * jnp.clip((_cdf(d.base_dist, value) - zero) / -jnp.expm1(d.base_dist.log_prob(jnp.zeros(()))), 0.0, 1.0)
    if isinstance(d, dist.ExpandedDistribution):
        return _cdf(d.base_dist, value)
    return d.cdf(value)


def count_quantile(d: dist.Distribution, uniforms: jax.Array) -> jax.Array:
    """Smallest count whose distribution function reaches each uniform number, by bisection."""
    mean, variance = mean_and_variance(d)
    high = jnp.ceil(mean + 60 * jnp.sqrt(variance) + 60)
    u = jnp.minimum(uniforms, 1 - 1e-12)

    def halve(bounds):
        low, up = bounds
        middle = jnp.maximum(jnp.floor((low + up) / 2), 0.0)
        reached, done = _cdf(d, middle) >= u, up - low <= 1
        return jnp.where(done | reached, low, middle), jnp.where(done | ~reached, up, middle)

    def apart(bounds):  # beyond 2^53 no number lies between neighbors that differ by more than 1
        low, up = bounds
        middle = jnp.floor((low + up) / 2)
        return jnp.any((middle > low) & (middle < up))

    _, found = jax.lax.while_loop(apart, halve, (jnp.full_like(high, -1.0), high))
    return found


def finite_quantile(d: "dist.Distribution | NodeMixture", support: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Smallest value of a finite support whose distribution function reaches each uniform number."""
    p = jnp.exp(log_prob(d, support[:, None]))
    return support[jnp.minimum((jnp.cumsum(p, axis=0) < uniforms).sum(axis=0), len(support) - 1)]


def quantile(d: "dist.Distribution | NodeMixture", uniforms: jax.Array, whole: bool) -> jax.Array:
    """One outcome per row, a function of the row's uniform number, so that options share their luck."""
    if isinstance(d, NodeMixture):  # the uniform number picks the node, and what is left of it the outcome there
        weights = jnp.exp(d.log_weights)
        reached = jnp.cumsum(weights, axis=0)
        node = jnp.minimum((reached < uniforms).sum(axis=0), len(weights) - 1)
        pick = lambda table: jnp.take_along_axis(table, node[None], axis=0)[0]  # noqa: E731
        rest = jnp.clip((uniforms - pick(reached) + pick(weights)) / pick(weights), 1e-12, 1 - 1e-12)
        return pick(d.gather(quantile(d.base, d.spread(rest), whole)))
    if whole:
        return count_quantile(d, uniforms)
    if isinstance(d, dist.HurdleProbs):
        rest = jnp.clip((uniforms - d.gate) / (1 - d.gate), 1e-300, 1 - 1e-16)
        return jnp.where(uniforms < d.gate, 0.0, d.base_dist.icdf(rest))
    try:
        return d.icdf(uniforms)
    except (NotImplementedError, ImportError):  # no quantile function: the first uniform seeds ordinary sampling
        seed = jax.lax.bitcast_convert_type(uniforms[0].astype(jnp.float32), jnp.uint32)
        return d.sample(jax.random.key(seed)).astype(float)
