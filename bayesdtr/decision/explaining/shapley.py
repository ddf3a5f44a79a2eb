"""Shapley values of any function of several columns: all subsets of the players, or sampled orders of them."""

from dataclasses import dataclass
from itertools import product
from math import factorial

import numpy as np

MOST_PLAYERS = 10
"""With more players, orders of them are sampled."""
LEAST_BACKGROUND = 20
MOST_ROWS = 400_000
LEAST_ORDERS, MOST_ORDERS = 50, 2000


@dataclass(frozen=True, eq=False)
class Game:
    """Points at which a function is to be evaluated, and how its values add up to the players' shares.

    Attributes
    ----------
    at : array, shape (point, column)
        Distinct points.
    index : array of int, shape (block, coalition)
        The point of every coalition in every block. A block is a background row with all coalitions, from nobody to everybody, or a
        sampled order with a background row of its own.
    weights : array, shape (block,)
        Adding up to 1.
    coefficients : array, shape (block, player, coalition)
    background : int
        Background rows that are used.
    sampled : float
        Number of blocks drawn, 0 where nothing is sampled; less where a good part of all rows was drawn without replacement.
    exact : bool
        All subsets.
    """

    at: np.ndarray
    index: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray
    background: int
    sampled: float
    exact: bool

    @property
    def loads(self) -> np.ndarray:
        """What each point counts in each share, shape (player, point): shares are products with the function's values."""
        players = self.coefficients.shape[1]
        found = np.zeros((players, len(self.at)))
        for p in range(players):
            found[p] = np.bincount(self.index.ravel(), (self.weights[:, None] * self.coefficients[:, p]).ravel(), len(self.at))
        return found

    def shares(self, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shares of the players and their sampling errors ``(player,)``, given the function's values ``(point,)``."""
        each = np.einsum("bpc,bc->bp", self.coefficients, d[self.index])
        share = self.weights @ each
        error = np.sqrt(self.weights @ (each - share) ** 2 / max(self.sampled - 1, 1)) if self.sampled else np.zeros(len(share))
        return share, error

    def ends(self, d: np.ndarray) -> tuple[float, float]:
        """The average over the background, and the value of the point asked about."""
        return float(self.weights @ d[self.index[:, 0]]), float(d[self.index[0, -1]])


def subsets(x: np.ndarray, others: np.ndarray, counts: np.ndarray, owner: np.ndarray, total: int) -> Game:
    """All subsets of the players.

    Parameters
    ----------
    x : array, shape (column,)
        The point asked about.
    others : array, shape (background, column)
    counts : array of int, shape (background,)
        How many rows each stands for.
    owner : array of int, shape (column,)
        The player that each column belongs to.
    total : int
        Rows that the background was drawn from.
    """
    g = int(owner.max()) + 1
    masks = np.array(list(product([False, True], repeat=g)))
    size = masks.sum(axis=1)
    share = np.array([factorial(s) * factorial(g - s - 1) / factorial(g) for s in range(g)])
    coefficients = np.where(masks.T, share[np.maximum(size - 1, 0)], -share[np.minimum(size, g - 1)])
    at = np.where(masks[:, owner][None], x, others[:, None]).reshape(-1, len(x))
    distinct, index = np.unique(at, axis=0, return_inverse=True)
    drawn = int(counts.sum())
    sampled = 0.0 if drawn == total else drawn / (1 - drawn / total)  # without replacement
    return Game(distinct, index.reshape(len(others), len(masks)), counts / drawn,
                np.broadcast_to(coefficients, (len(others), *coefficients.shape)), drawn, sampled, True)


def orders(x: np.ndarray, others: np.ndarray, counts: np.ndarray, owner: np.ndarray, number: int, seed: int) -> Game:
    """Sampled orders of the players, each with a background row of its own (Castro, Gómez and Tejada 2009); arguments as :func:`subsets`."""
    rng, g = np.random.default_rng([seed, 9]), int(owner.max()) + 1
    every = np.repeat(np.arange(len(others)), counts)
    start = np.concatenate([rng.permutation(every) for _ in range(-(-number // len(every)))])[:number]
    place = np.stack([rng.permutation(g) for _ in range(number)])  # position of each player in its order
    masks = place[:, None, :] < np.arange(g + 1)[None, :, None]
    at = np.where(masks[:, :, owner], x, others[start][:, None]).reshape(-1, len(x))
    distinct, index = np.unique(at, axis=0, return_inverse=True)
    steps = np.arange(g + 1)
    coefficients = (steps == place[:, :, None] + 1).astype(float) - (steps == place[:, :, None])
    return Game(distinct, index.reshape(number, g + 1), np.full(number, 1 / number), coefficients, min(number, len(every)), float(number), False)


def game(x: np.ndarray, others: np.ndarray, owner: np.ndarray, points: float, seed: int) -> Game:
    """The most exact game that evaluates about so many points at most.

    Parameters
    ----------
    x, owner : array, shape (column,)
    others : array, shape (row, column)
        The whole background.
    points : float
    seed : int
        Of what has to be sampled.
    """
    distinct, counts = np.unique(others, axis=0, return_counts=True)
    g = int(owner.max()) + 1
    if g > MOST_PLAYERS:
        return orders(x, distinct, counts, owner, int(np.clip(points // (g + 1), LEAST_ORDERS, MOST_ORDERS)), seed)
    if len(distinct) * 2**g <= MOST_ROWS:
        found = subsets(x, distinct, counts, owner, len(others))
        if len(found.at) <= points:
            return found
    size = max(LEAST_BACKGROUND, int(min(points, MOST_ROWS) // 2**g))
    drawn = np.random.default_rng([seed, 9]).permutation(np.repeat(np.arange(len(distinct)), counts))[:size]
    some, again = np.unique(drawn, return_counts=True)
    return subsets(x, distinct[some], again, owner, len(others))
