"""Closed form for a Normal response before the last decision: what the last options are expected to earn is linear in it.

Given history and draw the response is Normal(mu, sigma), and option `a` earns ``alpha_a + beta_a y`` in expectation. A rule that
compares lines in `y` changes its option at the crossings of their upper envelope, so that its value is a sum of Normal
probabilities and densities between them, without any grid:

    integral of (alpha + beta y) over (s, t) = (alpha + beta mu) (Phi(t') - Phi(s')) - beta sigma (phi(t') - phi(s')),

with ``t' = (t - mu) / sigma``. The committed rule compares the averages of the lines over draws; the clairvoyant one each draw's own.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from ..runtime import in_double_precision
from ..study.families import Normal
from ..study.models import Hierarchical
from ..study.predictor import Basis, Numeric, default_predictor
from ..study.timeline import Response

if TYPE_CHECKING:
    from .world import Rows, World

COST = 32
"""What an option of a node in closed form counts for, in evaluations of a model, when work is shared out."""
_ROWS = 64


def straight(world: "World", name: str) -> bool:
    """Whether the closed form holds for a response: Normal, the last before the last decision, and nothing later bends or jumps with it."""
    study = world.study
    last = study.decisions[-1]
    if len(study.decisions) < 2 or study.names.index(name) + 1 != study.names.index(last.name):
        return False
    later = study.after(last.name)
    mine = [study[name], *later]
    if any(not isinstance(r, Response) or not isinstance(r.family, Normal) or not isinstance(r.model, Hierarchical) for r in mine):
        return False
    if study.shared or world.shifted or world.safety is not None or world.watched or world.cuts(name) or study.lives(name):
        return False
    if study.pays(name) or study.keeps(name) or any(world.matters(r.name) or study.lives(r.name) for r in later):
        return False
    known = [world.compiled[r.name] for r in (study[name], *later)]
    if any(getattr(c, "distribution", None) != "normal" or getattr(c, "cells", True) for c in known):
        return False
    return all(_linear_in(world, r, name) for r in later)


def _linear_in(world: "World", response: Response, name: str) -> bool:
    """Whether a response's predictor is a straight line in an earlier one, all else given."""
    predictor = default_predictor(world.study, response)
    columns = (*predictor.main, *predictor.treatment, *predictor.interaction, *predictor.combination, *predictor.smooth,
               *predictor.interaction_smooth)
    factors = [[f for f in c.factors if getattr(f, "name", None) == name] for c in columns]
    return all(not f or (len(f) == 1 and isinstance(f[0], Numeric) and not isinstance(f[0], Basis)) for f in factors)


@dataclass(eq=False)
class LineNode:
    """A Normal response and the last decision after it, at given histories before that response.

    Attributes
    ----------
    name, decision : str
    rows : Rows
    weight : float
        Of the response in the utility.
    charge : array, shape (row,) or scalar
        Cost of the option taken before, as a negative number, where it counts with this response.
    feasible : array, shape (row, option)
        At the decision; none where the course has ended.
    alone : bool
        Whether every decision before it is given, so that nobody asks what its rows are expected to earn: only the cuts are wanted.
    order, cuts : array, shape (row, option), (row, option - 1)
        Set by :func:`settle_lines`: options by the slopes of their averaged lines, infeasible ones first, and where one gives way to the next.
    """

    name: str
    decision: str
    rows: "Rows"
    weight: float
    charge: np.ndarray | float
    feasible: np.ndarray
    alone: bool = False
    order: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    cuts: np.ndarray = field(default_factory=lambda: np.empty(0))


def _ends(world: "World", node: LineNode, *, average: bool) -> np.ndarray:
    """What each option of the decision earns at two values of the response, 0 and one unit; shape ([draw,] row, option, 2)."""
    options = node.feasible.shape[1]
    n, unit = node.rows.n, world.scales[node.name].sd
    index = np.repeat(np.arange(n), 2 * options)
    rows = node.rows.take(index).put(node.name, np.tile([0.0, unit], n * options)).put(node.decision, np.tile(np.repeat(np.arange(options), 2), n))
    total: np.ndarray | float = 0.0
    for response in world.study.after(node.decision):
        total = total + world.expected(response.name, rows, with_mean=True, average=average)
        rows = rows.put(response.name, np.zeros(rows.n))
    shape = (n, options, 2) if average else (world.size, n, options, 2)
    return np.reshape(np.broadcast_to(total, (*shape[:-3], len(index))), shape)


def lines(world: "World", node: LineNode, *, average: bool) -> tuple[np.ndarray, np.ndarray]:
    """Intercepts and slopes of every option's line, shape ([draw,] row, option)."""
    ends = _ends(world, node, average=average)
    return ends[..., 0], (ends[..., 1] - ends[..., 0]) / world.scales[node.name].sd


