"""`compare_models`: several plausible models of one study, how well they predict, and what moves between them."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DecisionError, VerdictWarning, listing
from ..inference import LeaveOneOut, Posterior, StackedPosterior
from ..inference.loo import GOOD_K, leave_one_out, stacking_weights
from ..inference.stacked import STACKED, stack
from ..model import CompiledResponse
from ..study.timeline import Decision, labels_of
from .crossvalues import CrossValues, covering, cross_values, needs_regression
from .modeltables import agreement_frame, models_frame, recommendations_frame, text, values_frame
from .optimize import optimize
from .regime import Regime, mcid_of

TOTAL = "all responses"


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Several models of the same patients side by side.

    Predictive accuracy is worked out when the comparison is made; regimes and their values when
    they are first asked for (printing asks for them).

    Attributes
    ----------
    names : tuple of str
    posteriors : tuple of Posterior
    loo : tuple of LeaveOneOut
        Leave-one-patient-out predictive densities of each model.
    weights : mapping of str to tuple of float
        Stacking weights by response, one per model. They say which mixture predicts a further
        patient best; they are not probabilities that a model is true.
    ci_prob : float
        Probability of equal-tailed intervals.
    """

    names: tuple[str, ...]
    posteriors: tuple[Posterior, ...]
    loo: tuple[LeaveOneOut, ...]
    weights: Mapping[str, tuple[float, ...]]
    ci_prob: float

    @functools.cached_property
    def stacked(self) -> StackedPosterior:
        """The mixture with the stacking weights, a posterior for `optimize`, `compare`, reports and files."""
        notes = []
        for response in self.weights:
            high = {n: x.high(response) for n, x in zip(self.names, self.loo, strict=True) if x.high(response)}
            if high:
                many = ", ".join(f"{k} of {n!r}" for n, k in high.items())
                notes.append(f"Stacking weights of {response!r} rest on estimates with k-hat above {GOOD_K} (patients: {many}).")
        return stack(self.posteriors, self.names, self.weights, notes=notes)

    @functools.cached_property
    def regimes(self) -> dict[str, Regime]:
        """The optimal regime of each model, and of the stacked posterior under ``"stacked"``."""
        method = "regression" if needs_regression(self._cover) else "auto"
        return {n: optimize(p, method=method) for n, p in self._all.items()}

    @functools.cached_property
    def cross(self) -> CrossValues:
        """Draws of the value of every model's rule under every model."""
        return cross_values(self._cover, self._all, self.regimes)

    @functools.cached_property
    def _cover(self):
        return covering(self.posteriors, self.names)

    @property
    def _all(self) -> dict[str, Posterior]:
        return dict(zip(self.names, self.posteriors, strict=True)) | {STACKED: self.stacked}

    @property
    def mcid(self) -> float:
        """Smallest difference in utility that matters."""
        return mcid_of(self.posteriors[0])

    @functools.cached_property
    def models(self) -> Any:
        """Predictive accuracy and weights as a pandas frame, one row per response (then all responses) and model.

        Columns: ``response``, ``model``, ``patients``, ``elpd`` and ``se`` (expected log predictive
        density, leave one patient out), ``difference`` to the best model and ``difference_se``
        (paired by patient), ``p_loo``, ``khat_worst``, ``khat_above`` (patients above 0.7, not
        refitted), ``refitted`` (patients left out exactly), ``weight``.
        """
        return models_frame(self, TOTAL)

    @functools.cached_property
    def recommendations(self) -> Any:
        """Which model recommends what, as a pandas frame, one row per decision and history.

        Histories are all cells where history is discrete, else those of the observed patients.
        Columns: ``decision``, one per variable of the history, ``patients`` (observed there), one
        per model and ``stacked`` with the option's label, ``differ`` (whether models disagree),
        ``near_tie`` (another option within `mcid` of the stacked recommendation), and
        ``loss: model``, the expected utility lost under the stacked posterior by doing what that
        model says there (later decisions stacked). Histories that offer one option are left out.
        """
        return recommendations_frame(self)

    @functools.cached_property
    def agreement(self) -> Any:
        """How often models disagree, as a pandas frame, one row per decision.

        Columns: ``decision``, ``patients`` (observed there with a choice), ``differ`` (share for
        whom the models recommend different options), ``differ_beyond`` (share for whom, moreover,
        no near-tie explains it), then per model ``agrees: model`` (share for whom it says what the
        stacked posterior says) and ``loss: model`` (their mean loss).
        """
        return agreement_frame(self)

    @functools.cached_property
    def values(self) -> Any:
        """Every model's rule valued under every model, as a pandas frame, one row per pair.

        Columns: ``rule``, ``model``, ``mean``, ``sd``, ``lower``, ``upper``, ``mcse`` (Monte Carlo
        standard error of the mean), ``lost`` (by following this rule instead of the model's own) and ``lost_mcse``.
        """
        return values_frame(self)

    def __str__(self) -> str:
        return text(self, TOTAL)


