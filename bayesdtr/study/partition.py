"""Checks over every reachable history, by a finite grid of representative ones.

Thresholds cut the line of a continuous variable into regions; one number stands for each, so what
holds on the grid holds everywhere.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StudyError
from .conditions import Condition, Test, representatives
from .timeline import Decision, Node, code_of, finite_values, shown

if TYPE_CHECKING:
    from .rules import Rules
    from .study import Study

LARGEST_GRID = 200_000


@dataclass(frozen=True, eq=False)
class Grid:
    """Representative histories before a decision.

    Attributes
    ----------
    nodes : tuple of Node
        The variables that matter: earlier decisions and what conditions name.
    history : dict of str to array, shape (n,)
    """

    nodes: tuple[Node, ...]
    history: dict[str, np.ndarray]

    def describe(self, row: int, names: set[str]) -> str:
        """One history in words, the named variables only."""
        parts = [f"{n.name} = {_label(n, self.history[n.name][row])}" for n in self.nodes if n.name in names]
        return ", ".join(parts) or "every history"


def _label(node: Node, value: float) -> object:
    return shown(node, value)


def tests_of(conditions: list[Condition]) -> dict[str, list[Test]]:
    """Tests by the variable they look at."""
    found: dict[str, list[Test]] = {}
    for condition in conditions:
        for name, test in condition.tests:
            found.setdefault(name, []).append(test)
    return found


def representative_histories(study: "Study", decision: Decision, extra: list[Condition]) -> Grid | None:
    """Histories that tell apart everything the conditions up to a decision can tell apart, feasible or not.

    None where there would be too many, or where nothing precedes the decision.
    """
    before = study.before(decision.name)
    involved = [decision, *(n for n in before if isinstance(n, Decision))]
    tests = tests_of([c for d in involved for c, _ in d.choices] + extra)
    wanted = tuple(n for n in before if n.name in tests or isinstance(n, Decision))
    values = [
        representatives(tests.get(n.name, [])) if (finite := finite_values(n)) is None else [code_of(n, v) for v in finite] for n in wanted
    ]
    if not wanted or np.prod([len(v) for v in values], dtype=float) > LARGEST_GRID:
        return None
    grid = np.array(list(itertools.product(*values)), dtype=float)
    return Grid(wanted, {n.name: grid[:, j] for j, n in enumerate(wanted)})


def check_partition(study: "Study", decision: Decision) -> None:
    """A decision's conditions must be disjoint and exhaustive over every reachable history.

    Left to the data door where the grid would be very large.

    Raises
    ------
    StudyError
        Names a history that meets none, or several, of them.
    """
    if all(not condition.tests for condition, _ in decision.choices):
        return
    grid = representative_histories(study, decision, [])
    if grid is None:
        return
    reachable = np.ones(len(next(iter(grid.history.values()))), dtype=bool)
    for n in grid.nodes:
        if isinstance(n, Decision):
            reachable &= study.feasible(n.name, grid.history)[np.arange(len(reachable)), grid.history[n.name].astype(int)]
    stratum = study.stratum(decision.name, grid.history)
    for code, problem in ((-1, "no condition holds"), (-2, "more than one condition holds")):
        if (bad := np.flatnonzero(reachable & (stratum == code))).size:
            example = grid.describe(int(bad[0]), set(tests_of([c for c, _ in decision.choices])))
            raise StudyError(f"Decision {decision.name!r}: {problem} for {example}; the conditions must be disjoint and cover every history.")


def check_rules(study: "Study", rules: "Rules", what: str) -> None:
    """A written regime must name a feasible option in every history that it can lead to.

    Raises
    ------
    StudyError
        Names the decision and a history for which it does not.
    """
    written = dict(rules.decisions)
    for decision in study.decisions:
        branches = written.get(decision.name, ())
        grid = representative_histories(study, decision, [c for c, _ in branches] + [c for b in written.values() for c, _ in b])
        if grid is None:
            continue
        rows = np.arange(len(next(iter(grid.history.values()))))
        follows = np.ones(len(rows), dtype=bool)
        for n in grid.nodes:
            if isinstance(n, Decision):
                follows &= rules.chances(study, n.name, grid.history)[rows, grid.history[n.name].astype(int)] > 0
        drawn = rules.chances(study, decision.name, grid.history) > 0
        feasible = study.feasible(decision.name, grid.history)
        fits = (drawn.any(axis=1) & ~(drawn & ~feasible).any(axis=1)) | ~feasible.any(axis=1)  # nothing is to be named where the course ends
        if (bad := np.flatnonzero(follows & ~fits)).size:
            row = int(bad[0])
            wrong = np.flatnonzero(drawn[row] & ~feasible[row])
            said = f"names {decision.options[wrong[0]]!r}, which is not feasible," if wrong.size else "names no option"
            names = set(tests_of([c for c, _ in (*decision.choices, *branches)])) | {n.name for n in grid.nodes if isinstance(n, Decision)}
            raise StudyError(f"{what}: at decision {decision.name!r} it {said} for {grid.describe(row, names)}.")
