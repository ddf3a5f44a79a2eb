"""Safety gates: options that are removed where harm is too likely, or benefit too unlikely, by the posterior."""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import StudyError, did_you_mean, listing
from .conditions import Level
from .survival import Survival
from .timeline import Decision, finite_values, labels_of

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True, init=False)
class SafetyGate:
    """An option is removed for a patient where the expected response to it is, too probably, beyond a limit.

    ``SafetyGate("toxicity", above=0.3, probability=0.2)`` removes an option where the posterior probability that its toxicity rate exceeds
    0.3 is more than 0.2; ``SafetyGate("relief", below=0.4, probability=0.9)`` removes one that almost surely relieves too rarely.

    Parameters
    ----------
    response : str
        The gate holds at the decision that the response follows: it looks at the response's mean given the patient's history and the
        option, averaged over responses in between.
    above, below : float
        The limit, one of the two; of a rate, between 0 and 1.
    probability : float
        In (0, 1): more than this much posterior probability beyond the limit removes the option.
    levels : sequence, optional
        Of a response with finitely many values: what is limited is the probability of these. Labelled responses need it.

    Raises
    ------
    StudyError

    Notes
    -----
    Both limits of the rule ``P(rate > limit | data) > probability`` are chosen in advance, by those who answer for the patients.
    The form is that of the admissible sets of dose-finding trials (Thall and Cook, Biometrics 2004;60:684).
    """

    response: str
    above: float | None
    below: float | None
    probability: float
    levels: tuple[Level, ...] | None

    def __init__(
        self, response: str, *, probability: float, above: float | None = None, below: float | None = None, levels: Sequence[Level] | None = None
    ):
        if not isinstance(response, str):
            raise StudyError(f"SafetyGate takes the name of a response first, got {response!r}.")
        what = f"SafetyGate of {response!r}"
        if (above is None) == (below is None):
            raise StudyError(f"{what} takes one limit, above= or below=, got {'neither' if above is None else 'both'}; give a gate for each.")
        limit = above if above is not None else below
        for name, value in (("limit", limit), ("probability", probability)):
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise StudyError(f"{what}: the {name} must be a finite number, got {value!r}.")
        if not 0 < probability < 1:
            raise StudyError(f"{what}: probability must lie between 0 and 1, got {probability!r}.")
        if isinstance(levels, str):
            raise StudyError(f"{what}: levels needs a list, for example [{levels!r}].")
        put = {"response": response, "above": None if above is None else float(above), "below": None if below is None else float(below),
               "probability": float(probability), "levels": None if levels is None else tuple(levels)}
        for name, value in put.items():
            object.__setattr__(self, name, value)

    @property
    def limit(self) -> float:
        """The limit, whichever side it bounds."""
        return self.above if self.above is not None else self.below  # type: ignore[return-value]

    @property
    def label(self) -> str:
        """What must not be too probable: ``toxicity > 0.3``."""
        what = self.response if self.levels is None else f"P({self.response} {'in' if len(self.levels) > 1 else '='} {listing(self.levels)})"
        return f"{what} {'>' if self.above is not None else '<'} {self.limit:g}"

    def __str__(self) -> str:
        return f"an option is removed where P({self.label}) > {self.probability:g}"

    def decision(self, study: "Study") -> Decision:
        """The decision at which it holds."""
        return study.decisions[study.stage(self.response) - 1]

    def check(self, study: "Study") -> None:
        """Raise where it does not fit a study."""
        names = [r.name for r in study.responses]
        if self.response not in names:
            raise StudyError(f"SafetyGate names {self.response!r}; responses: {listing(names)}{did_you_mean(self.response, names)}")
        node, what = study[self.response], f"SafetyGate of {self.response!r}"
        if isinstance(getattr(node, "family", None), Survival):
            raise StudyError(f"{what}: a time has no mean that anybody was followed through; gate a response that says whether harm was done.")
        values = finite_values(node)
        if self.levels is None and labels_of(node) is not None:
            raise StudyError(f"{what}: it has labels, not numbers; say which are to be rare: levels=[{labels_of(node)[-1]!r}].")  # type: ignore[index]
        for level in self.levels or ():
            if values is None or level not in values:
                allowed = "the response has no finite list of values" if values is None else f"values: {listing(values)}"
                raise StudyError(f"{what}: no level {level!r}; {allowed}.")
        rate = self.levels is not None or values == (0, 1)
        if rate and not 0 <= self.limit <= 1:
            raise StudyError(f"{what}: the limit of a rate lies between 0 and 1, got {self.limit:g}.")


@dataclass(frozen=True)
class Safety:
    """Gates, and what is done where they leave nothing.

    Attributes
    ----------
    gates : tuple of SafetyGate
    defaults : tuple of (decision, option)
        The option taken where every feasible one is removed; it is not gated itself.
    """

    gates: tuple[SafetyGate, ...]
    defaults: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, study: "Study", gates: Any, defaults: Any) -> "Safety | None":
        """From what a user types; None without gates.

        Raises
        ------
        StudyError
        """
        if not isinstance(gates, SafetyGate | list | tuple | None):
            raise StudyError(f"safety takes SafetyGate(...), one or a list, got {gates!r}.")
        listed = [gates] if isinstance(gates, SafetyGate) else list(gates or ())
        if defaults is not None and not isinstance(defaults, Mapping):
            raise StudyError(f"default takes a mapping of decisions to options, got {defaults!r}.")
        if not listed:
            if defaults:
                raise StudyError("default says what is done where safety gates leave no option; give safety=[SafetyGate(...)] too.")
            return None
        for gate in listed:
            if not isinstance(gate, SafetyGate):
                raise StudyError(f"safety takes SafetyGate(...), one or a list, got {gate!r}.")
            gate.check(study)
        names = [d.name for d in study.decisions]
        for name, option in (defaults or {}).items():
            if name not in names:
                raise StudyError(f"default names {name!r}; decisions: {listing(names)}{did_you_mean(name, names)}")
            options = study.decisions[names.index(name)].options
            if option not in options:
                raise StudyError(f"default names {option!r} at {name!r}; options: {listing(options)}{did_you_mean(option, options)}")
        return cls(tuple(listed), tuple((defaults or {}).items()))

    def at(self, study: "Study", decision: str) -> tuple[SafetyGate, ...]:
        """The gates that hold at a decision."""
        return tuple(g for g in self.gates if g.decision(study).name == decision)

    def __str__(self) -> str:
        shield = [f"where none is left at {d!r}, {o}" for d, o in self.defaults]
        return "; ".join([*map(str, self.gates), *shield])
