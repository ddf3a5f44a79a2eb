"""Families of counts and of amounts with zeros."""

from dataclasses import dataclass

import numpy as np

from ..errors import StudyError
from .families import Family, LogNormal
from .priors import POSITIVE, Address, Prior


@dataclass(frozen=True)
class Count(Family):
    """Counts with a log link; `exposure` names the column of each patient's time or number at risk."""

    exposure: str | None = None

    def __post_init__(self):
        if self.exposure is not None and (not isinstance(self.exposure, str) or not self.exposure.strip()):
            raise StudyError(f"{self.name}: exposure names a column of the data, got {self.exposure!r}.")

    @property
    def link(self) -> str:
        """Log; with an exposure the predictor is that of the rate."""
        return "log"

    @property
    def columns(self) -> tuple[tuple[str, str, float], ...]:
        """The exposure; a patient to come has one unit of it."""
        return (("exposure", self.exposure, 1.0),) if self.exposure else ()

    @property
    def rate(self) -> str:
        """The mean in words."""
        return "mu = exp(eta)" + (f" x {self.exposure}" if self.exposure else "")

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Negative and broken numbers."""
        return (values < 0) | (values != np.round(values)), "whole numbers from 0"

    def impossible_extra(self, role: str, values: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, str]:
        """An exposure of zero or below."""
        return ~(values > 0), "numbers above 0"


@dataclass(frozen=True)
class Poisson(Count):
    """Counts whose variance equals their mean.

    Parameters
    ----------
    exposure : str, optional
        Column with each patient's time or number at risk; recommendations are for one unit of it.
    """

    @property
    def law(self) -> str:
        """Poisson."""
        return f"Poisson(mu), {self.rate}"


@dataclass(frozen=True)
class NegativeBinomial(Count):
    """Counts with variance ``mu + (dispersion mu)^2``; dispersion 0 is Poisson.

    Parameters
    ----------
    exposure : str, optional
        Column with each patient's time or number at risk; recommendations are for one unit of it.
    """

    @property
    def law(self) -> str:
        """Negative binomial."""
        return f"NegativeBinomial(mu, 1/dispersion^2), {self.rate}"

    def addresses(self) -> tuple[Address, ...]:
        """``dispersion``."""
        return (Address("dispersion", POSITIVE, Prior("HalfNormal", scale=1), "coefficient of variation beyond Poisson: shrinks to Poisson"),)


@dataclass(frozen=True)
class _WithZeros(Family):
    """A family with a second linear predictor for zeros."""

    base: Family

    def _check(self, allowed: tuple[type, ...]) -> None:
        if not isinstance(self.base, allowed):
            names = ", ".join(f"{a.__name__}()" for a in allowed)
            raise StudyError(f"{self.name} takes one of {names}, got {self.base!r}.")

    @property
    def link(self) -> str:
        """Log."""
        return self.base.link

    @property
    def zero_part(self) -> bool:
        """Yes."""
        return True

    @property
    def columns(self) -> tuple[tuple[str, str, float], ...]:
        """Those of the base."""
        return self.base.columns

    def addresses(self) -> tuple[Address, ...]:
        """Those of the base."""
        return self.base.addresses()

    def impossible_extra(self, role: str, values: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, str]:
        """Those of the base."""
        return self.base.impossible_extra(role, values, response)


@dataclass(frozen=True)
class ZeroInflated(_WithZeros):
    """Counts with zeros beyond those of a Poisson or negative binomial law.

    Parameters
    ----------
    base : Poisson or NegativeBinomial
    """

    def __post_init__(self):
        self._check((Poisson, NegativeBinomial))

    @property
    def law(self) -> str:
        """Mixture with a point mass at zero."""
        return f"0 with probability p0 (logit p0 = zero eta), else {self.base.law}"

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Those of the base."""
        return self.base.impossible(values)


@dataclass(frozen=True)
class Hurdle(_WithZeros):
    """Zero or not by one predictor; the positive values by another.

    Parameters
    ----------
    base : Poisson, NegativeBinomial or LogNormal
        Law of the positive values; a count law is truncated at zero.
    """

    def __post_init__(self):
        self._check((Poisson, NegativeBinomial, LogNormal))

    @property
    def law(self) -> str:
        """Point mass at zero and a law above it."""
        return f"0 with probability p0 (logit p0 = zero eta), else above 0: {self.base.law}"

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Negative values, and broken counts."""
        if isinstance(self.base, LogNormal):
            return values < 0, "0 and numbers above it"
        return self.base.impossible(values)
