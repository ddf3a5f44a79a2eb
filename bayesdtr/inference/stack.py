"""Many data sets of one shape as stacked arrays: read, checked, with masks and scales of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Trajectories, gaps, read
from ..data.censoring import middle, right_censored
from ..errors import DataError, InferenceError, did_you_mean, listing
from ..model import CompiledResponse
from ..model.names import CLUSTER_INPUT, location_input, sd_input
from ..schema import NOT_YET, variable
from ..study.study import Study
from ..study.survival import Survival
from ..study.timeline import Response, finite_values, labels_of


@dataclass(frozen=True, eq=False)
class Stack:
    """Data sets of one study and shape.

    Attributes
    ----------
    columns : mapping of str to array, shape (dataset, patient)
        As in :class:`Trajectories`: floats, NaN where not observed; integer codes, -1 where a decision is not made.
    cluster : array of int, shape (dataset, patient), or None
    cluster_labels : tuple of str
    scales : mapping of str to pair of array, shape (dataset,)
        Location and SD of every continuous variable.
    extras : mapping of str to array of float, shape (dataset, patient)
        Further columns of the responses, ``response::role``; those absent take the value of a patient to come.
    """

    columns: Mapping[str, np.ndarray]
    cluster: np.ndarray | None
    cluster_labels: tuple[str, ...]
    scales: Mapping[str, tuple[np.ndarray, np.ndarray]]
    extras: Mapping[str, np.ndarray]

    @property
    def size(self) -> int:
        """Number of data sets."""
        return next(iter(self.columns.values())).shape[0]

    def observed(self, name: str) -> np.ndarray:
        """Whether a variable is observed, shape (dataset, patient)."""
        column = self.columns[name]
        return column != NOT_YET if column.dtype.kind == "i" else ~np.isnan(column)

    def data(self, compiled: CompiledResponse, rows: slice | np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Inputs, outcomes and weights of some data sets for one response, each with a leading dataset axis.

        A patient without the response has weight 0 and is stood in for by one who has it.
        """
        seen = self.observed(compiled.name)[rows]
        own = np.arange(seen.shape[1])
        where = np.where(seen, own, np.argmax(seen, axis=1)[:, None])
        empty = ~seen.any(axis=1)
        take = lambda a: _filled(np.take_along_axis(a[rows], where, axis=1), empty, a, self.observed(compiled.name))  # noqa: E731
        inputs = {name: take(_seen_later(self.columns, self.extras, name)) for name in compiled.history}
        for name, default in compiled.extras.items():
            inputs[name] = take(self.extras[name]) if name in self.extras else np.full(seen.shape, float(default))
        if CLUSTER_INPUT in compiled.inputs:
            assert self.cluster is not None
            inputs[CLUSTER_INPUT] = take(self.cluster)
        for name, (location, sd) in self.scales.items():
            if location_input(name) in compiled.inputs:
                inputs[location_input(name)], inputs[sd_input(name)] = location[rows], sd[rows]
        y = take(self.columns[compiled.name]).astype(float)
        return {name: inputs[name] for name in compiled.inputs}, y, seen.astype(float)


