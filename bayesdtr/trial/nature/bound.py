"""A scenario bound to a study and a calendar: patients drawn by the batch, and their answers to treatment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from ...errors import TrialError
from ...study import Study
from ...study.timeline import Baseline, Decision, Response, labels_of
from ..luck import uniforms
from .calendar import Calendar
from .covariates import Joint
from .draws import check_extra, check_mean, moved, quantile
from .histories import Columns, Lookup, compiled
from .patients import Patients
from .scenario import Scenario
from .shifts import latest


@dataclass(frozen=True, eq=False)
class Drawn(Patients):
    """Patients with what their answers will come from.

    Attributes
    ----------
    chance : tuple of array, shape (trial, patient)
        Uniform numbers of each response.
    obedience : mapping of decision to array, shape (trial, patient)
        Uniform number of each decision at which patients may not adhere.
    site : array of int, shape (trial, patient), or None
    site_effects : mapping of response to array, shape (trial, site)
    """

    chance: tuple[np.ndarray, ...]
    obedience: Mapping[str, np.ndarray]
    site: np.ndarray | None
    site_effects: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class BoundLaw:
    """The law of one response, ready to be drawn from.

    Attributes
    ----------
    node : Response
    mean : Lookup
    extras : mapping of str to Lookup
    like : mapping of decision to array of int
        Options that others are like, by code.
    what : str
        In messages.
    """

    node: Response
    mean: Lookup
    extras: Mapping[str, Lookup]
    like: Mapping[str, np.ndarray]
    what: str

    def _seen(self, columns: Columns) -> Columns:
        if not self.like:
            return columns
        return {n: self.like[n][np.asarray(c).astype(np.intp)] if n in self.like else c for n, c in columns.items()}

    def parameters(self, columns: Columns, rows: int, shift: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Means, shape (m,) or (m, level), and what else the family needs, for histories."""
        seen = self._seen(columns)
        mean = self.mean.at(seen, rows)
        if self.mean.function is not None:
            check_mean(self.node.family, mean, self.what)
        if shift is not None:
            mean = moved(self.node.family, mean, shift)
        extras = {n: x.at(seen, rows) for n, x in self.extras.items()}
        for n, x in self.extras.items():
            if x.function is not None:
                check_extra(n, extras[n], self.what)
        return mean, extras

    def draw(self, u: np.ndarray, columns: Columns, shift: np.ndarray | None = None) -> np.ndarray:
        """Responses at probabilities `u`, shape (m,)."""
        return quantile(self.node.family, u, *self.parameters(columns, len(u), shift))


def laws_of(study: Study, scenario: Scenario) -> tuple[BoundLaw, ...]:
    """The laws of a scenario's responses in a study, in time order; raises `TrialError` where they do not fit."""
    scenario.check_names(study)
    taken = {} if scenario.adherence is None else {n: t > 0 for n, t in scenario.adherence.taken(study).items()}
    like = scenario.swaps(study)
    reach = dict(taken)
    for name, codes in like.items():
        onto = np.eye(len(codes), dtype=bool)[codes]
        reach[name] = (reach[name].astype(int) @ onto.astype(int)) > 0 if name in reach else onto
    made = []
    for node in study.responses:
        law = dict(scenario.responses)[node.name]
        what = f"Scenario {scenario.name!r}: the truth of {node.name!r}"
        mean = compiled(study, node.name, law.mean, reach, levels=labels_of(node) is not None, what=what)
        if mean.values is not None:
            check_mean(node.family, mean.values, what)
        extras = {n: compiled(study, node.name, form, reach, levels=False, what=f"{what}, {n}") for n, form in law.extras}
        for n, found in extras.items():
            if found.values is not None:
                check_extra(n, found.values, what)
        before = {b.name for b in study.before(node.name)}
        made.append(BoundLaw(node, mean, extras, {n: c for n, c in like.items() if n in before}, what))
    _try_out(study, scenario, made)
    return tuple(made)


