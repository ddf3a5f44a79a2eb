"""The default predictor of a response, as data: which columns it has and what each is made of.

A column is a product of factors. Printing and the PyMC builder both read this one description, so
what a user sees is what is fitted.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .conditions import Condition, Equals, Interval, OneOf
from .families import Ordinal
from .formula import Term, parse
from .models import Hierarchical
from .rules import tailoring_variables
from .sensitive import refuse_sensitive
from .timeline import Baseline, Decision, Node, Options, Response, finite_values, labels_of

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True)
class Numeric:
    """A numeric variable, standardised: covariates by their scale, responses of a finite list to -1 ... +1."""

    name: str

    @property
    def label(self) -> str:
        """Name of the variable."""
        return self.name

    @property
    def source(self) -> str:
        """What the factor comes from, which several contrasts may share."""
        return self.name


@dataclass(frozen=True)
class Contrast:
    """One orthonormal contrast between the options of one feasible set, or the levels of a covariate.

    It is zero for a patient to whom another feasible set applied. Contrast number `index` compares
    option ``index + 1`` with the mean of those before it.
    """

    name: str
    options: Options
    index: int

    @property
    def label(self) -> str:
        """``second[switch vs stay]``."""
        return f"{self.name}[{self.options[self.index + 1]} vs {', '.join(self.options[: self.index + 1])}]"

    @property
    def source(self) -> str:
        """The variable with the options that are compared."""
        return f"{self.name}[{', '.join(self.options)}]"


@dataclass(frozen=True)
class Stratum:
    """Indicator that one of a decision's conditions holds, where no main effect carries it already."""

    decision: str
    index: int
    text: str

    @property
    def label(self) -> str:
        """The condition."""
        return f"[{self.text}]"

    @property
    def source(self) -> str:
        """The condition."""
        return self.label


@dataclass(frozen=True)
class Step:
    """Indicator that a period, number `index` (from 1) of a covariate that drifts, has begun."""

    name: str
    index: int
    period: str

    @property
    def label(self) -> str:
        """``block from 3 on``."""
        return f"{self.name} from {self.period} on"

    @property
    def source(self) -> str:
        """The variable."""
        return self.name


@dataclass(frozen=True)
class Basis:
    """One function of a smooth curve's basis: number `index` (from 1) of `SMOOTH_SIZE`, of a standardised variable."""

    name: str
    index: int

    @property
    def label(self) -> str:
        """``s(bmi).3``."""
        return f"{self.source}.{self.index}"

    @property
    def source(self) -> str:
        """``s(bmi)``."""
        return f"s({self.name})"


Factor = Numeric | Contrast | Stratum | Basis | Step

SMOOTH_RANGE = 3.0
"""A smooth curve is resolved up to this many SDs from the mean, and level beyond."""
SMOOTH_EDGE = 6.4
"""Where the basis ends: 3.2 times the longest length scale that the default prior allows for (2 SD)."""
SMOOTH_SIZE = 23
"""Basis functions: 1.75 times the edge over the shortest length scale that the default prior allows for (.5 SD)."""


@dataclass(frozen=True)
class Column:
    """A product of factors."""

    factors: tuple[Factor, ...]

    @property
    def label(self) -> str:
        """Factors joined by a multiplication sign."""
        return " × ".join(f.label for f in self.factors)

    @property
    def group(self) -> str:
        """What the factors come from. Columns of one group share their scale, so that no option of a set is favored."""
        return " × ".join(f.source for f in self.factors)


@dataclass(frozen=True)
class Predictor:
    """The columns of a default predictor by the prior that governs them.

    Attributes
    ----------
    main, treatment, interaction, combination : tuple of Column
        Priors ``beta``; ``tau``; ``tau_interaction``, of decisions with covariates and responses; ``tau_combination``, of decisions
        with earlier decisions.
    latest : tuple of Column
        Contrasts of the latest decision, which vary over clusters.
    smooth, interaction_smooth : tuple of Column
        Basis functions of smooth main effects, and of smooth treatment-by-covariate interactions.
    drift : tuple of Column
        Beginnings of the periods over which the level walks; prior ``drift``.
    """

    main: tuple[Column, ...]
    treatment: tuple[Column, ...]
    interaction: tuple[Column, ...]
    latest: tuple[Column, ...]
    smooth: tuple[Column, ...] = ()
    interaction_smooth: tuple[Column, ...] = ()
    combination: tuple[Column, ...] = ()
    drift: tuple[Column, ...] = ()


def groups(columns: Sequence[Column]) -> tuple[tuple[str, ...], np.ndarray]:
    """The groups of some columns in order, and for each column the index of its group."""
    names = tuple(dict.fromkeys(c.group for c in columns))
    return names, np.array([names.index(c.group) for c in columns], dtype=int)


