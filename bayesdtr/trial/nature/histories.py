"""The histories that can arise before a response, enumerated or represented, and look-ups over them."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import StudyError, TrialError, did_you_mean, listing
from ...study import Study
from ...study.conditions import Condition, check_condition, representatives
from ...study.partition import tests_of
from ...study.timeline import Decision, Node, code_of, finite_values, labels_of, shown
from .functions import Function
from .laws import Cells, Form

LARGEST_TABLE = 20_000
LARGEST_GRID = 200_000

Columns = Mapping[str, np.ndarray]


def grid(study: Study, response: str, conditions: list[Condition],
         swaps: Mapping[str, np.ndarray]) -> tuple[tuple[Node, ...], dict[str, np.ndarray]] | None:
    """Histories before a response, by the codes of finite variables and by representatives of what conditions tell apart of the others.

    Parameters
    ----------
    study : Study
    response : str
    conditions : list of Condition
    swaps : mapping of decision to array of bool, shape (option, option)
        Which options patients assigned to one can end up with.

    Returns
    -------
    nodes, columns : tuple of Node, dict of array of shape (n,)
        Only histories that can arise; None where there would be too many.
    """
    nodes = study.before(response)
    choices = [c for d in nodes if isinstance(d, Decision) for c, _ in d.choices]
    tests = tests_of([*choices, *conditions])
    values = [[code_of(n, v) for v in finite] if (finite := finite_values(n)) is not None else representatives(tests.get(n.name, [])) for n in nodes]
    if np.prod([len(v) for v in values], dtype=float) > LARGEST_GRID:
        return None
    table = np.array(list(itertools.product(*values)), dtype=float).reshape(-1, len(nodes))
    columns = {n.name: table[:, j] for j, n in enumerate(nodes)}
    possible = np.ones(len(table), dtype=bool)
    for n in nodes:
        if isinstance(n, Decision):
            feasible = study.feasible(n.name, columns)
            if n.name in swaps:
                feasible = (feasible[:, :, None] & swaps[n.name][None]).any(axis=1)
            possible &= feasible[np.arange(len(table)), columns[n.name].astype(int)]
    return nodes, {name: c[possible] for name, c in columns.items()}


@dataclass(frozen=True, eq=False)
class Lookup:
    """A number, or one for each level, for each history: a constant, an array indexed by codes, conditions, or a function.

    Attributes
    ----------
    study, response : Study, str
    names, sizes : tuple of str, tuple of int
        Finite variables that the array is indexed by.
    values : array, shape (prod(sizes), ...), or None
    conditions : tuple of Condition
        Where there is no array: rows of `values` go with them.
    function : Function or None
    what : str
        In messages.
    """

    study: Study
    response: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: np.ndarray | None
    conditions: tuple[Condition, ...]
    function: Function | None
    what: str

    @cached_property
    def holes(self) -> bool:
        """Whether the array has cells of histories that cannot arise."""
        return self.values is not None and bool(np.isnan(self.values).any())

    def at(self, columns: Columns, rows: int) -> np.ndarray:
        """Values for histories, shape (m, ...).

        Parameters
        ----------
        columns : mapping of str to array, shape (m,)
        rows : int
            `m`.
        """
        if self.function is not None:
            return called(self.function, self.study, self.response, columns, rows, self.what)
        assert self.values is not None
        if self.conditions:
            masks = np.stack([c.mask({n: np.asarray(columns[n]) for n in c.variables}, self.study.code) for c in self.conditions])
            if rows and not masks.any(axis=0).all():
                raise TrialError(f"{self.what}: no condition holds for a history that arose.")
            return self.values[masks.argmax(axis=0)]
        if not self.names:
            return np.broadcast_to(self.values[0], (rows, *self.values.shape[1:]))
        index = np.asarray(columns[self.names[0]]).astype(np.intp)
        for name, size in zip(self.names[1:], self.sizes[1:], strict=True):
            index = index * size + np.asarray(columns[name]).astype(np.intp)
        found = self.values[index]
        if self.holes and np.isnan(found).any():
            raise TrialError(f"{self.what}: a history arose that was not expected to; this is an error of the program.")
        return found


def called(function: Function, study: Study, response: str, columns: Columns, rows: int, what: str) -> np.ndarray:
    """A user's function on histories, its answer checked for shape and finiteness."""
    try:
        given = function.answers(study, response, columns)
    except KeyError as error:
        known = [n.name for n in study.before(response)]
        raise TrialError(f"{what}: the function {function} looks up {error.args[0]!r}; before {response!r} are known {listing(known)}"
                         f"{did_you_mean(error.args[0], known)}") from error
    node = study[response]
    levels = labels_of(node)
    shape = (rows,) if levels is None else (rows, len(levels))
    found = np.asarray(given, dtype=float)
    try:
        found = np.broadcast_to(found, shape)
    except ValueError:
        raise TrialError(f"{what}: the function {function} must return an array of shape {shape}, got {found.shape}.") from None
    if not np.isfinite(found).all():
        raise TrialError(f"{what}: the function {function} returned numbers that are not finite.")
    return found


