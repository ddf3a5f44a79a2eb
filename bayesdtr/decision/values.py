"""Posterior distributions of the value of whole regimes, and summaries of draws with their Monte Carlo error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Trajectories
from ..errors import DecisionError, listing
from ..inference import Posterior
from ..study.attitude import Attitude
from ..study.rules import Rules
from ..study.safety import Safety
from ..study.study import Study
from ..text import decimal, fold, places
from .induction import GRID_NOTE, MOST_LEAVES, DecisionNode, committed, feasible_at, following, leaves, solve
from .rollout import DRAWS, Policy, following_rules, rollout
from .world import Rows, World
from .written import starting


@dataclass(frozen=True)
class Summary:
    """Mean, SD, equal-tailed interval and the Monte Carlo standard error of the mean."""

    mean: float
    sd: float
    lower: float
    upper: float
    mcse: float
    ci_prob: float

    def __str__(self) -> str:
        at = places(self.sd)
        return f"{decimal(self.mean, at)} (SD {decimal(self.sd, at)}, {self.ci_prob:.0%} equal-tailed interval {self.between(at)})"

    def between(self, digits: int | None) -> str:
        """The interval in text, with so many decimals."""
        return f"{decimal(self.lower, digits)} to {decimal(self.upper, digits)}"


def summarize(draws: np.ndarray, ci_prob: float = 0.95) -> Summary:
    """Summarise draws ``[chain, draw]``; the error of the mean is that of dependent draws."""
    low, high = np.quantile(draws, [(1 - ci_prob) / 2, (1 + ci_prob) / 2])
    sd = float(draws.std(ddof=1)) if draws.size > 1 else 0.0
    return Summary(float(draws.mean()), sd, float(low), float(high), float(batch_error(draws)), ci_prob)


@dataclass(frozen=True)
class CertaintyEquivalent:
    """The sure total that is worth as much as a regime under an attitude to risk, in units of the utility before it.

    Attributes
    ----------
    total : float
        Of the posterior mean of the expected worth: outcomes and parameters are both uncertain to whom it is for.
    lower, upper : float
        Of the ends of the equal-tailed interval of the expected worth.
    mcse : float
        Monte Carlo standard error of `total`.
    ci_prob : float
    attitude : Attitude
    """

    total: float
    lower: float
    upper: float
    mcse: float
    ci_prob: float
    attitude: Attitude

    def __str__(self) -> str:
        interval = f"{self.ci_prob:.0%} equal-tailed interval {self.lower:.4g} to {self.upper:.4g}"
        return fold(f"Worth a sure {self.total:.4g} ({interval}, Monte Carlo error {self.mcse:.2g}), in units of the utility before the attitude "
                    f"{self.attitude}; values are in units after it.")


def certain_of(attitude: Attitude, worth: Summary) -> CertaintyEquivalent:
    """The certainty equivalent of a summarised expected worth; the error of the total by the delta method."""
    total, lower, upper = (float(attitude.certain(np.array(v))) for v in (worth.mean, worth.lower, worth.upper))
    return CertaintyEquivalent(total, lower, upper, worth.mcse / float(attitude.slope(np.array(total))), worth.ci_prob, attitude)


def wins(values: np.ndarray) -> np.ndarray:
    """Who has the highest value along the last axis, 0 or 1; an exact tie is shared equally."""
    top = (values == values.max(axis=-1, keepdims=True)).astype(float)
    top /= top.sum(axis=-1, keepdims=True)
    return top


def win_rates(values: np.ndarray) -> np.ndarray:
    """Mean of :func:`wins` over the first axis, without holding them all; values ``[draw, row, option]``, rates ``[row, option]``."""
    top = values.max(axis=-1)
    share = 1.0 / (values == top[..., None]).sum(axis=-1)
    return np.stack([np.where(values[..., o] == top, share, 0.0).mean(axis=0) for o in range(values.shape[-1])], axis=-1)


def batch_error(draws: np.ndarray, batches: int = 20) -> np.ndarray:
    """Monte Carlo standard error of means over dependent draws, by batch means within chains.

    Parameters
    ----------
    draws : array, shape (chain, draw, ...)
    batches : int
        Batches over all chains together, at least.

    Returns
    -------
    array, shape (...)
    """
    chains, size = draws.shape[:2]
    each = max(-(-batches // chains), 2)
    length = size // each
    if length < 1:
        return np.full(draws.shape[2:], np.nan)
    blocks = draws[:, : each * length].reshape(chains * each, length, *draws.shape[2:]).mean(axis=1)
    return blocks.std(axis=0, ddof=1) / np.sqrt(chains * each)


SETS = 20
"""Completed sets of covariates, from draws spread over the posterior, that stand for what is missing of them."""


def baseline_rows(posterior: Posterior) -> Rows:
    """The observed patients before the first decision; several sets of them where covariates are missing, each with other drawn values.

    Raises
    ------
    DecisionError
        Where covariates are missing and the posterior holds no draws of them.
    """
    names = [b.name for b in posterior.study.baselines]
    t = posterior.trajectories
    lost = [n for n in names if not t.observed(n).all()]
    if not lost:
        return Rows(t.history(names), t.cluster, t.n)
    if absent := [n for n in lost if n not in posterior.imputed]:
        raise DecisionError(f"Values of {listing(absent)} are missing, and this posterior holds no draws of them; fit the study with engine='nuts'.")
    sets = [posterior.completed(int(k)) for k in np.linspace(0, posterior.size - 1, min(SETS, posterior.size))]
    columns = {n: np.concatenate([s.columns[n] for s in sets]) for n in names}
    return Rows(columns, None if t.cluster is None else np.tile(t.cluster, len(sets)), t.n * len(sets), len(sets))


def members_of(rows: Rows, inside: np.ndarray) -> Rows:
    """Baseline rows of some patients, by index; every completed set of the patients holds them in the same order."""
    some = rows.take(np.concatenate([inside + s * (rows.n // rows.sets) for s in range(rows.sets)]))
    return Rows(some.columns, some.cluster, some.n, rows.sets)


def earnings(study: Study, trajectories: Trajectories) -> dict[str, np.ndarray]:
    """What every patient earned by every response that counts, shape (n,) each: NaN where it is not observed, 0 where it was not reached."""
    columns, found = trajectories.history(study.names), {}
    for r in study.responses:
        weight, pays, lives = study.weight(r.name), study.pays(r.name), study.lives(r.name)
        if weight or pays or lives or study.charges(r.name):
            # A decision that was not made has code -1, and nobody reached its response.
            earned = study.lived(r.name, columns) + study.charged(r.name, columns)
            if weight:
                earned = earned + weight * trajectories.columns[r.name]
            if pays:
                earned = earned + study.earned(r.name, trajectories.columns)
            found[r.name] = np.where(trajectories.reached(study, r.name), earned, 0.0)
    return found


def population_weights(world: World, inverse: np.ndarray, count: int, seed: int, sets: int = 1) -> np.ndarray:
    """Bayesian-bootstrap weights of distinct histories, shape (draw, row): the covariates' law is uncertain too.

    With several completed sets of the patients, draws take turns at them. Where all parameters are known there is a single
    draw, and the weights are their means.
    """
    counts = np.stack([np.bincount(part, minlength=count) for part in inverse.reshape(sets, -1)])
    if world.size == 1:
        return counts.sum(axis=0, keepdims=True) / counts.sum()
    if count == 1:
        return np.ones((world.size, 1))
    gamma = np.random.default_rng([seed, 3]).standard_gamma(counts[np.arange(world.size) % sets], size=(world.size, count))
    return gamma / gamma.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class RegimeValues:
    """Values of written regimes.

    Attributes
    ----------
    draws : array, shape (chain, draw, regime)
    method : str
    optimal : array, shape (chain, draw), or None
        Value of the committed rule on the same draws, patients and luck, where it was asked for and could be.
    """

    draws: np.ndarray
    method: str
    optimal: np.ndarray | None = None


def chains_of(posterior: Posterior, values: np.ndarray) -> np.ndarray:
    """Give draws ``[draw, ...]`` their chains back, ``[chain, draw, ...]``, after even thinning."""
    chains = posterior.shape[0]
    per_chain = len(values) // chains
    return values[: chains * per_chain].reshape(chains, per_chain, *values.shape[1:])


def thin_to(world: World, posterior: Posterior, most: int) -> World:
    """Thin to about `most` draws in such a way that every chain keeps the same number."""
    chains, per_chain = posterior.shape
    step = min(-(-world.size // most), per_chain)
    return world if step <= 1 else world.take((np.arange(chains)[:, None] * per_chain + np.arange(0, per_chain, step)).ravel())


def values_of(
    posterior: Posterior, regimes: Sequence[Rules], seed: int, *, optimal: bool = False, policy: Callable[[World], Policy] | None = None,
    safety: Safety | None = None, members: np.ndarray | None = None,
) -> RegimeValues:
    """Value of each regime under each draw, averaged over the observed patients.

    By the tree of histories where it is small enough, otherwise by forward simulation on common
    random numbers. A lottery is worth ``sum_a p(a) Q(history, a)``, exactly on the tree; in simulations an option
    is drawn for each simulated patient by random numbers that all regimes share and no response uses.

    Parameters
    ----------
    posterior : Posterior
    regimes : sequence of Rules
    seed : int
    optimal : bool
        Value the committed rule beside them.
    policy : callable, optional
        Makes the committed rule where it is a fitted one; everything is then simulated.
    safety : Safety, optional
        Gates that the committed rule heeds.
    members : array of int, optional
        The patients averaged over, by index; all of them by default. The draws are the same whoever they are.

    Returns
    -------
    RegimeValues
    """
    world = World.of(posterior, regimes).under(safety)
    every = baseline_rows(posterior)
    rows = every if members is None else members_of(every, members)
    if policy is not None or leaves(world, 0) > MOST_LEAVES:
        world = thin_to(world, posterior, DRAWS)
        drawn = np.array([rollout(world, rows, following_rules(world, r, seed), seed) for r in regimes]).reshape(len(regimes), world.size).T
        best = None if policy is None else chains_of(posterior, rollout(world, rows, policy(world), seed))
        return RegimeValues(chains_of(posterior, drawn), f"simulation on common random numbers, {world.size} draws", best)
    distinct, inverse = rows.unique()
    world = affordable(world, posterior, every.unique()[0].n, 0)
    weights = population_weights(world, inverse, distinct.n, seed, rows.sets)
    total, best = np.zeros((world.size, len(regimes))), np.zeros(world.size)
    choosers = [following(world, r) for r in regimes] + ([committed] if optimal else [])
    for answer in solve(world, 0, distinct, choosers):
        m = len(answer.qbar)
        part = distinct.take(np.arange(answer.begin, answer.begin + m))
        w = weights[:, answer.begin : answer.begin + m]
        for e, (rules, q) in enumerate(zip(regimes, answer.values, strict=False)):
            total[:, e] += (w * starting(world, rules, root_of(world, part), q)).sum(axis=1)
        if optimal:
            best += (w * answer.values[-1][:, np.arange(m), answer.qbar.argmax(axis=1)]).sum(axis=1)
    how = GRID_NOTE if any_grid(world) else "enumeration"
    return RegimeValues(chains_of(posterior, total), how, chains_of(posterior, best) if optimal else None)


def root_of(world: World, rows: Rows) -> DecisionNode:
    """The first decision's node without what follows it, for a rule to choose at."""
    feasible = feasible_at(world, 0, rows)
    row, option = np.nonzero(feasible)
    return DecisionNode(world.study.decisions[0].name, rows, feasible, row, option, None)


def any_grid(world: World, stage: int = 0) -> bool:
    """Whether the tree from a decision on integrates a continuous response on a grid."""
    later = [r.name for d in world.study.decisions[stage:] for r in world.study.after(d.name)]
    return any(world.matters(n) and world.compiled[n].support is None for n in later)


MOST_EVALUATIONS = 2e8


def affordable(world: World, posterior: Posterior, rows: int, stage: int, *, closed: bool = False) -> World:
    """Thin the draws of a large problem, to no fewer than 500, so that the work stays bounded; `closed` as for :func:`leaves`."""
    most = int(max(MOST_EVALUATIONS // (leaves(world, stage, closed=closed) * max(rows, 1)), 500))
    return thin_to(world, posterior, most)