def _try_out(study: Study, scenario: Scenario, laws: list[BoundLaw], rows: int = 64) -> None:
    """Take some patients through the study, so that functions that fail or answer out of range are found before anything runs."""
    chance = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {}
    if isinstance(scenario.baseline, Joint) and study.baselines:
        columns = scenario.baseline.columns(chance.random((rows, scenario.baseline.count)), study)
    for node in study.timeline:
        if isinstance(node, Baseline) and node.name not in columns:
            columns[node.name] = dict(scenario.baseline)[node.name].drawn(chance.random(rows), node)
        elif isinstance(node, Decision):
            feasible = np.broadcast_to(study.feasible(node.name, columns or {"": np.zeros(rows)}), (rows, len(node.options)))
            going = feasible.any(axis=1)
            columns = {n: c[going] for n, c in columns.items()}
            if not (rows := int(going.sum())):
                return
            columns[node.name] = np.where(feasible[going], chance.random((rows, len(node.options))), -1.0).argmax(axis=1)
        elif isinstance(node, Response):
            columns[node.name] = laws[study.responses.index(node)].draw(chance.random(rows), columns)


@dataclass(frozen=True, eq=False)
class Bound:
    """A scenario bound to a study, a largest size and a calendar: a :class:`Nature`.

    Attributes
    ----------
    study : Study
    scenario : Scenario
    size : int
    calendar : Calendar
    laws : tuple of BoundLaw
    drifts : tuple of array, shape (patient, option of the latest decision), or (patient, 1), or None
        Shift of each response's linear predictor.
    taken : mapping of decision to array, shape (assigned, option)
        Cumulative probabilities of the option taken.
    """

    study: Study
    scenario: Scenario
    size: int
    calendar: Calendar
    laws: tuple[BoundLaw, ...]
    drifts: tuple[np.ndarray | None, ...]
    taken: Mapping[str, np.ndarray]

    def patients(self, seed: int, replicates: np.ndarray) -> Drawn:
        """Draw the patients of some replicates.

        Parameters
        ----------
        seed : int
        replicates : array of int, shape (trial,)

        Returns
        -------
        Drawn
        """
        study, size = self.study, self.size
        draw = lambda purpose, *shape: uniforms(seed, replicates, purpose, shape)  # noqa: E731
        times = self.calendar.schedule(study, seed, replicates, size)
        decided, answered, complete = times.decided, times.answered, times.answered.max(axis=2)
        if self.scenario.dropout is not None:
            decided, answered, complete = self._left(times.enrolled, decided, answered, complete, draw)
        site, effects = None, {}
        if (sites := self.scenario.clusters) is not None:
            site = np.searchsorted(np.cumsum(sites.weights)[:-1], draw("site", size), side="right")
            effects = {n: sd * ndtri(draw(f"site:{n}", len(sites.labels))) for n, sd in sites.sd if sd > 0}
        chance = tuple(draw(f"response:{r.name}", size) for r in study.responses)
        obedience = {name: draw(f"adherence:{name}", size) for name in self.taken}
        return Drawn(np.asarray(replicates), times.enrolled, decided, answered, complete, self._covariates(draw), site if study.cluster else None,
                     draw("assignment", size, len(study.decisions)), chance, obedience, site, effects)

    def _covariates(self, draw: Any) -> dict[str, np.ndarray]:
        baseline, study = self.scenario.baseline, self.study
        if not study.baselines:
            return {}
        if isinstance(baseline, Joint):
            u = draw("baseline", self.size, baseline.count)
            made = baseline.columns(u.reshape(-1, baseline.count), study)
            return {n: c.reshape(u.shape[:2]) for n, c in made.items()}
        return {b.name: dict(baseline)[b.name].drawn(draw(f"baseline:{b.name}", self.size), b) for b in study.baselines}

    def _left(self, enrolled: np.ndarray, decided: np.ndarray, answered: np.ndarray, complete: np.ndarray, draw: Any) -> tuple[np.ndarray, ...]:
        """Decisions, responses and the end of follow-up of patients who may leave."""
        dropout = self.scenario.dropout
        stage = np.array([self.study.stage(r.name) - 1 for r in self.study.responses])
        if dropout.rate is not None:
            gone = np.full(enrolled.shape, np.inf) if dropout.rate == 0 else enrolled - np.log(draw("dropout", self.size)) / dropout.rate
            return (np.where(decided > gone[..., None], np.inf, decided), np.where(answered > gone[..., None], np.inf, answered),
                    np.minimum(complete, gone))
        stays = np.cumprod(draw("dropout", self.size, decided.shape[2]) >= dropout.chances(self.study), axis=2).astype(bool)
        due = np.stack([answered[:, :, stage <= k].max(axis=2) for k in range(decided.shape[2])], axis=2)
        first = np.argmin(stays, axis=2)[..., None]
        over = np.where(stays.all(axis=2), complete, np.take_along_axis(due, first, axis=2)[..., 0])
        before = np.concatenate([np.ones((*enrolled.shape, 1), dtype=bool), stays[:, :, :-1]], axis=2)
        return np.where(before, decided, np.inf), np.where(stays[:, :, stage], answered, np.inf), over

    def respond(self, patients: Patients, response: int, columns: Columns, received: Columns, trial: np.ndarray, patient: np.ndarray) -> np.ndarray:
        """What a response of some patients will be, shape (m,); see :class:`Nature`."""
        assert isinstance(patients, Drawn)
        law, node = self.laws[response], self.study.responses[response]
        history = received if len(received) >= len(columns) else {**columns, **received}
        shift = None
        if (path := self.drifts[response]) is not None:
            code = np.asarray(history[latest(self.study, node.name).name]).astype(np.intp) if path.shape[1] > 1 else 0
            shift = path[patient, code]
        if (effects := patients.site_effects.get(node.name)) is not None:
            at_site = effects[trial, patients.site[trial, patient]]
            shift = at_site if shift is None else shift + at_site
        return law.draw(patients.chance[response][trial, patient], history, shift)

    def received(self, patients: Patients, decision: int, assigned: np.ndarray, trial: np.ndarray, patient: np.ndarray) -> np.ndarray:
        """Codes of the options in fact taken by patients assigned to given ones, shape (m,)."""
        assert isinstance(patients, Drawn)
        name = self.study.decisions[decision].name
        if name not in self.taken:
            return assigned
        u = patients.obedience[name][trial, patient]
        cumulative = self.taken[name][np.asarray(assigned).astype(np.intp)]
        found = (u[:, None] >= cumulative[:, :-1]).sum(axis=1)
        return found.astype(np.asarray(assigned).dtype)


