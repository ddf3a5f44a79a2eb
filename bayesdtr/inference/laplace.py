"""Laplace's approximation, integrated over the hierarchical parameters and corrected by importance weights.

The coefficients of a latent Gaussian model are Normal given the few other parameters, up to the
likelihood's skewness; those few are drawn from a two-piece Student's t around the mode of their marginal
density. Each draw is weighed against the exact posterior density, the weights are Pareto-smoothed, and
their shape k-hat says whether they can be trusted. Where a few coefficients meet a likelihood that is not Normal,
proposals of both kinds are made in rounds (:mod:`matching`). Other models are treated as Normal as a whole.
The design follows Rue, Martino & Chopin (2009), JRSS B 71:319, with importance weights in place of a
grid's.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..kept import Kept
from ..model import CompiledResponse
from ..runtime import double_precision, key, progress
from .coordinates import latent as latent_model
from .latent import Arrays, Data, Latent
from .matching import KEPT, ROUNDS, Frame, matched, standard
from .nuts import Block, Draws
from .pareto import smooth
from .pilot import Pilot, climb, conditional, find, likelihood, log_joint, marginal, relative
from .transport import factor

PROPOSALS = 4
"""Proposals per draw asked for; fewer where there are many patients, never fewer than two."""
MOST_WORK = 4e8
"""Proposals times patients, about."""
BATCH = 128
"""Proposals that are evaluated side by side; a round has a whole number of batches, for a remainder would be compiled anew."""
CHORD = 3
"""Newton steps with the pilot's curvature towards the conditional mode at a proposal."""
SKEW = 3
"""Steps from conditional mode to mean."""
HEAVY = 12
"""Up to this many parameters proposals have heavy tails; above, Normal ones."""
WIDE = 0.15
"""Share of coefficients' proposals that are twice as wide."""
_LOG_2PI = float(np.log(2 * np.pi))


class Proposal(NamedTuple):
    """One draw of the approximation with its weight.

    Attributes
    ----------
    other : array, shape (d,)
    x : array, shape (p,), or None
        Coefficients; None where `other` holds all parameters.
    log_weight : scalar
        Exact log posterior density minus the log density of the proposal.
    """

    other: jax.Array
    x: jax.Array | None
    log_weight: jax.Array


def halves(density: Any, d: int) -> jax.Array:
    """Scales of a density at 0 to either side of each axis, shape (2, d): up, then down.

    The density's fall at 1.5, 3 and 4 units, read as a Normal's; the widest of the three, so that a long tail is covered: a
    small scale that the data barely speak against has one that falls like the scale itself.
    """
    distances = jnp.array([1.5, 3.0, 4.0])
    sides = jnp.array([1.0, -1.0])
    points = sides[:, None, None, None] * distances[None, :, None, None] * jnp.eye(d)[None, None]
    values = jax.vmap(density)(jnp.concatenate([jnp.zeros((1, d)), points.reshape(6 * d, d)]))
    fall = jnp.maximum(values[0] - values[1:].reshape(2, 3, d), 1e-3)
    return jnp.clip(jnp.nanmax(distances[None, :, None] / jnp.sqrt(2 * fall), axis=1), 0.5, 5.0)


def two_piece(seed: jax.Array, scales: jax.Array, heavy: bool) -> tuple[jax.Array, jax.Array]:
    """A draw with its own scale on either side of 0 in each axis, and its log density.

    Student's t with 4 degrees of freedom, whose quantile function is closed, or Normal.
    """
    up, down = scales
    side, size = jax.random.uniform(seed, (2, len(up)), minval=1e-12)
    scale = jnp.where(side * (up + down) < up, up, -down)
    if heavy:
        t, log_density = students_t(0.5 * (1.0 + size))
    else:
        t = jax.scipy.special.ndtri(0.5 * (1.0 + size))
        log_density = -0.5 * jnp.sum(t**2 + _LOG_2PI)
    return scale * t, log_density + jnp.sum(jnp.log(2.0 / (up + down)))


