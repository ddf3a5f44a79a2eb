"""Regimes as declarations: a rule written by a person, and the embedded regimes of a study, enumerated."""

import itertools
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .conditions import ALWAYS, Condition, Equals, OneOf, Test, check_condition
from .lottery import Lottery
from .partition import check_rules
from .sensitive import refuse_sensitive
from .timeline import Decision, Options, Response, finite_values

if TYPE_CHECKING:
    from .study import History, Study

LARGEST_ENUMERATION = 4096

AS_ASSIGNED = "as assigned"
"""Names, in place of a written regime, what the study's own randomization does."""

Branch = tuple[Condition, str | Lottery]


@dataclass(frozen=True)
class Rules:
    """A rule per decision: the first condition that holds names the option, or the lottery among options.

    Where a history leaves a single feasible option, that option is taken whatever the rule says; where it leaves none, none is.
    """

    decisions: tuple[tuple[str, tuple[Branch, ...]], ...]

    def option(self, study: "Study", decision: str, history: "History") -> np.ndarray:
        """Codes of the options chosen, shape (n,); -1 where no branch applies or the course has ended.

        Parameters
        ----------
        study : Study
        decision : str
        history : mapping of str to array, shape (n,)

        Raises
        ------
        StudyError
            Where a lottery draws the option; :meth:`chances` has its probabilities.
        """
        feasible = study.feasible(decision, history)
        chosen = np.full(len(feasible), -1)
        for condition, option in reversed(dict(self.decisions).get(decision, ())):
            if isinstance(option, Lottery):
                raise StudyError(f"At decision {decision!r} this regime draws a lottery ({option}), so it names no single option.")
            chosen[condition.mask(history, study.code)] = int(study.code(decision, option))
        count = feasible.sum(axis=1)
        return np.where(count == 1, feasible.argmax(axis=1), np.where(count == 0, -1, chosen))

    def chances(self, study: "Study", decision: str, history: "History") -> np.ndarray:
        """Probability of each option, shape (n, option): 0 and 1 where no lottery is drawn; all 0 where no branch applies or the course has ended.

        Parameters
        ----------
        study : Study
        decision : str
        history : mapping of str to array, shape (n,)
        """
        feasible = study.feasible(decision, history)
        node = study[decision]
        assert isinstance(node, Decision)
        drawn = np.zeros(feasible.shape)
        for condition, option in reversed(dict(self.decisions).get(decision, ())):
            row = option.among(node.options) if isinstance(option, Lottery) else np.array([float(o == option) for o in node.options])
            drawn[condition.mask(history, study.code)] = row
        return np.where(feasible.sum(axis=1, keepdims=True) <= 1, feasible.astype(float), drawn)

    @property
    def stochastic(self) -> bool:
        """Whether an option is drawn by a lottery anywhere."""
        return any(isinstance(option, Lottery) for _, branches in self.decisions for _, option in branches)

    @property
    def by_decision(self) -> dict[str, dict[Condition, str | Lottery]]:
        """As it is written: decisions with their conditions and options."""
        return {name: dict(branches) for name, branches in self.decisions if branches}

    @property
    def label(self) -> str:
        """One line: ``therapy; stay if improved = 0, switch if improved = 1``."""
        return "; ".join(_branches(branches) for _, branches in self.decisions if branches)

    def lines(self) -> list[str]:
        """One readable line per decision and branch."""
        return [
            f"{name}: {option}" if len(branches) == 1 and condition == ALWAYS
            else f"{name}: otherwise, {option}" if condition == ALWAYS else f"{name}: if {condition}, {option}"
            for name, branches in self.decisions
            for condition, option in branches
        ]

    def __str__(self) -> str:
        return self.label


def _branches(branches: tuple[Branch, ...]) -> str:
    rest = " otherwise" if len(branches) > 1 else ""
    return ", ".join(f"{option}{rest}" if condition == ALWAYS else f"{option} if {condition}" for condition, option in branches)


