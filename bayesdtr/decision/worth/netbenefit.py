"""Net monetary benefit: which regime to pay for, at every price of a unit of effect.

With a threshold `w` (willingness to pay), a regime's net monetary benefit is ``w E - C``, a straight line in `w` for every draw. Effect
and cost are therefore worked out once; where the best expected line changes is the crossing of two lines, found exactly. The optimal
regime is another rule at every threshold, by backward induction on ``w E - C``.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DecisionError
from ...inference import Posterior
from ...study.lifetime import LifeUtility
from ...study.rules import Rules
from ...study.study import Study
from ...study.utility import Utility
from ...text import decimal, fold, number, places
from ..assess import NEAR_SE
from ..compare import asked_for
from ..induction import BUDGET, MOST_LEAVES, DecisionNode, Known, committed, following, leaves, options
from ..rollout import DRAWS, following_rules, rollout
from ..values import Summary, affordable, any_grid, baseline_rows, batch_error, chains_of, population_weights, summarize, thin_to, wins
from ..world import World
from ..written import starting
from .twofold import Twofold, gain_of

if TYPE_CHECKING:
    from pandas import DataFrame

OPTIMAL = "optimal rule"
SHOWN = 12
"""Thresholds printed at most; the frame has all of them."""


@dataclass(frozen=True)
class Change:
    """A threshold at which the regime of highest expected net monetary benefit changes."""

    threshold: float
    below: str
    above: str


@dataclass(frozen=True, eq=False)
class Acceptability:
    """Net monetary benefit of regimes over thresholds.

    Attributes
    ----------
    thresholds : array, shape (threshold,)
        What one unit of effect is worth, in units of cost.
    labels : tuple of str
        The regimes compared.
    effect, cost : array, shape (chain, draw, regime)
        Under each draw, averaged over patients like those observed.
    p_best, p_best_error : array, shape (threshold, regime)
        Acceptability curves: probability of the highest net monetary benefit among the regimes compared, and its Monte Carlo error.
    best : array of int, shape (threshold,)
        The frontier: the regime of highest expected net monetary benefit.
    near_tie : array of bool, shape (threshold,)
        Whether its lead over the next regime is within three Monte Carlo standard errors.
    evpi, evpi_error : array, shape (threshold,)
        Expected value of perfect information per patient for the choice among the regimes compared, ``E max - max E``, and its error.
    changes : tuple of Change
        Between the lowest and the highest threshold, exact.
    optimal_effect, optimal_cost : array, shape (chain, draw, threshold), or None
        Of the optimal rule of each threshold, on the same draws and patients; None where the tree of histories is too large.
    method : str
    ci_prob : float
    """

    thresholds: np.ndarray
    labels: tuple[str, ...]
    effect: np.ndarray
    cost: np.ndarray
    p_best: np.ndarray
    p_best_error: np.ndarray
    best: np.ndarray
    near_tie: np.ndarray
    evpi: np.ndarray
    evpi_error: np.ndarray
    changes: tuple[Change, ...]
    optimal_effect: np.ndarray | None
    optimal_cost: np.ndarray | None
    method: str
    ci_prob: float

    def benefit(self, threshold: float) -> np.ndarray:
        """Net monetary benefit of every regime at a threshold, shape (chain, draw, regime)."""
        return threshold * self.effect - self.cost

    def optimal(self, index: int) -> Summary | None:
        """Net monetary benefit of the optimal rule at one of the thresholds."""
        if self.optimal_effect is None or self.optimal_cost is None:
            return None
        return summarize(self.thresholds[index] * self.optimal_effect[..., index] - self.optimal_cost[..., index], self.ci_prob)

    def frame(self) -> "DataFrame":
        """One row per threshold and regime, those of the optimal rule after the regimes compared.

        Returns
        -------
        pandas.DataFrame
            Columns ``threshold``, ``regime``, ``mean``, ``lower``, ``upper`` and ``mcse`` of the net monetary benefit, ``p_best``,
            ``p_best_mcse``, ``frontier`` (highest mean of those compared), ``near_tie``, ``evpi`` and ``evpi_mcse`` (of the choice among
            those compared); the last six are empty for the optimal rule, which is not one of them.
        """
        import pandas as pd

        lines = []
        for k, w in enumerate(self.thresholds):
            for r, label in enumerate(self.labels):
                lines.append(self._line(k, label, summarize(self.benefit(w)[..., r], self.ci_prob)) | {
                    "p_best": self.p_best[k, r], "p_best_mcse": self.p_best_error[k, r], "frontier": bool(r == self.best[k]),
                    "near_tie": bool(self.near_tie[k]), "evpi": self.evpi[k], "evpi_mcse": self.evpi_error[k],
                })
            if (top := self.optimal(k)) is not None:
                lines.append(self._line(k, OPTIMAL, top))
        return pd.DataFrame(lines)

    def _line(self, k: int, label: str, value: Summary) -> dict[str, Any]:
        return {"threshold": float(self.thresholds[k]), "regime": label, "mean": value.mean, "lower": value.lower, "upper": value.upper,
                "mcse": value.mcse}

    def __str__(self) -> str:
        some = np.unique(np.linspace(0, len(self.thresholds) - 1, min(SHOWN, len(self.thresholds))).round().astype(int))
        letters = {r: _letter(i) for i, r in enumerate(dict.fromkeys(int(r) for r in [*self.best[some], *self._frontier()]))}
        lines = [f"Net monetary benefit: threshold x effect - cost, {len(self.labels)} regimes, {self.method}",
                 f"{'threshold':>10}  best  {'mean':>9} {f'{self.ci_prob:.0%} interval':>22} {'P(best)':>8} {'EVPI':>8} {'optimal rule':>13}"]
        for k in some:
            v, top = summarize(self.benefit(self.thresholds[k])[..., self.best[k]], self.ci_prob), self.optimal(k)
            at = places(v.sd)
            best = letters[int(self.best[k])] + ("*" if self.near_tie[k] else "")
            lines.append(f"{self.thresholds[k]:>10.4g}  {best:<4}  {decimal(v.mean, at):>9} "
                         f"{v.between(at):>22} {self.p_best[k, self.best[k]]:>8.3f} {self.evpi[k]:>8.3g} "
                         f"{'' if top is None else decimal(top.mean, at):>13}")
        lines += [f"  {letter}: {self.labels[r]}" for r, letter in letters.items()]
        if self.changes:
            lines.append("The best in expectation changes, exactly:")
            lines += [f"  at {c.threshold:.5g} from {self._named(c.below, letters)} to {self._named(c.above, letters)}" for c in self.changes]
        else:
            lines.append("The best in expectation is the same at every threshold between the lowest and the highest.")
        errors = [number(float(e.max()), form) for e, form in ((self.p_best_error, ".3f"), (self.evpi_error, ".2g"))]
        tie = " *: the lead over the next is within Monte Carlo error." if self.near_tie[some].any() else ""
        lines.append(f"P(best) and EVPI per patient are of the choice among the regimes compared; Monte Carlo error of P(best) at most {errors[0]}, "
                     f"of EVPI {errors[1]}.{tie}")
        lines.append("The optimal rule may be another at every threshold and looks at the whole history." if self.optimal_effect is not None else
                     "The tree of histories is too large to work the optimal rule out again at every threshold.")
        return fold("\n".join(lines))

    def _frontier(self) -> list[int]:
        return [self.labels.index(x) for c in self.changes for x in (c.below, c.above)]

    def _named(self, label: str, letters: Mapping[int, str]) -> str:
        return letters[self.labels.index(label)]


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"Z{i - 25}"


def acceptability(
    posterior: Posterior, *, effect: Utility | LifeUtility | str, cost: Mapping[str, Any] | Utility | str, thresholds: Sequence[float],
    regimes: Mapping[str, Any] | None = None, ci_prob: float = 0.95,
) -> Acceptability:
    """Net monetary benefit, acceptability curves and their frontier over willingness to pay.

    Parameters
    ----------
    posterior : Posterior
        Its study's own utility plays no part.
    effect : Utility, RestrictedMean, SurvivalAt, QualityAdjusted or str
        What is bought, such as quality-adjusted life.
    cost : mapping, str or Utility
        What is paid: decisions with what their options cost and responses with the cost per unit, ``{"second": {"surgery": 900},
        "visits": 80}``, or with a cost for every value; discounted as the effect is. Or the name of a response; or a Utility whose value
        is the cost.
    thresholds : sequence of float
        What one unit of effect is worth in units of cost: numbers from 0 on, increasing.
    regimes : mapping of str to regime, optional
        Regimes to compare in place of the embedded ones, as for :func:`bayesdtr.compare`.
    ci_prob : float
        Probability of the equal-tailed intervals.

    Returns
    -------
    Acceptability

    Raises
    ------
    StudyError
        Where effect or cost does not fit the study.
    DecisionError
        For thresholds or regimes that are none.

    Notes
    -----
    The curve of a regime is the probability that its net monetary benefit is highest; the regime to choose is the one of highest mean,
    the frontier, which need not be the most probable one. Safety gates play no part.

    References
    ----------
    Fenwick, Claxton and Sculpher (2001), Health Economics 10, 779-787. Stinnett and Mullahy (1998), Medical Decision Making 18, S68-S80.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"acceptability takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    if not 0 < ci_prob < 1:
        raise DecisionError(f"acceptability: ci_prob must lie between 0 and 1, got {ci_prob!r}.")
    if not isinstance(effect, Utility | LifeUtility | str):
        raise DecisionError(f"acceptability: effect is a Utility or the name of a response, got {effect!r}.")
    at = _thresholds(thresholds)
    gained = effect if isinstance(effect, Utility) else Utility(effect)
    parts = [gained, _cost(posterior.study, cost, gained.discount)]
    for part in parts:
        if part.attitude is not None:
            raise DecisionError(f"acceptability: net monetary benefit is a sum, which {part.attitude} cannot enter; leave attitude= out.")
        part.check(posterior.study)
    asked = asked_for(posterior, regimes, "acceptability")
    fixed, optimal, method = _valued(posterior, [rules for _, rules in asked], parts, at)
    best = None if optimal is None else chains_of(posterior, optimal)
    return _summarized(at, tuple(name or rules.label or "no choice" for name, rules in asked), chains_of(posterior, fixed), best, method, ci_prob)


