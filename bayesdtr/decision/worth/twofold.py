"""Two utilities on one tree of histories: a benefit and a harm (or a resource), weighed against each other without growing it again."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError
from ...study.study import Study
from ...study.utility import Utility
from ..induction import DecisionNode, Node, grow, own_histories
from ..world import Rows, World


@dataclass(frozen=True, eq=False)
class Twofold:
    """A tree of histories with posterior-averaged probabilities, and what every response earns of benefit and of harm.

    Attributes
    ----------
    root : DecisionNode
    known : mapping of int to tuple
        By response node: probabilities of its points ``[row, point]`` or None, and expected earnings ``[benefit or harm, row]``.
    sizes : array, shape (2, row)
        Largest benefit and harm of the root's options: weights are of benefit and harm in these units, whatever those of the utilities.
    """

    root: DecisionNode
    known: Mapping[int, tuple[np.ndarray | None, np.ndarray]]
    sizes: np.ndarray

    @classmethod
    def of(cls, world: World, stage: int, rows: Rows, parts: list[Utility]) -> "Twofold":
        for u in parts:
            if u.attitude is not None:
                raise DecisionError(f"Two utilities are weighed against each other as sums, and one of them has an attitude to outcome risk, "
                                    f"{u.attitude}; give it without attitude=.")
        root = grow(world, stage, rows)
        own = own_histories(world, root, world.own_history(stage, rows))
        worlds = [dataclasses.replace(world, study=world.study.valued(u)) for u in parts]
        known, node = {}, root.child
        while node is not None:
            if not isinstance(node, DecisionNode):
                known[id(node)] = _averages(worlds, node, own[id(node)])
            node = node.child
        plain = cls(root, known, np.ones((2, rows.n)))
        ends = [np.abs(plain.parts(*w)).max(axis=2) for w in ((np.ones(rows.n), np.zeros(rows.n)), (np.zeros(rows.n), np.ones(rows.n)))]
        sizes = np.maximum(*ends)
        return cls(root, known, np.where(sizes > 0, sizes, 1.0))

    def parts(self, benefit: np.ndarray, harm: np.ndarray) -> np.ndarray:
        """Benefit and harm of every option of the root at its rows' weights ``(row,)`` of either; shape (2, row, option), 0 where infeasible."""
        row = self.root.row
        pairs = np.broadcast_to(self._walk(self.root.child, benefit[row], harm[row]), (2, len(row)))
        return np.where(self.root.feasible, self.root.table(pairs), 0.0)

    def weights(self, rate: float) -> np.ndarray:
        """Weights of the harm that stand for a rate, shape (row,)."""
        if np.isinf(rate):
            return np.ones(self.sizes.shape[1])
        scaled = rate * self.sizes[1] / self.sizes[0]
        return scaled / (1 + scaled)

    def rate(self, row: int, w: float) -> float:
        """The rate that a weight of the harm stands for."""
        return np.inf if w >= 1 else float(w / (1 - w) * self.sizes[0, row] / self.sizes[1, row])

    def options(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and slope of every option of the root's rows at their weights of the harm ``(row,)``; shape (row, option), 0 where infeasible."""
        benefit, harm = self.parts((1 - w) / self.sizes[0], w / self.sizes[1]) / self.sizes[..., None]
        return (1 - w[:, None]) * benefit - w[:, None] * harm, -benefit - harm

    def _walk(self, node: Node, benefit: np.ndarray, harm: np.ndarray) -> np.ndarray:
        """Benefit and harm to come, shape (2, row), later decisions by the committed rule at each row's weights of either."""
        if node is None:
            return np.zeros((2, 1))
        if isinstance(node, DecisionNode):
            benefit, harm = benefit[node.row], harm[node.row]
            pairs = np.broadcast_to(self._walk(node.child, benefit, harm), (2, len(node.row)))
            node.choice = node.table(benefit * pairs[0] - harm * pairs[1]).argmax(axis=1)
            return node.taken(pairs, node.choice)
        p, earned = self.known[id(node)]
        if p is None:
            return self._walk(node.child, benefit, harm) + earned
        after = np.broadcast_to(self._walk(node.child, *(np.repeat(v, p.shape[1]) for v in (benefit, harm))), (2, p.size))
        return earned + (p * after.reshape(2, *p.shape)).sum(axis=2)


def _averages(worlds: list[World], node: Any, own: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray]:
    """Averaged probabilities of a response's points, and the averaged earnings of each utility; as in :func:`induction.settle`."""
    shared = worlds[0].shares(node.name)
    weight = np.ones((worlds[0].size, node.rows.n)) if shared and own is None else own
    p = None
    if node.points is not None:
        if shared:
            p = (weight[:, :, None] * worlds[0].probabilities(node.name, node.rows, node.points)).mean(axis=0)
        else:
            p = worlds[0].probabilities(node.name, node.rows, node.points, average=True)
    earned = []
    for world in worlds:
        expected = world.expected(node.name, node.rows, with_mean=p is None, average=not shared)
        total = (weight * expected).mean(axis=0) if shared else np.broadcast_to(expected, (node.rows.n,))
        if p is not None:
            total = total + (p * gain_of(world.study, node)).sum(axis=1)
        earned.append(total)
    return p, np.stack(earned)


def gain_of(study: Study, node: Any) -> np.ndarray:
    """What each point of a response earns, shape (row, point)."""
    at = node.points.at
    gain = study.weight(node.name) * at
    if study.pays(node.name):
        spread = node.rows.take(np.repeat(np.arange(node.rows.n), at.shape[1])).put(node.name, at.ravel())
        gain = gain + study.earned(node.name, spread.columns).reshape(at.shape)
    return gain
