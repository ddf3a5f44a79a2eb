"""A regime in words: what it does in each cell of the discrete history, and short if-then lists."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

from ...inference import Posterior
from ...study.conditions import Condition, Equals
from ...study.timeline import Decision, Response, finite_values, shown
from ..assess import Assessment
from ..regime import Regime, mcid_of, rows_before
from ..world import Rows

MOST_CELLS = 256
CONDITION = "condition"
"""Name, in a cell's history, of a condition on variables that form no cells."""


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
        Then ``("condition", text)`` where the discrete history leaves open which of the decision's conditions applies.
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
        return ", ".join(v if n == CONDITION else f"{n} = {v}" for n, v in self.history) or "everyone"


def _label(regime: Regime, name: str, code: float) -> str:
    return shown(regime.posterior.study[name], code)


def discrete_before(regime: Regime, decision: str) -> list[str]:
    """Decisions and finite-valued responses before a decision, in time order."""
    return [n.name for n in regime.posterior.study.before(decision) if isinstance(n, (Decision, Response)) and finite_values(n) is not None]


def evaluation_rows(posterior: Posterior, decision: Decision) -> Rows:
    """Histories to describe a decision by: all reachable cells where history is discrete, else the observed patients."""
    study, t = posterior.study, posterior.trajectories
    before = study.before(decision.name)
    names = [n.name for n in before]
    reached = t.reached(study, decision.name)
    levels = [[study.code(n.name, v) for v in (finite_values(n) or ())] for n in before]
    if not names or t.cluster is not None or not all(levels) or np.prod([len(v) for v in levels]) > MOST_CELLS:
        return rows_before(posterior, t, decision.name, np.flatnonzero(reached))
    grid = np.array(list(itertools.product(*levels)))
    columns = {n.name: grid[:, j].astype(int) if not isinstance(n, Response) else grid[:, j] for j, n in enumerate(before)}
    possible = np.ones(len(grid), dtype=bool)
    for node in before:
        if isinstance(node, Decision):
            possible &= study.feasible(node.name, columns)[np.arange(len(grid)), columns[node.name].astype(int)]
    possible &= study.feasible(decision.name, columns).any(axis=1)
    return Rows({n: v[possible] for n, v in columns.items()}, None, int(possible.sum()))


@dataclass(frozen=True)
class Group:
    """Histories of one cell: the discrete history, the feasible set's condition, and which rows they are."""

    key: dict[str, float]
    stratum: int
    history: tuple[tuple[str, str], ...]
    members: np.ndarray


def groups(regime: Regime, decision: Decision, rows: Rows) -> list[Group]:
    """Split histories by their discrete part and by which of the decision's conditions holds."""
    study = regime.posterior.study
    names = discrete_before(regime, decision.name)
    stratum = study.stratum(decision.name, rows.columns) if rows.columns else np.zeros(rows.n, dtype=int)
    keys = np.column_stack([*(rows.columns[n].astype(float) for n in names), stratum])
    kinds, inverse = np.unique(keys, axis=0, return_inverse=True)
    found = []
    for c, key in enumerate(kinds):
        history = tuple((n, _label(regime, n, code)) for n, code in zip(names, key, strict=False))
        condition = decision.choices[int(key[-1])][0]
        rest = Condition(tuple((n, t) for n, t in condition.tests if n not in names))
        history += ((CONDITION, str(rest)),) if rest.tests else ()
        found.append(Group(dict(zip(names, key, strict=False)), int(key[-1]), history, np.flatnonzero(inverse.ravel() == c)))
    return found


def decision_cells(regime: Regime) -> list[Cell]:
    """What is recommended in each cell of the discrete history, decision by decision.

    Cells are told apart by the decision's conditions too; one that offers a single option is left
    out. Continuous covariates are averaged over the patients of the cell.
    """
    found = []
    for decision in regime.posterior.study.decisions:
        if decision.name in regime.profile:
            rows, a = regime.profile[decision.name]
            choice = [g for g in groups(regime, decision, rows) if len(decision.choices[g.stratum][1]) > 1]
            found += [_cell(regime, decision, g, a.take(g.members)) for g in choice]
    return found


def _inside(regime: Regime, decision: Decision, group: Group) -> np.ndarray:
    """Patients whose history before a decision is complete and belongs to a cell, a mask."""
    t, study = regime.posterior.trajectories, regime.posterior.study
    inside = np.ones(t.n, dtype=bool)
    for before in study.before(decision.name):
        inside &= t.observed(before.name)
    for name, code in group.key.items():
        inside &= t.columns[name] == code
    index = np.flatnonzero(inside)
    history = t.history([n.name for n in study.before(decision.name)], index)
    if history and index.size:
        inside[index] = study.stratum(decision.name, history) == group.stratum
    return inside


