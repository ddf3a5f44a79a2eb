"""Backward induction on the tree of histories: enumeration of discrete responses, quadrature of continuous ones.

One tree of histories is grown from the rows asked about. `settle` walks it backwards with
posterior-averaged probabilities and fixes the committed rule at every decision; `values` walks it
again draw by draw under any rule. For models with separate parameters per response the posterior
average of a product is the product of averages, so `settle` is exact (g-formula, dynamic
programming on the posterior predictive). Where responses share parameters, draws are weighed by the
likelihood of each node's own history, which is exact too.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DecisionError
from ..study.rules import Rules
from .limits.safety import guarded
from .lines import COST, LineNode, known_lines, settle_lines, straight, value_of_lines
from .points import Points
from .world import Rows, World, leveled, resampled
from .written import rule_chances, rule_options

MOST_LEAVES = 4096
"""A tree with more leaves per patient than this is left to regression."""
EDGE = 1e-6
"""Largest share of an expectation under an attitude to risk that the outermost point of a response may carry."""
BUDGET = 2**23
"""Numbers held at once, ``draws x leaves``: 64 MiB in 64 bits."""
COPIES = 4
"""Columns of a tree's leaves are held about so many times over its levels."""


@dataclass(eq=False)
class ResponseNode:
    """A response at given histories.

    `points` carry its distribution and `gain` ``[row, point]`` is what each of them earns; both are None when only expectations count.
    """

    name: str
    rows: Rows
    points: Points | None
    gain: np.ndarray | None
    child: "Node"


@dataclass(eq=False)
class DecisionNode:
    """A decision at given histories: the feasible pairs of row and option, and what follows each.

    A row without pairs is a course that has ended: nothing more is earned.
    `qbar` ``[row, option]`` (``-inf`` where infeasible) and `choice` ``[row]`` are set by :func:`settle`.
    """

    name: str
    rows: Rows
    feasible: np.ndarray
    row: np.ndarray
    option: np.ndarray
    child: "Node"
    qbar: np.ndarray = field(default_factory=lambda: np.empty(0))
    choice: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))

    @functools.cached_property
    def pair(self) -> np.ndarray:
        """Index of each row's and option's pair, shape (row, option); -1 where infeasible."""
        found = np.full(self.feasible.shape, -1)
        found[self.row, self.option] = np.arange(len(self.row))
        return found

    @functools.cached_property
    def going(self) -> np.ndarray:
        """Rows that have a pair, indices."""
        return np.flatnonzero(self.feasible.any(axis=1))

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Index of the first pair of each of the rows `going`; pairs are ordered by row."""
        return np.searchsorted(self.row, self.going)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows `going` ``[draw, going]`` as values of all rows ``[draw, row]``, 0 where the course has ended."""
        if len(self.going) == len(self.feasible):
            return values
        out = np.zeros((*values.shape[:-1], len(self.feasible)))
        out[..., self.going] = values
        return out

    def drawn(self, pairs: np.ndarray, chances: np.ndarray) -> np.ndarray:
        """Values ``[draw, row]`` of an option drawn with given probabilities ``(row, option)``, given those of pairs ``[draw, pair]``."""
        return self.spread(np.add.reduceat(pairs * chances[self.row, self.option], self.starts, axis=1))

    def taken(self, pairs: np.ndarray, option: np.ndarray) -> np.ndarray:
        """Values ``[draw, row]`` of one option per row ``(row,)``, given those of pairs ``[draw, pair]``."""
        return self.spread(pairs[:, self.pair[self.going, option[self.going]]])

    def table(self, pairs: np.ndarray) -> np.ndarray:
        """Values of pairs ``[..., pair]`` as a table ``[..., row, option]``, ``-inf`` where infeasible."""
        out = np.full((*pairs.shape[:-1], *self.feasible.shape), -np.inf)
        out[..., self.row, self.option] = pairs
        return out


GRID_NOTE = "enumeration of discrete and quadrature of continuous responses"

Node = ResponseNode | DecisionNode | LineNode | None
Policy = Callable[[int, Mapping[str, np.ndarray], np.ndarray | None], np.ndarray]
"""From a decision's index, columns ``(n,)`` and clusters to option codes ``(n,)``."""
Chooser = Callable[[DecisionNode, np.ndarray], np.ndarray]
"""From a decision node and its pairs' values ``[draw, pair]`` to the value ``[draw, row]`` of what is done there."""


