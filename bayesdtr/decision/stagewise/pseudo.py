"""Pseudo-outcomes of stage-wise Q-learning: what a patient would have earned from a decision on, had later decisions been the best ones."""

import zlib
from dataclasses import dataclass

import numpy as np

from ..induction import committed, solve
from ..world import Rows, World

MODES = ("bml_committed", "bml", "mean_committed", "mean")
SIMULATED = 2_000_000
"""Outcomes simulated at once."""
IMPUTING = 8
"""Sets the luck of imputation apart from that of fitting and of valuing."""


def clairvoyant(mode: str) -> bool:
    """Whether later decisions are each draw's own optimum."""
    return mode in ("bml", "mean")


def keeps_outcomes(mode: str) -> bool:
    """Whether pseudo-outcomes are outcomes, observed or drawn, and not expectations."""
    return mode in ("bml", "bml_committed")


@dataclass(frozen=True, eq=False)
class Stage:
    """One decision's fitted Q-function: the models of what is earned from it on, draw by draw.

    Attributes
    ----------
    world : World
        Its study's decision number `index` is the last one; what follows it is what is modeled.
    index : int
    """

    world: World
    index: int

    @property
    def responses(self) -> tuple[str, ...]:
        """What is modeled."""
        return tuple(r.name for r in self.world.study.after(self.world.study.decisions[self.index].name))

    def values(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Values of every option: posterior means ``(row, option)`` and draws ``(draw, row, option)``, ``-inf`` where infeasible."""
        parts = list(solve(self.world, self.index, rows, [committed]))
        return np.concatenate([p.qbar for p in parts]), np.concatenate([p.values[0] for p in parts], axis=1)

    def simulate(self, rows: Rows, option: np.ndarray, seed: int, worth: bool) -> np.ndarray:
        """Outcomes of patients under options ``(draw, row)``: what they earn, or the value of the last response; shape (draw, row)."""
        step = max(1, SIMULATED // max(rows.n, 1))
        rng = np.random.default_rng([seed, IMPUTING, self.index, zlib.crc32(self.responses[-1].encode())])
        parts = [
            self._simulated(self.world.block(b, b + step), rows, option[b : b + step], rng, worth) for b in range(0, self.world.size, step)
        ]
        return np.concatenate(parts)

    def _simulated(self, world: World, rows: Rows, option: np.ndarray, rng: np.random.Generator, worth: bool) -> np.ndarray:
        wide = lambda v: np.broadcast_to(v, option.shape)  # noqa: E731
        state = {n: wide(v) for n, v in rows.columns.items()} | {world.study.decisions[self.index].name: option}
        cluster, earned = None if rows.cluster is None else wide(rows.cluster), np.zeros(option.shape)
        for name in self.responses:
            state[name] = world.simulate(name, state, cluster, "sample", rng.random(option.shape))
            earned += world.study.weight(name) * state[name] + world.study.charged(name, state)
            if world.study.pays(name):
                earned += world.study.earned(name, state)
        return earned if worth else state[self.outcome]

    @property
    def outcome(self) -> str:
        """The response that the utility rests on, where it is a single one."""
        return self.world.study.utility.names[0]


def continued(
    mode: str, stage: Stage, rows: Rows, received: np.ndarray, outcome: np.ndarray, seed: int, *, worth: bool = True
) -> np.ndarray:
    """What follows a decision if it and all later ones are made as `mode` has them, in every imputation; shape (draw, row).

    Parameters
    ----------
    mode : {"bml", "bml_committed", "mean", "mean_committed"}
    stage : Stage
    rows : Rows
        Histories of the patients who came to the decision.
    received : array of int, shape (row,)
        Options received; -1 where none yet.
    outcome : array, shape (draw, row) or (row,)
        Observed, or an earlier pseudo-outcome; NaN where not known.
    seed : int
    worth : bool
        Whether outcomes are what is earned; False for values of the response that the utility rests on.

    Notes
    -----
    With ``q`` the value of an option under a draw and ``a`` the best option of that draw ("bml", "mean") or the one of highest
    posterior mean (committed): ``q(a)`` in the mean modes; else the outcome where `a` was received, and a draw from the predictive
    distribution under `a` where it was not or where the outcome is not known.
    """
    distinct, inverse = rows.unique()
    shape = (stage.world.size, distinct.n)
    best, expected = np.empty(shape, dtype=int), np.empty(shape)
    step = max(1, SIMULATED // shape[0])
    for begin in range(0, distinct.n, step):
        part = slice(begin, begin + step)
        qbar, q = stage.values(distinct.take(np.arange(distinct.n)[part]))
        best[:, part] = q.argmax(axis=2) if clairvoyant(mode) else qbar.argmax(axis=1)
        expected[:, part] = np.take_along_axis(q, best[:, part, None], axis=2)[..., 0]
    if not keeps_outcomes(mode):
        return expected[:, inverse]
    best = best[:, inverse]
    outcome = np.broadcast_to(outcome, best.shape)
    followed = (best == received) & np.isfinite(outcome)
    return np.where(followed, outcome, stage.simulate(rows, best, seed, worth))

