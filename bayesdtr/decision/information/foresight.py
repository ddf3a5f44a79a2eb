"""What knowing the parameters is worth where the tree of histories is too large: by rules that know them, followed on fresh patients.

The largest of values fitted per draw would be too high on average. So nothing fitted is reported: fitted values only make rules, one for each
decision from which on the draw is known, and the rules are valued by rollouts on common random numbers. A rule can be no better than the best one,
so these values are lower bounds.
"""

from collections.abc import Mapping

import numpy as np

from ...inference import Posterior
from ..induction import BUDGET
from ..optimize import check_flat, fitted_policy
from ..regression import StageFit, fit_stages, last_values
from ..rollout import Policy, followed_up, patients_of
from ..values import baseline_rows, thin_to
from ..world import World

DRAWS = 200
"""Draws at most: each has a rule of its own at every decision."""
SIMULATIONS = 400_000
"""Simulated transitions per option and stage, over all draws, by which the rules are learned."""
ROWS = 1000
"""Simulated patients per draw on whom they are valued, at least."""


def informed_policy(world: World, fits: dict[str, StageFit], first: int) -> Policy:
    """The committed rule before a decision, each draw's own best option from there on."""
    plain = fitted_policy(world, fits)

    def policy(stage: int, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None) -> np.ndarray:
        if stage < first:
            return plain(stage, columns, cluster)
        decision = world.study.decisions[stage]
        names = [n.name for n in world.study.before(decision.name)]
        size = len(next(iter(columns.values()))) // world.size
        fit = fits[decision.name]
        step = max(1, int(BUDGET // (size * fit.clairvoyant.shape[1])))
        out = np.empty((world.size, size), dtype=int)
        for begin in range(0, world.size, step):
            block = world.block(begin, begin + step)
            piece = slice(begin * size, (begin + block.size) * size)
            known = {n: columns[n][piece] for n in names}
            group = None if cluster is None else cluster[piece]
            state = {n: v.reshape(block.size, size) for n, v in known.items()}
            exact = last_values(block, stage, state, None if group is None else group.reshape(block.size, size)) if state else None
            if exact is None:
                phi = fit.basis.matrix(known, group, block.size * size).reshape(block.size, size, -1)
                values = phi @ fit.clairvoyant[:, :, begin : begin + block.size].transpose(2, 1, 0)
            else:
                values = exact.transpose(1, 2, 0)
            if known:
                feasible = world.study.feasible(decision.name, known).reshape(values.shape)
                values = np.where(feasible, values, -np.inf)
            out[begin : begin + block.size] = values.argmax(axis=2)
        return out.ravel()

    return policy


def foreseen(posterior: Posterior, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Values of the rules that know each draw from decision 0, 1, ..., never on.

    Returns
    -------
    values : array, shape (draw, stage + 1)
    gains : array, shape (patient, stage)
        What each observed patient gains by knowing before a decision rather than after it.
    """
    check_flat(posterior, world)
    world = thin_to(world, posterior, DRAWS)
    rows = baseline_rows(posterior)
    fits = fit_stages(world, rows, posterior.seed, SIMULATIONS)
    chosen = patients_of(world, rows, posterior.seed, ROWS)
    patient = chosen % (rows.n // rows.sets)
    count = np.maximum(np.bincount(patient.ravel(), minlength=rows.n // rows.sets), 1)
    stages = len(world.study.decisions)
    values, gains = np.empty((world.size, stages + 1)), np.zeros((rows.n // rows.sets, stages))
    after = followed_up(world, rows, fitted_policy(world, fits), posterior.seed, chosen)
    values[:, stages] = after.mean(axis=1)
    for first in reversed(range(stages)):
        before = followed_up(world, rows, informed_policy(world, fits, first), posterior.seed, chosen)
        values[:, first] = before.mean(axis=1)
        gains[:, first] = np.bincount(patient.ravel(), (before - after).ravel(), minlength=len(gains)) / count
        after = before
    return values, gains
