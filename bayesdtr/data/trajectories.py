"""`Trajectories`: the data of a study as arrays, with codes in place of labels and NaN for what is not observed."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from ..errors import DataError, FileError, listing
from ..schema import CLUSTER, NOT_YET, PATIENT, SCHEMA_VERSION, variable
from ..study import Decision, Response, Study
from ..study.timeline import labels_of
from .censoring import middle, right_censored
from .columns import Who
from .walk import exits

COLUMN, ASSIGNMENT, EXTRA = "column", "assignment", "extra"
RESERVED = (PATIENT, CLUSTER)
"""Names in a dataset that a column of the study may also bear; such a column is then stored under a prefix."""


def _frozen(array: np.ndarray) -> np.ndarray:
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def fingerprint(
    ids: np.ndarray, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, cluster_labels: Sequence[str],
    extras: Mapping[str, np.ndarray] | None = None,
) -> str:
    """Hash of what was read: SHA-256 in hexadecimal, the same for every library that held the data."""
    digest = hashlib.sha256()

    def add(name: str, array: np.ndarray) -> None:
        digest.update(json.dumps([name, array.dtype.kind, len(array)]).encode())
        if array.dtype.kind == "f":  # one NaN and one zero, whatever bits they came with
            array = np.where(np.isnan(array), np.nan, array + 0.0).astype("<f8")
        digest.update(np.ascontiguousarray(array, dtype="<f8" if array.dtype.kind == "f" else "<i8").tobytes())

    digest.update(json.dumps(ids.tolist()).encode())
    for name in sorted(columns):
        add(name, columns[name])
    if cluster is not None:
        digest.update(json.dumps(list(cluster_labels)).encode())
        add("", cluster)
    for name in sorted(extras or {}):
        add(name, extras[name])
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Trajectories:
    """What is known of each patient, in the order of the rows that were read.

    Arrays are read-only. Make one with :func:`bayesdtr.data.read`, or with :meth:`of`.

    Attributes
    ----------
    ids : array of str, shape (n,)
        Identifiers; row numbers from 1 where the study names no column of them.
    columns : mapping of str to array, shape (n,)
        One per variable in time order: floats, NaN where not observed; integer codes for decisions
        and labelled covariates, ``schema.NOT_YET`` (-1) where a decision is not made.
    cluster : array of int, shape (n,), or None
        Index into `cluster_labels`; ``len(cluster_labels)`` stands for a cluster never seen.
    cluster_labels : tuple of str
    assignment : mapping of str to array of float, shape (n,)
        Per decision, the probability with which the option received was assigned: 1 for a single
        feasible option, NaN when observed or not made.
    hash : str
        SHA-256 of the content.
    notes : tuple of str
        Sentences: what was filled in, who has not been followed to the end.
    extras : mapping of str to array of float, shape (n,)
        Further columns of responses under ``response::role``, such as an exposure.
    """

    ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    cluster: np.ndarray | None
    cluster_labels: tuple[str, ...]
    assignment: Mapping[str, np.ndarray]
    hash: str
    notes: tuple[str, ...] = ()
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        put("ids", _frozen(np.asarray(self.ids, dtype=str)))
        for table in ("columns", "assignment", "extras"):
            put(table, MappingProxyType({name: _frozen(np.asarray(array)) for name, array in getattr(self, table).items()}))
        if self.cluster is not None:
            put("cluster", _frozen(np.asarray(self.cluster, dtype=np.int64)))

    @classmethod
    def of(cls, ids: Sequence[str] | np.ndarray, columns: Mapping[str, np.ndarray], *, cluster: np.ndarray | None = None,
           cluster_labels: Sequence[str] = (), assignment: Mapping[str, np.ndarray] | None = None,
           notes: Sequence[str] = (), extras: Mapping[str, np.ndarray] | None = None) -> "Trajectories":
        """Make trajectories from arrays that are known to be right, and hash them."""
        ids = np.asarray(ids, dtype=str)
        digest = fingerprint(ids, columns, cluster, cluster_labels, extras)
        return cls(ids, columns, cluster, tuple(cluster_labels), assignment or {}, digest, tuple(notes), extras or {})

    @property
    def n(self) -> int:
        """Number of patients."""
        return len(self.ids)

    def history(self, names: Iterable[str], rows: Any = None) -> dict[str, np.ndarray]:
        """Columns by name, as later decisions and models see them: a count with an exposure as its rate, an interval by its middle.

        Parameters
        ----------
        names : iterable of str
        rows : array of int or bool, or slice, optional
            All patients by default.

        Returns
        -------
        dict of str to array, shape (rows,)
        """
        found = {}
        for name in names:
            exposure = self.extras.get(variable(name, "exposure"))
            column = middle(self.extras, name, self.columns[name]) if exposure is None else self.columns[name] / exposure
            found[name] = column if rows is None else column[rows]
        return found

    def observed(self, name: str) -> np.ndarray:
        """Whether a variable is observed, or a decision made; array of bool, shape (n,)."""
        column = self.columns[name]
        return column != NOT_YET if column.dtype.kind == "i" else ~np.isnan(column)

    def censored(self, name: str) -> np.ndarray:
        """Whether a time is right-censored; array of bool, shape (n,), False for any other variable."""
        found = right_censored(self.extras, name)
        return np.zeros(self.n, dtype=bool) if found is None else found & self.observed(name)

    def reached(self, study: Study, name: str) -> np.ndarray:
        """Whether everything before a variable is observed and no course ended before it; array of bool, shape (n,).

        A course ends with a censored time, and at a decision whose conditions leave no option.
        """
        open_ = np.ones(self.n, dtype=bool)
        for node in study.timeline:
            if isinstance(node, Decision):
                open_ &= ~exits(study, node, self.columns, open_)
            if node.name == name:
                break
            open_ &= self.observed(node.name) & ~self.censored(node.name)
        return open_

    def finished(self, study: Study) -> np.ndarray:
        """Whether all that will happen to a patient is known: observed to the end, or to an exit; array of bool, shape (n,)."""
        open_, done = np.ones(self.n, dtype=bool), np.zeros(self.n, dtype=bool)
        for node in study.timeline:
            if isinstance(node, Decision):
                ended = exits(study, node, self.columns, open_)
                done |= ended
                open_ &= ~ended
            open_ &= self.observed(node.name) & ~self.censored(node.name)
        return done | open_

    def subset(self, rows: Any) -> "Trajectories":
        """The patients at some rows (indices, which may repeat, or a mask), with a hash of their own and no notes."""
        pick = lambda table: {name: array[rows] for name, array in table.items()}  # noqa: E731
        cluster = None if self.cluster is None else self.cluster[rows]
        return Trajectories.of(self.ids[rows], pick(self.columns), cluster=cluster, cluster_labels=self.cluster_labels,
                               assignment=pick(self.assignment), extras=pick(self.extras))

    def to_dataset(self, study: Study) -> xr.Dataset:
        """Store in a dataset that netCDF and Zarr can hold.

        Returns
        -------
        xarray.Dataset
            Dim ``patient``. Coded variables carry their labels as JSON in the attribute ``labels``;
            code 0 is the first. Probabilities of assignment are named ``assignment::decision``.
        """
        stored = {}
        for name, array in self.columns.items():
            labels = _labels(study, name)
            stored[_stored_name(name)] = xr.Variable((PATIENT,), array.copy(), {} if labels is None else {"labels": json.dumps(labels)})
        for name, array in self.assignment.items():
            stored[variable(ASSIGNMENT, name)] = xr.Variable((PATIENT,), array.copy())
        for name, array in self.extras.items():
            stored[variable(EXTRA, name)] = xr.Variable((PATIENT,), array.copy())
        if self.cluster is not None:
            stored[CLUSTER] = xr.Variable((PATIENT,), self.cluster.copy(), {"labels": json.dumps(list(self.cluster_labels))})
        attributes = {"schema_version": SCHEMA_VERSION, "hash": self.hash, "notes": json.dumps(list(self.notes))}
        return xr.Dataset(stored, coords={PATIENT: (PATIENT, self.ids.astype(object))}, attrs=attributes)

    @classmethod
    def from_dataset(cls, study: Study, ds: xr.Dataset) -> "Trajectories":
        """Inverse of :meth:`to_dataset`.

        Raises
        ------
        FileError
            When the dataset was written for another study, or altered since.
        """
        wanted = [PATIENT, *map(_stored_name, study.names), *([CLUSTER] if study.cluster else [])]
        if lacking := [name for name in wanted if name not in ds.variables]:
            raise FileError(f"The stored trajectories lack {listing(lacking)}; they belong to another study.")
        columns = {}
        for name in study.names:
            stored, labels = ds[_stored_name(name)], _labels(study, name)
            found = json.loads(stored.attrs.get("labels", "null"))
            if found != labels:
                raise FileError(f"The stored trajectories label {name!r} by {found!r}, the study by {labels!r}; they belong to another study.")
            columns[name] = np.array(stored.values, dtype=float if labels is None or isinstance(study[name], Response) else np.int64)
        cluster = np.array(ds[CLUSTER].values, dtype=np.int64) if study.cluster else None
        cluster_labels = json.loads(ds[CLUSTER].attrs["labels"]) if study.cluster else []
        assignment, extras = _under(ds, ASSIGNMENT), _under(ds, EXTRA)
        made = cls.of(np.asarray(ds[PATIENT].values, dtype=str), columns, cluster=cluster, cluster_labels=cluster_labels,
                      assignment=assignment, notes=json.loads(ds.attrs.get("notes", "[]")), extras=extras)
        if made.hash != ds.attrs.get("hash"):
            raise FileError("The stored trajectories do not match their hash; they were altered after they were written.")
        return made


def _under(ds: xr.Dataset, kind: str) -> dict[str, np.ndarray]:
    """Arrays stored under a prefix."""
    prefix = variable(kind, "")
    return {str(k)[len(prefix) :]: np.array(v.values, dtype=float) for k, v in ds.data_vars.items() if str(k).startswith(prefix)}


def _stored_name(name: str) -> str:
    return variable(COLUMN, name) if name in RESERVED else name


def _labels(study: Study, name: str) -> list[str] | None:
    labels = labels_of(study[name])
    return None if labels is None else list(labels)


def due(study: Study, trajectories: Trajectories) -> np.ndarray:
    """Which decision is due next for each patient.

    Returns
    -------
    array of int, shape (n,)
        Index of the first decision that is not made although everything before it is observed;
        ``len(study.decisions)`` where all are made or the course has ended.

    Raises
    ------
    DataError
        For a patient of whom something is missing that comes before the next decision.
    """
    result = np.full(trajectories.n, len(study.decisions))
    open_ = np.ones(trajectories.n, dtype=bool)  # nothing missing so far
    gap = np.full(trajectories.n, -1)  # position of the first thing that is missing
    who = Who(trajectories.ids.tolist(), "row" if study.id is None else "patient")
    for position, node in enumerate(study.timeline):
        seen = trajectories.observed(node.name)
        if isinstance(node, Decision):
            open_ &= ~exits(study, node, trajectories.columns, open_)
        if (torn := np.flatnonzero(seen & ~open_)).size:
            lost = study.timeline[gap[torn[0]]].name
            raise DataError(f"The history is interrupted: {lost!r} is missing although {node.name!r} is known ({who(torn)}); record it first.")
        open_ &= ~trajectories.censored(node.name)
        first = open_ & ~seen
        gap[first] = position
        if isinstance(node, Decision):
            result[first] = study.stage(node.name) - 1
        elif (waiting := np.flatnonzero(first)).size and (later := [d.name for d in study.decisions if d not in study.before(node.name)]):
            raise DataError(
                f"No decision is due: {node.name!r} is not observed yet and decision {later[0]!r} follows it ({who(waiting)}); "
                "record it first, or leave these patients out."
            )
        open_ &= seen
    return result
