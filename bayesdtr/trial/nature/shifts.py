"""Drift: how linear predictors move from the first patient of a trial to the last."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from ...study.families import Categorical
from ...study.timeline import Decision
from .reading import finite, positive


def _names(responses: Sequence[str] | str | None) -> tuple[str, ...] | None:
    return None if responses is None else (responses,) if isinstance(responses, str) else tuple(responses)


@dataclass(frozen=True)
class Drift(abc.ABC):
    """Base of the drifts; frozen.

    A drift moves a response's linear predictor (identity, logit or log scale of its mean) for all patients alike or by the option taken at the
    latest decision. It is a function of a patient's place in the order of enrolment, so it is the same for every allocation, and what is known of
    scenarios (`truth`) is without it: as for the first patient.
    """

    responses: tuple[str, ...] | None

    @abc.abstractmethod
    def path(self, size: int) -> np.ndarray:
        """Shift of each patient, shape (patient,), in the order of enrolment, of trials of a largest size."""

    def effects(self, options: tuple[str, ...]) -> np.ndarray:
        """What the path is multiplied by, for each option of the latest decision."""
        return np.ones(len(options))

    def moves(self, study: Study, response: str) -> bool:
        """Whether the drift moves a response: those named, or those that the utility depends on."""
        return response in (study.utility.names if self.responses is None else self.responses)

    def check(self, study: Study) -> None:
        """Raise `TrialError` where the drift does not fit a study."""
        names = [r.name for r in study.responses]
        for name in self.responses or ():
            if name not in names:
                raise TrialError(f"{type(self).__name__}: no response {name!r}; responses: {listing(names)}{did_you_mean(name, names)}")
        for r in study.responses:
            if self.moves(study, r.name) and isinstance(r.family, Categorical):
                raise TrialError(f"{type(self).__name__}: {r.name!r} is categorical and has no single linear predictor to move; "
                                 "name other responses.")


@dataclass(frozen=True, init=False)
class LinearDrift(Drift):
    """A steady drift from 0 for the first patient.

    Parameters
    ----------
    total : float
        Shift of the last patient, on the scale of the linear predictor.
    over : int, optional
        Patients over whom it comes about, after whom it stays; by default the largest size of the trial.
    responses : sequence of str, optional
        By default those that the utility depends on.
    """

    total: float
    over: float | None

    def __init__(self, total: float, *, over: float | None = None, responses: Sequence[str] | None = None):
        object.__setattr__(self, "responses", _names(responses))
        object.__setattr__(self, "total", finite(total, "LinearDrift: the total"))
        object.__setattr__(self, "over", None if over is None else positive(over, "LinearDrift: over"))

    def path(self, size: int) -> np.ndarray:
        """``total min(i / (over - 1), 1)``."""
        return self.total * _ramp(size, self.over)

    def __str__(self) -> str:
        return f"linear by {self.total:+g}" + _rest(self.over, self.responses)


@dataclass(frozen=True, init=False)
class StepDrift(Drift):
    """A step.

    Parameters
    ----------
    size : float
        On the scale of the linear predictor.
    at : float, default 0.5
        Share of the trial's largest size after which patients differ.
    responses : sequence of str, optional
        By default those that the utility depends on.
    """

    size: float
    at: float

    def __init__(self, size: float, *, at: float = 0.5, responses: Sequence[str] | None = None):
        object.__setattr__(self, "responses", _names(responses))
        object.__setattr__(self, "size", finite(size, "StepDrift: the size"))
        object.__setattr__(self, "at", finite(at, "StepDrift: at"))
        if not 0 <= self.at < 1:
            raise TrialError(f"StepDrift: at is a share of the trial from 0 to below 1, got {at!r}.")

    def path(self, size: int) -> np.ndarray:
        """0, then the size."""
        return np.where(np.arange(size) >= self.at * size, self.size, 0.0)

    def __str__(self) -> str:
        return f"a step of {self.size:+g} at {self.at:g} of the trial" + _rest(None, self.responses)


@dataclass(frozen=True, init=False)
class ArmDrift(Drift):
    """A steady drift that differs between options: contrasts change while the trial runs.

    Parameters
    ----------
    totals : mapping of option to float
        Shift of the last patient, by the option taken at the response's latest decision; 0 where none is named.
    over : int, optional
        As for `LinearDrift`.
    responses : sequence of str, optional
        By default those that the utility depends on.
    """

    totals: tuple[tuple[str, float], ...]
    over: float | None

    def __init__(self, totals: Mapping[str, float], *, over: float | None = None, responses: Sequence[str] | None = None):
        if not isinstance(totals, Mapping) or not totals:
            raise TrialError(f"ArmDrift takes a mapping of options to shifts, for example {{'A': 0.5}}, got {totals!r}.")
        object.__setattr__(self, "responses", _names(responses))
        object.__setattr__(self, "totals", tuple((str(o), finite(t, f"ArmDrift: the total of {o!r}")) for o, t in totals.items()))
        object.__setattr__(self, "over", None if over is None else positive(over, "ArmDrift: over"))

    def path(self, size: int) -> np.ndarray:
        """The share of the totals."""
        return _ramp(size, self.over)

    def effects(self, options: tuple[str, ...]) -> np.ndarray:
        """Totals."""
        return np.array([dict(self.totals).get(o, 0.0) for o in options])

    def check(self, study: Study) -> None:
        """Options must belong to a decision before a response that moves."""
        super().check(study)
        moving = [latest(study, r.name) for r in study.responses if self.moves(study, r.name)]
        known = tuple(dict.fromkeys(o for d in moving for o in d.options))
        for option, _ in self.totals:
            if option not in known:
                raise TrialError(f"ArmDrift: no option {option!r} at the decisions before the responses that drift; options: {listing(known)}"
                                 f"{did_you_mean(option, known)}")

    def __str__(self) -> str:
        return "linear by " + ", ".join(f"{t:+g} under {o}" for o, t in self.totals) + _rest(self.over, self.responses)


def _ramp(size: int, over: float | None) -> np.ndarray:
    return np.minimum(np.arange(size) / max((size if over is None else over) - 1, 1), 1.0)


def _rest(over: float | None, responses: tuple[str, ...] | None) -> str:
    return (f" over {over:g} patients" if over else "") + (f" on {', '.join(responses)}" if responses else "")


def latest(study: Study, response: str) -> Decision:
    """The decision before a response."""
    return next(n for n in reversed(study.before(response)) if isinstance(n, Decision))