def written(study: "Study", choices: Mapping[str, Any] | str, what: str = "regime") -> Rules:
    """Turn a mapping of decisions to options (or to conditions with options) into checked rules.

    The first condition that holds counts; the last may be `otherwise`. An option may be a :class:`Lottery`; the text
    "as assigned" stands for :func:`as_assigned`.

    Raises
    ------
    StudyError
        For an unknown decision, option or variable, a decision left out that offers a choice, or a
        history for which no feasible option is named.
    """
    if choices == AS_ASSIGNED:
        return as_assigned(study)
    if not isinstance(choices, Mapping):
        hint = did_you_mean(choices, [AS_ASSIGNED]) if isinstance(choices, str) else ""
        raise StudyError(f"{what}: a regime is a mapping of decisions to options, or {AS_ASSIGNED!r}, got {reprlib.repr(choices)}{hint or '.'}")
    names = [d.name for d in study.decisions]
    for name in choices:
        if name not in names:
            raise StudyError(f"{what}: no decision {name!r}; decisions: {listing(names)}{did_you_mean(name, names)}")
    result = []
    for decision in study.decisions:
        if decision.name not in choices:
            if all(len(s) <= 1 for s in decision.sets):
                continue
            raise StudyError(f"{what}: decision {decision.name!r} is missing; options: {listing(decision.options)}.")
        value = choices[decision.name]
        table = {ALWAYS: value} if isinstance(value, str | Lottery) else value
        if not isinstance(table, Mapping) or not table:
            raise StudyError(f"{what}: {decision.name!r} takes an option or a mapping of conditions to options, got {value!r}.")
        if ALWAYS in list(table)[:-1]:
            raise StudyError(f"{what}: at {decision.name!r} nothing after `otherwise` can apply; write it last.")
        for condition, option in table.items():
            if not isinstance(condition, Condition):
                raise StudyError(f"{what}: the keys for {decision.name!r} are conditions such as when(improved=0), got {condition!r}.")
            refuse_sensitive(study, condition.variables, f"{what}, {decision.name!r}: a condition")
            check_condition(condition, {n.name: finite_values(n) for n in study.before(decision.name)}, f"{what}, {decision.name!r}")
            for name in option.options if isinstance(option, Lottery) else (option,):
                if name not in decision.options:
                    raise StudyError(
                        f"{what}: {name!r} is not an option of {decision.name!r}; options: {listing(decision.options)}"
                        f"{did_you_mean(name, decision.options)}"
                    )
        result.append((decision.name, tuple(table.items())))
    rules = Rules(tuple(result))
    check_rules(study, rules, what)
    return rules


def as_assigned(study: "Study") -> Rules:
    """The study's own randomization as a regime: what its patients got, on average.

    Parameters
    ----------
    study : Study

    Returns
    -------
    Rules
        A lottery with the declared probabilities at every decision that offers a choice.

    Raises
    ------
    StudyError
        Where options were observed and not randomized, or a column holds their probabilities, so that the declaration alone does not say them.
    """
    def lottery(decision: Decision, options: Options) -> Lottery:
        found = decision.randomization(options)
        if found is None:
            why = ("was observed, so nobody set probabilities" if decision.assigned == "observed"
                   else f"has its probabilities in column {decision.probability!r}, which no regime looks at")
            raise StudyError(f"as_assigned: decision {decision.name!r} {why}; write the regime with Lottery({{option: probability}}), "
                             "or take equal chances by at_random(study).")
        return Lottery(found)

    return _by_lot(study, lottery, "as_assigned")


def at_random(study: "Study") -> Rules:
    """The regime that draws every option with equal chances among those that are feasible.

    Parameters
    ----------
    study : Study

    Returns
    -------
    Rules
    """
    return _by_lot(study, lambda decision, options: Lottery(dict.fromkeys(options, 1 / len(options))), "at_random")


def _by_lot(study: "Study", lottery: Callable[[Decision, Options], Lottery], what: str) -> Rules:
    """A lottery for every feasible set that leaves a choice."""
    tables = {d.name: {c: lottery(d, options) for c, options in d.choices if len(options) > 1} for d in study.decisions}
    return written(study, {name: table for name, table in tables.items() if table}, what)


# ---- embedded regimes ---------------------------------------------------------------------------


