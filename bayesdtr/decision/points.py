"""Points that carry a continuous predictive distribution: panels between thresholds, and cells between quantiles."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DecisionError
from ..model import spread_over

if TYPE_CHECKING:
    from ..study.study import Study
    from .world import Rows, World

GRID = 96
"""Points along one continuous response, at least."""
EXTRA = 8
"""Points that each panel between thresholds has beyond its share of the grid."""
CELL_DRAWS, CELL_LEVELS = 64, 129
"""Draws and quantiles of each that are pooled to find cells."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points that carry a predictive distribution.

    Attributes
    ----------
    at : array, shape (row, point)
    edges : array, shape (row, point - 1), or None
        Where each point stands for a cell, the bounds between cells: a point's probability is that of its cell.
    weights : array, shape (row, point), or None
        Where a density is integrated: a point's probability is in proportion to its density times its weight; None where all weigh the same.
    """

    at: np.ndarray
    edges: np.ndarray | None = None
    weights: np.ndarray | None = None


@functools.lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(count)


def bends_of(study: "Study", response: str, rows: "Rows") -> np.ndarray | None:
    """Values of a weighted response at which a course's total passes a bend of the attitude to risk, shape (row, bend); None without any."""
    attitude, weight = study.utility.attitude, study.linear.weight(response)
    if attitude is None or not attitude.bends or not weight:
        return None
    plain = study.linear
    before = plain.accrued(response, rows.columns) + plain.charged(response, rows.columns)
    return (np.array(attitude.bends) - np.broadcast_to(before, (rows.n,))[:, None]) / weight


def panels(low: np.ndarray, high: np.ndarray, cuts: np.ndarray | tuple[float, ...], count: int) -> Points:
    """About `count` points from low to high ``(row,)`` by Gauss-Legendre quadrature between cuts, which no panel crosses.

    Cuts are common to all rows ``(cut,)`` or each row's own ``(row, cut)``.
    """
    own = np.broadcast_to(np.asarray(cuts, dtype=float), (len(low), np.shape(cuts)[-1]))
    inner = np.clip(np.sort(own, axis=1), low[:, None], high[:, None])
    bounds = np.concatenate([low[:, None], inner, high[:, None]], axis=1)
    begin, width = bounds[:, :-1], np.diff(bounds, axis=1)
    at, weights = [], []
    for j, share in enumerate((width / (high - low)[:, None]).max(axis=0)):
        x, w = _legendre(int(np.ceil(count * share)) + EXTRA)
        at.append(begin[:, j, None] + width[:, j, None] * (x + 1) / 2)
        weights.append(width[:, j, None] * w / 2)
    return Points(np.concatenate(at, axis=1), None, np.concatenate(weights, axis=1))


def cells_of(world: "World", response: str, rows: "Rows") -> Points:
    """Cells between quantiles of the predictive distribution averaged over draws; common to all draws.

    Cells are bounded, too, by every time at which something changes at once: the ends of utilities of
    times, the thresholds of conditions and the breaks of a hazard. A cell is represented by its mean under the averaged
    predictive, so that what is linear inside cells is integrated exactly on average.
    """
    some = world.take(spread_over(world.compiled[response], world.draws[response], world.size, CELL_DRAWS))
    levels = (np.arange(CELL_LEVELS) + 0.5) / CELL_LEVELS
    drawn = some.look(response, rows, "quantiles", np.broadcast_to(levels, (rows.n, CELL_LEVELS)))  # (draw, row, level)
    if not np.isfinite(drawn).all():
        raise DecisionError(f"Response {response!r}: some draws predict no finite values; its model has not been learned from these data.")
    pooled = np.sort(np.moveaxis(drawn, 0, 1).reshape(rows.n, -1), axis=1)
    cuts = _cuts(world, response, rows)
    inner = max(world.grid - cuts.shape[1], world.grid // 2)
    fractions = np.arange(1, inner) / inner
    edges = np.sort(np.concatenate([np.quantile(pooled, fractions, axis=1).T, cuts], axis=1), axis=1)
    top = np.where(pooled > edges[:, -1:], pooled, 0.0).sum(axis=1) / np.maximum((pooled > edges[:, -1:]).sum(axis=1), 1)
    last = np.maximum(top, edges[:, -1])
    return Points(np.concatenate([_cell_means(some, response, rows, edges), last[:, None]], axis=1), edges)


def _cell_means(world: "World", response: str, rows: "Rows", edges: np.ndarray) -> np.ndarray:
    """Mean of an averaged positive law in each bounded cell, by Gauss-Legendre quadrature of its distribution function; shape (row, edge).

    Between `a` and `b` the mean is ``b`` minus the integral of ``F(x) - F(a)`` divided by ``F(b) - F(a)``.
    """
    ends = np.concatenate([np.zeros((rows.n, 1)), edges], axis=1)
    low, width = ends[:, :-1], np.diff(ends, axis=1)
    x, w = np.polynomial.legendre.leggauss(5)
    inside = low[..., None] + width[..., None] * (x + 1) / 2
    grid = np.concatenate([edges, inside.reshape(rows.n, -1)], axis=1)
    below = world.look(response, rows, "cdf", grid, average=True)
    at_ends, between = below[:, : edges.shape[1]], below[:, edges.shape[1] :].reshape(inside.shape)
    before = np.concatenate([np.zeros((rows.n, 1)), at_ends[:, :-1]], axis=1)
    mass = at_ends - before
    area = ((between - before[..., None]) * w / 2).sum(axis=-1)
    share = np.where(mass > 1e-12, area / np.maximum(mass, 1e-12), 0.5)
    return low + width * (1 - np.clip(share, 0.0, 1.0))


def _cuts(world: "World", response: str, rows: "Rows") -> np.ndarray:
    """Values of a response at which what follows jumps or bends, shape (row, cut)."""
    study = world.study
    found = [
        np.broadcast_to(np.maximum(life.limit - life.elapsed(response, rows.columns), 0.0), (rows.n,)) for life, _ in study.linear.lives(response)
    ]
    known = {*world.cuts(response), *getattr(study[response].family, "breaks", ())}
    found += [np.full(rows.n, b) for b in sorted(known)]
    if (bends := bends_of(study, response, rows)) is not None:
        found += list(np.maximum(bends, 0.0).T)
    return np.stack(found, axis=1) if found else np.zeros((rows.n, 0))