def compare_models(posteriors: Sequence[Posterior] | Mapping[str, Posterior], *, names: Sequence[str] | None = None,
                   refit: bool = False, ci_prob: float = 0.95) -> ModelComparison:
    """Compare models of one study by what they predict, and by what they recommend.

    The unit left out is the patient, with all responses at once; in a clustered study the other
    patients of the cluster stay. Leaving out is by Pareto smoothed importance sampling.

    Parameters
    ----------
    posteriors : sequence of Posterior, or mapping of str to Posterior
        At least two, of the same patients, timeline and utility; models, priors, structure, scales
        and engines may differ.
    names : sequence of str, optional
        Names of the models; "model 1", "model 2", ... by default. A mapping brings its own.
    refit : bool
        Fit a response again without a patient wherever importance sampling fails (k-hat above 0.7),
        which is exact and takes a fit of that response each time.
    ci_prob : float
        Probability of equal-tailed intervals.

    Returns
    -------
    ModelComparison

    Raises
    ------
    DecisionError
        When the posteriors do not belong together; the message says what differs.

    Warns
    -----
    VerdictWarning
        When the checks of a posterior fail.

    Notes
    -----
    Weights are stacked response by response (Yao et al. 2018, applied to each response's
    leave-one-out densities). Responses are separate given the own history, so a patient's log
    density is the sum over responses and the joint mixture factorises over them: a response takes
    the models that predict it best, and backward induction with posterior-averaged probabilities
    stays exact for the stacked posterior. One weight per whole model would tie responses together
    that have nothing in common, and would have to be updated by each patient's own history before
    every decision, which is for probabilities of models, and stacking weights are none.
    """
    named = _named(posteriors, names)
    if not 0 < ci_prob < 1:
        raise DecisionError(f"compare_models: ci_prob must lie between 0 and 1, got {ci_prob!r}.")
    _check_together(named)
    for name, posterior in named.items():
        if posterior.verdict.status == "fail":
            warnings.warn(VerdictWarning(f"compare_models: the checks of model {name!r} fail, so its row is no ground for a choice: "
                                         + posterior.verdict.reasons[0]), stacklevel=2)
    loo = tuple(leave_one_out(p, refit=refit) for p in named.values())
    weights = {r: tuple(float(w) for w in stacking_weights([x.elpd[r] for x in loo])) for r in loo[0].elpd}
    return ModelComparison(tuple(named), tuple(named.values()), loo, weights, ci_prob)


def _check_together(named: Mapping[str, Posterior]) -> None:
    """Raise DecisionError for what cannot be compared."""
    for name, posterior in named.items():
        _check_posterior(name, posterior)
    (first_name, first), *others = named.items()
    taken = {"decision", "patients", "differ", "near_tie", *first.study.names, str(first.study.cluster)}
    if clash := sorted(taken & set(named)):
        raise DecisionError(f"compare_models: {listing(clash)} cannot name a model, since tables have a column of this name; choose another.")
    for name, other in others:
        _check_pair(first_name, first, name, other)


