"""Baseline covariates and clusters of simulated patients."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from ...study.timeline import Baseline
from .functions import Function
from .reading import finite, not_negative, positive, probability


@dataclass(frozen=True)
class Covariate(abc.ABC):
    """Base of the laws of one covariate, independent of the others; frozen."""

    @abc.abstractmethod
    def drawn(self, u: np.ndarray, baseline: Baseline) -> np.ndarray:
        """Values, or codes of labels, at probabilities; the same shape."""

    def check(self, baseline: Baseline) -> None:
        """Raise `TrialError` where the law does not fit the declaration; here for numbers."""
        if baseline.levels is not None:
            raise TrialError(f"Scenario: baseline {baseline.name!r} has labels, so its law is Levels({{{baseline.levels[0]!r}: ...}}), got {self}.")


@dataclass(frozen=True)
class Gaussian(Covariate):
    """A Normal covariate.

    Parameters
    ----------
    mean, sd : float
    """

    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "mean", finite(self.mean, "Gaussian: the mean"))
        object.__setattr__(self, "sd", positive(self.sd, "Gaussian: the SD"))

    def drawn(self, u: np.ndarray, baseline: Baseline) -> np.ndarray:
        """``mean + sd z``."""
        return self.mean + self.sd * ndtri(u)

    def __str__(self) -> str:
        return f"Normal({self.mean:g}, {self.sd:g}^2)"


@dataclass(frozen=True)
class Uniform(Covariate):
    """A covariate spread evenly between two numbers.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    def __post_init__(self):
        object.__setattr__(self, "low", finite(self.low, "Uniform: the lower end"))
        object.__setattr__(self, "high", finite(self.high, "Uniform: the upper end"))
        if self.low >= self.high:
            raise TrialError(f"Uniform: the lower end, {self.low:g}, must be below the upper, {self.high:g}.")

    def drawn(self, u: np.ndarray, baseline: Baseline) -> np.ndarray:
        """Linear."""
        return self.low + (self.high - self.low) * u

    def __str__(self) -> str:
        return f"Uniform({self.low:g}, {self.high:g})"


@dataclass(frozen=True, init=False)
class Levels(Covariate):
    """A covariate with finitely many values.

    Parameters
    ----------
    probabilities : mapping of label or number to float
    """

    probabilities: tuple[tuple[str | float, float], ...]

    def __init__(self, probabilities: Mapping[Any, float]):
        if not isinstance(probabilities, Mapping) or not probabilities:
            raise TrialError(f"Levels takes a mapping of labels to probabilities, got {probabilities!r}.")
        read = tuple((k if isinstance(k, str) else finite(k, "Levels: a value"), probability(p, f"Levels: that of {k!r}"))
                     for k, p in probabilities.items())
        if abs((total := sum(p for _, p in read)) - 1) > 1e-9:
            raise TrialError(f"Levels: the probabilities add up to {total:g}, not 1.")
        object.__setattr__(self, "probabilities", read)

    def check(self, baseline: Baseline) -> None:
        """Labels where the covariate has them, numbers where not."""
        for value, _ in self.probabilities:
            if baseline.levels is None and isinstance(value, str):
                raise TrialError(f"Scenario: baseline {baseline.name!r} is a number, so Levels cannot name {value!r}.")
            if baseline.levels is not None and value not in baseline.levels:
                raise TrialError(f"Scenario: baseline {baseline.name!r} has no level {value!r}; levels: {listing(baseline.levels)}"
                                 f"{did_you_mean(value, baseline.levels)}")

    def support(self, baseline: Baseline) -> tuple[np.ndarray, np.ndarray]:
        """Values or codes, and their probabilities."""
        values = [baseline.levels.index(v) if baseline.levels else float(v) for v, _ in self.probabilities]  # type: ignore[arg-type]
        return np.array(values), np.array([p for _, p in self.probabilities])

    def drawn(self, u: np.ndarray, baseline: Baseline) -> np.ndarray:
        """By inverse cdf in the order given."""
        values, chances = self.support(baseline)
        return values[np.searchsorted(np.cumsum(chances)[:-1], u, side="right")]

    def __str__(self) -> str:
        return ", ".join(f"{k}: {p:g}" for k, p in self.probabilities)