def contrast_matrix(n: int) -> np.ndarray:
    """Orthonormal sum-to-zero (Helmert) contrasts, shape ``(n, n - 1)``.

    With independent standard-normal coordinates the `n` option effects are exchangeable, whatever
    the order of the options; coding against a reference option would not be.
    """
    matrix = np.zeros((n, n - 1))
    for j in range(1, n):
        matrix[:j, j - 1] = -1
        matrix[j, j - 1] = j
    return matrix / np.sqrt(np.arange(1, n) * np.arange(2, n + 1))


def _contrasts(node: Node) -> list[Contrast]:
    sets = node.sets if isinstance(node, Decision) else (labels_of(node) or (),)
    return [Contrast(node.name, options, j) for options in sets for j in range(len(options) - 1)]


def _strata(study: "Study", decision: Decision, carried: set[str]) -> list[Stratum]:
    """Conditions whose level shift is not a combination of main effects already present: those of `carried` and of decisions."""
    carried = carried | {d.name for d in study.decisions}
    if all(len(c.tests) == 1 and isinstance(c.tests[0][1], (Equals, OneOf)) and finite_values(study[c.variables[0]]) is not None
           and c.variables[0] in carried for c, _ in decision.choices):
        return []
    return [Stratum(decision.name, i, str(c)) for i, (c, options) in enumerate(decision.choices)
            if i > 0 and options and not _implied(study, c)]


def _implied(study: "Study", condition: Condition) -> bool:
    """Whether a condition only says that an earlier decision was forced, which that decision's own strata say already."""
    for name, test in condition.tests:
        node = study[name]
        forced = {o for s in node.sets if len(s) == 1 for o in s} if isinstance(node, Decision) else set()
        if not forced or isinstance(test, Interval) or not set(test.labels) <= forced:
            return False
    return True


def _fixed(decision: Decision, options: Options) -> set[str]:
    """Variables that have one value wherever a feasible set applies, so that they interact with nothing there."""
    tests = [dict(c.tests) for c, o in decision.choices if o == options]
    return {n for n, t in tests[0].items() if isinstance(t, Equals) and all(other.get(n) == t for other in tests)}


def _variable_factors(node: Node) -> list[Factor]:
    if isinstance(node, Decision) or (labels_of(node) and not _ordered(node)):
        return list(_contrasts(node))
    return [Numeric(node.name)]


def _ordered(node: Node) -> bool:
    """Whether the labels of a variable have an order, so that it enters as a score from -1 to +1."""
    return isinstance(node, Response) and isinstance(node.family, Ordinal)


@dataclass(frozen=True)
class _Item:
    """Something that enters a predictor or modifies a decision: variables, linear columns, columns of a smooth curve."""

    names: tuple[str, ...]
    linear: tuple[Column, ...]
    smooth: tuple[Column, ...] = ()


def _plain(node: Node) -> _Item:
    return _Item((node.name,), tuple(Column((f,)) for f in _variable_factors(node)))


def _product(parts: Sequence[Sequence[Factor]]) -> tuple[Column, ...]:
    return tuple(Column(factors) for factors in itertools.product(*parts))


def _written(study: "Study", response: Response, term: Term, where: str) -> _Item:
    """A term of a formula as columns.

    Raises
    ------
    StudyError
        When a variable is unknown at this point of the timeline or does not suit its function.
    """
    known = {n.name: n for n in study.before(response.name) if not isinstance(n, Decision)}
    linear: list[list[Factor]] = []
    curves = 0
    refuse_sensitive(study, [p.name for p in term], where)
    for piece in term:
        if piece.name not in known:
            if piece.name in study.names and isinstance(study[piece.name], Decision):
                raise StudyError(f"{where} names the decision {piece.name!r}; decisions enter by themselves, leave it out.")
            raise StudyError(
                f"{where} names {piece.name!r}; observed before {response.name!r}: {listing(known) or 'nothing'}{did_you_mean(piece.name, known)}"
            )
        node = known[piece.name]
        if isinstance(node, Baseline) and node.drift:
            raise StudyError(f"{where} names {piece.name!r}, whose periods enter by themselves (drift=True); leave it out.")
        if piece.function == "C" and labels_of(node) is None:
            raise StudyError(f"{where}: {piece} needs a variable with labels; declare {piece.name!r} with levels=[...], or write it without C().")
        if piece.function == "s" and finite_values(node) is not None:
            number = len(finite_values(node) or ())
            raise StudyError(f"{where}: {piece} needs a continuous variable, and {piece.name!r} has {number} values; leave s() out.")
        curves += piece.function == "s"
        linear.append(_variable_factors(node) if piece.function != "C" else list(_contrasts(node)))
    if curves > 1:
        raise StudyError(f"{where}: {':'.join(map(str, term))} multiplies two smooth curves; a term has one, for example s(x):C(sex) or s(x):y.")
    smooth: tuple[Column, ...] = ()
    if curves:
        basis = [[Basis(p.name, j) for j in range(1, SMOOTH_SIZE + 1)] if p.function == "s" else f for p, f in zip(term, linear, strict=True)]
        smooth = _product(basis)
    return _Item(tuple(p.name for p in term), _product(linear), smooth)


