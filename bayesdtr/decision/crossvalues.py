"""The rule of one model valued under another: what is lost by having believed the wrong one.

One tree of histories serves all models: it is grown in a world that mixes them in equal parts, so
that it holds every history that any of them thinks possible and every point that any of them needs.
Each model settles its rule on it, and every rule is valued under every model's draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..inference import Posterior
from ..inference.stacked import mixed
from .induction import BUDGET, GRID_NOTE, MOST_LEAVES, DecisionNode, Node, grow, leaves, options, settle, solve, tables
from .optimize import fitted_policy
from .regime import Regime
from .rollout import Policy, rollout
from .values import MOST_EVALUATIONS, any_grid, baseline_rows, chains_of, population_weights, thin_to
from .world import Rows, World

PAIRED_DRAWS = 200
"""Draws of each model under which rules are valued by simulation: differences are paired, so few will do."""


@dataclass(frozen=True, eq=False)
class CrossValues:
    """Values of every model's rule under every model.

    Attributes
    ----------
    draws : mapping of (rule, model) to array, shape (chain, draw)
    method : str
    """

    draws: Mapping[tuple[str, str], np.ndarray]
    method: str


def covering(posteriors: Sequence[Posterior], names: Sequence[str]) -> World:
    """A world in which every model has its share of the draws, whatever its weight."""
    equal = {r.name: [1.0] * len(posteriors) for r in posteriors[0].study.responses}
    return World.of(mixed(posteriors, names, equal))


def needs_regression(cover: World) -> bool:
    """Whether the tree of histories that serves all models is too large."""
    return leaves(cover, 0) > MOST_LEAVES


def cross_values(cover: World, posteriors: Mapping[str, Posterior], regimes: Mapping[str, Regime]) -> CrossValues:
    """Value every model's committed rule under every model.

    Parameters
    ----------
    cover : World
        From :func:`covering`.
    posteriors : mapping of str to Posterior
        The stacked one may be among them.
    regimes : mapping of str to Regime
        The optimal regime of each; by regression where :func:`needs_regression` says so.

    Returns
    -------
    CrossValues
        Under one model all rules share draws and population weights, so that differences are paired.
    """
    worlds = {n: World.of(p) for n, p in posteriors.items()}
    if needs_regression(cover):
        return _simulated(worlds, posteriors, regimes)
    rows = baseline_rows(next(iter(posteriors.values())))
    distinct, inverse = rows.unique()
    thinned = {n: _affordable(cover, worlds[n], p, distinct.n) for n, p in posteriors.items()}
    weights = {n: population_weights(w, inverse, distinct.n, posteriors[n].seed, rows.sets) for n, w in thinned.items()}
    total = {(rule, model): np.zeros(thinned[model].size) for rule in posteriors for model in posteriors}
    chunk = max(1, int(BUDGET // (leaves(cover, 0) * max(w.size for w in thinned.values()))))
    for begin in range(0, distinct.n, chunk):
        root = grow(cover, 0, distinct.take(np.arange(begin, min(begin + chunk, distinct.n))))
        rules = {n: _choices(w, root) for n, w in thinned.items()}
        for model, world in thinned.items():
            for first, known in _tables(cover, world, root):
                for rule, choices in rules.items():
                    q = options(root, known, _doing(choices))
                    value = q[:, np.arange(root.rows.n), choices[id(root)]]
                    w = weights[model][first : first + len(q), begin : begin + root.rows.n]
                    total[rule, model][first : first + len(q)] += (w * value).sum(axis=1)
    found = {key: chains_of(posteriors[key[1]], values) for key, values in total.items()}
    return CrossValues(found, GRID_NOTE if any_grid(cover) else "enumeration")


def _affordable(cover: World, world: World, posterior: Posterior, rows: int) -> World:
    """Thin a model's draws as its own valuation would, for the size of the common tree."""
    return thin_to(world, posterior, int(max(MOST_EVALUATIONS // (leaves(cover, 0) * max(rows, 1)), 500)))


def _decisions(node: Node) -> list[DecisionNode]:
    found = []
    while node is not None:
        if isinstance(node, DecisionNode):
            found.append(node)
        node = node.child
    return found


def _choices(world: World, root: DecisionNode) -> dict[int, np.ndarray]:
    """A model's committed rule at every decision of a tree, by the node's identity."""
    settle(world, root)
    return {id(node): node.choice for node in _decisions(root)}


def _doing(choices: Mapping[int, np.ndarray]) -> Callable[[DecisionNode, np.ndarray], np.ndarray]:
    def choose(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
        return pairs[:, node.pair[np.arange(len(node.feasible)), choices[id(node)]]]

    return choose


def _tables(cover: World, world: World, root: DecisionNode):
    """What a model says at every response of a tree, in blocks of draws: position of the first draw, and the tables."""
    step = max(1, int(BUDGET // (leaves(cover, 0) * root.rows.n)))
    for first in range(0, world.size, step):
        yield first, tables(world.block(first, first + step), root)


# ---- by simulation ------------------------------------------------------------------------------------


def rule_of(world: World, regime: Regime) -> Policy:
    """A regime as a policy for rollouts: by its fitted values where it has them, else by the tree from each history on."""
    fitted = fitted_policy(world, dict(regime.fits))

    def policy(stage: int, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray:
        name = world.study.decisions[stage].name
        if name in regime.fits:
            return fitted(stage, columns, cluster)
        known = {n.name: columns[n.name] for n in world.study.before(name)}
        distinct, inverse = Rows(known, cluster, len(next(iter(columns.values())))).unique()
        return np.concatenate([a.qbar.argmax(axis=1) for a in solve(world, stage, distinct, [])])[inverse]

    return policy


def _simulated(worlds: Mapping[str, World], posteriors: Mapping[str, Posterior], regimes: Mapping[str, Regime]) -> CrossValues:
    """By rollouts on common random numbers."""
    found = {}
    for model, posterior in posteriors.items():
        world = thin_to(worlds[model], posterior, PAIRED_DRAWS)
        for rule, regime in regimes.items():
            found[rule, model] = chains_of(posterior, rollout(world, baseline_rows(posterior), rule_of(worlds[rule], regime), posterior.seed))
    return CrossValues(found, f"simulation on common random numbers, {PAIRED_DRAWS} draws at most")
