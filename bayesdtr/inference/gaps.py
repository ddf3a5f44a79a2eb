"""Values that are missing and drawn from their models: where they are, the completed data, and what options received tell of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data import Trajectories, fix_scales, gaps
from ..errors import DataError
from ..model import CompiledResponse, compile_response
from ..schema import NOT_YET
from ..study.conditions import Interval, Test
from ..study.missing import covariate_study, modelled
from ..study.study import Scale, Study
from ..study.timeline import Decision
from .nuts import Block

Columns = Mapping[str, Any]
NEVER = 1e-300
"""Stands for a probability of zero where its logarithm is taken."""
TRIES = 1000
"""Attempts at finding starting values that the options received allow."""


@dataclass(frozen=True, eq=False)
class Gap:
    """The missing entries of one variable.

    Attributes
    ----------
    name : str
    rows : array of int, shape (entry,)
        The patients, as rows of the trajectories.
    levels : array of float, shape (level,), or None
        The values it can take, where they are finitely many.
    whole : bool
        Whether it takes whole numbers only.
    spread : float
        SD of its observed values.
    """

    name: str
    rows: np.ndarray
    levels: np.ndarray | None
    whole: bool
    spread: float


class Part(NamedTuple):
    """Data of one block that stay as they are: weights and outcomes ``(n,)``, other inputs, and values that stand in where the weight is 0."""

    weight: Any
    y: Any
    fixed: dict[str, Any]
    safe: dict[str, Any]
    safe_y: Any


class Record(NamedTuple):
    """What the sampler knows of the patients.

    Attributes
    ----------
    columns : dict of str to array, shape (n,)
        Every variable as the models see it, what is to be drawn filled with some observed value; what is not observed otherwise as it is.
    patients : array of int, shape (p,)
        Those of whom something is missing.
    lost : dict of str to array of bool, shape (p,)
        Which of them lack each variable.
    parts : tuple of Part
        In the order of the blocks.
    """

    columns: dict[str, Any]
    patients: Any
    lost: dict[str, Any]
    parts: tuple[Part, ...]


def covariate_models(study: Study, trajectories: Trajectories) -> dict[str, CompiledResponse]:
    """Compiled models of the covariates that the data may lack."""
    return {b.name: compile_response(covariate_study(study, b.name), b.name, trajectories.cluster_labels) for b in modelled(study)}


def covariate_scales(study: Study, trajectories: Trajectories, scales: Mapping[str, Scale], name: str) -> dict[str, Scale]:
    """Scales of a covariate's model: those of the study where it has them."""
    own = covariate_study(study, name)
    some = Trajectories.of(trajectories.ids, {n: trajectories.columns[n] for n in own.names if n in trajectories.columns})
    return {**fix_scales(own, some), **{n: s for n, s in scales.items() if n in own.names}}


def find(study: Study, trajectories: Trajectories, compiled: Mapping[str, CompiledResponse]) -> tuple[Gap, ...]:
    """The missing entries that are to be drawn, in time order.

    Parameters
    ----------
    study : Study
    trajectories : Trajectories
    compiled : mapping of str to CompiledResponse
        Of responses and of modelled covariates.
    """
    found = []
    for name, lost in gaps(study, trajectories.columns).items():
        seen = trajectories.columns[name][trajectories.observed(name)].astype(float)
        support = compiled[name].support
        levels = None if support is None else np.array(support, dtype=float)
        found.append(Gap(name, np.flatnonzero(lost), levels, compiled[name].whole, float(seen.std()) or 1.0))
    return tuple(found)


def record_of(study: Study, trajectories: Trajectories, blocks: Sequence[Block], found: Sequence[Gap]) -> Record:
    """Arrange the data for the sampler.

    Parameters
    ----------
    blocks : sequence of Block
        As without anything missing; their weights are those of what is observed.
    """
    columns = trajectories.history(study.names)
    for g in found:
        columns[g.name] = columns[g.name].copy()
        columns[g.name][g.rows] = columns[g.name][trajectories.observed(g.name).argmax()]
    patients = np.unique(np.concatenate([g.rows for g in found]))
    lost = {g.name: np.isin(patients, g.rows) for g in found}
    own = {g.name: g for g in found}
    parts = []
    for b in blocks:
        name, weight, y = b.compiled.name, b.weight.copy(), b.y.astype(float).copy()
        if name in own:
            weight[own[name].rows] = 1.0
            y = np.where(weight > 0, columns[name], y)
        first = int((weight > 0).argmax())
        fixed = {n: np.asarray(v) for n, v in b.inputs.items() if n not in b.compiled.history}
        safe = {n: columns[n][first] if n in columns else np.asarray(b.inputs[n])[first] for n in b.compiled.history}
        parts.append(Part(weight, y, fixed, safe, y[first]))
    return Record(columns, patients, lost, tuple(parts))


def fill(record: Record, completed: Columns) -> dict[str, jax.Array]:
    """All patients' columns with the completed values ``(p,)`` in their places."""
    put = {n: jnp.asarray(record.columns[n]).at[record.patients].set(v.astype(record.columns[n].dtype)) for n, v in completed.items()}
    return {**record.columns, **put}


