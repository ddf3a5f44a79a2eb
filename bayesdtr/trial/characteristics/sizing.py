"""`power_curve` and `size_for`: how large a trial must be, by simulation at a few sizes and a curve between them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...text import fold
from ..design import TrialDesign
from . import seam
from .curves import Curve, fit_curve
from .estimates import PROBABILITY, Estimate, exact_interval
from .success import Criterion, check_criterion, succeeded, words
from .tables import shown

if TYPE_CHECKING:
    from pandas import DataFrame

FIRST = 5
"""Sizes that a search begins with."""


@dataclass(frozen=True)
class SizeCheck:
    """A size found, simulated once more with other random numbers.

    Attributes
    ----------
    size, successes, replicates : int
    """

    size: int
    successes: int
    replicates: int

    @property
    def share(self) -> float:
        """Share of successes."""
        return self.successes / self.replicates

    @property
    def error(self) -> float:
        """Its Monte Carlo standard error."""
        return math.sqrt(self.share * (1 - self.share) / self.replicates)


@dataclass(frozen=True, eq=False)
class Sizing:
    """Probability of success over the size of a trial.

    Attributes
    ----------
    target : float
    criterion : str
        What counts as a success, in words.
    curves : mapping of str to Curve
        By scenario.
    effects : mapping of str to float
        Of scenarios given by effect; NaN of others.
    replicates, seed : int
        Per size and scenario.
    check : SizeCheck or None
    """

    target: float
    criterion: str
    curves: Mapping[str, Curve]
    effects: Mapping[str, float]
    replicates: int
    seed: int
    check: SizeCheck | None = None

    def curve(self, scenario: str | None = None) -> Curve:
        """A scenario's curve; the only one where none is named.

        Raises
        ------
        TrialError
        """
        if scenario is None and len(self.curves) == 1:
            return next(iter(self.curves.values()))
        if scenario not in self.curves:
            raise TrialError(f"Sizing: no scenario {scenario!r}; there are {listing(self.curves)}{did_you_mean(scenario, self.curves)}")
        return self.curves[scenario]

    def size(self, scenario: str | None = None) -> tuple[float, float, float]:
        """The smallest size that reaches the target, and the 95 % interval of what it is; inf where no simulated size does."""
        return self.curve(scenario).reaches(self.target)

    def power(self, size: float, scenario: str | None = None) -> tuple[float, float, float]:
        """Fitted probability of success at a size, with its 95 % band.

        Raises
        ------
        TrialError
            Outside the range of simulated sizes, where nothing is known.
        """
        curve = self.curve(scenario)
        low, high = curve.sizes.min(), curve.sizes.max()
        if not low <= size <= high:
            raise TrialError(f"Sizing: simulated sizes go from {low:g} to {high:g}; {size!r} lies outside, simulate it.")
        middle, lower, upper = curve.at(size)
        return float(middle[0]), float(lower[0]), float(upper[0])

    def detectable(self, size: float) -> tuple[float, float, float]:
        """The smallest effect that a trial of a size detects with the target probability, and its 95 % interval; inf beyond the largest simulated.

        Raises
        ------
        TrialError
            Where scenarios were not given by effect, or there is one alone.
        """
        names = sorted((n for n in self.curves if math.isfinite(self.effects[n])), key=lambda n: self.effects[n])
        if len(names) < 2:
            raise TrialError("detectable needs scenarios given by effect, {0.1: scenario, 0.2: scenario}, at least two of them.")
        found = np.array([self.power(size, n) for n in names])
        effects = np.array([self.effects[n] for n in names])
        return tuple(_crossing(effects, found[:, k], self.target) for k in (0, 2, 1))  # type: ignore[return-value]

    def frame(self) -> "DataFrame":
        """One row per scenario and simulated size.

        Returns
        -------
        pandas.DataFrame
            ``scenario``, ``effect``, ``size``, ``power``, ``mcse``, ``lower``, ``upper`` (exact 95 % interval), ``fitted``, ``band_lower``,
            ``band_upper``, ``residual`` (in standard errors).
        """
        import pandas as pd

        rows = []
        for name, curve in self.curves.items():
            fitted, low, high = curve.at(curve.sizes)
            for i, size in enumerate(curve.sizes):
                lower, upper = exact_interval(round(curve.observed[i] * self.replicates), self.replicates)
                rows.append({"scenario": name, "effect": self.effects[name], "size": int(size), "power": curve.observed[i], "mcse": curve.errors[i],
                             "lower": lower, "upper": upper, "fitted": fitted[i], "band_lower": low[i], "band_upper": high[i],
                             "residual": curve.residuals[i]})
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        lines = ["Probability of success over the size of the trial", f"Success: {self.criterion}",
                 f"{self.replicates:,} replicates per size and scenario, on common random numbers"]
        frame = self.frame()
        for name, curve in self.curves.items():
            effect = self.effects[name]
            lines += ["", f"SCENARIO {name}{f' (effect {effect:g})' if math.isfinite(effect) else ''}",
                      f"{'size':>8}{'simulated':>20}{'fitted':>9}{'95% band':>18}{'residual':>11}"]
            for row in frame[frame["scenario"] == name].to_dict("records"):
                simulated = shown(Estimate(row["power"], row["mcse"], row["lower"], row["upper"]), PROBABILITY)
                band = f"{row['band_lower']:.3f} to {row['band_upper']:.3f}"
                lines.append(f"{row['size']:>8}{simulated:>20}{row['fitted']:>9.3f}{band:>18}{round(row['residual'], 1) + 0.0:>+11.1f}")
            lines += [*_found(self, name), *_fit_words(curve)]
        lines += ["", "In brackets: Monte Carlo standard error; (<...), (>...): 95% bound where none or all of the replicates succeeded. Residual: "
                      "simulated less fitted, in standard errors."]
        return fold("\n".join(lines))


def power_curve(design_for: Callable[[int], TrialDesign], scenarios: Any, sizes: Sequence[int], *, target: float = 0.8,
                criterion: Criterion = "power", margin: float | None = None, replicates: int = 2000, seed: int, scheduler: Any = None) -> Sizing:
    """Probability of success over the size of a trial, by simulation at some sizes.

    Parameters
    ----------
    design_for : callable
        From a size to the design of that size, its looks included.
    scenarios : Scenario, sequence of Scenario, or mapping of float to Scenario
        A mapping names the effect of each.
    sizes : sequence of int
    target : float
        Probability of success that is wanted.
    criterion : {"power", "selection", "exclusion"} or callable
        "power": regimes are declared superior, and all of them are: best, or better than the regime that a rule
        compares with. "selection": the regime selected at the end is a best one, or within `margin`
        of it. "exclusion": P(best) in the final analysis is at least 0.05 for a best regime, and below for all that lose `margin` or more.
        A function takes a run and the scenario's truth and returns whether each replicate succeeds.
    margin : float, optional
        In units of the utility.
    replicates : int
        Per size and scenario. All sizes and scenarios have the same random numbers.
    seed : int
    scheduler : optional

    Returns
    -------
    Sizing

    Raises
    ------
    TrialError
        Where a design is none or not of its size, for unknown criteria, and for too few replicates.
    """
    named, effects = _scenarios(scenarios)
    target, replicates = seam.share(target, "target"), seam.at_least(replicates, 20, "replicates")
    check_criterion(criterion, margin)
    designs = _designs(design_for, sizes)
    curves = {}
    for name, scenario in named.items():
        found = _successes(designs, scenario, criterion, margin, replicates, seed, scheduler)
        curves[name] = fit_curve(np.array(list(designs)), found)
    return Sizing(target, words(criterion, margin), curves, effects, replicates, seed)


def size_for(design_for: Callable[[int], TrialDesign], scenario: Any, *, between: tuple[int, int], target: float = 0.8,
             criterion: Criterion = "power", margin: float | None = None, replicates: int = 2000, seed: int, multiple: int = 1,
             scheduler: Any = None) -> Sizing:
    """The smallest size of a trial that succeeds often enough under a scenario.

    Parameters
    ----------
    design_for : callable
        From a size to the design of that size.
    scenario : Scenario
    between : tuple of int
        Smallest and largest size to be considered.
    target, criterion, margin, replicates, seed, scheduler
        As :func:`power_curve`.
    multiple : int
        Sizes are multiples of this number.

    Returns
    -------
    Sizing
        Its `check` is the size found, simulated with other random numbers; None where no size in the range reaches the target.

    Raises
    ------
    TrialError

    Notes
    -----
    Five sizes, evenly spaced on the scale of the root, are simulated; then the size that the curve points to and the ends of its interval.
    """
    if len(seam.by_name(scenario, "size_for(scenario=...)")) != 1:
        raise TrialError("size_for takes one scenario; power_curve takes several.")
    low, high = (seam.at_least(b, 1, "between") for b in between)
    multiple = seam.at_least(multiple, 1, "multiple")
    if low >= high:
        raise TrialError(f"between=(smallest, largest) takes two sizes, the smaller first, got {between!r}.")
    sizes = sorted({_rounded(s, multiple) for s in np.linspace(math.sqrt(low), math.sqrt(high), FIRST) ** 2})
    shared = {"target": target, "criterion": criterion, "margin": margin, "replicates": replicates, "seed": seed, "scheduler": scheduler}
    first = power_curve(design_for, scenario, sizes, **shared)
    if not math.isfinite(first.size()[0]):
        return first
    around = {_rounded(s, multiple) for s in first.size() if math.isfinite(s)} - set(sizes)
    (one,) = seam.by_name(scenario, "").values()
    designs = _designs(design_for, sorted({*sizes, *around}))
    found = power_curve(design_for, one, list(designs), **shared) if around else first
    if not math.isfinite(found.size()[0]):
        return found
    size = _rounded(found.size()[0], multiple)
    run = _successes(_designs(design_for, [size]), one, criterion, margin, replicates, seam.stream(seed, 4), scheduler)
    return replace(found, check=SizeCheck(size, int(run.sum()), replicates))


# ---- parts -------------------------------------------------------------------------------------------------------


def _scenarios(given: Any) -> tuple[dict[str, Any], dict[str, float]]:
    named = seam.by_name(given, "power_curve(scenarios=...)")
    effects = dict.fromkeys(named, math.nan)
    if isinstance(given, Mapping):
        numbers = [k for k in given if isinstance(k, (int, float)) and not isinstance(k, bool)]
        effects |= {given[k].name: float(k) for k in numbers}
    return named, effects


def _designs(design_for: Callable[[int], TrialDesign], sizes: Sequence[int]) -> dict[int, TrialDesign]:
    if not callable(design_for):
        raise TrialError(f"design_for is a function from a size to a TrialDesign, for example lambda n: TrialDesign(study, size=n, looks=[n]); "
                         f"got {type(design_for).__name__}.")
    wanted = [seam.at_least(s, 1, "a size") for s in sizes]
    if not wanted or sorted(set(wanted)) != wanted:
        raise TrialError(f"sizes are increasing whole numbers, got {list(sizes)!r}.")
    designs = {size: design_for(size) for size in wanted}
    for size, design in designs.items():
        if not isinstance(design, TrialDesign) or design.size != size:
            told = f"a design of {design.size} patients" if isinstance(design, TrialDesign) else type(design).__name__
            raise TrialError(f"design_for({size}) must return the TrialDesign of {size} patients, it returned {told}.")
    return designs


def _successes(designs: Mapping[int, TrialDesign], scenario: Any, criterion: Criterion, margin: float | None, replicates: int, seed: int,
               scheduler: Any) -> np.ndarray:
    """Whether each replicate succeeds at each size, shape (replicate, size)."""
    found = []
    for design in designs.values():
        run = seam.simulated(design, scenario, replicates, seed=seed, scheduler=scheduler)
        found.append(succeeded(design, run, seam.truth_of(design, scenario), criterion, margin))
    return np.stack(found, axis=1)


def _rounded(size: float, multiple: int) -> int:
    return math.ceil(round(size, 9) / multiple) * multiple


def _crossing(effects: np.ndarray, power: np.ndarray, target: float) -> float:
    from scipy import stats

    z, goal = stats.norm.ppf(np.clip(power, 1e-9, 1 - 1e-9)), stats.norm.ppf(target)
    for i in range(len(z)):
        if z[i] >= goal:
            return float(effects[0] if i == 0 else effects[i - 1] + (goal - z[i - 1]) / (z[i] - z[i - 1]) * (effects[i] - effects[i - 1]))
    return math.inf


def _found(sizing: Sizing, name: str) -> list[str]:
    size, low, high = sizing.size(name)
    curve = sizing.curve(name)
    if not math.isfinite(size):
        fitted, lower, upper = curve.at(curve.sizes)
        top = int(fitted.argmax())
        # Never rounded up to what it does not reach.
        told = next((text for k in (3, 4, 5) if float(text := f"{fitted[top]:.{k}f}") < sizing.target), "just below it")
        return [f"No size up to {curve.sizes.max():g} reaches {sizing.target:g}: the largest fitted probability is {told} (95% band "
                f"{lower[top]:.3f} to {upper[top]:.3f}), at {curve.sizes[top]:g} patients. Simulate larger trials."]
    if size == curve.sizes.min():
        return [f"Already the smallest size simulated, {size:g}, reaches {sizing.target:g}; a smaller trial may do."]
    end = f"{high:g}" if math.isfinite(high) else f"more than {curve.sizes.max():g}"
    lines = [f"{sizing.target:g} is reached with {size:g} patients (95% interval {low:g} to {end})."]
    if sizing.check is not None:
        c = sizing.check
        checked = shown(Estimate(c.share, c.error, *exact_interval(c.successes, c.replicates)), PROBABILITY)
        lines.append(f"Check with other random numbers: {checked} at {c.size} patients.")
    return lines


def _fit_words(curve: Curve) -> list[str]:
    if not math.isfinite(curve.p_value):
        return []
    shape = "probit linear in the root of the size" if len(curve.coefficients) == 2 else "probit quadratic in the root of the size"
    widened = f"; the curve does not fit, its errors are widened {curve.widened:.1f} times" if curve.widened > 1 else ""
    return [f"Curve: {shape}; lack of fit p = {curve.p_value:.2g}{widened}."]
