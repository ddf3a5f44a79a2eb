"""What a stopping rule is: a declaration, a statistic of a look, and the level above which it fires."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Self

import numpy as np

from ...study import Study
from ..analysis.protocol import LookPosterior
from ..analysis.values import Values
from ..layout import Layout
from ..observed import Observed

Threshold = float | tuple[float, ...]
"""One number for all looks, or one per look."""


@dataclass(frozen=True, eq=False)
class LookState:
    """A batch of trials at one look, as stopping rules see it.

    Attributes
    ----------
    study : Study
    layout : Layout
    look : int
        From 0.
    values : Values
        Of the embedded regimes, batch = trials.
    active : array of bool, shape (trial, arm)
    regimes : array of bool, shape (trial, regime)
        Regimes all of whose arms are active.
    posterior : LookPosterior
    data : Observed
    recruited, known : array of int, shape (trial,)
    remaining : array of int, shape (trial,)
        Outcomes yet to come if the trial went on to its largest size, pending ones included.
    replicates : array of int, shape (trial,)
    """

    study: Study
    layout: Layout
    look: int
    values: Values
    active: np.ndarray
    regimes: np.ndarray
    posterior: LookPosterior
    data: Observed
    recruited: np.ndarray
    known: np.ndarray
    remaining: np.ndarray
    replicates: np.ndarray

    def take(self, trials: np.ndarray) -> "LookState":
        """Some of the trials, by index; the posterior stays that of all."""
        numbers = (self.recruited[trials], self.known[trials], self.remaining[trials], self.replicates[trials])
        data = self.data if self.data is None else self.data.take(trials)
        return LookState(self.study, self.layout, self.look, self.values.take(trials), self.active[trials], self.regimes[trials], self.posterior,
                         data, *numbers)


@dataclass(frozen=True)
class StoppingRule(abc.ABC):
    """Base of the rules that end recruitment.

    All of them fire where `statistic` exceeds `level`; a rule that speaks of a small probability turns it round (1 - p). A rule that is not
    binding is recorded and never acts.
    """

    binding: bool = True
    """Field of every rule; keyword-only in the rules themselves."""

    @property
    def declares(self) -> bool:
        """Whether firing declares regimes superior."""
        return False

    def check(self, study: Study, looks: int) -> None:  # noqa: B027 (a rule may fit everything)
        """Raise `TrialError` where the rule does not fit: an unknown contrast, a threshold outside (0, 1), as many thresholds as looks."""

    @abc.abstractmethod
    def statistic(self, state: LookState) -> np.ndarray:
        """Statistic of each trial, shape (trial,); NaN where the rule does not apply at this look."""

    @abc.abstractmethod
    def level(self, look: int) -> float:
        """What the statistic must exceed."""

    def declared(self, state: LookState) -> np.ndarray:
        """Regimes that the rule declares superior if it fires, shape (trial, regime)."""
        return np.zeros(state.regimes.shape, dtype=bool)

    @abc.abstractmethod
    def at(self, level: Threshold) -> "StoppingRule":
        """The same rule with another threshold on the statistic's scale, as calibration finds it."""

    @abc.abstractmethod
    def text(self) -> str:
        """The rule in words, one line."""

    def changed(self, **fields: Any) -> Self:
        """The same rule with some fields as they are stored, whatever its class is made from."""
        known = {f.name for f in dataclass_fields(self)}
        if not fields.keys() <= known:
            raise TypeError(f"{type(self).__name__} has no {sorted(fields.keys() - known)}")
        made = object.__new__(type(self))
        for name in known:
            object.__setattr__(made, name, fields.get(name, getattr(self, name)))
        return made


@dataclass(frozen=True)
class DroppingRule(abc.ABC):
    """Base of the rules that close arms while the trial goes on. The last active option of a feasible set is never dropped."""

    def check(self, study: Study, looks: int) -> None:  # noqa: B027 (a rule may fit everything)
        """Raise `TrialError` where the rule does not fit."""

    @abc.abstractmethod
    def dropped(self, state: LookState) -> np.ndarray:
        """Arms to be closed at this look, shape (trial, arm)."""

    @abc.abstractmethod
    def text(self) -> str:
        """The rule in words, one line."""


def per_look(threshold: float | Sequence[float]) -> Threshold:
    """A threshold as it is stored."""
    return float(threshold) if np.ndim(threshold) == 0 else tuple(float(t) for t in threshold)  # type: ignore[union-attr, arg-type]


def at_look(threshold: Threshold, look: int) -> float:
    """A threshold at a look."""
    return threshold if isinstance(threshold, float) else threshold[min(look, len(threshold) - 1)]
