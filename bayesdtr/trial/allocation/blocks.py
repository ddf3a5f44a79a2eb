"""Permuted blocks: lists of options with exact counts in every block, drawn before the trial begins.

The list of a stratum is cut into blocks. A block holds each option a fixed number of times, in an order drawn at random, so that any full block is
balanced exactly; the last block of a trial is cut where patients run out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...study import Baseline, Decision, Study
from ...study.timeline import finite_values
from ..luck import uniforms


def sequence(seed: int, replicates: np.ndarray, purpose: str, contents: Sequence[int], strata: int, length: int) -> np.ndarray:
    """The options that the patients of every stratum will be assigned to, in their order.

    Parameters
    ----------
    seed : int
    replicates : array of int, shape (trial,)
    purpose : str
        Sets lists for different uses apart.
    contents : sequence of int
        Codes in one block, each as often as it comes in it.
    strata, length : int
        Number of lists for each trial, and how far they reach.

    Returns
    -------
    array of int, shape (trial, stratum, position)
        Codes. A replicate's lists are the same whatever replicates stand beside it, and a longer list begins with the shorter one.

    Notes
    -----
    Every position has a uniform number of its own; ranking those of a block permutes its contents, each order being equally likely.
    """
    pool = np.sort(np.asarray(contents, dtype=np.int16))
    count = -(-length // len(pool))
    drawn = uniforms(seed, replicates, purpose, (count * len(pool), strata))
    order = drawn.reshape(len(replicates), count, len(pool), strata).argsort(axis=2).argsort(axis=2)
    return np.moveaxis(pool[order].reshape(len(replicates), -1, strata), 2, 1)[:, :, :length]


def conditional(codes: np.ndarray, contents: Sequence[int]) -> np.ndarray:
    """Probability of each assignment given those before it in its block: what somebody who knew the block's size could have said.

    Parameters
    ----------
    codes : array of int, shape (..., position)
        Lists that begin with a block.
    contents : sequence of int

    Returns
    -------
    array, shape (..., position)
        Copies of the option left in the block, over positions left; 1 for the last of a block.
    """
    pool = np.asarray(contents)
    size, length = len(pool), codes.shape[-1]
    padded = np.concatenate([codes, np.full((*codes.shape[:-1], -length % size), -1, dtype=codes.dtype)], axis=-1)
    block = padded.reshape(*codes.shape[:-1], -1, size)
    left = np.zeros(block.shape)
    for code in np.unique(pool):
        mine = block == code
        left += mine * ((pool == code).sum() - (np.cumsum(mine, axis=-1) - mine))
    return (left / np.arange(size, 0, -1)).reshape(padded.shape)[..., :length]


def ranks(group: np.ndarray) -> np.ndarray:
    """How many with the same number stand before each entry, shape (m,)."""
    order = np.argsort(group, kind="stable")
    begins = np.searchsorted(group[order], group[order], side="left")
    found = np.empty(len(group), dtype=int)
    found[order] = np.arange(len(group)) - begins
    return found


@dataclass(frozen=True)
class Blocks:
    """The permuted blocks of one decision: what a block holds for each feasible set, and the strata that have lists of their own.

    Attributes
    ----------
    decision : str
    options : int
        Number of options of the decision.
    ratios : tuple of int
        How often each option comes in the smallest possible block.
    size : int or None
        Patients in a block; None, or where it does not fit a feasible set: twice the smallest possible.
    levels : tuple of (str, tuple of float)
        Discrete covariates with their codes: strata beside the feasible sets.
    """

    decision: str
    options: int
    ratios: tuple[int, ...]
    size: int | None = None
    levels: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @classmethod
    def equal(cls, study: Study, decision: str) -> "Blocks":
        """Equal probabilities in blocks of twice the number of options, strata = feasible sets: those of every burn-in."""
        count = len(options_of(study, decision))
        return cls(decision, count, (1,) * count)

    @property
    def strata(self) -> int:
        """Combinations of the covariates' levels."""
        return int(np.prod([len(codes) for _, codes in self.levels], dtype=int))

    def contents(self, feasible: np.ndarray) -> tuple[int, ...]:
        """Codes in one block for a feasible set, shape (option,)."""
        smallest = [code for code in np.flatnonzero(feasible) for _ in range(self.ratios[code])]
        times = self.size // len(smallest) if self.size and self.size % len(smallest) == 0 else 2
        return tuple(int(c) for c in smallest) * times

    def probabilities(self, feasible: np.ndarray) -> np.ndarray:
        """Share of each option in a block, shape (m, option)."""
        weight = feasible * np.asarray(self.ratios, dtype=float)
        total = weight.sum(axis=1, keepdims=True)
        return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)

    def stratum(self, columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Which combination of levels each patient has, shape (m,)."""
        found = np.zeros(count, dtype=int)
        for name, codes in self.levels:
            found = found * len(codes) + (np.asarray(columns[name])[:, None] == np.array(codes)).argmax(axis=1)
        return found

    def lists(self, seed: int, replicates: np.ndarray, purpose: str, length: int) -> "BlockLists":
        """The lists of a batch of trials, none of them used yet."""
        return BlockLists(self, seed, np.asarray(replicates), purpose, length)


class BlockLists:
    """Lists of a batch of trials, and how far each has been used.

    Parameters
    ----------
    blocks : Blocks
    seed : int
    replicates : array of int, shape (trial,)
    purpose : str
        Lists for different decisions and uses differ without its help: the decision and the feasible set are added.
    length : int
        Most patients that can come at the decision in any trial.

    Notes
    -----
    A list belongs to a trial, a feasible set and a stratum. When an option is dropped, patients go on from a fresh list of the options left.
    """

    def __init__(self, blocks: Blocks, seed: int, replicates: np.ndarray, purpose: str, length: int):
        self._blocks, self._seed, self._replicates, self._purpose, self._length = blocks, seed, replicates, purpose, length
        self._lists: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self._used: dict[bytes, np.ndarray] = {}

    def assign(self, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Assign patients in their order and move the lists on.

        Parameters
        ----------
        trial : array of int, shape (m,)
            Index into the batch; the patients of each trial in the order in which they are assigned.
        columns : mapping of str to array, shape (m,)
        feasible : array of bool, shape (m, option)

        Returns
        -------
        codes : array of int, shape (m,)
            -1 where no option is feasible.
        probability : array, shape (m,)
            Before the list was drawn: the option's share of a block. This is what is stored and analysed.
        given : array, shape (m,)
            Given the assignments before it in the block.
        """
        codes = np.full(len(trial), -1, dtype=np.int16)
        given = np.ones(len(trial))
        stratum = self._blocks.stratum(columns, len(trial))
        sets, group = np.unique(feasible, axis=0, return_inverse=True)
        for g, options in enumerate(sets):
            rows = np.flatnonzero(group.reshape(-1) == g)
            if not options.any():
                continue
            listed, odds = self._of(options)
            used = self._used[options.tobytes()]
            place = trial[rows] * self._blocks.strata + stratum[rows]
            position = used.reshape(-1)[place] + ranks(place)
            codes[rows] = listed[trial[rows], stratum[rows], position]
            given[rows] = odds[trial[rows], stratum[rows], position]
            np.add.at(used.reshape(-1), place, 1)
        share = self._blocks.probabilities(feasible)[np.arange(len(trial)), np.maximum(codes, 0)]
        return codes, np.where(codes >= 0, share, np.nan), np.where(codes >= 0, given, np.nan)

    def _of(self, options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = options.tobytes()
        if key not in self._lists:
            contents = self._blocks.contents(options)
            name = f"{self._purpose}, {self._blocks.decision}, {','.join(str(c) for c in np.flatnonzero(options))}"
            listed = sequence(self._seed, self._replicates, name, contents, self._blocks.strata, self._length)
            self._lists[key] = listed, conditional(listed, contents)
            self._used[key] = np.zeros((len(self._replicates), self._blocks.strata), dtype=int)
        return self._lists[key]


def options_of(study: Study, decision: str) -> tuple[str, ...]:
    """Options of a decision, in the order of their codes."""
    node = study[decision]
    assert isinstance(node, Decision)
    return node.options


def levels_of(study: Study, name: str) -> tuple[float, ...]:
    """Codes of a labelled covariate's values, and -1 where it need not be recorded: a level of its own."""
    node = study[name]
    assert isinstance(node, Baseline)
    return (*(study.code(name, v) for v in finite_values(node) or ()), *((-1.0,) if node.missing is not None else ()))
