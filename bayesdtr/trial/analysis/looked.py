"""What draws of the parameters say about a batch of trials at a look: values of options and regimes, by compiled trees of histories."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ...kept import Kept, digest
from ...model import CompiledResponse
from ...runtime import double_precision
from ...schema import NOT_YET
from ...study import Study
from ...study.rules import embedded_regimes
from ..observed import Observed
from .compiled_tree import Tree
from .drawn import Drawn

LANES = 64
"""Trials (or groups of patients) in one call of a compiled program, always: the last bits may depend on a program's width."""
SLOTS = 10
"""Patients of one trial that are asked about together; more take several lanes. Looks tend to come after tens of patients."""
PEOPLE = 64
"""Patients, evenly spaced in the order of enrolment, whose covariates averages run over; all of them where there are no more."""

Params = Mapping[str, Mapping[str, np.ndarray]]
"""By response and parameter, ``[trial, draw, ...]``."""


class TreePrograms:
    """Compiled trees of a study, shared by all looks.

    Parameters
    ----------
    study : Study
    compiled : mapping of str to CompiledResponse
    """

    def __init__(self, study: Study, compiled: Mapping[str, CompiledResponse]):
        self.study, self.compiled = study, dict(compiled)
        self.tree = Tree(study, compiled, embedded_regimes(study))
        addresses = [c.address for c in compiled.values()]
        self._address = None if None in addresses else digest(*addresses, repr(study.utility), repr(study.timeline))  # type: ignore[arg-type]

    @functools.cached_property
    def regimes(self) -> Kept:
        """Draws, columns, clusters and weights ``[lane, patient]`` to values ``[lane, regime, draw]``."""
        return Kept(functools.partial(in_turn, self.tree.values), self._address, "regimes", beside=True)

    @functools.lru_cache(maxsize=16)  # noqa: B019
    def options(self, decision: int) -> Kept:
        """Draws of all trials, each lane's trial, columns and clusters to values ``[lane, patient, option, draw]``."""
        return Kept(functools.partial(in_turn, functools.partial(self.tree.options, decision)), self._address, "options", str(decision), beside=True)


def in_turn(function: Callable[..., Any], *arguments: Any) -> Any:
    """A function of every lane, one after the other: side by side their numbers would not fit the processor's cache."""
    return jax.lax.map(lambda each: function(*each), arguments)