def compiled(study: Study, response: str, form: Form, swaps: Mapping[str, np.ndarray], *, levels: bool, what: str) -> Lookup:
    """A form bound to a study; raises `TrialError` where it does not fit.

    Parameters
    ----------
    study : Study
    response : str
    form : float, Cells or Function
    swaps : mapping
        As for :func:`grid`.
    levels : bool
        Whether the form gives a probability for each of the response's levels.
    what : str
        In messages.
    """
    make = lambda names, sizes, values, conditions=(), function=None: Lookup(  # noqa: E731
        study, response, names, sizes, values, conditions, function, what)
    labels = labels_of(study[response]) if levels else None
    latest = next(n for n in reversed(study.before(response)) if isinstance(n, Decision))
    if isinstance(form, Function):
        form.check(study, response, what)
        return _of_function(study, response, form, swaps, make, what)
    if isinstance(form, float):
        if labels:
            raise TrialError(f"{what}: give a probability for each level ({listing(labels)}), got the number {form:g}.")
        return make((), (), np.array([form]))
    keys = [k for k, _ in form.rows]
    if all(isinstance(k, Condition) for k in keys):
        return _of_conditions(study, response, form, swaps, make, labels, what)
    if any(isinstance(k, Condition) for k in keys):
        raise TrialError(f"{what}: the keys are options or conditions, not both.")
    if labels and not any(isinstance(v, Cells) for _, v in form.rows):
        return make((), (), _levels(form, labels, what)[None])
    for k in keys:
        if k not in latest.options:
            raise TrialError(f"{what} names {k!r}, which is no option of {latest.name!r}, the decision before it; options: {listing(latest.options)}"
                             f"{did_you_mean(k, latest.options)}")
    if lacking := [o for o in latest.options if o not in keys]:
        raise TrialError(f"{what} lacks {listing(lacking)}; give a number for every option of {latest.name!r}.")
    table = dict(form.rows)
    values = np.array([_value(table[o], labels, f"{what}, {o}") for o in latest.options])
    return make((latest.name,), (len(values),), values)


def _value(given: Any, labels: tuple[str, ...] | None, what: str) -> Any:
    if labels:
        return _levels(given, labels, what)
    if isinstance(given, Cells):
        raise TrialError(f"{what}: one number is wanted here, got a mapping ({given}).")
    return given


def _levels(given: Any, labels: tuple[str, ...], what: str) -> np.ndarray:
    if not isinstance(given, Cells):
        raise TrialError(f"{what}: give a probability for each level ({listing(labels)}), got {given!r}.")
    table = dict(given.rows)
    for k in table:
        if k not in labels:
            raise TrialError(f"{what} names {k!r}; levels: {listing(labels)}{did_you_mean(k, labels)}")
    if lacking := [v for v in labels if v not in table]:
        raise TrialError(f"{what} lacks {listing(lacking)}; give a probability for every level.")
    return np.array([table[v] for v in labels])


def _of_conditions(study: Study, response: str, form: Cells, swaps: Mapping[str, np.ndarray], make: Any, labels: Any, what: str) -> Lookup:
    conditions = [k for k, _ in form.rows]
    finite = {n.name: finite_values(n) for n in study.before(response)}
    for condition in conditions:
        try:
            check_condition(condition, finite, what)
        except StudyError as error:
            raise TrialError(str(error)) from None
    values = np.array([_value(v, labels, f"{what}, {k}") for k, v in form.rows])
    found = grid(study, response, conditions, swaps)
    if found is None:
        raise TrialError(f"{what}: the histories before {response!r} are too many to check conditions on; write a function of the history.")
    nodes, columns = found
    met = np.stack([c.mask(columns, study.code) for c in conditions])
    count = met.sum(axis=0)
    for wrong, problem in ((count == 0, "no condition holds"), (count > 1, "more than one condition holds")):
        if (bad := np.flatnonzero(wrong)).size:
            example = ", ".join(f"{n.name} = {shown(n, columns[n.name][bad[0]])}" for n in nodes)
            raise TrialError(f"{what}: {problem} for {example}; the conditions must be disjoint and cover every history that can arise.")
    used = tuple(n.name for n in nodes if n.name in tests_of(conditions))
    if all(finite[n] is not None for n in used):
        sizes = tuple(len(finite[n]) for n in used)
        table = np.full((int(np.prod(sizes)), *values.shape[1:]), np.nan)
        table[_index(columns, used, sizes)] = values[met.argmax(axis=0)]
        return make(used, sizes, table)
    return make((), (), values, tuple(conditions))


def _of_function(study: Study, response: str, form: Function, swaps: Mapping[str, np.ndarray], make: Any, what: str) -> Lookup:
    nodes = study.before(response)
    values = [finite_values(n) for n in nodes]
    if any(v is None for v in values) or (entries := int(np.prod([len(v or ()) for v in values], dtype=float))) > LARGEST_TABLE:
        return make((), (), None, (), form)
    found = grid(study, response, [], swaps)
    assert found is not None  # for the table is larger than the grid
    columns = found[1]
    answers = called(form, study, response, columns, len(columns[nodes[0].name]), what)
    names, sizes = tuple(n.name for n in nodes), tuple(len(v or ()) for v in values)
    table = np.full((entries, *answers.shape[1:]), np.nan)
    table[_index(columns, names, sizes)] = answers
    return make(names, sizes, table)


def _index(columns: Columns, names: tuple[str, ...], sizes: tuple[int, ...]) -> np.ndarray:
    index = np.zeros(len(next(iter(columns.values()))), dtype=np.intp)
    for name, size in zip(names, sizes, strict=True):
        index = index * size + columns[name].astype(np.intp)
    return index
