"""Dropping arms that are unlikely to be the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from .naming import check_looks, check_thresholds, probability, shown_threshold, which_looks, yes_or_no
from .rule import DroppingRule, LookState, Threshold, at_look
from .safety import kept_one


@dataclass(frozen=True, init=False)
class DropWorst(DroppingRule):
    """Close every arm whose probability of being the best is below a threshold.

    Parameters
    ----------
    threshold : float or sequence of float
        One, or one for each look.
    at : str, optional
        The decision whose options are dropped; by default the first.
    keep : str, optional
        An option that is never dropped, a control.
    iterate : bool, default True
        Work out the probabilities anew among those left until none is below the threshold.
    looks : sequence of int, optional
        Looks, counted from 1, at which arms may be dropped.

    Notes
    -----
    With one decision the probability is that of being best among the open arms; with several it is that of starting the best course, averaged
    over the enrolled patients' histories with the same feasible set, and an option that is in several sets is dropped when it is below in all.
    """

    threshold: Threshold
    at: str | None
    keep: str | None
    iterate: bool
    looks: tuple[int, ...] | None

    def __init__(self, threshold: float | Sequence[float], *, at: str | None = None, keep: str | None = None, iterate: bool = True,
                 looks: Sequence[int] | None = None):
        for what, name in (("at", at), ("keep", keep)):
            if name is not None and not isinstance(name, str):
                raise TrialError(f"DropWorst: {what} takes the name of {'a decision' if what == 'at' else 'an option'}, got {name!r}.")
        for field, value in (("threshold", probability(threshold, "DropWorst")), ("at", at), ("keep", keep),
                             ("iterate", yes_or_no(iterate, "DropWorst: iterate")), ("looks", which_looks(looks, "DropWorst"))):
            object.__setattr__(self, field, value)

    def check(self, study: Study, looks: int) -> None:
        """Raise `TrialError` for an unknown decision or option, or thresholds that do not suit the looks."""
        check_thresholds(self.threshold, looks, "DropWorst")
        check_looks(self.looks, looks, "DropWorst")
        names = [d.name for d in study.decisions]
        if self.at is not None and self.at not in names:
            raise TrialError(f"DropWorst: at names {self.at!r}; decisions: {listing(names)}{did_you_mean(self.at, names)}")
        options = study.decisions[self._decision(study)].options
        if self.keep is not None and self.keep not in options:
            raise TrialError(f"DropWorst: keep names {self.keep!r}; options: {listing(options)}{did_you_mean(self.keep, options)}")
        most = max(len(s) for s in study.decisions[self._decision(study)].sets)
        if np.max(self.threshold) >= 1 / most:
            raise TrialError(f"DropWorst: a threshold of {np.max(self.threshold):g} would drop even one of {most} options that are all alike; "
                             f"take less than 1/{most}.")

    def _decision(self, study: Study) -> int:
        return 0 if self.at is None else [d.name for d in study.decisions].index(self.at)

    def dropped(self, state: LookState) -> np.ndarray:
        """Arms to be closed, shape (trial, arm)."""
        none = np.zeros(state.active.shape, dtype=bool)
        if self.looks is not None and state.look + 1 not in self.looks:
            return none
        k = self._decision(state.study)
        arms, decision = state.layout.arms_of(k), state.study.decisions[k]
        threshold = at_look(self.threshold, state.look)
        open_ = state.active[:, arms].copy()
        merit = np.zeros(state.active.shape)
        while True:
            p = self._p_best(state, k, open_)
            merit[:, arms] = np.where(open_, p, merit[:, arms])
            out = open_ & (p < threshold)
            if self.keep is not None:
                out[:, decision.options.index(self.keep)] = False
            open_ &= ~out
            if not self.iterate or not out.any():
                break
        none[:, arms] = state.active[:, arms] & ~open_
        return kept_one(state, none, merit)

    def _p_best(self, state: LookState, k: int, open_: np.ndarray) -> np.ndarray:
        """Probability of starting best, the largest over the feasible sets that an option is in, shape (trial, option)."""
        decision = state.study.decisions[k]
        if len(state.study.decisions) == 1 and len(decision.sets) == 1:
            return state.values.p_best(open_)[0]
        found = np.full(open_.shape, -1.0)
        for options in decision.sets:
            mask = np.array([o in options for o in decision.options])
            if mask.sum() < 2:
                found[:, mask] = np.maximum(found[:, mask], 1.0)
                continue
            p = state.posterior.marginal(k, mask).p_best(open_ & mask)[0]
            found[:, mask] = np.maximum(found[:, mask], p[:, mask])
        return found

    def text(self) -> str:
        """The rule in words."""
        return f"drop arms{'' if self.at is None else f' of {self.at}'} with P(best) < {shown_threshold(self.threshold)}"
