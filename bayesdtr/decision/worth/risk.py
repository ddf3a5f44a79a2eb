"""Risk profiles of regimes: how the worst patients fare, how the worst parameters fare, and both together, never mixed up.

CVaR at a level `a` is the mean of the worst share `a` of a distribution, ``max_t t - E(t - U)_+ / a`` (Rockafellar and Uryasev 2000).
It is applied to three distributions: a patient's utility given the parameters (outcome risk), a regime's expected utility over the
posterior (parameter risk), and a patient's utility with the parameters unknown (predictive).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DecisionError
from ...inference import Posterior
from ...study.attitude import Neutral
from ...study.rules import Rules
from ...text import decimal, fold, number, places
from ..assess import NEAR_SE
from ..compare import asked_for, check_against, valued
from ..induction import BUDGET, MOST_LEAVES, DecisionNode, grow, leaves, settle
from ..learner import REGRESSION, Learned
from ..optimize import fitted_policy
from ..regime import Regime
from ..rollout import DRAWS, PROFILING, Policy, even_luck, followed_up, following_rules, patients_of
from ..values import Summary, affordable, baseline_rows, batch_error, chains_of, population_weights, summarize, thin_to
from ..world import Rows, World
from ..written import rule_chances
from .twofold import gain_of

if TYPE_CHECKING:
    from pandas import DataFrame

OPTIMAL = "optimal rule"
CRITERIA = ("value", "outcome", "parameter", "predictive")
SAME = 1e-9
"""Relative to the largest: what differs less in every draw is the same."""
MOST_HISTORIES = 50_000
"""Distinct simulated histories at a decision that the optimal rule is worked out for on the tree."""


def cvar(values: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """Mean of the worst share of distributions along the last axis.

    Parameters
    ----------
    values : array, shape (..., atom)
        Increasing along the last axis.
    weights : array, of a shape that broadcasts with it
        Probabilities, summing to 1.
    level : float

    Returns
    -------
    array, shape (...)
    """
    below = np.cumsum(weights, axis=-1) - weights
    taken = np.clip(level - below, 0.0, weights)
    return (taken * values).sum(axis=-1) / taken.sum(axis=-1)


def tail_mean(values: np.ndarray, weights: np.ndarray, at: float, level: float) -> np.ndarray:
    """``t - E(t - U)_+ / level`` of distributions along the last axis: at its quantile `t` a distribution's CVaR."""
    return at - (weights * np.maximum(at - values, 0.0)).sum(axis=-1) / level


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Lower quantile of one distribution, values increasing."""
    reached = np.cumsum(weights)
    return float(values[min(int(np.searchsorted(reached, level * reached[-1] * (1 - 1e-12))), len(values) - 1)])


@dataclass(frozen=True)
class RegimeRisk:
    """One regime's risks; all in units of the utility, larger is better.

    Attributes
    ----------
    label : str
    value : Summary
        Expected utility over the posterior.
    outcome : Summary
        Outcome risk: mean utility of the worst share of patients given the parameters, over the posterior.
    parameter, parameter_error : float
        Parameter risk: mean expected utility in the worst share of the posterior, and its Monte Carlo error.
    predictive, predictive_error : float
        Mean utility of the worst share when a patient's outcome and the parameters are both uncertain.
    """

    label: str
    value: Summary
    outcome: Summary
    parameter: float
    parameter_error: float
    predictive: float
    predictive_error: float


@dataclass(frozen=True, eq=False)
class RiskProfile:
    """Risks of a finite class of regimes.

    Attributes
    ----------
    rows : tuple of RegimeRisk
    level : float
        The share called worst.
    preferred : mapping of {"value", "outcome", "parameter", "predictive"} to tuple of int
        The regime that each criterion puts first, by its index, and those that are the same to it in every draw.
    near_tie : mapping of the same to bool
        Whether the lead over the next is within three Monte Carlo standard errors.
    utility : str
        What is earned, without an attitude to risk.
    method : str
    simulation_error : float
        Standard error that simulated patients leave in one draw's outcome risk, at most; 0 where outcomes are enumerated.
    """

    rows: tuple[RegimeRisk, ...]
    level: float
    preferred: Mapping[str, tuple[int, ...]]
    near_tie: Mapping[str, bool]
    utility: str
    method: str
    simulation_error: float

    def frame(self) -> "DataFrame":
        """One row per regime: means, intervals and Monte Carlo errors of the four criteria, and which it is preferred by."""
        import pandas as pd

        prob = self.rows[0].value.ci_prob
        lines = []
        for i, r in enumerate(self.rows):
            line: dict[str, Any] = {"regime": r.label}
            for name, s in (("value", r.value), ("outcome", r.outcome)):
                line |= {name: s.mean, f"{name}_lower_{prob:g}": s.lower, f"{name}_upper_{prob:g}": s.upper, f"{name}_mcse": s.mcse}
            line |= {"parameter": r.parameter, "parameter_mcse": r.parameter_error, "predictive": r.predictive,
                     "predictive_mcse": r.predictive_error, "preferred_by": ", ".join(c for c in CRITERIA if i in self.preferred[c])}
            lines.append(line)
        return pd.DataFrame(lines)

    def __str__(self) -> str:
        import textwrap

        share, prob = f"worst {100 * self.level:g}%", self.rows[0].value.ci_prob
        width = min(max(len("regime"), *(len(r.label) for r in self.rows)), 34)
        lines = [f"Risk profile of {self.utility}: means of the {share} (CVaR), larger is better",
                 f"{'regime':<{width}} {'value':>8} {'outcome':>8} {f'{prob:.0%} interval':>20} {'parameter':>10} {'predictive':>10}"]
        at = places(*(s.sd for r in self.rows for s in (r.value, r.outcome)))
        for r in self.rows:
            label, *rest = textwrap.wrap(r.label, width, subsequent_indent="  ")
            o = r.outcome
            lines.append(f"{label:<{width}} {decimal(r.value.mean, at):>8} {decimal(o.mean, at):>8} {o.between(at):>20} "
                         f"{decimal(r.parameter, at):>10} {decimal(r.predictive, at):>10}")
            lines += rest
        for name, what in zip(CRITERIA, ("expected utility", "outcome risk", "parameter risk", "predictive CVaR"), strict=True):
            tie = "; not told apart from the next by these draws" if self.near_tie[name] else ""
            first, *same = (self.rows[i].label for i in self.preferred[name])
            lines.append(f"By {what}: {first}" + (f" (the same in every draw: {', '.join(same)})" if same else "") + tie)
        errors = [number(max(e), ".2g") for e in zip(*((r.outcome.mcse, r.parameter_error, r.predictive_error) for r in self.rows), strict=True)]
        noise = f"; simulated patients leave {self.simulation_error:.2g} in one draw's outcome risk" if self.simulation_error else ""
        lines += [
            f"Outcome risk: the {share} of patients, given the parameters; parameter risk: a regime's expected utility in the {share} of the "
            "posterior; predictive: the worst patients when the parameters are unknown, too.",
            f"Computed by {self.method}; Monte Carlo errors at most {errors[0]}, {errors[1]} and {errors[2]}{noise}.",
            "CVaR is not dynamically consistent: what it prefers at the start need not be what it prefers later on. It ranks these regimes, and no "
            "rule is worked out backwards by it.",
        ]
        return fold("\n".join(lines))


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """A patient's utility under one regime: values ``(draw or 1, atom)``, increasing, and probabilities that broadcast with them."""

    values: np.ndarray
    weights: np.ndarray
    simulated: int


