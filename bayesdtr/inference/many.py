"""The approximation of one of thousands of data sets: made for `vmap`, with as few passes over the patients as it can.

The same structure as :mod:`laplace` with other economies. Patients are read by Newton's method for the
conditional mode only; the other parameters are integrated over a fixed quasi-random design, stretched to
each data set's posterior, through the quadratic view of the likelihood at the mode (exact for Normal
responses), and the coefficients' means are corrected for the likelihood's skewness. Draws come from a
scrambled Sobol sequence, shifted at random for each data set: their averages have far smaller errors than
those of as many independent draws. Where they are to be corrected, some are spread wider, all are weighed against
the exact posterior, and they are resampled.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model import CompiledResponse
from .coordinates import latent as latent_model
from .laplace import HEAVY, WIDE, halves, log_widened, skewness, students_t
from .latent import Data, Latent
from .pareto import smooth
from .pilot import Pilot, find, log_joint, marginal, relative
from .transport import factor

DESIGN = 64
"""Points over the other parameters."""
SPREAD = 0.2
"""Share of corrected draws whose other parameters are any point of the design, so that no point's weight is large."""
INFLATED = 1.15
"""Scale of corrected draws' coordinates: where the posterior is Normal the largest weights are then in its middle, not in its tails."""
STRIDE = round(1 / WIDE)
"""Of corrected draws one in so many is twice as wide; odd, since the low bits of a Sobol sequence's index are strata."""


class Tables(NamedTuple):
    """Fixed quasi-random numbers that every data set shares.

    Attributes
    ----------
    design : array, shape (point, d)
        In the unit cube: points over the other parameters.
    draws : array, shape (draw, 1 + p)
        In the unit cube: the first column picks the point of the design.
    """

    design: np.ndarray
    draws: np.ndarray


@functools.lru_cache(maxsize=32)
def tables(d: int, p: int, draws: int) -> Tables:
    """Make the tables for a model's size and a number of draws."""
    from scipy.stats import qmc

    def sobol(columns: int, rows: int, seed: int) -> np.ndarray:
        power = max(0, int(np.ceil(np.log2(rows))))
        return qmc.Sobol(max(columns, 1), seed=seed).random_base2(power)[:rows, :columns]

    return Tables(sobol(d, DESIGN, 1), sobol(1 + p, draws, 2))


def approximate(
    compiled: CompiledResponse, data: Data, seed: jax.Array, draws: int, checked: int, corrected: bool = False
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Draws ``[draw, ...]`` of one data set's reported quantities, and diagnostics.

    Parameters
    ----------
    compiled : CompiledResponse
        With a latent Gaussian structure.
    data : tuple
        Inputs, outcomes, weights.
    seed : key
    draws : int
    checked : int
        Draws that are weighed against the exact posterior for k-hat; 0 for none.
    corrected : bool
        Weigh all draws, some of them wider, and resample them by their smoothed weights.
    """
    model = latent_model(compiled, data[0])
    assert model is not None
    table = tables(model.d, model.p, draws)
    view = model.viewed()
    pilot = find(model, data, view=view)
    skew = skewness(model, pilot, data)
    scales = halves(lambda w: marginal(view, pilot, pilot.psi + pilot.spread @ w, data), model.d)
    for_design, for_draws = jax.random.split(seed)
    sides, log_density = students_t((table.design + jax.random.uniform(for_design, (model.d,))) % 1.0)
    sides_scale = jnp.where(sides > 0, scales[0], scales[1])
    w = sides_scale * sides
    others = pilot.psi + w @ pilot.spread.T
    centres, roots, jacobians, marginals = jax.vmap(lambda other: _point(view, pilot, skew, other, data))(others)
    spread_density = log_density - jnp.sum(jnp.log(sides_scale), axis=1)
    log_weights = marginals - spread_density
    log_weights = jax.nn.log_softmax(jnp.where(jnp.isfinite(log_weights), log_weights, -jnp.inf))
    picking = jnp.logaddexp(jnp.log1p(-SPREAD) + log_weights, jnp.log(SPREAD / DESIGN)) if corrected else log_weights
    uniforms = (table.draws + jax.random.uniform(for_draws, (1 + model.p,))) % 1.0
    point = jnp.minimum(jnp.searchsorted(jnp.cumsum(jnp.exp(picking)), uniforms[:, 0]), DESIGN - 1)
    z = jax.scipy.special.ndtri(jnp.clip(uniforms[:, 1:], 1e-12, 1 - 1e-12))
    widths = _widths(model, draws) if corrected else 1.0
    z = widths * z
    x = centres[point] + jnp.einsum("dkp,dk->dp", roots[point], z)
    diagnostics = {"ess_design": 1.0 / jnp.sum(jnp.exp(2 * log_weights))}
    if checked or corrected:
        kept = slice(None, None, 1 if corrected else max(1, draws // checked))
        exact = jax.vmap(lambda other, x: model.joint(x, model.other(other), data))(others[point[kept]], x[kept])
        mixed = corrected and not isinstance(widths, float)
        square = 0.5 * jnp.sum((z[kept] / (INFLATED if mixed else 1.0)) ** 2, axis=1)
        # A point's density among the draws: its weight over its weight in the design, times the density the design is spread with.
        proposed = (picking + spread_density - jacobians)[point[kept]] + (log_widened(square, model.p, 1 / STRIDE) if mixed else -square)
        weights, diagnostics["khat"] = smooth(exact - proposed)
        if corrected:
            diagnostics["ess"] = 1.0 / jnp.sum(jnp.exp(2 * weights))
            picked = _systematic(weights, jax.random.uniform(jax.random.fold_in(seed, 2)))
            point, x = point[picked], x[picked]
    values = jax.vmap(lambda other, x: compiled.constrain({**model.other(other), **model.named(x)}, data[0]))(others[point], x)
    return values, diagnostics


def _widths(model: Latent, draws: int) -> jax.Array | float:
    """Factors of the draws' standard coordinates, shape (draw, 1); 1 where the conditional law is exact, or where all wide draws would be wasted."""
    if model.quadratic or model.p > HEAVY:
        return 1.0
    return INFLATED * jnp.where(np.arange(draws) % STRIDE == STRIDE - 1, 2.0, 1.0)[:, None]


def _systematic(log_weights: jax.Array, shift: jax.Array) -> jax.Array:
    """Indices of as many draws as there are weights, by systematic resampling; in order, so that neighbours stay spread."""
    edges = jnp.cumsum(jnp.exp(log_weights))
    levels = (shift + jnp.arange(len(edges))) / len(edges)
    return jnp.minimum(jnp.searchsorted(edges / edges[-1], levels), len(edges) - 1)


def _point(view: Latent, pilot: Pilot, skew: jax.Array, other: jax.Array, data: Data) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """At one point of the design: the coefficients' mean, a root of their covariance (rows), its log determinant, the log marginal density."""
    psi = view.other(other)
    ratio = relative(view, pilot, psi, data)
    mean, log_scale = view.prior(psi, data[0])
    scale = jnp.exp(log_scale)
    _, low, inverse = factor(ratio * pilot.at.gram, log_scale)
    root = inverse * scale
    working = ratio * (pilot.at.gradient + pilot.at.gram @ (pilot.at.x - mean))
    mode_ = mean + root.T @ (root @ working)
    jacobian = jnp.sum(log_scale) - jnp.sum(jnp.log(jnp.diagonal(low)))
    return mode_ + root.T @ (root @ skew), root, jacobian, log_joint(view, pilot, mode_, psi, ratio, data) + jacobian
