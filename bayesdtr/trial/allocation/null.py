"""Thompson randomization stabilized by the hypothesis that the options do not differ."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, expit, logsumexp

from ...errors import TrialError
from ...study import Bernoulli, Response, Saturated, Study
from ...study.borrowing import RobustMAP
from ...study.priors import Prior
from ...study.saturated import saturated_cells, saturated_variables
from .bounds import bounded, bounds_text, check_bounds, check_fields, number
from .cells import Grid, tally
from .rule import AllocationRule, Situation
from .shares import summed


@dataclass(frozen=True, init=False)
class NullStabilized(AllocationRule):
    """Equal shares as far as the options may not differ at all, and Thompson's as far as they do.

    Parameters
    ----------
    prior_null : float, default 0.5
        Prior probability that all options are alike; 1 is equal allocation, 0 is Thompson.
    effect : float, optional
        Where the Bayes factor is approximated: SD of the options' values around their mean if they differ, in units of the utility; by default
        that of one patient's information.
    floor, floor_rule, ceiling
        As of :class:`Thompson`.
    contextual : bool, default True
        As of :class:`Thompson`.

    Notes
    -----
    ``pi_a = P(H0 | data) / K + (1 - P(H0 | data)) P(a is best | data, H1)`` (Pawel and Held, arXiv:2510.01734), over the K feasible options. The
    probability of being best is that of the study's own posterior.

    The Bayes factor is exact at the last decision of a study in which a single response follows it, with a Bernoulli family and a saturated model,
    and is what the options are valued by: independent Beta priors of the cells against a common probability with the prior of ``probability``.
    Elsewhere it is approximated: option a's posterior mean ``m_a`` is taken as Normal around its value with variance ``s_a ** 2``, independently of
    the others, values as Normal around a common mean (flat) with variance ``effect ** 2`` under H1 and 0 under H0. By default ``effect ** 2`` is the
    average of ``n_a s_a ** 2``, with ``n_a`` the patients on option a after whom a response is known. Where the options' posteriors are correlated
    the approximation overstates the variance of contrasts, so that allocation is nearer to equal than it need be.

    Examples
    --------
    >>> NullStabilized(prior_null=0.5)
    """

    prior_null: float
    effect: float | None
    floor: float
    floor_rule: str
    ceiling: float | None
    contextual: bool

    def __init__(self, prior_null: float = 0.5, *, effect: float | None = None, floor: float = 0.0, floor_rule: str = "affine",
                 ceiling: float | None = None, contextual: bool = True):
        floor, floor_rule, ceiling = check_fields("NullStabilized", floor, floor_rule, ceiling)
        if not isinstance(contextual, bool):
            raise TrialError(f"NullStabilized: contextual is True or False, got {contextual!r}.")
        put = None if effect is None else number(effect, "NullStabilized: effect", 0, np.inf, above=True)
        for field, value in (("prior_null", number(prior_null, "NullStabilized: prior_null", 0, 1)), ("effect", put), ("floor", floor),
                             ("floor_rule", floor_rule), ("ceiling", ceiling), ("contextual", contextual)):
            object.__setattr__(self, field, value)

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` where floor or ceiling cannot be kept."""
        check_bounds(study, decision, "NullStabilized", self.floor, self.floor_rule, self.ceiling)

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        here, place = situation.distinct()
        feasible = here.feasible
        null = self.null(here)[:, None]
        share = null * feasible / np.maximum(feasible.sum(axis=1, keepdims=True), 1) + (1 - null) * here.p_best(not self.contextual)
        return bounded(share, self.floor, self.floor_rule, self.ceiling, feasible)[place]

    def null(self, situation: Situation) -> np.ndarray:
        """Posterior probability that each patient's feasible options do not differ, shape (m,)."""
        if self.prior_null in (0.0, 1.0):
            return np.full(len(situation.trial), self.prior_null)
        log_factor = self._exact(situation)
        if log_factor is None:
            log_factor = self._normal(situation)
        return expit(np.log(self.prior_null) - np.log1p(-self.prior_null) + log_factor)

    def text(self) -> str:
        """The rule in words."""
        words = f"null-stabilized, P(no difference) {self.prior_null:g} a priori{bounds_text(self.floor, self.floor_rule, self.ceiling)}"
        return words if self.contextual else f"{words}, average history"

    def _exact(self, situation: Situation) -> np.ndarray | None:
        response = bernoulli_arms(situation.study, situation.decision)
        if response is None or not (self.contextual or len(saturated_variables(situation.study, response)) == 1):
            return None
        return bernoulli_factor(situation, response)

    def _normal(self, situation: Situation) -> np.ndarray:
        values, feasible = situation.values(not self.contextual), situation.feasible
        mean, variance = np.where(feasible, values.mean(), 0.0), np.where(feasible, values.sd(), 1.0) ** 2
        if self.effect is not None:
            spread = np.full(len(mean), self.effect**2)
        else:
            informed = _informed(situation)[situation.trial]
            spread = summed(informed * variance * feasible)[:, 0] / np.maximum(feasible.sum(axis=1), 1)
        return normal_factor(mean, variance, spread, feasible)


