"""Priors borrowed from earlier trials, as declarations: a robust meta-analytic-predictive mixture, and a commensurate prior.

Both carry their numbers with them, so that a declaration is complete without the earlier trials'
data. What patients themselves contribute is :class:`bayesdtr.PowerPrior`, an argument of ``fit``.
"""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import StudyError
from .priors import POSITIVE, Prior


def _number(what: str, value: object, *, above: float = -math.inf, below: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or not above < value < below:
        both = math.isfinite(above) and math.isfinite(below)
        limits = f" between {above:g} and {below:g}" if both else f" above {above:g}" if math.isfinite(above) else ""
        raise StudyError(f"{what} must be a finite number{limits}, got {value!r}.")
    return float(value)


def _reason(what: str, reason: object) -> str | None:
    if reason is not None and not isinstance(reason, str):
        raise StudyError(f"{what}: reason is a text, got {reason!r}.")
    return reason


@dataclass(frozen=True, init=False)
class RobustMAP:
    """Robust meta-analytic-predictive prior: what several earlier trials predict for this one, mixed with a vague prior.

    The trials' true values are Normal around a common mean (flat prior) with a half-normal SD between
    trials. The value predicted for a new trial is fitted by a mixture of at most four Normals (their
    number by AIC), to which a vague component is added: data that contradict the earlier trials move
    the weight to it (Schmidli et al. 2014).

    Parameters
    ----------
    estimates, standard_errors : sequence of float
        One per earlier trial, on the scale of the address's own prior (the difference between two
        options for ``"treatment.second[b vs a]"``).
    between : float
        Scale of the half-normal prior of the SD between trials.
    vague_sd : float
        SD of the vague component, which is centred where the mixture is; that of one patient's
        outcome (or of a difference between two) gives it the information of one patient.
    weight : float, default 0.2
        Prior weight of the vague component.
    reason : str, optional

    Raises
    ------
    StudyError
        For numbers that cannot be; the message names them.

    Notes
    -----
    :meth:`from_counts` makes the prior of one cell's probability, a mixture of Betas.
    """

    trials: tuple[tuple[float, float], ...]
    of_probability: bool
    between: float
    weight: float
    components: tuple[tuple[float, float, float], ...]
    """Weight and two parameters of each component (mean and SD, or a and b); the vague one is the last."""
    reason: str | None

    def __init__(self, estimates: Sequence[float], standard_errors: Sequence[float], *, between: float, vague_sd: float, weight: float = 0.2,
                 reason: str | None = None):
        from .mixtures import fit_normals, predictive_of_estimates

        trials = _pairs("RobustMAP", ("estimates", "standard_errors"), estimates, standard_errors)
        for _, se in trials:
            _number("RobustMAP: a standard error", se, above=0)
        between, vague = _number("RobustMAP: between", between, above=0), _number("RobustMAP: vague_sd", vague_sd, above=0)
        points = predictive_of_estimates(trials, between)
        center = float(points.mean())
        self._put(trials, False, between, weight, fit_normals(points), (center, vague), reason)

    @classmethod
    def from_counts(cls, successes: Sequence[int], totals: Sequence[int], *, between: float, weight: float = 0.2,
                    reason: str | None = None) -> "RobustMAP":
        """The prior of one probability from earlier trials' counts: a mixture of Betas, for one cell of a saturated model.

        Log-odds of the trials are Normal around a common mean, itself Normal(0, 2), with a half-normal
        SD between trials; the vague component is uniform.

        Parameters
        ----------
        successes, totals : sequence of int
            One per earlier trial.
        between : float
            Scale of the half-normal prior of the SD between trials, in log-odds.
        weight : float, default 0.2
        reason : str, optional

        Returns
        -------
        RobustMAP
        """
        from .mixtures import fit_betas, predictive_of_counts

        trials = _pairs("RobustMAP.from_counts", ("successes", "totals"), successes, totals)
        for yes, n in trials:
            if yes != int(yes) or n != int(n) or not 0 <= yes <= n or n < 1:
                raise StudyError(f"RobustMAP.from_counts: {yes:g} successes of {n:g} is no count; successes are whole numbers from 0 to the total.")
        made = object.__new__(cls)
        between = _number("RobustMAP.from_counts: between", between, above=0)
        made._put(trials, True, between, weight, fit_betas(predictive_of_counts(trials, between)), (1.0, 1.0), reason)
        return made

    def _put(self, trials, of_probability, between, weight, fitted, vague, reason) -> None:
        weight = _number("RobustMAP: weight", weight, above=0, below=1)
        components = (*(((1 - weight) * w, a, b) for w, a, b in fitted), (weight, *vague))
        for name, value in (("trials", trials), ("of_probability", of_probability), ("between", between), ("weight", weight),
                            ("components", components), ("reason", _reason("RobustMAP", reason))):
            object.__setattr__(self, name, value)

    @property
    def distribution(self) -> str:
        """Name of the kind."""
        return "RobustMAP"

    def __str__(self) -> str:
        law = "Beta" if self.of_probability else "Normal"
        return " + ".join(f"{w:.3g} {law}({a:.4g}, {b:.4g})" for w, a, b in self.components)


def _pairs(what: str, names: tuple[str, str], first: object, second: object) -> tuple[tuple[float, float], ...]:
    for name, values in zip(names, (first, second), strict=True):
        if isinstance(values, str) or not hasattr(values, "__len__") or not hasattr(values, "__iter__") or not len(values):  # type: ignore[arg-type]
            raise StudyError(f"{what}: {name} is a list with one number per earlier trial, got {values!r}.")
    a = [_number(f"{what}: {names[0]}", v) for v in list(first)]  # type: ignore[call-overload]
    b = [_number(f"{what}: {names[1]}", v) for v in list(second)]  # type: ignore[call-overload]
    if len(a) != len(b):
        raise StudyError(f"{what}: {len(a)} {names[0]} and {len(b)} {names[1]}; give one of each per earlier trial.")
    return tuple(zip(a, b, strict=True))


@dataclass(frozen=True, init=False)
class Commensurate:
    """Commensurate prior: this trial's value is Normal around an earlier trial's estimate, as far away as the data say.

    ``value ~ Normal(estimate, sqrt(se^2 + d^2))`` with a prior on the SD ``d`` between the trials: a
    small ``d`` pools, a large one leaves the earlier trial aside (Hobbs et al. 2011, 2012). The value
    stays Normal given ``d``.

    Parameters
    ----------
    estimate, se : float
        The earlier trial's estimate and standard error, on the scale of the address's own prior.
    between : float or Prior
        Prior of the SD between trials; a number is the scale of a half-normal one.
    reason : str, optional

    Raises
    ------
    StudyError
    """

    estimate: float
    se: float
    between: Prior
    reason: str | None

    def __init__(self, estimate: float, se: float, *, between: float | Prior, reason: str | None = None):
        if not isinstance(between, Prior):
            between = Prior("HalfNormal", scale=_number("Commensurate: between", between, above=0))
        if between.distribution not in POSITIVE:
            raise StudyError(f"Commensurate: between is an SD and needs a positive prior ({', '.join(POSITIVE)}), got {between}.")
        for name, value in (("estimate", _number("Commensurate: estimate", estimate)), ("se", _number("Commensurate: se", se, above=0)),
                            ("between", between), ("reason", _reason("Commensurate", reason))):
            object.__setattr__(self, name, value)

    @property
    def distribution(self) -> str:
        """Name of the kind."""
        return "Commensurate"

    def __str__(self) -> str:
        return f"Normal({self.estimate:g}, sqrt({self.se:g}^2 + d^2)), d ~ {self.between}"
