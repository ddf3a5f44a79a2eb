"""The tree of histories of a study whose responses are saturated cells: grown once, walked for every look with arrays over trials and draws."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import TrialError
from ...study import Study
from ...study.rules import Rules, tailoring_variables
from ...study.saturated import saturated_cells, saturated_variables
from ...study.timeline import Decision, Response, finite_values

LARGEST = 50_000
"""Histories at any point of the tree."""

Columns = dict[str, np.ndarray]
Thetas = Mapping[str, np.ndarray]
"""By response: success probabilities or means of its cells, ``[trial, cell, draw]``."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A response at given histories, rows.

    Attributes
    ----------
    name : str
    cell : array of int, shape (row,)
    slope, level : array, shape (row,)
        What is earned with it is ``level + slope * theta``: by a success more than by none, or by the mean.
    child : array of int, shape (row, 2) or (row, 1)
        Rows of the next step after 0 and after 1; one column where nothing later depends on the response. Empty along the last axis at the end.
    """

    name: str
    cell: np.ndarray
    slope: np.ndarray
    level: np.ndarray
    child: np.ndarray

    def part(self, rows: np.ndarray, below: np.ndarray) -> "Answer":
        """Some rows, in a tree of which `below` are the rows that are left of the next step."""
        child = np.searchsorted(below, self.child[rows]) if self.child.size else self.child[rows]
        return Answer(self.name, self.cell[rows], self.slope[rows], self.level[rows], child)


@dataclass(frozen=True, eq=False)
class Choice:
    """A decision at given histories, rows.

    Attributes
    ----------
    name : str
    columns : dict of str to array, shape (row,)
        What is enumerated of the histories.
    feasible : array of bool, shape (row, option)
    child : array of int, shape (row, option)
        Rows of the next step; -1 where infeasible.
    """

    name: str
    columns: Columns
    feasible: np.ndarray
    child: np.ndarray


@dataclass(frozen=True, eq=False)
class Taken:
    """A decision at which one option is taken: rows of the next step ``(row,)``, -1 where the course has ended."""

    child: np.ndarray


Step = Answer | Choice | Taken


def matters(study: Study, name: str) -> bool:
    """Whether anything later depends on a variable: cells of a response, a feasible set, a tailored decision, a table of the utility."""
    if isinstance(study[name], Response) and (study.pays(name) or study.keeps(name)):
        return True
    later = study.timeline[study.names.index(name) + 1 :]
    for node in later:
        if isinstance(node, Response) and name in saturated_variables(study, node):
            return True
        if isinstance(node, Decision) and (name in tailoring_variables(study, node) or any(name in c.variables for c, _ in node.choices)):
            return True
    return False


class Tree:
    """All histories of a study, step by step in time order.

    Attributes
    ----------
    study : Study
    names : tuple of str
        Variables that are enumerated.
    roots : dict of str to array, shape (root,)
        Combinations of baseline covariates that anything depends on; one row without names where nothing does.
    steps : tuple of Answer or Choice
    places : tuple of int
        Where each decision stands among the steps.

    Raises
    ------
    TrialError
        Where a history would have to hold a number that cannot be enumerated, or there are too many histories.
    """

    def __init__(self, study: Study):
        self.study = study
        needed = [b for b in study.baselines if matters(study, b.name)]
        for node in needed + [r for r in study.responses if matters(study, r.name)]:
            if finite_values(node) is None:
                raise TrialError(f"engine='exact' goes through all histories, and {node.name!r}, on which something later depends, is a number with "
                                 "no finite list of values; use Analysis(engine='laplace').")
        levels = [np.arange(len(finite_values(b) or ())) for b in needed]
        combinations = list(itertools.product(*levels))
        grid = np.array(combinations, dtype=int).reshape(len(combinations), len(needed))
        self.roots: Columns = {b.name: grid[:, j] for j, b in enumerate(needed)}
        self.names = tuple(n.name for n in (*needed, *study.timeline[len(study.baselines) :]) if isinstance(n, Decision) or matters(study, n.name))
        steps: list[Step] = []
        self.places = tuple(k for k, n in enumerate(study.timeline[len(study.baselines) :]) if isinstance(n, Decision))
        columns, rows = dict(self.roots), len(grid)
        for node in study.timeline[len(study.baselines) :]:
            last = node is study.timeline[-1]
            step, columns, rows = self._choice(node, columns, rows) if isinstance(node, Decision) else self._answer(node, columns, rows, last)
            if rows > LARGEST:
                raise TrialError(f"engine='exact' goes through all histories, and this study has more than {LARGEST}; "
                                 "use Analysis(engine='laplace'), or let models look at fewer variables by Saturated(over=[...]).")
            steps.append(step)
        self.steps = tuple(steps)

    def _choice(self, node: Decision, columns: Columns, rows: int) -> tuple[Step, Columns, int]:
        feasible = np.broadcast_to(self.study.feasible(node.name, columns or {"": np.zeros(rows)}), (rows, len(node.options)))
        row, option = np.nonzero(feasible)
        child = np.full(feasible.shape, -1)
        child[row, option] = np.arange(len(row))
        return Choice(node.name, columns, feasible, child), {n: c[row] for n, c in columns.items()} | {node.name: option}, len(row)

    def _answer(self, node: Response, columns: Columns, rows: int, last: bool) -> tuple[Step, Columns, int]:
        study, name = self.study, node.name
        cells = saturated_cells(study, node)
        cell = cells.lookup[tuple(columns[n].astype(int) for n in cells.names)] if cells.names else np.zeros(rows, dtype=int)
        cell = np.broadcast_to(cell, (rows,))
        charge = np.broadcast_to(np.asarray(study.charged(name, columns), dtype=float), (rows,))
        weight = study.weight(name)
        if not matters(study, name):
            child = np.empty((rows, 0), dtype=int) if last else np.arange(rows)[:, None]
            return Answer(name, cell, np.full(rows, weight), charge, child), columns | {name: np.zeros(rows, dtype=int)}, rows
        spread = {n: np.repeat(c, 2) for n, c in columns.items()} | {name: np.tile([0, 1], rows)}
        gain = weight * np.array([0.0, 1.0]) + charge[:, None]
        if study.pays(name):
            gain = gain + study.earned(name, spread).reshape(rows, 2)
        child = np.empty((rows, 0), dtype=int) if last else np.arange(2 * rows).reshape(rows, 2)
        return Answer(name, cell, gain[:, 1] - gain[:, 0], gain[:, 0], child), spread, 2 * rows

    # ---- looking up ---------------------------------------------------------------------------------

    def decision(self, k: int) -> Choice:
        """The step of a decision, by its number from 0."""
        step = self.steps[self.places[k]]
        assert isinstance(step, Choice)
        return step

    def rows(self, k: int, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The row of a decision's step that each history stands in, of any shape; -1 where it is not known or cannot arise."""
        step = self.decision(k)
        names = [n for n in self.names if n in step.columns]
        if not names:
            some = next(iter(columns.values()), np.zeros(1))
            return np.zeros(np.shape(some), dtype=int)
        sizes = [len(finite_values(self.study[n]) or ()) for n in names]
        table = np.full(sizes, -1)
        table[tuple(step.columns[n] for n in names)] = np.arange(len(step.feasible))
        known = np.ones(np.shape(columns[names[0]]), dtype=bool)
        codes = []
        for n in names:
            column = np.nan_to_num(np.asarray(columns[n], dtype=float), nan=-1.0).astype(int)
            known &= column >= 0
            codes.append(np.where(column >= 0, column, 0))
        return np.where(known, table[tuple(codes)], -1)

    # ---- following a regime ---------------------------------------------------------------------------

    def following(self, rules: Rules) -> tuple[Step, ...]:
        """The part of the tree that a regime can lead to, from all roots."""
        chosen: list[np.ndarray] = []
        reached = [np.arange(len(next(iter(self.roots.values()))) if self.roots else 1)]
        for step in self.steps:
            rows = reached[-1]
            if isinstance(step, Choice):
                columns = {n: c[rows] for n, c in step.columns.items()} or {"": np.zeros(len(rows))}
                option = np.broadcast_to(rules.option(self.study, step.name, columns), rows.shape)
                child = np.where(option >= 0, step.child[rows, np.maximum(option, 0)], -1)
            else:
                assert isinstance(step, Answer)
                child = step.child[rows]
            chosen.append(child)
            reached.append(np.unique(child[child >= 0]))
        found: list[Step] = []
        for step, rows, child, below in zip(self.steps, reached, chosen, reached[1:], strict=False):
            if isinstance(step, Choice):
                found.append(Taken(np.where(child >= 0, np.searchsorted(below, child), -1)))
            else:
                assert isinstance(step, Answer)
                found.append(step.part(rows, below))
        return tuple(found)

    def line(self, steps: tuple[Step, ...]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray] | None:
        """Where the rows of the first of these steps earn ``level + slope theta`` of a single cell each: the response, cells, slopes, levels.

        None where several responses count, or where what is to come depends on a response's value.
        """
        counts = [s for s in steps if isinstance(s, Answer) and (s.slope != 0).any()]
        if len(counts) != 1 or any(isinstance(s, Answer) and s.child.shape[1] == 2 for s in steps[:-1]) or not (counts[0].slope != 0).all():
            return None
        rows = np.arange(len(steps[0].child))
        level, found = np.zeros(len(rows)), None
        for s in steps:
            if isinstance(s, Choice) or (isinstance(s, Taken) and (s.child < 0).any()):
                return None
            if isinstance(s, Answer):
                level = level + s.level[rows]
                found = (s.cell[rows], s.slope[rows]) if s is counts[0] else found
            rows = rows if s is steps[-1] else s.child.reshape(len(s.child), -1)[rows, 0]
        assert found is not None
        return counts[0].name, *found, level


