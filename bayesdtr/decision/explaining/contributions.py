"""What drove the difference between two options for one patient: Shapley values over the variables of the history.

The game is ``v(S)``, the average over observed patients of the difference ``D`` at the history that takes the variables in S from the patient
and the others from the observed one (interventional Shapley values; Lundberg and Lee 2017, Janzing, Minorics and Blöbaum 2020). Variables
that cannot be combined freely, because one decides which options of another are feasible, enter together, as one player: every history that
is looked at is then possible and offers both options, and the axioms (the parts add up, what does not matter gets nothing, what is symmetric
gets equal shares) hold without exception.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ...data import like
from ...study.study import Study
from ...study.timeline import labels_of, shown
from ..induction import BUDGET, committed, grow, leaves, options, settle, tables
from ..learner import REGRESSION
from ..regime import Regime, rows_before
from ..values import batch_error, chains_of, thin_to
from ..world import Rows, World, resampled
from .shapley import game

EVALUATIONS = 4e7
"""Histories times leaves times draws, about."""
LEAST_DRAWS = 500
CLUSTER = "\0cluster"


@dataclass(frozen=True)
class Contribution:
    """What one variable, or several that only make sense together, add to the difference between two options.

    Attributes
    ----------
    variables : tuple of str
    value, usual : str
        What the patient's value is, and what is usual in the background: the mean of a number, the share with the patient's label.
    contribution : float
        In units of the utility.
    lower, upper : float
        Equal-tailed interval over the posterior.
    mcse, sampling_error : float
        Monte Carlo standard errors: of the posterior draws, and of a background or of orders that were sampled (0 where all were used).
    """

    variables: tuple[str, ...]
    value: str
    usual: str
    contribution: float
    lower: float
    upper: float
    mcse: float
    sampling_error: float

    @property
    def name(self) -> str:
        """The variables in words."""
        return " and ".join(self.variables)


@dataclass(frozen=True, eq=False)
class Contributions:
    """Shapley values of the difference between two options for one patient.

    Attributes
    ----------
    rows : tuple of Contribution
        Largest first.
    base, total : float
        Average difference over the background, and the patient's; the contributions add up from one to the other.
    background, patients : int
        Observed histories used, of those of so many patients that offer both options.
    draws : int
        Posterior draws used.
    exact : bool
        All subsets of the variables, or else sampled orders.
    """

    rows: tuple[Contribution, ...]
    base: float
    total: float
    background: int
    patients: int
    draws: int
    exact: bool

    def frame(self, kind: str = "pandas") -> Any:
        """One row per variable: ``variable``, ``value``, ``usual``, ``contribution``, ``lower``, ``upper``, ``mcse``, ``sampling_error``."""
        columns: dict[str, list] = {"variable": [c.name for c in self.rows]}
        for n in ("value", "usual", "contribution", "lower", "upper", "mcse", "sampling_error"):
            columns[n] = [getattr(c, n) for c in self.rows]
        return like(kind, columns)

    def lines(self, ci_prob: float) -> list[str]:
        """A table for printing."""
        if not self.rows:
            why = "nothing is known before this decision" if self.patients else "no observed patient was open to both options"
            return [f"No variable contributes: {why}."]
        width = min(max(len("average patient"), *(len(c.name) for c in self.rows)), 30)
        value = min(max(len("value"), *(len(c.value) for c in self.rows)), 14)
        usual = min(max(len("usual"), *(len(c.usual) for c in self.rows)), 14)
        out = [f"{'variable':<{width}} {'value':>{value}} {'usual':>{usual}} {'adds':>9} {f'{ci_prob:.0%} interval':>20} {'MC error':>9}"]
        out.append(f"{'average patient':<{width}} {'':>{value}} {'':>{usual}} {self.base:>9.3g}")
        for c in self.rows:
            cut = lambda text, w: text if len(text) <= w else text[: w - 2] + ".."  # noqa: E731
            error = float(np.hypot(c.mcse, c.sampling_error))
            out.append(f"{cut(c.name, width):<{width}} {cut(c.value, value):>{value}} {cut(c.usual, usual):>{usual}} {c.contribution:>+9.3g} "
                       f"{f'{c.lower:.3g} to {c.upper:.3g}':>20} {error:>9.1g}")
        out.append(f"{'this patient':<{width}} {'':>{value}} {'':>{usual}} {self.total:>9.3g}")
        return out


def look_ahead(regime: Regime, world: World, stage: int, rows: Rows) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Values of every option at given histories, whatever gates say of them there: posterior-expected ``[row, option]`` and ``[draw, row, option]``.

    Later decisions follow the regime, gates included.
    """
    study, name = regime.posterior.study, regime.posterior.study.decisions[stage].name
    if regime.methods[name].startswith(REGRESSION):
        fit, bare = regime.fits[name], world.under(None)
        for begin in range(0, rows.n, 256):
            some = rows.take(np.arange(begin, min(begin + 256, rows.n)))
            qbar, q, _ = fit.tables(bare, name, some.columns, some.cluster, some.n)
            yield slice(begin, begin + some.n), qbar, q
        return
    size = leaves(world, stage)
    chunk = max(1, int(BUDGET // ((size + len(study.decisions[stage].options)) * world.size)))
    for begin in range(0, rows.n, chunk):
        root = grow(world, stage, rows.take(np.arange(begin, min(begin + chunk, rows.n))))
        own = world.own_history(stage, root.rows)
        below = settle(world, root.child, None if own is None else own[:, root.row])
        qbar = root.table(np.broadcast_to(below, root.row.shape))
        step = max(1, int(BUDGET // (size * root.rows.n)))
        parts = []
        for first in range(0, world.size, step):
            parts.append(options(root, tables(world.block(first, first + step), root.child), committed))
        q = np.concatenate(parts)
        yield slice(begin, begin + root.rows.n), qbar, q if own is None else resampled(q, own)


# ---- which variables can be combined freely ------------------------------------------------------------------------


def possible(study: Study, stage: int, columns: dict[str, np.ndarray], both: Sequence[int]) -> np.ndarray:
    """Histories before a decision in which every earlier option was feasible and some options are, array of bool ``(row,)``."""
    n = len(next(iter(columns.values()))) if columns else 1
    found = np.ones(n, dtype=bool)
    for d in study.decisions[:stage]:
        before = {v.name: columns[v.name] for v in study.before(d.name)}
        if before:
            found &= study.feasible(d.name, before)[np.arange(n), columns[d.name].astype(int)]
    if columns:
        found &= study.feasible(study.decisions[stage].name, columns)[:, list(both)].all(axis=1)
    return found


def players(study: Study, stage: int, names: Sequence[str], one: dict[str, np.ndarray], others: dict[str, np.ndarray], both: Sequence[int]
            ) -> list[tuple[str, ...]]:
    """Variables of a history, those that cannot be combined freely joined together; in time order.

    A constraint ties an earlier decision to the variables of its conditions, or the variables of the present one's conditions to each other.
    Where some mixture of the patient's and an observed history breaks it, all that it ties are joined.
    """
    group = {n: {n} for n in names}
    for k, d in enumerate(study.decisions[: stage + 1]):
        tied = {v for c, _ in d.choices for v in c.variables} | ({d.name} if k < stage else set())
        tied_in_order = [n for n in names if n in tied]
        for mask in product([False, True], repeat=len(tied_in_order)):
            mine = {n for n, m in zip(tied_in_order, mask, strict=True) if m}
            mixed = {n: np.broadcast_to(one[n], v.shape) if n in mine else v for n, v in others.items()}
            feasible = study.feasible(d.name, {v.name: mixed[v.name] for v in study.before(d.name)}) if study.before(d.name) else None
            if feasible is None:
                continue
            fits = feasible[np.arange(len(feasible)), mixed[d.name].astype(int)] if k < stage else feasible[:, list(both)].all(axis=1)
            if not fits.all():
                joined = set().union(*(group[n] for n in tied_in_order))
                group.update(dict.fromkeys(joined, joined))
                break
    found = dict.fromkeys(tuple(n for n in names if n in group[m]) for m in names)
    return list(found)


# ---- the values --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Case:
    """One patient and the background: values by variable, ``mine`` numbers and ``others`` columns, clusters under a name of their own."""

    study: Study
    labels: tuple[str, ...]
    mine: dict[str, float]
    others: dict[str, np.ndarray]
    patients: int

    def text(self, name: str) -> tuple[str, str]:
        """A variable's value, and what is usual: the mean of a number, the share with the same label."""
        mine, column = self.mine[name], self.others[name]
        same = f"{(column == mine).mean():.0%} alike"
        if name == CLUSTER:
            return (self.labels[int(mine)] if mine < len(self.labels) else "(new)"), same
        if labels_of(self.study[name]) is not None:
            return shown(self.study[name], mine), same
        return f"{mine:.4g}", f"mean {column.mean():.4g}"

    def row(self, group: tuple[str, ...], numbers: Sequence[float]) -> Contribution:
        """A line of the table."""
        told = [self.text(n) for n in group]
        names = tuple((self.study.cluster or "") if n == CLUSTER else n for n in group)
        return Contribution(names, ", ".join(v for v, _ in told), ", ".join(u for _, u in told), *(float(x) for x in numbers))


def contributions(regime: Regime, stage: int, rows: Rows, a: int, b: int, ci_prob: float) -> Contributions:
    """Shapley values of the difference between options a and b for one patient, over the observed patients who were open to both.

    Parameters
    ----------
    regime : Regime
    stage : int
    rows : Rows
        One history before the decision.
    a, b : int
        Codes of two feasible options.
    ci_prob : float

    Returns
    -------
    Contributions
        Without rows where no observed patient was open to both.
    """
    posterior, decision = regime.posterior, regime.posterior.study.decisions[stage]
    study, near = posterior.study, regime.neighborhoods[decision.name]
    names = [n.name for n in study.before(decision.name)]
    others = rows_before(posterior, posterior.trajectories, decision.name, near.patients)
    others = others.take(np.flatnonzero(possible(study, stage, dict(others.columns), (a, b)))) if names and others.n else others
    world = World.of(posterior).under(regime.safety)
    if not others.n:
        d, _ = _differences(regime, world, stage, rows, a, b, np.zeros((0, 1)))
        return Contributions((), np.nan, float(d[0]), 0, 0, world.size, True)
    groups = players(study, stage, names, dict(rows.columns), dict(others.columns), (a, b))
    table = {n: np.asarray(others.columns[n], dtype=float) for n in names}
    mine = {n: float(np.asarray(rows.columns[n])[0]) for n in names}
    if others.cluster is not None and rows.cluster is not None:
        groups.append((CLUSTER,))
        table[CLUSTER], mine[CLUSTER] = others.cluster.astype(float), float(rows.cluster[0])
    case = _Case(study, posterior.trajectories.cluster_labels, mine, table, others.n)
    matter = {*near.discrete, *near.continuous, CLUSTER}
    active = [g for g in groups if matter.intersection(g) and any((table[n] != mine[n]).any() for n in g)]
    if not active:
        d, _ = _differences(regime, world, stage, rows, a, b, np.zeros((0, 1)))
        return Contributions(tuple(case.row(g, [0.0] * 5) for g in groups), float(d[0]), float(d[0]), others.n, others.n, world.size, True)
    return _shares(regime, world, stage, (a, b), rows, case, groups, active, ci_prob)


def _shares(
    regime: Regime, world: World, stage: int, pair: tuple[int, int], rows: Rows, case: _Case, groups: list[tuple[str, ...]],
    active: list[tuple[str, ...]], ci_prob: float,
) -> Contributions:
    used = [n for g in active for n in g]
    owner = np.array([i for i, g in enumerate(active) for _ in g], dtype=int)
    fitted = regime.methods[case.study.decisions[stage].name].startswith(REGRESSION)
    width = 1.0 if fitted else leaves(world, stage)
    points = EVALUATIONS / (width * min(world.size, LEAST_DRAWS))
    made = game(np.array([case.mine[n] for n in used]), np.stack([case.others[n] for n in used], axis=1), owner, points, regime.posterior.seed)
    if not fitted:
        world = thin_to(world, regime.posterior, max(int(EVALUATIONS // (width * len(made.at))), LEAST_DRAWS))
    at = rows.take(np.zeros(len(made.at), dtype=int))
    columns, cluster = dict(at.columns), at.cluster
    for j, n in enumerate(used):
        if n == CLUSTER:
            cluster = made.at[:, j].astype(int)
        else:
            columns[n] = made.at[:, j].astype(np.asarray(columns[n]).dtype)
    d, drawn = _differences(regime, world, stage, Rows(columns, cluster, len(made.at)), *pair, made.loads)
    share, error = made.shares(d)
    numbers = np.stack([share, *np.quantile(drawn, [(1 - ci_prob) / 2, (1 + ci_prob) / 2], axis=0),
                        batch_error(chains_of(regime.posterior, drawn)), error])
    found = [case.row(g, numbers[:, active.index(g)] if g in active else [0.0] * 5) for g in groups]
    found.sort(key=lambda c: -abs(c.contribution))
    return Contributions(tuple(found), *made.ends(d), made.background, case.patients, len(drawn), made.exact)


def _differences(regime: Regime, world: World, stage: int, rows: Rows, a: int, b: int, loads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences ``(row,)`` by posterior expectation, and each draw's added up with weights ``[player, row]``: ``[draw, player]``."""
    expected = np.zeros(rows.n)
    drawn: np.ndarray | float = 0.0
    for piece, qbar, q in look_ahead(regime, world, stage, rows):
        expected[piece] = qbar[:, a] - qbar[:, b]
        drawn = drawn + (q[..., a] - q[..., b]) @ loads[:, piece].T
    return expected, np.asarray(drawn)