def students_t(u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Quantiles of Student's t with 4 degrees of freedom, whose formula is closed, and their log density summed over the last axis."""
    root = jnp.sqrt(4.0 * jnp.clip(u * (1.0 - u), 1e-8, None))
    size = 2.0 * jnp.sqrt(jnp.maximum(jnp.cos(jnp.arccos(jnp.minimum(root, 1.0)) / 3.0) / root - 1.0, 0.0))
    return jnp.where(u > 0.5, size, -size), jnp.sum(jnp.log(0.375) - 2.5 * jnp.log1p(0.25 * size**2), axis=-1)


def skewness(model: Latent, pilot: Pilot, data: Data) -> jax.Array:
    """What takes the coefficients from conditional mode to mean, times their covariance; shape (p,).

    Half the third derivative of the log likelihood contracted with the covariance is the first-order answer. It is
    repeated at the mean so found until the expected gradient vanishes there, which matters where outcomes are rare.
    """
    if model.quadratic:
        return jnp.zeros(model.p)
    psi = model.other(pilot.psi)
    mean, log_scale = model.prior(psi, data[0])
    inverse = factor(pilot.at.gram, log_scale)[2] * jnp.exp(log_scale)
    design = model.design(data[0])
    spread = jnp.einsum("rmp,kp->rmk", design, inverse)
    covariance = jnp.einsum("rmk,rnk->rmn", spread, spread)

    def expected(eta):  # log likelihood averaged over the coefficients, to second order
        return model.likelihood(eta, psi, data) - 0.5 * jnp.sum(model.second(eta, psi, data)[1] * covariance)

    def again(_, tilt):
        move = inverse.T @ (inverse @ tilt)
        slope = jnp.einsum("rmp,rm->p", design, jax.grad(expected)(pilot.at.eta + design @ move))
        return tilt + slope - (pilot.at.x + move - mean) * jnp.exp(-2.0 * log_scale)

    return jax.lax.fori_loop(0, SKEW, again, jnp.zeros(model.p))


def conditional_draw(
    model: Latent, pilot: Pilot, skew: jax.Array, psi: Arrays, z: jax.Array, data: Data
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Coefficients from standard coordinates, centred on the conditional mean; the log Jacobian determinant; the curvature ratio."""
    ratio = relative(model, pilot, psi, data)
    mean, log_scale = model.prior(psi, data[0])
    scale = jnp.exp(log_scale)
    if model.quadratic:
        x, jacobian = conditional(model, pilot, psi, z, ratio, data)
        return x, jacobian, ratio
    _, low, inverse = factor(ratio * pilot.at.gram, log_scale)
    inverse = inverse * scale
    slope = jax.grad(lambda x: likelihood(model, pilot, x, psi, ratio, data))
    centre = conditional(model, pilot, psi, jnp.zeros(model.p), ratio, data)[0]
    for _ in range(CHORD):
        centre = centre + inverse.T @ (inverse @ (slope(centre) - (centre - mean) / scale**2))
    centre = centre + inverse.T @ (inverse @ skew)
    return centre + inverse.T @ z, jnp.sum(log_scale) - jnp.sum(jnp.log(jnp.diagonal(low))), ratio


def propose(compiled: CompiledResponse, data: Data, seed: jax.Array, size: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """Proposals, reported quantities ``[proposal, ...]``, and their log weights ``[proposal]``."""
    model = latent_model(compiled, data[0])
    if model is None:
        found, named = _whole(compiled, data, jax.random.split(seed, size))
    else:
        found = _hierarchical(model, data, seed, size)
        named = lambda at: {**model.other(at.other), **model.named(at.x)}  # noqa: E731
    values = _each(lambda at: compiled.constrain(named(at), data[0]), found)
    return values, found.log_weight


def _each(function: Any, arguments: Any) -> Any:
    """Apply a function to every proposal, some at a time."""
    return jax.lax.map(function, arguments, batch_size=BATCH)


def _hierarchical(model: Latent, data: Data, seed: jax.Array, size: int) -> Proposal:
    """Proposals from a latent Gaussian model."""
    pilot = find(model, data)
    skew = skewness(model, pilot, data)
    scales = halves(lambda w: marginal(model, pilot, pilot.psi + pilot.spread @ w, data), model.d)

    def weighed(w, z, log_density):
        other = pilot.psi + pilot.spread @ w
        psi = model.other(other)
        x, jacobian, ratio = conditional_draw(model, pilot, skew, psi, z, data)
        return Proposal(other, x, log_joint(model, pilot, x, psi, ratio, data) + jacobian - log_density)

    def once(seed):
        w, log_q = two_piece(jax.random.fold_in(seed, 0), scales, model.d <= HEAVY)
        z, log_r = _normals(jax.random.fold_in(seed, 1), model)
        return weighed(w, z, log_q + log_r)

    if not widened(model):
        return _each(once, jax.random.split(seed, size))

    sides = jnp.concatenate([scales, jnp.ones((2, model.p))], axis=1)

    def placed(seed, frame: Frame):
        t, log_q = students_t(jax.random.uniform(jax.random.fold_in(seed, 0), (model.d,), minval=1e-12))
        e, log_r = _normals(jax.random.fold_in(seed, 1), model)
        at = frame.place(jnp.concatenate([t, e]))
        side = jnp.where(at > 0, sides[0], sides[1])
        w, z = jnp.split(side * at, [model.d])
        return weighed(w, z, log_q + log_r - frame.log_volume - jnp.sum(jnp.log(side))), at

    def round_(frame: Frame, keys):
        found, at = _each(lambda k: placed(k, frame), keys)
        return matched(at, smooth(found.log_weight)[0]), found

    found = jax.lax.scan(round_, standard(model.d + model.p), jax.random.split(seed, (ROUNDS, size // KEPT)))[1]
    return jax.tree.map(lambda v: v[-KEPT:].reshape(-1, *v.shape[2:]), found)


def widened(model: Latent) -> bool:
    """Whether a share of the coefficients' proposals is twice as wide, and proposals are made in rounds.

    Where few coefficients meet a likelihood that is not Normal, so that the weights stay bounded in the
    tails; with many coefficients such draws would all be wasted.
    """
    return not model.quadratic and model.p <= HEAVY


def _normals(seed: jax.Array, model: Latent) -> tuple[jax.Array, jax.Array]:
    """Standard coordinates of the coefficients and their log density."""
    z = jax.random.normal(seed, (model.p,))
    if not widened(model):
        return z, -0.5 * z @ z
    z = z * jnp.where(jax.random.uniform(jax.random.fold_in(seed, 1)) < WIDE, 2.0, 1.0)
    return z, log_widened(0.5 * z @ z, model.p, WIDE)


def log_widened(square: jax.Array, p: int, share: float) -> jax.Array:
    """Log density, up to the Normal constant, of `p` coordinates a `share` of which is twice as wide; `square` is half their sum of squares."""
    return jnp.logaddexp(jnp.log1p(-share) - square, jnp.log(share) - 0.25 * square - p * jnp.log(2.0))


def _whole(compiled: CompiledResponse, data: Data, keys: jax.Array) -> tuple[Proposal, Any]:
    """Proposals from a model without linear structure, Normal as a whole, and what names their parameters."""
    begin = compiled.initial(data[0])
    start, named = jax.flatten_util.ravel_pytree(begin)
    density = lambda flat: -compiled.potential(named(flat), *data)  # noqa: E731
    at, spread = climb(density, start, 100, sds=(1e-8, 1e8), longest=1e8)
    scales = halves(lambda w: density(at + spread @ w), len(at))

    def draw(seed):
        w, log_q = two_piece(jax.random.fold_in(seed, 0), scales, len(at) <= HEAVY)
        return Proposal(at + spread @ w, None, density(at + spread @ w) - log_q)

    return _each(draw, keys), lambda found: named(found.other)


@functools.lru_cache(maxsize=64)
def _executable(compiled: CompiledResponse, signature: tuple[Any, ...], size: int) -> Any:
    shapes = {n: jax.ShapeDtypeStruct(shape, dtype) for n, shape, dtype in signature}
    data = ({n: shapes[n] for n in compiled.inputs}, shapes["y"], shapes["weight"])

    def run(seed, data):
        values, log_weights = propose(compiled, data, key(seed, compiled.name, "laplace"), size)
        return values, *smooth(log_weights)

    return Kept(run, compiled.address, "laplace", str(size)).fetch(np.zeros((), dtype=np.int64), data)


def systematic(log_weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn with given probabilities by systematic resampling, in random order."""
    edges = np.cumsum(np.exp(log_weights))
    picked = np.searchsorted(edges / edges[-1], (rng.random() + np.arange(size)) / size)
    return rng.permutation(np.minimum(picked, len(log_weights) - 1))


def proposals_for(size: int, rows: int) -> int:
    """How many proposals to make for a number of draws: whole batches in each of the rounds that are kept."""
    wanted = max(2 * size, min(PROPOSALS * size, MOST_WORK // max(rows, 1)))
    return math.ceil(wanted / (KEPT * BATCH)) * KEPT * BATCH


def sample(blocks: list[Block], *, seed: int, draws: int, chains: int, show: str | bool = "auto") -> list[Draws]:
    """Draw every block's posterior by corrected Laplace approximation.

    Parameters
    ----------
    blocks : list of Block
    seed : int
    draws, chains : int
        Equally weighted draws, dealt out to chains so that the same tools read them.

    Returns
    -------
    list of Draws
        With diagnostics ``khat`` and ``ess``, the effective number of independent draws behind the weights.
    """
    results = []
    with progress(len(blocks), "approximating", show) as bar, double_precision():
        for block in blocks:
            results.append(_sample(block, seed, draws, chains) if block.compiled.parameters else Draws({}, {}))
            bar.advance(1)
    return results


def _sample(block: Block, seed: int, draws: int, chains: int) -> Draws:
    size = proposals_for(draws * chains, len(block.y))
    values, log_weights, khat = _executable(block.compiled, block.signature, size)(np.asarray(seed, dtype=np.int64), block.data)
    log_weights = np.asarray(log_weights)
    if not np.isfinite(log_weights).any():
        picked = np.zeros(draws * chains, dtype=int)
    else:
        rng = np.random.default_rng([seed, len(block.y), 7])
        picked = systematic(log_weights, draws * chains, rng)
    kept = {n: np.asarray(v)[picked].reshape(chains, draws, *v.shape[1:]) for n, v in values.items()}
    ess = float(1.0 / np.sum(np.exp(2 * log_weights)))
    return Draws(kept, {}, {"khat": float(khat), "ess": min(ess, float(draws * chains))})
