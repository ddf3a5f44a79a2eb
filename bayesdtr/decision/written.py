"""What a regime written by a person does at a decision node of the tree of histories."""

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DecisionError
from ..study.rules import Rules
from .world import World

if TYPE_CHECKING:
    from .induction import DecisionNode


def starting(world: World, rules: Rules, node: "DecisionNode", q: np.ndarray) -> np.ndarray:
    """Value ``[draw, row]`` of a written regime at a decision, given that of every option there ``[draw, row, option]``."""
    if rules.stochastic:
        p = rule_chances(world, rules, node)
        return np.einsum("bro,ro->br", np.where(p > 0, q, 0.0), p)
    return q[:, np.arange(node.rows.n), rule_options(world, rules, node)]


def rule_chances(world: World, rules: Rules, node: "DecisionNode") -> np.ndarray:
    """What a written regime does at a decision node, probabilities of shape (row, option); any feasible option where it never leads.

    Raises
    ------
    DecisionError
        Where it may name no feasible option for a history that it leads to.
    """
    chances = rules.chances(world.study, node.name, node.rows.columns or {"": np.zeros(node.rows.n)})
    going = node.feasible.any(axis=1)
    lost = ~((chances > 0) & node.feasible).any(axis=1) | ((chances > 0) & ~node.feasible).any(axis=1)
    if (lost & going).any() and (bad := lost & going & _reached(world, rules, node)).any():
        raise _unnamed(rules, node, bad)
    return np.where(lost[:, None], np.eye(chances.shape[1])[node.feasible.argmax(axis=1)], chances)


def _unnamed(rules: Rules, node: "DecisionNode", bad: np.ndarray) -> DecisionError:
    return DecisionError(
        f"The regime {rules.label!r} names no feasible option at {node.name!r} for some histories ({int(bad.sum())} of {len(bad)} rows)."
    )


def rule_options(world: World, rules: Rules, node: "DecisionNode") -> np.ndarray:
    """What a written regime does at a decision node, codes of shape (row,); any code where the course has ended.

    Raises
    ------
    DecisionError
        Where it names no feasible option for a history that it leads to.
    """
    option = rules.option(world.study, node.name, node.rows.columns) if node.rows.columns else _unconditional(world, rules, node)
    lost = ((option < 0) | ~node.feasible[np.arange(len(option)), option]) & node.feasible.any(axis=1)
    if lost.any() and (bad := lost & _reached(world, rules, node)).any():
        raise _unnamed(rules, node, bad)
    return np.where(lost, node.feasible.argmax(axis=1), np.maximum(option, 0))  # the tree also holds histories that the regime never leads to


def _reached(world: World, rules: Rules, node: "DecisionNode") -> np.ndarray:
    """Whether every earlier decision of a history is one that the regime makes, or may make, shape (row,)."""
    reached = np.ones(node.rows.n, dtype=bool)
    for decision in world.study.decisions[: [d.name for d in world.study.decisions].index(node.name)]:
        names = [n.name for n in world.study.before(decision.name)]
        known = {n: node.rows.columns[n] for n in names} or {"": np.zeros(node.rows.n)}
        taken = np.asarray(node.rows.columns[decision.name]).astype(int)
        reached &= rules.chances(world.study, decision.name, known)[np.arange(node.rows.n), taken] > 0
    return reached


def _unconditional(world: World, rules: Rules, node: "DecisionNode") -> np.ndarray:
    """A rule's option before anything is observed."""
    branches = dict(rules.decisions).get(node.name, ())
    code = int(world.study.code(node.name, branches[0][1])) if branches else 0
    return np.full(node.rows.n, code)
