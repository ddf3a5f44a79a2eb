"""Along the timeline: what must be there is there, what could not be chosen was not chosen, what was no choice is filled in."""

from collections.abc import Mapping

import narwhals as nw
import numpy as np

from ..errors import DataError, listing
from ..schema import NOT_YET
from ..study import Baseline, Condition, Decision, Response, Study
from ..study.timeline import Node, shown
from .columns import Who, cells, numbers

Columns = Mapping[str, np.ndarray]


def seen(column: np.ndarray) -> np.ndarray:
    """Whether each entry is observed: a code that is not NOT_YET, or a number that is not NaN."""
    return column != NOT_YET if column.dtype.kind == "i" else ~np.isnan(column)


def later_observed(study: Study, columns: Columns) -> dict[str, np.ndarray]:
    """For each variable, whether something after it is observed; arrays of bool, shape (n,)."""
    result, running = {}, np.zeros(len(columns[study.names[0]]), dtype=bool)
    for name in reversed(study.names):
        result[name] = running
        running = running | seen(columns[name])
    return result


def gaps(study: Study, columns: Columns) -> dict[str, np.ndarray]:
    """Where a value is missing that the study lets be drawn from its model.

    Returns
    -------
    dict of str to array of bool, shape (n,)
        For each variable declared with ``missing=`` that lacks a value: a covariate that is not observed, a
        response that is not although something later is.
    """
    later, found = later_observed(study, columns), {}
    for node in study.timeline:
        if isinstance(node, Baseline) and node.missing is not None:
            found[node.name] = ~seen(columns[node.name])
        elif isinstance(node, Response) and node.missing == "model":
            found[node.name] = ~seen(columns[node.name]) & later[node.name]
    return {name: lost for name, lost in found.items() if lost.any()}


def walk(
    study: Study, columns: Columns, view: nw.DataFrame, who: Who, censored: Columns
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], tuple[str, ...]]:
    """Check each patient's history in time order; what may be missing counts as known without its value.

    Parameters
    ----------
    study : Study
    columns : mapping of str to array, shape (n,)
        Numbers and codes as read.
    view : narwhals.DataFrame
        Where probability columns are found; one that is absent gives NaN.
    who : Who
    censored : mapping of str to array of bool, shape (n,)
        By response; nothing may be observed after a censored time.

    Returns
    -------
    columns : dict of str to array, shape (n,)
        With the decisions that left a single option filled in where something later is observed.
    assignment : dict of str to array of float, shape (n,)
        Probability of the option received, per decision.
    notes : tuple of str
        What was filled in.

    Raises
    ------
    DataError
    """
    columns = dict(columns)
    later = later_observed(study, columns)
    bridged = gaps(study, columns)
    nowhere = np.zeros(len(who.labels), dtype=bool)
    complete = ~nowhere  # everything so far is observed, or may be missing
    assignment, notes = {}, []
    for node in study.timeline:
        admitted = bridged.get(node.name, nowhere)
        if isinstance(node, Decision):
            blank = np.any([nowhere, *(bridged[v] for c, _ in node.choices for v in c.variables if v in bridged)], axis=0)
            feasible = _feasible(study, node, columns, complete & ~blank, who)
            feasible[complete & blank] = _possible(study, node, columns, bridged)[complete & blank]
            filled = _fill(node, columns, feasible, later[node.name])
            if filled:
                entries = "entry was" if filled == 1 else "entries were"
                notes.append(f"{node.name!r}: {filled} empty {entries} filled in with the only feasible option.")
            _check_choice(study, node, columns, feasible, later[node.name], who)
            assignment[node.name] = _assignment(node, columns[node.name], feasible, blank, view, who)
        else:
            _check_order(study, node, columns, later[node.name], admitted, censored.get(node.name, nowhere), who)
        complete &= (seen(columns[node.name]) | admitted) & ~censored.get(node.name, nowhere)
    return columns, assignment, tuple(notes)


def _check_order(
    study: Study, node: Node, columns: Columns, later: np.ndarray, admitted: np.ndarray, censored: np.ndarray, who: Who
) -> None:
    """Raise where something follows a censored time, or a response that is missing and may not be."""
    here = seen(columns[node.name])
    if (ended := np.flatnonzero(here & censored & later)).size:
        raise DataError(
            f"Column {node.name!r}: the time {columns[node.name][ended[0]]:g} is censored ({who(ended)}) although "
            f"{_next_seen(study, node.name, columns, ended[0])!r}, which comes later, is observed; nothing can follow a censored time: "
            "correct the event, or declare what is known anyway before the time."
        )
    if isinstance(node, Response) and (lost := np.flatnonzero(later & ~(here | admitted))).size:
        raise DataError(
            f"Column {node.name!r}: the response is missing ({who(lost)}) although {_next_seen(study, node.name, columns, lost[0])!r}, "
            "which comes later, is observed; enter it, declare the response with missing='model', which draws it from its model, or leave these "
            "patients out."
        )


