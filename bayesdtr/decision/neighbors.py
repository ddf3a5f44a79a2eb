"""Patients in the data like a given one: the same discrete history, and near in every continuous variable."""

from dataclasses import dataclass

import numpy as np

from ..inference import Posterior
from ..study.timeline import Decision, finite_values, labels_of
from .learner import REGRESSION
from .regime import Regime, rows_before
from .world import Rows

NEAR = 0.5
"""Two patients of a cell are near when no continuous variable differs by more than this many SDs."""
MOST_LEVELS = 10
"""A number with more possible values than this counts as continuous, unless it has at most two in the data."""
PAIRS = 2**22
"""Pairs of patients compared at once."""


def looked_at(posterior: Posterior, stage: int, fitted: bool) -> tuple[str, ...]:
    """Variables before a decision that anything from there on looks at, in time order: models, conditions, the utility.

    Parameters
    ----------
    posterior : Posterior
    stage : int
        Index of the decision.
    fitted : bool
        Whether values are fitted by regression there, which looks at everything.
    """
    study = posterior.study
    before = [n.name for n in study.before(study.decisions[stage].name)]
    if fitted:
        return tuple(before)
    used: set[str] = set()
    stagewise = getattr(posterior, "stages", None)  # a model of the utility to come for each decision, none of the responses
    for decision in study.decisions[stage:]:
        used.update(v for condition, _ in decision.choices for v in condition.variables)
        if stagewise is not None:
            own = stagewise[decision.name]
            used.update(*(own.world.compiled[r].uses for r in own.responses))
            continue
        for response in study.after(decision.name):
            used |= posterior.compiled(response.name).uses
            used.update(n for table in study.utility.tables if response.name in table.names for n in table.names)
            used.update(n for life, _ in study.lives(response.name) for n in life.names)
    for decision in study.decisions[:stage] if stagewise is None else ():  # responses that share parameters with later ones tell about them
        for response in study.after(decision.name):
            if response.name in study.shared:
                used |= {response.name} | posterior.compiled(response.name).uses
    return tuple(n for n in before if n in used)


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """The patients who reached a decision, ready to be compared with others.

    Attributes
    ----------
    decision : Decision
    discrete, continuous : tuple of str
        Variables that anything from the decision on looks at. A covariate that is a number with two values in the data is discrete.
    patients : array of int, shape (m,)
        Rows of the data whose history before the decision is complete.
    keys : array, shape (m, discrete + 1)
        Codes of the discrete variables, and which of the decision's conditions holds.
    points, scales : array, shape (m, continuous), (continuous,)
        Values and SDs among these patients.
    received : array of int, shape (m,)
        Code of the option received; -1 where the decision is not made yet.
    inverse : array, shape (m,)
        One over the recorded probability of the option received; 0 where none is recorded.
    """

    posterior: Posterior
    decision: Decision
    discrete: tuple[str, ...]
    continuous: tuple[str, ...]
    patients: np.ndarray
    keys: np.ndarray
    points: np.ndarray
    scales: np.ndarray
    received: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, regime: Regime, decision: Decision) -> "Neighborhood":
        """Gather the patients who reached a decision."""
        posterior = regime.posterior
        study, t = posterior.study, posterior.trajectories
        stage = [d.name for d in study.decisions].index(decision.name)
        names = looked_at(posterior, stage, regime.methods[decision.name].startswith(REGRESSION))
        known = t.reached(study, decision.name)
        for node in study.before(decision.name):
            known = known & t.observed(node.name)
        patients = np.flatnonzero(known)
        rows = rows_before(posterior, t, decision.name, patients)
        discrete = tuple(n for n in names if _is_discrete(study[n]) or len(np.unique(rows.columns[n])) <= 2)
        continuous = tuple(n for n in names if n not in discrete)
        points = _table(rows, continuous)
        spread = points.std(axis=0, ddof=1) if len(points) > 1 else np.zeros(len(continuous))
        p = t.assignment.get(decision.name, np.full(t.n, np.nan))[patients]
        return cls(posterior, decision, discrete, continuous, patients, _keys(posterior, decision, discrete, rows), points,
                   np.where(spread > 0, spread, 1e-12), t.columns[decision.name][patients], np.where(np.isfinite(p), 1 / p, 0.0))

    def count(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patients like each history.

        Returns
        -------
        like : array of int, shape (row,)
        received : array of int, shape (row, option)
            How many of them received each option.
        carried : array, shape (row, option)
            Sum of one over the recorded probabilities of those.
        """
        width = len(self.decision.options)
        out = np.zeros((rows.n, 1 + 2 * width))
        made = (self.received[:, None] == np.arange(width)).astype(float)
        facts = np.concatenate([np.ones((len(made), 1)), made, made * self.inverse[:, None]], axis=1)
        keys, points = _keys(self.posterior, self.decision, self.discrete, rows), _table(rows, self.continuous)
        _, both = np.unique(np.concatenate([self.keys, keys]), axis=0, return_inverse=True)
        mine, asked = np.split(both.ravel(), [len(self.keys)])
        for cell in np.unique(asked):
            inside, here = np.flatnonzero(mine == cell), np.flatnonzero(asked == cell)
            if not self.continuous:
                out[here] = facts[inside].sum(axis=0)
                continue
            step = max(1, PAIRS // max(len(inside), 1))
            for begin in range(0, here.size, step):
                some = here[begin : begin + step]
                out[some] = (self._apart(points[some], inside) <= NEAR + 1e-12) @ facts[inside]
        return out[:, 0].astype(int), np.rint(out[:, 1 : 1 + width]).astype(int), out[:, 1 + width :]

    def outside(self, rows: Rows) -> np.ndarray:
        """Continuous variables beyond the range of the patients who reached the decision, array of bool ``(row, continuous)``."""
        points = _table(rows, self.continuous)
        if not len(self.points):
            return np.ones(points.shape, dtype=bool)
        return (points < self.points.min(axis=0)) | (points > self.points.max(axis=0))

    def nearest(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Patients of one history's cell, nearest first.

        Returns
        -------
        patients : array of int, shape (in cell,)
            Rows of the data.
        distance : array, shape (in cell,)
            Largest difference of any continuous variable in SDs; 0 without continuous variables.
        """
        key = _keys(self.posterior, self.decision, self.discrete, rows)[0]
        inside = np.flatnonzero((self.keys == key).all(axis=1))
        distance = self._apart(_table(rows, self.continuous), inside)[0]
        order = np.argsort(distance, kind="stable")
        return self.patients[inside[order]], distance[order]

    def _apart(self, points: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Largest standardized difference between points and some patients, shape (point, patient)."""
        found = np.zeros((len(points), len(inside)))
        for j, scale in enumerate(self.scales):
            np.maximum(found, np.abs(points[:, j, None] - self.points[inside, j]) / scale, out=found)
        return found


def _is_discrete(node: object) -> bool:
    finite = finite_values(node)  # type: ignore[arg-type]
    return finite is not None and (labels_of(node) is not None or len(finite) <= MOST_LEVELS)  # type: ignore[arg-type]


def _table(rows: Rows, names: tuple[str, ...]) -> np.ndarray:
    return np.stack([np.asarray(rows.columns[n], dtype=float) for n in names], axis=1) if names else np.zeros((rows.n, 0))


def _keys(posterior: Posterior, decision: Decision, discrete: tuple[str, ...], rows: Rows) -> np.ndarray:
    stratum = posterior.study.stratum(decision.name, rows.columns) if rows.columns else np.zeros(rows.n, dtype=int)
    return np.concatenate([_table(rows, discrete), np.broadcast_to(stratum, (rows.n,))[:, None]], axis=1)
