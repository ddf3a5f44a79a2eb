"""From linear predictors to a response: the PyMC likelihood of every built-in family, and its parameters by name.

A likelihood that PyMC has is used; the others are `CustomDist` with the log probability written so
that neither it nor its gradient overflows.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..study.counts import Hurdle, NegativeBinomial, Poisson, ZeroInflated
from ..study.families import Bernoulli, BetaBinomial, Categorical, Family, LogNormal, Normal, Ordinal, StudentT
from ..study.predictor import contrast_matrix
from ..study.priors import PriorInForce
from ..study.survival import Survival
from ..study.timeline import Response, finite_values
from .censoring import censored_time
from .history import History, outcome
from .priors import place

Tensor = pt.TensorVariable
ONE = pt.constant(1.0)
MOST_FACTORS = 32
"""Factors of a rising factorial that are written out; above, Stirling's series."""
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
"""Coefficients of ``1/v, 1/v^3, ...`` in the logarithm of the gamma function of v (Abramowitz & Stegun 1964, 6.1.41)."""
SHIFT = 8
"""From here on the series' next term is below 2e-14."""


@dataclass(frozen=True)
class Outcome:
    """A response as its builder leaves it.

    Attributes
    ----------
    variable : tensor
        The response's random variable, one value per patient.
    kind : str
        Key of the distribution in `distributions`.
    parameters : tuple of tensor
        The distribution's parameters in that key's order, each a scalar, ``(patient,)`` or, where the
        distribution says so, with one more axis.
    eta : tuple of tensor, shape (patient,)
        Linear predictors; empty where the model has none.
    effects : tuple of tensor
        The variables that enter the predictors linearly.
    """

    variable: Tensor
    kind: str
    parameters: tuple[Tensor, ...]
    eta: tuple[Tensor, ...] = ()
    effects: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Parts:
    """What a family's likelihood is made of: name, predictors, priors, the response's SD and location, further columns."""

    name: str
    eta: tuple[Tensor, ...]
    priors: Mapping[str, PriorInForce]
    sd: Tensor
    history: History
    family: Family
    location: Tensor = ONE

    def parameter(self, address: str) -> Tensor:
        """One of the family's own parameters, placed under its prior."""
        return place(self.priors[address], self.sd)


Made = tuple[Tensor, str, tuple[Tensor, ...]] | Outcome


def _normal(p: Parts) -> Made:
    sigma = p.parameter("sigma")
    return pm.Normal(p.name, p.eta[0], sigma), "normal", (p.eta[0], sigma)


def _student(p: Parts) -> Made:
    sigma, df = p.parameter("sigma"), 2.0 + p.parameter("df_excess")
    return pm.StudentT(p.name, nu=df, mu=p.eta[0], sigma=sigma), "t", (df, p.eta[0], sigma)


def _lognormal(p: Parts) -> Made:
    sigma = p.parameter("sigma")
    return pm.LogNormal(p.name, p.eta[0], sigma), "lognormal", (p.eta[0], sigma)


def _bernoulli(p: Parts) -> Made:
    return pm.Bernoulli(p.name, logit_p=p.eta[0]), "bernoulli", (pt.sigmoid(p.eta[0]),)


def _rising(start: Tensor, log_start: Tensor, count: Tensor, most: int | None = None) -> Tensor:
    """Log of ``start (start + 1) ... (start + count - 1)``, for counts up to `most`.

    Not a difference of log gamma functions: that has no digits left where `start` is large (counts that are all but Poisson,
    trials that are all but binomial), and costs more.
    """
    if most is None or most > MOST_FACTORS:
        return _rising_by_stirling(start, log_start, count)
    found = pt.switch(count > 0, log_start, 0.0)
    for j in range(1, most):  # term by term: one axis more would be laid out in memory for every draw and patient
        found = found + pt.switch(count > j, pt.log(start + float(j)), 0.0)
    return found


def _rising_by_stirling(start: Tensor, log_start: Tensor, count: Tensor) -> Tensor:
    """The difference of two Stirling series, taken term by term, after `SHIFT` factors are moved out of the way."""
    low = start + float(SHIFT)
    high = low + count
    leading = (high - 0.5) * pt.log1p(count / low) + count * (pt.log(low) - 1.0)
    moved = ONE
    for j in range(1, SHIFT):
        moved = moved * (1.0 + count / (start + float(j)))
    first = pt.switch(count > 0, pt.log(start + count) - log_start, 0.0)
    return leading + _remainder(high) - _remainder(low) - first - pt.log(moved)


def _remainder(v: Tensor) -> Tensor:
    """What Stirling's formula for the logarithm of the gamma function leaves out."""
    square, found = v**-2.0, pt.constant(STIRLING[-1])
    for coefficient in reversed(STIRLING[:-1]):
        found = coefficient + square * found
    return found / v