def bind(design: Any, scenario: Scenario, size: int | None = None, calendar: Calendar | None = None) -> Bound:
    """Bind a scenario to a design, or to a study.

    Parameters
    ----------
    design : TrialDesign or Study
    scenario : Scenario
        Its calendar, where it has one, counts before the design's.
    size : int, optional
        Largest number of patients; that of the design.
    calendar : Calendar, optional
        That of the design.

    Returns
    -------
    Bound
        A :class:`Nature`.

    Raises
    ------
    TrialError
        Where the scenario does not fit the study.
    """
    if not isinstance(scenario, Scenario):
        raise TrialError(f"A trial is simulated under a Scenario, got {scenario!r}.")
    study = design if isinstance(design, Study) else design.study
    size = size if size is not None else getattr(design, "size", None)
    if size is None:
        raise TrialError("bind: a study alone has no size; give size=.")
    calendar = scenario.calendar or calendar or getattr(design, "calendar", None) or Calendar()
    calendar.check(study)
    laws = laws_of(study, scenario)
    drifts = tuple(_drift(study, scenario, r.name, size) for r in study.responses)
    taken = {} if scenario.adherence is None else {n: np.cumsum(t, axis=1) for n, t in scenario.adherence.taken(study).items()}
    return Bound(study, scenario, size, calendar, laws, drifts, taken)


def _drift(study: Study, scenario: Scenario, response: str, size: int) -> np.ndarray | None:
    moving = [d for d in scenario.drift if d.moves(study, response)]
    if not moving:
        return None
    options = latest(study, response).options
    total = sum(d.path(size)[:, None] * d.effects(options)[None, :] for d in moving)
    return total if (total != total[:, :1]).any() else np.ascontiguousarray(total[:, :1])
