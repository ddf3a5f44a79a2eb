"""Who gains: the regime's value, and its gain over the reference, subgroup by subgroup."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DecisionError, did_you_mean, listing
from ...inference import Posterior
from ...schema import SENSITIVE, variable
from ...study.rules import Rules
from ...study.timeline import finite_values, shown
from ...text import decimal, fold, places
from ..induction import MOST_LEAVES, committed, following, leaves, solve
from ..learner import REGRESSION
from ..optimize import fitted_policy
from ..regime import Regime
from ..rollout import DRAWS, following_rules, rollout
from ..values import Summary, affordable, baseline_rows, chains_of, members_of, population_weights, root_of, summarize, thin_to
from ..world import Rows, World
from ..written import starting

MOST_GROUPS = 20


@dataclass(frozen=True)
class Group:
    """One subgroup.

    Attributes
    ----------
    label : str
    patients : int
    value : Summary
        Posterior of the regime's value among patients like these.
    gain : Summary or None
        That value minus the reference regime's, draw by draw; None without a reference.
    p_loss : float or None
        Posterior probability that the subgroup does worse than under the reference by more than `margin`.
    """

    label: str
    patients: int
    value: Summary
    gain: Summary | None
    p_loss: float | None


@dataclass(frozen=True)
class Subgroups:
    """Values by subgroup.

    Attributes
    ----------
    by : str
    rows : tuple of Group
    margin : float
        Loss in utility that does not matter.
    gap : Summary
        Largest minus smallest subgroup value, by posterior means, draw by draw.
    """

    by: str
    rows: tuple[Group, ...]
    margin: float
    gap: Summary

    @property
    def worst(self) -> Group:
        """The subgroup with the lowest posterior mean value."""
        return min(self.rows, key=lambda g: g.value.mean)

    def __str__(self) -> str:
        width = min(max(len(g.label) for g in self.rows), 20) + 2
        lines = [f"{'':<{width}} {'n':>5} {'value':>9} {'95% interval':>20} {'gain':>9} {'95% interval':>20} {'P(loss)':>8}"]
        at = places(*(s.sd for g in self.rows for s in (g.value, g.gain) if s is not None))
        for g in self.rows:
            first, *rest = textwrap.wrap(g.label, width - 2, subsequent_indent="  ") or [""]
            line = f"{first:<{width}} {g.patients:>5} {decimal(g.value.mean, at):>9} {g.value.between(at):>20}"
            if g.gain is not None:
                line += f" {decimal(g.gain.mean, at):>9} {g.gain.between(at):>20} {g.p_loss:>8.4f}"
            lines += [line, *rest]
        gap = self.gap
        lines.append(f"Largest minus smallest value: {decimal(gap.mean, at)} ({gap.between(at)}). Subgroups by {self.by}.")
        if self.rows[0].gain is None:
            lines.append("Gains are not provided: the study names no reference regime.")
        else:
            lines.append(f"Gain: over the reference regime. P(loss): probability of doing worse than under it by more than {self.margin:.4g}.")
        return fold("\n".join(lines))


def by_group(regime: Regime, groups: str | Sequence[Any], *, margin: float | None = None) -> Subgroups:
    """The regime's value and its gain over the study's reference regime in each subgroup.

    Parameters
    ----------
    regime : Regime
    groups : str or sequence
        A covariate with a finite list of values (a number with at most 20 of them counts), one declared ``sensitive=True`` included: patients
        for whom it is not recorded are a subgroup of their own. Or a label for each patient, in the order of the data. Labels may come
        from a column that the study does not have: it then serves this audit only, and neither models nor rules see it.
    margin : float, optional
        Loss in utility that does not matter; by default 0.

    Returns
    -------
    Subgroups

    Raises
    ------
    DecisionError
        For a variable that is no covariate of the study or has too many values, or labels that are not one for each patient.

    Notes
    -----
    Values are under the model, averaged over the subgroup's observed patients, whose weights follow the Bayesian bootstrap. Subgroups by a
    column that models do not see are taken to fare alike given the same history; whether they do, only a model that sees it can say. That a
    column is left out of the rule does not make the rule fair to the groups that it tells apart: this table is how to see it.
    """
    if not isinstance(regime, Regime):
        raise DecisionError(f"by_group takes a Regime, what optimize returns, got {type(regime).__name__}.")
    margin = 0.0 if margin is None else margin
    if isinstance(margin, bool) or not isinstance(margin, int | float | np.number) or not margin >= 0:
        raise DecisionError(f"by_group: margin is a number of at least 0, got {margin!r}.")
    name, labels = labels_by(regime.posterior, groups, "by_group")
    reference = regime.posterior.study.reference
    kinds = sorted(set(labels.tolist()))
    found, values = [], []
    drawn = _values(regime, reference, [np.flatnonzero(labels == kind) for kind in kinds])
    for kind, (value, other) in zip(kinds, drawn, strict=True):
        gain = None if other is None else value - other
        found.append(Group(kind, int((labels == kind).sum()), summarize(value), None if gain is None else summarize(gain),
                           None if gain is None else float((gain < -margin).mean())))
        values.append(value)
    means = [v.mean() for v in values]
    return Subgroups(name, tuple(found), float(margin), summarize(values[int(np.argmax(means))] - values[int(np.argmin(means))]))


def labels_by(posterior: Posterior, groups: Any, verb: str) -> tuple[str, np.ndarray]:
    """What subgroups are told apart by, and each patient's label.

    Parameters
    ----------
    posterior : Posterior
    groups : str or sequence
        As for :func:`by_group`.
    verb : str
        Begins the messages.

    Returns
    -------
    by : str
    labels : array of str, shape (patient,)

    Raises
    ------
    DecisionError
    """
    t, study = posterior.trajectories, posterior.study
    if isinstance(groups, str):
        nodes = {b.name: b for b in (*study.baselines, *study.audited)}
        if groups not in nodes:
            raise DecisionError(f"{verb}: {groups!r} is no covariate of the study; covariates: {listing(nodes) or 'none'}"
                                f"{did_you_mean(groups, nodes) or '.'} For a column that the study does not have, give its labels, one "
                                "for each patient.")
        node = nodes[groups]
        column = t.extras[variable(groups, SENSITIVE)] if node in study.audited else t.columns[groups]
        known = ~np.isnan(column) if node in study.audited else t.observed(groups)
        if finite_values(node) is None and len(np.unique(column[known])) > MOST_GROUPS:
            raise DecisionError(f"{verb}: {groups!r} has {len(np.unique(column[known]))} values; give labels of classes of it, one for each patient.")
        told = [(shown(node, c) if node.levels else f"{c:g}") if there else "" for c, there in zip(column, known, strict=True)]
        return groups, np.array([f"{groups} = {x}" if x else f"{groups} not recorded" for x in told])
    labels = np.array([str(x) for x in groups])
    if labels.shape != (t.n,):
        raise DecisionError(f"{verb}: {labels.size} labels for {t.n} patients; give one for each, in the order of the data.")
    if len(set(labels.tolist())) > MOST_GROUPS:
        raise DecisionError(f"{verb}: {len(set(labels.tolist()))} different labels; at most {MOST_GROUPS}.")
    return "the labels given", labels


def _values(regime: Regime, reference: Rules | None, members: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Draws ``(chain, draw)`` of the regime's value, and of the reference's, in each subgroup of patients."""
    posterior = regime.posterior
    world = World.of(posterior, [reference] if reference is not None else []).under(regime.safety)
    rows = baseline_rows(posterior)
    fitted = regime.methods[posterior.study.decisions[0].name].startswith(REGRESSION)
    found = []
    for inside in members:
        some = members_of(rows, inside)
        if fitted or leaves(world, 0) > MOST_LEAVES:
            if not fitted:
                raise DecisionError("by_group: with what the reference looks at, the tree of histories is too large; use "
                                    "optimize(method='regression').")
            few = thin_to(world, posterior, DRAWS)
            value = rollout(few, some, fitted_policy(few, dict(regime.fits)), posterior.seed)
            other = None if reference is None else rollout(few, some, following_rules(few, reference, posterior.seed), posterior.seed)
        else:
            value, other = _on_tree(regime, affordable(world, posterior, rows.unique()[0].n, 0), some, reference)
        found.append((chains_of(posterior, value), None if other is None else chains_of(posterior, other)))
    return found


def _on_tree(regime: Regime, world: World, rows: Rows, reference: Rules | None) -> tuple[np.ndarray, np.ndarray | None]:
    posterior = regime.posterior
    distinct, inverse = rows.unique()
    weights = population_weights(world, inverse, distinct.n, posterior.seed, rows.sets)
    totals = np.zeros((2, world.size))
    choosers = [committed] + ([following(world, reference)] if reference is not None else [])
    for answer in solve(world, 0, distinct, choosers):
        m = len(answer.qbar)
        part = distinct.take(np.arange(answer.begin, answer.begin + m))
        found = [answer.values[0][:, np.arange(m), answer.qbar.argmax(axis=1)]]
        found += [starting(world, reference, root_of(world, part), answer.values[1])] if reference is not None else []
        for k, value in enumerate(found):
            totals[k] += (weights[:, answer.begin : answer.begin + m] * value).sum(axis=1)
    return totals[0], totals[1] if reference is not None else None
