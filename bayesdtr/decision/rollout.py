"""Forward simulation of regimes under posterior draws, all regimes on common random numbers."""

import zlib
from collections.abc import Mapping

import numpy as np

from ..errors import DecisionError
from ..study.rules import Rules
from .induction import Policy
from .world import Rows, World

ROWS_PER_DRAW = 4000
"""Simulated patients per draw, so that simulation adds little to the posterior's own spread."""
DRAWS = 500


VALUING, FITTING = 2, 5
"""What uniform numbers are for: a rule is never valued on the luck it was fitted on."""


def luck(seed: int, name: str, shape: tuple[int, ...], purpose: int) -> np.ndarray:
    """Uniform numbers of a response, the same for every regime."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), purpose]).random(shape)


def following_rules(world: World, rules: Rules) -> Policy:
    """A written or embedded regime as a policy."""

    def policy(stage: int, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray:
        del cluster
        return rules.option(world.study, world.study.decisions[stage].name, columns)

    return policy


def patients_of(world: World, rows: Rows, seed: int) -> np.ndarray:
    """Patients to simulate for each draw, by the Bayesian bootstrap of the observed ones; shape (draw, simulated)."""
    rng = np.random.default_rng([seed, 3])
    patients = rows.n // rows.sets
    size = max(ROWS_PER_DRAW, min(patients, 4 * ROWS_PER_DRAW))
    weights = rng.dirichlet(np.ones(patients), size=world.size) if patients > 1 else np.ones((world.size, 1))
    cumulative = np.cumsum(weights, axis=1)
    points = (np.arange(size) + 0.5) / size  # systematic: every draw sees its weights, with little noise of its own
    begin = patients * (np.arange(world.size) % rows.sets)  # draws take turns at the completed sets
    return np.stack([b + np.minimum(np.searchsorted(c, points), patients - 1) for b, c in zip(begin, cumulative, strict=True)])


def _flat(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: v.ravel() for n, v in columns.items()}


def rollout(world: World, rows: Rows, policy: Policy, seed: int) -> np.ndarray:
    """Value of a policy under each draw, the mean utility of simulated patients.

    Utilities are expected ones given the history (the response's mean, not its simulated value), so
    only what later depends on is simulated.

    Parameters
    ----------
    world : World
        Already thinned to the draws wanted.
    rows : Rows
        Baseline columns of the observed patients.
    policy : callable
    seed : int

    Returns
    -------
    array, shape (draw,)
    """
    chosen = patients_of(world, rows, seed)
    columns = {n: v[chosen] for n, v in rows.columns.items()}
    cluster = None if rows.cluster is None else rows.cluster[chosen]
    total = np.zeros(chosen.shape)
    going = np.ones(chosen.shape, dtype=bool)  # courses that have not ended
    for stage, decision in enumerate(world.study.decisions):
        flat = _flat(columns) or {"": np.zeros(chosen.size)}
        option = policy(stage, flat, None if cluster is None else cluster.ravel())
        feasible = world.study.feasible(decision.name, flat)
        going &= feasible.any(axis=1).reshape(chosen.shape)
        if (((option < 0) | ~feasible[np.arange(option.size), option]) & going.ravel()).any():
            raise DecisionError(f"The regime names no feasible option at {decision.name!r} for some simulated histories.")
        columns[decision.name] = np.maximum(option, 0).reshape(chosen.shape)
        for response in world.study.after(decision.name):
            name = response.name
            total += np.where(going, world.earning(name, columns, cluster), 0.0)
            columns[name] = np.zeros(chosen.shape)
            if world.matters(name):
                columns[name] = world.simulate(name, columns, cluster, "sample", luck(seed, name, chosen.shape, VALUING))
            if world.study.pays(name):
                total += np.where(going, world.study.earned(name, columns), 0.0)
    return total.mean(axis=1)
