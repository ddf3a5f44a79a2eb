"""Which trials can be counted, and the calendar and truths that they share."""

import functools
from dataclasses import dataclass

import numpy as np

from ...study import Bernoulli, Study
from ...study.models import Saturated
from ...study.priors import Prior
from ...study.saturated import saturated_cells
from ..allocation import Equal, Fixed, Thompson, TopTwo
from ..design import TrialDesign
from ..nature import Scenario, bind
from ..nature.accrual import PiecewiseAccrual, Steady
from ..nature.calendar import Calendar
from ..nature.delays import FixedDelay
from ..stopping import DropWorst, Equivalence, Futility, Inferiority, Superiority
from .drawing import thresholds

LARGEST_BLOCK = 24
LARGEST_ARMS = 12


@dataclass(frozen=True, eq=False)
class Plan:
    """What all replicates of a design under a scenario share.

    Attributes
    ----------
    times : array, shape (look,)
    recruited, known : array of int, shape (look,)
        Patients recruited, and with outcome known, at each look.
    until : array of int, shape (look,)
        Patients before this one, from `recruited` on, are assigned by each look if it is not the end.
    complete : array, shape (patient,)
        Times at which outcomes are known.
    cuts : array of int
        Numbers of patients that counts are kept at, increasing from 0.
    burn_in, block : int
    bad : array of int, shape (patient, arm)
        Bits from which a patient's number makes a success in each arm.
    prior : array, shape (2, arm)
    weight : float
        Of the response in the utility.
    margin : float or None
        That an equivalence rule asks about.
    """

    times: np.ndarray
    recruited: np.ndarray
    known: np.ndarray
    until: np.ndarray
    complete: np.ndarray
    cuts: np.ndarray
    burn_in: int
    block: int
    bad: np.ndarray
    prior: np.ndarray
    weight: float
    margin: float | None

    def place(self, patients: np.ndarray | int) -> np.ndarray:
        """Where numbers of patients stand among the cuts."""
        return np.searchsorted(self.cuts, patients)


def applies(design: TrialDesign, scenario: Scenario, keep: str = "summary") -> bool:
    """Whether a trial's patients are exchangeable enough to be counted instead of followed one by one.

    Parameters
    ----------
    design : TrialDesign
    scenario : Scenario
    keep : {"summary", "looks", "patients"}

    Returns
    -------
    bool
        One decision with all options open to everybody; one Bernoulli response in saturated cells with Beta priors, analysed exactly, whose
        weight is the utility; deterministic times; nobody drops out or disobeys; rules that ask for P(best), equivalence or contrasts only.
        Records patient by patient are the patient-level course's, which draws the same patients.
    """
    return keep != "patients" and _study(design.study) and _nature(design, scenario) and _rules(design) and _start(design, scenario)


@functools.lru_cache(maxsize=32)
def _study(study: Study) -> bool:
    if len(study.decisions) != 1 or len(study.responses) != 1 or study.baselines or study.cluster is not None or study.shared:
        return False
    decision, response, utility = study.decisions[0], study.responses[0], study.utility
    if len(decision.sets) != 1 or set(decision.sets[0]) != set(decision.options) or not 2 <= len(decision.options) <= LARGEST_ARMS:
        return False
    if type(response.family) is not Bernoulli or not isinstance(response.model, Saturated) or response.model.over is not None:
        return False
    if utility.tables or utility.times or utility.costs or utility.attitude is not None or not study.weight(response.name):
        return False
    return prior_of(study) is not None


def prior_of(study: Study) -> np.ndarray | None:
    """Parameters of the Beta priors, shape (2, arm); None where they are others."""
    response = study.responses[0]
    labels = saturated_cells(study, response).labels
    rows = study.priors(response.name)
    priors = [rows.get(f"probability.{label}", rows["probability"]).prior for label in labels]
    if len(labels) != len(study.decisions[0].options) or any(not isinstance(p, Prior) or p.distribution != "Beta" for p in priors):
        return None
    return np.array([[p["concentration1"], p["concentration0"]] for p in priors], dtype=float).T


