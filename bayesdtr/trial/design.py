"""`TrialDesign`: an adaptive trial as a declaration, checked once when it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TrialError, did_you_mean, listing
from ..study import Study
from .allocation import AllocationRule, Equal, check_together
from .analysis import Analysis
from .assignment import BurnIn
from .layout import Layout
from .looks import Looks
from .nature import Calendar
from .stopping import DroppingRule, StoppingRule


@dataclass(frozen=True, init=False)
class TrialDesign:
    """An adaptive trial of any study.

    Parameters
    ----------
    study : Study
        What is decided and observed, and the models and priors that looks are analysed with.
    size : int
        Largest number of patients recruited.
    looks : Looks or sequence of int
        A sequence counts patients recruited. Every design has a final analysis besides, when all follow-up is complete.
    allocation : AllocationRule or mapping of decision to AllocationRule, optional
        One rule for all decisions or one for each; a decision not named is assigned with equal probabilities, which is also the default.
    stopping : sequence of StoppingRule or DroppingRule, optional
        In order of precedence: where several fire at a look, the first counts. Arms are dropped before the others are asked.
    burn_in : int or BurnIn, optional
        The first so many patients to enter are assigned with equal probabilities in permuted blocks, at all their decisions, whatever the rule
        (0: none; before the first look assignments are then equal independent draws). By default all who are assigned before the first look, under
        rules that adapt and under equal ones.
    calendar : Calendar, optional
        Accrual and delays; by default one patient a unit of time, responses known at once.
    analysis : Analysis, optional
        Engine of the looks; by default exact where the study's models are conjugate and Laplace's approximation otherwise.
    minimum : int, optional
        No stopping rule acts before so many patients are recruited.

    Raises
    ------
    TrialError
        When the design cannot be run; the message names the value, what is allowed and what to do.
    """

    study: Study
    size: int
    looks: Looks
    allocation: tuple[tuple[str, AllocationRule], ...]
    stopping: tuple[StoppingRule, ...]
    dropping: tuple[DroppingRule, ...]
    burn_in: BurnIn | None
    calendar: Calendar
    analysis: Analysis
    minimum: int

    def __init__(self, study: Study, *, size: int, looks: Looks | Sequence[int],
                 allocation: AllocationRule | Mapping[str, AllocationRule] | None = None,
                 stopping: Sequence[StoppingRule | DroppingRule] = (), burn_in: int | BurnIn | None = None, calendar: Calendar | None = None,
                 analysis: Analysis | None = None, minimum: int = 0):
        if not isinstance(study, Study):
            raise TrialError(f"TrialDesign needs a Study first, got {study!r}.")
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        put("study", study)
        put("size", _count(size, "size", 1))
        put("looks", looks if isinstance(looks, Looks) else Looks(recruited=looks))
        put("allocation", _allocation(study, allocation))
        if isinstance(stopping, (StoppingRule, DroppingRule)) or not all(isinstance(r, (StoppingRule, DroppingRule)) for r in stopping):
            raise TrialError(f"stopping takes a list of rules, for example [Superiority(0.99)], got {stopping!r}.")
        put("stopping", tuple(r for r in stopping if isinstance(r, StoppingRule)))
        put("dropping", tuple(r for r in stopping if isinstance(r, DroppingRule)))
        put("burn_in", burn_in if burn_in is None or isinstance(burn_in, BurnIn) else BurnIn(_count(burn_in, "burn_in", 0)))
        put("calendar", calendar or Calendar())
        put("analysis", analysis or Analysis())
        put("minimum", _count(minimum, "minimum", 0))
        _check(self)

    @property
    def layout(self) -> Layout:
        """The axes of this design's records."""
        return Layout.of(self.study, tuple(r.text() for r in self.stopping), self.looks.count, self.size)

    def rule(self, decision: str) -> AllocationRule:
        """The allocation rule of a decision."""
        return dict(self.allocation)[decision]

    @property
    def cut(self) -> int:
        """Patients after whom the burn-in may end inside what is a block of enrolment between two looks; 0 where it cannot."""
        first = self.burn_in.patients if self.burn_in else 0
        at_look = self.looks.by == "recruited" and first in self.looks.points
        return first if first < self.size and not at_look else 0

    @property
    def blocks(self) -> int:
        """Most blocks of enrolment: assignments to the first decision have the same probabilities, patients being alike, all through one."""
        return self.looks.count + 1 + (self.cut > 0)

    @property
    def equal(self) -> "TrialDesign":
        """The same trial with equal allocation at every decision: what an adaptive one is compared with."""
        return self._with(allocation=tuple((d.name, Equal()) for d in self.study.decisions))

    @property
    def adaptive(self) -> bool:
        """Whether any assignment looks at outcomes."""
        return any(rule.adaptive for _, rule in self.allocation)

    def __str__(self) -> str:
        from .describe import describe

        return describe(self)

    def _with(self, **changed: Any) -> "TrialDesign":
        made = object.__new__(TrialDesign)
        for name in self.__dataclass_fields__:
            object.__setattr__(made, name, changed.get(name, getattr(self, name)))
        return made

    def open(self, rule: int) -> "TrialDesign":
        """The same trial in which a stopping rule is recorded and never acts."""
        rules = tuple(r.changed(binding=False) if i == rule else r for i, r in enumerate(self.stopping))
        return self._with(stopping=rules)


def _count(value: Any, what: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TrialError(f"{what} takes a whole number of at least {least}, got {value!r}.")
    return value


def _allocation(study: Study, given: Any) -> tuple[tuple[str, AllocationRule], ...]:
    names = [d.name for d in study.decisions]
    if given is None or isinstance(given, AllocationRule):
        return tuple((n, given or Equal()) for n in names)
    if not isinstance(given, Mapping):
        raise TrialError(f"allocation takes a rule such as Thompson(), or a mapping of decisions to rules, got {given!r}.")
    for name, rule in given.items():
        if name not in names:
            raise TrialError(f"allocation names {name!r}, which is no decision; decisions: {listing(names)}{did_you_mean(name, names)}")
        if not isinstance(rule, AllocationRule):
            raise TrialError(f"allocation[{name!r}] takes a rule such as Thompson(), got {rule!r}.")
    return tuple((n, given.get(n, Equal())) for n in names)


def _check(design: TrialDesign) -> None:
    design.looks.check(design.size)
    for what, value in (("burn_in", design.burn_in.patients if design.burn_in else 0), ("minimum", design.minimum)):
        if value > design.size:
            raise TrialError(f"{what}={value} is more than the largest size, {design.size}.")
    design.calendar.check(design.study)
    for name, rule in design.allocation:
        rule.check(design.study, name)
    check_together(dict(design.allocation))
    for rule in (*design.stopping, *design.dropping):
        rule.check(design.study, design.looks.count)
    design.analysis.check(design.study)