def data_of(compiled: CompiledResponse, part: Part, columns: Columns, own: bool, rows: Any = None) -> tuple[dict[str, Any], Any, Any]:
    """Inputs, outcomes and weights of a block for completed columns.

    Parameters
    ----------
    columns : mapping of str to array, shape (row,)
    own : bool
        Whether values of the block's own variable are drawn, so that its outcomes stand among the columns.
    rows : array of int, shape (row,), optional
        The patients that the columns belong to; all by default.
    """
    pick = (lambda a: a) if rows is None else (lambda a: jnp.asarray(a)[rows])
    weight = pick(part.weight)
    counts = weight > 0
    size = weight.shape[0]
    inputs = {n: (pick(v) if n in compiled.by_row else v) for n, v in part.fixed.items()}
    for n in compiled.history:
        # A covariate's own study has a decision that the data do not have: everybody is given its one option.
        inputs[n] = jnp.where(counts, columns[n], part.safe[n]) if n in columns else jnp.broadcast_to(part.safe[n], (size,))
    y = columns[compiled.name].astype(float) if own else pick(part.y)
    return {n: inputs[n] for n in compiled.inputs}, jnp.where(counts, y, part.safe_y), weight


# ---- what options received tell of missing values ---------------------------------------------------


def _holds(test: Test, column: Any, code: Any) -> Any:
    """A condition's test on NumPy or traced columns."""
    if isinstance(test, Interval):
        met = column == column
        met = met & (column >= test.low) if test.low is not None else met
        return met & (column < test.high) if test.high is not None else met
    met = column != column
    for label in test.labels:
        met = met | (column == code(label))
    return met


def looks_at(decision: Decision) -> frozenset[str]:
    """The variables that a decision's feasible set depends on."""
    return frozenset(v for condition, _ in decision.choices for v in condition.variables)


def log_assignment(study: Study, decision: Decision, columns: Columns, xp: Any) -> Any:
    """Log probability of the option received given the history, shape (row,); 0 where no decision was made.

    That of `NEVER` where the option would not have been open. Where probabilities are not declared
    (nobody randomized, or a column holds them) an open option counts as 1.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``jax.numpy``.
    """
    option = xp.asarray(columns[decision.name]).astype(int)
    total = 0.0
    for condition, options in decision.choices:
        table = decision.randomization(options)
        numbers = xp.asarray([(1.0 if table is None else table[o]) if o in options else 0.0 for o in decision.options])
        met = option == option
        for name, test in condition.tests:
            met = met & _holds(test, columns[name], lambda label, name=name: study.code(name, label))
        total = total + xp.where(met, numbers[xp.maximum(option, 0)], 0.0)
    return xp.where(option == NOT_YET, 0.0, xp.log(xp.maximum(total, NEVER)))


def start(study: Study, trajectories: Trajectories, record: Record, found: Sequence[Gap], seed: int, chain: int) -> dict[str, np.ndarray]:
    """Starting values: observed values of other patients, such that the options received were open.

    Returns
    -------
    dict of str to array of float, shape (p,)

    Raises
    ------
    DataError
        Where no observed values make an option received possible.
    """
    rng = np.random.default_rng([seed, chain, 8])
    columns = {n: v[record.patients].astype(float) for n, v in record.columns.items()}
    pools = {g.name: trajectories.columns[g.name][trajectories.observed(g.name)].astype(float) for g in found}
    pools |= {g.name: np.concatenate([pools[g.name], g.levels]) for g in found if g.levels is not None}
    open_ = np.ones(len(record.patients), dtype=bool)
    watched = [d for d in study.decisions if looks_at(d) & {g.name for g in found}]
    for _ in range(TRIES):
        for g in found:
            change = open_ & record.lost[g.name]
            columns[g.name] = np.where(change, rng.choice(pools[g.name], size=len(change)), columns[g.name])
        total = sum((log_assignment(study, d, columns, np) for d in watched), np.zeros(len(open_)))
        open_ = total < np.log(NEVER) / 2
        if not open_.any():
            return {g.name: columns[g.name] for g in found}
    who = trajectories.ids[record.patients[open_.argmax()]]
    raise DataError(f"Patient {who}: no value observed in other patients, put in place of what is missing, would have made the options received "
                    "feasible; enter the missing values or leave the patient out.")


# ---- completed data ------------------------------------------------------------------------------------


def complete(trajectories: Trajectories, imputed: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Trajectories:
    """The trajectories with one set of drawn values in place of what is missing.

    Parameters
    ----------
    imputed : mapping of str to (rows, values)
    """
    columns = dict(trajectories.columns)
    for name, (rows, values) in imputed.items():
        columns[name] = columns[name].copy()
        columns[name][rows] = values  # codes are whole, so a column of them keeps its type
    return Trajectories.of(trajectories.ids, columns, cluster=trajectories.cluster, cluster_labels=trajectories.cluster_labels,
                           assignment=trajectories.assignment, notes=trajectories.notes, extras=trajectories.extras)
