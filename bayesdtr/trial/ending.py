"""What is written down of a batch of trials: at every look, and when all is known."""

from typing import TYPE_CHECKING

import numpy as np

from .analysis.audit import Audit, Audited
from .records import blank
from .state import FOREVER, earned
from .stopping import LookState

if TYPE_CHECKING:
    from .course import Course

NOBODY = -1


class Ledger:
    """The records of a batch of trials, filled in as they go on.

    Parameters
    ----------
    course : Course
    keep : {"summary", "looks", "patients"}
    """

    def __init__(self, course: "Course", keep: str):
        self.course = course
        self.records = blank(course.layout, len(course.replicates), keep)
        self.detailed = keep != "summary"
        self.full = keep == "patients"
        shape = (len(course.replicates) if self.detailed else 0, course.layout.looks, len(course.layout.arms))
        self._first, self._chance, self._used = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=int)

    def looked(self, seen: LookState, trials: np.ndarray, at: np.ndarray, statistics: np.ndarray, fired: np.ndarray) -> None:
        """Write down a look at some trials; of trials that end here, also the decision."""
        out, look = self.records, seen.look
        out["path_max"][trials] = np.fmax(out["path_max"][trials], statistics)
        decided = fired >= 0
        if not self.detailed and not decided.any():
            return
        p, error = seen.values.p_best(seen.regimes)
        mean, sd = seen.values.mean(), seen.values.sd()
        if self.detailed:
            for name, value in (("time", at), ("recruited", seen.recruited), ("known_look", seen.known), ("statistic", statistics),
                                ("p_best_look", p), ("p_best_error", error), ("mean_look", mean), ("sd_look", sd), ("active_look", seen.active)):
                out[name][trials, look] = value
        which = trials[decided]
        chosen = np.where(seen.regimes, mean, -np.inf).argmax(axis=1)
        for name, value in (("stopped_by", fired), ("size", seen.recruited), ("known", seen.known), ("duration", at), ("selected", chosen),
                            ("p_best_decision", p), ("mean_decision", mean), ("sd_decision", sd), ("active", seen.active)):
            out[name][which] = value[decided]
        out["stopped_at"][which] = look
        for i, rule in enumerate(self.course.design.stopping):
            if (mine := decided & (fired == i)).any() and rule.declares:
                out["declared"][trials[mine]] = rule.declared(seen)[mine]

    def audited(self, trials: np.ndarray, found: Audited) -> None:
        """Add what the refit of some trials' look found."""
        out, one = self.records, [Audit.of([found.take(i)]) for i in range(len(trials))]
        out["audited"][trials] += 1
        out["audit_difference"][trials] = np.fmax(out["audit_difference"][trials], [a.largest for a in one])
        out["audit_noise"][trials] = np.fmax(out["audit_noise"][trials], [a.noise for a in one])
        out["audit_disagreements"][trials] += np.array([a.beyond for a in one], dtype=np.int16)

    def used(self, decision: int, look: int, trial: np.ndarray, pi: np.ndarray) -> None:
        """Note probabilities that patients ``(m,)`` were assigned with, shape (m, option)."""
        if self.detailed and look >= 0:
            arms = self.course.layout.arms_of(decision)
            first, used = self._first[:, look, arms], self._used[:, look, arms]
            new = used[trial, 0] == 0
            first[trial[new][::-1]] = pi[new][::-1]
            # As deviations from the first, so that the average of equal numbers is that number to the last bit.
            np.add.at(self._chance[:, look, arms], trial, pi - first[trial])
            np.add.at(used, trial, 1)

    def close(self) -> dict[str, np.ndarray]:
        """Analyse all trials with everything known, overrun included, and return the records."""
        course, out = self.course, self.records
        everybody = np.arange(len(course.replicates))
        recruited = course.state.patients.enrolled <= course.ended_at[:, None]
        data = course.state.observed(np.full(len(everybody), FOREVER), everybody, course.ended_at)
        values = course.analyst.look(data, course.replicates, course.layout.looks).regimes()
        out["p_best"][:] = values.p_best()[0]
        out["mean"][:], out["sd"][:] = values.mean(), values.sd()
        out["lower"][:], out["upper"][:] = values.quantile(0.025), values.quantile(0.975)
        open_ = course.open_regimes(everybody)
        out["selected_final"][:] = np.where(open_, out["mean"], -np.inf).argmax(axis=1)
        self._undecided(values.p_best(open_)[0], recruited)
        self._patients(recruited)
        if self.detailed:
            out["probability_look"][:] = np.where(self._used > 0, self._first + self._chance / np.maximum(self._used, 1), np.nan)
        return out

    def _undecided(self, p: np.ndarray, recruited: np.ndarray) -> None:
        """The decision of trials that no rule ended: the final analysis, everything known."""
        out, patients = self.records, self.course.state.patients
        which = out["stopped_by"] < 0
        out["stopped_at"][which] = self.course.layout.looks - 1
        everybody = recruited.sum(axis=1)
        over = np.where(recruited, patients.complete, -np.inf).max(axis=1)
        for name, value in (("selected", out["selected_final"]), ("p_best_decision", p), ("mean_decision", out["mean"]), ("sd_decision", out["sd"]),
                            ("size", everybody), ("known", everybody), ("active", self.course.active), ("duration", over)):
            out[name][which] = value[which]

    def _patients(self, recruited: np.ndarray) -> None:
        """What happened to the patients recruited."""
        course, out, state = self.course, self.records, self.course.state
        people, study = state.patients, course.study
        ever = recruited[:, :, None] & np.isfinite(people.answered)
        out["follow_up"][:] = np.where(recruited, people.complete, -np.inf).max(axis=1)
        out["allocated"][:] = state.assigned
        for j, response in enumerate(study.responses):
            values = np.where(ever[:, :, j], state.columns[response.name], np.nan)
            out["total"][:, j], out["observed"][:, j] = np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)
            if self.full:
                out["outcome"][:, :, j] = values
        finished = recruited & np.isfinite(people.answered).all(axis=2)
        trial, patient = np.nonzero(finished)
        gained = np.zeros(recruited.shape)
        if len(trial):
            gained[trial, patient] = earned(study, {n: state.columns[n][trial, patient] for n in study.names})
        out["utility"][:], out["completed"][:] = gained.sum(axis=1), finished.sum(axis=1)
        out["followed"][:] = self._followed(recruited)
        if self.full:
            out["enrolled_at"][:] = np.where(recruited, people.enrolled, np.nan)
            for k, decision in enumerate(study.decisions):
                out["option"][:, :, k] = np.where(recruited, state.columns[decision.name], NOBODY)
            out["probability"][:] = np.where(recruited[:, :, None], state.chance, np.nan)
            out["look_in_force"][:] = np.where(recruited[:, :, None], state.in_force, -1)

    def _followed(self, recruited: np.ndarray) -> np.ndarray:
        """Patients of each trial whose assignments, as far as they went, are those of each regime, shape (trial, regime)."""
        course, state = self.course, self.course.state
        trial, patient = np.nonzero(recruited)
        counts = np.zeros((len(recruited), len(course.layout.regimes)), dtype=np.int64)
        histories = [(d.name, state.history(d.name, trial, patient), state.columns[d.name][trial, patient]) for d in course.study.decisions]
        for r, regime in enumerate(course.layout.regimes):
            agrees = np.ones(len(trial), dtype=bool)
            for name, history, option in histories:
                made = option >= 0
                if made.any():
                    would = np.broadcast_to(regime.option(course.study, name, {n: v[made] for n, v in history.items()}), (int(made.sum()),))
                    agrees[made] &= would == option[made]
            counts[:, r] = np.bincount(trial[agrees], minlength=len(counts))
        return counts
