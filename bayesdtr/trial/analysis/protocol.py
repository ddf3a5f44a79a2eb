"""What the course of a trial asks of an engine that analyses its looks."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ..observed import Observed
from .values import Values


class LookPosterior(Protocol):
    """Posteriors of a batch of trials at one look."""

    def regimes(self) -> Values:
        """Values of the embedded regimes, in the order of ``embedded_regimes(study)``; batch = trials.

        Where there are baseline covariates, averaged over those of the patients enrolled.
        """
        ...

    def options(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> Values:
        """Values of a decision's options for given patients, each draw going on by its own optimum: what "starts best" means.

        Parameters
        ----------
        decision : int
            From 0.
        trial : array of int, shape (m,)
            The trial that each patient is in.
        columns : mapping of str to array, shape (m,)
            Each patient's history before the decision, as in :class:`Observed`; under the study's cluster column, codes of clusters.
        feasible : array of bool, shape (m, option)
            Values of infeasible options are -inf.

        Returns
        -------
        Values
            Batch = patients, entries = the decision's options.
        """
        ...

    def marginal(self, decision: int, feasible: np.ndarray) -> Values:
        """As :meth:`options`, averaged over the enrolled patients' histories with this feasible set ``(option,)``; batch = trials."""
        ...


class Analyst(Protocol):
    """An engine, made once for a design."""

    divisible: bool
    """Whether a batch is best divided among threads: the engine leaves most of its time to compiled programs."""

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> LookPosterior:
        """Posteriors of a batch of trials.

        Parameters
        ----------
        data : Observed
        replicates : array of int, shape (trial,)
            Numbers of the trials, for random numbers of their own.
        look : int
            From 0; the final analysis is one more than the last.
        """
        ...