def bernoulli_arms(study: Study, decision: int) -> Response | None:
    """The response whose probability alone tells a decision's options apart, under a saturated Bernoulli model; None where there is no such one."""
    node = study.decisions[decision]
    after = study.after(node.name)
    if node is not study.decisions[-1] or len(after) != 1 or study.utility.attitude is not None:
        return None
    (response,) = after
    alone = study.weight(response.name) > 0 and not (study.tables_of(response.name) or study.lives(response.name) or study.charges(response.name))
    saturated = isinstance(response.family, Bernoulli) and isinstance(response.model, Saturated)
    return response if alone and saturated and node.name in saturated_variables(study, response) else None


def bernoulli_factor(situation: Situation, response: Response) -> np.ndarray:
    """Logarithm of the Bayes factor for a common probability against independent ones, for each patient's feasible options, shape (m,).

    Parameters
    ----------
    situation : Situation
    response : Response
        As :func:`bernoulli_arms` finds it.
    """
    study, data = situation.study, situation.data
    node = study.decisions[situation.decision]
    grid = Grid.of(study, saturated_variables(study, response))
    y = np.asarray(data.columns[response.name], dtype=float)
    known = tally(grid.cell(data.columns), np.where(np.isnan(y), 0.0, y), ~np.isnan(y), grid.size)
    history = {n: np.asarray(situation.columns[n]) for n in grid.names if n != node.name}
    cells = np.stack([grid.cell({**history, node.name: np.full(len(situation.trial), code)}) for code in range(len(node.options))], axis=1)
    count = known.count[situation.trial[:, None], cells]
    yes = np.rint(known.mean[situation.trial[:, None], cells] * count)
    priors, own = study.priors(response.name), saturated_cells(study, response)
    common = priors["probability"].prior
    labels = dict(zip(_grid_cells(study, grid, own.lookup), own.labels, strict=True))
    evidence = np.zeros(cells.shape)
    for cell in np.unique(cells[situation.feasible]):
        row = priors.get(f"probability.{labels.get(int(cell))}")
        here = cells == cell
        evidence[here] = _log_evidence(common if row is None else row.prior, yes[here], (count - yes)[here])
    feasible = situation.feasible
    pooled = _log_evidence(common, np.where(feasible, yes, 0).sum(axis=1), np.where(feasible, count - yes, 0).sum(axis=1))
    return np.where(feasible.sum(axis=1) > 1, pooled - summed(np.where(feasible, evidence, 0.0))[:, 0], 0.0)


def _grid_cells(study: Study, grid: Grid, lookup: np.ndarray) -> np.ndarray:
    """Cells of the grid that a saturated model's cells are, in their order."""
    index = np.argwhere(lookup >= 0)
    columns = {n: np.array(codes)[index[:, j]] for j, (n, codes) in enumerate(zip(grid.names, grid.codes, strict=True))}
    return grid.cell(columns) if grid.names else np.zeros(1, dtype=int)


def _log_evidence(prior: object, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Logarithm of the probability of a sequence of outcomes under a Beta prior or a mixture of them."""
    if isinstance(prior, RobustMAP):
        weight, a, b = np.array(prior.components).T[:, :, None]
    else:
        assert isinstance(prior, Prior)
        weight, a, b = np.array([[1.0], [prior["concentration1"]], [prior["concentration0"]]])[:, :, None]
    return np.asarray(logsumexp(np.log(weight) + betaln(a + yes, b + no) - betaln(a, b), axis=0))


def normal_factor(mean: np.ndarray, variance: np.ndarray, spread: np.ndarray, feasible: np.ndarray) -> np.ndarray:
    """Logarithm of the Bayes factor for equal values against Normal ones, the common mean flat under both, shape (m,).

    Parameters
    ----------
    mean, variance : array, shape (m, option)
        Estimates, and their variances.
    spread : array, shape (m,)
        Variance of the values around their mean if they differ.
    feasible : array of bool, shape (m, option)
    """
    def log_marginal(total: np.ndarray) -> np.ndarray:
        precision = np.where(feasible, 1 / total, 0.0)
        whole = np.maximum(summed(precision), np.finfo(float).tiny)
        centre = summed(precision * mean) / whole
        logs = np.log(precision, where=feasible, out=np.zeros(precision.shape))
        return 0.5 * (summed(logs) - np.log(whole) - summed(precision * (mean - centre) ** 2))[:, 0]

    sound = np.where(feasible, np.maximum(variance, np.finfo(float).tiny), 1.0)
    return np.where(feasible.sum(axis=1) > 1, log_marginal(sound) - log_marginal(sound + spread[:, None]), 0.0)


def _informed(situation: Situation) -> np.ndarray:
    """Patients on each option of the decision after whom a response is known, shape (trial, option)."""
    study, data = situation.study, situation.data
    node = study.decisions[situation.decision]
    later = [r.name for r in study.responses if study.names.index(r.name) > study.names.index(node.name)]
    known = np.any([~_unknown(np.asarray(data.columns[n])) for n in later], axis=0)
    taken = np.asarray(data.columns[node.name])
    return np.stack([(known & (taken == code)).sum(axis=1) for code in range(len(node.options))], axis=1).astype(float)


def _unknown(column: np.ndarray) -> np.ndarray:
    return np.isnan(column) if column.dtype.kind == "f" else column < 0
