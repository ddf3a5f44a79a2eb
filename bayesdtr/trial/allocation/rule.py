"""What an allocation rule is: a declaration, and a pure function from a posterior to probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...study import Study
from ..analysis.protocol import LookPosterior
from ..analysis.values import Values
from ..observed import Observed


@dataclass(frozen=True, eq=False)
class Situation:
    """Patients to be assigned at one decision, and what is known by then. Rows ``m`` are patients of any of the batch's trials.

    Attributes
    ----------
    study : Study
    decision : int
        From 0.
    trial : array of int, shape (m,)
        Index into the batch.
    columns : mapping of str to array, shape (m,)
        Each patient's history.
    feasible : array of bool, shape (m, option)
        Dropped options are not feasible.
    posterior : LookPosterior
    data : Observed
        Of the batch at the look in force.
    recruited : array of int, shape (m,)
        Patients enrolled in each one's trial at the look in force.
    size : int
        Largest number of patients.
    assigned : array of int, shape (m, option)
        Patients assigned to each option of this decision so far, in each one's trial.
    """

    study: Study
    decision: int
    trial: np.ndarray
    columns: Mapping[str, np.ndarray]
    feasible: np.ndarray
    posterior: LookPosterior
    data: Observed
    recruited: np.ndarray
    size: int
    assigned: np.ndarray

    def values(self, marginal: bool = False) -> Values:
        """Values of the options for each patient; the marginal ones are averaged over histories with the same feasible set."""
        if not marginal:
            return self.posterior.options(self.decision, self.trial, self.columns, self.feasible)
        raise NotImplementedError  # grouped by feasible set; see allocation/


@dataclass(frozen=True)
class AllocationRule:
    """Base of the allocation rules.

    A rule is a frozen value without data. Rules that do not look at outcomes (`adaptive` False) are realised in permuted blocks or by
    independent draws, as they say; adaptive ones by independent draws with the probabilities that `probabilities` gives.
    """

    @property
    def adaptive(self) -> bool:
        """Whether the rule looks at outcomes, so that it needs a posterior and a burn-in before it."""
        return True

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` where the rule does not fit a decision: floor times options above 1, an unknown option."""

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option); rows sum to 1, infeasible options have 0."""
        raise NotImplementedError

    def text(self) -> str:
        """The rule in words, for tables and reports."""
        raise NotImplementedError
