"""Utility: what the decisions are meant to achieve, in terms of responses. Larger is better."""

import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .attitude import Attitude
from .conditions import Level
from .lifetime import LifeUtility
from .survival import Survival
from .timeline import code_of, finite_values, labels_of

if TYPE_CHECKING:
    from .study import Study


def _real(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise StudyError(f"Utility: {what} must be a finite number, got {value!r}.")
    return float(value)


def _plain(value: Any) -> Level:
    return int(value) if isinstance(value, (bool, np.integer)) else value


@dataclass(frozen=True)
class Table:
    """A number for every value of one finite-valued response, or for every combination of several.

    Attributes
    ----------
    names : tuple of str
        Responses.
    rows : tuple of (values, number)
        One row per combination, values in the order of `names`.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[tuple[Level, ...], float], ...]

    @classmethod
    def of(cls, key: str | Sequence[str], table: Mapping[Any, Any]) -> "Table":
        """From what a user types: ``{level: number}`` or ``{(level, level): number}``."""
        names = (key,) if isinstance(key, str) else tuple(key)
        rows = []
        for values, number in table.items():
            levels = values if isinstance(values, tuple) else (values,)
            if len(levels) != len(names):
                raise StudyError(f"Utility: each row of the table of {', '.join(names)} has {len(names)} value(s), got {values!r}.")
            rows.append((tuple(map(_plain, levels)), _real(number, f"the number for {', '.join(names)} = {', '.join(map(str, levels))}")))
        return cls(names, tuple(rows))

    def check(self, study: "Study") -> None:
        """Raise unless every response is finite-valued and every combination has one row."""
        lists = []
        for name in self.names:
            values = finite_values(study[name])
            if values is None:
                raise StudyError(f"Utility: {name!r} has no finite list of values, so a table does not apply; give it a weight.")
            lists.append(values)
        wanted, given = set(itertools.product(*lists)), [values for values, _ in self.rows]
        what = f"the table of {', '.join(self.names)}"
        if unknown := [v for v in given if v not in wanted]:
            wrong, known = next((x, lv) for x, lv in zip(unknown[0], lists, strict=True) if x not in lv)
            raise StudyError(f"Utility: {what} names {wrong!r}; allowed: {listing(known, 12)}{did_you_mean(wrong, known)}")
        if lacking := [v for v in itertools.product(*lists) if v not in given]:
            raise StudyError(f"Utility: {what} lacks {', '.join(map(str, lacking[0]))}; give a number for every combination.")

    def check_direction(self, study: "Study", name: str, sign: int) -> None:
        """Raise where the number falls as one response gets better (`sign` -1: as its values or levels go down) and the others stay."""
        place, numbers_of = self.names.index(name), dict(self.rows)
        values = finite_values(study[name]) or ()
        for key, number in self.rows:
            step = values.index(key[place]) + sign
            if 0 <= step < len(values):
                up = (*key[:place], values[step], *key[place + 1 :])
                if numbers_of[up] < number:
                    raise StudyError(
                        f"Utility: the table of {', '.join(self.names)} is not admissible: {', '.join(map(str, up))} is worth "
                        f"{numbers_of[up]:g}, less than {number:g} for {', '.join(map(str, key))}, although {name} is better there."
                    )

    def earned(self, study: "Study", columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The table's number for each history, shape (n,); NaN where a response is not observed."""
        found = np.full(np.shape(columns[self.names[0]]), np.nan)
        for values, number in self.rows:
            met = np.ones(found.shape, dtype=bool)
            for name, value in zip(self.names, values, strict=True):
                met &= columns[name] == code_of(study[name], value)
            found[met] = number
        return found

    def __str__(self) -> str:
        return f"u({', '.join(self.names)}) with " + ", ".join(f"{' and '.join(map(str, v))}: {x:g}" for v, x in self.rows)


def _costs(given: Any) -> tuple[tuple[str, tuple[tuple[str, float], ...]], ...]:
    """Costs of options as they are kept."""
    if given is not None and not isinstance(given, Mapping):
        raise StudyError(f"Utility: costs takes a mapping of decisions to what their options cost, got {given!r}.")
    found = []
    for name, prices in (given or {}).items():
        if not isinstance(prices, Mapping) or not prices:
            raise StudyError(f"Utility: costs of {name!r} takes a mapping of options to numbers, got {prices!r}.")
        found.append((str(name), tuple((str(o), _real(x, f"the cost of {o!r}")) for o, x in prices.items())))
    return tuple(found)


def _better(given: Any) -> tuple[tuple[str, str], ...]:
    """Directions as they are kept."""
    if given is not None and (not isinstance(given, Mapping) or any(v not in ("higher", "lower") for v in given.values())):
        raise StudyError(f"Utility: better takes a mapping of responses to 'higher' or 'lower', got {given!r}.")
    return tuple((str(n), v) for n, v in (given or {}).items())


@dataclass(frozen=True, init=False)
class Utility:
    """What a course of treatment is worth: a sum of weighted responses, of tables and of utilities of times; larger is better.

    Parameters
    ----------
    terms : str or mapping
        One response; or responses with what they are worth: a weight (``{"relief": 1.0, "harm": -0.5}``),
        a number for every value (``{"state": {"well": 1, "ill": 0.4, "dead": 0}}``), or one for every
        combination of several responses (``{("response", "toxicity"): {(0, 0): 40, (0, 1): 0, (1, 0): 100, (1, 1): 60}}``);
        or a utility of times with its weight (``{RestrictedMean(["t1", "t2"], horizon=24): 1.0, "harm": -2.0}``).
    discount : float, default 1.0
        In (0, 1]. A response after decision number k counts ``discount ** (k - 1)`` times its worth;
        a combination counts with its last response, a cost with its decision.
    costs : mapping of decision to mapping of option to float, optional
        What options cost, in units of the utility, from which it is taken off; options not named cost nothing. With costs alone,
        `terms` may be an empty mapping.
    attitude : Exponential, Power or PiecewiseLinear, optional
        Attitude to outcome risk: a course is worth this concave function of its total. Expected utilities and values are then in its
        units; :meth:`Regime.certainty_equivalent` turns them back.
    better : mapping of response to {"higher", "lower"}, optional
        What is good for patients: more efficacy, less toxicity. A weight or a table that rewards the opposite is refused.

    Raises
    ------
    StudyError
        For no response, a weight that is not a finite number other than 0, or a discount outside (0, 1].

    Notes
    -----
    A table is admissible where the number never falls as a response gets better while the others stay as they are (levels in the order
    declared): up in efficacy, down in toxicity.
    """

    weights: tuple[tuple[str, float], ...]
    tables: tuple[Table, ...]
    times: tuple[tuple[LifeUtility, float], ...]
    discount: float
    costs: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    attitude: Attitude | None
    better: tuple[tuple[str, str], ...]

    def __init__(
        self, terms: str | LifeUtility | Mapping[Any, Any], *, discount: float = 1.0, costs: Mapping[str, Mapping[str, float]] | None = None,
        attitude: Attitude | None = None, better: Mapping[str, str] | None = None,
    ):
        pairs = {terms: 1.0} if isinstance(terms, str | LifeUtility) else dict(terms) if isinstance(terms, Mapping) else None
        if pairs is None or not (pairs or costs):
            raise StudyError(f"Utility takes the name of a response or a mapping of names to weights, got {terms!r}.")
        weights, tables, times = [], [], []
        for name, worth in pairs.items():
            if isinstance(worth, Mapping):
                tables.append(Table.of(name, worth))
            elif isinstance(name, tuple):
                raise StudyError(f"Utility: the combination {', '.join(map(str, name))} needs a table of numbers, got {worth!r}.")
            elif isinstance(worth, bool) or not isinstance(worth, numbers.Real) or not math.isfinite(worth) or worth == 0:
                raise StudyError(f"Utility: the weight of {str(name)!r} must be a finite number other than 0, got {worth!r}.")
            elif isinstance(name, LifeUtility):
                times.append((name, float(worth)))
            else:
                weights.append((str(name), float(worth)))
        if isinstance(discount, bool) or not isinstance(discount, numbers.Real) or not 0 < discount <= 1:
            raise StudyError(f"Utility: discount must lie in (0, 1], got {discount!r}.")
        object.__setattr__(self, "weights", tuple(weights))
        object.__setattr__(self, "tables", tuple(tables))
        object.__setattr__(self, "times", tuple(times))
        object.__setattr__(self, "discount", float(discount))
        object.__setattr__(self, "costs", _costs(costs))
        if attitude is not None and not isinstance(attitude, Attitude):
            raise StudyError(f"Utility: attitude is Exponential, Power or PiecewiseLinear, got {attitude!r}.")
        object.__setattr__(self, "attitude", attitude)
        object.__setattr__(self, "better", _better(better))

    def under(self, attitude: Attitude | None) -> "Utility":
        """The same utility with another attitude to outcome risk, or with none."""
        made = object.__new__(type(self))
        for field in self.__dataclass_fields__:
            object.__setattr__(made, field, attitude if field == "attitude" else getattr(self, field))
        return made

    @classmethod
    def of_all(cls, parts: Sequence["Utility"]) -> "Utility":
        """A utility that depends on everything that its parts depend on; its worth has no meaning."""
        made = object.__new__(cls)
        weights = {name: 1.0 for part in parts for name, _ in part.weights}
        for field, value in (("weights", tuple(weights.items())), ("tables", tuple(t for p in parts for t in p.tables)),
                             ("times", tuple(t for p in parts for t in p.times)), ("discount", 1.0), ("costs", ()),
                             ("attitude", None), ("better", ())):
            object.__setattr__(made, field, value)
        return made

    def combined(self, others: Sequence[tuple["Utility", float]], weight: float = 1.0) -> "Utility":
        """The utility times a weight plus others times theirs, all of the same discount and none with an attitude to risk."""
        if any(u.attitude is not None for u in (self, *(u for u, _ in others))):
            raise StudyError("A utility with an attitude to outcome risk is no sum, so that nothing can be added to it; leave attitude= out here.")
        made = object.__new__(type(self))
        parts = [(u, w) for u, w in ((self, weight), *others) if w]
        weights: dict[str, float] = {}
        costs: dict[str, dict[str, float]] = {}
        for u, w in parts:
            for name, x in u.weights:
                weights[name] = weights.get(name, 0.0) + w * x
            for name, prices in u.costs:
                for option, x in prices:
                    costs.setdefault(name, {})[option] = costs.get(name, {}).get(option, 0.0) + w * x
        tables = tuple(Table(t.names, tuple((v, w * x) for v, x in t.rows)) for u, w in parts for t in u.tables)
        times = tuple((life, w * x) for u, w in parts for life, x in u.times)
        kept = (("weights", tuple((n, x) for n, x in weights.items() if x)), ("tables", tables), ("times", times), ("discount", self.discount),
                ("costs", tuple((n, tuple(p.items())) for n, p in costs.items())), ("attitude", None), ("better", ()))
        for field, value in kept:
            object.__setattr__(made, field, value)
        return made

    @property
    def names(self) -> tuple[str, ...]:
        """The responses that it depends on."""
        by_table = [name for table in self.tables for name in table.names]
        return tuple(dict.fromkeys([name for name, _ in self.weights] + by_table + [name for life, _ in self.times for name in life.names]))

    def check(self, study: "Study") -> None:
        """Raise for a response that the study does not have or that cannot enter as it does."""
        for life, _ in self.times:
            life.check(study)
        names = [r.name for r in study.responses]
        for name in self.names:
            if name not in names:
                raise StudyError(f"Utility names {name!r}; responses: {listing(names)}{did_you_mean(name, names)}")
        for name, _ in self.weights:
            if isinstance(getattr(study[name], "family", None), Survival):
                raise StudyError(
                    f"Utility: the mean of the time {name!r} rests on a future that nobody was followed through; "
                    f"use RestrictedMean([{name!r}], horizon=...), SurvivalAt or QualityAdjusted."
                )
            if (labels := labels_of(study[name])) is not None:
                example = ", ".join(f"{label!r}: {i}" for i, label in enumerate(labels[:3]))
                raise StudyError(f"Utility: {name!r} has labels, not numbers; say what each is worth: {{{name!r}: {{{example}, ...}}}}.")
        for table in self.tables:
            table.check(study)
        self._check_better(study)
        if self.attitude is not None:
            self.attitude.check(study._with(utility=self))
        decisions = {d.name: d.options for d in study.decisions}
        for name, prices in self.costs:
            if name not in decisions:
                raise StudyError(f"Utility: costs names {name!r}; decisions: {listing(decisions)}{did_you_mean(name, decisions)}")
            for option, _ in prices:
                if option not in decisions[name]:
                    allowed = f"options: {listing(decisions[name])}{did_you_mean(option, decisions[name])}"
                    raise StudyError(f"Utility: costs of {name!r} names {option!r}; {allowed}")

    def _check_better(self, study: "Study") -> None:
        """Raise where a weight or a table rewards what is declared as worse."""
        for name, direction in self.better:
            if name not in self.names:
                raise StudyError(f"Utility: better names {name!r}, which the utility does not weigh; it weighs {listing(self.names) or 'nothing'}"
                                 f"{did_you_mean(name, self.names)}")
            sign, worse = (1, "lower") if direction == "higher" else (-1, "higher")
            if dict(self.weights).get(name, 0.0) * sign < 0:
                raise StudyError(f"Utility: the weight of {name!r} is {dict(self.weights)[name]:g}, which rewards {worse} {name}, while better= says "
                                 f"that {direction} is better.")
            for table in self.tables:
                if name in table.names:
                    table.check_direction(study, name, sign)

    def __str__(self) -> str:
        def term(name: str, weight: float) -> str:
            return name if weight == 1 else f"-{name}" if weight == -1 else f"{weight:g} {name}"

        total = " + ".join([term(str(name), w) for name, w in (*self.weights, *self.times)] + [str(t) for t in self.tables]).replace("+ -", "- ")
        for name, prices in self.costs:
            total += f" - cost({name}) with " + ", ".join(f"{option}: {x:g}" for option, x in prices)
        total = total if self.discount == 1 else f"{total}, discounted by {self.discount:g} per decision"
        return total if self.attitude is None else f"{self.attitude} of the total of {total}"
