"""The same posteriors for the patient-level course, so that a trial that was counted can be followed patient by patient to the last bit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..design import TrialDesign
from ..observed import Observed
from .plan import margin_of, prior_of
from .values import CountedValues


class CountedAnalyst:
    """Looks at exchangeable Bernoulli arms by the grids of the count engine.

    Parameters
    ----------
    design : TrialDesign
        One to which :func:`~bayesdtr.trial.counting.plan.applies` says yes.
    """

    divisible = False

    def __init__(self, design: TrialDesign):
        study = design.study
        self.arm, self.response = study.decisions[0].name, study.responses[0].name
        prior = prior_of(study)
        assert prior is not None
        self.prior, self.weight, self.arms = prior, study.weight(self.response), len(study.decisions[0].options)
        self.margin = margin_of(design)

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> "CountedLook":
        """Posteriors of a batch of trials."""
        arm, y = data.columns[self.arm], data.columns[self.response]
        known = ~np.isnan(y)
        n = np.stack([((arm == j) & known).sum(axis=1) for j in range(self.arms)], axis=1).astype(float)
        yes = np.stack([((arm == j) & (y == 1)).sum(axis=1) for j in range(self.arms)], axis=1)
        return CountedLook(CountedValues(self.prior[0] + yes, self.prior[1] + n - yes, self.weight, self.margin))


@dataclass(frozen=True, eq=False)
class CountedLook:
    """A look at arms: options are regimes, and nobody's history matters."""

    values: CountedValues

    def regimes(self) -> CountedValues:
        """Values of the arms; batch = trials."""
        return self.values

    def options(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> CountedValues:
        """Values of the arms for given patients."""
        return self.values.take(trial)

    def marginal(self, decision: int, feasible: np.ndarray) -> CountedValues:
        """Values of the arms; batch = trials."""
        return self.values
