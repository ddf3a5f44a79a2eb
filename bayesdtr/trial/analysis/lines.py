"""Values held as lines through draws of a posterior: probabilities are integrated along each, which leaves no steps of 1/draws."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from .drawn import BATCHES, Drawn
from .values import Later, Values


@dataclass(frozen=True, eq=False)
class Lines(Drawn):
    """Joint draws of the values of a few entries, each on lines along which the parameters are standard Normal.

    On a line through a draw at `at`, entry `e` is worth ``draws[e] + slopes[e] * (t - at)``, and t is standard Normal whatever the other
    coordinates are. Which entry is best along a line, and whether all are close together, are intervals of t, whose probability is closed; what is
    averaged over draws is the little that the other coordinates change (line sampling: Koutsourelakis, Pradlwarter & Schuëller (2004),
    Probabilistic Engineering Mechanics 19:409). For a contrast that is linear in Normal parameters one line is exact.

    Where values are bounded, they are compared on the scale of their bounds' logits (or logarithms), on which the mean of a logistic response is
    straight and others' are straighter.

    Attributes
    ----------
    draws : array, shape (batch, draw, entry)
        -inf for entries that are not possible.
    slopes : array, shape (batch, line, draw, entry)
    at : array, shape (batch, line, draw)
        One line, between two entries, or one for each entry, between it and the others.
    bounds : tuple of float
        Values lie between; infinite where there are none.
    compared : tuple of array
        Values and slopes on the scale they are compared on, of the shapes above.
    """

    slopes: np.ndarray
    at: np.ndarray
    bounds: tuple[float, float]
    compared: tuple[np.ndarray, np.ndarray]

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, ties shared, and the error that the draws leave, by batches of them."""
        possible = self._possible(active)
        if self.slopes.shape[1] == 1:
            return self._better_of_two(possible)
        share = np.stack([self._ahead(e, possible) for e in range(self.shape[1])], axis=2)
        total = share.mean(axis=1).sum(axis=1)[:, None, None]
        share /= np.where(total > 0, total, 1.0)  # each entry has lines of its own, and only averages over draws sum to 1
        return share.mean(axis=1), _error(share)

    def _better_of_two(self, possible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`p_best`, where one line is for the two entries that are possible, or the one."""
        order, rows = np.argsort(~possible, axis=1, kind="stable"), np.arange(len(possible))
        one, other = order[:, 0], order[:, min(1, order.shape[1] - 1)]
        values, slopes = self.compared
        gap = values[rows, :, one] - values[rows, :, other]
        rise = slopes[rows, 0, :, one] - slopes[rows, 0, :, other]
        share = ahead_of(gap, rise, self.at[:, 0], np)
        return _of_two(possible, share.mean(axis=1), _error(share[:, :, None])[:, 0])

    def exceeds(self, reference: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """``P(value - value of the reference > margin)``, ``[batch, entry]``; ties count half at margin 0; 0.5 for the reference itself."""
        if margin and self._bent:
            return super().exceeds(reference, margin)
        found = np.empty(self.shape)
        for e in range(self.shape[1]):
            low, high, tied = self._beyond(e, reference, self._line(e), margin)
            found[:, e] = np.where(tied, 0.5, _between(low, high)).mean(axis=1)
        np.put_along_axis(found, reference[:, None], 0.5, axis=1)
        return found

    def within(self, margin: float, active: np.ndarray | None = None) -> np.ndarray:
        """``P(largest - smallest < margin)`` among the active and possible, ``[batch]``."""
        if self._bent:
            return super().within(margin, active)
        possible, found = self._possible(active), []
        for line in range(self.slopes.shape[1]):
            low, high = np.full(self.at[:, line].shape, -np.inf), np.full(self.at[:, line].shape, np.inf)
            for one, other in itertools.permutations(range(self.shape[1]), 2):
                both = (possible[:, one] & possible[:, other])[:, None]
                after, before, _ = self._beyond(one, np.full(len(self.draws), other), line, margin)
                # Close together is where one is not so far ahead: what lies outside an interval that is open to one side.
                low = np.where(both & (before < np.inf), np.maximum(low, before), low)
                high = np.where(both & (before == np.inf), np.minimum(high, after), high)
            found.append(_between(low, high).mean(axis=1))
        return np.mean(found, axis=0)

    @property
    def _bent(self) -> bool:
        """Whether values are bounded: a margin between them is no straight line on any scale, so that draws are counted instead."""
        return bool(np.isfinite(self.bounds).any())

    def _possible(self, active: np.ndarray | None) -> np.ndarray:
        possible = np.isfinite(self.draws[:, 0])
        return possible if active is None else possible & active

    def _line(self, entry: int) -> int:
        return entry if self.slopes.shape[1] > 1 else 0

    def _beyond(self, entry: int, other: np.ndarray, line: int, margin: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Between which bounds on each draw's line an entry is better than another ``(batch,)`` by a margin; and where they are equal all along."""
        index = other[:, None, None]
        scores, rises = self.compared
        at, rises = self.at[:, line], rises[:, line]
        b, down = (np.take_along_axis(v, index, axis=2)[:, :, 0] for v in (scores, rises))
        gap, rise = scores[:, :, entry] - b - margin, rises[:, :, entry] - down
        flat = rise == 0
        root = at - gap / np.where(flat, 1.0, rise)
        never, always = flat & (gap < 0), flat & (gap >= 0)
        low = np.where(rise > 0, root, np.where(never, np.inf, -np.inf))
        high = np.where(rise < 0, root, np.inf)
        return low, high, always & (gap == 0)

    def take(self, index: np.ndarray) -> "Lines":
        """Some of the batch, by index."""
        values, slopes = self.compared
        return Lines(self.draws[index], self.slopes[index], self.at[index], self.bounds, (values[index], slopes[index]))

    def _ahead(self, entry: int, possible: np.ndarray) -> np.ndarray:
        """Probability along each draw's line that an entry is the best, ``[batch, draw]``; exact ties shared."""
        at = self.at[:, self._line(entry)]
        low, high, ties = np.full(at.shape, -np.inf), np.full(at.shape, np.inf), np.ones(at.shape)
        for other in range(self.shape[1]):
            if other == entry:
                continue
            after, before, tied = self._beyond(entry, np.full(len(at), other), self._line(entry))
            meets = possible[:, other, None]
            low, high, ties = np.where(meets, np.maximum(low, after), low), np.where(meets, np.minimum(high, before), high), ties + (meets & tied)
        return np.where(possible[:, entry, None], _between(low, high) / ties, 0.0)


class Chances(Later):
    """Values of up to two options of each patient, of which the probability of being the better one is at hand and the rest is made when asked for.

    Parameters
    ----------
    make : callable
        Gives the `Lines`.
    feasible : array of bool, shape (batch, entry)
    first, error : array, shape (batch,)
        Of the first feasible one: the probability, and its error.
    """

    def __init__(self, make: Callable[[], Values], feasible: np.ndarray, first: np.ndarray, error: np.ndarray):
        super().__init__(make)
        self._known = feasible, first, error

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the batch and number of entries."""
        return self._known[0].shape

    def p_best(self, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Probability of having the largest value, and its error."""
        feasible, first, error = self._known
        # Of one option that is left nothing is asked.
        return _of_two(feasible if active is None else feasible & active, first, error)

    def take(self, index: np.ndarray) -> "Chances":
        """Some of the batch, by index."""
        return Chances(lambda: self.made.take(index), *(v[index] for v in self._known))


def _of_two(possible: np.ndarray, first: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and errors ``[batch, entry]`` from those of the first of two possible entries; one alone has probability 1."""
    order, rows, count = np.argsort(~possible, axis=1, kind="stable"), np.arange(len(possible)), possible.sum(axis=1)
    one, other = order[:, 0], order[:, min(1, order.shape[1] - 1)]
    first = np.where(count > 1, first, 1.0)
    p, errors = np.zeros(possible.shape), np.zeros(possible.shape)
    p[rows, other] = np.where(count > 1, 1.0 - first, 0.0)
    p[rows, one] = np.where(count > 0, first, 0.0)
    errors[rows, other] = errors[rows, one] = np.where(count > 1, error, 0.0)
    return p, errors


def ahead_of(gap: Any, rise: Any, at: Any, xp: Any) -> Any:
    """Probability that ``gap + rise (t - at) > 0`` for a standard Normal t, half where it is 0 all along; of NumPy or JAX (`xp`)."""
    flat = rise == 0
    z = gap / xp.where(flat, 1.0, xp.abs(rise)) - xp.sign(rise) * at
    # By erfc: JAX's own ndtr, four times as slow, was most of a patient's probability.
    share = ndtr(z) if xp is np else 0.5 * jax.lax.erfc(-np.sqrt(0.5) * z)
    return xp.where(flat, 0.5 * (1.0 + xp.sign(gap)), share)


TINY = 1e-150
"""Nearest to a bound that a value is taken to be: products of two such distances are still numbers."""


def compared(values: Any, slopes: Any, bounds: tuple[float, float], xp: Any) -> tuple[Any, Any]:
    """Values, and slopes, on the scale of logits between bounds, or of logarithms from one; of NumPy or JAX (`xp`)."""
    below, above, slopes = _distances(values, slopes, bounds, xp)
    return (values if below is None else xp.log(below / above)), slopes


def lead(values: jax.Array, slopes: jax.Array, bounds: tuple[float, float]) -> tuple[jax.Array, jax.Array]:
    """How far the first of two entries ``[batch, entry, draw]`` is before the second on the scale of :func:`compared`, and the slope of that."""
    below, above, slopes = _distances(values, slopes, bounds, jnp)
    if below is None:
        return values[:, 0] - values[:, 1], slopes[:, 0] - slopes[:, 1]
    above = jnp.broadcast_to(above, below.shape)
    # One logarithm and one quotient of those that `compared` would take: this is done for every draw of every patient.
    return jnp.log((below[:, 0] * above[:, 1]) / (above[:, 0] * below[:, 1])), slopes[:, 0] - slopes[:, 1]


def _distances(values: Any, slopes: Any, bounds: tuple[float, float], xp: Any) -> tuple[Any, Any, Any]:
    """Distances from the bounds, between which :func:`compared` takes the logarithm of their ratio, None without any; and its slopes."""
    low, high = bounds
    if np.isinf(low) and np.isinf(high):
        return None, None, slopes
    below = xp.maximum(values - low, TINY) if np.isfinite(low) else xp.ones_like(values)
    above = xp.maximum(high - values, TINY) if np.isfinite(high) else 1.0
    if np.isinf(low) or np.isinf(high):
        return below, above, slopes / (above if np.isinf(low) else below)
    return below, above, slopes * ((high - low) / (below * above))


def _error(share: np.ndarray) -> np.ndarray:
    """Error of averages over draws ``[batch, draw, entry]``."""
    size = share.shape[1] // BATCHES * BATCHES
    if size < 2 * BATCHES:
        return share.std(axis=1, ddof=1) / np.sqrt(share.shape[1])
    means = share[:, :size].reshape(len(share), BATCHES, -1, share.shape[2]).mean(axis=2)
    return means.std(axis=1, ddof=1) / np.sqrt(BATCHES)


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Probability of a standard Normal variable between two bounds; 0 where they have changed places."""
    # In the tail where both lie, so that no digits are lost.
    upper = low > 0
    a, b = np.where(upper, -high, low), np.where(upper, -low, high)
    return np.maximum(ndtr(b) - ndtr(a), 0.0)
