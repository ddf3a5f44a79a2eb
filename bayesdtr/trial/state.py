"""A batch of trials as it unfolds: what has been assigned and answered, and what of it is known at a moment."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..study import Study
from .analysis.periods import PERIOD
from .layout import Layout
from .looks import Looks
from .nature import Patients
from .observed import Observed

FOREVER = np.inf


@dataclass(frozen=True, eq=False)
class Clock:
    """When everything happens; none of it depends on treatment.

    Attributes
    ----------
    looks : array, shape (trial, look)
        Calendar times of the looks.
    in_force : array of int, shape (trial, patient, decision)
        The last look before each decision; -1 before the first.
    block : array of int, shape (trial, patient)
        Block of enrolment, from 0: a new one begins after each look, and where the burn-in ends between two looks, so that no change of
        the first decision's probabilities falls inside a block.
    """

    looks: np.ndarray
    in_force: np.ndarray
    block: np.ndarray

    @classmethod
    def of(cls, looks: Looks, patients: Patients, cut: int = 0) -> "Clock":
        """Set the times of some patients against those of the looks; after `cut` patients a block ends too (0: none)."""
        times = looks.times(patients.enrolled, patients.complete)
        in_force = np.full(patients.decided.shape, -1, dtype=np.int16)
        for look in range(times.shape[1]):  # looks are few; a table of patients by looks would be large
            in_force += (times[:, look, None, None] < patients.decided).astype(np.int16)
        block = in_force[:, :, 0].astype(np.int64) + 1
        if cut:
            block[:, cut:] += (block[:, cut - 1] == block[:, cut])[:, None]
        return cls(times, in_force, block)


@dataclass(frozen=True, eq=False)
class State:
    """What has happened in a batch of trials, known to the trial or not yet. Arrays are filled in as trials go on.

    Attributes
    ----------
    study : Study
    patients : Patients
    clock : Clock
    columns : dict of str to array, shape (trial, patient)
        The study's variables: covariates, codes of options assigned (-1: not made), responses (NaN: none).
    received : dict of str to array, shape (trial, patient)
        Codes of options in fact taken, where they differ from those assigned.
    chance : array, shape (trial, patient, decision)
        Probability that each assignment was made with.
    in_force : array of int, shape (trial, patient, decision)
        Look whose probabilities were used; -1 before the first and in the burn-in.
    assigned : array of int, shape (trial, arm)
        Patients assigned so far.
    regimes : array, shape (trial, patient, regime)
        Probabilities that a whole regime was drawn with at baseline; equal until it is. Empty along the last axis where no rule draws regimes.
    """

    study: Study
    patients: Patients
    clock: Clock
    columns: dict[str, np.ndarray]
    received: dict[str, np.ndarray]
    chance: np.ndarray
    in_force: np.ndarray
    assigned: np.ndarray
    regimes: np.ndarray

    @classmethod
    def start(cls, study: Study, layout: Layout, patients: Patients, clock: Clock, *, draws_regimes: bool) -> "State":
        """Nothing has happened yet."""
        shape = patients.enrolled.shape
        columns = dict(patients.columns)
        columns |= {d.name: np.full(shape, -1, dtype=np.int64) for d in study.decisions}
        columns |= {r.name: np.full(shape, np.nan) for r in study.responses}
        ordered = {n: columns[n] for n in study.names}
        received = {d.name: np.full(shape, -1, dtype=np.int64) for d in study.decisions}
        return cls(study, patients, clock, ordered, received, np.full((*shape, len(study.decisions)), np.nan),
                   np.full((*shape, len(study.decisions)), -1, dtype=np.int16), np.zeros((shape[0], len(layout.arms)), dtype=np.int64),
                   np.ones((*shape, len(layout.regimes) if draws_regimes else 0)))

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.patients.enrolled)

    def history(self, name: str, trial: np.ndarray, patient: np.ndarray, *, received: bool = False, periods: bool = False) -> dict[str, np.ndarray]:
        """Columns before a variable for some patients, shape (m,): by assignment, or with the options in fact taken; with periods of enrolment."""
        before = [n.name for n in self.study.before(name)]
        source = {**self.columns, **self.received} if received else self.columns
        found = {n: source[n][trial, patient] for n in before}
        if self.study.cluster is not None and self.patients.cluster is not None:
            found[self.study.cluster] = self.patients.cluster[trial, patient]
        return found | {PERIOD: self.clock.block[trial, patient]} if periods else found

    def observed(self, at: np.ndarray, trials: np.ndarray, recruited_by: np.ndarray) -> Observed:
        """What is known of some trials.

        Parameters
        ----------
        at : array, shape (trial,)
            Moment at which each of the trials is looked at.
        trials : array of int, shape (trial,)
        recruited_by : array, shape (trial,)
            Patients who enrol later are not recruited.
        """
        people = self.patients
        at, last = at[:, None], np.minimum(at, recruited_by)[:, None]
        enrolled = people.enrolled[trials] <= last
        columns: dict[str, np.ndarray] = {}
        decisions = {d.name: k for k, d in enumerate(self.study.decisions)}
        responses = {r.name: j for j, r in enumerate(self.study.responses)}
        for name in self.study.names:
            values = self.columns[name][trials]
            if name in decisions:
                columns[name] = np.where(enrolled & (people.decided[trials][..., decisions[name]] <= at), values, -1)
            elif name in responses:
                columns[name] = np.where(enrolled & (people.answered[trials][..., responses[name]] <= at), values, np.nan)
            else:
                columns[name] = np.where(enrolled, values, -1 if values.dtype.kind == "i" else np.nan)
        period = np.where(enrolled, self.clock.block[trials], -1)
        return Observed(columns, None if people.cluster is None else people.cluster[trials], period, enrolled)

    def lost_before(self, decision: int, trial: np.ndarray, patient: np.ndarray) -> np.ndarray:
        """Patients who dropped out before a decision, shape (m,)."""
        before = [j for j, r in enumerate(self.study.responses) if self.study.stage(r.name) <= decision]
        return ~np.isfinite(self.patients.answered[trial[:, None], patient[:, None], before]).all(axis=1)


def earned(study: Study, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Utility of each course ``(n,)``: what the responses that came to be add up to, costs taken off."""
    plain = study.linear
    total = np.zeros(len(next(iter(columns.values()))))
    for response in study.responses:
        if plain.counts(response.name):
            reached = ~np.isnan(columns[response.name])
            some = {n: v[reached] for n, v in columns.items()}
            total[reached] += plain.counted(response.name, some)
    attitude = study.utility.attitude
    return total if attitude is None else attitude.worth(total)