def risk_profile(
    posterior: Posterior, *, regimes: Mapping[str, Any] | None = None, against: Regime | None = None, level: float = 0.1, ci_prob: float = 0.95
) -> RiskProfile:
    """Outcome risk, parameter risk and both together, for each of a finite class of regimes.

    Parameters
    ----------
    posterior : Posterior
    regimes : mapping of str to regime, optional
        In place of the embedded ones, as for :func:`bayesdtr.compare`.
    against : Regime, optional
        The optimal regime of this posterior, as one more of the class.
    level : float
        Share of the worst, in (0, 1].
    ci_prob : float
        Probability of the equal-tailed intervals.

    Returns
    -------
    RiskProfile
        In units of the study's utility before any attitude to risk; the optimal regime is the one under that attitude.

    Raises
    ------
    DecisionError

    Notes
    -----
    Where every response that counts is discrete, the distribution of a patient's utility is enumerated under each draw; otherwise patients
    are simulated, all regimes on the same random numbers. The predictive CVaR is never above the mean outcome risk.

    References
    ----------
    Rockafellar and Uryasev (2000), Optimization of conditional value-at-risk, Journal of Risk 2, 21-41.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"risk_profile takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    for name, given, top in (("level", level, 1.0), ("ci_prob", ci_prob, np.nextafter(1.0, 0.0))):
        if isinstance(given, bool) or not isinstance(given, int | float | np.number) or not 0 < given <= top:
            raise DecisionError(f"risk_profile: {name} must lie between 0 and 1, got {given!r}.")
    asked = asked_for(posterior, regimes, "risk_profile")
    if against is not None:
        check_against(posterior, against, "risk_profile")
    labels = [name or rules.label or "no choice" for name, rules in asked] + ([OPTIMAL] if against is not None else [])
    plain = posterior.study.linear
    ruled = [rules for _, rules in asked]
    outcomes, method = _outcomes(posterior, ruled, against)
    means = _means(posterior, ruled, against)
    rows, influence, noise = [], [], 0.0
    for k, (label, o) in enumerate(zip(labels, outcomes, strict=True)):
        row, parts, error = _risks(posterior, label, o, None if means is None else means[..., k], float(level), ci_prob)
        rows.append(row)
        influence.append(parts)
        noise = max(noise, error)
    preferred, near = _ranked(influence)
    return RiskProfile(tuple(rows), float(level), preferred, near, str(plain.utility), method, noise)


def _ranked(terms: list[list[np.ndarray]]) -> tuple[dict[str, tuple[int, ...]], dict[str, bool]]:
    """What each criterion prefers, with those that are the same to it, and whether its lead over the next is within Monte Carlo error.

    `terms` has, by regime and criterion, arrays ``(chain, draw)`` whose mean the criterion is.
    """
    preferred: dict[str, tuple[int, ...]] = {}
    near: dict[str, bool] = {}
    for k, name in enumerate(CRITERIA):
        scores = np.stack([parts[k] for parts in terms], axis=-1)  # (chain, draw, regime)
        first, *others = (-scores.mean(axis=(0, 1))).argsort(kind="stable")
        alike = np.abs(scores - scores[..., [first]]).max(axis=(0, 1)) <= SAME * np.abs(scores).max()
        preferred[name] = (int(first), *(int(i) for i in others if alike[i]))
        others = [i for i in others if not alike[i]]
        lead = scores[..., first] - scores[..., others[0]] if others else np.ones(scores.shape[:2])
        near[name] = not lead.mean() > NEAR_SE * batch_error(lead)
    return preferred, near


def _means(posterior: Posterior, rules: list[Rules], against: Regime | None) -> np.ndarray | None:
    """Expected utilities as `compare` has them, ``(chain, draw, regime)``; None where the optimal rule is that of an attitude to risk."""
    if posterior.study.utility.attitude is not None and against is not None:
        return None
    found = valued(dataclasses.replace(posterior, study=posterior.study.linear), rules, against, "risk_profile")
    return found.draws if found.optimal is None else np.concatenate([found.draws, found.optimal[..., None]], axis=-1)


def _risks(
    posterior: Posterior, label: str, o: _Outcomes, known: np.ndarray | None, level: float, ci_prob: float
) -> tuple[RegimeRisk, list[np.ndarray], float]:
    """A regime's risks; of each criterion the terms ``(chain, draw)`` whose mean it is; what simulation leaves in one draw."""
    mean = (o.values * o.weights).sum(axis=-1) if known is None else known.ravel()
    tail = cvar(o.values, o.weights, level)
    size = len(mean)
    each = np.full(size, 1 / size)
    worst = np.sort(mean)
    parameter = tail_mean(mean[:, None], np.ones((size, 1)), quantile(worst, each, level), level)
    if o.simulated:
        pooled = np.sort(o.values, axis=None)
        at = quantile(pooled, np.full(pooled.size, 1 / pooled.size), level)
    else:
        at = quantile(o.values[0], o.weights.mean(axis=0), level)
    predictive = tail_mean(o.values, o.weights, at, level)
    terms = [chains_of(posterior, v) for v in (mean, tail, parameter, predictive)]
    error = 0.0
    if o.simulated:
        short = np.maximum(at - o.values, 0.0) / level
        error = float(short.std(axis=-1).mean() / np.sqrt(o.simulated))
    row = RegimeRisk(label, summarize(terms[0], ci_prob), summarize(terms[1], ci_prob), float(terms[2].mean()), float(batch_error(terms[2])),
                     float(terms[3].mean()), float(batch_error(terms[3])))
    return row, terms, error


