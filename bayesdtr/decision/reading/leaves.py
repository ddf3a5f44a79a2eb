"""A fitted tree or list of one feasible set: its leaves in words, its branches as a written rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...study.conditions import ALWAYS, Condition, Test
from ...study.rules import Branch, Rules
from ...study.study import Study
from ...study.timeline import Decision, Options
from ...text import fold, number
from ..world import Rows
from .foreseen import Foreseen
from .questions import Variable, joint, variable
from .treesearch import Leaf, Path, Tree, leaves_of, search

if TYPE_CHECKING:
    from .policytree import PolicyTree
    from .ruleclass import Class


@dataclass(frozen=True)
class LeafLine:
    """One leaf.

    Attributes
    ----------
    answers : tuple of str
        What holds there.
    option : str
    patients : int
        Observed patients who reached the decision there.
    share : float
        Share of the foreseen histories with this choice.
    lead : float
        Posterior-expected utility that the option gains there over the next best one; NaN where no history is foreseen.
    over : str
        The next best option.
    """

    answers: tuple[str, ...]
    option: str
    patients: int
    share: float
    lead: float
    over: str

    def __str__(self) -> str:
        who = f"{self.patients} patient{'' if self.patients == 1 else 's'}"
        return f"{self.option}   ({who}; {'nobody is foreseen there' if np.isnan(self.lead) else f'+{self.lead:.3g} over {self.over}'})"


@dataclass(frozen=True, eq=False)
class Stratum:
    """The rule of one decision for one feasible set.

    Attributes
    ----------
    decision : str
    options : tuple of str
    conditions : tuple of Condition
        Under which these options are feasible.
    variables : tuple of Variable
        What could be asked.
    tree : Leaf or Split
    leaves : tuple of LeafLine
        In reading order.
    """

    decision: str
    options: Options
    conditions: tuple[Condition, ...]
    variables: tuple[Variable, ...]
    tree: Tree
    leaves: tuple[LeafLine, ...]

    @property
    def where(self) -> str:
        """Readable form of the conditions; empty for everybody."""
        return "" if ALWAYS in self.conditions else " or ".join(map(str, self.conditions))

    @property
    def root(self) -> str:
        """The variable asked about first; empty where nothing is asked."""
        return "" if isinstance(self.tree, Leaf) else self.variables[self.tree.variable].name

    def holds(self, study: Study, rows: Rows) -> np.ndarray:
        """Which histories have this feasible set, shape (row,)."""
        if not rows.columns:
            return np.ones(rows.n, dtype=bool)
        choices = [c for c, _ in study[self.decision].choices]  # type: ignore[union-attr]
        return np.isin(study.stratum(self.decision, rows.columns), [choices.index(c) for c in self.conditions])

    def test(self, step: tuple[int, int, bool]) -> tuple[str, Test]:
        """A variable with the test that an answer amounts to."""
        v, question, answer = step
        return self.variables[v].name, self.variables[v].test(question, answer)

    def clauses(self) -> list[tuple[Path, int, int]]:
        """A list's clauses in the order in which they are tried: what each asks by itself, its option, and its place among the leaves."""
        paths = [(path, option, k) for k, (path, option) in enumerate(leaves_of(self.tree))]
        order = sorted(paths, key=lambda leaf: len(leaf[0]))
        last = len(order) - 1
        return [(() if i == last else path[-1:], option, k) for i, (path, option, k) in enumerate(order)]

    def branches(self, kind: str) -> tuple[Branch, ...]:
        """The rule as conditions with options; the first that holds counts."""
        ways = [(p, o) for p, o, _ in self.clauses()] if kind == "list" else list(leaves_of(self.tree))
        made = [(joint(c, [self.test(step) for step in path]), self.options[o]) for c in self.conditions for path, o in ways]
        return tuple((c, option) for c, option in made if c is not None)

    def lines(self, kind: str) -> list[str]:
        """The rule in words."""
        if isinstance(self.tree, Leaf):
            return [f"everybody: {self.leaves[0]}"]
        if kind == "list":
            said = [(" and ".join(self._said(step) for step in path), self.leaves[k]) for path, _, k in self.clauses()]
            return [f"{'else ' if i else ''}if {words}: {leaf}" if words else f"else: {leaf}" for i, (words, leaf) in enumerate(said)]
        return self._nested(self.tree, iter(self.leaves))

    def _said(self, step: tuple[int, int, bool]) -> str:
        v, question, answer = step
        return self.variables[v].text(question, answer)

    def _nested(self, tree: Tree, leaves) -> list[str]:
        out: list[str] = []
        assert not isinstance(tree, Leaf)
        for answer, side in ((True, tree.yes), (False, tree.no)):
            words = f"if {self._said((tree.variable, tree.test, answer))}"
            if isinstance(side, Leaf):
                out.append(f"{words}: {next(leaves)}")
            else:
                out += [f"{words}", *(f"  {line}" for line in self._nested(side, leaves))]
        return out


