"""The course of a batch of trials, patient by patient: looks in turn, and between them assignments and answers."""

from dataclasses import dataclass, field, replace

import numpy as np

from ..study import Study
from .allocation import AllocationRule, Equal, Situation
from .analysis import Analyst, Later, LookPosterior
from .analysis.audit import audited, refit
from .assignment import Lists, drawn
from .design import TrialDesign
from .ending import Ledger
from .layout import Layout
from .nature import Nature
from .observed import Observed
from .state import FOREVER, Clock, State
from .stopping import LookState


@dataclass(eq=False)
class Force:
    """What assignments go by from one look to the next: posterior and data of some trials, and which arms are open.

    Attributes
    ----------
    look : int
        -1 before the first.
    position : array of int, shape (trial,)
        Where each trial of the batch stands in the posterior; -1 of trials that it does not cover.
    """

    look: int
    position: np.ndarray
    posterior: LookPosterior | None = None
    data: Observed | None = None
    recruited: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))


class Course:
    """A batch of trials of one design, simulated together.

    Parameters
    ----------
    design : TrialDesign
    nature : Nature
    analyst : Analyst
    replicates : array of int, shape (trial,)
    seed : int
    keep : {"summary", "looks", "patients"}
    auditor : Analyst, optional
        Refits some looks, where the design says so.
    """

    def __init__(self, design: TrialDesign, nature: Nature, analyst: Analyst, replicates: np.ndarray, *, seed: int, keep: str,
                 auditor: Analyst | None = None):
        self.design, self.nature, self.analyst, self.auditor, self.seed = design, nature, analyst, auditor, seed
        self.study: Study = design.study
        self.layout: Layout = design.layout
        self.replicates = np.asarray(replicates)
        patients = nature.patients(seed, self.replicates)
        self.clock = Clock.of(design.looks, patients, design.cut)
        draws = any(rule.draws_regimes for _, rule in design.allocation)
        self.state = State.start(self.study, self.layout, patients, self.clock, draws_regimes=draws)
        trials = len(self.replicates)
        self.active = np.ones((trials, len(self.layout.arms)), dtype=bool)
        self.ended_at = np.full(trials, FOREVER)
        """Time after which nobody is recruited."""
        self.going = np.ones(trials, dtype=bool)
        self.lists = Lists(design, seed, self.replicates)
        self.ledger = Ledger(self, keep)
        self.needed = design.adaptive or bool(design.stopping or design.dropping) or keep != "summary" or auditor is not None

    def run(self) -> dict[str, np.ndarray]:
        """Simulate to the end and return the records."""
        force = Force(-1, np.full(len(self.replicates), -1))
        self.step(force, np.ones(len(self.replicates), dtype=bool), last=False)
        for look in range(self.layout.looks):
            trials = np.flatnonzero(self.going)
            if not len(trials):
                break
            force = self.look(look, trials)
            over = force.position >= 0
            stopped = over & ~self.going
            final = look == self.layout.looks - 1
            self.step(force, stopped, last=True)
            self.step(force, over & self.going, last=final)
        return self.ledger.close()

    # ---- looks -------------------------------------------------------------------------------------

    def look(self, look: int, trials: np.ndarray) -> Force:
        """Analyse some trials, drop arms, ask the stopping rules; trials that end are no longer `going`."""
        at = self.clock.looks[trials, look]
        data = self.state.observed(at, trials, self.ended_at[trials])
        people = self.state.patients
        recruited = (people.enrolled[trials] <= at[:, None]).sum(axis=1)
        known = (people.complete[trials] <= at[:, None]).sum(axis=1)
        position = np.full(len(self.replicates), -1)
        position[trials] = np.arange(len(trials))
        if not self.needed:
            self.going[trials] &= look < self.layout.looks - 1
            return Force(look, position)
        posterior = self.analyst.look(data, self.replicates[trials], look)
        if self.auditor is not None and (which := audited(self.seed, self.replicates[trials], look, self.design.analysis.audit)).any():
            self.ledger.audited(trials[which], refit(posterior, self.auditor, data, self.replicates[trials], look, which))
        seen = LookState(self.study, self.layout, look, Later(posterior.regimes), self.active[trials], self.open_regimes(trials), posterior, data,
                         recruited, known, self.design.size - known, self.replicates[trials])
        seen = self.drop(seen, trials)
        statistics, fired = self.ask(seen)
        self.ledger.looked(seen, trials, at, statistics, fired)
        stop = (fired >= 0) | (look == self.layout.looks - 1)
        self.going[trials[stop]] = False
        self.ended_at[trials[fired >= 0]] = at[fired >= 0]
        return Force(look, position, posterior, data, recruited)

    def open_regimes(self, trials: np.ndarray) -> np.ndarray:
        """Regimes all of whose arms are open, shape (trial, regime)."""
        return ~(~self.active[trials][:, None, :] & self.layout.uses).any(axis=2)

    def drop(self, seen: LookState, trials: np.ndarray) -> LookState:
        """Close arms as the dropping rules say."""
        for rule in self.design.dropping:
            enough = seen.recruited >= self.design.minimum
            self.active[trials] &= ~(rule.dropped(seen) & enough[:, None])
            seen = LookState(**{**seen.__dict__, "active": self.active[trials], "regimes": self.open_regimes(trials)})
        return seen

    def ask(self, seen: LookState) -> tuple[np.ndarray, np.ndarray]:
        """Statistics of the stopping rules ``(trial, rule)``, and the first binding rule that fires ``(trial,)``, -1 for none."""
        rules = self.design.stopping
        statistics = np.full((len(seen.recruited), len(rules)), np.nan)
        fired = np.full(len(seen.recruited), -1)
        enough = seen.recruited >= self.design.minimum
        for i, rule in reversed(list(enumerate(rules))):
            statistics[:, i] = np.where(enough, rule.statistic(seen), np.nan)
            if rule.binding:
                fired = np.where(statistics[:, i] > rule.level(seen.look), i, fired)
        return statistics, fired

    # ---- between looks -----------------------------------------------------------------------------

    def step(self, force: Force, trials: np.ndarray, *, last: bool) -> None:
        """Make the decisions that a look is in force for, and draw the answers to them.

        Parameters
        ----------
        force : Force
        trials : array of bool, shape (trial,)
        last : bool
            Nobody looks again at these trials: all their later decisions go by this look.
        """
        if not trials.any():
            return
        recruited = trials[:, None] & (self.state.patients.enrolled <= self.ended_at[:, None])
        for k in range(len(self.study.decisions)):
            in_force = self.clock.in_force[:, :, k]
            due = recruited & ((in_force >= force.look) if last else (in_force == force.look))
            trial, patient = np.nonzero(due)
            if k and len(trial):
                here = ~self.state.lost_before(k, trial, patient)
                # Whoever's course ended before, or whose earlier decision belongs to a later step, is not due.
                here &= self.state.columns[self.study.decisions[k - 1].name][trial, patient] >= 0
                trial, patient = trial[here], patient[here]
            if len(trial):
                self.decide(k, force, trial, patient)

    def decide(self, k: int, force: Force, trial: np.ndarray, patient: np.ndarray) -> None:
        """Assign some patients at one decision and draw the responses that follow it."""
        state, node = self.state, self.study.decisions[k]
        history = state.history(node.name, trial, patient, periods=self.design.analysis.period_effects)
        feasible = np.broadcast_to(self.study.feasible(node.name, history), (len(trial), len(node.options))).copy()
        feasible &= self.active[trial, self.layout.arms_of(k)]
        going = feasible.any(axis=1)
        trial, patient, feasible = trial[going], patient[going], feasible[going]
        if not len(trial):
            return
        history = {n: v[going] for n, v in history.items()}
        rule = self.design.rule(node.name)
        early = self.lists.burning_in(force.look, rule, patient)
        blocked = early | (rule.realized == "blocks")
        option, chance = np.empty(len(trial), dtype=np.int64), np.empty(len(trial))
        for some, burning in ((early, True), (blocked & ~early, False)):
            if some.any():
                option[some], chance[some] = self.lists.assign(k, rule, burning, state, trial[some], patient[some], feasible[some],
                                                               {n: v[some] for n, v in history.items()})
        if (free := ~blocked).any():
            pi = self.shares(k, rule, force, trial[free], patient[free], {n: v[free] for n, v in history.items()}, feasible[free])
            option[free], chance[free] = drawn(pi, state.patients.luck[trial[free], patient[free], k])
            self.ledger.used(k, force.look, trial[free], pi)
        state.columns[node.name][trial, patient] = option
        state.received[node.name][trial, patient] = self.nature.received(state.patients, k, option, trial, patient)
        state.chance[trial, patient, k] = chance
        state.in_force[trial, patient, k] = np.where(blocked, -1, force.look)
        np.add.at(state.assigned, (trial, self.layout.arms_of(k).start + option), 1)
        self.answer(k, trial, patient)

    def shares(self, k: int, rule: AllocationRule, force: Force, trial: np.ndarray, patient: np.ndarray,
               history: dict[str, np.ndarray], feasible: np.ndarray) -> np.ndarray:
        """Allocation probabilities of some patients, shape (m, option); no rule is asked about who has one option only."""
        if rule.draws_regimes:
            return self.probabilities(k, rule, force, trial, patient, history, feasible)
        pi, asked = feasible.astype(float), feasible.sum(axis=1) > 1
        if asked.any():
            pi[asked] = self.probabilities(k, rule, force, trial[asked], patient[asked], {n: v[asked] for n, v in history.items()}, feasible[asked])
        return pi

    def probabilities(self, k: int, rule: AllocationRule, force: Force, trial: np.ndarray, patient: np.ndarray,
                      history: dict[str, np.ndarray], feasible: np.ndarray) -> np.ndarray:
        """Allocation probabilities of some patients, shape (m, option)."""
        at, arms = force.position[trial], self.layout.arms_of(k)
        recruited = np.zeros(len(trial), dtype=int) if force.posterior is None else force.recruited[at]
        known = Situation(self.study, k, at, history, feasible, force.posterior, force.data, recruited, self.design.size,  # type: ignore[arg-type]
                          self.state.assigned[trial][:, arms], self.open_regimes(trial))
        if force.posterior is None:
            # Before any look there is nothing to adapt to: equal probabilities.
            return (Equal() if rule.adaptive else rule).probabilities(known)
        if not rule.draws_regimes:
            return rule.probabilities(known)
        if k == 0:
            self.state.regimes[trial, patient] = rule.regime_probabilities(known)
        return rule.probabilities(replace(known, weights=self.state.regimes[trial, patient]))

    def answer(self, k: int, trial: np.ndarray, patient: np.ndarray) -> None:
        """Draw the responses that follow a decision, known to the trial when their time comes."""
        state = self.state
        for response in self.study.after(self.study.decisions[k].name):
            j = self.layout.responses.index(response.name)
            assigned, received = (state.history(response.name, trial, patient, received=r) for r in (False, True))
            state.columns[response.name][trial, patient] = self.nature.respond(state.patients, j, assigned, received, trial, patient)