def _outcomes(posterior: Posterior, rules: list[Rules], against: Regime | None) -> tuple[Iterator[_Outcomes], str]:
    """A patient's utility under each regime, the optimal one last, one regime at a time."""
    study = posterior.study
    own = World.of(posterior, rules).under(None if against is None else against.safety)
    # Histories that hold single outcomes of all that counts; the attitude plays a part in the optimal rule only.
    world = dataclasses.replace(own, study=study._with(utility=study.utility.under(Neutral())), safety=None, judge=None)
    if world.shifted and world.matters(world.shifted[0]):
        raise DecisionError("risk_profile: this posterior shifts the missing outcomes of "
                            f"{world.shifted[0]!r} in their mean only, and risks are of single outcomes; use the posterior without missing_shift.")
    counted = [r.name for r in study.responses if world.matters(r.name)]
    discrete = all(world.compiled[n].support is not None for n in counted)
    fitted = against is not None and any(m.startswith(REGRESSION) for m in against.methods.values())
    rows = baseline_rows(posterior)
    if discrete and not fitted and leaves(world, 0) <= MOST_LEAVES:
        return _enumerated(posterior, own, world, rows, rules, against is not None), "enumeration of outcomes"
    some = thin_to(world, posterior, DRAWS)
    policies: list[Policy] = [following_rules(some, r, posterior.seed) for r in rules]
    if against is not None:
        policies.append(fitted_policy(some, dict(against.fits)) if fitted else _on_tree(posterior, own, against))
    return _simulated(posterior, some, rows, policies), f"simulation of patients on common random numbers, {some.size} draws"