def _thresholds(given: Any) -> np.ndarray:
    try:
        at = np.array([float(x) for x in given])
    except (TypeError, ValueError):
        raise DecisionError(f"acceptability: thresholds is a sequence of numbers, got {given!r}.") from None
    if not at.size or not np.isfinite(at).all() or (at < 0).any() or (np.diff(at) <= 0).any():
        raise DecisionError(f"acceptability: thresholds are finite numbers from 0 on, each larger than the one before, got {given!r}.")
    return at


def _cost(study: Study, given: Any, discount: float) -> Utility:
    """A utility whose value is the cost."""
    if isinstance(given, Utility):
        if given.costs:
            raise DecisionError("acceptability: cost is a Utility with costs= of its own, which are taken off its value; give the cost as a mapping, "
                                "such as {'second': {'surgery': 900}, 'visits': 80}.")
        return given
    given = {given: 1.0} if isinstance(given, str) else given
    if not isinstance(given, Mapping) or not given:
        raise DecisionError(f"acceptability: cost is a mapping of decisions to {{option: cost}} and of responses to costs, got {given!r}.")
    decisions = {d.name for d in study.decisions}
    if bad := [n for n in given if n in decisions and not isinstance(given[n], Mapping)]:
        raise DecisionError(f"acceptability: the cost of {bad[0]!r} is a mapping of its options to numbers, got {given[bad[0]]!r}.")
    prices = {n: {o: -x for o, x in v.items()} for n, v in given.items() if n in decisions}
    return Utility({n: v for n, v in given.items() if n not in decisions}, costs=prices, discount=discount)


