"""Scores whose mean is a rule's value, by the probabilities with which options were assigned."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..data import Trajectories
from ..decision.learner import Learned
from ..decision.values import earnings
from ..decision.world import Rows
from ..study.study import Study


@dataclass(frozen=True, eq=False)
class Record:
    """Patients followed to the end, as scores read them.

    Attributes
    ----------
    study : Study
    trajectories : Trajectories
    earned : tuple of array, shape (n,)
        By decision, what the responses after it earned.
    """

    study: Study
    trajectories: Trajectories
    earned: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, study: Study, trajectories: Trajectories) -> "Record":
        """Work out what was earned once."""
        found = earnings(study, trajectories)
        nothing = np.zeros(trajectories.n)
        return cls(study, trajectories, tuple(sum((found.get(r.name, nothing) for r in study.after(d.name)), nothing) for d in study.decisions))

    def rows(self, decision: str, patients: np.ndarray) -> Rows:
        """Histories of some patients before a decision."""
        t = self.trajectories
        names = [n.name for n in self.study.before(decision)]
        return Rows(t.history(names, patients), None if t.cluster is None else t.cluster[patients], len(patients))


@dataclass(frozen=True, eq=False)
class Scores:
    """Augmented inverse-probability-weighted scores of one rule.

    Attributes
    ----------
    score : array, shape (patient,)
    weight : array, shape (patient,)
        Inverse probability of the options received where all of them are the rule's, else 0.
    """

    score: np.ndarray
    weight: np.ndarray


def scores(record: Record, learned: Learned, patients: np.ndarray, received: Mapping[str, np.ndarray]) -> Scores:
    """Scores of the rule that was learned, for patients it was not learned from.

    ``Q_1 + sum_k w_k (earned_k + Q_{k+1} - Q_k)``, where ``Q_k`` is the expected utility to come of the rule's own option at decision k
    and ``w_k`` the inverse probability of the options received up to k, if they are the rule's, else 0. Its mean given the rule is the
    rule's value wherever the probabilities are right, whatever the model says, and wherever the model is right, whatever the probabilities.

    Parameters
    ----------
    record : Record
    learned : Learned
    patients : array of int, shape (m,)
    received : mapping of str to array, shape (n,)
        Per decision, the probability of the option received.
    """
    t, study = record.trajectories, record.study
    score, weight = np.zeros(len(patients)), np.ones(len(patients))
    for stage, decision in enumerate(study.decisions):
        made = t.observed(decision.name)[patients]
        here = np.flatnonzero(made & (weight > 0))  # a decision not made: the course had ended
        if not here.size:
            continue
        who = patients[here]
        qbar = learned.qbar(stage, record.rows(decision.name, who))
        score[here] += weight[here] * qbar.max(axis=1)
        follows = t.columns[decision.name][who] == qbar.argmax(axis=1)
        weight[here] *= follows / received[decision.name][who]
        score[here] += weight[here] * (record.earned[stage][who] - qbar.max(axis=1))
    return Scores(score, weight)
