"""A regime in words: what it does in each cell of the discrete history, and short if-then lists."""

import itertools
from dataclasses import dataclass

import numpy as np

from ..inference import Posterior
from ..study.conditions import Equals
from ..study.timeline import Decision, Response, finite_values
from .assess import Assessment
from .regime import Regime, mcid_of, rows_before
from .world import Rows

MOST_CELLS = 256


@dataclass(frozen=True)
class OptionInCell:
    """One option in one cell, averaged over the cell's histories."""

    option: str
    expected_utility: float
    lower: float
    upper: float
    p_best: float
    share: float
    """Share of the cell's histories for which it is recommended."""
    patients: int
    """Patients in the cell who received it."""


@dataclass(frozen=True)
class Cell:
    """One cell of the discrete history at one decision.

    Attributes
    ----------
    decision : str
    history : tuple of (name, label)
    patients : int
        Patients who reached the decision in this cell.
    option : str
        Recommended for all, or for most, of them.
    options : tuple of OptionInCell
    regret : float
    mc_tie, near_tie : bool
    """

    decision: str
    history: tuple[tuple[str, str], ...]
    patients: int
    option: str
    options: tuple[OptionInCell, ...]
    regret: float
    mc_tie: bool
    near_tie: bool

    @property
    def label(self) -> str:
        """Readable form of the history."""
        return ", ".join(f"{n} = {v}" for n, v in self.history) or "everyone"


def _label(regime: Regime, name: str, code: float) -> str:
    node = regime.posterior.study[name]
    finite = finite_values(node)
    assert finite is not None
    return str(finite[int(code)] if not isinstance(node, Response) else int(code))


def discrete_before(regime: Regime, decision: str) -> list[str]:
    """Decisions and finite-valued responses before a decision, in time order."""
    return [n.name for n in regime.posterior.study.before(decision) if isinstance(n, (Decision, Response)) and finite_values(n) is not None]


def evaluation_rows(posterior: Posterior, decision: Decision) -> Rows:
    """Histories to describe a decision by: all reachable cells where history is discrete, else the observed patients."""
    study, t = posterior.study, posterior.trajectories
    before = study.before(decision.name)
    names = [n.name for n in before]
    reached = np.all([t.observed(n) for n in names], axis=0) if names else np.ones(t.n, dtype=bool)
    levels = [[study.code(n.name, v) for v in (finite_values(n) or ())] for n in before]
    if not names or t.cluster is not None or not all(levels) or np.prod([len(v) for v in levels]) > MOST_CELLS:
        return rows_before(posterior, t, decision.name, np.flatnonzero(reached))
    grid = np.array(list(itertools.product(*levels)))
    columns = {n.name: grid[:, j].astype(int) if not isinstance(n, Response) else grid[:, j] for j, n in enumerate(before)}
    possible = np.ones(len(grid), dtype=bool)
    for node in before:
        if isinstance(node, Decision):
            possible &= study.feasible(node.name, columns)[np.arange(len(grid)), columns[node.name].astype(int)]
    return Rows({n: v[possible] for n, v in columns.items()}, None, int(possible.sum()))


def decision_cells(regime: Regime) -> list[Cell]:
    """What is recommended in each cell of the discrete history, decision by decision.

    A cell that offers a single option is left out. Continuous covariates are averaged over the
    patients of the cell.
    """
    found = []
    for decision in regime.posterior.study.decisions:
        if decision.name not in regime.profile:
            continue
        rows, a = regime.profile[decision.name]
        names = discrete_before(regime, decision.name)
        keys = np.stack([rows.columns[n].astype(float) for n in names], axis=1) if names else np.zeros((rows.n, 0))
        kinds, inverse = np.unique(keys, axis=0, return_inverse=True) if names else (np.zeros((1, 0)), np.zeros(rows.n, dtype=int))
        for c, key in enumerate(kinds):
            members = np.flatnonzero(inverse.ravel() == c)
            if np.isfinite(a.expected[members]).sum(axis=1).max() > 1:
                found.append(_cell(regime, decision, dict(zip(names, key, strict=True)), a.take(members)))
    return found


def _cell(regime: Regime, decision: Decision, key: dict[str, float], a: Assessment) -> Cell:
    t = regime.posterior.trajectories
    inside = np.ones(t.n, dtype=bool)
    for name, code in key.items():
        inside &= t.observed(name) & (t.columns[name] == code)
    for before in regime.posterior.study.before(decision.name):
        inside &= t.observed(before.name)
    received = t.columns[decision.name][inside]
    options = []
    for o, option in enumerate(decision.options):
        if np.isfinite(a.expected[:, o]).any():
            mean = [float(np.nanmean(x[:, o])) for x in (a.expected, a.lower, a.upper, a.p_best)]
            options.append(OptionInCell(option, *mean, float((a.choice == o).mean()), int((received == o).sum())))
    top = max(options, key=lambda o: o.share)
    history = tuple((n, _label(regime, n, code)) for n, code in key.items())
    return Cell(
        decision.name, history, int(inside.sum()), top.option, tuple(options), float(a.regret.mean()), bool(a.mc_tie.any()),
        bool((a.margin < mcid_of(regime.posterior)).any()),
    )


# ---- if-then lists --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """A threshold on one variable of a history, found to reproduce the rule with the least loss."""

    name: str
    cut: float