# ---- walking the tree backwards ------------------------------------------------------------------------


Worth = np.ndarray
"""``[trial, row, draw]``."""


def walk(steps: tuple[Step, ...], theta: Thetas) -> Worth:
    """Utility to be expected from the first of some steps on, the best option of each draw taken wherever there is a choice."""
    after: Worth | None = None
    for step in reversed(steps):
        after = _answered(step, theta, after) if isinstance(step, Answer) else _decided(step, after)
    assert after is not None
    return after


def _answered(step: Answer, theta: Thetas, after: Worth | None) -> Worth:
    t = theta[step.name][:, step.cell]
    value = t * step.slope[:, None] + step.level[:, None]
    if after is None or not step.child.shape[1]:
        return value
    if step.child.shape[1] == 1:
        return value + after[:, step.child[:, 0]]
    none, some = after[:, step.child[:, 0]], after[:, step.child[:, 1]]
    return value + none + t * (some - none)


def _decided(step: Choice | Taken, after: Worth | None) -> Worth:
    assert after is not None
    if isinstance(step, Taken):
        return np.where((step.child >= 0)[:, None], after[:, np.maximum(step.child, 0)] if after.shape[1] else 0.0, 0.0)
    best = np.full((after.shape[0], len(step.child), after.shape[2]), -np.inf)
    for option in range(step.child.shape[1]):
        rows = np.flatnonzero(step.child[:, option] >= 0)
        best[:, rows] = np.maximum(best[:, rows], after[:, step.child[rows, option]])
    best[:, ~step.feasible.any(axis=1)] = 0.0
    return best