def _beta_binomial_logp(n: int) -> Callable[..., Tensor]:
    def logp(value: Tensor, eta: Tensor, size: Tensor) -> Tensor:
        """By rising factorials: a few logarithms are far cheaper than gamma functions and their slopes, and exact for any concentration."""
        yes, no, log_size = pt.cast(value, "float64"), n - pt.cast(value, "float64"), pt.log(size)
        ways = pt.constant(np.array([math.log(math.comb(n, y)) for y in range(n + 1)]))[pt.cast(value, "int64")]
        successes = _rising(size * pt.sigmoid(eta), log_size - pt.softplus(-eta), yes, n)
        failures = _rising(size * pt.sigmoid(-eta), log_size - pt.softplus(eta), no, n)
        return ways + successes + failures - _rising(size, log_size, pt.full_like(yes, float(n)), n)

    return logp


def _beta_binomial(p: Parts) -> Made:
    assert isinstance(p.family, BetaBinomial)
    size = p.parameter("concentration")
    n = p.history.zeros + float(p.family.n)  # a vector: functions of a short constant would be folded in 32 bits
    a, b = pt.sigmoid(p.eta[0]) * size, pt.sigmoid(-p.eta[0]) * size
    return _custom(p, _beta_binomial_logp(p.family.n), (p.eta[0], size)), "beta_binomial", (n, a, b)


def _ordinal_logp(value: Tensor, eta: Tensor, cutpoints: Tensor) -> Tensor:
    """Log of ``sigmoid(upper - eta) - sigmoid(lower - eta)``, as a sum of log-sigmoids.

    With ``s`` the sigmoid, ``s(a) - s(b) = s(a) s(-b) (1 - exp(b - a))``.
    """
    cutpoints = cutpoints.flatten()  # one set for all patients, whatever axes broadcasting has put before it
    last = cutpoints.shape[0]
    upper, lower = cutpoints[pt.minimum(value, last - 1)], cutpoints[pt.maximum(value - 1, 0)]
    inside = pt.and_(value > 0, value < last)
    gap = pt.switch(inside, lower - upper, -1.0)  # kept away from 0, where the gradient of the branch not taken would be infinite
    logp = pt.switch(value < last, -pt.softplus(eta - upper), 0.0) + pt.switch(value > 0, -pt.softplus(lower - eta), 0.0)
    return logp + pt.switch(inside, pt.log1mexp(gap), 0.0)


def _ordinal(p: Parts) -> Made:
    assert p.family.levels is not None
    model = pm.modelcontext(None)
    model.add_coord("level", list(p.family.levels))
    model.add_coord("cut", [f"{a} | {b}" for a, b in zip(p.family.levels[:-1], p.family.levels[1:], strict=True)])
    concentration = np.full(len(p.family.levels), p.priors["baseline"].prior["concentration"])
    below = pt.cumsum(pm.Dirichlet("baseline", a=concentration, dims="level"))[:-1]
    cutpoints = pm.Deterministic("cutpoint", pt.log(below) - pt.log1p(-below), dims="cut")
    variable = pm.CustomDist(p.name, p.eta[0], cutpoints, logp=_ordinal_logp, dtype="int64", signature="(),(c)->()")
    return variable, "ordered", (p.eta[0], cutpoints)


def _categorical_logp(value: Tensor, *eta: Tensor) -> Tensor:
    logits = pt.dot(pt.stack(eta, axis=-1), pt.constant(contrast_matrix(len(eta) + 1).T))
    chosen = pt.eq(value[:, None], pt.arange(len(eta) + 1)[None, :])
    return pt.switch(chosen, pt.special.log_softmax(logits, axis=-1), 0.0).sum(axis=-1)


def _categorical(p: Parts) -> Made:
    logits = pt.dot(pt.stack(p.eta, axis=1), pt.constant(contrast_matrix(len(p.eta) + 1).T))
    variable = _custom(p, _categorical_logp, p.eta)
    return variable, "categorical", (pt.special.softmax(logits, axis=1),)


def _log_mean(p: Parts, family: Family) -> Tensor:
    return p.eta[0] + pt.log(p.history.extra("exposure")) if family.columns else p.eta[0]


def _poisson_logp(value: Tensor, log_mean: Tensor) -> Tensor:
    return value * log_mean - pt.exp(log_mean) - pt.gammaln(value + 1.0)


def _negative_binomial_logp(value: Tensor, log_mean: Tensor, size: Tensor) -> Tensor:
    """In terms of the mean: the usual probability 1 - p loses its digits where the mean is small."""
    mu = pt.exp(log_mean)
    ways = _rising(size, pt.log(size), pt.cast(value, "float64")) - pt.gammaln(value + 1.0)
    return ways - size * pt.log1p(mu / size) + value * (log_mean - pt.log(mu + size))


