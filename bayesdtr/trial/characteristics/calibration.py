"""`calibrate`: the threshold at which a design errs no more than allowed, found on stored path maxima and checked on other simulations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from ...errors import TrialError
from ...text import fold
from ..design import TrialDesign
from ..stopping.rule import StoppingRule, Threshold
from . import seam
from .estimates import exact_interval, upper_bound
from .operating import IMBALANCE
from .quantities import Question, Reader, declared_wrong

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Calibration:
    """A threshold that keeps the error over a grid of null scenarios, and the error that it was found to have.

    Attributes
    ----------
    design : TrialDesign
        With the calibrated threshold.
    rule : int
        Index of the calibrated stopping rule.
    threshold : float or tuple of float
        On the scale of the rule's statistic; one per look where thresholds vary by look.
    cut : float
        What path maxima must exceed: the threshold itself, or the common shift on the logit scale of thresholds that vary by look.
    target, confidence : float
    paths : mapping of str to array, shape (replicate,)
        Largest statistic of each calibration replicate under each null scenario with the rule recorded and not acting; +inf where another
        rule declared superiority.
    checked : mapping of str to int
        Errors among the replicates of the check.
    replicates, check, seed, check_seed : int
    """

    design: TrialDesign
    rule: int
    threshold: Threshold
    cut: float
    target: float
    confidence: float
    paths: Mapping[str, np.ndarray]
    checked: Mapping[str, int]
    replicates: int
    check: int
    seed: int
    check_seed: int

    @property
    def largest(self) -> float:
        """Largest error of the check over the null scenarios."""
        return max(self.checked.values()) / self.check

    @property
    def largest_upper(self) -> float:
        """Upper 95 % confidence bound on the largest error over the null scenarios.

        Notes
        -----
        The largest of the scenarios' one-sided bounds. It covers the largest error with at least 95 %: it can be too low only if the bound of
        the scenario that has the largest error is, whichever that is, so nothing is lost to there being many.
        """
        return max(upper_bound(k, self.check) for k in self.checked.values())

    @property
    def coarse(self) -> bool:
        """Whether the statistic takes so few values that the threshold leaves a tenth or more of the allowance unused."""
        allowed = allowed_count(self.replicates, self.target, self.confidence)
        return max(int((p > self.cut).sum()) for p in self.paths.values()) < 0.9 * allowed

    def errors(self, at: Sequence[float] | np.ndarray | float | None = None) -> "DataFrame":
        """Error of other thresholds, read off the path maxima without new simulations.

        Parameters
        ----------
        at : float or sequence of float, optional
            Values of `cut`; by default 101 of them around the calibrated one.

        Returns
        -------
        pandas.DataFrame
            ``null``, ``cut``, ``error``, ``lower``, ``upper`` (exact 95 % interval at each point).
        """
        import pandas as pd

        cuts = self._around() if at is None else np.atleast_1d(np.asarray(at, float))
        rows = []
        for name, path in self.paths.items():
            ordered = np.sort(path)
            counts = len(ordered) - np.searchsorted(ordered, cuts, side="right")
            for cut, count in zip(cuts, counts, strict=True):
                rows.append({"null": name, "cut": cut, "error": count / len(ordered)} | _bounds(int(count), len(ordered)))
        return pd.DataFrame(rows)

    def _around(self) -> np.ndarray:
        finite = np.concatenate([p[np.isfinite(p)] for p in self.paths.values()])
        low = np.quantile(finite, max(1 - 4 * self.target, 0.0), method="lower")
        return np.unique(np.append(np.linspace(low, finite.max(), 100), self.cut))

    def frame(self) -> "DataFrame":
        """One row per null scenario.

        Returns
        -------
        pandas.DataFrame
            ``null``, ``calibration_error``, ``calibration_upper`` (one-sided), ``error``, ``mcse``, ``lower``, ``upper`` (exact 95 % interval of
            the check), ``upper_bound`` (exact one-sided 95 % bound).
        """
        import pandas as pd

        rows = []
        for name, path in self.paths.items():
            before, count = int((path > self.cut).sum()), self.checked[name]
            error = count / self.check
            rows.append({"null": name, "calibration_error": before / self.replicates,
                         "calibration_upper": upper_bound(before, self.replicates, self.confidence), "error": error,
                         "mcse": math.sqrt(error * (1 - error) / self.check), **_bounds(count, self.check),
                         "upper_bound": upper_bound(count, self.check)})
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        frame = self.frame()
        width = min(max(24, *(len(n) for n in frame["null"])), 44)
        level = ", ".join(f"{t:.5f}" for t in ([self.threshold] if isinstance(self.threshold, float) else self.threshold))
        lines = [f"Calibrated: {self.design.stopping[self.rule].text()}", f"threshold {level}, for an error of at most {self.target:g} under "
                 f"{len(frame)} null scenario{'s' * (len(frame) > 1)}", "",
                 f"{'':<{width}}{f'calibration ({self.replicates:,})':>24}{f'check on others ({self.check:,})':>28}",
                 f"{'null scenario':<{width}}{'error':>12}{'upper bound':>12}{'error':>10}{'95% interval':>18}"]
        for row in frame.to_dict("records"):
            interval = f"{row['lower']:.4f} to {row['upper']:.4f}"
            lines.append(f"{row['null'][:width]:<{width}}{row['calibration_error']:>12.4f}{row['calibration_upper']:>12.4f}{row['error']:>10.4f}{interval:>18}")
        verdict = "within" if self.largest_upper <= self.target else "above"
        lines += ["", f"Largest error {self.largest:.4f}; upper 95% bound on it {self.largest_upper:.4f}, {verdict} the target of {self.target:g}."]
        lines.append(f"The threshold is the smallest whose upper {self.confidence:.0%} bound is at most the target under every null scenario of the "
                     "calibration; the check has other random numbers. Nothing is said of null scenarios that are not in the table.")
        if self.coarse:
            lines.append("The rule's statistic takes few values hereabouts (it steps with the draws of the engine, or with counts): the next lower "
                         "threshold would exceed the allowance, so this one stays well below it.")
        return fold("\n".join(lines))


def calibrate(design: TrialDesign, nulls: Any, *, rule: int = 0, error: float = 0.05, replicates: int = 10_000, seed: int, check: int = 40_000,
              confidence: float = 0.95, scheduler: Any = None) -> Calibration:
    """Find the threshold of a stopping rule at which the design errs no more than allowed, and check it on other simulations.

    Parameters
    ----------
    design : TrialDesign
    nulls : Scenario, sequence or mapping of Scenario
        Scenarios in which no declaration of the rule is right, all regimes being equally good: a grid over what else is unknown
        (:func:`null_grid`), drift included.
    rule : int
        Index of the stopping rule among the design's.
    error : float
        Largest error allowed: P(any superiority declared); of a rule that declares nothing, P(it stops the trial).
    replicates : int
        Simulations per null scenario that the threshold is found on.
    seed : int
    check : int
        Simulations per null scenario, with other random numbers, in which the calibrated design is tried.
    confidence : float
        Of the bound on the error that the threshold must keep.
    scheduler : optional
        Where simulations run.

    Returns
    -------
    Calibration

    Raises
    ------
    TrialError
        For a scenario that is no null, a rule that does not exist, applies at no look or cannot be kept to the error, and for too few replicates
        to show so small an error.

    Notes
    -----
    The design is simulated with the rule recorded and not acting; all other rules act, so a path ends where they end the trial. A replicate in
    which the rule would have fired with threshold c is one whose largest statistic exceeds c, for every c at once. Of R replicates, at most k may
    exceed, k being the largest count whose exact (Clopper and Pearson) upper bound is within the error; c is the (k+1)-th largest of the maxima,
    and of several scenarios the largest c counts. With confidence `confidence` the worst scenario's error is then within the allowance,
    however many scenarios there are. Where a rule of higher precedence fires at the same look, the path still counts: the calibrated threshold
    is then a little too strict, never too lax.

    Thresholds that vary by look keep their shape: they are all shifted by the same amount on the logit scale.
    """
    by_name = checked_nulls(design, nulls, rule)
    error, confidence = seam.share(error, "error"), seam.share(confidence, "confidence")
    check = seam.at_least(check, 1, "check")
    allowed = allowed_count(seam.at_least(replicates, 1, "replicates"), error, confidence)
    paths = {name: path_maxima(design, s, rule, replicates, seed, scheduler) for name, s in by_name.items()}
    cut = max(smallest_cut(path, allowed, name) for name, path in paths.items())
    threshold = _threshold(design.stopping[rule], cut, design.looks.count)
    made = with_threshold(design, rule, threshold)
    other = seam.stream(seed, 1)
    counts = {name: int(erred(made, s, seam.simulated(made, s, check, seed=other, scheduler=scheduler), rule).sum()) for name, s in by_name.items()}
    return Calibration(made, rule, threshold, cut, error, confidence, paths, counts, replicates, check, seed, other)


# ---- paths -------------------------------------------------------------------------------------------------------


def path_maxima(design: TrialDesign, scenario: Any, rule: int, replicates: int, seed: int, scheduler: Any = None) -> np.ndarray:
    """Largest statistic of a rule that is recorded and does not act, shape (replicate,); as a shift of its thresholds where they vary by look."""
    levels = _levels(design.stopping[rule], design.looks.count)
    shaped = _shaped(levels)
    run = seam.simulated(design.open(rule), scenario, replicates, seed=seed, keep="looks" if shaped else "summary", scheduler=scheduler)
    if shaped:
        shift = special.logit(np.asarray(run["statistic"])[:, :, rule]) - special.logit(levels)
        path = np.where(np.isnan(shift), -np.inf, shift).max(axis=1)
    else:
        path = np.asarray(run["path_max"])[:, rule].copy()
    path[path >= 1] = np.inf  # above every threshold that a rule can have
    if design.stopping[rule].declares:
        path[_declares_wrongly(design, scenario, run)] = np.inf
    return path


def erred(design: TrialDesign, scenario: Any, run: Any, rule: int) -> np.ndarray:
    """Whether each replicate errs under a null scenario: declares superiority wrongly, or is stopped by a rule that declares nothing."""
    return _declares_wrongly(design, scenario, run) if design.stopping[rule].declares else np.asarray(run["stopped_by"]) == rule


def _declares_wrongly(design: TrialDesign, scenario: Any, run: Any) -> np.ndarray:
    return declared_wrong(Reader(run), _question(design, scenario))


def _question(design: TrialDesign, scenario: Any) -> Question:
    return Question(design, design.layout, seam.truth_of(design, scenario), IMBALANCE, None)


def allowed_count(replicates: int, error: float, confidence: float) -> int:
    """The largest number of errors among replicates whose exact upper bound is within the error allowed.

    Raises
    ------
    TrialError
        When not even 0 errors would show it.
    """
    if upper_bound(0, replicates, confidence) > error:
        least = math.ceil(math.log(1 - confidence) / math.log(1 - error))
        raise TrialError(f"{replicates:,} replicates cannot show an error of at most {error:g} with confidence {confidence:g}; "
                         f"take {least:,} or more (10,000 are customary).")
    low, high = 0, replicates
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if upper_bound(middle, replicates, confidence) <= error else (low, middle)
    return low


def with_threshold(design: TrialDesign, rule: int, threshold: Threshold) -> TrialDesign:
    """The design in which a stopping rule has another threshold on its statistic's scale."""
    return design._with(stopping=tuple(r.at(threshold) if i == rule else r for i, r in enumerate(design.stopping)))


