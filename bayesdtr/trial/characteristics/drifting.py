"""`drift_inflation`: how much drift over calendar time adds to a design's error, with period effects in the analysis and without."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import TrialError
from ...text import fold
from ..design import TrialDesign
from . import seam
from .calibration import allowed_count, checked_nulls, path_maxima, smallest_cut
from .estimates import MISSING, NONE, PROBABILITY, Estimate, estimate, paired, probability
from .tables import shown

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Inflation:
    """Error of a design under one drifting scenario.

    Attributes
    ----------
    analysis : str
    scenario : str
    error : Estimate
    added : Estimate
        Error under drift minus error without, on common random numbers; NaN of the scenario without drift itself.
    """

    analysis: str
    scenario: str
    error: Estimate
    added: Estimate


@dataclass(frozen=True, eq=False)
class DriftInflation:
    """What drift adds to a design's error.

    Attributes
    ----------
    rows : tuple of Inflation
        The scenario without drift first, for each analysis.
    thresholds : tuple of (str, float)
        Of each analysis, calibrated without drift; as `Calibration.cut`.
    target : float
    replicates : int
    """

    rows: tuple[Inflation, ...]
    thresholds: tuple[tuple[str, float], ...]
    target: float
    replicates: int

    def frame(self) -> "DataFrame":
        """One row per analysis and scenario.

        Returns
        -------
        pandas.DataFrame
            ``analysis``, ``scenario``, ``error``, ``error_mcse``, ``added``, ``added_mcse``, ``added_upper`` (95 %).
        """
        import pandas as pd

        return pd.DataFrame([{"analysis": r.analysis, "scenario": r.scenario, "error": r.error.value, "error_mcse": r.error.error,
                              "added": r.added.value, "added_mcse": r.added.error, "added_upper": r.added.upper} for r in self.rows])

    def __str__(self) -> str:
        width = min(max(20, *(len(r.scenario) for r in self.rows)), 44) + 2
        lines = [f"Type I error under drift over calendar time, threshold for {self.target:g} without it"]
        for name, cut in self.thresholds:
            lines += ["", f"ANALYSIS {name}, threshold {cut:.6g}", f"{'scenario':<{width}}{'error':>17}{'added by drift':>20}{'95% bound':>11}"]
            for r in (r for r in self.rows if r.analysis == name):
                scenario = r.scenario if len(r.scenario) <= width - 2 else f"{r.scenario[:width - 5]}..."
                added = f"{shown(r.added, 'difference'):>20}{r.added.upper:>+11.4f}" if np.isfinite(r.added.value) else ""
                lines.append(f"{scenario:<{width}}{shown(r.error, PROBABILITY):>17}{added}")
        lines += ["", f"{self.replicates:,} replicates a row, on common random numbers; in brackets Monte Carlo standard errors, (<...): 95% bound "
                      "where no replicate erred. Added by drift: the error less that without drift, with the upper end of its 95% interval. Each "
                      f"analysis has its own threshold, at which the error without drift is with 95% confidence at most {self.target:g} in "
                      f"{self.replicates:,} other replicates; with few of them, or few draws a look, it lies well below."]
        return fold("\n".join(lines))


def drift_inflation(design: TrialDesign, null: Any, drifts: Any, *, rule: int = 0, error: float = 0.05, replicates: int = 10_000, seed: int,
                    scheduler: Any = None) -> DriftInflation:
    """What drift over calendar time adds to a design's type I error, with period effects in the analysis and without.

    Parameters
    ----------
    design : TrialDesign
    null : Scenario
        Without drift: all regimes equally good.
    drifts : Scenario, sequence or mapping of Scenario
        The same scenario with drift. Where it differs between arms the error counts any declaration.
    rule : int
        Index of the stopping rule whose threshold is calibrated for each analysis, without drift.
    error : float
    replicates : int
        Per analysis and scenario; twice as many are simulated without drift.
    seed : int
    scheduler : optional

    Returns
    -------
    DriftInflation

    Raises
    ------
    TrialError
        As :func:`calibrate`; where the design's engine is fixed to one without period effects.

    Notes
    -----
    Drift adds to the error in two ways. Where shares of options change over time it passes for an effect of treatment; period effects take that
    out, whatever its size. And it moves the level at which responses are observed, while the threshold was found at another: low rates
    that rise make a given probability easier to reach. That part is there under equal allocation too,
    ``drift_inflation(design.equal, ...)``; a threshold calibrated over a :func:`null_grid` of levels allows for it.
    """
    checked_nulls(design, null, rule)
    scenarios, error = seam.by_name(drifts, "drift_inflation(drifts=...)"), seam.share(error, "error")
    if null.name in scenarios:
        raise TrialError(f"drift_inflation: {null.name!r} is both the scenario without drift and one with it; give them different names.")
    allowed = allowed_count(seam.at_least(replicates, 1, "replicates"), error, 0.95)
    rows, thresholds = [], []
    for period_effects in (False, True):
        name = "with period effects" if period_effects else "no period effects"
        made = design._with(analysis=replace(design.analysis, period_effects=period_effects))
        made.analysis.check(made.study)
        cut = smallest_cut(path_maxima(made, null, rule, replicates, seed, scheduler), allowed, null.name)
        thresholds.append((name, cut))
        other = seam.stream(seed, 2)
        plain = probability(path_maxima(made, null, rule, replicates, other, scheduler) > cut)
        rows.append(Inflation(name, null.name, estimate(plain, NONE), MISSING))
        for scenario in scenarios.values():
            drifting = probability(path_maxima(made, scenario, rule, replicates, other, scheduler) > cut)
            rows.append(Inflation(name, scenario.name, estimate(drifting, NONE), paired(drifting, plain, NONE)))
    return DriftInflation(tuple(rows), tuple(thresholds), error, replicates)
