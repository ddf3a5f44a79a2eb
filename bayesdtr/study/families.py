"""Outcome families: what values a response takes, how its linear predictors enter, which parameters of its own it has."""

import abc
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import StudyError
from .priors import POSITIVE, Address, Prior

Options = tuple[str, ...]

SD = "residual SD: at most about the SD of the response"


@dataclass(frozen=True)
class Family(abc.ABC):
    """Base of the outcome families: frozen, without any library behind it."""

    @property
    def name(self) -> str:
        """Name as typed, for example ``Normal``."""
        return type(self).__name__

    @property
    def levels(self) -> Options | None:
        """Labels of a categorical response, coded 0, 1, ... in this order; None for a numeric one."""
        return None

    @property
    def support(self) -> tuple[int, ...] | None:
        """The finite values of the response (codes of the levels), or None."""
        return None if self.levels is None else tuple(range(len(self.levels)))

    @property
    @abc.abstractmethod
    def link(self) -> str:
        """Scale of the linear predictor: ``identity``, ``logit`` or ``log``."""

    @property
    def zero_part(self) -> bool:
        """Whether a second linear predictor, on the logit scale, gives the probability of a zero."""
        return False

    @property
    def intercept(self) -> bool:
        """Whether the linear predictor has an intercept of its own."""
        return True

    @property
    def width(self) -> int | None:
        """Number of parallel linear predictors with common scales, or None for a single one."""
        return None

    @property
    def columns(self) -> tuple[tuple[str, str, float], ...]:
        """Further columns of the data: role, column, and the value for a patient to come."""
        return ()

    @property
    def law(self) -> str:
        """The distribution in one line, in terms of the linear predictor ``eta``."""
        return f"{self.name}(eta)"

    def addresses(self) -> tuple[Address, ...]:
        """Priors of the family's own parameters."""
        return ()

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Which observed values cannot occur, array of bool ``(n,)``, and what is allowed."""
        if self.support is None:
            return np.zeros(values.shape, dtype=bool), "any number"
        return ~np.isin(values, self.support), ", ".join(map(str, self.support[:12])) + (", ..." if len(self.support) > 12 else "")

    def empty_extra(self, role: str) -> float | None:
        """What an empty cell of one of `columns` means for an observed response; None where it must be filled."""
        return None

    def impossible_extra(self, role: str, values: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, str]:
        """As :meth:`impossible`, for one of `columns` beside the values of the response."""
        return np.zeros(values.shape, dtype=bool), "any number"


@dataclass(frozen=True)
class Normal(Family):
    """A continuous response, Gaussian around a linear predictor with one residual SD."""

    @property
    def link(self) -> str:
        """Identity."""
        return "identity"

    @property
    def law(self) -> str:
        """Normal."""
        return "Normal(eta, sigma)"

    def addresses(self) -> tuple[Address, ...]:
        """``sigma``."""
        return (Address("sigma", POSITIVE, Prior("HalfNormal", scale=1), SD, True),)


@dataclass(frozen=True)
class StudentT(Family):
    """A continuous response with outliers: Student t around a linear predictor.

    The degrees of freedom stay above 2, so that mean and variance exist.
    """

    @property
    def link(self) -> str:
        """Identity."""
        return "identity"

    @property
    def law(self) -> str:
        """Student t."""
        return "StudentT(2 + df_excess, eta, sigma)"

    def addresses(self) -> tuple[Address, ...]:
        """``sigma``, ``df_excess``."""
        return (
            Address("sigma", POSITIVE, Prior("HalfNormal", scale=1), "scale of the residuals: at most about the SD of the response", True),
            Address("df_excess", POSITIVE, Prior("Gamma", concentration=2, rate=0.1), "degrees of freedom above 2: heavy tails to nearly Normal"),
        )


@dataclass(frozen=True)
class LogNormal(Family):
    """A positive response whose logarithm is Normal around a linear predictor."""

    @property
    def link(self) -> str:
        """Log."""
        return "log"

    @property
    def law(self) -> str:
        """Log-normal."""
        return "LogNormal(eta, sigma)"

    def addresses(self) -> tuple[Address, ...]:
        """``sigma``, on the log scale."""
        return (Address("sigma", POSITIVE, Prior("HalfNormal", scale=1), "residual SD of the logarithm"),)

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Zero and below."""
        return ~(values > 0), "numbers above 0 (Hurdle(LogNormal()) takes zeros too)"


