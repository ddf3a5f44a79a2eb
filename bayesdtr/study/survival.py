"""Times to an event, observed, right-censored or interval-censored."""

import itertools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .families import Family
from .priors import POSITIVE, Address, Prior

DISTRIBUTIONS = ("weibull", "lognormal", "piecewise")
EXACT = 0.0
"""Upper end of an interval for a patient whose time is known exactly, such as one to come."""


@dataclass(frozen=True, init=False)
class Survival(Family):
    """A time from the last decision to an event; a larger linear predictor means a longer time.

    A right-censored patient contributes the probability of having had no event yet and nothing
    later: what follows a censored time must be empty. Elapsed time enters later predictors as
    ``log(1 + time / m)``, standardised, where `m` is the person-time per event at the first fit; the
    linear predictor is the logarithm of a time in units of `m`.

    Parameters
    ----------
    distribution : {"weibull", "lognormal", "piecewise"}
        Accelerated failure times with a Weibull or log-normal error, or a piecewise-constant hazard whose
        logarithm is a Gaussian random walk over the pieces.
    event : str, optional
        Column of 1 (the event happened at the time given) and 0 (no event until then: right-censored).
    upper : str, optional
        In place of `event`, for interval censoring: column of the upper end of the interval in which the event
        happened, the response being the lower end. An upper end equal to the time is an exact event; an infinite
        or empty one is right censoring. Later models see the middle of an interval.
    breaks : sequence of float, optional
        Times between which the hazard is constant, for ``"piecewise"``.
    by : sequence of str, optional
        For ``"piecewise"``: earlier decisions, labelled covariates or responses with a finite list of values whose
        combinations have a walk each, so that hazards need not be proportional between them.

    Raises
    ------
    StudyError
        For an unknown distribution, both columns, or breaks that are not increasing positive numbers.
    """

    distribution: str
    event: str | None
    upper: str | None
    breaks: tuple[float, ...]
    by: tuple[str, ...]

    def __init__(
        self, distribution: str = "weibull", *, event: str | None = None, upper: str | None = None, breaks: Sequence[float] | None = None,
        by: Sequence[str] | None = None,
    ):
        if distribution not in DISTRIBUTIONS:
            raise StudyError(
                f"Survival: no distribution {distribution!r}; allowed: {listing(DISTRIBUTIONS)}{did_you_mean(distribution, DISTRIBUTIONS)}"
            )
        for role, column in (("event", event), ("upper", upper)):
            if column is not None and (not isinstance(column, str) or not column.strip()):
                raise StudyError(f"Survival: {role} names a column of the data, got {column!r}.")
        if event is not None and upper is not None:
            raise StudyError("Survival takes event= or upper=, not both: an upper end equal to the time is an event, an empty one is censoring.")
        if (breaks is None) == (distribution == "piecewise"):
            raise StudyError(
                "Survival('piecewise') needs breaks=, the times between which the hazard is constant, for example breaks=[3, 6, 12]."
                if breaks is None else f"Survival: breaks belong to 'piecewise', not to {distribution!r}."
            )
        if isinstance(by, str) or not all(isinstance(n, str) for n in by or ()):
            raise StudyError(f"Survival: by is a list of names, got {by!r}.")
        if by and distribution != "piecewise":
            raise StudyError(f"Survival: by belongs to 'piecewise', not to {distribution!r}.")
        object.__setattr__(self, "by", tuple(by or ()))
        for field, value in (("distribution", distribution), ("event", event), ("upper", upper), ("breaks", _breaks(breaks))):
            object.__setattr__(self, field, value)

    @property
    def link(self) -> str:
        """Logarithm of time."""
        return "log time"

    @property
    def columns(self) -> tuple[tuple[str, str, float], ...]:
        """The event indicator or the upper end; a patient to come is followed up to the event."""
        if self.upper:
            return (("upper", self.upper, EXACT),)
        return (("event", self.event, 1.0),) if self.event else ()

    @property
    def pieces(self) -> tuple[str, ...]:
        """Labels of the pieces of a piecewise-constant hazard."""
        edges = ["0", *(f"{b:g}" for b in self.breaks)]
        return (*(f"{a} to {b}" for a, b in itertools.pairwise(edges)), f"from {edges[-1]}")

    @property
    def law(self) -> str:
        """In units of m, the person-time per event."""
        form = {
            "weibull": "Weibull(shape, scale = m exp(eta))",
            "lognormal": "LogNormal(log m + eta, sigma)",
            "piecewise": f"PiecewiseExponential(log hazard = random walk over {len(self.breaks) + 1} pieces"
                         f"{' for each ' + ' x '.join(self.by) if self.by else ''} - log m - eta; "
                         f"breaks {', '.join(f'{b:g}' for b in self.breaks)})",
        }[self.distribution]
        how = f", interval-censored up to {self.upper}" if self.upper else f", right-censored where {self.event} = 0" if self.event else ""
        return f"{form}{how}; m = person-time per event"

    def addresses(self) -> tuple[Address, ...]:
        """``shape``; ``sigma``; or ``walk_scale``."""
        row = {
            "weibull": Address("shape", POSITIVE, Prior("LogNormal", loc=0, scale=0.5), "1 is a constant hazard; a third to three is plausible"),
            "lognormal": Address("sigma", POSITIVE, Prior("HalfNormal", scale=1), "residual SD of the logarithm of time"),
            "piecewise": Address("walk_scale", POSITIVE, Prior("HalfNormal", scale=0.5), "SD of the steps of the log hazard between pieces"),
        }[self.distribution]
        return (row,)

    def impossible(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Zero and below."""
        return ~(values > 0), "times above 0 (an event on the day of the decision: half a day, or the shortest time that can be told from it)"

    def empty_extra(self, role: str) -> float | None:
        """An upper end that is not given is infinite."""
        return math.inf if role == "upper" else None

    def impossible_extra(self, role: str, values: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, str]:
        """Events other than 0 and 1; upper ends below the time."""
        if role == "event":
            return ~np.isin(values, (0.0, 1.0)), "1 (the event happened) and 0 (censored)"
        return ~(values >= response), "numbers not below the time itself; infinite or empty for right censoring"


def _breaks(values: object) -> tuple[float, ...]:
    if values is None:
        return ()
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or not len(values):
        raise StudyError(f"Survival: breaks is a list of times, got {values!r}.")
    for b in values:
        if isinstance(b, bool) or not isinstance(b, numbers.Real) or not 0 < b < math.inf:
            raise StudyError(f"Survival: breaks are finite times above 0, got {b!r}.")
    if any(b <= a for a, b in itertools.pairwise(values)):
        raise StudyError(f"Survival: breaks must increase, got {list(values)!r}.")
    return tuple(float(b) for b in values)
