"""Priors as PyMC variables: NumPyro's argument names become PyMC's, SD units become numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..study.borrowing import Commensurate, RobustMAP
from ..study.priors import SCALED, UNRESTRICTED, Prior, PriorInForce

Tensor = pt.TensorVariable

_PYMC: dict[str, tuple[str, dict[str, str]]] = {
    "Normal": ("Normal", {"loc": "mu", "scale": "sigma"}),
    "StudentT": ("StudentT", {"df": "nu", "loc": "mu", "scale": "sigma"}),
    "Cauchy": ("Cauchy", {"loc": "alpha", "scale": "beta"}),
    "HalfNormal": ("HalfNormal", {"scale": "sigma"}),
    "HalfCauchy": ("HalfCauchy", {"scale": "beta"}),
    "LogNormal": ("LogNormal", {"loc": "mu", "scale": "sigma"}),
    "Exponential": ("Exponential", {"rate": "lam"}),
    "Gamma": ("Gamma", {"concentration": "alpha", "rate": "beta"}),
    "InverseGamma": ("InverseGamma", {"concentration": "alpha", "rate": "beta"}),
    "Beta": ("Beta", {"concentration1": "alpha", "concentration0": "beta"}),
    "Uniform": ("Uniform", {"low": "lower", "high": "upper"}),
}


def place(
    row: PriorInForce, sd: Tensor, *, location: Tensor | None = None, dims: str | tuple[str, ...] | None = None
) -> Tensor:
    """Add a prior's variable to the current model under its address.

    Parameters
    ----------
    row : PriorInForce
    sd : scalar tensor
        The response's SD; multiplies location and scale arguments of a prior stated in SD units.
    location : scalar tensor, optional
        Added to the location of a prior stated around the mean of the response.
    dims : str or tuple of str, optional

    Returns
    -------
    tensor
        The random variable.
    """
    if isinstance(row.prior, RobustMAP):
        return _mixture(row.address, row.prior, row.factor)
    if isinstance(row.prior, Commensurate):
        mean, scale = _commensurate(row)
        return pm.Normal(row.address, mean, scale)
    kind, arguments = _arguments(row, row.prior, sd, location)
    return getattr(pm, kind)(row.address, **arguments, dims=dims)


def _arguments(row: PriorInForce, prior: Prior, sd: Tensor, location: Tensor | None) -> tuple[str, dict[str, Tensor]]:
    """PyMC's name of a distribution and its arguments, on the coefficient's scale."""
    kind, names = _PYMC[prior.distribution]
    arguments = {}
    for name, value in prior.parameters:
        # 64 bits said aloud: what is a short number in 32 would have its logarithm folded in 32.
        number = pt.constant(value / row.factor if name in SCALED else value, dtype="float64")
        if row.sd_units and name in SCALED:
            number = number * sd
        if row.around and name in UNRESTRICTED:
            assert location is not None
            number = number + location
        arguments[names[name]] = number
    return kind, arguments


def _mixture(address: str, prior: RobustMAP, factor: float) -> Tensor:
    weight, first, second = np.array(prior.components).T
    weight = weight / weight.sum()
    if prior.of_probability:
        return pm.Mixture(address, w=weight, comp_dists=[pm.Beta.dist(a, b) for a, b in zip(first, second, strict=True)])
    return pm.NormalMixture(address, w=weight, mu=first / factor, sigma=second / factor)


def _commensurate(row: PriorInForce) -> tuple[Tensor, Tensor]:
    """Mean and scale of a coefficient given the SD between the trials, which is placed as ``address.between``."""
    prior = row.prior
    assert isinstance(prior, Commensurate)
    between = place(PriorInForce(row.response, f"{row.address}.between", prior.between, row.source, row.reason, False), pt.constant(1.0))
    return pt.constant(prior.estimate / row.factor, dtype="float64"), pt.sqrt(prior.se**2 + between**2) / row.factor


# ---- vectors of which some elements have priors of their own ---------------------------------------------


def place_vector(
    name: str, rows: Sequence[PriorInForce | Tensor], sd: Tensor, *, dims: tuple[str, ...], location: Tensor | None = None, across: int | None = None
) -> Tensor:
    """Add a vector whose elements have priors of their own.

    One Normal variable where every element is Normal (given a scale); otherwise a variable for each
    element, named ``vector.element``, and the vector made of them.

    Parameters
    ----------
    name : str
    rows : sequence of PriorInForce or tensor
        One per element: its prior, or the scale of a Normal around zero.
    sd, location : scalar tensor
        As for :func:`place`.
    dims : tuple of str
        The vector's, that of its elements first.
    across : int, optional
        Length of a second dim, over which elements repeat.

    Returns
    -------
    tensor
    """
    labels = list(pm.modelcontext(None).coords[dims[0]])
    if all(not isinstance(r, PriorInForce) or r.prior.distribution in ("Normal", "Commensurate") for r in rows):
        moments = [_moments(r, f"{name}.{label}", sd, location) for r, label in zip(rows, labels, strict=True)]
        mean, scale = (pt.stack([pt.as_tensor(m[i], dtype="float64") for m in moments]) for i in (0, 1))
        return pm.Normal(name, mean[:, None], scale[:, None], dims=dims) if across else pm.Normal(name, mean, scale, dims=dims)
    made = []
    for row, label in zip(rows, labels, strict=True):
        own = dims[1:] or None
        if isinstance(row, PriorInForce):
            made.append(place(replace(row, address=f"{name}.{label}"), sd, location=location, dims=own))
        else:
            made.append(pm.Normal(f"{name}.{label}", 0.0, row, dims=own))
    return pm.Deterministic(name, pt.stack(made), dims=dims)


def _moments(row: PriorInForce | Tensor, address: str, sd: Tensor, location: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and scale of an element that is Normal given other parameters."""
    if not isinstance(row, PriorInForce):
        return pt.constant(0.0), row
    if isinstance(row.prior, Commensurate):
        return _commensurate(replace(row, address=address))
    assert isinstance(row.prior, Prior)
    _, arguments = _arguments(row, row.prior, sd, location)
    return arguments["mu"], arguments["sigma"]


def rows_of(address: str, labels: Sequence[str], priors: Mapping[str, PriorInForce]) -> list[PriorInForce] | None:
    """The prior of each element of a vector; None where none has one of its own."""
    own = [priors.get(f"{address}.{label}") for label in labels]
    return [row or priors[address] for row in own] if any(own) else None


def variables_of(vector: Tensor) -> tuple[Tensor, ...]:
    """The random variables that a placed coefficient or vector consists of."""
    free = pm.modelcontext(None).free_RVs
    return (vector,) if vector in free else tuple(v for v in free if str(v.name).startswith(f"{vector.name}."))
