"""Patients who leave, and patients who take something else than assigned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from .reading import not_negative
from .reading import probability as probability_of

OTHER = "other"


@dataclass(frozen=True, init=False)
class Dropout:
    """Patients who leave before the end: later responses are never known and later decisions never made, whatever the treatment.

    Parameters
    ----------
    rate : float, optional
        Per unit of time: the time from enrolment to leaving is exponential, and a patient's follow-up is over when it leaves.
    probability : float or mapping of decision to float, optional
        Instead: the probability, for those still there at a decision, of leaving before any response to it. Follow-up is over when the
        last of them would have been known.
    """

    rate: float | None
    probability: tuple[tuple[str, float], ...] | float | None

    def __init__(self, rate: float | None = None, *, probability: Any = None):
        if (rate is None) == (probability is None):
            raise TrialError("Dropout takes rate= (per unit of time) or probability= (at each decision), exactly one of them.")
        object.__setattr__(self, "rate", None if rate is None else not_negative(rate, "Dropout: the rate"))
        if isinstance(probability, Mapping):
            given: Any = tuple((str(d), _chance(p, f"Dropout: that after {d!r}")) for d, p in probability.items())
        else:
            given = None if probability is None else _chance(probability, "Dropout: that of leaving")
        object.__setattr__(self, "probability", given)

    def chances(self, study: Study) -> np.ndarray:
        """Probability of leaving after each decision, shape (decision,)."""
        if isinstance(self.probability, tuple):
            return np.array([dict(self.probability).get(d.name, 0.0) for d in study.decisions])
        return np.full(len(study.decisions), self.probability or 0.0)

    def check(self, study: Study) -> None:
        """Raise `TrialError` for a decision that the study does not have."""
        names = [d.name for d in study.decisions]
        for name, _ in self.probability if isinstance(self.probability, tuple) else ():
            if name not in names:
                raise TrialError(f"Dropout: no decision {name!r}; decisions: {listing(names)}{did_you_mean(name, names)}")

    def __str__(self) -> str:
        if self.rate is not None:
            return f"{self.rate:g} per unit of time"
        if not isinstance(self.probability, tuple):
            return f"{self.probability:g} after each decision"
        return ", ".join(f"{p:g} after {d}" for d, p in self.probability)


def _chance(value: Any, what: str) -> float:
    if (p := probability_of(value, what)) == 1:
        raise TrialError(f"{what} is 1, so that nobody would be left.")
    return p


@dataclass(frozen=True, init=False)
class Adherence:
    """Patients who do not take what they are assigned to, by chance alone.

    Parameters
    ----------
    probability : mapping of decision to float, or to mapping of option to float
        Probability that a patient assigned to an option takes it; 1 where none is named.
    instead : str, default "other"
        What the others take: an option by name (patients assigned to it always adhere), or ``"other"``, each of the options feasible
        beside the assigned one with equal probabilities.

    Notes
    -----
    Responses follow what was taken; feasible options, analyses and the true values of regimes follow what was assigned (treatment policy).
    """

    probability: tuple[tuple[str, Any], ...]
    instead: str

    def __init__(self, probability: Mapping[str, Any], *, instead: str = OTHER):
        if not isinstance(probability, Mapping) or not probability:
            raise TrialError(f"Adherence takes a mapping of decisions to probabilities, for example {{'arm': 0.9}}, got {probability!r}.")
        read = []
        for name, given in probability.items():
            if isinstance(given, Mapping):
                given = tuple((str(o), probability_of(p, f"Adherence: that of {o!r}")) for o, p in given.items())
            else:
                given = probability_of(given, f"Adherence: that at {name!r}")
            read.append((str(name), given))
        object.__setattr__(self, "probability", tuple(read))
        object.__setattr__(self, "instead", instead)

    def check(self, study: Study) -> None:
        """Raise `TrialError` for unknown decisions and options."""
        names = {d.name: d.options for d in study.decisions}
        for name, given in self.probability:
            if name not in names:
                raise TrialError(f"Adherence: no decision {name!r}; decisions: {listing(names)}{did_you_mean(name, names)}")
            for option in (o for o, _ in given) if isinstance(given, tuple) else ():
                if option not in names[name]:
                    raise TrialError(f"Adherence: no option {option!r} at {name!r}; options: {listing(names[name])}"
                                     f"{did_you_mean(option, names[name])}")
            if self.instead != OTHER and self.instead not in names[name]:
                raise TrialError(f"Adherence: instead={self.instead!r} is neither 'other' nor an option of {name!r}; "
                                 f"options: {listing(names[name])}"
                                 f"{did_you_mean(self.instead, names[name])}")

    def taken(self, study: Study) -> dict[str, np.ndarray]:
        """Probability of taking each option, for those assigned to each, by decision, shape (assigned, taken)."""
        return {name: self._of(study, name, given) for name, given in self.probability}

    def _of(self, study: Study, name: str, given: Any) -> np.ndarray:
        decision = next(d for d in study.decisions if d.name == name)
        options = decision.options
        table = np.eye(len(options))
        for j, option in enumerate(options):
            p = dict(given).get(option, 1.0) if isinstance(given, tuple) else given
            if self.instead == OTHER:
                sets = {tuple(s) for s in decision.sets if option in s}
                others = [options.index(o) for o in dict.fromkeys(o for s in sets for o in s) if o != option]
                if len(sets) > 1 and p < 1:
                    raise TrialError(f"Adherence: {option!r} of {name!r} belongs to several feasible sets, so 'other' has no one meaning; "
                                     "name an option, instead=...")
            else:
                others = [i for i in [options.index(self.instead)] if i != j]
            if others:
                table[j, j] = p
                table[j, others] = (1 - p) / len(others)
        return table

    def __str__(self) -> str:
        shown = [f"{name} {given:g}" if isinstance(given, float) else f"{name} (" + ", ".join(f"{o} {p:g}" for o, p in given) + ")"
                 for name, given in self.probability]
        return f"{'; '.join(shown)}; the rest take {'another feasible option' if self.instead == OTHER else self.instead}"



