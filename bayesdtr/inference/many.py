"""The approximation of one of thousands of data sets: made for `vmap`, with as few passes over the patients as it can.

The same structure as :mod:`laplace` with other economies. Patients are read by Newton's method for the
conditional mode only; the other parameters are integrated over a fixed quasi-random design, stretched to
each data set's posterior, through the quadratic view of the likelihood at the mode (exact for Normal
responses), and the coefficients' means are corrected for the likelihood's skewness. Draws come from a
scrambled Sobol sequence, shifted at random for each data set: their averages have far smaller errors than
those of as many independent draws. Where they are to be corrected, they are made in rounds (:mod:`matching`),
some spread wider, weighed against the exact posterior, and resampled.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model import CompiledResponse
from .coordinates import latent as latent_model
from .laplace import WIDE, halves, log_widened, skewness, students_t, widened
from .latent import Data, Latent
from .matching import KEPT, ROUNDS, Frame, matched, standard
from .pareto import smooth
from .pilot import Pilot, find, log_joint, marginal, relative
from .transport import factor

SPREAD = 0.2
"""Share of corrected draws whose other parameters are any point of the design, so that no point's weight is large. None for a Normal response,
whose approximation is exact at every point."""
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


def points(d: int) -> int:
    """Size of the design over `d` other parameters.

    Over five of them 64 points were worth a thousand independent draws, however many were drawn at them.
    """
    return 64 if d <= 3 else 256


@functools.lru_cache(maxsize=32)
def tables(d: int, p: int, draws: int) -> Tables:
    """Make the tables for a model's size and a number of draws."""
    from scipy.stats import qmc

    def sobol(columns: int, rows: int, seed: int) -> np.ndarray:
        power = max(0, int(np.ceil(np.log2(rows))))
        return qmc.Sobol(max(columns, 1), seed=seed).random_base2(power)[:rows, :columns]

    return Tables(sobol(d, points(d), 1), sobol(1 + p, draws, 2))


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
    for_design, for_draws = jax.random.split(seed)
    mixture = stretched(model, table.design + jax.random.uniform(for_design, (model.d,)), data, SPREAD if corrected and not model.quadratic else 0.0)
    diagnostics = {"ess_design": mixture.ess}
    if corrected and widened(model):
        point, x, log_ratios = _rounds(mixture, model, table.draws, for_draws, data)
    else:
        point, x, z = mixture.draw((table.draws + jax.random.uniform(for_draws, (1 + model.p,))) % 1.0)
        if corrected or checked:
            kept = slice(None, None, 1 if corrected else max(1, draws // checked))
            log_ratios = mixture.exact(model, point[kept], x[kept], data) + 0.5 * jnp.sum(z[kept] ** 2, axis=1)
    if corrected or checked:
        weights, diagnostics["khat"] = smooth(log_ratios)
    if corrected:
        diagnostics["ess"] = 1.0 / jnp.sum(jnp.exp(2 * weights))
        picked = _systematic(weights, draws, jax.random.uniform(jax.random.fold_in(seed, 2)))
        point, x = point[picked], x[picked]
    values = jax.vmap(lambda other, x: compiled.constrain({**model.other(other), **model.named(x)}, data[0]))(mixture.others[point], x)
    return values, diagnostics


class Mixture(NamedTuple):
    """The approximation: at each point of a design over the other parameters, Normal coefficients.

    Attributes
    ----------
    others : array, shape (point, d)
    centres, roots : array, shapes (point, p) and (point, p, p)
        Of the coefficients at each point; rows of a root belong to standard coordinates.
    log_share : array, shape (point,)
        Of the draws made there.
    log_density : array, shape (point,)
        Of draws with standard coordinates 0, but for constants: a point's share over its weight in the design, times the density
        that the design is spread with, over the roots' determinant.
    ess : scalar
        Effective number of points.
    """

    others: jax.Array
    centres: jax.Array
    roots: jax.Array
    log_share: jax.Array
    log_density: jax.Array
    ess: jax.Array

    def draw(self, uniforms: jax.Array, widths: np.ndarray | float = 1.0, frame: Frame | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Points, coefficients and their standard coordinates (before the frame) from numbers in the unit cube, shape (draw, 1 + p)."""
        point = self.pick(uniforms[:, 0])
        z = widths * coordinates(uniforms[:, 1:])
        placed = z if frame is None else frame.place(z)
        return point, self.centres[point] + jnp.einsum("dkp,dk->dp", self.roots[point], placed), z

    def pick(self, uniforms: jax.Array) -> jax.Array:
        """Points of draws by numbers in the unit interval, shape (draw,)."""
        return jnp.minimum(jnp.searchsorted(jnp.cumsum(jnp.exp(self.log_share)), uniforms), len(self.log_share) - 1)

    def exact(self, model: Latent, point: jax.Array, x: jax.Array, data: Data) -> jax.Array:
        """Exact log posterior density of draws over their density but for the standard coordinates' part."""
        return jax.vmap(lambda other, x: model.joint(x, model.other(other), data))(self.others[point], x) - self.log_density[point]

    def weighed(self, point: jax.Array, log_weights: jax.Array) -> "Mixture":
        """The mixture with shares of points by draws' weights, which sum to 1 after exponentiation."""
        share = _spread(jnp.log(jnp.zeros(len(self.log_share)).at[point].add(jnp.exp(log_weights))), SPREAD)
        return self._replace(log_share=share, log_density=self.log_density + share - self.log_share)


def coordinates(uniforms: jax.Array) -> jax.Array:
    """Standard Normal coordinates from numbers in the unit cube."""
    return jax.scipy.special.ndtri(jnp.clip(uniforms, 1e-12, 1 - 1e-12))


def _spread(log_weights: jax.Array, share: float) -> jax.Array:
    """Log shares of the draws at each point: by weight, but for a `share` that goes to all points alike."""
    return jnp.logaddexp(jnp.log1p(-share) + log_weights, jnp.log(share / len(log_weights))) if share else log_weights


def stretched(model: Latent, design: jax.Array, data: Data, spread: float = 0.0) -> Mixture:
    """Stretch a design to one data set's posterior; a share `spread` of the draws goes to all points alike."""
    view = model.viewed()
    pilot = find(model, data, view=view)
    skew = skewness(model, pilot, data)
    scales = halves(lambda w: marginal(view, pilot, pilot.psi + pilot.spread @ w, data), model.d)
    sides, log_density = students_t(design % 1.0)
    sides_scale = jnp.where(sides > 0, scales[0], scales[1])
    others = pilot.psi + (sides_scale * sides) @ pilot.spread.T
    centres, roots, jacobians, marginals = jax.vmap(lambda other: _point(view, pilot, skew, other, data))(others)
    density = log_density - jnp.sum(jnp.log(sides_scale), axis=1)
    log_weights = marginals - density
    log_weights = jax.nn.log_softmax(jnp.where(jnp.isfinite(log_weights), log_weights, -jnp.inf))
    share = _spread(log_weights, spread)
    return Mixture(others, centres, roots, share, share + density - jacobians, 1.0 / jnp.sum(jnp.exp(2 * log_weights)))


def _rounds(mixture: Mixture, model: Latent, table: np.ndarray, seed: jax.Array, data: Data) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Points, coefficients and log ratios of the draws of the last rounds."""
    widths = INFLATED * np.where(np.arange(len(table)) % STRIDE == STRIDE - 1, 2.0, 1.0)[:, None]

    def round_(state: tuple[Mixture, Frame], shift):
        mixture, frame = state
        point, x, e = mixture.draw((table + shift) % 1.0, widths, frame)
        proposed = log_widened(0.5 * jnp.sum((e / INFLATED) ** 2, axis=1), model.p, 1 / STRIDE)
        log_ratios = mixture.exact(model, point, x, data) + frame.log_volume - proposed
        weights = smooth(log_ratios)[0]
        return (mixture.weighed(point, weights), matched(frame.place(e), weights)), (point, x, log_ratios)

    found = jax.lax.scan(round_, (mixture, standard(model.p)), jax.random.uniform(seed, (ROUNDS, 1 + model.p)))[1]
    return jax.tree.map(lambda v: v[-KEPT:].reshape(-1, *v.shape[2:]), found)


def _systematic(log_weights: jax.Array, count: int, shift: jax.Array) -> jax.Array:
    """Indices of `count` draws by systematic resampling; in order, so that neighbours stay spread."""
    edges = jnp.cumsum(jnp.exp(log_weights))
    levels = (shift + jnp.arange(count)) / count
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