def fitted(study: Study, decision: Decision, options: Options, seen: Foreseen, observed: Rows, names: Sequence[str], asked: "Class") -> Stratum:
    """The best rule of a class for the histories with one feasible set.

    Parameters
    ----------
    study : Study
    decision : Decision
    options : tuple of str
        The feasible set.
    seen : Foreseen
        Histories that the rule is fitted to.
    observed : Rows
        Patients who reached the decision; they fill leaves and earn nothing here.
    names : sequence of str
        Variables that may be asked about.
    asked : Class
    """
    conditions = tuple(c for c, of in decision.choices if of == options)
    empty = Stratum(decision.name, options, conditions, (), Leaf(0), ())
    here, there = np.flatnonzero(empty.holds(study, seen.rows)), np.flatnonzero(empty.holds(study, observed))
    codes = [int(study.code(decision.name, o)) for o in options]
    weight = seen.weight[here]
    scores = np.concatenate([weight[:, None] * seen.expected[np.ix_(here, codes)], np.zeros((len(there), len(codes)))])
    counts = np.concatenate([np.zeros(len(here)), np.ones(len(there))])
    columns = {n: np.concatenate([seen.rows.columns[n][here], observed.columns[n][there]]).astype(float) for n in names}
    heft = np.concatenate([weight, np.zeros(len(there))])
    variables = tuple(variable(study, n, c, heft, asked.cuts) for n, c in columns.items() if len(c))
    bins = np.stack([v.bins(columns[v.name]) for v in variables], axis=1) if variables else np.zeros((len(counts), 0), dtype=int)
    inside = [v.inside for v in variables]
    tree = search(bins, inside, scores, counts, depth=asked.depth, kind=asked.kind, least=asked.least)
    made = Stratum(decision.name, options, conditions, variables, tree, ())
    lines = _leaf_lines(made, bins, inside, scores, heft, counts)
    return Stratum(decision.name, options, conditions, variables, tree, lines)


def _leaf_lines(made: Stratum, bins: np.ndarray, inside: list[np.ndarray], scores: np.ndarray, weight: np.ndarray, counts: np.ndarray):
    """What is to be said of every leaf."""
    found = []
    whole = max(float(weight.sum()), 1e-300)
    for path, option in leaves_of(made.tree):
        rows = np.ones(len(counts), dtype=bool)
        for v, question, answer in path:
            rows &= inside[v][question][bins[:, v]] == answer
        heft, sums = float(weight[rows].sum()), scores[rows].sum(axis=0)
        others = [o for o in range(len(sums)) if o != option]
        over = max(others, key=lambda o: sums[o])
        lead = (sums[option] - sums[over]) / heft if heft > 0 else float("nan")
        answers = tuple(made.variables[v].text(question, answer) for v, question, answer in path)
        found.append(LeafLine(answers, made.options[option], int(counts[rows].sum()), heft / whole, float(lead), made.options[over]))
    return tuple(found)


def rules_of(strata: Sequence[Stratum], kind: str) -> Rules:
    """The rules of all strata as one written regime, decisions without a choice left out."""
    names = dict.fromkeys(s.decision for s in strata)
    return Rules(tuple((n, tuple(b for s in strata if s.decision == n for b in s.branches(kind))) for n in names))


def told(policy: "PolicyTree") -> str:
    """Everything about fitted rules as text."""
    value, price = policy.value(), policy.price()
    lines = [f"Rules to read: {policy.asked}", *policy.lines(), ""]
    lines.append(f"Value {value}, Monte Carlo error {number(value.mcse, '.2g')}")
    lines.append(f"Price of interpretability, V(best) - V(rules): {price}, Monte Carlo error {number(price.mcse, '.2g')}")
    if policy.agreement:
        alike = ", ".join(f"{d} {same} of {n} patients ({same / n:.0%})" for d, same, n in policy.agreement)
        lines.append(f"Same option as the best rule: {alike}")
    if policy.stability:
        lines += ["", f"Refitted to each of {policy.refits} draws alone", *_stability_table(policy)]
    how = "options taken at random" if policy.asked.histories == "random" else "the rules' own options"
    lines += ["", "Fitted stage by stage, the last decision first, and committed to: the best of their class for patients like those observed "
                  f"who come to later decisions by {how}. Histories from {policy.method}."]
    if names := [b.name for b in policy.regime.posterior.study.baselines if b.sensitive]:
        asked = [n for n in names if any(n in of for _, of in policy.asked.variables)]
        lines += [f"Sensitive covariates: {', '.join(names)}; " + (f"rules may ask about {', '.join(asked)}, as variables= says." if asked else
                                                                   "models see them, and these rules do not ask about them.")]
    status = policy.regime.posterior.verdict
    return fold("\n".join([*lines, *([] if status.status == "ok" else [str(status)])]))


def _stability_table(policy: "PolicyTree") -> list[str]:
    names = [s.decision + (f", {s.where}" if s.where else "") for s in policy.stability]
    width = min(max(len("decision"), *(len(n) for n in names)), 34)
    lines = [f"{'decision':<{width}}  {'asks first about':<18} {'same':>5} {'same option':>12}  other first questions"]
    for name, s in zip(names, policy.stability, strict=True):
        agreed = "no patients" if np.isnan(s.agreement) else f"{s.agreement:.0%}"
        others = ", ".join(f"{n or 'nothing'} {share:.0%}" for n, share in s.roots if n != s.root)
        lines.append(f"{name[:width]:<{width}}  {(s.root or 'nothing')[:18]:<18} {s.same_root:>5.0%} {agreed:>12}  {others or 'none'}")
    lines.append("Same: share of refits that ask about the same variable first. Same option: share of patients, averaged over refits.")
    return lines
