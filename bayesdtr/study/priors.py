"""Priors as declarations: which distribution, which numbers, where they came from.

`Prior` uses NumPyro's names of distributions and arguments and checks them against a static table,
so that a declaration needs neither JAX nor PyMC. `DEFAULTS` holds the default of every address of
every built-in model, with its reason; nothing else in the package spells a prior's number.
"""

import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import StudyError, did_you_mean, listing

if TYPE_CHECKING:
    from .borrowing import Commensurate, RobustMAP
    from .families import Family

DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "Normal": ("loc", "scale"),
    "StudentT": ("df", "loc", "scale"),
    "Cauchy": ("loc", "scale"),
    "HalfNormal": ("scale",),
    "HalfCauchy": ("scale",),
    "LogNormal": ("loc", "scale"),
    "Exponential": ("rate",),
    "Gamma": ("concentration", "rate"),
    "InverseGamma": ("concentration", "rate"),
    "Beta": ("concentration1", "concentration0"),
    "Uniform": ("low", "high"),
    "Dirichlet": ("concentration",),
}
ON_THE_LINE = ("Normal", "StudentT", "Cauchy", "Uniform")
POSITIVE = ("HalfNormal", "HalfCauchy", "LogNormal", "Exponential", "Gamma", "InverseGamma")
UNIT_INTERVAL = ("Beta",)
UNRESTRICTED = ("loc", "low", "high")
SCALED = ("loc", "scale", "low", "high")
"""Arguments that are multiplied by the response's SD when a prior is stated in SD units."""


@dataclass(frozen=True, init=False)
class Prior:
    """A prior distribution with its numbers.

    Parameters
    ----------
    distribution : str
        One of ``Normal``, ``StudentT``, ``Cauchy``, ``HalfNormal``, ``HalfCauchy``, ``LogNormal``,
        ``Exponential``, ``Gamma``, ``InverseGamma``, ``Beta``, ``Uniform``, ``Dirichlet``.
    reason : str, optional
        Why; printed beside the prior.
    **parameters : float
        The arguments by NumPyro's names, all of them: ``Prior("Normal", loc=0, scale=1)``.
        On the response's own scale.

    Raises
    ------
    StudyError
        For an unknown distribution or argument, a missing one, or an impossible number.
    """

    distribution: str
    parameters: tuple[tuple[str, float], ...]
    reason: str | None

    def __init__(self, distribution: str, /, *, reason: str | None = None, **parameters: float):
        if distribution not in DISTRIBUTIONS:
            raise StudyError(
                f"Prior: no distribution {distribution!r}; allowed: {listing(DISTRIBUTIONS, 20)}"
                f"{did_you_mean(distribution, DISTRIBUTIONS)}"
            )
        expected = DISTRIBUTIONS[distribution]
        for name in parameters:
            if name not in expected:
                raise StudyError(
                    f"Prior: {distribution} takes no argument {name!r}; it takes {listing(expected)}{did_you_mean(name, expected)}"
                )
        if missing := [name for name in expected if name not in parameters]:
            raise StudyError(f"Prior: {distribution} also needs {listing(missing)}.")
        for name, value in parameters.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise StudyError(f"Prior: {distribution}({name}={value!r}) needs a finite number.")
            if name not in UNRESTRICTED and value <= 0:
                raise StudyError(f"Prior: {distribution}({name}={value:g}) must be above 0.")
        if distribution == "Uniform" and parameters["low"] >= parameters["high"]:
            raise StudyError(f"Prior: Uniform needs low < high, got {parameters['low']:g} and {parameters['high']:g}.")
        object.__setattr__(self, "distribution", distribution)
        object.__setattr__(self, "parameters", tuple((name, float(parameters[name])) for name in expected))
        object.__setattr__(self, "reason", reason)

    def __getitem__(self, name: str) -> float:
        return dict(self.parameters)[name]

    def __str__(self) -> str:
        return f"{self.distribution}({', '.join(f'{value:g}' for _, value in self.parameters)})"