def envelope(alpha: np.ndarray, beta: np.ndarray, feasible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper envelope of lines ``(row, option)``: options by slope, infeasible ones first, and the cut after each of them but the last.

    An option between two equal cuts is best nowhere. Of two equal lines the one listed first is best.
    """
    options = alpha.shape[1]
    slope = np.where(feasible, beta, -np.inf)
    order = np.lexsort((np.broadcast_to(-np.arange(options), slope.shape), slope), axis=1)  # ties: the first listed comes last, and so wins
    a, b, on = (np.take_along_axis(v, order, axis=1) for v in (alpha, beta, feasible))
    cuts = np.full((len(alpha), options - 1), -np.inf)
    for k in range(options - 1):  # where line k gives way for good: the first crossing with any steeper one, if beyond the cut before
        with np.errstate(divide="ignore", invalid="ignore"):
            cross = (a[:, [k]] - a[:, k + 1 :]) / (b[:, k + 1 :] - b[:, [k]])
        level = b[:, k + 1 :] == b[:, [k]]
        cross = np.where(level, np.where(a[:, k + 1 :] >= a[:, [k]], -np.inf, np.inf), cross)
        first = np.where(on[:, k], cross.min(axis=1), -np.inf)
        cuts[:, k] = first if k == 0 else np.maximum(first, cuts[:, k - 1])
    return order, cuts


def ndtr(z):
    """Normal distribution function; its absolute error is what counts, so that the plain error function does."""
    return 0.5 + 0.5 * jax.lax.erf(z * np.sqrt(0.5))


@jax.jit
def _committed(mu, sigma, a, b, order, cuts):
    """Value of following cuts ``(row, option - 1)`` of options in a given order under lines ``(draw, row, option)``; mu and sigma ``(draw, row)``."""
    # Options are few: a sum over all of them, each where it stands in the order, is quicker than gathering.
    at = [[order[:, k] == i for i in range(a.shape[-1])] for k in range(a.shape[-1])]
    a, b = (jnp.stack([sum(jnp.where(here, v[..., i], 0.0) for i, here in enumerate(row)) for row in at], axis=-1) for v in (a, b))
    total = a[..., -1] + b[..., -1] * mu
    for k in range(a.shape[-1] - 1):
        z = (cuts[:, k] - mu) / sigma
        below = ndtr(z)
        near = jnp.exp(-0.5 * z * z) * (sigma / np.sqrt(2 * np.pi))
        slope = b[..., k] - b[..., k + 1]
        total = total + (a[..., k] - a[..., k + 1] + slope * mu) * below - slope * near
    return total


@jax.jit
def _clairvoyant(mu, sigma, a, b, feasible):
    """Expected maximum of lines ``(draw, row, option)`` of each draw over feasible ones ``(row, option)``."""
    options = a.shape[-1]
    total = jnp.zeros_like(mu)
    for i in range(options):
        low, high, wins = jnp.full_like(mu, -jnp.inf), jnp.full_like(mu, jnp.inf), jnp.broadcast_to(feasible[:, i], mu.shape)
        for j in range(options):
            if j == i:
                continue
            difference = b[..., i] - b[..., j]
            cross = (a[..., j] - a[..., i]) / jnp.where(difference == 0, 1.0, difference)
            low = jnp.where(feasible[:, j] & (difference > 0), jnp.maximum(low, cross), low)
            high = jnp.where(feasible[:, j] & (difference < 0), jnp.minimum(high, cross), high)
            beaten = (a[..., j] > a[..., i]) if j > i else (a[..., j] >= a[..., i])
            wins = wins & ~(feasible[:, j] & (difference == 0) & beaten)
        s, t = (low - mu) / sigma, (high - mu) / sigma
        mass = ndtr(t) - ndtr(s)
        tilt = (jnp.exp(-0.5 * t * t) - jnp.exp(-0.5 * s * s)) * (sigma / np.sqrt(2 * np.pi))
        total = total + jnp.where(wins & (high > low), (a[..., i] + b[..., i] * mu) * mass - b[..., i] * tilt, 0.0)
    return total


def _padded(values: np.ndarray, axis: int) -> np.ndarray:
    """Repeat the last entry up to a power of two, so that few shapes are compiled."""
    n = values.shape[axis]
    size = max(_ROWS, 1 << (n - 1).bit_length())
    width = [(0, 0)] * values.ndim
    width[axis] = (0, size - n)
    return np.pad(values, width, mode="edge") if size > n else values


Lines = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Mean and SD of the response ``(draw, row)``; intercepts and slopes of the options ``(draw, row, option)``."""


def known_lines(world: "World", node: LineNode) -> Lines:
    """What a node's models say under each draw."""
    moments = world.look(node.name, node.rows, "moments")
    return moments[..., 0], moments[..., 1], *lines(world, node, average=False)


@in_double_precision
def value_of_lines(node: LineNode, known: Lines, *, clairvoyant: bool) -> np.ndarray:
    """Value of a node's rows under each draw ``(draw, row)``, deciding by the committed cuts or by each draw's own lines."""
    mu, sigma, a, b = known
    draws, n = mu.shape
    padded = [_padded(_padded(v, 0), 1) for v in (mu, sigma)]
    a, b = (_padded(v if len(v) == 1 < draws else _padded(v, 0), 1) for v in (a, b))
    if clairvoyant:
        found = _clairvoyant(*padded, a, b, _padded(node.feasible, 0))
    else:
        found = _committed(*padded, a, b, _padded(node.order, 0), _padded(node.cuts, 0))
    return np.where(node.feasible.any(axis=1), np.asarray(found)[:draws, :n], 0.0) + node.weight * mu + node.charge


def settle_lines(world: "World", node: LineNode, block: int) -> np.ndarray:
    """Fix the committed rule at the decision; return the posterior-expected utility of the node's rows, shape (row,), 0 for a node alone.

    The response's parameters are independent of those of later ones, so the average of the product is that of the averages.
    """
    a, b = lines(world, node, average=True)
    node.order, node.cuts = envelope(a, b, node.feasible)
    total = np.zeros(node.rows.n)
    if node.alone:
        return total
    for begin in range(0, world.size, block):
        moments = world.block(begin, begin + block).look(node.name, node.rows, "moments")
        total += value_of_lines(node, (moments[..., 0], moments[..., 1], a[None], b[None]), clairvoyant=False).sum(axis=0)
    return total / world.size
