"""What an allocation rule is: a declaration, and a pure function from a posterior to probabilities."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...study import Study
from ..analysis.protocol import LookPosterior
from ..analysis.values import Values
from ..observed import Observed
from .blocks import Blocks
from .pieced import Pieced


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
    regimes : array of bool, shape (m, regime), or None
        Embedded regimes all of whose arms are open in each one's trial; None: all.
    weights : array, shape (m, regime), or None
        Probabilities with which each patient's regime was drawn at baseline, under rules with `draws_regimes`; None at the first decision.
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
    regimes: np.ndarray | None = None
    weights: np.ndarray | None = None

    def values(self, marginal: bool = False) -> Values:
        """Values of the options for each patient; the marginal ones are averaged over histories with the same declared feasible set.

        Marginal values include options dropped since: name the active ones when asking for P(best).
        """
        if not marginal:
            return self.posterior.options(self.decision, self.trial, self.columns, self.feasible)
        # Averages run over everybody with the same declared set; what has been dropped from it since is the same for all of them.
        declared = self.study.feasible(self.study.decisions[self.decision].name, self.columns) | self.feasible
        sets, group = np.unique(declared, axis=0, return_inverse=True)
        group = group.reshape(-1)
        parts = [(rows := np.flatnonzero(group == g), self.posterior.marginal(self.decision, options).take(self.trial[rows]))
                 for g, options in enumerate(sets)]
        return parts[0][1] if len(parts) == 1 else Pieced(tuple(parts), declared.shape[1])

    def distinct(self) -> tuple["Situation", np.ndarray]:
        """The same without repetitions, and where each row of the whole stands in it: patients of a trial who are alike are asked about once.

        Returns
        -------
        situation : Situation
        place : array of int, shape (m,)
        """
        place = np.unique(self.trial, return_inverse=True)[1].reshape(-1)
        bits = np.packbits(self.feasible, axis=1)
        tables = [] if self.weights is None else [self.weights]
        for part in (*self.columns.values(), *bits.T, *(column for table in tables for column in table.T)):
            code = np.unique(part, return_inverse=True)[1].reshape(-1)
            place = np.unique(place * (code.max(initial=0) + 1) + code, return_inverse=True)[1].reshape(-1)
        first = np.unique(place, return_index=True)[1]
        pick = lambda table: None if table is None else table[first]  # noqa: E731
        return replace(self, trial=self.trial[first], columns={n: np.asarray(c)[first] for n, c in self.columns.items()},
                       feasible=self.feasible[first], recruited=self.recruited[first], assigned=self.assigned[first], regimes=pick(self.regimes),
                       weights=pick(self.weights)), place

    def p_best(self, marginal: bool = False, among: np.ndarray | None = None) -> np.ndarray:
        """Probability that each feasible option starts best, shape (m, option); `among` leaves options out of the contest."""
        active = self.feasible if among is None else among & self.feasible
        return self.values(marginal).p_best(active)[0]


@dataclass(frozen=True)
class AllocationRule(abc.ABC):
    """Base of the allocation rules.

    A rule is a frozen value without data. Rules that do not look at outcomes (`adaptive` False) are realised in permuted blocks or by
    independent draws, as they say; adaptive ones by independent draws with the probabilities that `probabilities` gives.
    """

    @property
    def adaptive(self) -> bool:
        """Whether the rule looks at outcomes, so that it needs a posterior and a burn-in before it."""
        return True

    @property
    def realized(self) -> str:
        """How assignments are made: "draws", one independent draw a patient, or "blocks", by lists of permuted blocks (:meth:`blocks`)."""
        return "draws"

    @property
    def draws_regimes(self) -> bool:
        """Whether a whole embedded regime is drawn at baseline (:func:`~bayesdtr.trial.allocation.sequences.regime_probabilities`)."""
        return False

    def blocks(self, study: Study, decision: str) -> Blocks:
        """The permuted blocks of rules realized by "blocks"."""
        raise TypeError(f"{type(self).__name__} draws assignments one by one; it has no blocks.")

    def check(self, study: Study, decision: str) -> None:  # noqa: B027 (a rule may fit everything)
        """Raise `TrialError` where the rule does not fit a decision: floor times options above 1, an unknown option."""

    @abc.abstractmethod
    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option); rows sum to 1, infeasible options have 0."""

    @abc.abstractmethod
    def text(self) -> str:
        """The rule in words, for tables and reports."""

    def unseen(self, study: Study, decision: str) -> tuple[str, ...]:
        """Variables before a decision, other than sites, that assignments do not go by although the study has them; for the design in words."""
        return ()