def _next_seen(study: Study, name: str, columns: Columns, row: int) -> str:
    return next(n for n in study.names[study.names.index(name) + 1 :] if seen(columns[n])[row])


def _feasible(study: Study, decision: Decision, columns: Columns, complete: np.ndarray, who: Who) -> np.ndarray:
    """Feasible options, shape (n, options); none where the history before the decision is not complete."""
    rows = np.flatnonzero(complete)
    result = np.zeros((len(complete), len(decision.options)), dtype=bool)
    if not rows.size:
        return result
    history = {name: column[rows] for name, column in columns.items()}
    stratum = study.stratum(decision.name, history)
    for code, problem in ((-1, "none of its conditions holds"), (-2, "more than one of its conditions holds")):
        if (bad := rows[stratum == code]).size:
            names = dict.fromkeys(name for condition, _ in decision.choices for name in condition.variables)
            values = ", ".join(f"{name} = {_shown(study, name, float(columns[name][bad[0]]))}" for name in names)
            raise DataError(
                f"Decision {decision.name!r}: {problem} for {values} ({who(bad)}); conditions: "
                f"{'; '.join(str(c) for c, _ in decision.choices)}. They must be disjoint and cover every history."
            )
    result[rows] = study.feasible(decision.name, history)
    return result


def _possible(study: Study, decision: Decision, columns: Columns, bridged: Columns) -> np.ndarray:
    """Options that some values of what is missing would make feasible, shape (n, options)."""
    result = np.zeros((len(columns[decision.name]), len(decision.options)), dtype=bool)
    for condition, options in decision.choices:
        met = np.ones(len(result), dtype=bool)
        for name, test in condition.tests:
            met &= bridged.get(name, False) | Condition(((name, test),)).mask(columns, study.code)
        result |= met[:, None] & np.isin(decision.options, options)
    return result


def _shown(study: Study, name: str, value: float) -> str:
    return shown(study[name], value)


def _fill(decision: Decision, columns: dict[str, np.ndarray], feasible: np.ndarray, later: np.ndarray) -> int:
    """Fill in the option that was no choice, where life went on; the last decision of a history stays open, it is due."""
    fill = (feasible.sum(axis=1) == 1) & ~seen(columns[decision.name]) & later
    if fill.any():
        columns[decision.name] = np.where(fill, feasible.argmax(axis=1), columns[decision.name])
    return int(fill.sum())


def _check_choice(study: Study, decision: Decision, columns: Columns, feasible: np.ndarray, later: np.ndarray, who: Who) -> None:
    """Raise for a decision that is missing where it was due, and for an option that was not feasible."""
    column, name = columns[decision.name], decision.name
    made = seen(column)

    def offered(row: int) -> str:
        return listing(o for o, there in zip(decision.options, feasible[row], strict=True) if there)

    if (lost := np.flatnonzero(~made & later)).size:
        if not feasible[lost[0]].any():
            raise DataError(
                f"Decision {name!r}: the course ends {_where(study, decision, columns, lost[0])} ({who(lost)}), although "
                f"{_next_seen(study, name, columns, lost[0])!r}, which comes later, is observed; leave it empty, or correct the history."
            )
        raise DataError(
            f"Column {name!r}: the decision is missing ({who(lost)}) although {_next_seen(study, name, columns, lost[0])!r}, "
            f"which comes later, is observed; enter the option received, one of {offered(lost[0])}."
        )
    rows = np.flatnonzero(made)
    wrong = rows[~feasible[rows, column[rows]]]
    if wrong.size:
        first = wrong[0]
        same = wrong[(column[wrong] == column[first]) & (feasible[wrong] == feasible[first]).all(axis=1)]
        if not feasible[first].any():
            raise DataError(
                f"Column {name!r}: the course ends {_where(study, decision, columns, first)} ({who(same)}), so no option can be received, "
                f"got {decision.options[column[first]]!r}; leave it empty, or correct the history."
            )
        index = int(study.stratum(name, {n: c[[first]] for n, c in columns.items()})[0])
        condition = decision.choices[index][0]
        where = f" under {condition}" if index >= 0 and condition.tests else ""  # none is known to hold where a value is missing
        raise DataError(
            f"Column {name!r}: {decision.options[column[first]]!r} is not feasible{where} ({who(same)}); "
            f"feasible there: {offered(first)}. Correct the data or the options of decision {name!r}."
        )


def _where(study: Study, decision: Decision, columns: Columns, row: int) -> str:
    """Under which of a decision's conditions a patient falls, in words; before it where the history is censored or not complete."""
    known = {n.name: columns[n.name][[row]] for n in study.before(decision.name)}
    index = int(study.stratum(decision.name, known)[0]) if all(seen(c).all() for c in known.values()) else -1
    return f"under {decision.choices[index][0]}" if index >= 0 else "before it"


