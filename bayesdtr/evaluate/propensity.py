"""Probabilities with which options were chosen, estimated where nobody randomized."""

import numpy as np

from ..data import Trajectories
from ..decision.world import Rows
from ..inference import fit_many
from ..study.families import Bernoulli, Categorical
from ..study.missing import INTAKE
from ..study.study import Study
from ..study.timeline import Baseline, Decision, Options, Response, labels_of
from ..study.utility import Utility
from .learning import BATCH, world_of

LEAST = 0.01
"""Estimated probabilities are no smaller than this, so that one patient never stands for more than a hundred."""


def assignment_study(study: Study, decision: str, options: Options) -> Study:
    """The study whose response is which of some options was chosen, given the history: a logistic regression with the default priors."""
    family = Bernoulli() if len(options) == 2 else Categorical(options)
    worth = Utility(decision) if len(options) == 2 else Utility({decision: {o: float(i) for i, o in enumerate(options)}})  # never looked at
    before = study.before(decision)
    history = [Baseline(n.name, levels=None if labels_of(n) is None or len(labels_of(n) or ()) < 2 else labels_of(n)) for n in before
               if not (isinstance(n, Decision) and len(n.options) < 2)]
    declared = {n: s for n, s in study.scales if n in {b.name for b in history}}
    return Study(*history, Decision(INTAKE, [INTAKE]), Response(decision, family), utility=worth, cluster=study.cluster, scales=declared)


def _table(study: Study, own: Study, t: Trajectories, decision: str, options: Options) -> dict[str, np.ndarray]:
    """Columns of :func:`assignment_study`, shape (n,); the choice is NaN where the set of feasible options was another."""
    node = study[decision]
    assert isinstance(node, Decision)
    columns = t.history([b.name for b in own.baselines])
    chosen = t.columns[decision]
    open_ = np.flatnonzero(t.observed(decision))
    names = [n.name for n in study.before(decision)]
    wanted = np.array([o in options for o in node.options])
    mine = np.zeros(t.n, dtype=bool)
    if open_.size:
        feasible = study.feasible(decision, t.history(names, open_)) if names else np.ones((open_.size, len(node.options)), dtype=bool)
        mine[open_] = (feasible == wanted).all(axis=1)
    code = np.array([options.index(o) if o in options else -1 for o in node.options])
    choice = np.where(mine, code[np.maximum(chosen, 0)], np.nan).astype(float)
    known = {n: _codes(v) if labels_of(own[n]) else v.astype(float) for n, v in columns.items()}
    return {**known, INTAKE: np.zeros(t.n, dtype=np.int64), decision: choice}


def _codes(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values.astype(float)), -1, np.nan_to_num(values)).astype(np.int64)


def estimated(study: Study, t: Trajectories, training: list[np.ndarray], asked: list[np.ndarray], decision: str, seed: int) -> list[np.ndarray]:
    """Probability of the option received at a decision that nobody randomized, as patients seen before would have it.

    Parameters
    ----------
    study : Study
    t : Trajectories
    training, asked : list of array of int
        For each model, the patients it is fitted to, and those whose probabilities are wanted.
    decision : str
    seed : int

    Returns
    -------
    list of array, shape (n,)
        One per model; NaN for patients not asked about.
    """
    node = study[decision]
    assert isinstance(node, Decision)
    found = [np.array(t.assignment[decision], dtype=float) for _ in training]
    for options in (s for s in node.sets if len(s) > 1):
        own = assignment_study(study, decision, options)
        table = _table(study, own, t, decision, options)
        sets = {n: np.stack([_only(v, rows, n == decision) for rows in training]) for n, v in table.items()}
        if study.cluster:
            sets[study.cluster] = np.broadcast_to(t.cluster, (len(training), t.n))  # type: ignore[arg-type]
        fits = fit_many(own, sets, seed=seed, batch=BATCH, cluster_labels=t.cluster_labels)
        for i, rows in enumerate(asked):
            some = rows[~np.isnan(table[decision][rows])]
            if some.size:
                columns = {n: v[some] for n, v in table.items() if n != decision}
                world = world_of(own, fits, i)
                at = Rows(columns, None if t.cluster is None else t.cluster[some], len(some))
                p = world.look(decision, at, "density", table[decision][some][:, None], average=True)[:, 0]
                found[i][some] = np.maximum(p, LEAST)
    return found


def _only(column: np.ndarray, rows: np.ndarray, choice: bool) -> np.ndarray:
    """A column with the choices of patients outside a training set not observed."""
    if not choice:
        return column
    kept = np.full(len(column), np.nan)
    kept[rows] = column[rows]
    return kept
