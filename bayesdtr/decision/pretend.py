"""Patients and trials that exist on paper only: what a prior is looked at through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import fix_scales, read, read_new
from ..data.frames import open_frame
from ..data.trajectories import Trajectories
from ..errors import InferenceError, listing
from ..inference import Posterior
from ..inference.nuts import Block, sample
from ..inference.prior import prior_draws
from ..model import CompiledResponse, compile_response, evaluate, make_inputs
from ..runtime import in_double_precision
from ..study.families import Family
from ..study.study import Scale, Study
from ..study.timeline import finite_values, labels_of
from .rollout import Policy, luck
from .world import Rows, World

PATIENTS = 100
CHAINS = 4
WARMUP = 1000
PRETENDING = 8


@dataclass(frozen=True, eq=False)
class Setting:
    """The patients before the first decision, and what prior draws say of them.

    Attributes
    ----------
    world : World
        On draws from the prior.
    rows : Rows
        At most 100 patients.
    origin : str
        Where they come from, in words.
    observed : Trajectories or None
    """

    world: World
    rows: Rows
    origin: str
    observed: Trajectories | None


def setting_of(subject: Study | Posterior, data: Any, *, seed: int, draws: int) -> Setting:
    """Draw from the prior of a study or of a fit, for patients given or made up.

    Raises
    ------
    InferenceError
        When a scale is neither declared nor in the data, or the prior is improper.
    """
    per_chain = -(-draws // CHAINS)
    if isinstance(subject, Posterior):
        study, t = subject.study, subject.trajectories
        drawn = prior_draws(subject, seed=seed, draws=per_chain, warmup=WARMUP, chains=CHAINS)
        compiled, scales = {r.name: subject.compiled(r.name) for r in study.responses}, dict(subject.scales)
        rows, origin, seen = _baseline(study, t), f"{t.n} patients fitted", t
    else:
        study = subject
        rows, scales, labels, origin, seen = _patients(study, data, seed)
        compiled = {r.name: compile_response(study, r.name, labels) for r in study.responses}
        drawn = _drawn(study, compiled, scales, rows, seed, per_chain)
    size = max((len(next(iter(d.values()))) for d in drawn.values() if d), default=1)
    watched = {n.name: () for n in study.timeline}
    few = rows.take(np.linspace(0, rows.n - 1, min(rows.n, PATIENTS)).astype(int))
    return Setting(World(study, compiled, scales, drawn, size, watched), few, origin, seen)


def _baseline(study: Study, t: Trajectories) -> Rows:
    return Rows(t.history([b.name for b in study.baselines]), t.cluster, t.n)


def _patients(study: Study, data: Any, seed: int) -> tuple[Rows, dict[str, Scale], tuple[str, ...], str, Trajectories | None]:
    """Baseline rows, scales, clusters and their origin, from a whole frame, from covariates alone, or from nothing."""
    if data is not None and set(study.names) <= set(open_frame(data).columns):
        t = read(study, data)
        return _baseline(study, t), fix_scales(study, t), t.cluster_labels, f"{t.n} patients in the data", t
    if data is not None:
        t = read_new(study, data)
        known = {b.name: Scale(float(v.mean()), float(v.std(ddof=1))) for b in study.baselines
                 if labels_of(b) is None and (v := t.columns[b.name][t.observed(b.name)]).size > 1 and v.std() > 0}
        return _baseline(study, t), _declared(study, known), t.cluster_labels, f"covariates of {t.n} patients", None
    scales, rng = _declared(study, {}), np.random.default_rng([seed, PRETENDING])
    columns = {
        b.name: rng.integers(0, len(labels), PATIENTS) if (labels := labels_of(b)) else
        _whereabouts(scales[b.name]) + scales[b.name].sd * rng.standard_normal(PATIENTS)
        for b in study.baselines
    }
    cluster = np.zeros(PATIENTS, dtype=np.int64) if study.cluster else None
    origin = f"{PATIENTS} patients made up" + (": covariates Normal by their scale, levels equally frequent" if study.baselines else "")
    return Rows(columns, cluster, PATIENTS), scales, (), origin, None


def _whereabouts(scale: Scale) -> float:
    return 0.0 if scale.location is None else scale.location


def _declared(study: Study, known: Mapping[str, Scale]) -> dict[str, Scale]:
    """Scales of every continuous variable without outcomes; an SD without a location is centred at 0."""
    needed = [n for n in study.timeline if finite_values(n) is None]
    found = {**known, **dict(study.scales)}
    if missing := [n.name for n in needed if n.name not in found]:
        example = ", ".join(f"{name!r}: (location, SD)" for name in missing[:4])
        raise InferenceError(
            f"prior_predictive: without data the scale of {listing(missing)} is not known; "
            f"declare Study(..., scales={{{example}}}) or hand in patients."
        )
    for node in needed:
        family: Family | None = getattr(node, "family", None)
        if family is not None and family.link == "log" and not _whereabouts(found[node.name]) > 0:
            raise InferenceError(
                f"prior_predictive: {node.name!r} has a log link, and its prior is centred at the log of its location; "
                f"declare scales={{{node.name!r}: (location, SD)}} with a location above 0."
            )
    return {n.name: Scale(_whereabouts(found[n.name]), found[n.name].sd) for n in needed}


@in_double_precision
def _drawn(
    study: Study, compiled: Mapping[str, CompiledResponse], scales: dict[str, Scale], rows: Rows, seed: int, draws: int
) -> dict[str, dict[str, np.ndarray]]:
    """Draws of every response's parameters from its prior; patients of weight 0 stand in for data."""
    few = rows.take(np.arange(min(rows.n, 16)))
    columns, blocks = dict(few.columns), []
    for node in study.timeline:
        if node.name in compiled:
            one = compiled[node.name]
            inputs = make_inputs(one, columns, few.cluster, scales)
            center = {n: np.asarray(v)[None] for n, v in one.constrain(one.initial(inputs), inputs).items() if n in one.parameters}
            # The middle of the response's law where its parameters start: a value that can occur.
            y = evaluate(one, center, inputs, "sample", np.full(few.n, 0.5))[0]
            columns[node.name] = y
            blocks.append(Block(one, inputs, y, np.zeros(few.n)))
        elif node.name not in columns:
            feasible = study.feasible(node.name, columns) if columns else np.ones((few.n, 1), dtype=bool)
            columns[node.name] = feasible.argmax(axis=1)
    found = sample(blocks, seed=seed, draws=draws, warmup=WARMUP, chains=CHAINS, show=False)
    return {
        b.compiled.name: {p: d.values[p].reshape(CHAINS * draws, *d.values[p].shape[2:]) for p in b.compiled.parameters}
        for b, d in zip(blocks, found, strict=True)
    }


