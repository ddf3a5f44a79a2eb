"""`assurance`: the probability that a trial succeeds, averaged over what is believed before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import TrialError
from ...inference import Posterior
from ...text import fold
from ..describe import in_short
from ..design import TrialDesign
from ..nature import Scenario
from . import seam
from .estimates import NONE, PROBABILITY, WIDTH, Estimate, estimate, exact_interval, probability
from .success import Criterion, check_criterion, succeeded, words
from .tables import shown

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Assurance:
    """Probability of success averaged over scenarios.

    Attributes
    ----------
    value, error : float
        With its Monte Carlo standard error, that of drawing scenarios included.
    criterion : str
    scenarios : tuple of str
    weights, success : array, shape (scenario,)
        Weight of each scenario, and the probability of success under it.
    errors : array, shape (scenario,)
        Monte Carlo standard errors of `success`.
    replicates : int
        Per scenario.
    drawn : bool
        Whether scenarios were drawn.
    source : str
        What they were drawn from.
    design : tuple of str
        The design in short.
    """

    value: float
    error: float
    criterion: str
    scenarios: tuple[str, ...]
    weights: np.ndarray
    success: np.ndarray
    errors: np.ndarray
    replicates: int
    drawn: bool
    source: str = "the design prior"
    design: tuple[str, ...] = ()

    def frame(self) -> "DataFrame":
        """One row per scenario: ``scenario``, ``weight``, ``success``, ``mcse``."""
        import pandas as pd

        return pd.DataFrame({"scenario": self.scenarios, "weight": self.weights, "success": self.success, "mcse": self.errors})

    def __str__(self) -> str:
        low, high = max(self.value - WIDTH * self.error, 0), min(self.value + WIDTH * self.error, 1)
        lines = [f"Assurance {self.value:.3f} (Monte Carlo SE {self.error:.2g}, 95% interval {low:.3f} to {high:.3f})", f"Success: {self.criterion}",
                 *(f"{'Design:' if i == 0 else '':<8}{line}" for i, line in enumerate(self.design))]
        if self.drawn:
            at, never = np.quantile(self.success, (0.1, 0.5, 0.9)), int((self.success == 0).sum())
            lines += [f"Average over {len(self.scenarios):,} scenarios drawn from {self.source}, {self.replicates:,} replicates each.",
                      f"P(success) by scenario: median {at[1]:.2f}, 10% to 90% of them {at[0]:.2f} to {at[2]:.2f}, no success seen in {never:,}; "
                      f"each is estimated with a Monte Carlo SE of up to {self.errors.max():.2f}."]
        else:
            width = min(max(8, *map(len, self.scenarios)), 60) + 2
            lines += ["", f"{'scenario':<{width}}{'weight':>8}{'P(success)':>18}"]
            lines += [f"{n if len(n) <= width - 2 else n[:width - 5] + '...':<{width}}{w:>8.3f}{self._probability(p, e, self.replicates):>18}"
                      for n, w, p, e in zip(self.scenarios, self.weights, self.success, self.errors, strict=True)]
            lines.append(f"{self.replicates:,} replicates per scenario, on common random numbers. In brackets: Monte Carlo standard error; (<...), "
                         "(>...): 95% bound where none or all of the replicates succeeded.")
        return fold("\n".join(lines))

    @staticmethod
    def _probability(value: float, error: float, replicates: int) -> str:
        lower, upper = exact_interval(round(value * replicates), replicates) if value in (0.0, 1.0) else (value, value)
        return shown(Estimate(value, error, lower, upper), PROBABILITY)


def assurance(design: TrialDesign, prior: Callable[[np.random.Generator], Any] | Sequence[tuple[float, Any]] | Posterior, *,
              draws: int = 200, replicates: int = 100, criterion: Criterion = "power", margin: float | None = None, seed: int,
              scheduler: Any = None) -> Assurance:
    """Probability that a trial succeeds, averaged over a design prior: what was believed before it, or learned in an earlier trial.

    Parameters
    ----------
    design : TrialDesign
    prior : callable, sequence of (weight, Scenario), or Posterior
        A function that draws a scenario with the random generator it is given; scenarios with weights, which are normalised; or the posterior of
        an earlier trial of the same study, whose draws are picked at random (see :meth:`Scenario.drawn_from`).
    draws : int
        Scenarios drawn, of a function.
    replicates : int
        Per scenario.
    criterion, margin
        As :func:`power_curve`.
    seed : int
    scheduler : optional

    Returns
    -------
    Assurance

    Raises
    ------
    TrialError

    Notes
    -----
    With drawn scenarios the error is the spread of the scenarios' shares of successes over the root of their number, which counts both sources of
    chance. A scenario in which all regimes are equally good has no success by the criterion "power", so assurance is at most P(a best one exists).
    """
    check_criterion(criterion, margin)
    replicates = seam.at_least(replicates, 1, "replicates")
    source = "the design prior"
    if isinstance(prior, Posterior):
        source, prior = f"the posterior of {prior.trajectories.n:,} patients", Scenario.drawn_from(prior)
    if callable(prior):
        return _drawn(design, prior, source, seam.at_least(draws, 2, "draws"), replicates, criterion, margin, seed, scheduler)
    weights, scenarios = _weighted(prior)
    found = np.stack([_success(design, s, replicates, criterion, margin, seed, scheduler) for s in scenarios.values()], axis=1)
    mixed = found @ weights
    return Assurance(float(mixed.mean()), _error(mixed), words(criterion, margin), tuple(scenarios), weights, found.mean(axis=0),
                     np.array([estimate(probability(f), NONE).error for f in found.T]), replicates, drawn=False, design=tuple(in_short(design)))


def _drawn(design: TrialDesign, prior: Callable[[np.random.Generator], Any], source: str, draws: int, replicates: int, criterion: Criterion,
           margin: float | None, seed: int, scheduler: Any) -> Assurance:
    names, shares, errors = [], [], []
    for i in range(draws):
        scenario = prior(np.random.default_rng([seed, 5, i]))
        if not hasattr(scenario, "name"):
            raise TrialError(f"assurance: the prior must return a Scenario, it returned {type(scenario).__name__}.")
        names.append(f"{i + 1}: {scenario.name}")
        one = estimate(probability(_success(design, scenario, replicates, criterion, margin, seam.stream(seed, 6, i), scheduler)), NONE)
        shares.append(one.value)
        errors.append(one.error)
    return Assurance(float(np.mean(shares)), _error(np.array(shares)), words(criterion, margin), tuple(names), np.full(draws, 1 / draws),
                     np.array(shares), np.array(errors), replicates, drawn=True, source=source, design=tuple(in_short(design)))


def _success(design: TrialDesign, scenario: Any, replicates: int, criterion: Criterion, margin: float | None, seed: int,
             scheduler: Any) -> np.ndarray:
    run = seam.simulated(design, scenario, replicates, seed=seed, scheduler=scheduler)
    return succeeded(design, run, seam.truth_of(design, scenario), criterion, margin).astype(float)


def _weighted(prior: Any) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        weights = np.array([float(w) for w, _ in prior])
        scenarios = seam.by_name([s for _, s in prior], "assurance(prior=...)")
    except (TypeError, ValueError) as error:
        if isinstance(error, TrialError):
            raise
        raise TrialError(f"assurance: prior is a function that draws a Scenario, or a sequence of (weight, Scenario), got {prior!r}.") from None
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise TrialError(f"assurance: weights are numbers of at least 0, not all 0, got {weights.tolist()}.")
    return weights / weights.sum(), scenarios


def _error(x: np.ndarray) -> float:
    return float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan")