def _best_split(values: np.ndarray, columns: dict[str, np.ndarray]) -> tuple[float, Split | None]:
    """The cut after which one option a side loses least expected utility; values ``[row, option]`` without ``-inf``."""
    best, found = float(values.sum(axis=0).max()), None
    for name, column in columns.items():
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        sums = np.cumsum(values[order], axis=0)
        ends = np.flatnonzero(ordered[1:] > ordered[:-1])
        if ends.size:
            score = sums[ends].max(axis=1) + (sums[-1] - sums[ends]).max(axis=1)
            i = int(score.argmax())
            if score[i] > best + 1e-9 * max(abs(best), 1.0):
                best, found = float(score[i]), Split(name, float((ordered[ends[i]] + ordered[ends[i] + 1]) / 2))
    return best, found


def _tree(values: np.ndarray, columns: dict[str, np.ndarray], options: list[str], depth: int) -> list[tuple[list[str], str, np.ndarray]]:
    """Branches (conditions, option, rows) of a shallow tree grown greedily on expected utility."""
    rows = np.arange(len(values))
    _, split = _best_split(values, columns) if depth else (0.0, None)
    if split is None:
        return [([], options[int(values.sum(axis=0).argmax())], rows)]
    left = columns[split.name] < split.cut
    out = []
    for side, text in ((left, f"{split.name} < {split.cut:.4g}"), (~left, f"{split.name} >= {split.cut:.4g}")):
        inner = {n: v[side] for n, v in columns.items()}
        out += [([text, *c], o, rows[side][r]) for c, o, r in _tree(values[side], inner, options, depth - 1)]
    if len({o for _, o, _ in out}) == 1:
        return [([], out[0][1], rows)]
    return out


def rule_lines(regime: Regime) -> list[str]:
    """The regime as a readable if-then list.

    Over a discrete history the list is exact. Where continuous variables or clusters enter, each
    cell of the discrete history gets a tree of at most two thresholds, and its line says for how
    many of the observed patients it agrees with the exact recommendation.
    """
    lines = []
    for decision in regime.posterior.study.decisions:
        if decision.name not in regime.profile:
            lines.append(f"{decision.name}: not known: no patient has reached it")
            continue
        rows, a = regime.profile[decision.name]
        lines += _decision_lines(regime, decision, rows, a)
    return lines


Branch = tuple[tuple[str, ...], str, str]
"""Conditions, option, and a note on how well the branch stands for the exact rule."""


def _decision_lines(regime: Regime, decision: Decision, rows: Rows, a: Assessment) -> list[str]:
    """Lines of one decision: for each of its conditions, cells joined where they agree, thresholds inside them."""
    names = discrete_before(regime, decision.name)
    study = regime.posterior.study
    stratum = study.stratum(decision.name, rows.columns) if rows.columns else np.zeros(rows.n, dtype=int)
    lines = []
    for index, (condition, options) in enumerate(decision.choices):
        where = [str(condition)] if condition.tests else []
        inside = np.flatnonzero(stratum == index)
        if len(options) == 1:
            lines.append(f"{decision.name}: if {condition}, {options[0]} (the only feasible option)" if where else f"{decision.name}: {options[0]}")
        elif inside.size:
            fixed = {n for n, t in condition.tests if isinstance(t, Equals)}
            codes = {n: rows.columns[n][inside].astype(float) for n in names if n not in fixed}
            others = {n: v[inside].astype(float) for n, v in rows.columns.items() if n not in names}
            floor = np.where(np.isfinite(a.expected[inside]), a.expected[inside], -1e300)
            for more, option, note in _discrete(regime, decision, codes, others, floor, a.choice[inside]):
                text = " and ".join([*where, *more])
                lines.append(f"{decision.name}: {f'if {text}, ' if text else ''}{option}{note}")
        else:
            lines.append(f"{decision.name}: if {condition}, not known: no patient has reached it")
    return lines


def _discrete(
    regime: Regime, decision: Decision, codes: dict[str, np.ndarray], others: dict[str, np.ndarray], values: np.ndarray, choice: np.ndarray
) -> list[Branch]:
    """Split on the discrete variable that leaves the fewest branches, until one option or one threshold tree is left."""
    if (choice == choice[0]).all():
        return [((), decision.options[choice[0]], "")]
    best: list[Branch] | None = None
    for name, column in codes.items():
        kinds = np.unique(column)
        if len(kinds) < 2:
            continue
        branches: list[Branch] = []
        for kind in kinds:
            inside = column == kind
            part = _discrete(
                regime, decision, {n: v[inside] for n, v in codes.items()}, {n: v[inside] for n, v in others.items()}, values[inside], choice[inside]
            )
            branches += [((f"{name} = {_label(regime, name, kind)}", *c), o, note) for c, o, note in part]
        if best is None or len(branches) < len(best):
            best = branches
    return best if best is not None else _thresholds(decision, others, values, choice)


def _thresholds(decision: Decision, others: dict[str, np.ndarray], values: np.ndarray, choice: np.ndarray) -> list[Branch]:
    """A tree of at most two thresholds, with its agreement with the exact rule."""
    branches = _tree(values, others, list(decision.options), 2)
    said = np.empty(len(choice), dtype=int)
    for _, option, part in branches:
        said[part] = decision.options.index(option)
    agree = float((said == choice).mean())
    note = "" if agree == 1 else f"   (agrees with the exact rule for {agree:.0%} of {len(choice)} patients)"
    return [(tuple(conditions), option, note) for conditions, option, _ in branches]