@dataclass(frozen=True)
class NormalInverseGamma:
    """Conjugate prior of saturated Normal cells under ``engine="exact"``.

    ``sigma^2 ~ InverseGamma(shape, rate)`` and, for each cell, ``mean | sigma ~ Normal(mean,
    sigma / sqrt(strength))``: `strength` is the number of patients that the prior mean is worth.
    """

    mean: float
    strength: float
    shape: float
    rate: float

    def __post_init__(self):
        for name in ("mean", "strength", "shape", "rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise StudyError(f"NormalInverseGamma: {name} must be a finite number, got {value!r}.")
            if name != "mean" and value <= 0:
                raise StudyError(f"NormalInverseGamma: {name} must be above 0, got {value!r}.")
            object.__setattr__(self, name, float(value))

    def __str__(self) -> str:
        return f"NormalInverseGamma({self.mean:g}, {self.strength:g}, {self.shape:g}, {self.rate:g})"


@dataclass(frozen=True)
class Address:
    """One place where a prior stands: which values it may take, its default, and why that default."""

    name: str
    kinds: tuple[str, ...]
    default: Prior
    reason: str
    sd_units: bool = False
    """Whether the default is stated in units of the response's SD."""
    around: str = ""
    """What the default is located at: ``mean`` or ``log mean`` of the response, or nothing."""


def _predictor_addresses(link: str, clustered: bool, intercept: bool = True, prefix: str = "") -> list[Address]:
    """Addresses of one linear predictor, in printing order."""
    sd = link == "identity"

    def row(name: str, kinds: tuple[str, ...], default: Prior, reason: str, around: str = "") -> Address:
        return Address(prefix + name, kinds, default, reason, sd, around)

    around = {"identity": "mean", "log": "log mean"}.get(link, "")
    level = Prior("Normal", loc=0, scale=2.5 if sd else 1.5)
    rows = [row("intercept", ON_THE_LINE, level, "weakly informative: any plausible level of the response", around)] if intercept else []
    rows += [
        row("beta", ON_THE_LINE, Prior("Normal", loc=0, scale=1), "per SD of a covariate, an effect of one unit is large"),
        row("tau", POSITIVE, Prior("HalfNormal", scale=0.5), "scale of treatment contrasts: most effects are below half a unit"),
        row("tau_interaction", POSITIVE, Prior("HalfNormal", scale=0.25), "scale of treatment-by-history interactions: smaller than main effects"),
    ]
    if clustered:
        rows += [
            row("cluster_sd", POSITIVE, Prior("HalfNormal", scale=0.5), "spread of the clusters' levels"),
            row("cluster_treatment_sd", POSITIVE, Prior("HalfNormal", scale=0.25), "spread of treatment effects over clusters"),
        ]
    return rows


def hierarchical_addresses(family: "Family", clustered: bool) -> dict[str, Address]:
    """Addresses of the default hierarchical model of a family, in printing order."""
    rows = _predictor_addresses(family.link, clustered, family.intercept)
    if family.zero_part:
        rows += _predictor_addresses("logit", clustered, prefix="zero_")
    return {row.name: row for row in (*rows, *family.addresses())}


def saturated_addresses(family: "Family") -> dict[str, Address]:
    """Addresses of the saturated cell model of a family."""
    if family.link == "logit":
        row = Address("probability", UNIT_INTERVAL, Prior("Beta", concentration1=1, concentration0=1), "uniform on each cell's probability")
        return {row.name: row}
    rows = [
        Address("mean", ON_THE_LINE, Prior("Normal", loc=0, scale=10), "wide: no shrinkage between cells", True, "mean"),
        Address("sigma", POSITIVE, Prior("HalfCauchy", scale=5), "wide: residual SD common to the cells", True),
    ]
    return {row.name: row for row in rows}


@dataclass(frozen=True)
class PriorInForce:
    """One line of the table of priors: an address, the prior there, and where it came from.

    Attributes
    ----------
    response, address : str
    prior : Prior, RobustMAP or Commensurate
    source : {"default", "user", "borrowed"}
    reason : str
    sd_units : bool
        Whether its numbers are in units of the response's SD.
    around : str
        What its location is counted from: ``mean`` or ``log mean`` of the response, or nothing.
    factor : float
        What the prior is stated for, per unit of the coefficient: the difference between two options
        is ``sqrt(2)`` of an orthonormal contrast's coefficient.
    """

    response: str
    address: str
    prior: "Prior | RobustMAP | Commensurate"
    source: str
    reason: str
    sd_units: bool
    around: str = ""
    factor: float = 1.0

    @property
    def text(self) -> str:
        """The prior with its numbers and its unit."""
        unit, around = f" x sd({self.response})", f" around {self.around}({self.response})"
        text = str(self.prior) + (unit if self.sd_units else "") + (around if self.around else "")
        return text + (" on the difference" if self.factor != 1 else "")