def by_chance(world: World, seed: int) -> Policy:
    """Options at random, equally likely among the feasible ones."""

    def policy(stage: int, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray:
        del cluster
        feasible = world.study.feasible(world.study.decisions[stage].name, columns)
        return np.where(feasible, np.random.default_rng([seed, PRETENDING, stage]).random(feasible.shape), -1.0).argmax(axis=1)

    return policy


def trial(world: World, rows: Rows, policy: Policy, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Simulate every patient under every draw; columns, utility, and utility with responses' means in place of their values.

    Returns
    -------
    columns : dict of str to array, shape (draw, patient)
    utility, expected : array, shape (draw, patient)
        The second has the same mean given the draw and less noise.
    """
    shape = (world.size, rows.n)
    columns = {n: np.broadcast_to(v, shape) for n, v in rows.columns.items()}
    cluster = None if rows.cluster is None else np.broadcast_to(rows.cluster, shape)
    utility, expected = np.zeros(shape), np.zeros(shape)
    for stage, decision in enumerate(world.study.decisions):
        flat = {n: v.ravel() for n, v in columns.items()} or {"": np.zeros(utility.size)}
        columns[decision.name] = policy(stage, flat, None if cluster is None else cluster.ravel()).reshape(shape)
        for response in world.study.after(decision.name):
            name, before = response.name, dict(columns)
            columns[name] = world.simulate(name, columns, cluster, "random", luck(seed, name, shape, PRETENDING))
            if weight := world.study.weight(name):
                expected = expected + weight * world.simulate(name, before, cluster, "mean")
                utility = utility + weight * columns[name]
            if world.study.pays(name):
                earned = world.study.earned(name, columns)
                utility, expected = utility + earned, expected + earned
            charged = world.study.charged(name, columns)
            utility, expected = utility + charged, expected + charged
    return columns, utility, expected
