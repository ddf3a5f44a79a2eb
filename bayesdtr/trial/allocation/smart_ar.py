"""SMART-AR: a SMART whose randomization follows the Q-functions of its completed patients (Cheung, Chakraborty and Davidson 2015)."""

from dataclasses import dataclass

import numpy as np

from ...errors import TrialError
from ...study import Bernoulli, Decision, Response, Study
from .bounds import number, one_of
from .cells import Grid, Tally, discrete_history, tally
from .rule import AllocationRule, Situation
from .shares import normalized, summed
from .simple import Equal

MODELS = ("saturated", "published")
LARGEST_RATIO = 1e5
"""Most that one option's weight may be of another's, as in the authors' program: it keeps powers of the base from overflowing."""


@dataclass(frozen=True, init=False)
class SmartAR(AllocationRule):
    """Randomization in proportion to ``base`` to the power of standardized Q-functions, fitted by least squares backwards.

    **It ignores covariates**: patients with the same earlier decisions and discrete responses are assigned alike whatever their baseline covariates
    and continuous responses are, even where the study's models let effects depend on these; `print(design)` names them. To randomize by a patient's
    own history take `Thompson`.

    Parameters
    ----------
    base : float, default 10
        Above 1; the larger, the greedier.
    tau : float, default 0.75
        Weight of the initial probabilities when adaptation begins.
    minimum : int, default 20
        Completed patients before whom nothing adapts.
    model : {"saturated", "published"}
        Of the last Q-function: the mean of every cell of earlier decisions, discrete responses and option; or the authors' seven terms for two
        decisions between two options with a binary response r between them, ``b0 + b1 a1 + b2 a2 + b3 a1 a2 + g1 r + g2 r (1 - a1) a2 +
        g3 r a1 (1 - a2)``. Earlier Q-functions are cell means.
    initial : AllocationRule, optional
        Initial probabilities; a rule that looks at no outcome, by default equal.

    Notes
    -----
    With ``n`` completed patients, ``Delta_a = (Q(h, a) - lowest Q(h, .)) / sigma``, ``sigma ** 2`` the residual mean square of the Q-function,
    ``pihat_a`` proportional to ``base ** Delta_a`` and ``pi`` proportional to ``pi0 ** w pihat ** (1 - w)``, ``w = lambda ** (base - 1)``,
    ``lambda = tau ** (1 / (base - 1)) minimum / n``; so ``w = tau (minimum / n) ** (base - 1)``. The pseudo-outcome of an earlier decision is the
    largest fitted Q among the options feasible for the patient (Cheung, Chakraborty and Davidson 2015, Biometrics 71:450; ratios of weights are
    capped at 1e5 as in their program).

    Completed are patients whose last response is known; what they earned is the utility. Where an option has no completed patient in a cell, the
    pseudo-outcome leaves it out, and assignment takes its Q for the average of the other options' there: neither favored nor avoided. Aliased terms
    of the published model are 0, the later ones first.

    Examples
    --------
    >>> SmartAR(base=10, tau=0.75, minimum=20)
    """

    base: float
    tau: float
    minimum: int
    model: str
    initial: AllocationRule

    def __init__(self, base: float = 10.0, tau: float = 0.75, minimum: int = 20, *, model: str = "saturated", initial: AllocationRule | None = None):
        if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 1:
            raise TrialError(f"SmartAR: minimum takes a whole number of patients of at least 1, got {minimum!r}.")
        if initial is not None and (not isinstance(initial, AllocationRule) or initial.adaptive or initial.realized != "draws"):
            raise TrialError(f"SmartAR: initial takes Equal() or Fixed(...), got {initial!r}.")
        for field, value in (("base", number(base, "SmartAR: base", 1, np.inf, above=True)), ("tau", number(tau, "SmartAR: tau", 0, 1)),
                             ("minimum", minimum), ("model", one_of(model, MODELS, "SmartAR: model")), ("initial", initial or Equal())):
            object.__setattr__(self, field, value)

    def check(self, study: Study, decision: str) -> None:
        """Raise `TrialError` where courses may end before the last response, or the published model does not fit the study."""
        self.initial.check(study, decision)
        if study.utility.attitude is not None:
            raise TrialError("SmartAR fits means of the utility, so it takes a utility without attitude=.")
        for node in study.decisions:
            if any(not options for options in node.sets):
                raise TrialError(f"SmartAR counts patients whose last response is known, and at {node.name!r} a course may end before it; "
                                 "take Thompson().")
        if not isinstance(study.timeline[-1], Response):
            raise TrialError("SmartAR needs a response after the last decision.")
        if self.model == "published" and not _fits_published(study):
            raise TrialError("SmartAR(model='published') is for two decisions between two options for everybody with one binary response between "
                             "them; take model='saturated'.")

    def probabilities(self, situation: Situation) -> np.ndarray:
        """Probability of each option for each patient, shape (m, option)."""
        here, place = situation.distinct()
        return self._distinct(here)[place]

    def _distinct(self, situation: Situation) -> np.ndarray:
        feasible, begin = situation.feasible, self.initial.probabilities(situation)
        complete, utility = completed(situation)
        n = complete.sum(axis=1)[situation.trial]
        if not (n >= self.minimum).any():
            return begin
        q = q_functions(situation, complete, utility, self.model)[situation.decision]
        effect = q.effects(situation, feasible)
        hat = np.minimum(effect * np.log(self.base), np.log(LARGEST_RATIO))
        own = self.tau * np.minimum(1.0, self.minimum / np.maximum(n, 1))[:, None] ** (self.base - 1)
        log_weight = own * np.log(np.where(feasible & (begin > 0), begin, 1.0)) + (1 - own) * hat
        weight = np.where(feasible & (begin > 0), np.exp(log_weight), 0.0)
        return np.where(n[:, None] >= self.minimum, normalized(weight, feasible), begin)

    def unseen(self, study: Study, decision: str) -> tuple[str, ...]:
        """Baseline covariates and continuous responses."""
        seen = discrete_history(study, [d.name for d in study.decisions].index(decision))
        return tuple(n.name for n in study.before(decision) if n.name not in seen)

    def text(self) -> str:
        """The rule in words."""
        start = "" if isinstance(self.initial, Equal) else f", at first {self.initial.text()}"
        return f"SMART-AR, base {self.base:g}, tau {self.tau:g}, after {self.minimum} completed" + (
            "" if self.model == "saturated" else f", {self.model} model") + start


