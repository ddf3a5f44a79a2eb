"""The best regime under which no subgroup loses, the one whose worst-off subgroup fares best, and lotteries between regimes."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError, did_you_mean, listing
from ...inference import Posterior
from ...study.rules import Rules, written
from ..induction import MOST_LEAVES, leaves
from ..learner import REGRESSION
from ..optimize import fitted_policy, optimize
from ..regime import Regime
from ..values import Summary, batch_error, summarize, values_of
from ..world import World
from .fairtext import told
from .lottery import Lottery, best_lottery
from .subgroups import labels_by

OBJECTIVES = ("value", "maxmin")
OPTIMAL = "optimal"
ROUNDING = 1e-11
"""Of the largest value."""
NEAR_SE = 3.0
"""What lies within this many Monte Carlo standard errors of its limit could have been decided by them."""


@dataclass(frozen=True, eq=False)
class Fair:
    """Regimes of a class, judged subgroup by subgroup on the same draws.

    Attributes
    ----------
    by : str
        What subgroups are told apart by.
    groups : tuple of str
    patients : tuple of int
        In each subgroup.
    regimes : mapping of str to Rules or Regime
        The class; the Regime among them, if any, is a committed rule of highest posterior-expected utility.
    draws : array, shape (chain, draw, regime)
        Posterior of each regime's value, over all patients.
    group_draws : array, shape (chain, draw, regime, group)
    reference : Rules or None
        What losses are counted from; None where nothing is demanded but the objective.
    reference_draws : array, shape (chain, draw, group), or None
    margin, probability : float
        A regime qualifies where every subgroup's posterior probability of losing more than `margin` is below `probability`.
    objective : {"value", "maxmin"}
    visible : bool
        Whether rules see what tells the subgroups apart.
    method : str
    """

    by: str
    groups: tuple[str, ...]
    patients: tuple[int, ...]
    regimes: Mapping[str, Rules | Regime]
    draws: np.ndarray
    group_draws: np.ndarray
    reference: Rules | None
    reference_draws: np.ndarray | None
    margin: float
    probability: float
    objective: str
    visible: bool
    method: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regimes, along the axes of the draws."""
        return tuple(self.regimes)

    @property
    def best(self) -> str:
        """The regime of highest posterior mean value, whoever loses."""
        return self.names[self._first(np.arange(len(self.names)), self.draws.mean(axis=(0, 1)))]

    @functools.cached_property
    def chosen(self) -> str | None:
        """The best regime, by the objective, of those that qualify; None where none does."""
        means = self.draws.mean(axis=(0, 1))
        keys = means if self.objective == "value" else self.group_draws.mean(axis=(0, 1)).min(axis=1)
        left = np.flatnonzero(self.qualifies)
        return self.names[self._first(left[keys[left] >= keys[left].max() - self.rounding], means)] if left.size else None

    @functools.cached_property
    def lottery(self) -> Lottery | None:
        """The best mixture of the class under the mean version of the constraint; None where no mixture meets it."""
        floor = None if self.reference_draws is None else self.reference_draws.mean(axis=(0, 1)) - self.margin
        return best_lottery(self.names, self.draws.mean(axis=(0, 1)), self.group_draws.mean(axis=(0, 1)), floor, self.objective)

    @property
    def regime(self) -> Rules | Regime | None:
        """The chosen regime itself."""
        return None if self.chosen is None else self.regimes[self.chosen]

    @functools.cached_property
    def lost(self) -> np.ndarray | None:
        """Whether each subgroup loses more than the margin, draw by draw, as 0 and 1, shape (chain, draw, regime, group)."""
        if self.reference_draws is None:
            return None
        return (self.group_draws - self.reference_draws[:, :, None, :] < -self.margin - self.rounding).astype(float)

    @property
    def rounding(self) -> float:
        """Differences smaller than this are rounding: where two regimes do the same, neither loses."""
        return ROUNDING * float(np.abs(self.group_draws).max())

    @property
    def losses(self) -> np.ndarray | None:
        """Posterior probability of each subgroup's losing more than the margin under each regime, shape (regime, group); None without reference."""
        return None if self.lost is None else self.lost.mean(axis=(0, 1))

    @property
    def qualifies(self) -> np.ndarray:
        """Which regimes meet the constraint, shape (regime,)."""
        losses = self.losses
        return np.ones(len(self.names), dtype=bool) if losses is None else (losses < self.probability).all(axis=1)

    @property
    def losers(self) -> tuple[str, ...]:
        """Subgroups that lose too probably under the best regime."""
        losses = self.losses
        return () if losses is None else tuple(g for g, p in zip(self.groups, losses[self.names.index(self.best)], strict=True)
                                               if p >= self.probability)

    @property
    def price(self) -> Summary | None:
        """Value that the best regime has over the chosen one, draw by draw: the price of fairness."""
        return None if self.chosen is None else summarize(self._of(self.best) - self._of(self.chosen))

    @property
    def lottery_price(self) -> Summary | None:
        """Value that the best regime has over the lottery, draw by draw."""
        return None if self.lottery is None else summarize(self._of(self.best) - self.lottery.mixed(self.draws))

    @property
    def undecided(self) -> tuple[str, ...]:
        """Regimes of which Monte Carlo error could have decided whether they qualify."""
        if self.lost is None:
            return ()
        far, p = NEAR_SE * batch_error(self.lost), self.lost.mean(axis=(0, 1))
        surely = (p - self.probability > far).any(axis=1) | (self.probability - p > far).all(axis=1)
        return tuple(n for n, sure in zip(self.names, surely, strict=True) if not sure)

    def frame(self) -> Any:
        """The table as a pandas frame, one row per regime and subgroup: means, gains over the reference, probabilities of losing."""
        import pandas as pd

        losses, ok, rows = self.losses, self.qualifies, []
        for r, name in enumerate(self.names):
            for g, group in enumerate(self.groups):
                value = summarize(self.group_draws[..., r, g])
                row = {"regime": name, "group": group, "patients": self.patients[g], "value": value.mean, "value_mcse": value.mcse,
                       "lower_0.95": value.lower, "upper_0.95": value.upper}
                if self.reference_draws is not None and losses is not None:
                    gain = summarize(self.group_draws[..., r, g] - self.reference_draws[..., g])
                    row |= {"gain": gain.mean, "gain_lower_0.95": gain.lower, "gain_upper_0.95": gain.upper, "p_loss": losses[r, g]}
                rows.append(row | {"qualifies": bool(ok[r]), "chosen": name == self.chosen, "best": name == self.best})
        return pd.DataFrame(rows)

    def _first(self, left: np.ndarray, keys: np.ndarray) -> int:
        """The regime of highest key among some; the first of those that differ by rounding alone."""
        return int(left[keys[left] >= keys[left].max() - self.rounding][0])

    def _of(self, name: str) -> np.ndarray:
        return self.draws[..., self.names.index(name)]

    def __str__(self) -> str:
        return told(self)


