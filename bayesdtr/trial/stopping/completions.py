"""Which completions of a trial of independent Beta arms end in success, without working out the final posterior of each.

The probability that an arm is best, or beats another by a margin, grows with its own successes and falls with those of the arms it is compared
with, whatever their numbers. So a completion that succeeds settles all that are better for its winner, and one that fails settles all that
are worse: posteriors are worked out for completions near the border between the two only. Among several arms, ``P(best)`` lies between
``1 - sum of P(another is better)`` and the smallest probability of beating another one, so pairs settle most completions first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtri

from ..analysis.betas import Betas

PICKED = 8
"""Completions of each trial whose posteriors are worked out at a time."""


@dataclass(frozen=True, eq=False)
class Completed:
    """Trials with some ways in which they may end.

    Attributes
    ----------
    values : Betas, batch = trials
        Today's.
    active : array of bool, shape (trial, arm)
    extra : array of int, shape (trial, arm)
        Outcomes to come.
    yes : array, shape (trial, completion, arm)
        How many of them are successes.
    """

    values: Betas
    active: np.ndarray
    extra: np.ndarray
    yes: np.ndarray

    def of(self, arms: tuple[int, ...]) -> "Completed":
        """The same with some of the arms."""
        at, v = list(arms), self.values
        return Completed(Betas(v.a[:, at], v.b[:, at], v.scale[:, at], v.offset[:, at]), self.active[:, at], self.extra[:, at], self.yes[..., at])


@dataclass(frozen=True, eq=False)
class Contest:
    """Arms that are compared with one another.

    Attributes
    ----------
    arms : tuple of int
    winners : tuple of int
        Positions among `arms` of those whose probability success may be about; the others count whether active or not.
    probability : callable
        Of the values of `arms` ``[row, arm]`` and which of them are active, to each one's probability, ``[row, arm]``.
    """

    arms: tuple[int, ...]
    winners: tuple[int, ...]
    probability: Callable[[Betas, np.ndarray], np.ndarray]

    def reached(self, trials: Completed, success: float, *, enumerated: bool) -> np.ndarray:
        """Whether any winner's probability exceeds `success`, shape (trial, completion).

        Where completions are `enumerated`, trials have most of them in common; those among several arms are then worked out one and all.
        """
        made = trials.of(self.arms)
        if enumerated and len(self.arms) > 2:
            every = np.arange(len(made.yes)), np.broadcast_to(np.arange(made.yes.shape[1]), made.yes.shape[:2])
            exceeds = self._worked_out(made, *every)[..., list(self.winners)] > success
            return (exceeds & made.active[:, None, list(self.winners)]).any(axis=2)
        won, lost = np.zeros((*made.yes.shape[:2], len(self.winners)), dtype=bool), ~made.active[:, None, list(self.winners)]
        if len(self.arms) > 2:
            won, lost = _by_pairs(made, success)
        return self._settled(made, success, won, lost, each=False).any(axis=2)

    def _settled(self, made: Completed, success: float, won: np.ndarray, lost: np.ndarray, *, each: bool) -> np.ndarray:
        """Whether each winner's probability exceeds `success`, shape (trial, completion, winner), from what is known already.

        Without `each` a completion is done with as soon as one winner has won.
        """
        won, lost = won.copy(), np.broadcast_to(lost, won.shape).copy()
        counts = made.active.copy()
        counts[:, [i for i in range(len(self.arms)) if i not in self.winners]] = True
        # Arms that do not count are the same in all completions.
        better = np.where(counts[:, None], np.where(made.values.scale > 0, 1, -1)[:, None] * made.yes, 0)
        distance = _distance(made, self.winners, counts, success)
        while True:
            open_ = ~(won | lost).all(axis=2) if each else ~won.any(axis=2) & ~lost.all(axis=2)
            trials = np.flatnonzero(open_.any(axis=1))
            if not len(trials):
                return won
            rank = np.where(open_[trials], distance[trials], np.inf)
            picked = np.argsort(rank, axis=1, kind="stable")[:, :PICKED]
            # Where fewer are left, the first stands in for the others.
            picked = np.where(np.take_along_axis(rank, picked, axis=1) < np.inf, picked, picked[:, :1])
            p = self._worked_out(made, trials, picked)
            here, there = better[trials][:, None], np.take_along_axis(better[trials], picked[..., None], axis=1)[:, :, None]
            above, below = here >= there, here <= there  # [trial, picked, completion, arm]
            for k, winner in enumerate(self.winners):
                others = [i for i in range(len(self.arms)) if i != winner]
                exceeds = (p[..., winner] > success)[..., None]
                active = made.active[trials, winner][:, None]
                won[trials, :, k] |= (exceeds & above[..., winner] & below[..., others].all(axis=3)).any(axis=1) & active
                lost[trials, :, k] |= (~exceeds & below[..., winner] & above[..., others].all(axis=3)).any(axis=1)

    def _worked_out(self, made: Completed, trials: np.ndarray, picked: np.ndarray) -> np.ndarray:
        """Probabilities in some completions, shape (trial, picked, arm)."""
        values, shape = made.values, (*picked.shape, made.yes.shape[2])
        each = lambda table: np.broadcast_to(table[trials][:, None], shape).reshape(-1, shape[2])  # noqa: E731
        yes = np.take_along_axis(made.yes[trials], picked[..., None], axis=1).reshape(-1, shape[2])
        final = Betas(each(values.a) + yes, each(values.b) + each(made.extra) - yes, each(values.scale), each(values.offset))
        return self.probability(final, each(made.active)).reshape(shape)


def _by_pairs(made: Completed, success: float) -> tuple[np.ndarray, np.ndarray]:
    """Arms whose P(best) exceeds a level, and arms whose does not, as far as pairs of arms tell; shape (trial, completion, arm) each."""
    count = made.yes.shape[2]
    enough = 1 - (1 - success) / (count - 1)
    won = np.broadcast_to(made.active[:, None], made.yes.shape).copy()
    lost = ~won
    for pair in combinations(range(count), 2):
        contest, two = Contest(pair, (0, 1), lambda values, active: values.p_best()[0]), made.of(pair)
        both = two.active.all(axis=1)[:, None, None]
        start = np.zeros(two.yes.shape, dtype=bool), np.broadcast_to(~both, two.yes.shape)
        beats = contest._settled(two, success, *start, each=True)
        surely = contest._settled(two, enough, start[0], ~beats, each=True)
        lost[..., list(pair)] |= both & ~beats
        won[..., list(pair)] &= ~both | surely
    return won & ~lost, lost


def _distance(made: Completed, winners: tuple[int, ...], counts: np.ndarray, success: float) -> np.ndarray:
    """How far each completion is from the border, by Normal approximations: only the order in which they are worked out depends on it."""
    values = made.values
    a, b, scale = values.a[:, None] + made.yes, values.b[:, None] + made.extra[:, None] - made.yes, values.scale[:, None]
    mean, variance = values.offset[:, None] + scale * a / (a + b), scale**2 * a * b / ((a + b) ** 2 * (a + b + 1))
    best = np.full(mean.shape[:2], -np.inf)
    for winner in winners:
        with np.errstate(invalid="ignore"):
            gap = (mean[..., [winner]] - mean) / np.sqrt(variance[..., [winner]] + variance)
        gap = np.where(counts[:, None], gap, np.inf)
        gap[..., winner] = np.inf
        best = np.maximum(best, np.where(made.active[:, winner][:, None], gap.min(axis=2), -np.inf))
    return np.nan_to_num(np.abs(best - ndtri(success)), nan=0.0, posinf=1e300)
