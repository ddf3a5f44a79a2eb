"""Cell counts: how many patients received each option after each discrete history, which is what positivity means."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..study import Baseline, Condition, Decision, Response, Study
from ..study.conditions import Test, representatives
from ..study.timeline import Node, code_of, finite_values
from .trajectories import Trajectories

LISTED = 64
"""Up to this many cells of a decision are listed even where nobody reached them."""
LARGEST_GRID = 50_000


@dataclass(frozen=True)
class CellCount:
    """Patients by option received, in one cell of the history before a decision.

    Attributes
    ----------
    decision : str
    cell : tuple of (str, str)
        Name and label of each discrete variable in time order; then ``("condition", text)`` where
        these leave open which of the decision's conditions applies.
    label : str
        The cell in words.
    options : tuple of str
        The options feasible there, at least two.
    counts : tuple of int
        Patients who received each of them.
    """

    decision: str
    cell: tuple[tuple[str, str], ...]
    label: str
    options: tuple[str, ...]
    counts: tuple[int, ...]


def cell_counts(study: Study, trajectories: Trajectories) -> list[CellCount]:
    """Count the options received in every cell of the discrete history, for each decision.

    Cells are formed by earlier decisions, by responses with finitely many values, by labelled
    covariates where nobody randomized and at most 64 cells are left, and by the condition that applies where these do
    not determine it. Cells with a single feasible option are
    left out. Cells that nobody reached are listed, with zeros, for a decision of at most 64 cells.

    Returns
    -------
    list of CellCount
        By decision, then in the order of declaration.
    """
    return [count for decision in study.decisions for count in _of_decision(study, decision, trajectories)]


def _of_decision(study: Study, decision: Decision, data: Trajectories) -> list[CellCount]:
    nodes = _cell_variables(study, decision)
    known = [n.name for n in nodes] + [v for condition, _ in decision.choices for v in condition.variables]
    made = np.flatnonzero(np.all([data.observed(n) for n in (decision.name, *known)], axis=0))  # of others the cell is not known
    received = data.columns[decision.name][made]
    keys = np.zeros((0, len(nodes) + 1), dtype=np.int64)
    found: dict[tuple[int, ...], np.ndarray] = {}
    if made.size:
        history = data.history(study.names, made)
        keys = np.column_stack([*(_index(n, history[n.name]) for n in nodes), study.stratum(decision.name, history)])
        unique, which = np.unique(keys, axis=0, return_inverse=True)
        table = np.zeros((len(unique), len(decision.options)), dtype=np.int64)
        np.add.at(table, (which.ravel(), received), 1)
        found = {tuple(int(v) for v in key): row for key, row in zip(unique, table, strict=True)}
    possible = _possible(study, decision, nodes)
    if possible is not None and len(possible) <= LISTED:
        found = {key: found.get(key, np.zeros(len(decision.options), dtype=np.int64)) for key in sorted({*possible, *found})}
    return [_cell(decision, nodes, key, found[key]) for key in sorted(found) if len(decision.choices[key[-1]][1]) > 1]


def _cell_variables(study: Study, decision: Decision) -> list[Node]:
    """Earlier decisions and discrete responses; where nobody randomized, labelled covariates too, if few enough cells are left to list."""
    discrete = [n for n in study.before(decision.name) if finite_values(n) is not None]
    if decision.assigned == "observed" and np.prod([len(finite_values(n) or ()) for n in discrete], dtype=float) <= LISTED:
        return discrete
    return [n for n in discrete if not isinstance(n, Baseline)]


def _index(node: Node, column: np.ndarray) -> np.ndarray:
    """Positions of a column's values among the values a discrete variable can take, shape (n,)."""
    if not isinstance(node, Response):
        return column.astype(np.int64)
    support = np.array(node.support, dtype=float)
    return (column[:, None] == support[None, :]).argmax(axis=1)


def _possible(study: Study, decision: Decision, nodes: Sequence[Node]) -> list[tuple[int, ...]] | None:
    """Cells with a choice that can arise under the study's conditions; None when there are too many to try.

    Variables that conditions look at and that form no cells are tried at all their levels, or at
    one number in each region that the thresholds cut out of the line, so the answer is exact.
    """
    tests: dict[str, list[Test]] = {}
    for d in (*(n for n in nodes if isinstance(n, Decision)), decision):
        for condition, _ in d.choices:
            for name, test in condition.tests:
                tests.setdefault(name, []).append(test)
    wanted = [n for n in study.before(decision.name) if n in nodes or n.name in tests]
    values = [_values(n, tests.get(n.name, [])) for n in wanted]
    if np.prod([len(v) for v in values], dtype=float) > LARGEST_GRID:
        return None
    rows = list(itertools.product(*values)) or [()]
    grid = np.array(rows, dtype=float).reshape(len(rows), len(wanted))
    history = {n.name: grid[:, j] for j, n in enumerate(wanted)}
    reachable = np.ones(len(grid), dtype=bool)
    for n in wanted:
        if isinstance(n, Decision):
            reachable &= study.feasible(n.name, history)[np.arange(len(grid)), history[n.name].astype(int)]
    stratum = study.stratum(decision.name, history)  # one row each; a first decision without history has one row
    choice = np.array([len(options) > 1 for _, options in decision.choices])[np.maximum(stratum, 0)] & (stratum >= 0)
    keys = np.column_stack([*(_index(n, history[n.name]) for n in nodes), stratum])[reachable & choice]
    return [tuple(int(v) for v in key) for key in np.unique(keys, axis=0)]


def _values(node: Node, tests: list[Test]) -> Sequence[float]:
    finite = finite_values(node)
    return representatives(tests) if finite is None else [code_of(node, v) for v in finite]


def _cell(decision: Decision, nodes: Sequence[Node], key: tuple[int, ...], counts: np.ndarray) -> CellCount:
    condition, options = decision.choices[key[-1]]
    names = {n.name for n in nodes}
    pairs = tuple((n.name, str((finite_values(n) or ())[i])) for n, i in zip(nodes, key[:-1], strict=True))
    rest = Condition(tuple((n, t) for n, t in condition.tests if n not in names))
    words = [f"{name} = {label}" for name, label in pairs] + ([str(rest)] if rest.tests else [])
    cell = pairs + ((("condition", str(rest)),) if rest.tests else ())
    return CellCount(decision.name, cell, ", ".join(words) or "everyone", options,
                     tuple(int(counts[decision.options.index(o)]) for o in options))
