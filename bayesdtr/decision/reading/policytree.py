"""`policy_tree`: rules that a clinician can read, the best of a class that the user names, and what reading them costs.

Histories that rules are fitted to are those of the observed patients at the first decision, and from there on posterior predictive ones
under options taken at random among the feasible. A rule of a class does not do the best for every history, so which one is best depends on
how patients come: under the rules' own earlier options another may be better (``histories="own"``), and a rule that is best for those who
follow the regime from the start may serve others badly.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError
from ...inference import Posterior
from ...study.rules import Rules, written
from ...study.study import Study
from ...study.timeline import Decision
from ..learner import REGRESSION
from ..optimize import fitted_policy
from ..regime import Regime, rows_before
from ..values import Summary, baseline_rows, summarize, values_of
from ..world import Rows, World, looked_at
from .foreseen import Foreseen, History, foreseen, method_of, watching
from .leaves import Stratum, fitted, rules_of
from .ruleclass import Class, class_of

PASSES = 20


@dataclass(frozen=True)
class Stability:
    """How a decision's rule holds when it is fitted to single draws of the posterior instead of all of them.

    Attributes
    ----------
    decision : str
    where : str
        The feasible set's condition; empty where there is one set only.
    root : str
        Variable that the rule asks about first; empty where it asks nothing.
    same_root : float
        Share of refitted rules that ask about the same variable first.
    roots : tuple of (variable, share)
        What they ask about first, the most frequent first; an empty name asks nothing.
    agreement : float
        Share of the patients who reached this choice that are given the committed rule's option, averaged over refits; NaN without patients.
    patients : int
    """

    decision: str
    where: str
    root: str
    same_root: float
    roots: tuple[tuple[str, float], ...]
    agreement: float
    patients: int


@dataclass(frozen=True, eq=False)
class PolicyTree:
    """Rules of a named class, fitted stage by stage and committed to.

    Attributes
    ----------
    regime : Regime
        The best rule, with which they are compared.
    asked : Class
    strata : tuple of Stratum
        For every decision and distinct feasible set with a choice, the rule.
    rules : Rules
        All of them as one written regime, for :func:`bayesdtr.compare` and files.
    draws : array, shape (chain, draw)
        Posterior of their value.
    best_draws : array, shape (chain, draw)
        That of the best rule, on the same draws, patients and random numbers.
    agreement : tuple of (decision, patients alike, patients with a choice)
        Observed patients to whom they and the best rule give the same option.
    stability : tuple of Stability
    refits : int
        Draws to each of which rules were refitted.
    method : str
        How histories were found that the rules were fitted to.
    """

    regime: Regime
    asked: Class
    strata: tuple[Stratum, ...]
    rules: Rules
    draws: np.ndarray
    best_draws: np.ndarray
    agreement: tuple[tuple[str, int, int], ...]
    stability: tuple[Stability, ...]
    refits: int
    method: str

    def value(self, *, ci_prob: float = 0.95) -> Summary:
        """Posterior of the value under the model, averaged over the observed patients, in units of the utility."""
        return summarize(self.draws, ci_prob)

    def price(self, *, ci_prob: float = 0.95) -> Summary:
        """Price of interpretability: posterior of the best rule's value minus these rules', draw by draw.

        Its mean is at least 0 up to Monte Carlo error; a single draw may prefer the simpler rule.
        """
        return summarize(self.best_draws - self.draws, ci_prob)

    def lines(self) -> list[str]:
        """The rules as readable if-then text, one line per branch."""
        found: list[str] = []
        for name in dict.fromkeys(s.decision for s in self.strata):
            for s in (s for s in self.strata if s.decision == name):
                found.append(f"{name}, where {s.where}" if s.where else name)
                found += [f"  {line}" for line in s.lines(self.asked.kind)]
        return found

    def frame(self) -> Any:
        """The leaves as a pandas frame: ``decision``, ``where``, ``if``, ``option``, ``patients``, ``share``, ``lead``, ``over``."""
        import pandas as pd

        return pd.DataFrame([
            {"decision": s.decision, "where": s.where, "if": " and ".join(leaf.answers), "option": leaf.option, "patients": leaf.patients,
             "share": leaf.share, "lead": leaf.lead, "over": leaf.over}
            for s in self.strata for leaf in s.leaves
        ])

    def __str__(self) -> str:
        from .leaves import told

        return told(self)


def policy_tree(
    regime: Regime, *, depth: int = 2, kind: str = "tree", variables: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    without: Sequence[str] = (), least: int = 5, cuts: int = 64, histories: str = "random", refits: int = 50,
) -> PolicyTree:
    """The best rules of a class that a clinician can read, with the price of reading them and how they hold over draws.

    From the last decision backwards the tree (or if-then list) with the highest posterior-expected utility over the histories that patients may
    come with is committed to; earlier decisions foresee it. Within the class the search is exact.

    Parameters
    ----------
    regime : Regime
        The best rule of a posterior, from :func:`bayesdtr.optimize`.
    depth : {1, 2}
        Levels of tests of a tree; of a list the number of if-then clauses, each with one test.
    kind : {"tree", "list"}
        A list reads: if this, one option; else if that, another; else a third.
    variables : sequence of str, or mapping of decision to sequence of str, optional
        What the rules may ask about, by default all of the history but sensitive covariates. A list serves all decisions at which it is known.
    without : sequence of str
        What they may not ask about.
    least : int
        Fewest observed patients in a leaf.
    cuts : int
        Most cuts of a variable without a finite list of values, at quantiles; all of them are tried where it has fewer values.
    histories : {"random", "own"}
        How patients come to later decisions when rules are fitted there: by options taken at random among the feasible, or by the rules' own
        earlier options, which serves those who follow them from the start; rules are then refitted, the last first, until none changes.
    refits : int
        Draws of the posterior, evenly spaced, to each of which the rules are fitted again to show how stable they are; 0 for none.

    Returns
    -------
    PolicyTree

    Raises
    ------
    DecisionError
        For a class that is empty or not searched, variables not known at their decision, a regime with safety gates, values not on the same draws.

    Notes
    -----
    At the last decision the rule ``d`` of the class maximises ``sum_h w(h) E[q(h, d(h); theta)]``, where ``w`` is the probability of the
    history ``h``. The expected value is linear in these scores, so that the Bayes rule within the class takes one optimisation, not one per
    draw. Which rule of a class is best depends on ``w``: no rule of it does the best for everybody. The price tells what is lost in all.
    Each distinct feasible set of a decision has a rule of its own, so that no leaf names what is not feasible.

    References
    ----------
    Athey and Wager, Econometrica 89 (2021) 133-161; Zhang, Laber, Davidian and Tsiatis, JASA 113 (2018) 1541-1549 (if-then lists).
    """
    asked = class_of(regime, depth, kind, variables, without, least, cuts, histories, refits)
    posterior = regime.posterior
    observed = {d.name: _observed(posterior, d) for d in posterior.study.decisions}
    strata, rules, history = _committed(regime, asked, observed)
    rules = written(posterior.study, rules.by_decision, "policy_tree")
    draws, best = _values(regime, rules)
    stability = _stability(posterior.study, history, asked, observed, strata, rules, int(refits))
    alike, count = _agreement(regime, rules, observed), min(int(refits), history.world.size)
    return PolicyTree(regime, asked, strata, rules, draws, best, alike, stability, count, method_of(history))


# ---- fitting --------------------------------------------------------------------------------------------


def _observed(posterior: Posterior, decision: Decision) -> Rows:
    """Histories of the observed patients who reached a decision."""
    t = posterior.trajectories
    return rows_before(posterior, t, decision.name, np.flatnonzero(t.reached(posterior.study, decision.name)))


def _world(posterior: Posterior, asked: Class, later: Rules) -> World:
    """The posterior's world, in which all that rules may ask about is kept, with the thresholds committed to."""
    responses = {r.name for r in posterior.study.responses}
    names: dict[str, Sequence[float]] = {n: () for _, of in asked.variables for n in of if n in responses}
    world = watching(World.of(posterior), names | {n: c for n, c in looked_at([later]).items() if n in responses})
    if world.shifted and world.matters(world.shifted[0]):
        raise DecisionError(f"policy_tree: this posterior shifts the missing outcomes of {world.shifted[0]!r} in their mean only, and a rule that "
                            f"asks about it looks at single outcomes; give without=[{world.shifted[0]!r}].")
    return world