@dataclass(frozen=True, eq=False)
class QFunction:
    """A fitted Q-function of a batch of trials.

    Attributes
    ----------
    grid : Grid
        Histories and options.
    value : array, shape (trial, cell)
    known : array of bool, shape (trial, cell)
    sigma : array, shape (trial,)
        Residual SD.
    """

    grid: Grid
    value: np.ndarray
    known: np.ndarray
    sigma: np.ndarray

    def at(self, trial: np.ndarray, columns: dict[str, np.ndarray], options: int) -> tuple[np.ndarray, np.ndarray]:
        """Value of each option for given histories, and whether it is known, both (..., option)."""
        decision = self.grid.names[-1]
        cell = np.stack([self.grid.cell({**columns, decision: np.full(trial.shape, code)}) for code in range(options)], axis=-1)
        return self.value[trial[..., None], cell], self.known[trial[..., None], cell]

    def effects(self, situation: Situation, feasible: np.ndarray) -> np.ndarray:
        """Standardized differences to the worst feasible option, shape (m, option); all 0 where no option is known."""
        columns = {n: np.asarray(situation.columns[n]) for n in self.grid.names[:-1]}
        value, known = self.at(situation.trial, columns, feasible.shape[1])
        known = known & feasible
        average = summed(np.where(known, value, 0.0)) / np.maximum(known.sum(axis=1, keepdims=True), 1)
        filled = np.where(known, value, average)
        worst = np.where(feasible, filled, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        gap = np.where(feasible, filled - np.where(np.isfinite(worst), worst, 0.0), 0.0)
        sigma = self.sigma[situation.trial][:, None]
        # Without residual variation any difference is infinitely many SDs; the cap on ratios takes it from there.
        return np.divide(gap, sigma, out=np.where(gap > 0, np.inf, 0.0), where=np.broadcast_to(sigma > 0, gap.shape))


def completed(situation: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Patients whose last response is known, and what each of them earned (0 elsewhere), both (trial, patient)."""
    study = situation.study
    columns = {n: np.asarray(c) for n, c in situation.data.columns.items()}
    last = columns[study.responses[-1].name].astype(float)
    labelled = getattr(study.responses[-1].family, "levels", None) is not None
    known = ~np.isnan(last) & (last >= 0 if labelled else True)
    mine, total = {n: c[known] for n, c in columns.items()}, np.zeros(known.shape)
    total[known] = sum(np.asarray(study.counted(r.name, mine)) for r in study.responses if study.counts(r.name))
    complete = known & np.isfinite(total)  # a part of the utility may be missing although the last response is there
    return complete, np.where(complete, total, 0.0)


def q_functions(situation: Situation, complete: np.ndarray, utility: np.ndarray, model: str) -> list[QFunction]:
    """Q-functions of all decisions from that of the situation on, by position; None before it.

    Parameters
    ----------
    situation : Situation
    complete : array of bool, shape (trial, patient)
    utility : array, shape (trial, patient)
    model : {"saturated", "published"}
    """
    study, data = situation.study, situation.data
    columns = {n: np.asarray(c) for n, c in data.columns.items()}
    target = utility
    trial = np.broadcast_to(np.arange(len(complete))[:, None], complete.shape)
    fitted: list[QFunction] = [None] * len(study.decisions)  # type: ignore[list-item]
    for k in range(len(study.decisions) - 1, situation.decision - 1, -1):
        node = study.decisions[k]
        grid = Grid.of(study, (*discrete_history(study, k), node.name))
        counts = tally(grid.cell(columns), target, complete, grid.size)
        last = k == len(study.decisions) - 1
        fitted[k] = q = _published(grid, counts) if last and model == "published" else _saturated(grid, counts)
        if k > situation.decision:
            history = {n: columns[n] for n in grid.names[:-1]}
            value, known = q.at(trial, history, len(node.options))
            flat = {n: c.reshape(-1) for n, c in columns.items()}
            feasible = study.feasible(node.name, flat).reshape(*complete.shape, -1)
            target = np.where(feasible & known, value, -np.inf).max(axis=-1, initial=-np.inf)
            target = np.where(complete & np.isfinite(target), target, 0.0)
    return fitted


def _saturated(grid: Grid, counts: Tally) -> QFunction:
    known = counts.count > 0
    return QFunction(grid, counts.mean, known, _residual(counts, counts.mean, known.sum(axis=1)))


def _published(grid: Grid, counts: Tally) -> QFunction:
    """The authors' seven terms, by normal equations of the eight cells' counts and sums."""
    a1, r, a2 = np.unravel_index(np.arange(grid.size), (3, 3, 3))
    terms = np.stack([np.ones(grid.size), a1, a2, a1 * a2, r, r * (1 - a1) * a2, r * a1 * (1 - a2)])
    p = len(terms)
    system = np.zeros((len(counts.count), p + 1, p + 1))
    for c in np.flatnonzero((a1 < 2) & (r < 2) & (a2 < 2)):
        row = np.concatenate([np.broadcast_to(terms[:, c], (len(system), p)), counts.mean[:, [c]]], axis=1)
        system += counts.count[:, c, None, None] * row[:, :, None] * row[:, None, :]
    system, kept = swept(system, p)
    coefficients = np.where(kept, system[:, :p, p], 0.0)
    value = np.zeros(counts.count.shape)
    for j in range(p):
        value += coefficients[:, [j]] * terms[j]
    return QFunction(grid, value, np.ones(value.shape, dtype=bool), _residual(counts, value, kept.sum(axis=1)))


def swept(system: np.ndarray, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Solve normal equations by sweeping, leaving out terms that those before them determine.

    Parameters
    ----------
    system : array, shape (trial, terms + 1, terms + 1)
        Cross products of the terms and, last, of the outcome.
    terms : int

    Returns
    -------
    system : array
        Coefficients of the terms kept stand in the last column.
    kept : array of bool, shape (trial, terms)
    """
    scale = np.maximum(system[:, np.arange(terms), np.arange(terms)], 1.0)
    kept = np.zeros((len(system), terms), dtype=bool)
    for j in range(terms):
        pivot = system[:, j, j]
        kept[:, j] = use = pivot > 1e-9 * scale[:, j]
        row = system[:, j, :] / np.where(use, pivot, 1.0)[:, None]
        column = system[:, :, j].copy()
        done = system - column[:, :, None] * row[:, None, :]
        done[:, j, :] = row
        done[:, :, j] = -column / np.where(use, pivot, 1.0)[:, None]
        done[:, j, j] = 1 / np.where(use, pivot, 1.0)
        system = np.where(use[:, None, None], done, system)
    return system, kept


def _residual(counts: Tally, fitted: np.ndarray, dimension: np.ndarray) -> np.ndarray:
    """Residual SD, shape (trial,); 0 without degrees of freedom."""
    squares = summed(counts.within + counts.count * (counts.mean - fitted) ** 2)[:, 0]
    freedom = counts.count.sum(axis=1) - dimension
    return np.where(freedom > 0, np.sqrt(squares / np.maximum(freedom, 1)), 0.0)


def _fits_published(study: Study) -> bool:
    kinds = [n for n in study.timeline if isinstance(n, (Decision, Response))]
    shape = [isinstance(n, Decision) for n in kinds] == [True, False, True, False]
    return shape and all(d.sets == (d.options,) and len(d.options) == 2 for d in study.decisions) and isinstance(study.responses[0].family, Bernoulli)
