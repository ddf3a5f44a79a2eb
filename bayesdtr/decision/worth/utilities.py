"""Another utility on the same posterior: no model depends on it, so nothing is fitted again."""

import dataclasses

from ...errors import DecisionError
from ...inference import Posterior
from ...study.lifetime import LifeUtility
from ...study.utility import Utility
from ..world import World


def with_utility(posterior: Posterior, utility: Utility | LifeUtility | str, *, mcid: float | None = None) -> Posterior:
    """The same posterior under another utility.

    The draws, their checks and the patients stay as they are: the utility says what responses are worth, and their models do not
    look at it. `optimize`, `compare`, recommendations and reports of what is returned use the new one.

    Parameters
    ----------
    posterior : Posterior
    utility : Utility, RestrictedMean, SurvivalAt, QualityAdjusted or str
        As a study's.
    mcid : float, optional
        Smallest difference that matters, in units of the new utility; by default 0.1 SD of it. The old one is not kept, as its unit
        may be another.

    Returns
    -------
    Posterior

    Raises
    ------
    StudyError
        Where the utility does not fit the study.
    DecisionError
        Where the posterior is one under `missing_shift` and the utility looks at single outcomes of the shifted response.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"with_utility takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    moved = dataclasses.replace(posterior, study=posterior.study.with_utility(utility, mcid))
    World.of(moved)  # refuses what a posterior under missing_shift has no answer to
    return moved
