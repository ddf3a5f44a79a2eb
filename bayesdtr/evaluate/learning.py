"""Rules learned from growing sets of patients."""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..data import Trajectories
from ..decision.learner import Learned
from ..decision.world import Rows, World
from ..errors import DataError, InferenceError, VerdictWarning
from ..inference import Fits, fit, fit_many
from ..model import compile_response
from ..schema import NOT_YET
from ..study.safety import Safety
from ..study.study import Scale, Study

DRAWS = 256
"""Quasi-random draws of each fit: only their averages are used."""
GATED_DRAWS = 1024
"""With safety gates, which look at tail probabilities."""
BATCH = 8
"""Data sets at a time, so that one compiled program serves one order of the patients and many."""
MOST = 1000
"""Draws of a fit on its own: independent ones, or one chain's, of which as many are kept."""


class Lesson(NamedTuple):
    """What one set of patients taught.

    Attributes
    ----------
    learned : Learned
    trusted : bool
        Whether the fit passed its own checks. A rule has an honest value even if not.
    """

    learned: Learned
    trusted: bool


def world_of(study: Study, fits: Fits, index: int) -> World:
    """The world of one of many fits."""
    compiled = {r.name: compile_response(study, r.name, fits.cluster_labels) for r in study.responses}
    scales = {n: Scale(float(location[index]), float(sd[index])) for n, (location, sd) in fits.scales.items()}
    draws = {n: {p: v[index] for p, v in fits.draws.get(n, {}).items()} for n in compiled}
    size = next((len(v) for d in draws.values() for v in d.values()), 1)
    return World(study, compiled, scales, draws, size)


def lessons(
    study: Study, t: Trajectories, training: Sequence[np.ndarray], engine: str, seed: int, show: str | bool, safety: Safety | None = None
) -> Iterator[Lesson]:
    """Learn a rule from each set of patients, one after the other.

    Parameters
    ----------
    study : Study
    t : Trajectories
    training : sequence of array of int
        Patients of each set.
    engine : {"laplace", "exact", "nuts"}
    seed : int
    show : {"auto", True, False}
    safety : Safety, optional
        Gates that every rule heeds, judged by the fit it was learned from.

    Raises
    ------
    DataError
        Where a model cannot be fitted to a set; its size is named.
    """
    sets = [t.subset(rows) for rows in training]
    names = [b.name for b in study.baselines]
    if engine == "laplace":
        fits = _together(study, sets, seed, show, DRAWS if safety is None else GATED_DRAWS)
        trusted = np.all([d["khat"] < 0.7 for d in fits.diagnostics.values()] or [np.ones(len(sets), dtype=bool)], axis=0)
        worlds = ((world_of(study, fits, i), bool(trusted[i])) for i in range(len(sets)))
    else:
        worlds = (_alone(study, t, rows, engine, seed + i, show) for i, rows in enumerate(training))
    for s, (world, good) in zip(sets, worlds, strict=True):
        yield Lesson(Learned.of(world.under(safety), Rows(s.history(names), s.cluster, s.n), seed), good)


def _together(study: Study, sets: list[Trajectories], seed: int, show: str | bool, draws: int) -> Fits:
    """All fits in batches; their warnings are told by their number instead."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VerdictWarning)
            return fit_many(study, sets, seed=seed, draws=draws, corrected=True, batch=BATCH, progress=show)
    except DataError as error:
        smallest = min(s.n for s in sets)
        raise DataError(f"honest_value: rules are learned from {smallest} patients on. {error}") from error


def _alone(study: Study, t: Trajectories, rows: np.ndarray, engine: str, seed: int, show: str | bool) -> tuple[World, bool]:
    """One fit; the other patients stay, as if newly enrolled, so that one compiled program serves every set."""
    try:
        posterior = fit(study, _enrolled(study, t, rows), seed=seed, engine=engine, draws=MOST, progress=show)
    except (DataError, InferenceError) as error:
        raise type(error)(f"honest_value: a rule is to be learned from {len(rows)} patients. {error}") from error
    world = World.of(posterior)
    return world.take(np.arange(0, world.size, -(-world.size // MOST))), posterior.verdict.status != "fail"


def _enrolled(study: Study, t: Trajectories, rows: np.ndarray) -> Trajectories:
    """All patients, of whom only those at some rows are known beyond their covariates."""
    others = np.setdiff1d(np.arange(t.n), rows)
    intake = {b.name for b in study.baselines}
    columns = {n: v if n in intake else _blank(v, others) for n, v in t.columns.items()}
    assignment = {n: _blank(v, others) for n, v in t.assignment.items()}
    extras = {n: _blank(v, others) for n, v in t.extras.items()}
    return Trajectories.of(t.ids, columns, cluster=t.cluster, cluster_labels=t.cluster_labels, assignment=assignment, extras=extras)


def _blank(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    made = column.copy()
    made[rows] = NOT_YET if column.dtype.kind == "i" else np.nan
    return made