def _cell(regime: Regime, decision: Decision, group: Group, a: Assessment) -> Cell:
    inside = _inside(regime, decision, group)
    received = regime.posterior.trajectories.columns[decision.name][inside]
    options = []
    for o, option in enumerate(decision.options):
        if np.isfinite(a.expected[:, o]).any():
            mean = [float(np.nanmean(x[:, o])) for x in (a.expected, a.lower, a.upper, a.p_best)]
            options.append(OptionInCell(option, *mean, float((a.choice == o).mean()), int((received == o).sum())))
    top = max(options, key=lambda o: o.share)
    return Cell(
        decision.name, group.history, int(inside.sum()), top.option, tuple(options), float(a.regret.mean()), bool(a.mc_tie.any()),
        bool((a.margin < mcid_of(regime.posterior)).any()),
    )


# ---- if-then lists --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    """A yes/no question about one variable: below a cut, or (for a labelled covariate) one level."""

    name: str
    cut: float
    label: str | None = None

    def holds(self, column: np.ndarray) -> np.ndarray:
        """Answer for a column, shape (row,)."""
        return column < self.cut if self.label is None else column == self.cut


Answers = tuple[tuple[Test, bool], ...]
"""Tests on the way to a branch, each with its answer."""


def _best_test(values: np.ndarray, columns: dict[str, np.ndarray], labels: dict[str, tuple[str, ...]]) -> Test | None:
    """The test after which one option a side loses least expected utility; values ``[row, option]`` without ``-inf``."""
    best, found = float(values.sum(axis=0).max()), None
    for name, column in columns.items():
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        sums = np.cumsum(values[order], axis=0)
        ends = np.flatnonzero(ordered[1:] > ordered[:-1])
        if not ends.size:
            continue
        if name in labels:
            codes = np.unique(column)
            inside = np.stack([values[column == c].sum(axis=0) for c in codes])
            tests = [Test(name, float(c), labels[name][int(c)]) for c in codes]
        else:
            inside = sums[ends]
            tests = [Test(name, float((ordered[e] + ordered[e + 1]) / 2)) for e in ends]
        score = inside.max(axis=1) + (sums[-1] - inside).max(axis=1)
        top = int(score.argmax())
        if score[top] > best + 1e-9 * max(abs(best), 1.0):
            best, found = float(score[top]), tests[top]
    return found


def _tree(
    values: np.ndarray, columns: dict[str, np.ndarray], labels: dict[str, tuple[str, ...]], options: list[str], depth: int
) -> list[tuple[Answers, str, np.ndarray]]:
    """Branches (answers, option, rows) of a shallow tree grown greedily on expected utility."""
    rows = np.arange(len(values))
    test = _best_test(values, columns, labels) if depth else None
    if test is None:
        return [((), options[int(values.sum(axis=0).argmax())], rows)]
    yes = test.holds(columns[test.name])
    out: list[tuple[Answers, str, np.ndarray]] = []
    for answer, side in ((True, yes), (False, ~yes)):
        inner = {n: v[side] for n, v in columns.items()}
        out += [(((test, answer), *more), o, rows[side][r]) for more, o, r in _tree(values[side], inner, labels, options, depth - 1)]
    if len({o for _, o, _ in out}) == 1:
        return [((), out[0][1], rows)]
    return out


