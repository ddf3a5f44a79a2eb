"""Rules about values: superiority, inferiority, futility, equivalence, and the predictive probability of success."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from ...errors import TrialError
from ...study import Study
from .completions import Contest
from .naming import Named, check_looks, check_thresholds, complement, meant, one, probability, shown, shown_threshold, stored, which_looks, yes_or_no
from .predictive import success_by_growth, success_of_arms
from .rule import LookState, StoppingRule, Threshold, at_look

Regime = str | Mapping[str, str]


@dataclass(frozen=True, init=False)
class Contrast(StoppingRule):
    """Base of the rules that compare values; see the rules themselves.

    Attributes
    ----------
    threshold : float or tuple of float
    regime, against : str, tuple or None
    margin : float
        In units of the utility.
    looks : tuple of int or None
    """

    threshold: Threshold
    regime: Named | None
    against: Named | None
    margin: float
    looks: tuple[int, ...] | None

    def __init__(self, threshold: float | Sequence[float], *, regime: Regime | None = None, against: Regime | None = None, margin: float = 0.0,
                 looks: Sequence[int] | None = None, binding: bool = True):
        what = type(self).__name__
        if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not np.isfinite(margin):
            raise TrialError(f"{what}: margin is a difference in utility, got {margin!r}.")
        for field, value in (("threshold", probability(threshold, what)), ("regime", stored(regime, f"{what}: regime")),
                             ("against", stored(against, f"{what}: against")), ("margin", float(margin)),
                             ("looks", which_looks(looks, what)), ("binding", yes_or_no(binding, f"{what}: binding"))):
            object.__setattr__(self, field, value)

    def check(self, study: Study, looks: int) -> None:
        """Raise `TrialError` where the rule names what the study or the design does not have."""
        what = type(self).__name__
        check_thresholds(self.threshold, looks, what)
        check_looks(self.looks, looks, what)
        if self.regime is not None:
            meant(study, self.regime, f"{what}: regime")
        if self.against is not None:
            one(study, self.against, f"{what}: against")

    def applies(self, look: int) -> bool:
        """Whether the rule is asked at a look, counted from 0."""
        return self.looks is None or look + 1 in self.looks

    def level(self, look: int) -> float:
        """The threshold."""
        return at_look(self.threshold, look)

    def at(self, level: Threshold) -> "StoppingRule":
        """The same rule with another threshold."""
        return self.changed(threshold=probability(level, type(self).__name__))

    def contenders(self, state: LookState) -> np.ndarray:
        """Active regimes that the rule is about, those compared with left out; shape (trial, regime)."""
        mask = state.regimes.copy()
        if self.regime is not None:
            mask &= meant(state.study, self.regime, "regime")
        if self.against is not None:
            mask[:, one(state.study, self.against, "against")] = False
        return mask

    def beyond(self, state: LookState, margin: float) -> np.ndarray:
        """``P(value - value of the regime compared with > margin)``, shape (trial, regime)."""
        assert self.against is not None
        reference = np.full(len(state.regimes), one(state.study, self.against, "against"))
        return state.values.exceeds(reference, margin)

    def _when(self, state: LookState, statistic: np.ndarray) -> np.ndarray:
        return statistic if self.applies(state.look) else np.full(len(statistic), np.nan)

    def _by(self) -> str:
        return f" by {self.margin:g}" if self.margin else ""

    def _words(self) -> str:
        who = "" if self.regime is None else f" of {shown(self.regime)}"
        than = "" if self.against is None else f" against {shown(self.against)}"
        return f"{who}{than}"

    def _asked(self) -> str:
        """When it is asked, and whether it acts."""
        when = "" if self.looks is None else f", at look{'s' * (len(self.looks) > 1)} {', '.join(map(str, self.looks))}"
        return when + ("" if self.binding else ", not binding")


class Superiority(Contrast):
    """Stop, and declare superiority, where a regime is probably the best, or probably better than another.

    Parameters
    ----------
    threshold : float or sequence of float
        Probability to be exceeded; one, or one for each look.
    regime : str or mapping, optional
        Of one regime, or of all that have certain options (``{"first": "medication"}``): P(the best is among them). By default of any.
    against : str or mapping, optional
        The regime to be beaten by more than `margin`: an option, a label, all options by decision, or "reference". Without it the
        probability is that of being the best among the active.
    margin : float, default 0
        In units of the utility; goes with `against`.
    looks : sequence of int, optional
        Looks, counted from 1, at which the rule is asked; by default all.
    binding : bool, default True
        False records the statistic and never stops.

    Examples
    --------
    >>> Superiority(0.99)
    >>> Superiority([0.999, 0.99, 0.975], against="control", margin=0.05)
    """

    @property
    def declares(self) -> bool:
        """True."""
        return True

    def check(self, study: Study, looks: int) -> None:
        """Raise `TrialError` where names are unknown, or a margin has nothing to be measured from."""
        super().check(study, looks)
        if self.against is None and self.margin:
            raise TrialError(f"Superiority(margin={self.margin:g}) is measured from against=..., which is not given.")

    def _probability(self, state: LookState) -> np.ndarray:
        """By regime; that of the whole group where the rule is about a group's being best."""
        mask = self.contenders(state)
        if self.against is not None:
            return np.where(mask, self.beyond(state, self.margin), 0.0)
        p = np.where(mask, state.values.p_best(state.regimes)[0], 0.0)
        return p if self.regime is None else np.where(mask, p.sum(axis=1, keepdims=True), 0.0)

    def statistic(self, state: LookState) -> np.ndarray:
        """The largest probability, shape (trial,)."""
        return self._when(state, self._probability(state).max(axis=1))

    def declared(self, state: LookState) -> np.ndarray:
        """Regimes whose probability exceeds the threshold; of a group that is declared, the one with the largest posterior mean."""
        p = self._probability(state)
        found = p > self.level(state.look)
        if self.regime is None or self.against is not None:
            return found
        best = np.where(found, state.values.mean(), -np.inf).argmax(axis=1)
        return found & (np.arange(found.shape[1]) == best[:, None])

    def text(self) -> str:
        """The rule in words."""
        what = "P(best)" if self.against is None else f"P(better{self._by()})"
        return f"superiority: {what}{self._words()} > {shown_threshold(self.threshold)}{self._asked()}"


