"""The best rule within a budget: a price on the resource, and two rules mixed so that the budget is met exactly.

The largest expected utility among rules, mixed or not, whose expected use of a resource is at most a limit is the least value over
prices ``p >= 0`` of ``max_d E[U(d)] - p (E[C(d)] - limit)`` (Lagrange). That maximum is convex and piecewise linear in the price, a line
for each rule that is ever best, so the search below meets the price where two lines cross after finitely many steps and without error.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import backend, like
from ...errors import DecisionError, listing
from ...inference import Posterior
from ...study.study import Study
from ...study.utility import Utility
from ...text import decimal, fold, places
from ..induction import BUDGET, MOST_LEAVES, committed, leaves, options, tables
from ..optimize import optimize
from ..regime import Regime, rows_before
from ..values import Summary, affordable, baseline_rows, chains_of, population_weights, summarize
from ..world import World
from ..worth.twofold import Twofold, gain_of

STEPS = 200
CLOSE = 1e-12
"""Relative to the largest value: lines closer than this cross."""


@dataclass(frozen=True, eq=False)
class Line:
    """A rule that is best at one price: its expected utility and use."""

    price: float
    value: float
    use: float


@dataclass(frozen=True, eq=False)
class Budgeted:
    """The best rule, or mixture of two rules, within a budget.

    Attributes
    ----------
    limit : float
        Largest expected use of the resource per patient.
    price : float
        Shadow price: what one more unit of the resource per patient would add to the expected utility; 0 where the limit does not bind.
    share : float
        Share of patients, drawn by lot at the start, who follow `dearer`; the others follow `cheaper`. 1 where the limit does not bind.
    dearer, cheaper : Regime
        Each is the optimal regime of the utility less the resource at a price; they are the same where the limit does not bind.
        Their `value` is in that mixed unit; `value` here is in the study's.
    value, use : Summary
        Of the mixture, over the posterior: expected utility and use per patient.
    free_value, free_use : float
        Posterior expectations of the rule that heeds no limit.
    """

    limit: float
    price: float
    share: float
    dearer: Regime
    cheaper: Regime
    value: Summary
    use: Summary
    free_value: float
    free_use: float

    def recommend(self, patients: Any) -> Any:
        """What either rule says to each patient at the decision that is due next.

        Returns
        -------
        frame of the caller's kind
            Columns: the patient's identifier, ``decision``, ``option`` (of the dearer rule, followed by the share of patients drawn for
            it), ``option_cheaper``, ``alike``, ``share``, ``verdict``.
        """
        import narwhals as nw

        one, two = (nw.from_native(r.recommend(patients), eager_only=True) for r in (self.dearer, self.cheaper))
        name = self.dearer.posterior.study.id or "patient"
        first, second = one["option"].to_list(), two["option"].to_list()
        return like(backend(patients), {
            name: one[name].to_list(), "decision": one["decision"].to_list(), "option": first, "option_cheaper": second,
            "alike": [a == b for a, b in zip(first, second, strict=True)], "share": [self.share] * len(first), "verdict": one["verdict"].to_list(),
        })

    def __str__(self) -> str:
        free = decimal(self.free_value, places(self.value.sd))
        lines = [f"Within {self.limit:g} per patient: expected utility {self.value}, Monte Carlo error {self.value.mcse:.2g}",
                 f"  use {self.use}, Monte Carlo error {self.use.mcse:.2g}",
                 f"  without the limit {free}, using {decimal(self.free_use, places(self.use.sd))}; shadow price {self.price:.4g} per unit"]
        if self.price == 0:
            lines.append("  The limit does not bind.")
        elif self.share in (0.0, 1.0):
            lines.append("  One rule meets it exactly.")
        else:
            lines.append(f"  {self.share:.1%} of patients, drawn by lot, follow the first rule, the others the second:")
        mixed = self.price > 0 and self.share not in (0.0, 1.0)
        first, second = self.dearer.rules(), self.cheaper.rules()
        lines += ["  first:" if mixed else "  rule:", *(f"    {line}" for line in first)]
        if mixed and second != first:
            lines += ["  second:", *(f"    {line}" for line in second)]
        if mixed:
            apart = [f"{n} of {total} patients at {d!r}" for d, n, total in self.apart if n]
            lines.append(f"  The two differ for {', '.join(apart)}." if apart else
                         "  The two differ at no history that was observed, only at others that patients may come to.")
        return fold("\n".join(lines))

    @property
    def apart(self) -> tuple[tuple[str, int, int], ...]:
        """For each decision, how many of the observed patients who reached it the two rules treat differently, and of how many."""
        t, study, found = self.dearer.posterior.trajectories, self.dearer.posterior.study, []
        for d in study.decisions:
            reached = np.flatnonzero(t.reached(study, d.name))
            rows = rows_before(self.dearer.posterior, t, d.name, reached)
            one, two = ((r.assess(d.name, rows).choice if reached.size else reached) for r in (self.dearer, self.cheaper))
            found.append((d.name, int((one != two).sum()), len(reached)))
        return tuple(found)


def within_budget(posterior: Posterior, *, resource: Mapping[str, Any], limit: float) -> Budgeted:
    """The rule of highest posterior-expected utility among those that use no more of a resource, on average, than a limit.

    ``within_budget(posterior, resource={"second": {"intensify": 1}}, limit=0.4)`` gives "intensify" at the second decision to at most 40 of
    100 patients; ``resource={"visits": 1.0}`` limits the expected number of visits.

    Parameters
    ----------
    posterior : Posterior
    resource : mapping
        Decisions with the amounts that their options use, and responses with the amount per unit.
    limit : float
        Largest expected use per patient, over patients like those observed.

    Returns
    -------
    Budgeted

    Raises
    ------
    DecisionError
        Where no rule uses so little, or the tree of histories is too large.
    StudyError
        Where the resource does not fit the study.

    Notes
    -----
    The limit is met in posterior expectation; `use` tells by how much the posterior leaves it open. A mixture of rules is drawn by
    lot once for each patient. Where that is not acceptable, the cheaper rule alone keeps the limit. Safety gates play no part.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"within_budget takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    study = posterior.study
    used = _resource(study, resource)
    if isinstance(limit, bool) or not isinstance(limit, int | float | np.number) or not np.isfinite(limit):
        raise DecisionError(f"within_budget: limit is a finite number, got {limit!r}.")
    if study.utility.discount != 1:
        raise DecisionError("within_budget: the utility is discounted, and a resource is not; give the study a utility without discount.")
    problem = _Problem.of(posterior, used)
    dear, cheap = problem.solve(float(limit))
    share = 1.0 if dear is cheap else (limit - cheap.use) / (dear.use - cheap.use)
    price = 0.0 if dear is cheap else (dear.value - cheap.value) / (dear.use - cheap.use)
    free = problem.at(0.0)
    drawn = [problem.draws(posterior, line) for line in (dear, cheap)]
    value, use = (summarize(share * drawn[0][k] + (1 - share) * drawn[1][k]) for k in range(2))
    # A resource alone, at an infinite price, need not look beyond the last decision, as a study's own utility must.
    regimes = [optimize(dataclasses.replace(posterior, study=study.valued(priced(study.utility, used, line.price)))) for line in (dear, cheap)]
    return Budgeted(float(limit), price, float(share), regimes[0], regimes[1], value, use, free.value, free.use)