def smallest_cut(path: np.ndarray, allowed: int, name: str) -> float:
    """The smallest number that no more than so many maxima exceed."""
    cut = float(np.sort(path)[::-1][allowed])
    if cut == -np.inf:
        raise TrialError(f"Under {name!r} the rule applies in no more than {int((path > -np.inf).sum()):,} of {len(path):,} replicates, fewer than "
                         "may err: any threshold keeps the error, so there is nothing to calibrate.")
    if cut == np.inf:
        raise TrialError(f"Under {name!r} no threshold keeps the error: in {int((path == np.inf).sum()):,} of {len(path):,} replicates, more than "
                         "may err, other rules declare superiority or the statistic reaches 1, as P(best) does where all arms but one are dropped. "
                         "Make the other rules stricter (a smaller threshold of DropWorst), or allow a larger error.")
    return cut


def _levels(rule: StoppingRule, looks: int) -> np.ndarray:
    return np.array([rule.level(look) for look in range(looks)])


def _shaped(levels: np.ndarray) -> bool:
    return bool((levels != levels[0]).any())


def _threshold(rule: StoppingRule, cut: float, looks: int) -> Threshold:
    levels = _levels(rule, looks)
    return tuple(float(t) for t in special.expit(special.logit(levels) + cut)) if _shaped(levels) else cut


