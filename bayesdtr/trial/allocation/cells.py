"""Patients of a batch of trials in cells of discrete histories: counts, means and sums of squares, trial by trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...study import Decision, Response, Study
from ...study.timeline import finite_values


@dataclass(frozen=True)
class Grid:
    """All combinations of some discrete variables' values; one value more of each stands for "not there".

    Attributes
    ----------
    names : tuple of str
    codes : tuple of tuple of float
        Codes of each variable's values.
    """

    names: tuple[str, ...]
    codes: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, study: Study, names: Sequence[str]) -> "Grid":
        """The grid of some of a study's discrete variables."""
        return cls(tuple(names), tuple(tuple(study.code(n, v) for v in finite_values(study[n]) or ()) for n in names))

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(np.prod([len(c) + 1 for c in self.codes], dtype=int))

    def cell(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Cell of each history, in the columns' shape."""
        found: np.ndarray | int = 0
        for name, codes in zip(self.names, self.codes, strict=True):
            same = np.asarray(columns[name])[..., None] == np.array(codes)
            found = found * (len(codes) + 1) + np.where(same.any(axis=-1), same.argmax(axis=-1), len(codes))
        return np.asarray(found)


@dataclass(frozen=True, eq=False)
class Tally:
    """Numbers in cells, all with shape ``(trial, cell)``.

    Attributes
    ----------
    count : array of float
    mean : array
        0 in an empty cell.
    within : array
        Sum of squares around the mean.
    """

    count: np.ndarray
    mean: np.ndarray
    within: np.ndarray


def tally(cell: np.ndarray, y: np.ndarray, there: np.ndarray, size: int) -> Tally:
    """Count patients in cells.

    Parameters
    ----------
    cell : array of int, shape (trial, patient)
    y : array, shape (trial, patient)
    there : array of bool, shape (trial, patient)
        Who counts.
    size : int
        Number of cells.

    Notes
    -----
    Sums run over a trial's patients in their order, so they do not depend on the trials beside it.
    """
    trials = len(cell)
    place = (np.arange(trials)[:, None] * size + cell)[there]
    known = y[there]
    count = np.bincount(place, minlength=trials * size).astype(float)
    mean = np.bincount(place, weights=known, minlength=trials * size) / np.maximum(count, 1)
    within = np.bincount(place, weights=(known - mean[place]) ** 2, minlength=trials * size)
    return Tally(*(x.reshape(trials, size) for x in (count, mean, within)))


def discrete_history(study: Study, decision: int) -> tuple[str, ...]:
    """Earlier decisions, and responses with a finite list of values, before a decision."""
    before = study.before(study.decisions[decision].name)
    return tuple(n.name for n in before if isinstance(n, Decision) or (isinstance(n, Response) and finite_values(n) is not None))