def _assignment(
    decision: Decision, column: np.ndarray, feasible: np.ndarray, blank: np.ndarray, view: nw.DataFrame, who: Who
) -> np.ndarray:
    """Probability of the option received, shape (n,); NaN where it depends on a value that is missing (`blank`)."""
    result = np.full(len(column), np.nan)
    made = seen(column)
    single = feasible.sum(axis=1) == 1
    result[made & single] = 1.0
    chosen = made & ~single
    if decision.assigned == "observed":
        return result
    if isinstance(decision.probability, str):
        if decision.probability not in view.columns:
            return result
        given = numbers(cells(view, decision.probability), decision.probability, "a column of probabilities", who)
        wrong = np.flatnonzero(chosen & ~((given > 0) & (given <= 1)))  # NaN is wrong too
        if wrong.size:
            value = given[wrong[0]]
            problem = "the probability is missing" if np.isnan(value) else f"{value:g} is no probability"
            raise DataError(
                f"Column {decision.probability!r}: {problem} ({who(wrong)}); "
                f"it holds the probability with which the option received at {decision.name!r} was assigned, above 0 and at most 1."
            )
        result[chosen] = given[chosen]
        return result
    for options in decision.sets:
        table = decision.randomization(options)
        assert table is not None
        here = chosen & ~blank & (feasible == np.isin(decision.options, options)).all(axis=1)
        by_code = np.array([table.get(o, np.nan) for o in decision.options])
        result[here] = by_code[column[here]]
    return result


def about_gaps(study: Study, columns: Columns, who: Who) -> tuple[str, ...]:
    """One sentence per variable of which values are missing and drawn from a model, and one on where these patients are not counted.

    Raises
    ------
    DataError
        For a variable that is observed for nobody.
    """
    bridged, notes = gaps(study, columns), []
    for name, lost in bridged.items():
        if not seen(columns[name]).any():
            raise DataError(f"Column {name!r}: missing for all {len(lost)} patients; a model of it needs some values. Leave it out of the study.")
        where = np.flatnonzero(lost)
        notes.append(
            f"{name!r}: missing for {where.size} of {len(lost)} patients ({who(where)}); drawn from its model with every posterior draw, "
            "given all else that is recorded of them; assumed missing at random."
        )
    if bridged:
        notes.append("Counts by cell, and cells described by patients, leave out those of whom a value needed there is missing; values of regimes "
                     "do not.")
    unknown = [d for d in study.decisions if any(v in bridged for c, _ in d.choices for v in c.variables)]
    if told := [d.name for d in unknown if d.assigned == "observed" or isinstance(d.probability, str)]:
        notes.append(
            f"{', '.join(map(repr, told))}: whom an option was open to depends on a missing value and the probabilities are not declared; "
            "the option received tells only which values are possible."
        )
    return tuple(notes)


def still_on_study(study: Study, columns: Columns, censored: Columns) -> tuple[str, ...]:
    """Sentences about the patients whose history is not at its end yet, and about those whose course ended before a decision."""
    waiting: dict[str, int] = {}
    notes, bridged = [], gaps(study, columns)
    open_ = np.ones(len(columns[study.names[0]]), dtype=bool)
    for node in study.timeline:
        if isinstance(node, Decision) and (ended := exits(study, node, columns, open_)).any():
            count = int(ended.sum())
            notes.append(f"The course of {count} patient{'' if count == 1 else 's'} ended before decision {node.name!r}.")
            open_ &= ~ended
        here = open_ & ~seen(columns[node.name]) & ~bridged.get(node.name, np.zeros_like(open_))
        if here.any():
            waiting[f"{'decision' if isinstance(node, Decision) else 'response'} {node.name!r}"] = int(here.sum())
        open_ &= ~here & ~censored.get(node.name, np.zeros(1, dtype=bool))
    if waiting:
        total = sum(waiting.values())
        parts = ", ".join(f"{count} before {what}" for what, count in waiting.items())
        notes.append(f"{total} patient{' has' if total == 1 else 's have'} not been followed to the end: {parts}.")
        notes.append(
            f"{'This patient counts' if total == 1 else 'These patients count'} with what was observed; what was not is taken to be missing at "
            "random given that, whether it is still to come, was not measured, or the patient left."
        )
    return tuple(notes)


def exits(study: Study, decision: Decision, columns: Columns, complete: np.ndarray) -> np.ndarray:
    """Whether a complete history leaves no option at a decision, so that the course ended, array of bool ``(n,)``."""
    result = np.zeros(len(complete), dtype=bool)
    rows = np.flatnonzero(complete)
    if rows.size and any(not options for _, options in decision.choices):
        history = {n.name: columns[n.name][rows] for n in study.before(decision.name)}
        known = study.stratum(decision.name, history) >= 0  # a value that is missing leaves open whether the course ended
        result[rows] = known & ~study.feasible(decision.name, history).any(axis=1)
    return result