def _by_regression(regime: Regime) -> bool:
    """Whether the best rule's own values come from simulation."""
    return regime.methods[regime.posterior.study.decisions[0].name].startswith(REGRESSION)


def _committed(regime: Regime, asked: Class, observed: Mapping[str, Rows]) -> tuple[tuple[Stratum, ...], Rules, History]:
    """Rules from the last decision backwards, each committed to before the one before it is fitted."""
    posterior, study, rows = regime.posterior, regime.posterior.study, baseline_rows(regime.posterior)
    def history_for(rules: Rules) -> History:
        return foreseen(posterior, _world(posterior, asked, rules), rows, simulate=_by_regression(regime))

    history = history_for(Rules(()))
    # Thresholds that later rules name are grown into the tree of histories, so that what jumps there is integrated exactly.
    strata, rules = _fit(study, lambda later: history_for(later) if looked_at([later]) else history, asked, observed)
    return strata, rules, history_for(rules) if looked_at([rules]) else history


def _fit(
    study: Study, history: Callable[[Rules], History], asked: Class, observed: Mapping[str, Rows]
) -> tuple[tuple[Stratum, ...], Rules]:
    """Fit all stages; under their own histories, as often as it takes for nothing to change.

    Parameters
    ----------
    history : callable
        From rules that have been committed to, to the histories in which they can be followed.
    """
    found: dict[str, tuple[Stratum, ...]] = {}
    rules = earlier = None
    for _ in range(PASSES if asked.histories == "own" and len(study.decisions) > 1 else 1):
        before = rules
        for stage in reversed(range(len(study.decisions))):
            after = rules_of([s for d in study.decisions[stage + 1 :] for s in found[d.name]], asked.kind)
            first = Rules(tuple(b for b in earlier.decisions if study.stage(b[0]) <= stage)) if earlier else None
            seen = history(_together(first, after)).at(stage, after, first)
            found[study.decisions[stage].name] = _stage(study, stage, seen, observed, asked)
        rules = rules_of([s for d in study.decisions for s in found[d.name]], asked.kind)
        if rules == before:
            break
        earlier = rules
    assert rules is not None
    return tuple(s for d in study.decisions for s in found[d.name]), rules


