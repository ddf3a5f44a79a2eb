"""When patients come and when their responses are known."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from ..luck import uniforms
from .accrual import Accrual, PiecewiseAccrual, PoissonAccrual, Steady
from .delays import Delay, ExponentialDelay, FixedDelay, QuantileDelay, UniformDelay, read_delay
from .functions import Function

__all__ = ["Accrual", "Calendar", "Delay", "ExponentialDelay", "FixedDelay", "PiecewiseAccrual", "PoissonAccrual", "QuantileDelay", "Schedule",
           "Steady", "UniformDelay"]

EVERY = "*"
"""Stands for every response among the delays."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Times of a batch of trials' patients who stay to the end.

    Attributes
    ----------
    enrolled : array, shape (trial, patient)
    decided : array, shape (trial, patient, decision)
    answered : array, shape (trial, patient, response)
    """

    enrolled: np.ndarray
    decided: np.ndarray
    answered: np.ndarray


@dataclass(frozen=True, init=False)
class Calendar:
    """Accrual and delays of a trial; by default one patient a unit of time, responses known at once.

    Parameters
    ----------
    accrual : Steady, PoissonAccrual or PiecewiseAccrual, optional
        When patients come.
    delays : float, Delay, function, or mapping of response to these, optional
        Time from a response's decision to when the response is known; one for all or one for each, 0 where none is named. A function
        goes from probabilities to delays. A patient's next decision is made when all responses before it are known.
    unit : str, default "month"
        What times are counted in, for tables.

    Notes
    -----
    Times never depend on treatment or on outcomes.
    """

    accrual: Accrual
    delays: tuple[tuple[str, Delay], ...]
    unit: str

    def __init__(self, accrual: Accrual | None = None, delays: Any = None, unit: str = "month"):
        if accrual is not None and not isinstance(accrual, Accrual):
            hint = f"; write Steady({accrual!r}) for equal intervals" if isinstance(accrual, (int, float)) else ""
            raise TrialError(f"Calendar: accrual is Steady(rate), PoissonAccrual(rate) or PiecewiseAccrual([...]), got {accrual!r}{hint}.")
        if not isinstance(unit, str) or not unit.strip():
            raise TrialError(f"Calendar: unit names what times are counted in, for example 'week', got {unit!r}.")
        given = delays if isinstance(delays, Mapping) else {} if delays is None else {EVERY: delays}
        read = tuple((str(n), read_delay(d, "Calendar: a delay" if n == EVERY else f"Calendar: the delay of {n!r}")) for n, d in given.items())
        object.__setattr__(self, "accrual", accrual or Steady(1.0))
        object.__setattr__(self, "delays", read)
        object.__setattr__(self, "unit", unit)

    def check(self, study: Study) -> None:
        """Raise `TrialError` where the calendar does not fit a study."""
        names = [r.name for r in study.responses]
        for name, _ in self.delays:
            if name != EVERY and name not in names:
                raise TrialError(f"Calendar: delays names {name!r}, which is no response; responses: {listing(names)}{did_you_mean(name, names)}")

    def delay(self, response: str) -> Delay:
        """The delay in force for a response."""
        known = dict(self.delays)
        return known.get(response, known.get(EVERY, FixedDelay(0.0)))

    def schedule(self, study: Study, seed: int, replicates: np.ndarray, size: int) -> Schedule:
        """Times of all patients of some replicates.

        Parameters
        ----------
        study : Study
        seed : int
        replicates : array of int, shape (trial,)
        size : int

        Returns
        -------
        Schedule
        """
        enrolled = self.accrual.times(seed, replicates, size)
        trials = len(replicates)
        decided = np.empty((trials, size, len(study.decisions)))
        answered = np.empty((trials, size, len(study.responses)))
        now = enrolled
        for k, decision in enumerate(study.decisions):
            decided[:, :, k] = begin = now
            for response in study.after(decision.name):
                j = study.responses.index(response)
                answered[:, :, j] = begin + self._drawn(response.name, seed, replicates, size)
                now = np.maximum(now, answered[:, :, j])
        return Schedule(enrolled, decided, answered)

    def _drawn(self, response: str, seed: int, replicates: np.ndarray, size: int) -> np.ndarray | float:
        delay = self.delay(response)
        if isinstance(delay, FixedDelay):
            return delay.length
        return delay.quantile(uniforms(seed, replicates, f"delay:{response}", (size,)))

    def description(self) -> dict[str, Any]:
        """Plain data that tell calendars apart, for stores."""
        return {"accrual": plain(self.accrual), "delays": [[n, plain(d)] for n, d in self.delays], "unit": self.unit}

    def text(self) -> str:
        """In words, for tables."""
        known = [f"{'responses' if n == EVERY else n} known after {d.text(self.unit)}" for n, d in self.delays]
        return "; ".join([self.accrual.text(self.unit), *(known or ["responses known at once"])])

    def __str__(self) -> str:
        return self.text()


def plain(value: Any) -> Any:
    """A declaration as JSON-able data: what kind it is and its fields, functions by address and digest."""
    if isinstance(value, Function):
        return value.description()
    if hasattr(value, "__dataclass_fields__"):
        return {"kind": type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return None if value is None else str(value) if isinstance(value, float) and not np.isfinite(value) else value
