"""`Study`: the whole declaration, checked once when it is made."""

import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .addresses import Given, resolve, with_study_priors
from .checks import check_decision, check_order, check_response, check_utility
from .conditions import Level
from .lifetime import LifeUtility
from .models import UserModel
from .priors import PriorInForce
from .rules import Rules, embedded_regimes, written
from .sensitive import refuse_sensitive, separated
from .structures import check_patient_effects, check_pool_stages
from .timeline import Baseline, Decision, Node, Response, code_of, finite_values
from .utility import Table, Utility

History = Mapping[str, np.ndarray]
"""Columns of equal length: numbers, and codes for decisions and labelled covariates."""


@dataclass(frozen=True)
class Scale:
    """Location and SD of a continuous variable: covariates are standardised by it, priors stated in it.

    Those of a survival time: the logarithm of the person-time per event ``m``, and the SD of ``log(1 + time / m)``.
    """

    location: float | None
    """None: the mean observed at the first fit."""
    sd: float

    def __post_init__(self):
        if not ((self.location is None or np.isfinite(self.location)) and np.isfinite(self.sd) and self.sd > 0):
            raise StudyError(f"A scale needs an SD above 0 and a finite location (or None), got SD {self.sd!r} and location {self.location!r}.")


@dataclass(frozen=True, init=False)
class Study:
    """A study of dynamic treatment regimes.

    Parameters
    ----------
    *timeline : Baseline, Decision or Response
        In the order in which they are observed.
    utility : Utility, RestrictedMean, SurvivalAt, QualityAdjusted or str
        What is to be maximised; a string names one response.
    cluster : str, optional
        Column of the clusters (sites) over which levels and treatment effects are partially pooled.
    id : str, optional
        Column of patient identifiers; otherwise rows are numbered from 1.
    reference : mapping of str to str, or to mapping of Condition to str, or "as assigned", optional
        The standard-of-care regime that contrasts are taken against: an option per decision, or
        one per condition; an option may be a `Lottery`. "as assigned" is the study's own randomization.
    mcid : float, optional
        Smallest difference in utility that matters; by default 0.1 SD of the utility.
    estimand : mapping of str to str, optional
        A sentence per intercurrent event: how non-adherence, death, dropout are handled.
    scales : mapping of str to Scale, float or (location, SD), optional
        The SDs that priors are stated in and covariates divided by. What is not declared is
        fixed at the first fit, stored with the posterior and reused.
    priors : mapping of str to Prior or float, optional
        As ``priors`` of the responses, addresses beginning with the response: ``{"y.tau.scale": 0.3}``.
    patient_effects : sequence of str, optional
        Responses that share an effect of each patient's own (a frailty): what a patient's earlier
        responses say about it tells on the later ones. The effect is integrated over, and predictions
        for a patient use the patient's own history.
    pool_stages : sequence of str, optional
        Responses that are the same outcome after decisions between the same options: the contrasts of
        each one's latest decision vary around common ones, so that stages learn from one another.

    Raises
    ------
    StudyError
        When the declaration contradicts itself; the message names the value and what is allowed.

    Examples
    --------
    >>> Study(Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y")
    """

    timeline: tuple[Node, ...]
    utility: Utility
    cluster: str | None
    id: str | None
    reference: Rules | None
    mcid: float | None
    estimand: tuple[tuple[str, str], ...]
    scales: tuple[tuple[str, Scale], ...]
    patient_effects: tuple[str, ...]
    pool_stages: tuple[str, ...]
    audited: tuple[Baseline, ...]
    """Covariates declared ``sensitive=True``: not part of the timeline that models and rules see."""

    def __init__(self, *timeline: Node, utility: Utility | LifeUtility | str, cluster: str | None = None, id: str | None = None,
                 reference: Mapping[str, Any] | Rules | str | None = None, mcid: float | None = None,
                 estimand: Mapping[str, str] | None = None, scales: Mapping[str, Any] | None = None,
                 priors: Mapping[str, Given] | None = None, patient_effects: Sequence[str] = (), pool_stages: Sequence[str] = ()):
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        seen, audited = separated(timeline)
        put("audited", audited)
        put("timeline", with_study_priors(seen, priors or {}))
        put("utility", _utility(utility))
        put("cluster", cluster)
        put("id", id)
        put("estimand", tuple((estimand or {}).items()))
        put("reference", None)  # read below, once the rest is known to be sound
        check_order(self)
        put("mcid", _mcid(mcid))
        put("scales", _scales(self, scales or {}))
        put("patient_effects", check_patient_effects(self, patient_effects))
        put("pool_stages", check_pool_stages(self, pool_stages))
        check_utility(self)
        for decision in self.decisions:
            check_decision(self, decision)
        for response in self.responses:
            check_response(self, response)
        put("reference", reference if isinstance(reference, Rules) or reference is None else written(self, reference, "reference"))

    @property
    def shared(self) -> tuple[str, ...]:
        """Responses that share something with others, in time order: what one shows of a patient tells about the others."""
        return tuple(r.name for r in self.responses if r.name in (*self.patient_effects, *self.pool_stages))

    # ---- looking things up -----------------------------------------------------------------

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Baseline covariates."""
        return tuple(node for node in self.timeline if isinstance(node, Baseline))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Decisions in time order."""
        return tuple(node for node in self.timeline if isinstance(node, Decision))

    @property
    def responses(self) -> tuple[Response, ...]:
        """Responses in time order."""
        return tuple(node for node in self.timeline if isinstance(node, Response))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables in time order."""
        return tuple(node.name for node in self.timeline)

    def __getitem__(self, name: str) -> Node:
        for node in self.timeline:
            if node.name == name:
                return node
        refuse_sensitive(self, [name], "What was asked for")
        raise StudyError(f"The study has no variable {name!r}; it has {listing(self.names)}{did_you_mean(name, self.names)}")

    def before(self, name: str) -> tuple[Node, ...]:
        """The variables observed before a named one, in time order."""
        return self.timeline[: self.names.index(self[name].name)]

    def after(self, decision: str) -> tuple[Response, ...]:
        """The responses between a decision and the next one."""
        rest = self.timeline[self.names.index(self[decision].name) + 1 :]
        return tuple(itertools.takewhile(lambda node: isinstance(node, Response), rest))  # type: ignore[arg-type]

    def stage(self, name: str) -> int:
        """Number (from 1) of the decision that a variable belongs to; 0 for baseline covariates."""
        position = self.names.index(self[name].name)
        return sum(isinstance(node, Decision) for node in self.timeline[: position + 1])

    def weight(self, response: str) -> float:
        """Discounted weight of a response in the utility; 0 when it has none, or counts through the total of a course only."""
        if self.utility.attitude is not None:
            return 0.0
        weight = dict(self.utility.weights).get(response, 0.0)
        return weight * self.utility.discount ** (self.stage(response) - 1) if weight else 0.0

    def pays(self, response: str) -> bool:
        """Whether something other than a weight is earned when a response becomes known."""
        if self.utility.attitude is not None:
            return self.linear.counts(response)
        return bool(self.tables_of(response))

    def keeps(self, response: str) -> bool:
        """Whether what a later response earns depends on this one."""
        if self.utility.attitude is not None and self.linear.counts(response):
            return any(self.linear.counts(r.name) for r in self.responses[[r.name for r in self.responses].index(response) + 1 :])
        kinds = (*self.utility.tables, *(life for life, _ in self.utility.times))
        return any(response in t.names and response != max(t.names, key=self.names.index) for t in kinds)

    def earned(self, response: str, columns: History) -> np.ndarray:
        """What is earned, beside the weight, when a response becomes known.

        Parameters
        ----------
        response : str
        columns : mapping of str to array
            Equally shaped; the response and what came before it.

        Returns
        -------
        array of the same shape
        """
        if self.utility.attitude is not None:
            before = self.accrued(response, columns)
            worth = self.utility.attitude.worth
            return worth(before + self.linear.counted(response, columns)) - worth(before)
        total = sum(t.earned(self, columns) for t in self.tables_of(response))
        return total * self.utility.discount ** (self.stage(response) - 1)

    @property
    def linear(self) -> "Study":
        """The same study with a utility that is indifferent to outcome risk, a sum of parts."""
        return self if self.utility.attitude is None else self._with(utility=self.utility.under(None))

    def counts(self, response: str) -> bool:
        """Whether anything is earned or charged with a response, under a utility that is a sum of parts."""
        return bool(self.weight(response) or self.tables_of(response) or self.lives(response) or self.charges(response))

    def counted(self, response: str, columns: History) -> np.ndarray:
        """All that is earned with a response whose value is known, costs taken off, under a utility that is a sum of parts; shape (n,)."""
        value = np.asarray(columns[response], dtype=float)
        total = self.lived(response, columns) + self.charged(response, columns)
        if weight := self.weight(response):
            total = total + weight * value
        return total + self.earned(response, columns) if self.tables_of(response) else total

    def accrued(self, response: str, columns: History) -> np.ndarray:
        """The total earned before a response, whatever the attitude to risk, shape (n,)."""
        plain = self.linear
        earlier = [r.name for r in self.responses if self.names.index(r.name) < self.names.index(response)]
        some = next(iter(columns.values())) if columns else np.zeros(1)
        return sum((plain.counted(n, columns) for n in earlier if plain.counts(n)), np.zeros(np.shape(some)))

    def lives(self, response: str) -> tuple[tuple[LifeUtility, float], ...]:
        """The utilities of times that a response is part of, with their discounted weights; none where only the total counts."""
        if self.utility.attitude is not None:
            return ()
        factor = self.utility.discount ** (self.stage(response) - 1)
        return tuple((life, weight * factor) for life, weight in self.utility.times if response in life.names)

    def lived(self, response: str, columns: History) -> np.ndarray:
        """What a time that is known earned by utilities of times, shape (n,)."""
        return sum((w * u.realized(response, u.elapsed(response, columns), columns[response]) for u, w in self.lives(response)),
                   np.zeros(np.shape(columns[response])))

    def charges(self, response: str) -> str | None:
        """The decision whose options' costs count with a response: the one it is the first response to, if its options cost anything."""
        before = self.timeline[self.names.index(response) - 1]
        if self.utility.attitude is not None:
            return None
        return before.name if isinstance(before, Decision) and before.name in dict(self.utility.costs) else None

    def charged(self, response: str, columns: History) -> np.ndarray | float:
        """What the options taken cost where a response is the first after a decision, as a negative number, shape (n,); 0 where nothing."""
        name = self.charges(response)
        if name is None:
            return 0.0
        prices, options = dict(dict(self.utility.costs)[name]), self._decision(name).options
        worth = -np.array([prices.get(o, 0.0) for o in options]) * self.utility.discount ** (self.stage(name) - 1)
        return worth[np.asarray(columns[name]).astype(int)]

    def tables_of(self, response: str) -> list[Table]:
        """Tables whose number is earned when a response becomes known."""
        return [t for t in self.utility.tables if response == max(t.names, key=self.names.index)]

    def code(self, name: str, label: Level) -> float:
        """The number that stands for a label of a variable in a history."""
        return code_of(self[name], label)

    def with_scales(self, scales: Mapping[str, Any]) -> "Study":
        """The same study with scales declared, for example those of an earlier posterior, so that a later look keeps its priors.

        Parameters
        ----------
        scales : mapping of str to Scale, float or (location, SD)
            Replace or add to those declared.

        Returns
        -------
        Study
        """
        return self._with(scales=tuple((dict(self.scales) | dict(_scales(self, scales))).items()))

    def with_utility(self, utility: Utility | LifeUtility | str, mcid: float | None = None) -> "Study":
        """The same study with another utility; `mcid` is in its units, by default 0.1 SD.

        Raises
        ------
        StudyError
            As for a new study.
        """
        made = self._with(utility=_utility(utility), mcid=_mcid(mcid))
        check_utility(made)
        return made

    def valued(self, part: Utility) -> "Study":
        """The same study under a part of a utility, which alone need not look beyond the last decision."""
        part.check(self)
        return self._with(utility=part, mcid=None)

    @property
    def modeled(self) -> "Study":
        """The study without what no response's model depends on, so that studies which differ in nothing else share their models."""
        return self._with(utility=Utility(self.responses[-1].name), mcid=None, reference=None, estimand=(), audited=())

    def _with(self, **changes: Any) -> "Study":
        made = object.__new__(Study)
        for name in self.__dataclass_fields__:
            object.__setattr__(made, name, changes.get(name, getattr(self, name)))
        return made

    def preceded_by(self, covariate: Baseline) -> "Study":
        """The same study with one more covariate before everything else."""
        return self._with(timeline=(covariate, *self.timeline))

    # ---- feasible sets ---------------------------------------------------------------------

    def stratum(self, decision: str, history: History) -> np.ndarray:
        """Which of a decision's conditions each history meets.

        Returns
        -------
        array of int, shape (n,)
            Index into ``Decision.choices``; -1 where none holds, -2 where several do.
        """
        node = self._decision(decision)
        met = np.stack([condition.mask(history, self.code) for condition, _ in node.choices])
        index, count = met.argmax(axis=0), met.sum(axis=0)
        return np.where(count == 1, index, np.where(count == 0, -1, -2))

    def feasible(self, decision: str, history: History) -> np.ndarray:
        """Which options are feasible for each history.

        Returns
        -------
        array of bool, shape (n, options)
            Columns in the order of ``Decision.options``.
        """
        node = self._decision(decision)
        table = np.array([[o in options for o in node.options] for _, options in node.choices] + [[False] * len(node.options)])
        return table[np.maximum(self.stratum(decision, history), -1)]

    def _decision(self, name: str) -> Decision:
        node = self[name]
        if not isinstance(node, Decision):
            raise StudyError(f"{name!r} is not a decision; decisions: {listing(d.name for d in self.decisions)}.")
        return node

    # ---- what follows from the declaration ----------------------------------------------------

    def priors(self, response: str) -> dict[str, PriorInForce]:
        """Every prior in force for a response, by address; empty for a user's model."""
        node = self[response]
        assert isinstance(node, Response)
        if isinstance(node.model, UserModel) or node.family is None:
            return {}
        return resolve(self, node)

    def embedded(self) -> tuple[Rules, ...]:
        """The embedded regimes: one option per decision and level of its tailoring variables."""
        return embedded_regimes(self)

    def __str__(self) -> str:
        from .describe import describe

        return describe(self)


def _scales(study: Study, given: Mapping[str, Any]) -> tuple[tuple[str, Scale], ...]:
    continuous = [n.name for n in study.timeline if finite_values(n) is None]
    result = []
    for name, value in given.items():
        if name not in continuous:
            raise StudyError(f"Study: scales names {name!r}; continuous variables: {listing(continuous) or 'none'}{did_you_mean(name, continuous)}")
        pair = (value.location, value.sd) if isinstance(value, Scale) else tuple(value) if isinstance(value, (tuple, list)) else (None, value)
        given_numbers = pair[1:] if pair[:1] == (None,) else pair  # an SD alone has no location yet
        if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in given_numbers):
            raise StudyError(f"Study: the scale of {name!r} is an SD, (location, SD) or a Scale, got {value!r}.")
        result.append((name, Scale(None if pair[0] is None else float(pair[0]), float(pair[1]))))
    return tuple(result)


def _utility(given: Any) -> Any:
    return Utility(given) if isinstance(given, str | LifeUtility) else given


def _mcid(given: float | None) -> float | None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, numbers.Real) or not 0 < given < math.inf):
        raise StudyError(f"Study: mcid must be a finite number above 0, got {given!r}.")
    return None if given is None else float(given)