def _together(first: Rules | None, after: Rules) -> Rules:
    return after if first is None else Rules((*first.decisions, *after.decisions))


def _stage(study: Study, stage: int, seen: Foreseen, observed: Mapping[str, Rows], asked: Class) -> tuple[Stratum, ...]:
    """A decision's rules, one for each distinct feasible set that offers a choice."""
    decision = study.decisions[stage]
    names = dict(asked.variables)[decision.name]
    return tuple(
        fitted(study, decision, options, seen, observed[decision.name], names, asked) for options in decision.sets if len(options) > 1
    )


def _values(regime: Regime, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """Values of the rules and of the best one on the same draws, patients and random numbers."""
    posterior = regime.posterior
    policy = (lambda world: fitted_policy(world, dict(regime.fits))) if _by_regression(regime) else None
    found = values_of(posterior, [rules], posterior.seed, optimal=True, policy=policy)
    if found.optimal is None:
        raise DecisionError("policy_tree: with what these rules look at, the tree of histories is too large and they are simulated, while the best "
                            "rule's values come from a tree; give it a regime of optimize(posterior, method='regression').")
    return found.draws[..., 0], found.optimal


def _options(study: Study, decision: str, rules: Rules, rows: Rows) -> np.ndarray:
    """What rules say to observed patients, codes of shape (row,)."""
    return rules.option(study, decision, rows.columns or {"": np.zeros(rows.n)})


def _choice(study: Study, decision: Decision, rows: Rows) -> np.ndarray:
    """Observed patients who have a choice, shape (row,)."""
    if not rows.columns:
        return np.full(rows.n, len(decision.options) > 1)
    return study.feasible(decision.name, rows.columns).sum(axis=1) > 1


def _agreement(regime: Regime, rules: Rules, observed: Mapping[str, Rows]) -> tuple[tuple[str, int, int], ...]:
    study, found = regime.posterior.study, []
    for d in study.decisions:
        some = observed[d.name].take(np.flatnonzero(_choice(study, d, observed[d.name])))
        if some.n:
            same = _options(study, d.name, rules, some) == regime.assess(d.name, some).choice
            found.append((d.name, int(same.sum()), some.n))
    return tuple(found)


def _stability(
    study: Study, history: History, asked: Class, observed: Mapping[str, Rows], strata: Sequence[Stratum], rules: Rules, refits: int
) -> tuple[Stability, ...]:
    """Refit to single draws, all stages anew."""
    if not refits:
        return ()
    alike: list[list[np.ndarray]] = [[] for _ in strata]
    roots: list[Counter[str]] = [Counter() for _ in strata]
    members = [_members(study, s, observed[s.decision]) for s in strata]
    said = [_options(study, s.decision, rules, m) if m.n else np.empty(0) for s, m in zip(strata, members, strict=True)]
    draws = np.unique(np.linspace(0, history.world.size - 1, min(refits, history.world.size)).astype(int))
    for draw in draws:
        alone = history.alone(int(draw))
        found, mine = _fit(study, lambda _, alone=alone: alone, asked, observed)
        for k, (s, m) in enumerate(zip(found, members, strict=True)):
            roots[k][s.root] += 1
            if m.n:
                alike[k].append((_options(study, s.decision, mine, m) == said[k]).mean())
    return tuple(
        Stability(s.decision, s.where, s.root, roots[k][s.root] / len(draws), tuple((n, c / len(draws)) for n, c in roots[k].most_common()),
                  float(np.mean(alike[k])) if alike[k] else float("nan"), members[k].n)
        for k, s in enumerate(strata)
    )


def _members(study: Study, stratum: Stratum, rows: Rows) -> Rows:
    """Observed patients with a stratum's feasible set."""
    return rows.take(np.flatnonzero(stratum.holds(study, rows)))