def _lognormal_logp(value: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    return pm.logp(pm.LogNormal.dist(mu=mu, sigma=sigma), value)


_LOGP = {"poisson": _poisson_logp, "negative_binomial": _negative_binomial_logp, "lognormal": _lognormal_logp}


def _base(p: Parts, family: Family) -> tuple[str, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Name of a count law, or of a log-normal; what its log probability takes; its parameters."""
    if isinstance(family, LogNormal):
        parameters = p.eta[0], p.parameter("sigma")
        return "lognormal", parameters, parameters
    log_mean = _log_mean(p, family)
    if isinstance(family, Poisson):
        return "poisson", (log_mean,), (pt.exp(log_mean),)
    size = p.parameter("dispersion") ** -2.0
    return "negative_binomial", (log_mean, size), (pt.exp(log_mean), size)


def _custom(p: Parts, logp: Callable[..., Tensor], arguments: tuple[Tensor, ...], dtype: str = "int64") -> Tensor:
    """A response with one value per patient whose log probability takes vectors or scalars."""
    return pm.CustomDist(p.name, *arguments, logp=logp, dtype=dtype, signature=",".join(["()"] * len(arguments)) + "->()")


def _plain_count(p: Parts) -> Made:
    kind, arguments, parameters = _base(p, p.family)
    return _custom(p, _LOGP[kind], arguments), kind, parameters


def _inflated_logp(base: str) -> Callable[..., Tensor]:
    def logp(value: Tensor, zero: Tensor, *arguments: Tensor) -> Tensor:
        """``zero`` is the logit of the probability of a structural zero."""
        below = _LOGP[base](value, *arguments) - pt.softplus(zero)
        return pt.switch(pt.eq(value, 0), pt.logaddexp(-pt.softplus(-zero), below), below)

    return logp


def _hurdle_logp(base: str) -> Callable[..., Tensor]:
    def logp(value: Tensor, zero: Tensor, *arguments: Tensor) -> Tensor:
        """``zero`` is the logit of the probability of a zero."""
        above = _LOGP[base](pt.switch(pt.eq(value, 0), pt.ones_like(value), value), *arguments)  # the branch not taken must stay finite
        if base != "lognormal":
            above = above - pt.log1mexp(_LOGP[base](pt.zeros_like(value), *arguments))
        return pt.switch(pt.eq(value, 0), -pt.softplus(-zero), above - pt.softplus(zero))

    return logp


def _zeros(p: Parts) -> Made:
    assert isinstance(p.family, (ZeroInflated, Hurdle))
    kind, arguments, parameters = _base(p, p.family.base)
    inflated = isinstance(p.family, ZeroInflated)
    logp = _inflated_logp(kind) if inflated else _hurdle_logp(kind)
    variable = _custom(p, logp, (p.eta[1], *arguments), "float64" if kind == "lognormal" else "int64")
    return variable, f"{'inflated' if inflated else 'hurdle'}_{kind}", (pt.sigmoid(p.eta[1]), *parameters)


def _survival(p: Parts) -> Made:
    assert isinstance(p.family, Survival)
    (address,) = (a.name for a in p.family.addresses())
    made = censored_time(p.name, p.family, p.eta[0], p.location, p.parameter(address), p.history)
    return Outcome(made.variable, made.kind, made.parameters, made.eta, made.effects)


_FAMILIES: dict[type[Family], Callable[[Parts], Made]] = {
    Normal: _normal, StudentT: _student, LogNormal: _lognormal, Bernoulli: _bernoulli, BetaBinomial: _beta_binomial, Ordinal: _ordinal,
    Categorical: _categorical, Poisson: _plain_count, NegativeBinomial: _plain_count, ZeroInflated: _zeros, Hurdle: _zeros,
    Survival: _survival,
}


def likelihood(
    response: Response, priors: Mapping[str, PriorInForce], history: History, eta: tuple[Tensor, ...], sd: Tensor, effects: tuple[Tensor, ...]
) -> Outcome:
    """Add a built-in family's likelihood, and its own parameters, to the current ``pm.Model``.

    Parameters
    ----------
    response : Response
    priors : mapping of str to PriorInForce
    history : History
    eta : tuple of tensor, shape (patient,)
    sd : scalar tensor
        The response's SD, which priors may be stated in.
    effects : tuple of tensor
        The variables that enter `eta` linearly.
    """
    assert response.family is not None
    location = history.scale(response.name)[0] if finite_values(response) is None else ONE
    made = _FAMILIES[type(response.family)](Parts(outcome(response.name), eta, priors, sd, history, response.family, location))
    if isinstance(made, Outcome):  # a family with predictors of its own making
        return dataclasses.replace(made, effects=(*effects, *made.effects))
    return Outcome(*made, eta, effects)
