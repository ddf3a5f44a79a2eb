"""The default predictor of a response, as data: which columns it has and what each is made of.

A column is a product of factors. Printing and the PyMC builder both read this one description, so
what a user sees is what is fitted.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StudyError, listing
from .conditions import Condition, Equals, Interval, OneOf
from .families import Ordinal
from .timeline import Decision, Node, Options, Response, finite_values, labels_of

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


Factor = Numeric | Contrast | Stratum


@dataclass(frozen=True)
class Column:
    """A product of factors."""

    factors: tuple[Factor, ...]

    @property
    def label(self) -> str:
        """Factors joined by a multiplication sign."""
        return " × ".join(f.label for f in self.factors)


@dataclass(frozen=True)
class Predictor:
    """The columns of a default predictor by the prior that governs them.

    Attributes
    ----------
    main, treatment, interaction : tuple of Column
        Priors ``beta``; ``tau``; ``tau_interaction``.
    latest : tuple of Column
        Contrasts of the latest decision, which vary over clusters.
    """

    main: tuple[Column, ...]
    treatment: tuple[Column, ...]
    interaction: tuple[Column, ...]
    latest: tuple[Column, ...]


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


def _strata(study: "Study", decision: Decision) -> list[Stratum]:
    """Conditions whose level shift is not a combination of main effects already present."""
    if all(len(c.tests) == 1 and isinstance(c.tests[0][1], (Equals, OneOf)) and finite_values(study[c.variables[0]]) is not None
           for c, _ in decision.choices):
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


def _settled(decisions: list[Decision]) -> set[str]:
    """Variables that have one value in every course that goes on, because each other value ended it at one of the decisions."""
    found: set[str] = set()
    for d in decisions:
        if () in d.sets:
            tests = [dict(c.tests) for c, options in d.choices if options]
            found |= {n for n, t in tests[0].items() if isinstance(t, Equals) and all(other.get(n) == t for other in tests)}
    return found


def default_predictor(study: "Study", response: Response) -> Predictor:
    """The default predictor of a response.

    Main effects of the whole history; contrasts of each past and present decision within each
    feasible set; interactions of every decision with everything observed before it (baseline,
    responses, earlier decisions) and with the responses since. A variable that has one value in all
    who come so far, the others having left, does not enter.
    """
    settled = _settled([node for node in study.before(response.name) if isinstance(node, Decision)])
    history = tuple(node for node in study.before(response.name) if node.name not in settled)
    decisions = [node for node in history if isinstance(node, Decision)]
    latest = decisions[-1]
    main = [Column((f,)) for node in history if not isinstance(node, Decision) for f in _variable_factors(node)]
    main += [Column((s,)) for d in decisions for s in _strata(study, d)]
    treatment = [Column((c,)) for d in decisions for c in _contrasts(d)]
    interaction: list[Column] = []
    for d in decisions:
        position = history.index(d)
        partners = [n for i, n in enumerate(history) if i < position or (i > position and isinstance(n, Response))]
        for c, partner in itertools.product(_contrasts(d), partners):
            if partner.name not in _fixed(d, c.options):
                interaction += [Column((c, f)) for f in _variable_factors(partner)]
    return Predictor(tuple(main), tuple(treatment), tuple(interaction), tuple(Column((c,)) for c in _contrasts(latest)))


# ---- saturated cells ----------------------------------------------------------------------------


def saturated_variables(study: "Study", response: Response) -> tuple[str, ...]:
    """The variables whose values form a saturated model's cells.

    Raises
    ------
    StudyError
        When one of them is unknown or continuous.
    """
    over = getattr(response.model, "over", None)
    known = {n.name: finite_values(n) for n in study.before(response.name)}
    names = tuple(known) if over is None else over
    for name in names:
        if name not in known:
            raise StudyError(f"Response {response.name!r}: Saturated(over=...) names {name!r}; observed before it: {listing(known)}.")
        if known[name] is None:
            discrete = [n for n, v in known.items() if v is not None]
            raise StudyError(
                f"Response {response.name!r}: Saturated needs discrete variables, and {name!r} is continuous; "
                f"name the cells with Saturated(over={discrete!r}) or use the default model."
            )
    return names


@dataclass(frozen=True)
class Cells:
    """The cells of a saturated model: the combinations of its variables that can arise.

    Attributes
    ----------
    names : tuple of str
    labels : tuple of str
        One per cell: ``medication, 0, stay``.
    lookup : array of int, shape (levels of each variable, ...)
        Cell of each combination of codes; -1 where it cannot arise.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    lookup: np.ndarray


def saturated_cells(study: "Study", response: Response) -> Cells:
    """Enumerate the cells of a saturated response, leaving out infeasible combinations."""
    names = saturated_variables(study, response)
    nodes = [study[n] for n in names]
    levels = [finite_values(n) or () for n in nodes]
    shape = tuple(len(v) for v in levels)
    grid = np.indices(shape).reshape(len(shape), -1)
    history = {n.name: np.array([study.code(n.name, v) for v in lv])[grid[j]] for j, (n, lv) in enumerate(zip(nodes, levels, strict=True))}
    possible = np.ones(grid.shape[1], dtype=bool)
    for j, node in enumerate(nodes):
        if isinstance(node, Decision) and all(set(c.variables) <= set(names) for c, _ in node.choices):
            possible &= study.feasible(node.name, history)[np.arange(grid.shape[1]), grid[j]]
    lookup = np.where(possible, np.cumsum(possible) - 1, -1).reshape(shape)
    labels = tuple(", ".join(str(lv[i]) for lv, i in zip(levels, row, strict=True)) for row in grid.T[possible])
    return Cells(names, labels, lookup)
