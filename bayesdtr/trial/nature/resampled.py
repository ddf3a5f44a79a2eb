"""Covariates of simulated patients taken from those of patients who were observed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import TrialError
from ...study import Study
from .covariates import Joint
from .functions import Function


@dataclass(frozen=True, eq=False)
class _Pick:
    """Rows of a table by probabilities: one uniform number picks a patient, with all covariates."""

    columns: Mapping[str, np.ndarray]
    weights: np.ndarray

    def __call__(self, u: np.ndarray) -> dict[str, np.ndarray]:
        row = np.searchsorted(np.cumsum(self.weights)[:-1], u[:, 0], side="right")
        return {n: c[row] for n, c in self.columns.items()}


@dataclass(frozen=True, init=False)
class Resampled(Joint):
    """Covariates of observed patients, all of a patient's together.

    Parameters
    ----------
    columns : mapping of str to array, shape (row,)
        Numbers, or labels as text.
    weights : array, shape (row,)
        Probability of each row; they add up to 1.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], weights: np.ndarray):
        kept, weights = {n: np.asarray(c) for n, c in columns.items()}, np.asarray(weights, dtype=float)
        if not kept or not len(weights) or any(c.shape != weights.shape for c in kept.values()):
            raise TrialError("Resampled takes columns by name, of equal length, and a weight for each row.")
        if not ((weights >= 0).all() and abs(weights.sum() - 1) < 1e-9):
            raise TrialError(f"Resampled: weights are at least 0 and add up to 1, got a sum of {weights.sum():g}.")
        made = hashlib.sha256(weights.tobytes())
        for name, column in kept.items():
            made.update(f"{name} {column.dtype};".encode() + np.ascontiguousarray(column).tobytes())
        object.__setattr__(self, "function", Function(f"{__name__}:Resampled", made.hexdigest()[:16], _Pick(kept, weights)))
        object.__setattr__(self, "count", 1)

    @property
    def weights(self) -> np.ndarray:
        """Probability of each row, shape (row,)."""
        return self.function.call.weights

    def support(self, study: Study) -> dict[str, np.ndarray]:
        """Every row, labels as codes, shape (row,) each."""
        return self.coded(self.function.call.columns, len(self.weights), study)

    def __str__(self) -> str:
        return f"{', '.join(self.function.call.columns)} of observed patients ({len(self.weights)} different ones)"