def _resource(study: Study, resource: Any) -> Utility:
    """A utility that counts what is used."""
    if not isinstance(resource, Mapping) or not resource:
        raise DecisionError(f"within_budget: resource is a mapping of decisions to {{option: amount}}, or of responses to amounts, got {resource!r}.")
    decisions = {d.name for d in study.decisions}
    if bad := [n for n in resource if n in decisions and not isinstance(resource[n], Mapping)]:
        raise DecisionError(f"within_budget: the resource of {listing(bad)} takes a mapping of options to amounts.")
    costs = {n: {o: -x for o, x in v.items()} for n, v in resource.items() if n in decisions}
    made = Utility({n: v for n, v in resource.items() if n not in decisions}, costs=costs)
    made.check(study)
    return made


def priced(utility: Utility, used: Utility, price: float) -> Utility:
    """A utility less a resource at a price; at an infinite one, the resource alone."""
    if np.isinf(price):
        return utility.combined([(used, -1.0)], 0.0)
    return utility.combined([(used, -price)])


@dataclass(frozen=True, eq=False)
class _Problem:
    """Trees of the observed patients' histories, with the share of patients at each root row."""

    worlds: tuple[World, World]
    trees: tuple[Twofold, ...]
    shares: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, posterior: Posterior, used: Utility) -> "_Problem":
        study = posterior.study
        whole = dataclasses.replace(posterior, study=study.with_utility(Utility.of_all([study.utility, used])))
        world = World.of(whole)
        if (size := leaves(world, 0)) > MOST_LEAVES:
            raise DecisionError(f"within_budget: the tree of histories has {size:.0f} leaves per patient (at most {MOST_LEAVES}).")
        distinct, inverse = baseline_rows(posterior).unique()
        counts = np.bincount(inverse, minlength=distinct.n) / len(inverse)
        world = affordable(world, posterior, distinct.n, 0)
        step = max(1, int(BUDGET // (size * world.size)))
        pieces = [np.arange(b, min(b + step, distinct.n)) for b in range(0, distinct.n, step)]
        trees = tuple(Twofold.of(world, 0, distinct.take(p), [study.utility, used]) for p in pieces)
        worlds = tuple(dataclasses.replace(world, study=world.study.valued(u)) for u in (study.utility, used))
        return cls(worlds, trees, tuple(counts[p] for p in pieces))  # type: ignore[arg-type]

    def at(self, price: float) -> Line:
        """The best rule at a price."""
        total = np.zeros(2)
        for tree, share in zip(self.trees, self.shares, strict=True):
            n = tree.root.rows.n
            weights = (np.zeros(n), np.ones(n)) if np.isinf(price) else (np.ones(n), np.full(n, price))
            parts = tree.parts(*weights)
            score = weights[0][:, None] * parts[0] - weights[1][:, None] * parts[1]
            tree.root.choice = np.where(tree.root.feasible, score, -np.inf).argmax(axis=1)
            total += (share * parts[:, np.arange(n), tree.root.choice]).sum(axis=1)
        return Line(price, *map(float, total))

    def solve(self, limit: float) -> tuple[Line, Line]:
        """The two rules on either side of the limit; the same one twice where it does not bind or is met."""
        dear, cheap = self.at(0.0), self.at(np.inf)
        near = CLOSE * max(abs(dear.use), abs(cheap.use), 1e-300)
        if cheap.use > limit + near:
            raise DecisionError(f"within_budget: no rule uses as little as {limit:g} per patient; the least is {cheap.use:.4g}.")
        if dear.use <= limit + near:
            return dear, dear
        for _ in range(STEPS):
            price = (dear.value - cheap.value) / (dear.use - cheap.use)
            found = self.at(price)
            height = dear.value - price * dear.use
            if found.value - price * found.use <= height + CLOSE * max(abs(dear.value), abs(cheap.value), abs(height)):
                return dear, cheap
            dear, cheap = (found, cheap) if found.use > limit else (dear, found)
        raise DecisionError("within_budget: the search for the price did not end; the utility and the resource differ too much in size.")

    def draws(self, posterior: Posterior, line: Line) -> list[np.ndarray]:
        """Utility and use of a rule under each draw, ``(chain, draw)`` each."""
        self.at(line.price)  # marks its choices on the trees
        size = self.worlds[0].size
        rows = baseline_rows(posterior)
        distinct, inverse = rows.unique()
        weights = population_weights(self.worlds[0], inverse, distinct.n, posterior.seed, rows.sets)
        totals, begin = np.zeros((2, size)), 0
        for tree in self.trees:
            n = tree.root.rows.n
            step = max(1, int(BUDGET // (leaves(self.worlds[0], 0) * n)))
            for k, world in enumerate(self.worlds):
                node = tree.root.child
                while node is not None:
                    if hasattr(node, "points") and node.points is not None:
                        node.gain = gain_of(world.study, node)
                    node = node.child
                for first in range(0, size, step):
                    block = world.block(first, first + step)
                    q = options(tree.root, tables(block, tree.root), committed)[:, np.arange(n), tree.root.choice]
                    totals[k, first : first + step] += (weights[first : first + step, begin : begin + n] * q).sum(axis=1)
            begin += n
        return [chains_of(posterior, t) for t in totals]