def _texts(answers: Answers) -> tuple[str, ...]:
    """Answers in words, the tightest bound of each variable only."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    order: dict[str, None] = {}
    for test, yes in answers:
        key = f"{test.name} = {test.label}" if yes else f"{test.name} is not {test.label}"
        if test.label is None:
            key = f"{test.name} {'<' if yes else '>='}"
            bound = high if yes else low
            bound[test.name] = (min if yes else max)(bound.get(test.name, test.cut), test.cut)
        order[key] = None
    return tuple(
        f"{key} {(high if key.endswith('<') else low)[key.rsplit(' ', 1)[0]]:.4g}" if key.endswith(("<", ">=")) else key for key in order
    )


@dataclass(frozen=True)
class RuleBranch:
    """One line of the if-then list.

    Attributes
    ----------
    decision : str
    history : tuple of (name, label)
        The discrete history, and a condition where one applies; empty when the option is for everyone.
    tests : tuple of str
        Thresholds on the remaining variables.
    option : str
    forced : bool
        Whether it is the only feasible option there.
    agreement : float
        Share of the cell's patients for whom the list says what the exact rule says.
    patients : int
        Patients behind `agreement`.
    """

    decision: str
    history: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    option: str
    forced: bool
    agreement: float
    patients: int

    @property
    def condition(self) -> str:
        """Readable form of when the branch applies; empty for everyone."""
        return " and ".join([*(v if n == CONDITION else f"{n} = {v}" for n, v in self.history), *self.tests])

    def __str__(self) -> str:
        note = "" if self.agreement == 1 else f"   (agrees with the exact rule for {self.agreement:.0%} of {self.patients} patients)"
        said = self.option + (" (the only option)" if self.forced else "")
        return f"{self.decision}: if {self.condition}, {said}{note}" if self.condition else f"{self.decision}: {said}{note}"


def rule_branches(regime: Regime) -> list[RuleBranch]:
    """The regime as branches of an if-then list; a decision that nobody has reached has none."""
    found = []
    for decision in regime.posterior.study.decisions:
        if decision.name in regime.profile:
            found += _decision_branches(regime, decision, *regime.profile[decision.name])
    return found


def rule_lines(regime: Regime) -> list[str]:
    """The regime as a readable if-then list.

    Over a discrete history the list is exact. Where continuous variables or clusters enter, each
    cell of the discrete history gets a tree of at most two thresholds, and its line says for how
    many of the observed patients it agrees with the exact recommendation.
    """
    branches = rule_branches(regime)
    lines = []
    for decision in regime.posterior.study.decisions:
        mine = [str(b) for b in branches if b.decision == decision.name]
        lines += mine or [f"{decision.name}: nobody has reached it"]
    return lines


def _decision_branches(regime: Regime, decision: Decision, rows: Rows, a: Assessment) -> list[RuleBranch]:
    """Branches of one decision: for each of its conditions, cells joined where they agree, thresholds inside them."""
    names = discrete_before(regime, decision.name)
    study = regime.posterior.study
    stratum = study.stratum(decision.name, rows.columns) if rows.columns else np.zeros(rows.n, dtype=int)
    found = []
    for index, (condition, options) in enumerate(decision.choices):
        known = {n: t for n, t in condition.tests if n in names and isinstance(t, Equals)}
        rest = Condition(tuple((n, t) for n, t in condition.tests if n not in known))
        where = (*((n, str(t.value)) for n, t in known.items()), *(((CONDITION, str(rest)),) if rest.tests else ()))
        inside = np.flatnonzero(stratum == index)
        if not options:
            continue  # the course ends there: no rule is needed
        if len(options) == 1:
            forced = ((CONDITION, str(condition)),) if condition.tests else ()
            found.append(RuleBranch(decision.name, forced, (), options[0], True, 1.0, 0))
        elif inside.size:
            codes = {n: rows.columns[n][inside].astype(float) for n in names if n not in known}
            others = {n: v[inside].astype(float) for n, v in rows.columns.items() if n not in names}
            floor = np.where(np.isfinite(a.expected[inside]), a.expected[inside], -1e300)
            branches = _discrete(regime, decision, codes, others, floor, a.choice[inside])
            found += [RuleBranch(decision.name, (*where, *b.history), b.tests, b.option, False, b.agreement, b.patients) for b in branches]
    free = [b for b in found if not b.forced]
    if free and len({b.option for b in found}) == 1 and all(b.agreement == 1 for b in free):
        return [RuleBranch(decision.name, (), (), free[0].option, False, 1.0, sum(b.patients for b in free))]
    return sorted(found, key=lambda b: b.forced)


def _discrete(
    regime: Regime, decision: Decision, codes: dict[str, np.ndarray], others: dict[str, np.ndarray], values: np.ndarray, choice: np.ndarray
) -> list[RuleBranch]:
    """Split on the discrete variable that leaves the fewest branches, until one option or one tree of thresholds is left."""
    if (choice == choice[0]).all():
        return [RuleBranch(decision.name, (), (), decision.options[choice[0]], False, 1.0, len(choice))]
    best: list[RuleBranch] | None = None
    for name, column in codes.items():
        branches: list[RuleBranch] = []
        kinds = np.unique(column)
        for kind in kinds if len(kinds) > 1 else ():
            m = column == kind
            part = _discrete(regime, decision, {n: v[m] for n, v in codes.items()}, {n: v[m] for n, v in others.items()}, values[m], choice[m])
            pair = (name, _label(regime, name, kind))
            branches += [dataclasses.replace(b, history=(pair, *b.history)) for b in part]
        if branches and (best is None or len(branches) < len(best)):
            best = branches
    return best if best is not None else _thresholds(regime, decision, others, values, choice)


def _thresholds(regime: Regime, decision: Decision, others: dict[str, np.ndarray], values: np.ndarray, choice: np.ndarray) -> list[RuleBranch]:
    """A tree of at most two thresholds, with its agreement with the exact rule."""
    baselines = regime.posterior.study.baselines
    labels = {b.name: b.levels for b in baselines if b.levels}
    branches = _tree(values, others, labels, list(decision.options), 2)
    said = np.empty(len(choice), dtype=int)
    for _, option, part in branches:
        said[part] = decision.options.index(option)
    agree = float((said == choice).mean())
    return [RuleBranch(decision.name, (), _texts(answers), option, False, agree, len(choice)) for answers, option, _ in branches]
