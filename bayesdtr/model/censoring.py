"""Likelihood of censored times in PyTensor: log density of an event, log survival of a patient without one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..study.survival import Survival
from ..study.timeline import code_of, finite_values
from .history import History

Tensor = pt.TensorVariable
Curves = Callable[..., tuple[Tensor, Tensor]]
"""From a time and the parameters to the log hazard and the log survival there."""


def _weibull(time: Tensor, location: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    z = shape * (pt.log(time) - location)
    return pt.log(shape) - pt.log(time) + z, -pt.exp(z)


def _lognormal(time: Tensor, location: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    z = (pt.log(time) - location) / sigma
    below = _log_upper_tail(z)
    return -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - pt.log(sigma) - pt.log(time) - below, below


FAR = 25.0
"""SDs from which the Normal tail is an asymptotic series; its error there is 1e-11."""


def _log_upper_tail(z: Tensor) -> Tensor:
    """``log P(Z > z)``, stable on both sides.

    Not by the scaled complementary error function: JAX 0.12 cannot differentiate that twice for more than one number.
    """
    near = pt.switch(z > FAR, 0.0, z)  # each branch at a harmless point where it is not taken, so that gradients stay finite
    far = pt.switch(z > FAR, z, FAR)
    w = far**-2.0
    series = -0.5 * far**2 - pt.log(far) - 0.5 * np.log(2 * np.pi) + pt.log1p(w * (-1.0 + w * (3.0 - w * (15.0 - 105.0 * w))))
    return pt.switch(z > FAR, series, pt.log(pt.erfc(near / np.sqrt(2)) / 2))


def _piecewise(breaks: tuple[float, ...]) -> Curves:
    starts = [0.0, *breaks]

    def curves(time: Tensor, *log_hazards: Tensor) -> tuple[Tensor, Tensor]:
        rate, total = pt.zeros_like(time), pt.zeros_like(time)
        for j, (start, level) in enumerate(zip(starts, log_hazards, strict=True)):
            spent = pt.maximum(time - start, 0.0)
            inside = pt.gt(time, start)
            if j < len(breaks):
                spent = pt.minimum(spent, breaks[j] - start)
                inside = pt.and_(inside, pt.le(time, breaks[j]))
            total = total - pt.exp(level) * spent
            rate = rate + pt.switch(inside, level, 0.0)
        return rate, total

    return curves


def _by_event(curves: Curves) -> Callable[..., Tensor]:
    def logp(value: Tensor, event: Tensor, *parameters: Tensor) -> Tensor:
        hazard, survival = curves(value, *parameters)
        return survival + pt.switch(event > 0, hazard, 0.0)

    return logp


def _by_interval(curves: Curves) -> Callable[..., Tensor]:
    def logp(value: Tensor, upper: Tensor, *parameters: Tensor) -> Tensor:
        """Exact where `upper` is not above the value, right-censored where it is infinite."""
        hazard, survival = curves(value, *parameters)
        inside = pt.and_(upper > value, pt.lt(upper, np.inf))
        _, later = curves(pt.switch(inside, upper, 2.0 * value), *parameters)
        gap = pt.switch(inside, pt.minimum(later - survival, -1e-300), -1.0)
        return survival + pt.switch(inside, pt.log1mexp(gap), pt.switch(upper > value, 0.0, hazard))

    return logp


@dataclass(frozen=True)
class CensoredTime:
    """A survival response as PyMC variables: its random variable, the law's name and parameters, predictors, further effects."""

    variable: Tensor
    kind: str
    parameters: tuple[Tensor, ...]
    eta: tuple[Tensor, ...]
    effects: tuple[Tensor, ...]


def _strata(family: Survival, history: History) -> tuple[list[str], Tensor]:
    """Labels of the strata with a walk of their own, and each patient's stratum, integer codes of shape (patient,)."""
    labels, code = [""], pt.cast(history.zeros, "int64")
    for name in family.by:
        node = history.node(name)
        values = finite_values(node) or ()
        codes = [code_of(node, v) for v in values]
        column = history.code(name)
        index = sum(i * pt.cast(pt.eq(column, int(c)), "int64") for i, c in enumerate(codes))
        labels = [f"{a}, {v}" if a else str(v) for a in labels for v in values]
        code = code * len(values) + index
    return [label or "everyone" for label in labels], code


def censored_time(name: str, family: Survival, eta: Tensor, location: Tensor, own: Tensor, history: History) -> CensoredTime:
    """Add the likelihood of a survival response to the current ``pm.Model``.

    Parameters
    ----------
    name : str
        Name of its random variable.
    family : Survival
    eta : tensor, shape (patient,)
    location : scalar tensor
        Log of the person-time per event.
    own : scalar tensor
        The family's own parameter: shape, sigma or the scale of the walk.
    history : History
    """
    effects: tuple[Tensor, ...] = ()
    if family.distribution == "piecewise":
        model = pm.modelcontext(None)
        model.add_coord("piece", list(family.pieces))
        model.add_coord("break", [f"{b:g}" for b in family.breaks])
        labels, stratum = _strata(family, history)
        model.add_coord("stratum", labels)
        step = pm.Normal("step", 0.0, own, dims=("stratum", "break"))
        effects = (step,)
        walk = pt.concatenate([pt.zeros((len(labels), 1)), pt.cumsum(step, axis=1)], axis=1)
        walk = pm.Deterministic("baseline_log_hazard", walk - walk.mean(axis=1, keepdims=True) - location, dims=("stratum", "piece"))
        predictors = tuple(walk[stratum, j] - eta for j in range(len(family.pieces)))
        parameters, curves = predictors, _piecewise(family.breaks)
        kind = "piecewise_time"
        given = (pt.stack(predictors, axis=1), pt.constant(np.array(family.breaks)))
    else:
        predictors = (eta,)
        parameters = given = (location + eta, own)
        curves, kind = (_weibull, "weibull_time") if family.distribution == "weibull" else (_lognormal, "lognormal_time")
    roles = [role for role, *_ in family.columns]
    extra = [history.extra(roles[0])] if roles else [pt.ones_like(eta)]
    logp = _by_interval(curves) if roles == ["upper"] else _by_event(curves)
    signature = ",".join(["()"] * (1 + len(parameters))) + "->()"
    variable = pm.CustomDist(name, *extra, *parameters, logp=logp, dtype="float64", signature=signature)
    return CensoredTime(variable, kind, given, predictors, effects)
