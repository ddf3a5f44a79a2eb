"""What is known of a batch of trials at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Observed:
    """Data of a batch of trials, trial by trial and patient by patient in the order of enrolment.

    Attributes
    ----------
    columns : mapping of str to array, shape (trial, patient)
        By the study's names, as :func:`bayesdtr.fit_many` takes them: codes of labels, -1 where a decision is not made yet or never
        will be; numbers, NaN where not known.
    cluster : array of int, shape (trial, patient), or None
    period : array of int, shape (trial, patient)
        Block of calendar time in which a patient enrolled, from 0; -1 of a patient not enrolled.
    enrolled : array of bool, shape (trial, patient)
    """

    columns: Mapping[str, np.ndarray]
    cluster: np.ndarray | None
    period: np.ndarray
    enrolled: np.ndarray

    @property
    def size(self) -> int:
        """Number of trials."""
        return len(self.enrolled)

    def take(self, trials: np.ndarray) -> "Observed":
        """Some of the trials, by index."""
        cluster = None if self.cluster is None else self.cluster[trials]
        return Observed({n: c[trials] for n, c in self.columns.items()}, cluster, self.period[trials], self.enrolled[trials])
