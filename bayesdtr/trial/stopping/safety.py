"""Safety rules: the rate of a harm under each option of a decision, watched apart from values and allocation."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from ...errors import TrialError, did_you_mean, listing
from ...study import Bernoulli, Response, Study
from .naming import check_thresholds, probability, shown_threshold, yes_or_no
from .rule import DroppingRule, LookState, StoppingRule, Threshold, at_look

PRIOR = (1.0, 1.0)


@dataclass(frozen=True)
class Monitor:
    """The rate of a yes/no response under the options of the decision before it.

    Attributes
    ----------
    response : str
    above : float
        The highest rate that is allowed.
    prior : (float, float)
        Of a Beta law of each option's rate.

    Notes
    -----
    ``P(rate > above | y of n) = 1 - I_above(a + y, b + n - y)`` over all patients assigned to an option whose response is known (Thall and Simon
    1994, Biometrics 50:337). It asks no model and borrows nothing.
    """

    response: str
    above: float
    prior: tuple[float, float] = PRIOR

    def check(self, study: Study, what: str) -> None:
        """Raise `TrialError` unless the response is a yes/no one of the study."""
        names = [r.name for r in study.responses]
        if self.response not in names:
            raise TrialError(f"{what}: no response {self.response!r}; responses: {listing(names)}{did_you_mean(self.response, names)}")
        node = study[self.response]
        if not isinstance(node, Response) or not isinstance(node.family, Bernoulli):
            raise TrialError(f"{what}: {self.response!r} is {node.family!r}; a rate is watched of a Bernoulli() response.")  # type: ignore[union-attr]

    def unsafe(self, state: LookState) -> np.ndarray:
        """Probability that the rate is above the limit, shape (trial, arm); NaN for arms of other decisions."""
        study, layout = state.study, state.layout
        k = study.stage(self.response) - 1
        arms = layout.arms_of(k)
        option, y = state.data.columns[study.decisions[k].name], state.data.columns[self.response]
        known = ~np.isnan(y)
        found = np.full((len(option), len(layout.arms)), np.nan)
        for j, arm in enumerate(range(arms.start, arms.stop)):
            here = known & (option == j)
            n, yes = here.sum(axis=1), np.where(here, y, 0.0).sum(axis=1)
            found[:, arm] = 1 - betainc(self.prior[0] + yes, self.prior[1] + n - yes, self.above)
        return found


def _monitor(response: str, above: float, prior: tuple[float, float], what: str) -> Monitor:
    if not isinstance(response, str):
        raise TrialError(f"{what} takes the name of a response first, got {response!r}.")
    limit = probability(above, f"{what}: above")
    try:
        a, b = (float(v) for v in prior)
    except (TypeError, ValueError):
        raise TrialError(f"{what}: prior is a pair of numbers (a, b) of a Beta law, got {prior!r}.") from None
    if not isinstance(limit, float) or not (a > 0 and b > 0):
        raise TrialError(f"{what}: above is one rate and prior=(a, b) has two numbers above 0, got {above!r} and {prior!r}.")
    return Monitor(response, limit, (a, b))


@dataclass(frozen=True, init=False)
class SafetyStop(StoppingRule):
    """Stop where every open option is probably too harmful.

    Parameters
    ----------
    response : str
        A yes/no response of which yes is a harm.
    above : float
        The highest rate that is allowed.
    probability : float or sequence of float
        Of the rate being above it, to be exceeded by every open option of the decision before the response.
    prior : (float, float), default (1, 1)
    binding : bool, default True
    """

    monitor: Monitor
    threshold: Threshold

    def __init__(self, response: str, *, above: float, probability: float, prior: tuple[float, float] = PRIOR, binding: bool = True):
        object.__setattr__(self, "monitor", _monitor(response, above, prior, "SafetyStop"))
        object.__setattr__(self, "threshold", _threshold(probability, "SafetyStop: probability"))
        object.__setattr__(self, "binding", yes_or_no(binding, "SafetyStop: binding"))

    def check(self, study: Study, looks: int) -> None:
        """Raise `TrialError` unless the response is a yes/no one of the study."""
        self.monitor.check(study, "SafetyStop")
        check_thresholds(self.threshold, looks, "SafetyStop")

    def statistic(self, state: LookState) -> np.ndarray:
        """The smallest probability among open options, shape (trial,)."""
        unsafe = self.monitor.unsafe(state)
        return np.where(state.active & ~np.isnan(unsafe), unsafe, np.inf).min(axis=1)

    def level(self, look: int) -> float:
        """The threshold."""
        return at_look(self.threshold, look)

    def at(self, level: Threshold) -> "SafetyStop":
        """The same rule with another threshold."""
        return self.changed(threshold=probability(level, "SafetyStop: probability"))

    def text(self) -> str:
        """The rule in words."""
        return f"safety: P({self.monitor.response} > {self.monitor.above:g}) > {shown_threshold(self.threshold)} under every option" + (
            "" if self.binding else ", not binding")


@dataclass(frozen=True, init=False)
class DropUnsafe(DroppingRule):
    """Close options that are probably too harmful, whatever their values; even the last one of a decision's options is then worth a `SafetyStop`.

    Parameters are those of :class:`SafetyStop`. The last open option of a feasible set stays open.
    """

    monitor: Monitor
    threshold: Threshold

    def __init__(self, response: str, *, above: float, probability: float, prior: tuple[float, float] = PRIOR):
        object.__setattr__(self, "monitor", _monitor(response, above, prior, "DropUnsafe"))
        object.__setattr__(self, "threshold", _threshold(probability, "DropUnsafe: probability"))

    def check(self, study: Study, looks: int) -> None:
        """Raise `TrialError` unless the response is a yes/no one of the study."""
        self.monitor.check(study, "DropUnsafe")
        check_thresholds(self.threshold, looks, "DropUnsafe")

    def dropped(self, state: LookState) -> np.ndarray:
        """Options above the limit, shape (trial, arm); of a feasible set that would be left empty, the least harmful stays."""
        unsafe = np.nan_to_num(self.monitor.unsafe(state), nan=-1.0)
        drop = state.active & (unsafe > at_look(self.threshold, state.look))
        return kept_one(state, drop, -unsafe)

    def text(self) -> str:
        """The rule in words."""
        return f"drop options with P({self.monitor.response} > {self.monitor.above:g}) > {shown_threshold(self.threshold)}"


def _threshold(value: float, what: str) -> Threshold:
    return probability(value, what)


def kept_one(state: LookState, drop: np.ndarray, merit: np.ndarray) -> np.ndarray:
    """Arms to be dropped, less the one with the most merit of any feasible set that would be left without an open option; shape (trial, arm)."""
    drop = drop.copy()
    for k, decision in enumerate(state.study.decisions):
        arms = state.layout.arms_of(k)
        for options in decision.sets:
            mine = np.array([arms.start + decision.options.index(o) for o in options], dtype=int)
            if not len(mine):
                continue
            left = state.active[:, mine] & ~drop[:, mine]
            empty = ~left.any(axis=1) & state.active[:, mine].any(axis=1)
            best = mine[np.where(state.active[:, mine], merit[:, mine], -np.inf).argmax(axis=1)]
            drop[empty, best[empty]] = False
    return drop