def _seen_later(columns: Mapping[str, np.ndarray], extras: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column as a history reads it: counts over their exposure, an interval by its middle."""
    exposure = extras.get(variable(name, "exposure"))
    return middle(extras, name, columns[name]) if exposure is None else columns[name] / exposure


def _filled(taken: np.ndarray, empty: np.ndarray, everywhere: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values with data sets that have no patient to stand in filled from another data set, and no NaN or -1 left."""
    if empty.any():
        taken = taken.copy()
        first = np.argwhere(seen)
        taken[empty] = everywhere[tuple(first[0])] if len(first) else 0
    # An upper end may be infinite and stays so.
    return np.where(taken == NOT_YET, 0, taken) if taken.dtype.kind == "i" else np.where(np.isnan(taken), 0.0, taken)


def stacked(study: Study, data: Any, cluster_labels: Sequence[str] = ()) -> Stack:
    """Stack data sets.

    Parameters
    ----------
    study : Study
    data : sequence of data frames, of Trajectories, or mapping of str to array, shape (dataset, patient)
        Frames are read one by one and filled up with unobserved patients to the longest. Arrays hold codes
        as :class:`Trajectories` does, by the study's names, under the name of its cluster column too.
    cluster_labels : sequence of str
        Of arrays: what the codes of clusters stand for.

    Raises
    ------
    DataError, InferenceError
        When a data set does not fit; the message names it.
    """
    if isinstance(data, Mapping):
        columns = _checked(study, data)
        cluster = np.asarray(data[study.cluster], dtype=np.int64) if study.cluster else None
        if cluster is not None and not cluster_labels:
            cluster_labels = tuple(str(i) for i in range(int(cluster.max()) + 1))
        extras = _extras(study, data)
        return Stack(columns, cluster, tuple(cluster_labels), _scales(study, columns, extras), extras)
    sets = list(data)
    if not sets:
        raise InferenceError("fit_many: no data sets were given.")
    read_ = [t if isinstance(t, Trajectories) else _read(study, t, i, cluster_labels) for i, t in enumerate(sets)]
    for i, t in enumerate(read_):
        if lost := gaps(study, t.columns):
            raise InferenceError(f"Data set {i}: fit_many takes complete histories, and {listing(lost)} has missing values; use fit.")
    n = max(t.n for t in read_)
    labels = tuple(sorted({label for t in read_ for label in t.cluster_labels}))
    columns = {name: _padded([t.columns[name] for t in read_], n) for name in study.names}
    extras = {name: _padded([t.extras[name] for t in read_], n) for name in read_[0].extras}
    cluster = None
    if study.cluster:
        cluster = np.full((len(read_), n), len(labels), dtype=np.int64)
        for i, t in enumerate(read_):
            known = np.array([labels.index(label) for label in t.cluster_labels] + [len(labels)])
            cluster[i, : t.n] = known[t.cluster]
    return Stack(columns, cluster, labels, _scales(study, columns, extras), extras)


def _extras(study: Study, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Further columns of responses among arrays; what an empty cell means for an observed response is filled in."""
    found = {}
    for r in study.responses:
        for role, *_ in r.columns:
            if (name := variable(r.name, role)) in data:
                values, empty = np.asarray(data[name], dtype=float), r.family.empty_extra(role) if r.family else None
                blank = np.isnan(values) & ~np.isnan(np.asarray(data[r.name], dtype=float))
                found[name] = values if empty is None else np.where(blank, empty, values)
    return found


def _padded(arrays: list[np.ndarray], n: int) -> np.ndarray:
    """Columns of several lengths as one array; what is added is not observed."""
    kind = arrays[0].dtype.kind
    blank = np.full((len(arrays), n), NOT_YET, dtype=np.int64) if kind == "i" else np.full((len(arrays), n), np.nan)
    for row, array in zip(blank, arrays, strict=True):
        row[: len(array)] = array
    return blank


def _read(study: Study, frame: Any, index: int, cluster_labels: Sequence[str]) -> Trajectories:
    try:
        return read(study, frame, cluster_labels=cluster_labels) if cluster_labels else read(study, frame)
    except DataError as error:
        raise DataError(f"Data set {index}: {error}") from error


def _checked(study: Study, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of the study's columns, each of the same shape, codes within their range."""
    wanted = [*study.names, *([study.cluster] if study.cluster else [])]
    if missing := [n for n in wanted if n not in data]:
        raise DataError(f"fit_many: the arrays lack {listing(missing)}; given: {listing(data)}{did_you_mean(missing[0], list(data))}")
    shape, columns = np.shape(data[wanted[0]]), {}
    for name in wanted:
        if np.ndim(data[name]) != 2 or np.shape(data[name]) != shape:
            raise DataError(f"fit_many: array {name!r} must have shape (dataset, patient) = {shape}, got {np.shape(data[name])}.")
    for node in study.timeline:
        array = np.asarray(data[node.name])
        labels = labels_of(node)
        if labels and not isinstance(node, Response):
            array = array.astype(np.int64)
            if array.size and (array.min() < NOT_YET or array.max() >= len(labels)):
                raise DataError(f"fit_many: {node.name!r} has code {array.min() if array.min() < NOT_YET else array.max()}; codes are 0 to "
                                f"{len(labels) - 1} in the order of {listing(labels)}, or {NOT_YET} where it is not made.")
        else:
            array = array.astype(float)
        columns[node.name] = array
    return columns


def _scales(study: Study, columns: Mapping[str, np.ndarray], extras: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Location and SD of every continuous variable in every data set: declared, or of what is observed there."""
    declared, found = dict(study.scales), {}
    for node in study.timeline:
        if finite_values(node) is not None:
            continue
        values = _seen_later(columns, extras, node.name)
        times = isinstance(node, Response) and isinstance(node.family, Survival)
        if times:
            count, mean, sd = _of_times(node.name, values, extras)
        else:
            count = (~np.isnan(values)).sum(axis=1)
            mean = np.nansum(values, axis=1) / np.maximum(count, 1)
            sd = np.sqrt(np.nansum((values - mean[:, None]) ** 2, axis=1) / np.maximum(count - 1, 1))
        if (scale := declared.get(node.name)) is not None:
            if times and scale.location is None and (none := np.flatnonzero(count == 0)).size:
                raise DataError(f"Data set {none[0]}: the scale of {node.name!r} cannot be fixed, because nobody had the event; "
                                f"declare it: scales={{{node.name!r}: (log time, sd)}}.")
            mean = mean if scale.location is None else np.full(len(values), scale.location)
            sd = np.full(len(values), scale.sd)
        elif (flat := np.flatnonzero(~(sd > 0))).size:
            what = "response" if isinstance(node, Response) else "covariate"
            raise DataError(f"Data set {flat[0]}: the scale of {what} {node.name!r} cannot be fixed from {count[flat[0]]} values without spread; "
                            f"declare it: scales={{{node.name!r}: (location, sd)}}.")
        found[node.name] = mean, sd
    return found


def _of_times(name: str, times: np.ndarray, extras: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events, log of the person-time per event, and SD of ``log(1 + time / m)`` over the events, of a survival response, each (dataset,).

    As :func:`bayesdtr.data.fix_scales` has them; a data set without events has SD 0.
    """
    censored = right_censored(extras, name)
    events = ~np.isnan(times) & (True if censored is None else ~censored)
    count = events.sum(axis=1)
    unit = np.nansum(times, axis=1) / np.maximum(count, 1)
    spread = np.log1p(times / np.where(count > 0, unit, 1.0)[:, None])
    mean = np.where(events, spread, 0.0).sum(axis=1) / np.maximum(count, 1)
    sd = np.sqrt(np.where(events, (spread - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(count - 1, 1))
    return count, np.log(np.where(count > 0, unit, 1.0)), np.where(count > 0, np.where(sd > 0, sd, 0.5), 0.0)
