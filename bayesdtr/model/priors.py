"""Priors as PyMC variables: NumPyro's argument names become PyMC's, SD units become numbers."""

import pymc as pm
import pytensor.tensor as pt

from ..study.priors import SCALED, UNRESTRICTED, PriorInForce

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
    row: PriorInForce, sd: pt.TensorVariable, *, location: pt.TensorVariable | None = None, dims: str | tuple[str, ...] | None = None
) -> pt.TensorVariable:
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
    kind, names = _PYMC[row.prior.distribution]
    arguments = {}
    for name, value in row.prior.parameters:
        number = pt.constant(value)
        if row.sd_units and name in SCALED:
            number = number * sd
        if row.around and name in UNRESTRICTED:
            assert location is not None
            number = number + location
        arguments[names[name]] = number
    return getattr(pm, kind)(row.address, **arguments, dims=dims)