class Inferiority(Contrast):
    """Stop where every regime left is probably worse than the one compared with.

    Parameters are those of :class:`Superiority`; the rule fires where ``P(value < value of against - margin)`` of each exceeds the threshold. It
    says nothing where no other regime is left.
    """

    def check(self, study: Study, looks: int) -> None:
        """Raise `TrialError` where names are unknown or there is nothing to be inferior to."""
        super().check(study, looks)
        if self.against is None:
            raise TrialError("Inferiority needs against=..., the regime that the others may be worse than; or use DropWorst(...) to close arms.")

    def statistic(self, state: LookState) -> np.ndarray:
        """The smallest probability of being worse, shape (trial,)."""
        mask = self.contenders(state)
        worse = np.where(mask, 1 - self.beyond(state, -self.margin), 1.0)
        return self._when(state, np.where(mask.any(axis=1), worse.min(axis=1), np.nan))

    def text(self) -> str:
        """The rule in words."""
        return f"inferiority: P(worse{self._by()}){self._words()} > {shown_threshold(self.threshold)}{self._asked()}"


class Futility(Contrast):
    """Stop where no regime is likely enough to beat another by a margin.

    Parameters
    ----------
    threshold : float or sequence of float
        The rule fires where ``P(value - value of against > margin)`` of every active regime is below it, and where none is left to beat it.
    against : str or mapping, default "reference"
        The regime to be beaten.
    margin : float, default 0
    regime, looks, binding
        As in :class:`Superiority`.
    """

    def __init__(self, threshold: float | Sequence[float], *, margin: float = 0.0, against: Regime = "reference", regime: Regime | None = None,
                 looks: Sequence[int] | None = None, binding: bool = True):
        super().__init__(threshold, regime=regime, against=against, margin=margin, looks=looks, binding=binding)

    def statistic(self, state: LookState) -> np.ndarray:
        """1 less the largest probability, shape (trial,)."""
        return self._when(state, 1 - np.where(self.contenders(state), self.beyond(state, self.margin), 0.0).max(axis=1))

    def level(self, look: int) -> float:
        """1 less the threshold."""
        return 1 - at_look(self.threshold, look)

    def at(self, level: Threshold) -> "StoppingRule":
        """The same rule with another level of the statistic."""
        return self.changed(threshold=probability(complement(level), "Futility"))

    def text(self) -> str:
        """The rule in words."""
        return f"futility: P(better{self._by()}){self._words()} < {shown_threshold(self.threshold)} for all{self._asked()}"


class Equivalence(Contrast):
    """Stop where all active regimes are probably within a margin of one another.

    Parameters
    ----------
    threshold : float or sequence of float
    margin : float
        Above 0: ``P(largest value - smallest value < margin)`` among the active must exceed the threshold.
    looks, binding
        As in :class:`Superiority`.
    """

    def __init__(self, threshold: float | Sequence[float], *, margin: float, looks: Sequence[int] | None = None, binding: bool = True):
        super().__init__(threshold, margin=margin, looks=looks, binding=binding)
        if not self.margin > 0:
            raise TrialError(f"Equivalence: margin is the largest difference that does not matter, above 0, got {margin!r}.")

    def statistic(self, state: LookState) -> np.ndarray:
        """The probability, shape (trial,); none where a single regime is left."""
        alone = state.regimes.sum(axis=1) < 2
        return self._when(state, np.where(alone, np.nan, state.values.within(self.margin, state.regimes)))

    def text(self) -> str:
        """The rule in words."""
        return f"equivalence: P(all within {self.margin:g}) > {shown_threshold(self.threshold)}{self._asked()}"


