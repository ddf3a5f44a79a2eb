"""Thompson randomization: each option with the probability that it is best."""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TrialError
from ...study import Study
from ...study.rules import embedded_regimes
from . import sequences
from .blocks import options_of
from .bounds import bounded, bounds_text, check_bounds, check_fields, number, one_of
from .rule import AllocationRule, Situation
from .shares import tempered, with_control
from .simple import choices_of, refuse_unknown

GROWING = "n/2N"
LEVELS = ("stage", "sequence", "hierarchical")
PROTECT = ("sqrt-K", "matched")

Power = float | str | Callable[[int, int], float]
"""A number, "n/2N", or a function of the patients randomized so far and the largest number."""


@dataclass(frozen=True, init=False)
class Thompson(AllocationRule):
    """Each option with the posterior probability that it starts best, tempered and kept within bounds.

    Parameters
    ----------
    power : float, "n/2N" or callable, default 1
        The probabilities are raised to it and made to sum to 1: 1 leaves them, 0 makes them equal. "n/2N" grows from 0 to 1/2 with the patients
        randomized at baseline; a function takes their number and the largest number and returns the power.
    floor : float, default 0
        Least probability of a feasible option.
    floor_rule : {"affine", "clip", "iterative"}
        ``floor + (1 - K floor) p``, which holds exactly; plain clipping to ``[floor, 1 - floor]`` for two options; or options below the floor set to
        it and the rest shared among the others in proportion, until none is below.
    ceiling : float, optional
        Largest probability of an option where there is a choice; what is cut off goes to the others in proportion to what they have above the floor.
    control : str, optional
        The option that `protect` is about.
    protect : {"sqrt-K", "matched"}, optional
        With K experimental options, "sqrt-K" assigns the control with probability ``1 / (1 + sqrt(K))``; "matched" as often as the experimental
        option with the most, so that its numbers keep pace with the leading arm's. The experimental options compete with one another alone.
    level : {"stage", "sequence", "hierarchical"}
        "stage" re-randomizes at every decision by its own probabilities; "sequence" draws a whole embedded regime at baseline by the probability that
        it is the best regime; "hierarchical" takes the probability that an option starts the best embedded regime at the first decision, and goes on
        as "stage".
    contextual : bool, default True
        Probabilities for each patient's own history; otherwise for the average history with the same feasible set.

    Notes
    -----
    The probabilities are the posterior's (by quadrature, or averages over fixed points), never single draws, and are stored for every patient.
    Tempering and ``n / 2N`` are those of Thall and Wathen (2007), Eur J Cancer 43:859, where n is the number randomized at baseline, at every stage.
    A control matched to the best arm goes back to Trippa et al. (2012), J Clin Oncol 30:3258, whose rule looks at numbers of patients; here
    probabilities are matched, ``p_control = max p_a``, so that it is free of the luck of earlier draws. sqrt(K) : 1 is Dunnett's (1955) rule.

    Examples
    --------
    >>> Thompson(power=0.5, floor=0.1)
    """

    power: Power
    floor: float
    floor_rule: str
    ceiling: float | None
    control: str | None
    protect: str | None
    level: str
    contextual: bool

    def __init__(self, power: Power = 1.0, *, floor: float = 0.0, floor_rule: str = "affine", ceiling: float | None = None,
                 control: str | None = None, protect: str | None = None, level: str = "stage", contextual: bool = True):
        floor, floor_rule, ceiling = check_fields("Thompson", floor, floor_rule, ceiling)
        if protect is not None:
            one_of(protect, PROTECT, "Thompson: protect")
        if (protect is None) != (control is None):
            raise TrialError("Thompson: control= names the option that protect= ('sqrt-K' or 'matched') is about; give both or neither.")
        if protect is not None and (floor_rule != "affine" or ceiling is not None or level == "sequence"):
            raise TrialError(f"Thompson: protect={protect!r} goes with an affine floor, without ceiling=, and not with level='sequence'.")
        if not isinstance(contextual, bool):
            raise TrialError(f"Thompson: contextual is True or False, got {contextual!r}.")
        for field, value in (("power", _power(power)), ("floor", floor), ("floor_rule", floor_rule), ("ceiling", ceiling), ("control", control),
                             ("protect", protect), ("level", one_of(level, LEVELS, "Thompson: level")), ("contextual", contextual)):
            object.__setattr__(self, field, value)

    @property
    def draws_regimes(self) -> bool:
        """Whether a whole regime is drawn at baseline."""
        return self.level == "sequence"

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` where floor or ceiling cannot be kept, the control is unknown, or whole regimes cannot be drawn at baseline."""
        if callable(self.power):
            power_of(self.power, np.array([0, 50, 100]), 100)
        if self.control is not None:
            refuse_unknown({self.control: 1}, options_of(study, decision), decision, "Thompson(control=...)")
        if self.level == "sequence":
            self._check_regimes(study)
        else:
            check_bounds(study, decision, "Thompson", self.floor, self.floor_rule, self.ceiling)
            for options in choices_of(study, decision) if self.protect == "sqrt-K" else ():
                count = len(options) - 1
                if self.control in options and self.floor * count > 1 - 1 / (1 + np.sqrt(count)) + 1e-12:
                    raise TrialError(f"Thompson: floor={self.floor:g} for {count} experimental options of {decision!r} is more than protect='sqrt-K' "
                                     f"leaves them, {1 - 1 / (1 + np.sqrt(count)):.4g} in all.")

    def _check_regimes(self, study: Study) -> None:
        regimes = embedded_regimes(study)
        covariates = {b.name for b in study.baselines}
        seen = {v for r in regimes for _, branches in r.decisions for c, _ in branches for v in c.variables}
        if found := sorted(seen & covariates):
            raise TrialError(f"Thompson(level='sequence') draws a whole regime at baseline, and the embedded regimes depend on covariate "
                             f"{found[0]!r}; take level='stage' or leave the covariate out of tailoring= and of the feasible sets.")
        for bound, wrong, side in ((self.floor, self.floor * len(regimes) > 1 + 1e-12, "above"),
                                   (self.ceiling, self.ceiling is not None and self.ceiling * len(regimes) < 1 - 1e-12, "below")):
            if wrong:
                raise TrialError(f"Thompson(level='sequence'): a bound of {bound:g} times the {len(regimes)} embedded regimes is {side} 1; "
                                 "the bounds are those of the regimes.")
        if self.floor_rule == "clip" and len(regimes) > 2:
            raise TrialError(f"Thompson(level='sequence'): floor_rule='clip' is for two, and there are {len(regimes)} regimes; take 'affine'.")

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        here, place = situation.distinct()
        return self._distinct(here)[place]

    def _distinct(self, situation: Situation) -> np.ndarray:
        if self.level == "sequence":
            return self._followed(situation)
        control = None if self.control is None else self._control(situation)
        if self.level == "hierarchical" and situation.decision == 0:
            p = self._starting(situation)
        else:
            p = situation.p_best(not self.contextual, None if control is None else experimental(situation.feasible, control))
        return self.from_best(p, situation.feasible, situation.recruited, situation.size, control)

    def from_best(self, p: np.ndarray, feasible: np.ndarray, recruited: np.ndarray, size: int, control: int | None = None) -> np.ndarray:
        """Allocation probabilities from probabilities of being best, shape (m, option): tempered, floored, capped, the control protected.

        Parameters
        ----------
        p : array, shape (m, option)
            Under a protected control, of being best among the others.
        feasible : array of bool, shape (m, option)
        recruited : array of int, shape (m,)
        size : int
        control : int, optional
            Code of the control where it is protected.
        """
        among = feasible if control is None else experimental(feasible, control)
        share = tempered(p, power_of(self.power, recruited, size), among)
        if self.protect is None or control is None:
            return bounded(share, self.floor, self.floor_rule, self.ceiling, feasible)
        return with_control(share, control, self.protect, self.floor, feasible)

    def regime_probabilities(self, situation: Situation) -> np.ndarray:
        """Probabilities with which a whole regime is drawn for each patient at baseline, shape (m, regime)."""
        p, active = self._best_regimes(situation)
        c = power_of(self.power, situation.recruited, situation.size)
        return bounded(tempered(p, c, active), self.floor, self.floor_rule, self.ceiling, active)

    def text(self) -> str:
        """The rule in words."""
        power = f"power {self.power:g}" if isinstance(self.power, float) else f"power {self.power}" if isinstance(self.power, str) else "own power"
        words = ["Thompson" if self.power == 1 else f"Thompson, {power}", bounds_text(self.floor, self.floor_rule, self.ceiling)]
        words.append("" if self.protect is None else f", {self.control} protected ({self.protect})")
        words.append({"stage": "", "sequence": ", whole regimes", "hierarchical": ", by the best regime first"}[self.level])
        return "".join([*words, "" if self.contextual else ", average history"])

    def _name(self, situation: Situation) -> str:
        return situation.study.decisions[situation.decision].name

    def _control(self, situation: Situation) -> int:
        return options_of(situation.study, self._name(situation)).index(str(self.control))

    def _best_regimes(self, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        """P(best) among the regimes that are open, and which those are, both (m, regime)."""
        trials, first, back = np.unique(situation.trial, return_index=True, return_inverse=True)
        values = situation.posterior.regimes().take(trials)
        active = np.ones(values.shape, dtype=bool) if situation.regimes is None else situation.regimes[first]
        return values.p_best(active)[0][back.reshape(-1)], active[back.reshape(-1)]

    def _starting(self, situation: Situation) -> np.ndarray:
        p, _ = self._best_regimes(situation)
        regimes = embedded_regimes(situation.study)
        names = sequences.named(situation.study, 0, regimes, situation.columns, len(p))
        return sequences.starting(p, names, situation.feasible.shape[1])

    def _followed(self, situation: Situation) -> np.ndarray:
        weights = situation.weights
        if weights is None:
            if situation.decision > 0:
                raise TrialError("Thompson(level='sequence'): later decisions follow the regime drawn at baseline, and Situation.weights is missing.")
            weights = self.regime_probabilities(situation)
        return sequences.conditional_on_history(weights, situation.study, situation.decision, embedded_regimes(situation.study), situation.columns,
                                                situation.feasible)


def experimental(feasible: np.ndarray, control: int) -> np.ndarray:
    """Feasible options without the control; with it where it stands alone, shape (m, option)."""
    among = feasible.copy()
    among[:, control] = False
    return np.where(among.any(axis=1, keepdims=True), among, feasible)


def power_of(power: Power, recruited: np.ndarray, size: int) -> np.ndarray:
    """The power in force for each patient, shape (m,).

    Parameters
    ----------
    power : float, "n/2N" or callable
    recruited : array of int, shape (m,)
        Patients randomized at baseline by the look in force.
    size : int

    Raises
    ------
    TrialError
        Where a function returns what is no number of at least 0.
    """
    if isinstance(power, str):
        return np.asarray(recruited) / (2 * size)
    if not callable(power):
        return np.full(len(recruited), float(power))
    counts, place = np.unique(recruited, return_inverse=True)
    found = [power(int(n), size) for n in counts]
    for n, value in zip(counts, found, strict=True):
        if not _is_power(value):
            raise TrialError(f"Thompson: power({n}, {size}) returned {value!r}; it must be a number of at least 0.")
    return np.array(found, dtype=float)[place.reshape(-1)]


def _is_power(value: Any) -> bool:
    sound = not isinstance(value, bool) and isinstance(value, numbers.Real)
    return sound and math.isfinite(value) and float(value) >= 0


def _power(value: Any) -> Power:
    if callable(value):
        return value  # type: ignore[return-value]  # what it returns is checked wherever it is asked
    if isinstance(value, str):
        if value.replace(" ", "") != GROWING:
            raise TrialError(f"Thompson: power is a number, 'n/2N' or a function of n and N, got {value!r}.")
        return GROWING
    return number(value, "Thompson: power", 0, np.inf)