def tailoring_variables(study: "Study", decision: Decision) -> tuple[str, ...]:
    """The discrete variables that the embedded regimes tailor a decision to."""
    if decision.tailoring is not None:
        return decision.tailoring
    since = itertools.takewhile(lambda node: isinstance(node, Response), reversed(study.before(decision.name)))
    return tuple(node.name for node in reversed(list(since)) if finite_values(node) is not None)


def situations(study: "Study", decision: Decision) -> list[tuple[Condition, Options]]:
    """The situations an embedded regime tells apart at a decision, each with its feasible set; none where the course ends."""
    names = tailoring_variables(study, decision)
    levels = [[v for v in finite_values(study[name]) or ()] for name in names]
    found: dict[Condition, Options] = {}
    for values in itertools.product(*levels):
        known = dict(zip(names, values, strict=True))
        for condition, options in decision.choices:
            rest = tuple((n, t) for n, t in condition.tests if n not in known)
            if options and all(_admits(study, n, t, known[n]) for n, t in condition.tests if n in known):
                found[Condition(tuple((n, Equals(v)) for n, v in known.items()) + rest)] = options
    return list(found.items())


def _admits(study: "Study", name: str, test: Test, value: Any) -> bool:
    column = np.array([study.code(name, value)])
    return bool(test.holds(column, lambda level: study.code(name, level))[0])


def _compatible(a: Condition, b: Condition) -> bool:
    """Whether two conditions could hold together, judging by the finite tests they share."""
    other = dict(b.tests)
    for name, test in a.tests:
        if name in other:
            mine, theirs = test, other[name]
            if isinstance(mine, (Equals, OneOf)) and isinstance(theirs, (Equals, OneOf)) and not set(mine.labels) & set(theirs.labels):
                return False
    return True


def _under(prefix: dict[str, tuple[Branch, ...]], condition: Condition) -> Condition | None:
    """What is left of a condition once earlier decisions are ruled by a prefix; None when it cannot arise."""
    rest = []
    for name, test in condition.tests:
        if name not in prefix:
            rest.append((name, test))
            continue
        taken = [option for c, option in prefix[name] if _compatible(c, condition)]
        agreeing = [option for option in taken if option in test.labels]
        if not agreeing:
            return None
        if len(agreeing) < len(taken):
            rest.append((name, test))
    return Condition(tuple(rest))


def embedded_regimes(study: "Study") -> tuple[Rules, ...]:
    """Enumerate the embedded regimes of a study.

    Returns
    -------
    tuple of Rules
        In lexicographic order of the options as declared.

    Raises
    ------
    StudyError
        When there are more than 4096 of them; name fewer tailoring variables.
    """
    prefixes: list[dict[str, tuple[Branch, ...]]] = [{}]
    for decision in study.decisions:
        grown = []
        for prefix in prefixes:
            arising = [(left, options) for c, options in situations(study, decision) if (left := _under(prefix, c)) is not None]
            for chosen in itertools.product(*(options for _, options in arising)):
                branches = tuple((condition, option) for (condition, _), option in zip(arising, chosen, strict=True))
                grown.append({**prefix, decision.name: branches})
        if len(grown) > LARGEST_ENUMERATION:
            raise StudyError(
                f"There are more than {LARGEST_ENUMERATION} embedded regimes; name fewer tailoring variables, "
                f"for example Decision({decision.name!r}, ..., tailoring=[])."
            )
        prefixes = grown
    return tuple(_tidy(study, p) for p in prefixes)


def _tidy(study: "Study", prefix: dict[str, tuple[Branch, ...]]) -> Rules:
    """Drop what is no choice: branches with a single feasible option, conditions that all lead to one option."""
    decisions = []
    for name, branches in prefix.items():
        node = study[name]
        assert isinstance(node, Decision)
        forced = {option for options in node.sets if len(options) == 1 for option in options}
        free = {option for options in node.sets if len(options) > 1 for option in options}
        chosen = tuple(b for b in branches if b[1] in free or b[1] not in forced)
        if len(chosen) == len(branches) and len({option for _, option in chosen}) == 1:
            chosen = ((ALWAYS, chosen[0][1]),)
        decisions.append((name, chosen))
    return Rules(tuple(decisions))
