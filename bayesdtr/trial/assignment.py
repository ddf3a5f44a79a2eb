"""How probabilities become options: independent draws, or permuted blocks; and who is still in the burn-in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TrialError
from .allocation import AllocationRule, Equal
from .allocation.blocks import BlockLists, Blocks
from .state import State

if TYPE_CHECKING:
    from .design import TrialDesign


@dataclass(frozen=True)
class BurnIn:
    """Patients who are assigned with equal probabilities in permuted blocks before assignments adapt.

    Attributes
    ----------
    patients : int
        The first so many to enter, at all their decisions. 0 for none.
    block : int, optional
        Patients in a block, a multiple of the number of options; by default twice that number. With ``block`` equal to the number of
        options assignments alternate in pairs (or triples ...) of random order.

    Raises
    ------
    TrialError
        For numbers that count nobody.
    """

    patients: int
    block: int | None = None

    def __post_init__(self):
        for what, value, least in (("patients", self.patients, 0), ("block", self.block, 1)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise TrialError(f"BurnIn({what}=...) takes a whole number of at least {least}, got {value!r}.")


def drawn(pi: np.ndarray, luck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Options drawn by given uniform numbers, and the probabilities they were drawn with.

    Parameters
    ----------
    pi : array, shape (m, option)
        Rows sum to 1.
    luck : array, shape (m,)

    Returns
    -------
    option : array of int, shape (m,)
        The first whose cumulative probability exceeds the uniform number.
    chance : array, shape (m,)
    """
    option = (np.cumsum(pi, axis=1) <= luck[:, None]).sum(axis=1)
    # Rounding may leave the sum a hair below 1: never past the last possible option.
    last = pi.shape[1] - 1 - np.argmax(pi[:, ::-1] > 0, axis=1)
    option = np.minimum(option, last)
    return option, np.take_along_axis(pi, option[:, None], axis=1)[:, 0]


class Lists:
    """The lists of permuted blocks of a batch of trials, for burn-ins and for rules that assign by blocks.

    Parameters
    ----------
    design : TrialDesign
    seed : int
    replicates : array of int, shape (trial,)
    """

    def __init__(self, design: "TrialDesign", seed: int, replicates: np.ndarray):
        self._design, self._seed, self._replicates = design, seed, replicates
        self._lists: dict[tuple[int, bool], BlockLists] = {}

    def burning_in(self, look: int, rule: AllocationRule, patient: np.ndarray) -> np.ndarray:
        """Which patients belong to the burn-in, shape (m,).

        Without a number in the design: those who are assigned before the first look, where the rule adapts or is equal anyway.
        """
        burn_in = self._design.burn_in
        if burn_in is not None:
            return patient < burn_in.patients
        return np.full(len(patient), look < 0 and self._design.looks.count > 0 and (rule.adaptive or isinstance(rule, Equal)))

    def assign(self, decision: int, rule: AllocationRule, early: bool, state: State, trial: np.ndarray, patient: np.ndarray, feasible: np.ndarray,
               columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Options of some patients by the lists, and the probabilities before the lists were drawn, both (m,)."""
        lists = self._of(decision, rule, early)
        # Lists are used up in the order of the decisions in time, which need not be that of enrolment.
        order = np.lexsort((patient, state.patients.decided[trial, patient, decision], trial))
        codes, chance = np.empty(len(trial), dtype=np.int64), np.empty(len(trial))
        codes[order], chance[order], _ = lists.assign(trial[order], {n: v[order] for n, v in columns.items()}, feasible[order])
        return codes, chance

    def _of(self, decision: int, rule: AllocationRule, early: bool) -> BlockLists:
        if (decision, early) not in self._lists:
            study, name = self._design.study, self._design.study.decisions[decision].name
            burn_in = self._design.burn_in
            blocks = Blocks.equal(study, name) if early else rule.blocks(study, name)
            if early and burn_in is not None and burn_in.block is not None:
                blocks = replace(blocks, size=burn_in.block)
            purpose = "burn-in" if early else "blocks"
            self._lists[decision, early] = blocks.lists(self._seed, self._replicates, purpose, self._design.size)
        return self._lists[decision, early]