def margin_of(design: TrialDesign) -> float | None:
    """The margin of the first equivalence rule, if there is one."""
    return next((rule.margin for rule in design.stopping if isinstance(rule, Equivalence)), None)


def _calendar(design: TrialDesign, scenario: Scenario) -> Calendar:
    return scenario.calendar or design.calendar


def _nature(design: TrialDesign, scenario: Scenario) -> bool:
    calendar = _calendar(design, scenario)
    steady = isinstance(calendar.accrual, Steady) or (isinstance(calendar.accrual, PiecewiseAccrual) and not calendar.accrual.poisson)
    plain = not scenario.baseline and scenario.clusters is None and scenario.dropout is None and scenario.adherence is None
    return plain and steady and isinstance(calendar.delay(design.study.responses[0].name), FixedDelay)


def _rules(design: TrialDesign) -> bool:
    analysis, rule = design.analysis, design.allocation[0][1]
    if analysis.chosen(design.study) != "exact" or analysis.period_effects or analysis.audit:
        return False
    if type(rule) not in (Equal, Fixed, Thompson, TopTwo) or (isinstance(rule, Thompson) and (rule.protect is not None or rule.level != "stage")):
        return False
    layout = design.layout
    if layout.uses.shape[0] != layout.uses.shape[1] or not (layout.uses == np.eye(len(layout.uses), dtype=bool)).all():
        return False
    return (all(type(r) in (Superiority, Equivalence, Futility, Inferiority) for r in design.stopping)
            and all(type(r) is DropWorst for r in design.dropping))


def _start(design: TrialDesign, scenario: Scenario) -> bool:
    if design.burn_in is None:
        return True
    block = design.burn_in.block or 0
    options = len(design.study.decisions[0].options)
    times = _times(design, scenario)
    return design.burn_in.patients <= times[1][0] and (block == 0 or block % options == 0) and max(block, 2 * options) <= LARGEST_BLOCK


@functools.lru_cache(maxsize=32)
def _times(design: TrialDesign, scenario: Scenario) -> tuple[np.ndarray, ...]:
    """Times of the looks, patients recruited and known at them, whom each look assigns, and when outcomes are known."""
    schedule = _calendar(design, scenario).schedule(design.study, 0, np.zeros(1, dtype=int), design.size)
    enrolled, complete = schedule.enrolled, schedule.answered.max(axis=2)
    times = design.looks.times(enrolled, complete)
    recruited = (enrolled[:, None, :] <= times[:, :, None]).sum(axis=2)[0]
    known = (complete[:, None, :] <= times[:, :, None]).sum(axis=2)[0]
    return times[0], recruited, known, np.append(recruited[1:], design.size), complete[0]


@functools.lru_cache(maxsize=16)
def plan_of(design: TrialDesign, scenario: Scenario) -> Plan:
    """The plan of a design under a scenario."""
    study = design.study
    times, recruited, known, until, complete = _times(design, scenario)
    rule, options = design.allocation[0][1], len(study.decisions[0].options)
    if design.burn_in is not None:
        burn_in, block = design.burn_in.patients, design.burn_in.block or 2 * options
    else:
        burn_in, block = int(recruited[0]) if rule.adaptive or isinstance(rule, Equal) else 0, 2 * options
    nature = bind(design, scenario)
    name, path, law = study.decisions[0].name, nature.drifts[0], nature.laws[0]
    bad = []
    for code in range(options):
        shift = None if path is None else path[:, code if path.shape[1] > 1 else 0]
        mean, _ = law.parameters({name: np.full(design.size, code)}, design.size, shift)
        bad.append(thresholds(1 - mean))
    cuts = np.unique(np.concatenate([[0], known, recruited, [design.size]]))
    prior = prior_of(study)
    assert prior is not None
    return Plan(times, recruited, known, until, complete, cuts, burn_in, block, np.stack(bad, axis=1), prior, study.weight(study.responses[0].name),
                margin_of(design))
