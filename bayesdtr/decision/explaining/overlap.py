"""How far a recommendation extrapolates: patients like this one, the weight they carry, and what the data added to the prior."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from ...errors import DecisionError, InferenceError
from ...inference.check import SPARSE
from ...inference.prior import prior_draws
from ...schema import MISSING_SHIFT
from ...study.timeline import Decision
from ..assess import Assessment
from ..induction import MOST_LEAVES, Chooser, DecisionNode, committed, leaves, solve
from ..learner import REGRESSION
from ..regime import Regime
from ..values import affordable
from ..world import Rows, World

COLUMNS = (
    "decision", "option", "against", "patients_like", "received", "weight", "outside_range", "extrapolates", "width", "width_error", "verdict",
)
PRIOR_DRAWS = 500
"""Prior draws per chain, and steps of warm-up."""
MOST_PRIOR = 1e8
BATCHES = 20


@dataclass(frozen=True, eq=False)
class Overlap:
    """The data behind each option at given histories of one decision.

    Attributes
    ----------
    like : array of int, shape (row,)
        Patients of the cell or neighborhood who reached the decision.
    received : array of int, shape (row, option)
        Those of them who received the option.
    weight : array, shape (row, option)
        One over the probability of receiving the option at such a history: declared, recorded (its average over those who received it), or,
        where nobody randomized, estimated by the share of them who did; infinite where nobody did, NaN where infeasible.
    outside : array of bool, shape (row, continuous)
        Continuous variables beyond the observed range.
    names : tuple of str
        Of those.
    """

    like: np.ndarray
    received: np.ndarray
    weight: np.ndarray
    outside: np.ndarray
    names: tuple[str, ...]

    @property
    def extrapolates(self) -> np.ndarray:
        """Fewer than five patients like this one received the option, or a variable is beyond its range; shape (row, option)."""
        return (self.received < SPARSE) | self.outside.any(axis=1)[:, None]

    def facts(self, row: int, option: int) -> dict[str, Any]:
        """What a line of a recommendation says."""
        return {"patients_like": int(self.like[row]), "received": int(self.received[row, option]), "weight": float(self.weight[row, option]),
                "extrapolates": bool(self.extrapolates[row, option])}


def overlap_at(regime: Regime, decision: Decision, rows: Rows) -> Overlap:
    """Count the patients behind every option at given histories."""
    near = regime.neighborhoods[decision.name]
    distinct, inverse = rows.unique()
    like, received, carried = near.count(distinct)
    study = regime.posterior.study
    feasible = study.feasible(decision.name, distinct.columns) if distinct.columns else np.ones(received.shape, dtype=bool)
    weight = np.where(feasible, _weights(decision, feasible, received, carried), np.nan)
    return Overlap(like[inverse], received[inverse], weight[inverse], near.outside(distinct)[inverse], near.continuous)


def _weights(decision: Decision, feasible: np.ndarray, received: np.ndarray, carried: np.ndarray) -> np.ndarray:
    weight = np.full(received.shape, np.inf)
    if decision.assigned == "observed":
        np.divide(received.sum(axis=1, keepdims=True), received, out=weight, where=received > 0)
    elif isinstance(decision.probability, str):
        np.divide(carried, received, out=weight, where=received > 0)
    else:
        for options in decision.sets:
            table = decision.randomization(options)
            assert table is not None
            here = (feasible == np.isin(decision.options, options)).all(axis=1)
            weight[here] = [1 / table[o] if o in table else np.inf for o in decision.options]
    weight[feasible.sum(axis=1) == 1] = 1.0  # no choice: everyone receives it
    return weight


# ---- posterior over prior width ----------------------------------------------------------------------------------


def spread(draws: np.ndarray) -> np.ndarray:
    """Half the width of the central 68.27 % interval over the first axis: the SD of a Normal law, and defined where a heavy-tailed law has none."""
    low, high = np.quantile(draws, ndtr([-1.0, 1.0]), axis=0)
    return (high - low) / 2


def prior_world(regime: Regime, drawn: Mapping[str, Mapping[str, np.ndarray]] | None = None) -> World | str:
    """The study under draws of its prior, sampled by the same compiled programs; a sentence where it cannot be drawn from."""
    posterior = regime.posterior
    if MISSING_SHIFT in posterior.tree.children:
        return "This posterior shifts missing outcomes, of which the prior knows nothing; ask the one without missing_shift."
    try:
        drawn = prior_draws(posterior, seed=posterior.seed, draws=PRIOR_DRAWS, warmup=PRIOR_DRAWS) if drawn is None else drawn
    except InferenceError as error:
        return str(error)
    size = max((len(next(iter(d.values()))) for d in drawn.values() if d), default=1)
    return World(posterior.study, {n: posterior.compiled(n) for n in drawn}, posterior.scales, drawn, size)


def choose_at(regime: Regime, world: World, stage: int, rows: Rows) -> np.ndarray:
    """What the regime recommends at histories with a feasible option, codes of shape (row,); `world` is its own, perhaps with fewer draws."""
    name = regime.posterior.study.decisions[stage].name
    distinct, inverse = rows.unique()
    if regime.methods[name].startswith(REGRESSION):
        qbar = regime.fits[name].qbar(world, name, distinct.columns, distinct.cluster, distinct.n)
    else:
        qbar = np.concatenate([a.qbar for a in solve(world, stage, distinct, [])])
    return qbar.argmax(axis=1)[inverse]


def as_recommended(regime: Regime) -> Chooser:
    """The regime's own rule on any tree of histories, whatever draws that tree was grown under."""
    posterior = regime.posterior
    world = World.of(posterior).under(regime.safety)
    stages = {d.name: i for i, d in enumerate(posterior.study.decisions)}
    seen: dict[str, tuple[DecisionNode, np.ndarray]] = {}

    def choose(node: DecisionNode, pairs: np.ndarray) -> np.ndarray:
        known = seen.get(node.name)
        if known is None or known[0] is not node:
            option = np.zeros(node.rows.n, dtype=int)
            rows = node.rows.take(node.going)
            some = affordable(world, posterior, rows.n, stages[node.name])
            option[node.going] = choose_at(regime, some, stages[node.name], rows)
            known = seen[node.name] = node, option
        return node.taken(pairs, known[1])

    return choose


