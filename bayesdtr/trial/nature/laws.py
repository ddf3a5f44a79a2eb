"""What is said to be true of a response: a mean in one of several forms, and what its family needs besides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import TrialError
from ...study.conditions import Condition
from .calendar import plain
from .functions import Function
from .reading import finite

EXTRAS = ("sd", "df", "log_sd", "concentration", "dispersion", "zero", "shape")


@dataclass(frozen=True)
class Cells:
    """A number, or further cells, for every key: options of the latest decision, conditions on the history, or levels of the response."""

    rows: tuple[tuple[Any, Any], ...]

    def description(self) -> list[list[Any]]:
        """Plain data."""
        return [[str(k) if isinstance(k, Condition) else k, v.description() if isinstance(v, Cells) else v] for k, v in self.rows]

    def __str__(self) -> str:
        return ", ".join(f"{k}: {f'({v})' if isinstance(v, Cells) else f'{v:.6g}'}" for k, v in self.rows)


Form = float | Cells | Function


def read_form(given: Any, what: str) -> Form:
    """A number, a mapping or a function as a frozen value."""
    if isinstance(given, (Cells, Function)):
        return given
    if isinstance(given, Mapping):
        if not given:
            raise TrialError(f"{what}: the mapping is empty; give a number for every option, condition or level.")
        for key in given:
            if not isinstance(key, (str, Condition)):
                raise TrialError(f"{what}: keys are options, levels, or conditions such as when(first='a'), got {key!r}.")
        return Cells(tuple((k, _cell(v, f"{what}, {k}")) for k, v in given.items()))
    if callable(given):
        return Function.of(given)
    return finite(given, what)


def _cell(given: Any, what: str) -> float | Cells:
    if isinstance(given, Mapping):
        return Cells(tuple((str(k), finite(v, f"{what}, {k}")) for k, v in given.items()))
    return finite(given, what)


@dataclass(frozen=True, init=False)
class Law:
    """The true distribution of a response given the history.

    Parameters
    ----------
    mean : float, mapping or function
        Mean of the response on its own scale (the probability of a yes/no response; of an ordinal or categorical one the probabilities
        ``{level: probability}``): one number; ``{option: number}`` by the option taken at the latest decision; ``{when(...): number}``
        by conditions on the history, of which exactly one holds for every history that can arise; or ``f(history)``, where `history`
        maps names to arrays of shape (n,) (labels for decisions and labelled variables, floats for numbers) and the answer has shape (n,), or
        (n, level).
    sd : same forms, optional
        SD of a Normal or Student-t response.
    df : same forms, optional
        Degrees of freedom of a Student-t response, above 2.
    log_sd : same forms, optional
        SD of the logarithm of a log-normal response or time.
    concentration : same forms, optional
        Of a beta-binomial response: successes have a Beta(p c, (1 - p) c) probability.
    dispersion : same forms, optional
        Of a negative binomial response: variance ``m + (dispersion m)^2``.
    zero : same forms, optional
        Probability of a zero: all of them under `Hurdle`, those beyond the base's own under `ZeroInflated`. The mean is that of the
        response, zeros included.
    shape : same forms, optional
        Of a Weibull time; 1 is exponential.

    Raises
    ------
    TrialError
        For numbers that are not finite; the rest is checked against a study by :meth:`Scenario.check`.
    """

    mean: Form
    extras: tuple[tuple[str, Form], ...]

    def __init__(self, mean: Any, *, sd: Any = None, df: Any = None, log_sd: Any = None, concentration: Any = None, dispersion: Any = None,
                 zero: Any = None, shape: Any = None):
        given = zip(EXTRAS, (sd, df, log_sd, concentration, dispersion, zero, shape), strict=True)
        object.__setattr__(self, "mean", read_form(mean, "Law: the mean"))
        object.__setattr__(self, "extras", tuple((n, read_form(v, f"Law: {n}")) for n, v in given if v is not None))

    def description(self) -> dict[str, Any]:
        """Plain data that tell laws apart."""
        return {n: v.description() if hasattr(v, "description") else plain(v) for n, v in (("mean", self.mean), *self.extras)}

    def __str__(self) -> str:
        shown = lambda v: f"{v:.6g}" if isinstance(v, float) else str(v)  # noqa: E731
        extras = [(n, v) for n, v in self.extras if isinstance(v, (float, Cells)) or shown(v) != shown(self.mean)]
        return "; ".join([shown(self.mean), *(f"{n} {shown(v)}" for n, v in extras)])


def read_law(given: Any, response: str) -> Law:
    """A law from what a user gives for a response."""
    if isinstance(given, Law):
        return given
    made = object.__new__(Law)
    object.__setattr__(made, "mean", read_form(given, f"Scenario: the truth of {response!r}"))
    object.__setattr__(made, "extras", ())
    return made