def pairs(steps: tuple[Step, ...], theta: Thetas) -> Worth:
    """Values of the options of a decision, the first of some steps: ``[trial, row, option, draw]`` laid flat along rows; -inf where infeasible."""
    step = steps[0]
    assert isinstance(step, Choice)
    after = walk(steps[1:], theta)
    out = after[:, np.maximum(step.child, 0).ravel()] if after.shape[1] else np.zeros((len(after), step.child.size, after.shape[2]))
    out[:, (step.child < 0).ravel()] = -np.inf
    return out


def variance(steps: tuple[Step, ...], mean: Thetas, spread: Thetas) -> Worth | None:
    """Posterior variance of what :func:`walk` returns along a regime, ``[trial, row, 1]``; None where rows share cells.

    For ``X = p A + (1 - p) B`` with a probability independent of two uncorrelated continuations: by the second moments of all three.
    """
    if any(isinstance(s, Answer) and len(np.unique(s.cell)) < len(s.cell) for s in steps):
        return None
    m: Worth | None = None
    v: Worth | None = None
    for step in reversed(steps):
        if isinstance(step, Answer):
            t, s2 = mean[step.name][:, step.cell], spread[step.name][:, step.cell]
            slope = step.slope[:, None]
            if m is None or v is None or not step.child.shape[1]:
                v = slope**2 * s2
            elif step.child.shape[1] == 1:
                v = slope**2 * s2 + v[:, step.child[:, 0]]
            else:
                none, some = (m[:, step.child[:, k]] + (step.level[:, None] + k * slope) for k in (0, 1))
                # E[p^2] Var A + E[(1 - p)^2] Var B + Var(p) (E A - E B)^2
                v = (s2 + t**2) * v[:, step.child[:, 1]] + (s2 + (1 - t) ** 2) * v[:, step.child[:, 0]] + s2 * (some - none) ** 2
            m = _answered(step, mean, m)
        else:
            m, v = _decided(step, m), _decided(step, v)
    return v