@dataclass(frozen=True, init=False)
class SuccessProbability(Contrast):
    """Stop for futility where the predictive probability of success at the largest size is low.

    Parameters
    ----------
    threshold : float or sequence of float
        The rule fires where the predictive probability is below it.
    success : float
        What a regime's probability must exceed at the end, that of being best, or of beating `against` by more than `margin`.
    against, margin, looks, binding
        As in :class:`Superiority`.

    Notes
    -----
    Where the values are those of independent Bernoulli arms, outcomes yet to come follow their beta-binomial predictive law and the final
    posterior is worked out by quadrature: all completions are enumerated where there are at most 512, and others are 256 quasi-random ones,
    the same for all trials (against enumeration their error was .01 as root mean square and .03 at most). Patients enrolled without an
    outcome count under their own arms in a study with one decision and one response; those not yet enrolled are divided equally among the
    active arms. Elsewhere
    information is taken to grow with the number of outcomes: with ``z`` the Normal quantile of today's probability, ``f`` the share of outcomes
    known and ``c`` that of `success`, the predictive probability is ``Phi((z - c sqrt(f)) / sqrt(1 - f))`` (predictive power under a flat
    prior, and with more than two regimes the same law for all of them jointly, from 128 futures;
    Spiegelhalter, Freedman and Blackburn 1986, Controlled Clinical Trials 7:8).
    """

    success: float

    def __init__(self, threshold: float | Sequence[float], *, success: float, against: Regime | None = None, margin: float = 0.0,
                 looks: Sequence[int] | None = None, binding: bool = True):
        super().__init__(threshold, against=against, margin=margin, looks=looks, binding=binding)
        if against is None and margin:
            raise TrialError(f"SuccessProbability(margin={margin:g}) is measured from against=..., which is not given.")
        made = probability(success, "SuccessProbability: success")
        if not isinstance(made, float):
            raise TrialError(f"SuccessProbability: success is one probability, got {success!r}.")
        object.__setattr__(self, "success", made)

    def statistic(self, state: LookState) -> np.ndarray:
        """1 less the predictive probability, shape (trial,)."""
        if not self.applies(state.look):
            return np.full(len(state.regimes), np.nan)
        exact = success_of_arms(state, self._contests(state.study, state.regimes.shape[1]), self.success)
        return 1 - (self._by_information(state) if exact is None else exact)

    def _contests(self, study: Study, count: int) -> tuple[Contest, ...]:
        """All arms against one another, or each against the one that it must beat."""
        every = tuple(range(count))
        if self.against is None:
            return (Contest(every, every, lambda values, active: values.p_best(active)[0]),)
        reference = one(study, self.against, "against")
        beats = lambda values, active: values.exceeds(np.ones(len(active), dtype=int), self.margin)  # noqa: E731
        return tuple(Contest((j, reference), (0,), beats) for j in every if j != reference)

    def _likely(self, values: Any, active: np.ndarray, study: Study) -> np.ndarray:
        """The largest probability that success is about, shape (batch,)."""
        if self.against is None:
            return values.p_best(active)[0].max(axis=1)
        reference = one(study, self.against, "against")
        p = np.where(active, values.exceeds(np.full(len(active), reference), self.margin), 0.0)
        p[:, reference] = 0.0
        return p.max(axis=1)

    def _by_information(self, state: LookState) -> np.ndarray:
        """In closed form where a single contrast decides, by draws where the best of several may win."""
        if self.against is None:
            p, several = state.values.p_best(state.regimes)[0], state.regimes.sum(axis=1) > 2
            mask = state.regimes
        else:
            mask = self.contenders(state)
            p, several = self.beyond(state, self.margin), mask.sum(axis=1) > 1
        known, all_ = state.known, state.known + state.remaining
        f = np.clip(known / np.maximum(all_, 1), 1e-9, 1 - 1e-9)[:, None]
        likely = np.clip(p, 1e-12, 1 - 1e-12)
        won = ndtr((ndtri(likely) - ndtri(self.success) * np.sqrt(f)) / np.sqrt(1 - f))
        found = np.minimum(np.where(mask, np.where(state.remaining[:, None] > 0, won, p > self.success), 0.0).sum(axis=1), 1.0)
        some = np.flatnonzero(several & (state.remaining > 0))
        if len(some):
            found[some] = success_by_growth(state.take(some), self._likely, self.success)
        over = several & (state.remaining <= 0)
        return np.where(over, np.where(mask, p, 0.0).max(axis=1) > self.success, found)

    def level(self, look: int) -> float:
        """1 less the threshold."""
        return 1 - at_look(self.threshold, look)

    def at(self, level: Threshold) -> "StoppingRule":
        """The same rule with another level of the statistic."""
        return self.changed(threshold=probability(complement(level), "SuccessProbability"))

    def text(self) -> str:
        """The rule in words."""
        return f"predictive probability of success ({self.success:g}{self._words()}{self._by()}) < {shown_threshold(self.threshold)}{self._asked()}"
