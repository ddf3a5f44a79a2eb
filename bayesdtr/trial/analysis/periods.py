"""Period effects: the study with its blocks of enrolment as periods over which levels drift, for engines that know nothing of trials."""

from dataclasses import dataclass

import numpy as np

from ...study import Baseline, Study
from ..observed import Observed
from .protocol import Analyst, LookPosterior

PERIOD = "period of enrolment"
"""The covariate that stands for a patient's block; no study can be expected to use it."""


def with_periods(study: Study, count: int) -> Study:
    """The study with a first covariate of `count` periods, numbered from 1, over which the levels of all responses walk at random."""
    return study.preceded_by(Baseline(PERIOD, levels=[str(i + 1) for i in range(max(count, 2))], drift=True))


@dataclass(frozen=True, eq=False)
class PeriodAnalyst:
    """An engine of the study with periods that answers for the study without.

    Attributes
    ----------
    inner : Analyst
        Of ``with_periods(study, ...)``.
    """

    inner: Analyst

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> LookPosterior:
        """Posteriors of a batch of trials, every patient in the period of their enrolment; asked about patients, they look for it in the columns."""
        columns = {PERIOD: data.period, **data.columns}
        return self.inner.look(Observed(columns, data.cluster, data.period, data.enrolled), replicates, look)