def fair(
    posterior: Posterior, groups: str | Sequence[Any], *, over: Mapping[str, Any] | None = None, against: Any = "reference", margin: float = 0.0,
    probability: float = 0.05, objective: str = "value",
) -> Fair:
    """The best regime of a class under which no subgroup loses; or the one whose worst-off subgroup fares best.

    Parameters
    ----------
    posterior : Posterior
    groups : str or sequence
        As for :func:`bayesdtr.by_group`: a covariate, one declared ``sensitive=True`` included, or a label for each patient.
    over : mapping of str to regime, optional
        The class by name: written regimes, as for :func:`bayesdtr.compare`, and at most one Regime, what :func:`bayesdtr.optimize` returns
        (which heeds its safety gates; written regimes are valued as they are written). By default the embedded regimes and the optimal one.
    against : regime, "reference" or None
        What a subgroup loses from: the study's reference regime, or a written one. None demands nothing of losses (with "maxmin" only).
    margin : float
        Loss in utility that does not matter.
    probability : float
        A regime qualifies where ``P(V_g(d) - V_g(reference) < -margin)`` is below this for every subgroup g.
    objective : {"value", "maxmin"}
        Among those that qualify: the highest posterior mean value, or the highest smallest posterior mean value of a subgroup.

    Returns
    -------
    Fair

    Raises
    ------
    DecisionError, StudyError
        For what tells no subgroups, without a reference, for a regime that does not fit, or a number out of range.

    Notes
    -----
    The best *lottery* draws a regime of the class once for each patient, with shares found by linear programming on posterior means: the
    highest mean value with ``sum_d w_d E V_g(d) >= E V_g(reference) - margin`` for every g, or the highest smallest ``sum_d w_d E V_g(d)``
    under the same demand. It is exact with respect to these means and demands less of each subgroup than the probabilities above do, which
    are printed for it too.

    Under the model, and without gates, the optimal regime is the best for every subgroup in posterior mean: it takes the best option at every
    history, and subgroups told apart by what rules see, or by what neither models nor rules see, differ only in how often a history occurs.
    A price of fairness then arises where more certainty is demanded than there is, or in a class of simpler regimes without it.
    Where models do not see what tells subgroups apart, these are taken to fare alike given the same history. Whether they do, only a model
    that sees it can say: ``Baseline(..., sensitive="use")``.
    """
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"fair takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    _check(margin, probability, objective)
    reference = _reference(posterior, against, objective)
    by, labels = labels_by(posterior, groups, "fair")
    kinds = tuple(sorted(set(labels.tolist())))
    inside = [np.flatnonzero(labels == kind) for kind in kinds]
    regimes = _class(posterior, over, reference)
    every, apart, method = _valued(posterior, regimes, reference, inside)
    return Fair(
        by, kinds, tuple(map(len, inside)), regimes, every[0], np.stack(every[1:], axis=-1), reference,
        None if reference is None else np.stack(apart[1:], axis=-1), float(margin), float(probability), objective,
        isinstance(groups, str) and groups in posterior.study.names, method,
    )