def _named(posteriors: Any, names: Any) -> dict[str, Posterior]:
    """Posteriors by name, in order."""
    if isinstance(posteriors, Posterior):
        raise DecisionError("compare_models takes several posteriors; put them into a list or a mapping of name to posterior.")
    if isinstance(posteriors, Mapping):
        if names is not None:
            raise DecisionError("compare_models: a mapping brings its own names; leave names= out.")
        names, posteriors = list(posteriors), list(posteriors.values())
    if not isinstance(posteriors, Sequence) or isinstance(posteriors, str):
        raise DecisionError(f"compare_models takes a list of posteriors, or a mapping of name to posterior, got {type(posteriors).__name__}.")
    if len(posteriors) < 2:
        raise DecisionError(f"compare_models needs at least two posteriors, got {len(posteriors)}; for a single one use compare or optimize.")
    names = [f"model {i}" for i in range(1, len(posteriors) + 1)] if names is None else list(names)
    if len(names) != len(posteriors):
        raise DecisionError(f"compare_models: {len(names)} names for {len(posteriors)} posteriors: {listing(names)}.")
    for name in names:
        if not isinstance(name, str) or not name.strip() or "/" in name or "::" in name or name.casefold() == STACKED:
            raise DecisionError(f"compare_models: {name!r} cannot name a model; names are texts without '/' and '::', and {STACKED!r} is the "
                                "mixture's.")
        if names.count(name) > 1:
            raise DecisionError(f"compare_models: two models are called {name!r}; names must differ.")
    return dict(zip(names, posteriors, strict=True))


def _check_posterior(name: str, posterior: Any) -> None:
    if isinstance(posterior, Regime):
        raise DecisionError(f"compare_models: {name!r} is a Regime; give its posterior: regime.posterior.")
    if isinstance(posterior, StackedPosterior):
        raise DecisionError(f"compare_models: {name!r} is stacked already; give the posteriors it was made of "
                            f"({listing(m.name for m in posterior.models)}) and the further ones together.")
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"compare_models: {name!r} is a {type(posterior).__name__}, not a Posterior; fit a study first.")
    if posterior.study.shared:
        raise DecisionError(
            f"compare_models: {name!r} has responses that share parameters ({listing(posterior.study.shared)}); draws are mixed "
            "response by response here, which would take them apart. Compare the regimes of the posteriors one by one."
        )


def _measure(compiled: CompiledResponse) -> str:
    """What a response's density is taken over: whole numbers, the line, or the line with zero as a value of its own."""
    return "whole" if compiled.whole else "line with zero" if compiled.distribution.startswith("hurdle") else "line"


def _check_pair(a: str, first: Posterior, b: str, other: Posterior) -> None:
    """Raise DecisionError where two posteriors are not models of the same thing."""
    def refuse(what: str, x: object, y: object, why: str) -> None:
        raise DecisionError(f"compare_models: {what} of {b!r} is {y}, of {a!r} it is {x}; {why}")

    s, o = first.study, other.study
    if s.names != o.names:
        refuse("the timeline", list(s.names), list(o.names), "models are compared on one timeline.")
    for x, y in zip(s.timeline, o.timeline, strict=True):
        if type(x) is not type(y):
            refuse(f"the kind of {x.name!r}", type(x).__name__, type(y).__name__, "models are compared on one timeline.")
        if isinstance(x, Decision) and x.choices != y.choices:
            refuse(f"the options at {x.name!r}", [(str(c), p) for c, p in x.choices], [(str(c), p) for c, p in y.choices],
                   "models are compared on one timeline.")
        if labels_of(x) != labels_of(y):
            refuse(f"the coding of {x.name!r}", labels_of(x) or "a number", labels_of(y) or "a number", "declare it alike.")
    if s.utility != o.utility:
        refuse("the utility", s.utility, o.utility, "regimes are compared by one utility.")
    if s.cluster != o.cluster:
        refuse("cluster=", repr(s.cluster), repr(o.cluster), "leave-one-out must leave out the same thing; declare it alike.")
    if first.trajectories.hash != other.trajectories.hash:
        raise DecisionError(f"compare_models: {b!r} was fitted to other data than {a!r} ({other.trajectories.n} and {first.trajectories.n} patients, "
                            "or other values, order or identifiers); fit all models to the same frame.")
    for response in s.responses:
        x, y = first.compiled(response.name), other.compiled(response.name)
        if x.support != y.support or _measure(x) != _measure(y):
            refuse(f"the distribution of {response.name!r}", x.distribution, y.distribution,
                   "a density and a probability, or probabilities over other values, cannot be compared.")