def checked_nulls(design: TrialDesign, nulls: Any, rule: int) -> dict[str, Any]:
    """Null scenarios by name, of a rule that exists.

    Raises
    ------
    TrialError
    """
    scenarios = seam.by_name(nulls, "calibrate(nulls=...)")
    if isinstance(rule, bool) or not isinstance(rule, int) or not 0 <= rule < len(design.stopping):
        rules = "; ".join(f"{i}: {r.text()}" for i, r in enumerate(design.stopping)) or "none"
        raise TrialError(f"calibrate: no stopping rule {rule!r}; the design's are {rules}.")
    levels = _levels(design.stopping[rule], design.looks.count)
    if _shaped(levels) and not ((levels > 0) & (levels < 1)).all():
        raise TrialError(f"calibrate: thresholds that vary by look are shifted on the logit scale, so they lie between 0 and 1; got "
                         f"{levels.tolist()}.")
    for name, scenario in scenarios.items():
        ask = _question(design, scenario)
        right = ask.right[rule] if design.stopping[rule].declares else ~np.asarray(ask.truth.best, bool)
        if right.any():
            told = ", ".join(f"{v:.4g}" for v in ask.truth.values)
            raise TrialError(f"calibrate: scenario {name!r} is no null, its regimes have the values {told}; give scenarios in which all are "
                             "equally good, or none better than the regime that the rule compares with.")
    return scenarios


def _bounds(count: int, n: int) -> dict[str, float]:
    lower, upper = exact_interval(count, n)
    return {"lower": lower, "upper": upper}