def _valued(
    posterior: Posterior, regimes: Mapping[str, Rules | Regime], reference: Rules | None, inside: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], str]:
    """Values of the class ``(chain, draw, regime)`` and of the reference ``(chain, draw)``, over all patients and over each subgroup."""
    rules = [r for r in regimes.values() if isinstance(r, Rules)] + ([reference] if reference is not None else [])
    regime = next((r for r in regimes.values() if isinstance(r, Regime)), None)
    policy = (lambda world: fitted_policy(world, dict(regime.fits))) if regime is not None and _fitted(regime) else None
    order = np.argsort([isinstance(r, Regime) for r in regimes.values()], kind="stable").argsort()  # from written ones first to the class's order
    every, apart, method = [], [], ""
    for members in (None, *inside):
        found = values_of(posterior, rules, posterior.seed, optimal=regime is not None, policy=policy, members=members,
                          safety=None if regime is None else regime.safety)
        written_ = found.draws if reference is None else found.draws[..., :-1]
        parts = [written_] if found.optimal is None else [written_, found.optimal[..., None]]
        every.append(np.concatenate(parts, axis=-1)[..., order])
        apart += [found.draws[..., -1]] if reference is not None else []
        method = found.method
    return every, apart, method


def _fitted(regime: Regime) -> bool:
    return regime.methods[regime.posterior.study.decisions[0].name].startswith(REGRESSION)


def _check(margin: Any, probability: Any, objective: Any) -> None:
    if isinstance(margin, bool) or not isinstance(margin, int | float | np.number) or not 0 <= margin < np.inf:
        raise DecisionError(f"fair: margin is a finite number of at least 0, got {margin!r}.")
    if isinstance(probability, bool) or not isinstance(probability, int | float | np.number) or not 0 < probability <= 1:
        raise DecisionError(f"fair: probability lies between 0 and 1, got {probability!r}.")
    if objective not in OBJECTIVES:
        raise DecisionError(f"fair: no objective {objective!r}; allowed: {listing(OBJECTIVES)}{did_you_mean(objective, OBJECTIVES)}")


def _class(posterior: Posterior, over: Any, reference: Rules | None) -> dict[str, Rules | Regime]:
    """The regimes of the class by name; embedded ones are called by what they do."""
    study, more = posterior.study, [] if reference is None else [reference]
    if over is None:
        embedded = {r.label or "no choice": r for r in study.embedded()}
        tall = leaves(World.of(posterior, [*embedded.values(), *more]), 0) > MOST_LEAVES
        return {OPTIMAL: optimize(posterior, method="regression" if tall else "auto"), **embedded}
    if not isinstance(over, Mapping) or not over or not all(isinstance(n, str) and n for n in over):
        raise DecisionError(f"fair: over is a mapping of names to regimes, such as {{'usual care': {{'first': 'a'}}}}, got {over!r}.")
    found: dict[str, Rules | Regime] = {}
    for name, r in over.items():
        found[name] = r if isinstance(r, Regime) else written(study, r.by_decision if isinstance(r, Rules) else r, f"regime {name!r}")
    made = [r for r in found.values() if isinstance(r, Regime)]
    if len(made) > 1:
        raise DecisionError("fair: over holds several Regimes; at most one of what optimize returns, beside written ones.")
    if made and (made[0].posterior.tree is not posterior.tree or made[0].posterior.study != study):
        raise DecisionError("fair: over holds a Regime of another posterior or of another utility; give the one that was made of this posterior.")
    if made and not _fitted(made[0]):
        rules = [r for r in found.values() if isinstance(r, Rules)]
        if leaves(World.of(posterior, [*rules, *more]), 0) > MOST_LEAVES:
            raise DecisionError("fair: with what these regimes look at, the tree of histories is too large and they are simulated, while the optimal "
                                "regime's values come from a tree; give optimize(posterior, method='regression').")
    return found


def _reference(posterior: Posterior, against: Any, objective: str) -> Rules | None:
    """What losses are counted from."""
    study = posterior.study
    if against is None:
        if objective != "maxmin":
            raise DecisionError("fair: against=None demands nothing of losses, so that the best regime is the optimal one; use objective='maxmin', "
                                "or name the regime that no subgroup is to lose from.")
        return None
    if against == "reference":
        if study.reference is None:
            raise DecisionError("fair: the study names no reference regime; give against={...} with the one that no subgroup is to lose from"
                                + (", or against=None." if objective == "maxmin" else "."))
        return study.reference
    if isinstance(against, Regime) or not isinstance(against, Mapping | Rules):
        raise DecisionError(f"fair: against is a written regime, a mapping of decisions to options, 'reference' or None, got {against!r}.")
    return written(study, against.by_decision if isinstance(against, Rules) else against, "against")