@dataclass(frozen=True)
class Bernoulli(Family):
    """A yes/no response coded 0 and 1, its probability on the logit scale."""

    @property
    def support(self) -> tuple[int, ...]:
        """0 and 1."""
        return (0, 1)

    @property
    def link(self) -> str:
        """Logit."""
        return "logit"

    @property
    def law(self) -> str:
        """Bernoulli."""
        return "Bernoulli(p), logit p = eta"


@dataclass(frozen=True)
class BetaBinomial(Family):
    """A number of successes out of `n`, more variable than independent trials.

    Parameters
    ----------
    n : int
        Trials (items, visits) of every patient.
    """

    n: int

    def __post_init__(self):
        if isinstance(self.n, bool) or not isinstance(self.n, numbers.Integral) or not 1 <= self.n <= 1000:
            raise StudyError(f"BetaBinomial: n is the number of trials, a whole number from 1 to 1000, got {self.n!r}.")
        object.__setattr__(self, "n", int(self.n))

    @property
    def support(self) -> tuple[int, ...]:
        """0 to n."""
        return tuple(range(self.n + 1))

    @property
    def link(self) -> str:
        """Logit."""
        return "logit"

    @property
    def law(self) -> str:
        """Beta-binomial."""
        return f"BetaBinomial({self.n}, p x concentration, (1 - p) x concentration), logit p = eta"

    def addresses(self) -> tuple[Address, ...]:
        """``concentration``."""
        return (Address("concentration", POSITIVE, Prior("Gamma", concentration=2, rate=0.1),
                        "agreement of a patient's trials: the larger, the closer to binomial"),)

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Below 0, above n, not whole."""
        return ~np.isin(values, self.support), f"whole numbers from 0 to {self.n}"


def _levels(family: str, values: object, least: int) -> Options:
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) < least:
        raise StudyError(f"{family} needs a list of at least {least} labels, got {values!r}.")
    for label in values:
        if not isinstance(label, str) or not label.strip():
            raise StudyError(f"{family}: levels are labels (text), got {label!r}; write {str(label)!r}.")
    if repeated := [v for i, v in enumerate(values) if v in values[:i]]:
        raise StudyError(f"{family}: the level {repeated[0]!r} is listed twice.")
    return tuple(values)


@dataclass(frozen=True, init=False)
class Labelled(Family):
    """A response whose values are labels.

    Parameters
    ----------
    levels : sequence of str
        The labels; the data hold them.
    """

    labels: Options
    least: ClassVar[int] = 2

    def __init__(self, levels: Sequence[str]):
        object.__setattr__(self, "labels", _levels(type(self).__name__, levels, self.least))

    @property
    def levels(self) -> Options:
        """Labels in the order of declaration."""
        return self.labels

    @property
    def link(self) -> str:
        """Effects are log-odds."""
        return "logit"


@dataclass(frozen=True, init=False)
class Ordinal(Labelled):
    """An ordered categorical response: cumulative logits with proportional odds.

    ``logit P(response <= c) = cutpoint_c - eta``. The cutpoints are those of a baseline patient's
    category probabilities, which have a Dirichlet prior.

    Parameters
    ----------
    levels : sequence of str
        Labels from lowest to highest; the data hold them.
    """

    least: ClassVar[int] = 3

    @property
    def intercept(self) -> bool:
        """The cutpoints take its place."""
        return False

    @property
    def law(self) -> str:
        """Cumulative logit."""
        return f"Ordinal({', '.join(self.labels)}), logit P(<= level) = cutpoint - eta"

    def addresses(self) -> tuple[Address, ...]:
        """``baseline``: category probabilities at ``eta = 0``, which make the cutpoints."""
        return (Address("baseline", ("Dirichlet",), Prior("Dirichlet", concentration=1), "uniform over a baseline patient's category probabilities"),)


@dataclass(frozen=True, init=False)
class Categorical(Labelled):
    """An unordered categorical response: softmax of sum-to-zero linear predictors, the prior alike for every level.

    Parameters
    ----------
    levels : sequence of str
        Labels; the data hold them.
    """

    @property
    def width(self) -> int:
        """One linear predictor less than levels."""
        return len(self.labels) - 1

    @property
    def law(self) -> str:
        """Softmax."""
        return f"Categorical({', '.join(self.labels)}), softmax of {self.width} contrasts eta"