def _items(study: "Study", response: Response, formula: str | None, what: str, default: Sequence[Node]) -> list[_Item]:
    """The items of a formula, then those of responses that it does not name; without a formula, of the default variables."""
    if formula is None:
        return [_plain(node) for node in default]
    where = f"Response {response.name!r}: {what}={formula!r}"
    items = [_written(study, response, term, where) for term in parse(formula, where)]
    named = {n for i in items for n in i.names}
    return items + [_plain(n) for n in default if isinstance(n, Response) and n.name not in named]


def _settled(decisions: list[Decision]) -> set[str]:
    """Variables that have one value in every course that goes on, because each other value ended it at one of the decisions."""
    found: set[str] = set()
    for d in decisions:
        if () in d.sets:
            tests = [dict(c.tests) for c, options in d.choices if options]
            found |= {n for n, t in tests[0].items() if isinstance(t, Equals) and all(other.get(n) == t for other in tests)}
    return found


def default_predictor(study: "Study", response: Response) -> Predictor:
    """The predictor of a response's hierarchical model.

    Main effects of the whole history; contrasts of each past and present decision within each
    feasible set; interactions of every decision with everything observed before it (baseline,
    responses, earlier decisions) and with the responses since. Formulas replace the covariates.
    Responses that share a patient's effect with this one are left out, unless a formula names them.

    Raises
    ------
    StudyError
        When a formula does not suit the study.
    """
    model = response.model if isinstance(response.model, Hierarchical) else Hierarchical()
    settled = _settled([node for node in study.before(response.name) if isinstance(node, Decision)])
    history = tuple(node for node in study.before(response.name) if node.name not in settled)
    decisions = [node for node in history if isinstance(node, Decision)]
    # What an earlier response of the same patient effect says is said by the effect already: as a covariate too it could not be told apart.
    linked = set(study.patient_effects) if response.name in study.patient_effects else set()
    periods = [node for node in history if isinstance(node, Baseline) and node.drift]
    observed = [node for node in history if not isinstance(node, Decision) and node.name not in linked and node not in periods]
    items = _items(study, response, model.covariates, "covariates", observed)
    carried = {i.names[0] for i in items if len(i.names) == 1}
    main = [c for i in items for c in i.linear] + [Column((s,)) for d in decisions for s in _strata(study, d, carried)]
    treatment = [Column((c,)) for d in decisions for c in _contrasts(d)]
    named = {n for i in items for n in i.names}
    modifiers = _items(study, response, model.modifiers, "modifiers", [n for n in observed if n.name in named or isinstance(n, Response)])
    interaction: list[Column] = []
    combination: list[Column] = []
    curves: list[Column] = []
    for d in decisions:
        here = history.index(d)
        earlier = [_plain(n) for n in history[:here] if isinstance(n, Decision)]
        partners = sorted([*modifiers, *earlier], key=lambda i: max(study.names.index(n) for n in i.names))
        for c, item in itertools.product(_contrasts(d), partners):
            if not set(item.names) & _fixed(d, c.options):
                kind = combination if item in earlier else interaction
                kind += [Column((c, *column.factors)) for column in item.linear]
                curves += [Column((c, *column.factors)) for column in item.smooth]
    smooth = tuple(dict.fromkeys(c for i in items for c in i.smooth))
    latest = tuple(Column((c,)) for c in _contrasts(decisions[-1]))
    return Predictor(
        tuple(dict.fromkeys(main)), tuple(treatment), tuple(dict.fromkeys(interaction)), latest, smooth, tuple(dict.fromkeys(curves)),
        tuple(dict.fromkeys(combination)),
        tuple(Column((Step(p.name, j, label),)) for p in periods for j, label in enumerate(p.levels or ()) if j),
    )


def sequence_variables(study: "Study", response: Response) -> tuple[str, ...]:
    """The decisions before a response and the discrete responses that they are tailored to or depend on."""
    before = study.before(response.name)
    decisions = [n for n in before if isinstance(n, Decision)]
    used = {name for d in decisions for name in (*tailoring_variables(study, d), *(v for c, _ in d.choices for v in c.variables))}
    return tuple(n.name for n in before if isinstance(n, Decision) or (isinstance(n, Response) and n.name in used and finite_values(n) is not None))