def _valued(
    posterior: Posterior, rules: list[Rules], parts: list[Utility], at: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Effect and cost of regimes ``[draw, regime, 2]``, and of the optimal rule of every threshold ``[draw, threshold, 2]``."""
    world = World.of(dataclasses.replace(posterior, study=posterior.study.valued(Utility.of_all(parts))), rules)
    rows = baseline_rows(posterior)
    if (size := leaves(world, 0)) > MOST_LEAVES:
        some = thin_to(world, posterior, DRAWS)
        found = [[rollout(_under(some, u), rows, following_rules(some, r, posterior.seed), posterior.seed) for u in parts] for r in rules]
        return np.moveaxis(np.array(found), 2, 0), None, f"simulation on common random numbers, {some.size} draws"
    distinct, inverse = rows.unique()
    world = affordable(world, posterior, distinct.n, 0)
    weights = population_weights(world, inverse, distinct.n, posterior.seed, rows.sets)
    fixed, optimal = np.zeros((world.size, len(rules), 2)), np.zeros((world.size, len(at), 2))
    chunk = max(1, int(BUDGET // (size * world.size)))
    for begin in range(0, distinct.n, chunk):
        tree = Twofold.of(world, 0, distinct.take(np.arange(begin, min(begin + chunk, distinct.n))), parts)
        share = weights[:, begin : begin + tree.root.rows.n]
        for first, known in _tables(world, tree, parts, int(size)):
            block = slice(first, first + len(next(iter(known[0].values()))[1]))
            for e, r in enumerate(rules):
                found = [starting(world, r, tree.root, options(tree.root, k, following(world, r))) for k in known]
                fixed[block, e] += np.stack([(share[block] * q).sum(axis=1) for q in found], axis=-1)
            seen: dict[bytes, np.ndarray] = {}
            for k, w in enumerate(at):
                chosen = _best_at(tree, w)
                rule = b"".join(c.tobytes() for c in _choices(tree.root))
                if rule not in seen:
                    seen[rule] = _worth(tree.root, known, chosen, share[block])
                optimal[block, k] += seen[rule]
    return fixed, optimal, "by quadrature on the tree of histories" if any_grid(world) else "by enumeration of histories"


def _under(world: World, part: Utility) -> World:
    return dataclasses.replace(world, study=world.study.valued(part))


def _tables(world: World, tree: Twofold, parts: list[Utility], size: int) -> Iterator[tuple[int, list[Known]]]:
    """What every response node says under blocks of draws, of effect and of cost: all that a point earns is in its node's own earnings."""
    worlds = [_under(world, u) for u in parts]
    nodes, node = [], tree.root.child
    while node is not None:
        if not isinstance(node, DecisionNode):
            nodes.append(node)
            node.gain = None
        node = node.child
    gains = [[None if n.points is None else gain_of(w.study, n) for n in nodes] for w in worlds]
    step = max(1, int(BUDGET // (size * tree.root.rows.n)))
    for first in range(0, world.size, step):
        blocks = [w.block(first, first + step) for w in worlds]
        known: list[Known] = [{}, {}]
        for i, n in enumerate(nodes):
            p = None if n.points is None else blocks[0].probabilities(n.name, n.rows, n.points)
            for k, b in enumerate(blocks):
                total = np.broadcast_to(b.expected(n.name, n.rows, with_mean=p is None), (b.size, n.rows.n))
                gain = gains[k][i]
                known[k][id(n)] = p, total if p is None or gain is None else total + np.einsum("brp,rp->br", p, gain)
        yield first, known


def _worth(root: DecisionNode, known: list[Known], chosen: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Effect and cost of the committed rule under each draw, averaged over the root's rows; shape (draw, 2)."""
    at = np.arange(len(chosen))
    return np.stack([(share * options(root, k, committed)[:, at, chosen]).sum(axis=1) for k in known], axis=-1)


def _best_at(tree: Twofold, threshold: float) -> np.ndarray:
    """The optimal rule's first options at a threshold; marks its later ones on the tree."""
    n = tree.root.rows.n
    gained, paid = tree.parts(np.full(n, threshold), np.ones(n))
    tree.root.choice = np.where(tree.root.feasible, threshold * gained - paid, -np.inf).argmax(axis=1)
    return tree.root.choice


def _choices(node: Any) -> Iterator[np.ndarray]:
    while node is not None:
        if isinstance(node, DecisionNode):
            yield node.choice
        node = node.child


def _summarized(
    at: np.ndarray, labels: tuple[str, ...], fixed: np.ndarray, optimal: np.ndarray | None, method: str, ci_prob: float
) -> Acceptability:
    effect, cost = fixed[..., 0], fixed[..., 1]
    shape = (len(at), len(labels))
    p_best, p_error, best = np.zeros(shape), np.zeros(shape), np.zeros(len(at), dtype=int)
    near, evpi, evpi_error = np.zeros(len(at), dtype=bool), np.zeros(len(at)), np.zeros(len(at))
    for k, w in enumerate(at):
        nmb = w * effect - cost
        won = wins(nmb)
        p_best[k], p_error[k] = won.mean(axis=(0, 1)), batch_error(won)
        best[k] = nmb.mean(axis=(0, 1)).argmax()
        lost = nmb.max(axis=-1) - nmb[..., best[k]]
        evpi[k], evpi_error[k] = lost.mean(), batch_error(lost)
        if len(labels) > 1:
            second = np.where(np.arange(len(labels)) == best[k], -np.inf, nmb.mean(axis=(0, 1))).argmax()
            lead = nmb[..., best[k]] - nmb[..., second]
            near[k] = not lead.mean() > NEAR_SE * batch_error(lead)
    lines = crossings(effect.mean(axis=(0, 1)), cost.mean(axis=(0, 1)), float(at[0]), float(at[-1]))
    changes = tuple(Change(w, labels[a], labels[b]) for w, a, b in lines)
    parts = (None, None) if optimal is None else (optimal[..., 0], optimal[..., 1])
    return Acceptability(at, labels, effect, cost, p_best, p_error, best, near, evpi, evpi_error, changes, *parts, method, ci_prob)


def crossings(effect: np.ndarray, cost: np.ndarray, low: float, high: float) -> list[tuple[float, int, int]]:
    """Where the highest of the lines ``w effect - cost`` changes between two thresholds: the threshold, the line below it and the one above.

    Parameters
    ----------
    effect, cost : array, shape (line,)
    low, high : float
    """
    value = low * effect - cost
    line = int(np.lexsort((effect, value))[-1])
    found: list[tuple[float, int, int]] = []
    at = low
    while True:
        steeper = effect > effect[line]
        meets = np.full(len(effect), np.inf)
        meets[steeper] = (cost[steeper] - cost[line]) / (effect[steeper] - effect[line])
        if not (meets < high).any():
            return found
        at = max(float(meets.min()), at)
        nearest = np.flatnonzero(meets == meets.min())
        above = int(nearest[effect[nearest].argmax()])
        found.append((at, line, above))
        line = above
