"""Histories that patients may come to a decision with, and what every option is worth there when later decisions are committed to.

Histories are those of the observed patients at the first decision; from there on options are taken at random among the feasible, or by
rules that have been committed to, and responses are as the posterior predicts them. On the tree of histories they are weighed by their
probabilities; where it is too large they are simulated, each under a draw of its own, with what each option earns simulated once: sums over
them are right on average.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...inference import Posterior
from ...study.rules import Rules
from ..induction import BUDGET, MOST_LEAVES, DecisionNode, Node, feasible_at, grow, leaves, own_histories, rule_options, settle
from ..regression import EXPLORED, explore, reached
from ..rollout import FITTING, check_simulable, luck
from ..values import affordable, any_grid, thin_to
from ..world import Rows, World

MOST_ROWS = 2**20
"""Leaves of all trees of histories that are held at once, at most."""
SIMULATED, SIMULATED_ALONE = 100_000, 4_000
"""Simulated histories over all draws, and under a single one."""
DRAWS = 400
ASIDE = 1e-6
"""Weight of histories under options taken at random, beside those under committed rules: it decides only where these lead nobody."""


@dataclass(frozen=True, eq=False)
class Foreseen:
    """Histories before one decision.

    Attributes
    ----------
    rows : Rows
    weight : array, shape (row,)
        Share of patients; those whose course ends before the decision are missing from the sum.
    expected : array, shape (row, option)
        Expected utility to come, ``-inf`` where infeasible.
    """

    rows: Rows
    weight: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees of the observed patients' histories.

    Attributes
    ----------
    world : World
    roots : tuple of DecisionNode
    shares : tuple of array, shape (row,)
        Share of patients at each root's rows.
    """

    world: World
    roots: tuple[DecisionNode, ...]
    shares: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, world: World, rows: Rows) -> "Trees":
        """Grow them for the observed patients, in pieces that the given number of draws can be averaged over in bounded memory."""
        distinct, inverse = rows.unique()
        share = np.bincount(inverse, minlength=distinct.n) / len(inverse)
        step = max(1, int(BUDGET // (leaves(world, 0) * world.size)))
        pieces = [np.arange(b, min(b + step, distinct.n)) for b in range(0, distinct.n, step)]
        return cls(world, tuple(grow(world, 0, distinct.take(p)) for p in pieces), tuple(share[p] for p in pieces))

    def alone(self, draw: int) -> "Trees":
        """The same trees in the world of a single draw."""
        return Trees(self.world.take(np.array([draw])), self.roots, self.shares)

    def at(self, stage: int, later: Rules, earlier: Rules | None = None) -> Foreseen:
        """Histories before a decision, with the decisions after it made by `later`, and those before it at random or by `earlier`."""
        name = self.world.study.decisions[stage].name
        after = {d.name for d in self.world.study.decisions[stage + 1 :]}

        def follow(node: DecisionNode) -> np.ndarray | None:
            return rule_options(self.world, later, node) if node.name in after else None

        parts = []
        for root, share in zip(self.roots, self.shares, strict=True):
            node: Node = root
            while node is not None and node.name != name:
                node = node.child
            if isinstance(node, DecisionNode):
                settle(self.world, root, follow=follow)
                weight = chance(self.world, root, share, node)
                if earlier is not None:
                    weight = chance(self.world, root, share, node, earlier) + ASIDE * weight
                parts.append(Foreseen(node.rows, weight, node.qbar))
        return joined(parts)


def joined(parts: Sequence[Foreseen]) -> Foreseen:
    """Histories of several trees together."""
    columns = {n: np.concatenate([p.rows.columns[n] for p in parts]) for n in parts[0].rows.columns}
    cluster = None if parts[0].rows.cluster is None else np.concatenate([p.rows.cluster for p in parts])  # type: ignore[misc]
    weight, expected = (np.concatenate([getattr(p, n) for p in parts]) for n in ("weight", "expected"))
    return Foreseen(Rows(columns, cluster, len(weight)), weight, expected)


def chance(world: World, root: DecisionNode, share: np.ndarray, until: DecisionNode, rules: Rules | None = None) -> np.ndarray:
    """Probability of every history before a decision of a tree, earlier options taken at random among the feasible or by rules, shape (row,)."""
    own = own_histories(world, root)
    node: Node = root
    weight = share
    while node is not None and node is not until:
        if isinstance(node, DecisionNode):
            follows = 1 / np.maximum(node.feasible.sum(axis=1), 1)[node.row]
            if rules is not None:
                follows = rule_options(world, rules, node)[node.row] == node.option
            weight = weight[node.row] * follows
        elif node.points is not None:
            mine = own[id(node)]
            if world.shares(node.name) and mine is not None:
                p = (mine[:, :, None] * world.probabilities(node.name, node.rows, node.points)).mean(axis=0)
            else:
                p = world.probabilities(node.name, node.rows, node.points, average=True)
            weight = (weight[:, None] * p).ravel()
        node = node.child
    return weight


@dataclass(frozen=True, eq=False)
class Simulations:
    """Simulated histories, each under one draw.

    Attributes
    ----------
    world : World
    patients : Rows
        Baseline columns that they start from.
    size : int
        Histories, about.
    seed : int
    """

    world: World
    patients: Rows
    size: int
    seed: int

    def alone(self, draw: int) -> "Simulations":
        """Histories under a single draw."""
        return Simulations(self.world.take(np.array([draw])), self.patients, SIMULATED_ALONE, self.seed)

    def at(self, stage: int, later: Rules, earlier: Rules | None = None) -> Foreseen:
        """As :meth:`Trees.at`, each option followed once on the same random numbers.

        Histories under `earlier` are those of the random ones that agree with it, weighed by the inverse of the probability that they do.
        """
        world, study = self.world, self.world.study
        size = max(self.size // world.size, 1) * world.size
        columns = explore(world, self.patients, size, self.seed)
        cluster = columns.pop(EXPLORED)
        name = study.decisions[stage].name
        known = {n.name: columns[n.name] for n in study.before(name)}
        here = reached(study, name, known, size)
        group = None if self.patients.cluster is None else cluster
        rows = Rows(known, group, size)
        feasible = feasible_at(world, stage, rows) & here[:, None]
        grid = np.arange(size).reshape(-1, world.size).T  # a row of it holds the histories of one draw
        state = {n: v[grid] for n, v in known.items()}
        expected = np.full(feasible.shape, -np.inf)
        instead = feasible.argmax(axis=1)
        for o in range(feasible.shape[1]):
            if feasible[:, o].any():
                option = np.where(feasible[:, o], o, instead)[grid]
                earned = _earned(world, stage, {**state, name: option}, None if group is None else group[grid], later, self.seed)
                expected[grid, o] = np.where(feasible[grid, o], earned, -np.inf)
        keep = np.flatnonzero(feasible.any(axis=1))
        weight = np.ones(size) if earlier is None else self._agreeing(stage, known, size, earlier) + ASIDE
        return Foreseen(rows.take(keep), weight[keep] / size, expected[keep])

    def _agreeing(self, stage: int, columns: Mapping[str, np.ndarray], size: int, rules: Rules) -> np.ndarray:
        """Inverse probability of having agreed with rules up to a decision by chance; 0 without agreement, shape (size,)."""
        study, weight = self.world.study, np.ones(size)
        for decision in study.decisions[:stage]:
            before = {n.name: columns[n.name] for n in study.before(decision.name)} or {"": np.zeros(size)}
            options = study.feasible(decision.name, before).sum(axis=1) if "" not in before else len(decision.options)
            weight *= (rules.option(study, decision.name, before) == columns[decision.name]) * options
        return weight


def _earned(world: World, stage: int, columns: dict[str, np.ndarray], cluster: np.ndarray | None, later: Rules, seed: int) -> np.ndarray:
    """Utility earned from a decision on, columns ``(draw, row)`` that hold its option; expected given each response's history."""
    study = world.study
    shape = columns[study.decisions[stage].name].shape
    total, going = np.zeros(shape), np.ones(shape, dtype=bool)
    for k, decision in enumerate(study.decisions[stage:]):
        if k:
            flat = {n.name: columns[n.name].ravel() for n in study.before(decision.name)}
            going &= study.feasible(decision.name, flat).any(axis=1).reshape(shape)
            columns[decision.name] = np.maximum(later.option(study, decision.name, flat), 0).reshape(shape)
        for response in study.after(decision.name):
            name = response.name
            total += np.where(going, world.earning(name, columns, cluster), 0.0)
            sampled = world.simulate(name, columns, cluster, "sample", luck(seed, name, shape, FITTING)) if world.matters(name) else np.zeros(shape)
            columns[name] = sampled
            if study.pays(name):
                total += np.where(going, study.earned(name, columns), 0.0)
    return total


History = Trees | Simulations


def foreseen(posterior: Posterior, world: World, rows: Rows, *, simulate: bool = False) -> History:
    """Trees of histories where they are small enough, simulated ones elsewhere.

    Parameters
    ----------
    posterior : Posterior
    world : World
        All draws, with all that rules may look at being watched.
    rows : Rows
        Baseline columns of the observed patients.
    simulate : bool
        Whether histories are to be simulated in any case.
    """
    size = leaves(world, 0)
    if not simulate and size <= MOST_LEAVES and size * rows.unique()[0].n <= MOST_ROWS:
        return Trees.of(affordable(world, posterior, rows.unique()[0].n, 0), rows)
    check_simulable(world)
    return Simulations(thin_to(world, posterior, DRAWS), rows, SIMULATED, posterior.seed)


def method_of(history: History) -> str:
    """How histories were found, in words."""
    if isinstance(history, Simulations):
        return f"simulation of {SIMULATED:,} histories under {history.world.size} draws"
    return "the tree of histories" + (", continuous responses by quadrature" if any_grid(history.world) else "")


def watching(world: World, names: Mapping[str, Sequence[float]]) -> World:
    """The same world, in which rules may look at further variables, with thresholds of theirs that are known already."""
    watched = {n: tuple(sorted({*world.watched.get(n, ()), *names.get(n, ())})) for n in {**world.watched, **names}}
    return dataclasses.replace(world, watched=watched)
