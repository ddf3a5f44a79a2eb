"""`q_learn`: stage-wise Bayesian Q-learning, backwards over the decisions by imputation."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...data import Trajectories, cell_counts, fix_scales, gaps, read
from ...errors import DecisionError, did_you_mean, listing
from ...inference import Verdict
from ...inference.check import doubts
from ...inference.fit import check_arguments
from ...inference.stagewise import StageFitted, fit_imputed, fit_responses
from ...model import compile_response
from ...study.families import Family, Normal, StudentT
from ...study.models import Hierarchical, Saturated, UserModel
from ...study.study import Scale, Study
from ...study.survival import Survival
from ...study.timeline import Decision, Response
from ...study.utility import Utility
from ..values import earnings, population_weights
from ..world import Rows, World
from .pseudo import MODES, Stage, continued, keeps_outcomes
from .stagewise import MEANING, StagewisePosterior, StagewiseRegime

IMPUTATIONS = {"nuts": 1000, "laplace": 1000, "exact": 4000}
FEWEST = 100
"""Imputations, at least: fewer could not carry an interval."""
STATUS = ("ok", "warn", "fail")


def q_learn(
    study: Study, data: Any, *, seed: int, mode: str = "bml_committed", imputations: int | None = None, engine: str = "nuts",
    models: Mapping[str, Response] | None = None, progress: str | bool = "auto",
) -> StagewiseRegime:
    """Learn a regime by stage-wise Bayesian Q-learning: a model of the utility to come at every decision, and none of what lies between.

    For data in which intermediate responses are hard to model. Draws are from a cut posterior: :class:`StagewiseRegime` says what that
    means, with the formulas.

    Parameters
    ----------
    study : Study
        Any responses but survival times. What is declared for the responses before the last decision is not used but their kind.
    data : pandas, polars or pyarrow frame, or Trajectories
        Complete histories. Patients who came to a decision but are not followed to the end have their later utility drawn; those lost
        between two decisions are left out of the earlier one's model. `notes` of the posterior count both.
    seed : int
    mode : {"bml_committed", "bml", "mean_committed", "mean"}
        How later decisions enter an earlier one's pseudo-outcome. Committed: by the option of highest posterior-expected utility;
        else by each draw's own optimum, which rewards ignorance. "bml": the outcome observed where that option was received, else one
        drawn from the predictive distribution under it; "mean": expected under it, without residual noise.
    imputations : int, optional
        Imputed data sets, each with one draw of every stage's parameters; by default 1000 (4000 under "exact"), at least 100.
    engine : {"nuts", "laplace", "exact"}
        Of the last decision's responses. Under "nuts" and "laplace" earlier stages are fitted by the corrected Laplace approximation, all
        imputations in one compiled program (NUTS would need a fit for each), whose k-hat the verdict reports: it may fail for
        ordinal outcomes with clusters, which Normal stages do not suffer from; under "exact" every stage has saturated cells and conjugate draws.
    models : mapping of decision to Response, optional
        How the utility from an earlier decision on is modeled; by default a Normal response, or the final response's family, with the
        default hierarchical predictor over the history, or saturated cells under "exact".
    progress : {"auto", True, False}

    Returns
    -------
    StagewiseRegime
        ``recommend``, ``rules``, ``value``, ``sets``, ``ties``; ``dtr.check`` of it is its verdict.

    Raises
    ------
    DecisionError
        For what is not provided (survival times, exposures, shared parameters, missing histories) and for a bad argument.
    DataError, InferenceError, ModelError
        As for :func:`fit`.
    """
    size = IMPUTATIONS.get(engine, FEWEST) if imputations is None else imputations
    _check(study, seed, mode, engine, size)
    trajectories = data if isinstance(data, Trajectories) else read(study, data)
    _check_patients(study, trajectories)
    kept = kept_response(study, mode)
    responses = _stage_responses(study, models or {}, kept, engine)
    run = _Run(study, trajectories, fix_scales(study, trajectories), mode, engine, int(seed), progress, kept)
    posterior = run.backwards(responses, size)
    methods = {d.name: f"stage-wise regression, {size} imputations" for d in study.decisions}
    return StagewiseRegime(posterior, methods, {}, _value(posterior))  # type: ignore[arg-type]


# ---- what is refused ---------------------------------------------------------------------------------


def _check(study: Any, seed: Any, mode: Any, engine: Any, size: Any) -> None:
    """Raise for an argument out of range, or a study that stage-wise Q-learning does not know how to handle."""
    check_arguments(study, seed, engine, size, verb="q_learn")
    if mode not in MODES:
        hint = did_you_mean(mode, MODES) if isinstance(mode, str) else ""
        raise DecisionError(f"q_learn: no mode {mode!r}; modes: {listing(MODES)}{hint}")
    if size < FEWEST:
        raise DecisionError(f"q_learn: imputations must be at least {FEWEST}, got {size!r}.")
    if study.shared:
        raise DecisionError(f"q_learn: {listing(study.shared)} share patients' effects or stages, which needs a joint model; use fit and optimize.")
    for r in study.responses:
        if isinstance(r.family, Survival):
            raise DecisionError(f"q_learn: {r.name!r} is a survival time, whose censoring stage-wise regression cannot impute; use fit and optimize.")
        if r.columns and r.name in study.utility.names:
            raise DecisionError(f"q_learn: {r.name!r} has a further column ({r.columns[0][1]!r}), so observed outcomes and those to come differ; "
                                "use fit and optimize.")


def _check_patients(study: Study, t: Trajectories) -> None:
    """Raise where histories have gaps or nobody was followed to the end."""
    if lost := gaps(study, t.columns):
        raise DecisionError(f"q_learn takes complete histories, and {listing(lost)} has missing values; use fit(engine='nuts') and optimize.")
    for r in study.after(study.decisions[-1].name):
        if not t.observed(r.name).any():
            raise DecisionError(f"q_learn: nobody has {r.name!r} yet, so nothing can be learned backwards from it.")


# ---- what the stages model ---------------------------------------------------------------------------


def kept_response(study: Study, mode: str) -> Response | None:
    """The final response whose family earlier stages keep, or None where pseudo-outcomes are utilities (real numbers)."""
    u, last = study.utility, study.decisions[-1].name
    if not keeps_outcomes(mode) or len(u.names) != 1 or u.attitude is not None or u.costs or u.times or len(u.weights) + len(u.tables) != 1:
        return None
    response = study[u.names[0]]
    assert isinstance(response, Response)
    if response not in study.after(last) or response.family is None or isinstance(response.family, Normal):
        return None
    ends = any(() in d.sets for d in study.decisions)  # such a course earns 0, which must be a value of the response
    if ends and (u.tables or bool(response.family.impossible(np.zeros(1))[0][0])):
        return None
    return response


def _stage_responses(study: Study, given: Mapping[str, Response], kept: Response | None, engine: str) -> dict[str, Response]:
    """The response that is modeled at every decision but the last."""
    earlier = [d.name for d in study.decisions[:-1]]
    found = {}
    for name, response in given.items():
        if name not in earlier:
            last = " (the last decision's responses have their models in the study)" if name == study.decisions[-1].name else ""
            raise DecisionError(f"q_learn: models names {name!r}{last}; earlier decisions: {listing(earlier) or 'none'}{did_you_mean(name, earlier)}")
        if not isinstance(response, Response):
            raise DecisionError(f"q_learn: models[{name!r}] is a Response that says how the utility from {name!r} on is modeled, got {response!r}.")
    for name in earlier:
        own = given.get(name) or _default(study, name, kept, engine)
        wanted: tuple[type[Family], ...] = (Normal, StudentT) if kept is None else (type(kept.family),)
        if not isinstance(own.family, wanted) or (kept is not None and own.family.support != kept.family.support):  # type: ignore[union-attr]
            raise DecisionError(f"q_learn: the utility from {name!r} on needs the family {' or '.join(w.__name__ for w in wanted)} "
                                f"{'of ' + repr(kept.name) if kept else 'here'}, got {own.family!r}.")
        found[name] = _named(study, own, name, kept)
    return found


def _default(study: Study, decision: str, kept: Response | None, engine: str) -> Response:
    return Response(_free(study, decision), Normal() if kept is None else kept.family, model=Saturated() if engine == "exact" else Hierarchical())


def _free(study: Study, decision: str) -> str:
    """A name for a pseudo-outcome that nothing else bears."""
    name, taken = f"utility from {decision} on", {*study.names, study.cluster, study.id}
    while name in taken:
        name += "'"
    return name


def _named(study: Study, response: Response, decision: str, kept: Response | None) -> Response:
    """The response under the name of the one that is kept, or under a name that is free."""
    taken = (*study.names, study.cluster, study.id)
    name = kept.name if kept is not None else _free(study, decision) if response.name in taken else response.name
    model = response.model.function if isinstance(response.model, UserModel) else response.model
    return Response(name, response.family, model=model, priors=dict(response.priors))


def stage_study(study: Study, decision: Decision, response: Response, kept: bool) -> Study:
    """The study up to a decision, followed by one response that stands for all that comes after it; its utility is in the study's units."""
    if not kept:
        factor = study.utility.discount ** (study.stage(decision.name) - 1)
        costs = {n: {o: factor * x for o, x in prices} for n, prices in study.utility.costs if n == decision.name}
        utility = Utility({response.name: 1.0}, costs=costs or None)
    elif study.utility.weights:
        utility = Utility({response.name: study.weight(response.name)})
    else:
        factor = study.utility.discount ** (study.stage(response.name) - 1)
        (table,) = study.utility.tables
        utility = Utility({response.name: {values[0]: factor * number for values, number in table.rows}})
    return Study(*study.before(decision.name), decision, response, utility=utility, cluster=study.cluster, id=study.id)


