"""Rules that look at no outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Decision, Study
from ...study.timeline import finite_values
from .blocks import Blocks, levels_of, options_of
from .rule import AllocationRule, Situation
from .shares import normalized


@dataclass(frozen=True)
class Equal(AllocationRule):
    """Equal probabilities among the feasible options, by independent draws.

    For exact balance write ``PermutedBlock()``.
    """

    @property
    def adaptive(self) -> bool:
        """False."""
        return False

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        return normalized(np.ones(situation.feasible.shape), situation.feasible)

    def text(self) -> str:
        """The rule in words."""
        return "equal"


@dataclass(frozen=True, init=False)
class Fixed(AllocationRule):
    """Given probabilities, by independent draws.

    Parameters
    ----------
    probabilities : mapping of str to float
        Options with their probabilities; those of every feasible set add up to 1. Where an option is dropped, the others share its part in
        proportion.

    Examples
    --------
    >>> Fixed({"control": 0.4, "low": 0.3, "high": 0.3})
    """

    table: tuple[tuple[str, float], ...]

    def __init__(self, probabilities: Mapping[str, float]):
        if not isinstance(probabilities, Mapping) or not probabilities:
            raise TrialError(f"Fixed takes a mapping of options to probabilities, got {probabilities!r}.")
        for option, p in probabilities.items():
            if not _number(p) or not 0 < p <= 1:
                raise TrialError(f"Fixed: the probability of {option!r} must lie in (0, 1], got {p!r}.")
        object.__setattr__(self, "table", tuple((str(o), float(p)) for o, p in probabilities.items()))

    @property
    def adaptive(self) -> bool:
        """False."""
        return False

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` for an unknown option, or probabilities that do not add up to 1 in a feasible set."""
        known, given = options_of(study, decision), dict(self.table)
        refuse_unknown(given, known, decision, "Fixed")
        for options in choices_of(study, decision):
            if lacking := [o for o in options if o not in given]:
                raise TrialError(f"Fixed at {decision!r} lacks the probability of {listing(lacking)}.")
            if abs((total := sum(given[o] for o in options)) - 1) > 1e-9:
                raise TrialError(f"Fixed at {decision!r}: the probabilities of {listing(options)} add up to {total:g}, not 1.")

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        node, given = situation.study.decisions[situation.decision], dict(self.table)
        weight = np.array([given.get(o, 0.0) for o in node.options])
        return normalized(np.broadcast_to(weight, situation.feasible.shape), situation.feasible)

    def text(self) -> str:
        """The rule in words."""
        return "fixed: " + ", ".join(f"{o} {p:g}" for o, p in self.table)