@dataclass(frozen=True, eq=False)
class Widths:
    """Spread of a contrast under the posterior over that under the prior, shape (row,): 1 where the data said nothing; NaN where not known.

    `missing` says why none is known.
    """

    ratio: np.ndarray
    error: np.ndarray
    missing: str = ""


def widths(regime: Regime, decision: Decision, rows: Rows, first: np.ndarray, second: np.ndarray, prior: World | str) -> Widths:
    """Posterior over prior width of the difference between two options ``(row,)`` at given histories, later decisions made by the regime.

    NaN where the two are the same.
    """
    nothing = np.full(rows.n, np.nan)
    stage = [d.name for d in regime.posterior.study.decisions].index(decision.name)
    if isinstance(prior, str):
        return Widths(nothing, nothing, prior)
    if regime.methods[decision.name].startswith(REGRESSION) or leaves(prior, stage) > MOST_LEAVES:
        return Widths(nothing, nothing, f"The look-ahead from {decision.name!r} on is fitted by regression; the prior's would need a fit of its own.")
    distinct, inverse = rows.unique()
    asked = np.unique(np.stack([inverse, first, second], axis=1)[first != second], axis=0)
    most = max(int(MOST_PRIOR // (leaves(prior, stage) * max(distinct.n, 1))), PRIOR_DRAWS)
    prior = prior.take(np.arange(0, prior.size, -(-prior.size // most)))
    world = affordable(World.of(regime.posterior).under(regime.safety), regime.posterior, distinct.n, stage)
    try:
        before = _spreads(prior, stage, distinct, as_recommended(regime), asked)
    except DecisionError as error:  # the prior is so wide that no grid holds it
        return Widths(nothing, nothing, str(error))
    after = _spreads(world, stage, distinct, committed, asked)
    ratio, error = nothing.copy(), nothing.copy()
    for (row, a, b), (s, ds), (s0, ds0) in zip(asked, after, before, strict=True):
        here = (inverse == row) & (first == a) & (second == b)
        ratio[here] = s / s0 if s0 > 0 else np.nan
        error[here] = ratio[here] * np.hypot(ds / s if s > 0 else 0.0, ds0 / s0 if s0 > 0 else 0.0)
    return Widths(ratio, error)


def _spreads(world: World, stage: int, rows: Rows, choose: Chooser, asked: np.ndarray) -> list[tuple[float, float]]:
    """Spread of each difference asked for ``(row, option, option)``, in that order, with its Monte Carlo error by batches."""
    found = {}
    for answer in solve(world, stage, rows, [choose]):
        q = answer.values[0]
        for row, a, b in asked[(asked[:, 0] >= answer.begin) & (asked[:, 0] < answer.begin + len(answer.qbar))]:
            i = row - answer.begin
            lead = q[:, i, a] - q[:, i, b]
            length = len(lead) // BATCHES
            parts = spread(lead[: length * BATCHES].reshape(BATCHES, length).T) if length > 1 else np.full(2, np.nan)
            found[row, a, b] = float(spread(lead)), float(parts.std(ddof=1) / np.sqrt(BATCHES))
    return [found[tuple(key)] for key in asked]


def runner_up(a: Assessment) -> np.ndarray:
    """The option with the next highest expected utility, shape (row,); the recommended one where there is no other."""
    others = np.where(np.isfinite(a.expected), a.expected, -np.inf)
    others[np.arange(len(others)), a.choice] = -np.inf
    return np.where(np.isfinite(others).any(axis=1), others.argmax(axis=1), a.choice)


def lines(regime: Regime, decision: Decision, a: Assessment, index: np.ndarray, rows: Rows) -> Iterator[dict[str, Any]]:
    """Lines of :meth:`Regime.overlap`, one per patient."""
    second, found = runner_up(a), overlap_at(regime, decision, rows)
    width = widths(regime, decision, rows, a.choice, second, regime.prior)
    for i, row in enumerate(index):
        beyond = ", ".join(n for n, out in zip(found.names, found.outside[i], strict=True) if out)
        yield {
            "row": int(row), "decision": decision.name, "option": decision.options[a.choice[i]],
            "against": decision.options[second[i]] if second[i] != a.choice[i] else "", **found.facts(i, a.choice[i]), "outside_range": beyond,
            "width": float(width.ratio[i]), "width_error": float(width.error[i]), "verdict": regime.posterior.verdict.status,
        }


def overlap(regime: Regime, patients: Any) -> Any:
    """How far the recommendation for each patient at the decision that is due next extrapolates.

    Parameters
    ----------
    regime : Regime
    patients : pandas, polars or pyarrow frame
        As for :meth:`Regime.recommend`.

    Returns
    -------
    frame of the caller's kind
        One row per patient with a decision due. Columns: the patient's identifier, ``decision``, ``option`` (recommended), ``against`` (the
        next best), ``patients_like``, ``received``, ``weight`` (as :meth:`Regime.recommend` has them), ``outside_range`` (names of continuous
        variables outside the observed range), ``extrapolates``, ``width`` and its Monte Carlo error ``width_error``, ``verdict``.

    Warns
    -----
    VerdictWarning
        When the posterior's checks fail.

    Notes
    -----
    ``width`` is the spread of the difference between the two options under the posterior over that under the prior, at the patient's history
    and with later decisions made by this regime: 1 where the data said nothing, above 1 where they conflict with the prior. Spread is half
    the width of the central 68.27 % interval, which is the SD of a Normal law and exists where a heavy-tailed prior has no SD. It is NaN
    where only one option is open, where the prior cannot be drawn from (it is improper, or the posterior is a mixture of models with priors
    of their own), and where the look-ahead is fitted by regression. The prior is sampled when it is first asked for, which takes seconds.
    """
    return regime._answered(patients, list(COLUMNS), lambda *due: lines(regime, *due))