def leaves(world: World, stage: int, *, closed: bool = False, followed: bool = False) -> float:
    """Leaves per patient of the tree that starts at a decision (0 for the first).

    With `closed` of the one that ends in closed forms, with `followed` of the one that follows a policy down to the last decision.
    """
    count = 1.0
    for decision in world.study.decisions[stage:]:
        count *= 1 if followed and decision != world.study.decisions[-1] else max(len(s) for s in decision.sets)
        for response in world.study.after(decision.name):
            if closed and straight(world, response.name):
                return count * COST * len(world.study.decisions[-1].options)
            count *= world.width(response.name)
    return count


def feasible_at(world: World, stage: int, rows: Rows) -> np.ndarray:
    """Feasible options at a decision, shape (row, option); none where the course ends.

    Raises
    ------
    DecisionError
        When a history meets none or several of the decision's conditions.
    """
    decision = world.study.decisions[stage]
    if not rows.columns:
        return np.ones((rows.n, len(decision.options)), dtype=bool)
    feasible = world.study.feasible(decision.name, rows.columns)
    if (world.study.stratum(decision.name, rows.columns) < 0).any():
        raise DecisionError(f"Decision {decision.name!r}: some histories meet none, or several, of its conditions; they must be disjoint.")
    return feasible


def grow(world: World, stage: int, rows: Rows, *, closed: bool = False, policy: Policy | None = None) -> DecisionNode:
    """Grow the tree of histories from a decision on.

    With `closed` it ends in closed forms where these hold (:mod:`lines`); with `policy` it follows that at every decision but the last.
    """
    decision = world.study.decisions[stage]
    feasible = feasible_at(world, stage, rows)
    if policy is not None and stage + 1 < len(world.study.decisions):
        feasible = feasible & (np.arange(feasible.shape[1]) == policy(stage, rows.columns or {"": np.zeros(rows.n)}, rows.cluster)[:, None])
    row, option = np.nonzero(feasible)
    child = _responses(world, stage, rows.take(row).put(decision.name, option), 0, closed, policy) if row.size else None
    return DecisionNode(decision.name, rows, feasible, row, option, child)


def _responses(world: World, stage: int, rows: Rows, index: int, closed: bool, policy: Policy | None) -> Node:
    responses = world.study.after(world.study.decisions[stage].name)
    if index == len(responses):
        return grow(world, stage + 1, rows, closed=closed, policy=policy) if stage + 1 < len(world.study.decisions) else None
    name = responses[index].name
    weight = world.study.weight(name)
    if closed and straight(world, name):
        feasible = feasible_at(world, stage + 1, rows.put(name, np.zeros(rows.n)))
        charge = world.study.charged(name, rows.columns)
        return LineNode(name, world.study.decisions[stage + 1].name, rows, weight, charge, feasible, alone=policy is not None)
    if not world.matters(name):
        return ResponseNode(name, rows, None, None, _responses(world, stage, rows.put(name, np.zeros(rows.n)), index + 1, closed, policy))
    points = world.points(name, rows)
    spread = rows.take(np.repeat(np.arange(rows.n), points.at.shape[1])).put(name, points.at.ravel())
    gain = weight * points.at
    if world.study.pays(name):
        gain = gain + world.study.earned(name, spread.columns).reshape(points.at.shape)
    return ResponseNode(name, rows, points, gain, _responses(world, stage, spread, index + 1, closed, policy))


Follow = Callable[[DecisionNode], np.ndarray | None]
"""From a decision node to the options, codes ``(row,)``, that have been committed to there; None where the best is to be chosen."""


