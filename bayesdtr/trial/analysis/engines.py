"""Which engine analyses the looks of a design."""

from dataclasses import replace

from ...study import Study
from .periods import PeriodAnalyst, with_periods
from .protocol import Analyst
from .spec import Analysis


def analyst(study: Study, analysis: Analysis, size: int, blocks: int) -> Analyst:
    """Make the engine of a design's looks.

    Parameters
    ----------
    study : Study
    analysis : Analysis
    size : int
        Largest number of patients.
    blocks : int
        Most blocks of enrolment.

    Raises
    ------
    TrialError
        When the engine cannot analyse the study.
    """
    if analysis.period_effects:
        return PeriodAnalyst(_plain(with_periods(study, blocks), analysis, size))
    return _plain(study, analysis, size)


def auditor(study: Study, analysis: Analysis, size: int, blocks: int) -> Analyst | None:
    """The engine that audits a design's own, NUTS; None where nothing is audited."""
    if not analysis.audit or analysis.chosen(study) == "nuts":
        return None
    return analyst(study, replace(analysis, engine="nuts"), size, blocks)


def _plain(study: Study, analysis: Analysis, size: int) -> Analyst:
    # Engines that need PyMC are imported when they are first used.
    engine = analysis.chosen(study)
    if engine == "exact":
        from .cells import CellsAnalyst

        return CellsAnalyst(study, analysis)
    if engine == "laplace":
        from .laplace import LaplaceAnalyst

        return LaplaceAnalyst(study, analysis, size)
    from .nuts import NutsAnalyst

    return NutsAnalyst(study, analysis, size)