# ---- backwards ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What all stages have in common."""

    study: Study
    trajectories: Trajectories
    scales: Mapping[str, Scale]
    mode: str
    engine: str
    seed: int
    show: str | bool
    kept: Response | None

    def backwards(self, responses: Mapping[str, Response], size: int) -> StagewisePosterior:
        """Fit all stages, the last one first; `responses` are what is modeled at every decision but the last."""
        study, t, names = self.study, self.trajectories, [d.name for d in self.study.decisions]
        stage, made = self.last(size)
        stages, fitted, notes = {names[-1]: stage}, [made], []
        outcome = t.columns[self.kept.name] if self.kept is not None else self.earned(stage.index)
        for index in reversed(range(len(names) - 1)):
            outcome, said = self.pseudo(stage, outcome)
            stage, made = self.stage(index, responses[names[index]], outcome)
            stages[names[index]] = stage
            fitted.append(made)
            notes += said
        verdict = _verdict(study, t, fitted)
        return StagewisePosterior(study, t, self.scales, self.seed, self.engine, self.mode, verdict, dict(reversed(stages.items())), tuple(notes))

    def last(self, size: int) -> tuple[Stage, StageFitted]:
        """Fit the responses after the last decision."""
        names = [r.name for r in self.study.after(self.study.decisions[-1].name)]
        made = fit_responses(self.study, self.trajectories, names, self.scales, seed=self.seed, engine=self.engine, size=size, show=self.show)
        compiled = {n: compile_response(self.study, n, self.trajectories.cluster_labels) for n in names}
        return Stage(World(self.study, compiled, self.scales, made.draws, size), len(self.study.decisions) - 1), made

    def earned(self, index: int) -> np.ndarray:
        """What every patient earned by the responses of a stage, shape (n,); NaN where it is not known."""
        found = earnings(self.study, self.trajectories)
        names = [r.name for r in self.study.after(self.study.decisions[index].name)]
        total = sum((found[n] for n in names if n in found), np.zeros(self.trajectories.n))
        return np.where(self._known(index), total, np.nan)

    def _known(self, index: int) -> np.ndarray:
        """Whether a decision was made and all responses of its stage are observed."""
        name = self.study.after(self.study.decisions[index].name)[-1].name
        return self.trajectories.reached(self.study, name) & self.trajectories.observed(name)

    def pseudo(self, stage: Stage, outcome: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Pseudo-outcomes of the decision before a fitted stage ``(draw, n)``, NaN for who does not count; and whom that concerns.

        `outcome` is the stage's own, ``(n,)`` or ``(draw, n)``; values of the kept response, or utilities.
        """
        study, t = self.study, self.trajectories
        name, before = study.decisions[stage.index].name, study.decisions[stage.index - 1].name
        came = t.reached(study, name)
        index = np.flatnonzero(came)
        history = [n.name for n in study.before(name)]
        rows = Rows(t.history(history, index), None if t.cluster is None else t.cluster[index], len(index))
        after = continued(self.mode, stage, rows, t.columns[name][index], outcome[..., index], self.seed, worth=self.kept is None)
        now = self.earned(stage.index - 1) if self.kept is None else np.zeros(t.n)
        total = np.full((stage.world.size, t.n), np.nan)
        ended = self._known(stage.index - 1) & ~came
        total[:, ended] = now[ended]
        total[:, index] = now[index] + after
        notes = []
        if drawn := int((~np.isfinite(np.atleast_2d(outcome)[0, index])).sum()):
            notes.append(f"{drawn} of {len(index)} patients who came to {name!r} are not followed to the end: what they earn from it on is drawn.")
        if lost := int((t.observed(before) & ~came & ~ended).sum()):
            notes.append(f"{lost} patients are lost between {before!r} and {name!r} and left out of the model of {before!r}.")
        return total, notes

    def stage(self, index: int, response: Response, outcome: np.ndarray) -> tuple[Stage, StageFitted]:
        """Fit the utility from a decision on to its pseudo-outcomes."""
        study, t, decision = self.study, self.trajectories, self.study.decisions[index]
        own = stage_study(study, decision, response, self.kept is not None)
        histories = t.history([n.name for n in own.before(response.name)])
        y = outcome - own.charged(response.name, histories)  # what the option costs is known, and not estimated
        scales = {n: s for n, s in self.scales.items() if n in own.names} | self._scale(index, response, own.charged(response.name, histories))
        seed = (self.seed + zlib.crc32(decision.name.encode())) % 2**62
        made = fit_imputed(own, response.name, histories, y, cluster=t.cluster, cluster_labels=t.cluster_labels, scales=scales,
                           seed=seed, engine=self.engine, show=self.show)
        compiled = {response.name: compile_response(own, response.name, t.cluster_labels)}
        return Stage(World(own, compiled, scales, made.draws, len(outcome)), index), made

    def _scale(self, index: int, response: Response, charged: np.ndarray | float) -> dict[str, Scale]:
        """Location and SD of a pseudo-outcome, the same for all imputations: those of what patients earned from a decision on, costs apart."""
        if response.support is not None:
            return {}
        if self.kept is not None:
            return {response.name: self.scales[response.name]}
        found = earnings(self.study, self.trajectories)
        later = [r.name for d in self.study.decisions[index:] for r in self.study.after(d.name)]
        done = self.trajectories.finished(self.study) & self.trajectories.observed(self.study.decisions[index].name)
        seen = (sum((found[n] for n in later if n in found), np.zeros(self.trajectories.n)) - charged)[done]
        if len(seen) < 2 or seen.min() == seen.max():
            raise DecisionError(f"q_learn: the utility from {self.study.decisions[index].name!r} on has no spread in {len(seen)} patients followed "
                                "to the end; nothing can be learned from it.")
        return {response.name: Scale(float(seen.mean()), float(seen.std(ddof=1)))}


def _verdict(study: Study, t: Trajectories, fitted: Sequence[StageFitted]) -> Verdict:
    """The worst of all stages, with positivity, and with predictive checks of the last decision's responses."""
    last = fitted[0]
    assert last.convergence is not None
    status = max((f.status for f in fitted), key=STATUS.index)
    cells = cell_counts(study, t)
    softer = doubts(study, cells, list(last.predictive))
    status = "warn" if softer and status == "ok" else status
    return Verdict(status, tuple([r for f in fitted for r in f.reasons] + softer), last.convergence, tuple(cells), last.predictive)


def _value(posterior: StagewisePosterior) -> np.ndarray:
    """The first decision's values at the recommended options, averaged over the patients; shape (1, draw)."""
    stage = posterior.stages[posterior.study.decisions[0].name]
    t, names = posterior.trajectories, [b.name for b in posterior.study.baselines]
    distinct, inverse = Rows(t.history(names), t.cluster, t.n).unique()
    qbar, q = stage.values(distinct)
    weights = population_weights(stage.world, inverse, distinct.n, posterior.seed)
    return (weights * q[:, np.arange(distinct.n), qbar.argmax(axis=1)]).sum(axis=1)[None]


assert set(MEANING) == set(MODES)
