"""Forward simulation of regimes under posterior draws, all regimes on common random numbers."""

import zlib
from collections.abc import Callable, Mapping

import numpy as np

from ..errors import DecisionError, listing
from ..study.rules import Rules
from .induction import Policy
from .world import Rows, World

Lucky = Callable[[str, tuple[int, ...]], np.ndarray]
"""From a response and a shape to uniform numbers."""

ROWS_PER_DRAW = 4000
"""Simulated patients per draw, so that simulation adds little to the posterior's own spread."""
DRAWS = 500


VALUING, FITTING, DRAWING, PROFILING = 2, 5, 7, 11
"""What uniform numbers are for: a rule is never valued on the luck it was fitted on, and no lottery is drawn by the luck of a response."""


def luck(seed: int, name: str, shape: tuple[int, ...], purpose: int) -> np.ndarray:
    """Uniform numbers of a response, or of a decision's lottery, the same for every regime."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), purpose]).random(shape)


def even_luck(seed: int, name: str, shape: tuple[int, ...], purpose: int) -> np.ndarray:
    """As :func:`luck`, ``(draw, simulated)``, but spread evenly over (0, 1) within every draw, so that tails are met in proportion."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), purpose])
    return (rng.permuted(np.broadcast_to(np.arange(shape[1]), shape), axis=1) + rng.random(shape)) / shape[1]


def following_rules(world: World, rules: Rules, seed: int) -> Policy:
    """A written or embedded regime as a policy; lotteries are drawn by each simulated patient's own luck, the same for every regime."""

    def policy(stage: int, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray:
        del cluster
        name = world.study.decisions[stage].name
        if not rules.stochastic:
            return rules.option(world.study, name, columns)
        chances = rules.chances(world.study, name, columns)
        below = np.cumsum(chances, axis=1)
        point = luck(seed, name, (len(chances),), DRAWING) * below[:, -1]
        return np.where(below[:, -1] > 0, (point[:, None] >= below).sum(axis=1), -1)

    return policy


def check_simulable(world: World) -> None:
    """Refuse to average over simulated patients where the rarest of them would decide.

    Raises
    ------
    DecisionError
    """
    attitude = world.study.utility.attitude
    if attitude is not None and (names := attitude.unsimulable(world.study)):
        raise DecisionError(
            f"Under {attitude} the rarest values of {listing(names)} may decide, and simulated patients would not show it; the tree of histories is "
            "too large here, so use PiecewiseLinear, or fewer continuous responses that later decisions look at."
        )


def patients_of(world: World, rows: Rows, seed: int, least: int = ROWS_PER_DRAW) -> np.ndarray:
    """Patients to simulate for each draw, by the Bayesian bootstrap of the observed ones, all alike for a single draw; shape (draw, simulated)."""
    rng = np.random.default_rng([seed, 3])
    patients = rows.n // rows.sets
    size = max(least, min(patients, 4 * least))
    weights = rng.dirichlet(np.ones(patients), size=world.size) if patients > 1 and world.size > 1 else np.full((world.size, patients), 1 / patients)
    cumulative = np.cumsum(weights, axis=1)
    points = (np.arange(size) + 0.5) / size  # systematic: every draw sees its weights, with little noise of its own
    begin = patients * (np.arange(world.size) % rows.sets)  # draws take turns at the completed sets
    return np.stack([b + np.minimum(np.searchsorted(c, points), patients - 1) for b, c in zip(begin, cumulative, strict=True)])


def _flat(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: v.ravel() for n, v in columns.items()}


def rollout(world: World, rows: Rows, policy: Policy, seed: int) -> np.ndarray:
    """Value of a policy under each draw, the mean utility of simulated patients; see :func:`followed_up`.

    Returns
    -------
    array, shape (draw,)
    """
    return followed_up(world, rows, policy, seed, patients_of(world, rows, seed)).mean(axis=1)


def followed_up(world: World, rows: Rows, policy: Policy, seed: int, chosen: np.ndarray, lucky: Lucky | None = None) -> np.ndarray:
    """Utility of patients simulated under a policy.

    Utilities are expected ones given the history (the response's mean, not its simulated value), so
    only what later depends on is simulated. Under a utility with an attitude to risk, every response that counts is, and its own
    value earned.

    Parameters
    ----------
    world : World
        Already thinned to the draws wanted.
    rows : Rows
        Baseline columns of the observed patients.
    policy : callable
    seed : int
    chosen : array of int, shape (draw, simulated)
        Which patients; see :func:`patients_of`.
    lucky : callable, optional
        Uniform numbers by response and shape; by default :func:`luck` for valuing.

    Returns
    -------
    array, shape (draw, simulated)
    """
    check_simulable(world)
    lucky = lucky or (lambda name, shape: luck(seed, name, shape, VALUING))
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
                columns[name] = world.simulate(name, columns, cluster, "sample", lucky(name, chosen.shape))
            if world.study.pays(name):
                total += np.where(going, world.study.earned(name, columns), 0.0)
    return total
