"""The door: any data frame becomes `Trajectories`, or one clear message says why not.

`read` admits the data of a fit; `read_new` admits patients who ask for a recommendation, whose
columns may end anywhere along the timeline.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np

from ..errors import DataError, did_you_mean, listing
from ..schema import NEW_CLUSTER, NOT_YET, SENSITIVE, variable
from ..study import Baseline, Decision, Study
from ..study.timeline import Node, labels_of
from .censoring import censoring, censoring_notes
from .checks import check_events, check_options, check_variation
from .columns import Who, cells, codes, labels, need, numbers
from .frames import open_frame
from .trajectories import Trajectories
from .walk import about_gaps, gaps, still_on_study, walk


def read(study: Study, frame: Any, *, cluster_labels: Sequence[str] | None = None) -> Trajectories:
    """Read the data of a fit.

    Parameters
    ----------
    study : Study
    frame : data frame
        pandas, polars, pyarrow or another eager frame; one row per patient. It is never changed.
    cluster_labels : sequence of str, optional
        The clusters and their order; otherwise those in the data, sorted.

    Returns
    -------
    Trajectories
        Rows in the order of the frame.

    Raises
    ------
    DataError
        When the data do not fit the study; the message names column, value and patients.
    """
    view = open_frame(frame)
    need(view, [c for c in (study.id,) if c is not None], "identifiers")
    need(view, [c for c in (study.cluster,) if c is not None], "clusters")
    need(view, study.names)
    need(view, [b.name for b in study.audited], "sensitive: for the audit only, and empty where it is not known")
    ids, who = _identifiers(study, view)
    cluster, known = _clusters(study, view, who, cluster_labels)
    columns = {node.name: _column(node, view, who) for node in study.timeline}
    for decision in study.decisions:
        if isinstance(decision.probability, str) and any(len(s) > 1 for s in decision.sets):
            need(view, [decision.probability], f"probabilities of decision {decision.name!r}")
    extras = _extras(study, view, columns, who) | _audited(study, view, who)
    stops = censoring(study, extras)
    columns, assignment, notes = walk(study, columns, view, who, stops)
    check_options(study, columns)
    check_variation(study, columns)
    check_events(study, columns, stops)
    notes += about_gaps(study, columns, who) + censoring_notes(columns, extras, stops) + still_on_study(study, columns, stops)
    return Trajectories.of(ids, columns, cluster=cluster, cluster_labels=known, assignment=assignment, notes=notes, extras=extras)


def read_new(study: Study, frame: Any, *, cluster_labels: Sequence[str] = ()) -> Trajectories:
    """Read patients who need a recommendation.

    The columns may end anywhere along the timeline: what is absent counts as not observed. A cluster
    that is absent, empty or not among `cluster_labels` becomes ``len(cluster_labels)``, unseen.

    Parameters
    ----------
    study : Study
    frame : data frame
    cluster_labels : sequence of str
        The clusters of the fit, in its order.

    Returns
    -------
    Trajectories

    Raises
    ------
    DataError
        When a history cannot have arisen in the study; whether options and values vary is not asked.
    """
    view = open_frame(frame)
    present = set(view.columns)
    _check_prefix(study, view)
    ids, who = _identifiers(study, view, optional=True)
    known = tuple(cluster_labels)
    cluster = None
    if study.cluster is not None:
        index = {label: i for i, label in enumerate(known)}
        found = labels(cells(view, study.cluster)) if study.cluster in present else [None] * len(view)
        cluster = np.array([index.get(label, len(known)) if label is not None else len(known) for label in found], dtype=np.int64)
    columns = {node.name: _column(node, view if node.name in present else None, who, len(view)) for node in study.timeline}
    _check_known(study, columns, who)
    extras = _extras(study, view, columns, who, optional=True)
    columns, assignment, notes = walk(study, columns, view, who, censoring(study, extras))
    return Trajectories.of(ids, columns, cluster=cluster, cluster_labels=known, assignment=assignment, notes=notes, extras=extras)


def _check_prefix(study: Study, view: nw.DataFrame) -> None:
    """Columns may be absent from some point of the timeline on, but not misspelled or left out in between."""
    present = list(view.columns)
    need(view, [node.name for node in study.baselines])
    absent = [name for name in study.names if name not in present]
    last = max((i for i, name in enumerate(study.names) if name in present), default=-1)
    skipped = [name for name in absent if study.names.index(name) < last]
    if skipped:
        raise DataError(
            f"The data have no column {listing(skipped)}, which comes before {study.names[last]!r}; columns: {listing(present)}"
            f"{did_you_mean(skipped[0], [c for c in present if c not in study.names]) or '.'}"
        )
    spelled = {str(c).strip().casefold(): c for c in present if c not in study.names}
    if near := [name for name in absent if name.strip().casefold() in spelled]:
        raise DataError(f"The data have no column {near[0]!r}; did you mean {str(spelled[near[0].strip().casefold()])!r}? Rename it.")


def _check_known(study: Study, columns: Mapping[str, np.ndarray], who: Who) -> None:
    """A recommendation looks at the whole history, so nothing of it may be missing, whatever the study says of the data of a fit."""
    for name, lost in gaps(study, columns).items():
        raise DataError(
            f"Column {name!r}: missing ({who(np.flatnonzero(lost))}); a recommendation looks at it: enter it. To weigh what it may be, ask once for "
            "each value that is possible."
        )


def _identifiers(study: Study, view: nw.DataFrame, optional: bool = False) -> tuple[list[str], Who]:
    numbered = [str(i) for i in range(1, len(view) + 1)]
    rows = Who(numbered, "row")
    if study.id is None or (optional and study.id not in view.columns):
        return numbered, rows
    found = labels(cells(view, study.id))
    if empty := [i for i, label in enumerate(found) if label is None]:
        raise DataError(f"Column {study.id!r}: the patient identifier is missing ({rows(empty)}); every patient needs one.")
    ids = [str(label) for label in found]
    if len(set(ids)) < len(ids):
        first: dict[str, int] = {}
        repeated = next(label for i, label in enumerate(ids) if first.setdefault(label, i) != i)
        where = [i for i, label in enumerate(ids) if label == repeated]
        raise DataError(f"Column {study.id!r}: the patient identifier {repeated!r} is used twice ({rows(where)}); give one row per patient.")
    return ids, Who(ids, "patient")


def _clusters(study: Study, view: nw.DataFrame, who: Who, given: Sequence[str] | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if study.cluster is None:
        return None, ()
    found = labels(cells(view, study.cluster))
    if empty := [i for i, label in enumerate(found) if label is None]:
        raise DataError(f"Column {study.cluster!r}: the cluster is missing ({who(empty)}); every patient needs one.")
    present = [str(label) for label in found]
    if NEW_CLUSTER in present:
        rows = [i for i, label in enumerate(present) if label == NEW_CLUSTER]
        raise DataError(f"Column {study.cluster!r}: {NEW_CLUSTER!r} ({who(rows)}) stands for a cluster never seen and names no cluster; rename it.")
    known = tuple(given) if given is not None else tuple(sorted(set(present), key=_numbers_first))
    index = {label: i for i, label in enumerate(known)}
    if unknown := [label for label in present if label not in index]:
        rows = [i for i, label in enumerate(present) if label == unknown[0]]
        raise DataError(
            f"Column {study.cluster!r}: {unknown[0]!r} is not a known cluster ({who(rows)}); known: {listing(known)}"
            f"{did_you_mean(unknown[0], known) or '.'}"
        )
    return np.array([index[label] for label in present], dtype=np.int64), known


def _numbers_first(label: str) -> tuple[bool, int, str]:
    """Sites 2 and 10 in that order, then named sites."""
    whole = label.isdecimal()
    return (not whole, int(label) if whole else 0, label)


def _column(node: Node, view: nw.DataFrame | None, who: Who, n: int | None = None) -> np.ndarray:
    """One variable of the timeline as numbers or codes."""
    values = cells(view, node.name) if view is not None else [None] * (n or 0)
    if isinstance(node, Decision):
        return codes(values, node.name, node.options, "option", who)
    if isinstance(node, Baseline):
        if node.levels is not None:
            column = codes(values, node.name, node.levels, "level", who)
            empty = np.flatnonzero(column < 0)
        else:
            column = numbers(values, node.name, "a numeric baseline covariate", who)
            empty = np.flatnonzero(np.isnan(column))
        if empty.size and node.missing is None:
            raise DataError(
                f"Column {node.name!r}: the baseline covariate is missing ({who(empty)}); enter it, declare it as Baseline({node.name!r}, "
                "missing='model'), which draws what is missing from a model of it, or leave these patients or the covariate out."
            )
        return column
    if (levels := labels_of(node)) is not None:
        found = codes(values, node.name, levels, "level", who)
        return np.where(found == NOT_YET, np.nan, found)
    column = numbers(values, node.name, "this response", who)
    if node.family is None:
        return column
    bad, allowed = node.family.impossible(column)
    if (wrong := np.flatnonzero(bad & ~np.isnan(column))).size:
        value = column[wrong[0]]
        raise DataError(
            f"Column {node.name!r}: {value:g} is not a value of a {node.family.name} response "
            f"({who(wrong[column[wrong] == value])}); allowed: {allowed}."
        )
    return column


def _audited(study: Study, view: nw.DataFrame, who: Who) -> dict[str, np.ndarray]:
    """Columns for the audit only, numbers or codes, shape (n,); NaN where they are not known, which stops nothing."""
    found = {}
    for b in study.audited:
        values = cells(view, b.name)
        if b.levels is None:
            column = numbers(values, b.name, "a numeric baseline covariate", who)
        else:
            column = codes(values, b.name, b.levels, "level", who).astype(float)
            column[column == NOT_YET] = np.nan
        found[variable(b.name, SENSITIVE)] = column
    return found


def _extras(study: Study, view: nw.DataFrame, columns: Mapping[str, np.ndarray], who: Who, *, optional: bool = False) -> dict[str, np.ndarray]:
    """Further columns of the responses, one number per patient; the value for a patient to come where the response is not observed.

    An optional column that is absent is left out: every patient then has the value of a patient to come.

    Raises
    ------
    DataError
        Where one is absent, missing for an observed response, or impossible.
    """
    result = {}
    for response in study.responses:
        for role, name, default in response.columns:
            if optional and name not in view.columns:
                continue
            need(view, [name], f"{role} of response {response.name!r}")
            assert response.family is not None
            empty = response.family.empty_extra(role)
            column = numbers(cells(view, name), name, f"the {role} of {response.name!r}", who, infinite=empty is not None)
            column = column if empty is None else np.where(np.isnan(column), empty, column)
            observed = ~np.isnan(columns[response.name])
            if (lost := np.flatnonzero(observed & np.isnan(column))).size:
                raise DataError(f"Column {name!r}: the {role} of {response.name!r} is missing ({who(lost)}); the response is observed: enter it.")
            bad, allowed = response.family.impossible_extra(role, column, columns[response.name])
            if (wrong := np.flatnonzero(observed & bad)).size:
                raise DataError(
                    f"Column {name!r}: {column[wrong[0]]:g} cannot be the {role} of {response.name!r} = {columns[response.name][wrong[0]]:g} "
                    f"({who(wrong)}); allowed: {allowed}."
                )
            result[variable(response.name, role)] = np.where(observed, column, default)
    return result