def padded(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Some lanes of an array, filled up to `LANES` with copies of the first of them."""
    return array[np.concatenate([index, np.full(LANES - len(index), index[0])])] if len(index) < LANES else array[index]


class DrawnLook:
    """Posteriors of a batch of trials held as draws of the parameters.

    Parameters
    ----------
    programs : TreePrograms
    draws : mapping of str to mapping of str to array, shape (trial, draw, ...)
    data : Observed
    """

    def __init__(self, programs: TreePrograms, draws: Params, data: Observed):
        self.programs, self.study, self.draws, self.data = programs, programs.study, draws, data

    @functools.cached_property
    def _regimes(self) -> Drawn:
        place, weight = people(self.data.enrolled, bool(self.study.baselines) or self.study.cluster is not None)
        columns, cluster = covariates(self.study, self.data, place)
        out = []
        with double_precision():
            for begin in range(0, self.data.size, LANES):
                index = np.arange(begin, min(begin + LANES, self.data.size))
                given = jax.tree.map(lambda v, i=index: padded(v, i), (self.draws, columns, cluster, weight))
                out.append(np.asarray(self.programs.regimes(*given))[: len(index)])
        return Drawn(np.swapaxes(np.concatenate(out), 1, 2))

    def regimes(self) -> Drawn:
        """Values of the embedded regimes, averaged over the covariates of up to `PEOPLE` patients enrolled; batch = trials."""
        return self._regimes

    def options(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray], feasible: np.ndarray) -> Drawn:
        """Values of a decision's options for given patients, every draw going on by its own optimum; batch = patients."""
        values = self._asked(decision, np.asarray(trial), columns)
        return Drawn(np.where(np.asarray(feasible)[:, None, :], values, -np.inf))

    def marginal(self, decision: int, feasible: np.ndarray) -> Drawn:
        """As :meth:`options`, averaged over up to `PEOPLE` of the patients who reached the decision and had this feasible set; batch = trials.

        Where a trial has had none, all feasible options are worth the same.
        """
        feasible = np.asarray(feasible, dtype=bool)
        columns, cluster, weight = marginal_people(self.study, self.data, decision, feasible)
        given = {n: v.ravel() for n, v in columns.items()}
        if cluster is not None:
            given[self.study.cluster] = cluster.ravel()  # type: ignore[index]
        values = self._asked(decision, np.repeat(np.arange(self.data.size), weight.shape[1]), given)
        values = (values.reshape(*weight.shape, *values.shape[1:]) * weight[:, :, None, None]).sum(axis=1)
        return Drawn(np.where(feasible, values, -np.inf))

    def _asked(self, decision: int, trial: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Values ``[patient, draw, option]`` for some patients, those of a trial side by side in lanes of their own."""
        names = [n.name for n in self.study.before(self.study.decisions[decision].name)]
        rank, lane, lanes, slots = laned(trial)
        cluster = None if self.study.cluster is None else np.asarray(columns[self.study.cluster])
        program, out = self.programs.options(decision), None
        with double_precision():
            for begin in range(0, len(lanes), LANES):
                index = np.arange(begin, min(begin + LANES, len(lanes)))
                of, who = padded(lanes, index), padded(slots, index)
                draws = jax.tree.map(lambda v, o=of: v[o], self.draws)
                given = {n: known(np.asarray(columns[n]))[who] for n in names}
                found = np.asarray(program(draws, given, None if cluster is None else cluster[who]))
                out = np.empty((len(trial), *found.shape[2:])) if out is None else out
                mine = np.flatnonzero((lane >= begin) & (lane < begin + LANES))
                out[mine] = found[lane[mine] - begin, rank[mine]]
        assert out is not None
        return np.swapaxes(out, 1, 2)


def known(values: np.ndarray) -> np.ndarray:
    """A column without what is not known, which no weight or slot reads."""
    return np.where(values == NOT_YET, 0, values).astype(np.int64) if values.dtype.kind == "i" else np.nan_to_num(values.astype(float), nan=0.0)


def laned(trial: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each patient's place in a lane and its lane; the lanes' trials, and which patient stands where ``(lane, place)``.

    A trial's patients fill lanes of `SLOTS` in the order given; empty places repeat the lane's first.
    """
    order = np.argsort(trial, kind="stable")
    ordered = trial[order]
    start = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    within = np.arange(len(trial)) - np.repeat(start, np.diff(np.r_[start, len(trial)]))
    rank, group = np.empty(len(trial), dtype=int), np.empty(len(trial), dtype=int)
    rank[order], group[order] = within % SLOTS, within // SLOTS
    pairs, lane = np.unique(np.stack([trial, group], axis=1), axis=0, return_inverse=True)
    lane = lane.ravel()
    first = np.full(len(pairs), len(trial))
    np.minimum.at(first, lane, np.arange(len(trial)))
    who = np.repeat(first[:, None], SLOTS, axis=1)
    who[lane, rank] = np.arange(len(trial))
    return rank, lane, pairs[:, 0], who


def covariates(study: Study, data: Observed, place: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Baseline covariates, and clusters, of some patients of each trial ``(trial, patient)``."""
    columns = {b.name: known(np.take_along_axis(data.columns[b.name], place, axis=1)) for b in study.baselines}
    return columns, None if data.cluster is None else np.take_along_axis(data.cluster, place, axis=1)


def marginal_people(
    study: Study, data: Observed, decision: int, feasible: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray | None, np.ndarray]:
    """Histories, clusters and weights ``(trial, patient)`` of up to `PEOPLE` of those who reached a decision and had a feasible set ``(option,)``."""
    name = study.decisions[decision].name
    before = [n.name for n in study.before(name)]
    here = data.enrolled.copy()
    for n in before:
        column = data.columns[n]
        here &= column != NOT_YET if column.dtype.kind == "i" else ~np.isnan(column)
    at = np.nonzero(here)
    if len(at[0]) and before:
        mine = study.feasible(name, {n: data.columns[n][at] for n in before})
        here[at] = (mine == feasible).all(axis=1)
    place, weight = people(here, bool(before) or study.cluster is not None)
    columns = {n: known(np.take_along_axis(data.columns[n], place, axis=1)) for n in before}
    cluster = None if study.cluster is None or data.cluster is None else np.take_along_axis(data.cluster, place, axis=1)
    return columns, cluster, weight


def people(who: np.ndarray, many: bool) -> tuple[np.ndarray, np.ndarray]:
    """Up to `PEOPLE` patients of each trial, evenly spaced among `who` ``(trial, patient)``, and their weights, which sum to 1 or are 0 for nobody.

    Without anything that patients differ in one stands for all.
    """
    trials, size = who.shape
    if not many:
        return np.zeros((trials, 1), dtype=int), np.ones((trials, 1))
    width = min(PEOPLE, size)
    count = who.sum(axis=1)
    order = np.argsort(~who, axis=1, kind="stable")  # those who count first, in the order of enrolment
    used = np.minimum(count, width)
    steps = np.arange(width)
    nth = np.where(count[:, None] <= width, steps, (steps * count[:, None]) // width)
    place = np.take_along_axis(order, np.minimum(nth, np.maximum(count - 1, 0)[:, None]), axis=1)
    weight = (steps < used[:, None]) / np.maximum(used, 1)[:, None]
    return place, weight
