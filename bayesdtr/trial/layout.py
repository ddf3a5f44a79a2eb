"""The axes of a simulated trial's records: which arms, regimes, rules and responses a design has, in which order."""

import functools
from dataclasses import dataclass

import numpy as np

from ..study import Study
from ..study.rules import Rules, embedded_regimes


@dataclass(frozen=True)
class Layout:
    """Labels of the axes along which a batch of trials is recorded.

    Attributes
    ----------
    decisions, responses : tuple of str
    arms : tuple of (str, str)
        Every decision with each of its options, in time order.
    regimes : tuple of Rules
        The embedded regimes; of a study with one decision without tailoring, its options.
    rules : tuple of str
        Labels of the stopping rules.
    looks, size : int
        Number of looks, and largest number of patients.
    """

    decisions: tuple[str, ...]
    responses: tuple[str, ...]
    arms: tuple[tuple[str, str], ...]
    regimes: tuple[Rules, ...]
    rules: tuple[str, ...]
    looks: int
    size: int

    @classmethod
    def of(cls, study: Study, rules: tuple[str, ...], looks: int, size: int) -> "Layout":
        """The layout of a study under stopping rules with given labels."""
        arms = tuple((d.name, option) for d in study.decisions for option in d.options)
        names = tuple(d.name for d in study.decisions), tuple(r.name for r in study.responses)
        return cls(*names, arms, embedded_regimes(study), rules, looks, size)

    @functools.cached_property
    def uses(self) -> np.ndarray:
        """Arms that each regime may choose where there is a choice, shape (regime, arm)."""
        named = [{(d, option) for d, branches in r.decisions for _, option in branches} for r in self.regimes]
        return np.array([[arm in some for arm in self.arms] for some in named])

    @property
    def regime_labels(self) -> tuple[str, ...]:
        """What the regimes are called in tables."""
        return tuple(r.label for r in self.regimes)

    @property
    def arm_labels(self) -> tuple[str, ...]:
        """What the arms are called in tables: the option alone where there is one decision."""
        return tuple(o if len(self.decisions) == 1 else f"{d}: {o}" for d, o in self.arms)

    def arms_of(self, decision: int) -> slice:
        """Where a decision's options stand among the arms."""
        begin = next(i for i, (d, _) in enumerate(self.arms) if d == self.decisions[decision])
        return slice(begin, begin + sum(d == self.decisions[decision] for d, _ in self.arms))