@dataclass(frozen=True, init=False)
class PermutedBlock(AllocationRule):
    """Permuted blocks within each feasible set: exact counts in every full block, the last one cut.

    Parameters
    ----------
    size : int, optional
        Patients in a block; by default twice the smallest block that the ratios allow.
    ratios : mapping of str to int, optional
        How often each option comes in the smallest block; by default once.

    Notes
    -----
    The probability stored for a patient is the option's share of a block, which is what it was before the list was drawn; within a block it depends
    on the assignments before. Where an option is dropped, patients go on from a fresh list of the options left, in blocks of `size` where that fits
    and otherwise of twice the smallest.

    Examples
    --------
    >>> PermutedBlock(size=6, ratios={"control": 2, "low": 1, "high": 1})
    """

    size: int | None
    ratios: tuple[tuple[str, int], ...] | None

    def __init__(self, size: int | None = None, ratios: Mapping[str, int] | None = None):
        what = type(self).__name__
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise TrialError(f"{what}: size takes a whole number of patients of at least 1, got {size!r}.")
        if ratios is not None:
            if not isinstance(ratios, Mapping) or not ratios:
                raise TrialError(f"{what}: ratios takes a mapping of options to whole numbers, got {ratios!r}.")
            for option, ratio in ratios.items():
                if isinstance(ratio, bool) or not isinstance(ratio, int) or ratio < 1:
                    raise TrialError(f"{what}: the ratio of {option!r} must be a whole number of at least 1, got {ratio!r}.")
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "ratios", None if ratios is None else tuple((str(o), r) for o, r in ratios.items()))

    @property
    def adaptive(self) -> bool:
        """False."""
        return False

    @property
    def realized(self) -> str:
        """By lists of permuted blocks."""
        return "blocks"

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` for an unknown option, or a size that is no multiple of a feasible set's smallest block."""
        known, what = options_of(study, decision), type(self).__name__
        if self.ratios is not None:
            refuse_unknown(dict(self.ratios), known, decision, what)
            if lacking := [o for options in choices_of(study, decision) for o in options if o not in dict(self.ratios)]:
                raise TrialError(f"{what} at {decision!r} lacks the ratio of {listing(dict.fromkeys(lacking))}.")
        for options in choices_of(study, decision):
            smallest = sum(self._ratio(o) for o in options)
            if self.size is not None and self.size % smallest:
                raise TrialError(f"{what}: size={self.size} is no multiple of {smallest}, the smallest block for {listing(options)} at {decision!r}.")

    def blocks(self, study: Study, decision: str) -> Blocks:
        """The permuted blocks of a decision."""
        options = options_of(study, decision)
        return Blocks(decision, len(options), tuple(self._ratio(o) for o in options), self.size)

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Share of each option in a block, shape (m, option): the probability before the list is drawn."""
        node = situation.study.decisions[situation.decision]
        return self.blocks(situation.study, node.name).probabilities(situation.feasible)

    def text(self) -> str:
        """The rule in words."""
        ratios = "" if self.ratios is None else " " + ":".join(f"{r}" for _, r in self.ratios) + f" ({', '.join(o for o, _ in self.ratios)})"
        return f"permuted blocks{ratios}" + ("" if self.size is None else f" of {self.size}")

    def _ratio(self, option: str) -> int:
        return 1 if self.ratios is None else dict(self.ratios).get(option, 1)


@dataclass(frozen=True, init=False)
class Stratified(PermutedBlock):
    """Permuted blocks within strata of discrete baseline covariates (and within feasible sets).

    Parameters
    ----------
    by : sequence of str
        Baseline covariates with labels.
    size : int, optional
    ratios : mapping of str to int, optional
        As of :class:`PermutedBlock`.

    Examples
    --------
    >>> Stratified(by=["site", "sex"], size=4)
    """

    by: tuple[str, ...]

    def __init__(self, by: Sequence[str], size: int | None = None, ratios: Mapping[str, int] | None = None):
        if isinstance(by, str) or not isinstance(by, Sequence) or not by or not all(isinstance(n, str) for n in by):
            raise TrialError(f"Stratified: by takes a list of baseline covariates, for example ['sex'], got {by!r}.")
        super().__init__(size, ratios)
        object.__setattr__(self, "by", tuple(dict.fromkeys(by)))

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` for a stratum that is no discrete baseline covariate, beside what permuted blocks refuse."""
        known = [b.name for b in study.baselines]
        discrete = [b.name for b in study.baselines if finite_values(b) is not None]
        for name in self.by:
            if name not in known:
                raise TrialError(f"Stratified: {name!r} is no baseline covariate; discrete ones: {listing(discrete) or 'none'}"
                                 f"{did_you_mean(name, known)}")
            if name not in discrete:
                raise TrialError(f"Stratified: {name!r} is a number; strata need labels, so declare it with levels=, or name one of "
                                 f"{listing(discrete) or 'none'}.")
        super().check(study, decision)

    def blocks(self, study: Study, decision: str) -> Blocks:
        """The permuted blocks of a decision."""
        plain = super().blocks(study, decision)
        return Blocks(plain.decision, plain.options, plain.ratios, plain.size, tuple((n, levels_of(study, n)) for n in self.by))

    def text(self) -> str:
        """The rule in words."""
        return f"{super().text()}, stratified by {', '.join(self.by)}"


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float, np.number)) and bool(np.isfinite(value))


def refuse_unknown(given: Mapping[str, Any], known: Sequence[str], decision: str, what: str) -> None:
    """Raise `TrialError` where a name is no option of a decision."""
    for option in given:
        if option not in known:
            raise TrialError(f"{what} names {option!r}, which is no option of {decision!r}; options: {listing(known)}{did_you_mean(option, known)}")


def choices_of(study: Study, decision: str) -> list[tuple[str, ...]]:
    """The feasible sets of a decision that leave a choice."""
    node = study[decision]
    assert isinstance(node, Decision)
    return [options for options in node.sets if len(options) > 1]
