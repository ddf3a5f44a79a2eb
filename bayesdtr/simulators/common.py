"""What the generators share: policies, rollouts under common random numbers, and exact normal integrals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from ..errors import DecisionError, did_you_mean, listing

Rule = Callable[[pd.DataFrame], np.ndarray]
"""From the columns observed so far, one row per patient, to an option label per patient, shape ``(n,)``."""

Policy = Mapping[str, Rule]
"""A rule per decision; a decision that is not named is made as in the trial."""


@dataclass(frozen=True)
class KnownRegime:
    """A regime whose value is known.

    Attributes
    ----------
    value : float
        Expected utility when everybody follows the regime.
    policy : mapping of str to callable
        The regime itself, as `simulate` takes it.
    """

    value: float
    policy: Policy = field(repr=False)


@dataclass(frozen=True)
class Truth:
    """What is known about a generator.

    Attributes
    ----------
    optimal : KnownRegime
        A rule that no other rule of the observed history beats, and its value.
    regimes : mapping of str to KnownRegime
        Further regimes by label.
    details : mapping of str to float
        Further exact numbers of the generator.
    error : float
        Bound on the numerical error of the values.
    """

    optimal: KnownRegime
    regimes: Mapping[str, KnownRegime]
    details: Mapping[str, float] = field(default_factory=dict)
    error: float = 1e-12


def always(option: str) -> Rule:
    """Return the rule that gives everybody one option."""

    def rule(frame: pd.DataFrame) -> np.ndarray:
        return np.full(len(frame), option, dtype=object)

    return rule


def where(test: Callable[[pd.DataFrame], Any], yes: str, no: str) -> Rule:
    """Return the rule that gives `yes` where a test of the history holds and `no` elsewhere."""

    def rule(frame: pd.DataFrame) -> np.ndarray:
        return np.where(np.asarray(test(frame), dtype=bool), yes, no).astype(object)

    return rule


def start(n: int, seed: int, policy: Policy | None, decisions: Sequence[str]) -> np.random.Generator:
    """Check the arguments of a simulation and return its random numbers.

    Raises
    ------
    DecisionError
        For a size below 1, or a policy that names an unknown decision.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise DecisionError(f"simulate: n is a number of patients of at least 1, got {n!r}.")
    for name in policy or ():
        if name not in decisions:
            raise DecisionError(f"policy: no decision {name!r}; decisions: {listing(decisions)}{did_you_mean(name, decisions)}")
    return np.random.default_rng(seed)


def decide(columns: Mapping[str, np.ndarray], decision: str, options: Sequence[str], drawn: np.ndarray, policy: Policy | None,
           feasible: np.ndarray | None = None) -> np.ndarray:
    """Make a decision for every patient: by the policy where it has a rule, otherwise as drawn.

    A patient with a single feasible option gets it whatever the rule says.

    Parameters
    ----------
    columns : mapping of str to array, shape (n,)
        What has been observed so far.
    decision : str
    options : sequence of str
    drawn : array of int, shape (n,)
        Codes of the options that the trial would assign.
    policy : mapping of str to callable, optional
    feasible : array of bool, shape (n, options), optional

    Returns
    -------
    array of str, shape (n,)

    Raises
    ------
    DecisionError
        When a rule returns another shape, an unknown option or an infeasible one.
    """
    names = np.array(options, dtype=object)
    if policy is None or decision not in policy:
        return names[drawn]
    chosen = np.asarray(policy[decision](pd.DataFrame(dict(columns))), dtype=object)
    if chosen.shape != drawn.shape:
        raise DecisionError(f"policy: the rule of {decision!r} must return {len(drawn)} options, got shape {chosen.shape}.")
    if feasible is not None:
        forced = feasible.sum(axis=1) == 1
        chosen = np.where(forced, names[feasible.argmax(axis=1)], chosen)
    code = np.full(len(chosen), -1)
    for j, option in enumerate(options):
        code[chosen == option] = j
    if (bad := np.flatnonzero(code < 0)).size:
        raise DecisionError(f"policy: {chosen[bad[0]]!r} is not an option of {decision!r}; options: {listing(options)}.")
    if feasible is not None and (bad := np.flatnonzero(~feasible[np.arange(len(code)), code])).size:
        raise DecisionError(f"policy: {chosen[bad[0]]!r} is not feasible at {decision!r} for the patient in row {bad[0]}.")
    return names[code]


# ---- normal integrals -----------------------------------------------------------------------------


def density(z: np.ndarray | float) -> np.ndarray | float:
    """Standard normal density; 0 at infinity."""
    return np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)


def positive_part(mean: np.ndarray | float, sd: float = 1.0) -> np.ndarray | float:
    """``E max(X, 0)`` for ``X ~ Normal(mean, sd)``: ``mean Phi(mean/sd) + sd phi(mean/sd)``."""
    z = np.asarray(mean) / sd
    return mean * ndtr(z) + sd * density(z)


def partial_linear(level: np.ndarray | float, slope: float, mean: np.ndarray | float, sd: float, low: float, high: float) -> np.ndarray:
    """``E (level + slope X) 1{low <= X < high}`` for ``X ~ Normal(mean, sd)``, broadcast over arrays."""
    a, b = (low - np.asarray(mean)) / sd, (high - np.asarray(mean)) / sd
    return (level + slope * np.asarray(mean)) * (ndtr(b) - ndtr(a)) + slope * sd * (density(a) - density(b))


def _pieces(kinks: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Intervals between kinks on the whole line, each with two points inside it."""
    edges = [-np.inf, *sorted(set(kinks)), np.inf]
    if len(edges) == 2:
        return [(-np.inf, np.inf, -1.0, 1.0)]
    pieces = [(-np.inf, edges[1], edges[1] - 2, edges[1] - 1)]
    pieces += [(a, b, a + (b - a) / 4, b - (b - a) / 4) for a, b in pairwise(edges[1:-1])]
    return [*pieces, (edges[-2], np.inf, edges[-2] + 1, edges[-2] + 2)]


def piecewise_mean(function: Callable[[float], float], kinks: Sequence[float]) -> float:
    """``E f(Z)``, ``Z ~ Normal(0, 1)``, in closed form for a function that is linear between its kinks."""
    total = 0.0
    for low, high, u, v in _pieces(kinks):
        slope = (function(v) - function(u)) / (v - u)
        total += float(partial_linear(function(u) - slope * u, slope, 0.0, 1.0, low, high))
    return total


def piecewise_roots(function: Callable[[float], float], kinks: Sequence[float]) -> list[float]:
    """Where a function that is linear between its kinks changes sign inside a piece."""
    roots = []
    for low, high, u, v in _pieces(kinks):
        slope = (function(v) - function(u)) / (v - u)
        if slope and low < (root := u - function(u) / slope) < high:
            roots.append(root)
    return roots


def gauss_legendre(edges: Sequence[float] | np.ndarray, order: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the composite Gauss-Legendre rule over consecutive intervals, shape ``(intervals * order,)``."""
    x, w = np.polynomial.legendre.leggauss(order)
    low, high = np.asarray(edges[:-1], dtype=float)[:, None], np.asarray(edges[1:], dtype=float)[:, None]
    return ((high + low) / 2 + (high - low) / 2 * x).ravel(), ((high - low) / 2 * w).ravel()