def _simulated(posterior: Posterior, world: World, rows: Rows, policies: list[Policy]) -> Iterator[_Outcomes]:
    chosen = patients_of(world, rows, posterior.seed)
    lucky = lambda name, shape: even_luck(posterior.seed, name, shape, PROFILING)  # noqa: E731
    for policy in policies:
        totals = followed_up(world, rows, policy, posterior.seed, chosen, lucky)
        kept = chains_of(posterior, totals)
        values = np.sort(kept.reshape(-1, totals.shape[1]), axis=1)
        yield _Outcomes(values, np.full((1, values.shape[1]), 1 / values.shape[1]), values.shape[1])


def _on_tree(posterior: Posterior, own: World, against: Regime) -> Policy:
    """The committed rule at simulated histories, worked out on the tree for each distinct one."""
    study = own.study
    unseen = {r.name for r in study.responses if not own.matters(r.name)}  # simulated, but no rule looks at them

    def policy(stage: int, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray:
        name = study.decisions[stage].name
        n = len(next(iter(columns.values())))
        seen = {v.name: columns[v.name] if v.name not in unseen else np.zeros(n) for v in study.before(name)}
        rows, inverse = Rows(seen, cluster, n).unique()
        if rows.n > MOST_HISTORIES:
            raise DecisionError(
                f"risk_profile: the optimal rule would have to be worked out at {rows.n} simulated histories before {name!r} (at most "
                f"{MOST_HISTORIES}); give against=optimize(posterior, method='regression')."
            )
        world = affordable(own, posterior, rows.n, stage)
        return Learned(world, against.methods, {}).qbar(stage, rows).argmax(axis=1)[np.broadcast_to(inverse, (n,))]

    return policy


def _enumerated(posterior: Posterior, own: World, world: World, rows: Rows, rules: list[Rules], optimal: bool) -> Iterator[_Outcomes]:
    distinct, inverse = rows.unique()
    if own.study.utility.attitude is None:
        own = dataclasses.replace(own, study=world.study)  # the same rule, and its trees hold single outcomes
    world, own = (affordable(w, posterior, distinct.n, 0) for w in (world, own))
    weights = population_weights(world, inverse, distinct.n, posterior.seed, rows.sets)
    size = leaves(world, 0)
    chunk = max(1, int(BUDGET // (size * world.size)))
    for k in range(len(rules) + optimal):
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for begin in range(0, distinct.n, chunk):
            root = grow(own, 0, distinct.take(np.arange(begin, min(begin + chunk, distinct.n))))
            if k < len(rules):
                choose: Callable[[DecisionNode], np.ndarray] = lambda node, r=rules[k]: rule_chances(world, r, node)  # noqa: E731
            else:
                settle(own, root)
                choose = lambda node: np.eye(node.feasible.shape[1])[node.choice]  # noqa: E731
            found += _atoms(world, root, choose, weights[:, begin : begin + root.rows.n])
        values, weight = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
        atoms, weight = _merged(values, chains_of(posterior, weight).reshape(-1, len(values)))
        yield _Outcomes(atoms[None, :], weight, 0)


def _atoms(world: World, node: Any, choose: Callable[[DecisionNode], np.ndarray], mass: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Totals of all courses from a root on, and their probabilities under each draw: pairs of ``(atom,)`` and ``(draw, atom)``.

    `choose` gives the probability of every option ``[row, option]``.
    """
    total, found = np.zeros(mass.shape[1]), []
    while node is not None:
        if isinstance(node, DecisionNode):
            ended = ~node.feasible.any(axis=1)
            if ended.any():
                found.append(_merged(total[ended], mass[:, ended]))
            mass, total = mass[:, node.row] * choose(node)[node.row, node.option], total[node.row]
        elif node.points is not None:
            p = world.probabilities(node.name, node.rows, node.points)
            mass = (mass[:, :, None] * p).reshape(len(mass), -1)
            total = (total[:, None] + gain_of(world.study, node)).ravel()
        node = node.child
    if total.size:
        found.append(_merged(total, mass))
    return found


def _merged(values: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal values as one atom, increasing; values ``(atom,)``, masses ``(draw, atom)``."""
    digits = 11 - int(np.ceil(np.log10(max(float(np.abs(values).max(initial=0.0)), 1e-12))))
    rounded = np.round(values, digits) + 0.0
    order = rounded.argsort(kind="stable")
    atoms, starts = np.unique(rounded[order], return_index=True)
    return atoms, np.add.reduceat(mass[:, order], starts, axis=1)