@dataclass(frozen=True, init=False)
class Joint:
    """Covariates that depend on one another, by a function of uniform numbers.

    Parameters
    ----------
    function : callable
        From an array of shape (n, count) of independent uniform numbers to a mapping of every covariate's name to an array of shape (n,):
        numbers, or labels as text. It must work row by row.
    count : int
        How many uniform numbers a patient takes.
    """

    function: Function
    count: int

    def __init__(self, function: Callable[[np.ndarray], Mapping[str, np.ndarray]], count: int):
        if not callable(function):
            raise TrialError(f"Joint takes a function from uniform numbers of shape (n, count) to columns, got {function!r}.")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise TrialError(f"Joint: count is a whole number of at least 1, got {count!r}.")
        object.__setattr__(self, "function", Function.of(function))
        object.__setattr__(self, "count", count)

    def columns(self, u: np.ndarray, study: Study) -> dict[str, np.ndarray]:
        """Columns by name, shape (n,), labels as codes."""
        return self.coded(self.function.call(u), len(u), study)

    def coded(self, given: Any, rows: int, study: Study) -> dict[str, np.ndarray]:
        """What the function returned, checked, with labels as codes."""
        wanted = [b.name for b in study.baselines]
        if not isinstance(given, Mapping):
            raise TrialError(f"Scenario: the function {self.function} of the baseline must return a mapping of names to arrays, got {given!r}.")
        for name in given:
            if name not in wanted:
                raise TrialError(f"Scenario: the function of the baseline returns {name!r}; covariates: {listing(wanted)}"
                                 f"{did_you_mean(name, wanted)}")
        made = {}
        for b in study.baselines:
            if b.name not in given:
                raise TrialError(f"Scenario: the function of the baseline lacks {b.name!r}.")
            values = np.asarray(given[b.name])
            if values.shape != (rows,):
                raise TrialError(f"Scenario: baseline {b.name!r} must have shape {(rows,)}, the function returned {values.shape}.")
            if b.levels is not None:
                codes = np.full(len(values), -1)
                for code, label in enumerate(b.levels):
                    codes[values == label] = code
                if (bad := np.flatnonzero(codes < 0)).size:
                    raise TrialError(f"Scenario: baseline {b.name!r} has no level {values[bad[0]]!r}; levels: {listing(b.levels)}.")
            made[b.name] = values.astype(float) if b.levels is None else codes
        return made

    def __str__(self) -> str:
        return f"by {self.function} of {self.count} uniform numbers"


@dataclass(frozen=True, init=False)
class Sites:
    """Clusters that patients belong to, with effects on the linear predictors of responses.

    Parameters
    ----------
    sites : int or sequence of str
        How many, or their labels.
    weights : sequence of float, optional
        Share of patients of each; by default equal.
    sd : mapping of response to float, optional
        SD of the sites' Normal effects on a response's linear predictor, independent between sites and responses and drawn anew in
        every replicate.

    Notes
    -----
    What a scenario says of a response is true at a site without an effect. Averaged over sites a probability lies nearer to 1/2 and a mean with a
    log link is larger; :func:`truth` averages.
    """

    labels: tuple[str, ...]
    weights: tuple[float, ...]
    sd: tuple[tuple[str, float], ...]

    def __init__(self, sites: int | Sequence[str], *, weights: Sequence[float] | None = None, sd: Mapping[str, float] | None = None):
        if isinstance(sites, int) and not isinstance(sites, bool) and sites >= 1:
            labels: tuple[str, ...] = tuple(str(i + 1) for i in range(sites))
        elif isinstance(sites, Sequence) and not isinstance(sites, str) and sites:
            labels = tuple(map(str, sites))
        else:
            raise TrialError(f"Sites takes a number of sites of at least 1, or their labels, got {sites!r}.")
        shares = [1.0] * len(labels) if weights is None else [positive(w, "Sites: a weight") for w in weights]
        if len(shares) != len(labels):
            raise TrialError(f"Sites: {len(labels)} sites need as many weights, got {len(shares)}.")
        if sd is not None and not isinstance(sd, Mapping):
            raise TrialError(f"Sites: sd is a mapping of responses to SDs, for example {{'y': 0.3}}, got {sd!r}.")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "weights", tuple(w / sum(shares) for w in shares))
        object.__setattr__(self, "sd", tuple((str(n), not_negative(s, f"Sites: the SD of {n!r}")) for n, s in (sd or {}).items()))

    def __str__(self) -> str:
        effects = ", ".join(f"{n} {s:g}" for n, s in self.sd)
        return f"{len(self.labels)} sites" + (f", SD of their effects on the linear predictor: {effects}" if effects else "")
