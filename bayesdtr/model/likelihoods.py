"""From linear predictors to a response: the PyMC likelihood of every family, and what names its distribution elsewhere."""

from dataclasses import dataclass

import pymc as pm
import pytensor.tensor as pt

from ..study.study import Study
from ..study.timeline import Response
from .history import History, outcome
from .priors import place

Tensor = pt.TensorVariable


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
        The distribution's parameters in that key's order, each a scalar, ``(patient,)`` or ``(patient, level)``.
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


def likelihood(study: Study, response: Response, history: History, eta: tuple[Tensor, ...], sd: Tensor, effects: tuple[Tensor, ...]) -> Outcome:
    """Add a built-in family's likelihood, and its own parameters, to the current ``pm.Model``."""
    assert response.family is not None
    priors, name = study.priors(response.name), outcome(response.name)
    if response.family.link == "identity":
        sigma = place(priors["sigma"], sd)
        return Outcome(pm.Normal(name, eta[0], sigma), "normal", (eta[0], sigma), eta, effects)
    p = pt.sigmoid(eta[0])
    return Outcome(pm.Bernoulli(name, logit_p=eta[0]), "bernoulli", (p,), eta, effects)