def settle(world: World, node: Node, own: np.ndarray | None = None, follow: Follow | None = None) -> np.ndarray | float:
    """Fix the committed rule on a tree; return the posterior-expected utility of its rows, shape (row,).

    Parameters
    ----------
    world : World
    node : Node
    own : array, shape (draw, row), optional
        Weight of each draw given the rows' own histories, mean 1 over draws; equal where left out.
        Responses that share parameters with others update it on the way down.
    follow : callable, optional
        What has been committed to already; the best option elsewhere.
    """
    if node is None:
        return 0.0
    if isinstance(node, DecisionNode):
        below = None if own is None else own[:, node.row]
        node.qbar = node.table(np.broadcast_to(settle(world, node.child, below, follow), node.row.shape))
        if world.safety is not None and world.safety.at(world.study, node.name):
            node.qbar = np.where(guarded(world, node.name, node.rows, node.feasible).allowed, node.qbar, -np.inf)
        said = None if follow is None else follow(node)
        node.choice = node.qbar.argmax(axis=1) if said is None else said
        return node.spread(node.qbar[node.going, node.choice[node.going]])
    if isinstance(node, LineNode):
        return settle_lines(world, node, max(1, int(BUDGET // (2 * node.feasible.size))))
    if world.shares(node.name):
        return _settle_shared(world, node, np.ones((world.size, node.rows.n)) if own is None else own, follow)
    below = own if own is None or node.points is None else np.repeat(own, node.points.at.shape[1], axis=1)
    after = settle(world, node.child, below, follow)
    expected = world.expected(node.name, node.rows, with_mean=node.points is None, average=True)
    if node.points is None or node.gain is None:
        return after + expected
    p = world.probabilities(node.name, node.rows, node.points, average=True)
    return expected + _averaged(world, node, p, node.gain + np.reshape(np.broadcast_to(after, p.size), p.shape))


def _averaged(world: World, node: ResponseNode, p: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Expected worth of a response's points ``[row, point]``.

    Raises
    ------
    DecisionError
        Where an attitude to risk looks further into the tails of a response than its points reach.
    """
    parts = p * worth
    assert node.points is not None
    if world.study.utility.attitude is not None and node.points.edges is None and world.compiled[node.name].support is None:
        ends = parts[:, -1:] if world.compiled[node.name].whole else parts[:, [0, -1]]
        if (np.abs(ends) > EDGE * np.abs(parts).sum(axis=1, keepdims=True)).any():
            raise DecisionError(
                f"Response {node.name!r}: under {world.study.utility.attitude} its rarest values decide, further out than can be integrated; "
                "lower the risk aversion, or use PiecewiseLinear."
            )
    return parts.sum(axis=-1)


def _settle_shared(world: World, node: ResponseNode, own: np.ndarray, follow: Follow | None) -> np.ndarray:
    """:func:`settle` at a response whose parameters other responses share: averages are over the draws as the own history weighs them."""
    expected = (own * world.expected(node.name, node.rows, with_mean=node.points is None)).mean(axis=0)
    if node.points is None or node.gain is None:
        return settle(world, node.child, own, follow) + expected
    joint = own[:, :, None] * world.probabilities(node.name, node.rows, node.points)
    p = joint.mean(axis=0)
    after = settle(world, node.child, leveled(joint.reshape(len(joint), -1)), follow)
    return expected + _averaged(world, node, p, node.gain + np.reshape(np.broadcast_to(after, p.size), p.shape))


def own_histories(world: World, node: Node, own: np.ndarray | None = None, known: frozenset[str] = frozenset()) -> dict[int, np.ndarray | None]:
    """Weight of each draw given every node's own histories, ``[draw, row]`` with mean 1 over draws; None where all are equal.

    The same weights as :func:`settle` uses on its way down. Responses whose parameters are `known` tell nothing more.
    """
    found: dict[int, np.ndarray | None] = {}
    while node is not None:
        found[id(node)] = own
        if isinstance(node, DecisionNode):
            own = None if own is None else own[:, node.row]
        elif node.points is not None and node.gain is not None:
            if world.shares(node.name) and node.name not in known:
                joint = (np.ones((world.size, node.rows.n)) if own is None else own)[:, :, None] * world.probabilities(
                    node.name, node.rows, node.points)
                own = leveled(joint.reshape(len(joint), -1))
            elif own is not None:
                own = np.repeat(own, node.points.at.shape[1], axis=1)
        node = None if isinstance(node, LineNode) else node.child
    return found


Known = dict[int, Any]
"""By response node: probabilities of its points ``[draw, row, point]`` (None without points), and what it is expected to earn beside them;
by node in closed form its :data:`lines.Lines`."""


def tables(world: World, node: Node) -> Known:
    """What every response node of a tree says under each draw."""
    found: Known = {}
    while node is not None:
        if isinstance(node, LineNode):
            found[id(node)] = known_lines(world, node)
            break
        if isinstance(node, ResponseNode):
            p = None if node.points is None else world.probabilities(node.name, node.rows, node.points)
            found[id(node)] = p, world.expected(node.name, node.rows, with_mean=p is None)
        node = node.child
    return found


def _value(node: Node, known: Known, choose: Chooser) -> np.ndarray | float:
    if node is None:
        return 0.0
    if isinstance(node, DecisionNode):
        pairs = _value(node.child, known, choose)
        return choose(node, np.asarray(pairs)) if np.ndim(pairs) else pairs  # nothing to come, whatever is done
    if isinstance(node, LineNode):
        return value_of_lines(node, known[id(node)], clairvoyant=choose is clairvoyant)
    after = _value(node.child, known, choose)
    p, total = known[id(node)]
    if p is None:
        return after + total
    if node.gain is not None and node.gain.any():
        total = total + np.einsum("brp,rp->br", p, node.gain)
    if np.ndim(after):
        total = total + np.einsum("brp,brp->br", p, np.reshape(after, p.shape))
    return total


def options(node: DecisionNode, known: Known, choose: Chooser) -> np.ndarray:
    """Value of every option at a decision, later decisions made by `choose`; ``[draw, row, option]``."""
    pairs = _value(node.child, known, choose)
    return node.table(np.asarray(pairs) if np.ndim(pairs) else np.full((1, len(node.row)), pairs))


def committed(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
    """The committed rule: the option of highest posterior-expected utility, whatever the draw says."""
    return node.taken(pairs, node.choice)


def clairvoyant(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
    """The best option of each draw. An ingredient of regret and of Thompson sampling, never a rule's value."""
    left = np.isfinite(node.qbar[node.row, node.option])  # what gates have removed is no option to anybody
    return node.spread(np.maximum.reduceat(pairs if left.all() else np.where(left, pairs, -np.inf), node.starts, axis=1))


def following(world: World, rules: Rules) -> Chooser:
    """A written or embedded regime; where it draws a lottery, the average of its options' values."""

    def choose(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
        if rules.stochastic:
            return node.drawn(pairs, rule_chances(world, rules, node))
        return node.taken(pairs, rule_options(world, rules, node))

    return choose


@dataclass(frozen=True, eq=False)
class Answer:
    """Values of every option at one decision for a chunk of histories.

    Attributes
    ----------
    begin : int
        Position of the first row of the chunk.
    qbar : array, shape (row, option)
        Posterior-expected utility with committed continuation; ``-inf`` where infeasible.
    values : tuple of array, shape (draw, row, option)
        Per draw, for each chooser that was asked for.
    """

    begin: int
    qbar: np.ndarray
    values: tuple[np.ndarray, ...]


def solve(world: World, stage: int, rows: Rows, choosers: Sequence[Chooser], policy: Policy | None = None) -> Iterator[Answer]:
    """Answer for given histories at one decision, chunk by chunk, in bounded memory.

    Parameters
    ----------
    world : World
    stage : int
        Index of the decision, 0 for the first.
    rows : Rows
        Distinct histories before that decision.
    choosers : sequence of Chooser
        How later decisions are made.
    policy : callable, optional
        What is done at every decision but the last one, that at `stage` included; only its option is answered for.

    Notes
    -----
    A closed form (:mod:`lines`) takes the place of a grid where it holds and nobody asks for a written regime.
    """
    closed = all(c is committed or c is clairvoyant for c in choosers)
    size = leaves(world, stage, closed=closed, followed=policy is not None)
    wide = size + len(choosers) * len(world.study.decisions[stage].options)
    held = max(world.size, COPIES * len(world.study.timeline))  # with few draws it is the histories' columns that take the room
    chunk = max(1, int(BUDGET // (wide * held)))  # a chunk's answers [draw, row, option] count against the budget too
    for begin in range(0, rows.n, chunk):
        root = grow(world, stage, rows.take(np.arange(begin, min(begin + chunk, rows.n))), closed=closed, policy=policy)
        own = world.own_history(stage, root.rows)
        settle(world, root, own)
        step = max(1, int(BUDGET // (size * root.rows.n)))
        parts = []
        for first in range(0, world.size if choosers else 0, step):
            known = tables(world.block(first, first + step), root)
            parts.append([options(root, known, choose) for choose in choosers])
        values = (np.concatenate(p) for p in zip(*parts, strict=True))
        yield Answer(begin, root.qbar, tuple(v if own is None else resampled(v, own) for v in values))
