"""Evaluate compiled responses at many draws and many histories, in blocks of bounded shape.

Rows are padded to a power of two and draws to whole blocks, so that a handful of compiled shapes
serves every call. All answers are NumPy arrays, ``[draw, row, ...]``.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ..kept import Kept
from ..runtime import in_double_precision
from .compile import CompiledResponse
from .linked import LinkedResponse

BLOCK = 2**21
"""Numbers in one block ``draws x rows``: 16 MiB in 64 bits."""

PAIRED = 2**14
"""The same where every draw has rows, and so a design, of its own: what does not fit the processor's cache takes several times as long."""


@functools.lru_cache(maxsize=256)
def _function(compiled: CompiledResponse, what: str, paired: bool) -> Kept:
    def one(parameters, inputs, extra):
        from .summaries import SUMMARIES  # a program that is kept needs no distributions

        if what == "log_density" and isinstance(compiled, LinkedResponse):
            return compiled.log_prob(parameters, inputs, extra)
        return SUMMARIES[what](compiled.predict(parameters, inputs), compiled, extra)

    def many(parameters, rows, shared, extra):
        axis = 0 if paired else None
        if not paired and compiled.linear is not None and compiled.linear.predicts:
            return _by_predictors(compiled, what, parameters, {**shared, **rows}, extra)
        return jax.vmap(lambda p, r, e: one(p, {**shared, **r}, e), in_axes=(0, axis, axis))(parameters, rows, extra)

    return Kept(many, compiled.address, what, str(paired))


def _by_predictors(
    compiled: CompiledResponse, what: str, parameters: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array], extra: jax.Array
) -> jax.Array:
    """A summary of a model with linear predictors, all draws and rows by one matrix product: some twenty times as fast as draw by draw."""
    from .distributions import carried
    from .summaries import SUMMARIES

    linear = compiled.linear
    assert linear is not None
    offset, slopes = linear.design({n: parameters[n][0] for n in linear.latent}, inputs)
    size = len(next(iter(parameters.values())))
    flat = jnp.concatenate([parameters[n].reshape(size, -1) for n in linear.latent], axis=1)
    eta = (flat @ slopes.reshape(offset.size, -1).T).reshape(size, *offset.shape) + offset
    others = {n: parameters[n] for n in linear.others}

    def one(eta, mine):
        return SUMMARIES[what](carried(compiled.distribution, linear.law_at(eta, mine, inputs), len(eta)), compiled, extra)

    return jax.vmap(one)(eta, others)


def _pad(array: np.ndarray, size: int, axis: int = 0) -> np.ndarray:
    short = size - array.shape[axis]
    if short <= 0:
        return array
    width = [(0, 0)] * array.ndim
    width[axis] = (0, short)
    return np.pad(array, width, mode="edge")


def _bucket(n: int) -> int:
    return max(16, 1 << (n - 1).bit_length())


def _split(compiled: CompiledResponse, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs with one value per row, and those shared by all rows."""
    by_row = {n: v for n, v in inputs.items() if n in compiled.by_row}
    return by_row, {n: v for n, v in inputs.items() if n not in by_row}


@in_double_precision
def evaluate(
    compiled: CompiledResponse, draws: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], what: str, extra: np.ndarray | None = None,
    *, average: bool = False,
) -> np.ndarray:
    """Summaries of a response's distribution for every draw and every row.

    Parameters
    ----------
    compiled : CompiledResponse
    draws : mapping of str to array, shape (draw, ...)
        Empty for a model without parameters, which counts as one draw.
    inputs : mapping of str to array, shape (row,) or ()
    what : {"mean", "moments", "density", "log_density", "sample", "cdf", "quantiles", "survival", "log_survival", "restricted",
        "discounted"}
        Mean; mean and SD on a last axis; density (or probability) at points; its logarithm at one outcome per row; one
        simulated outcome; distribution function; quantiles; and of a time: probability of living longer and its
        logarithm, mean up to a horizon, and the same discounted.
    extra : array, shape (row, point) or (row,), optional
        Points of "density" and "cdf", levels of "quantiles"; outcomes of "log_density", uniform numbers of "sample",
        time of "survival" and "log_survival", horizon of "restricted"; horizon and rate ``(row, 2)`` of "discounted".
    average : bool
        Average over draws block by block, so that memory does not grow with their number.

    Returns
    -------
    array, shape (draw, row) or (draw, row, point) or (draw, row, 2)
        Without the first axis when averaged.
    """
    by_row, shared = _split(compiled, inputs)
    n_rows = len(next(iter(by_row.values())))
    parameters = {n: np.asarray(draws[n]) for n in compiled.parameters} or {"": np.zeros(1)}
    n_draws = len(next(iter(parameters.values())))
    extra = np.zeros(n_rows) if extra is None else extra
    width = extra.shape[1] if extra.ndim == 2 else 1
    rows = _bucket(min(n_rows, max(16, BLOCK // (width * min(n_draws, 64)))))
    step = max(1, min(_bucket(n_draws), BLOCK // (rows * width)))
    run = _function(compiled, what, False)
    whole = []
    for first in range(0, n_rows, rows):
        piece = slice(first, min(first + rows, n_rows))
        some = {n: _pad(v[piece], rows) for n, v in by_row.items()}
        more = _pad(extra[piece], rows)
        parts = []
        for begin in range(0, n_draws, step):
            block = {n: _pad(v[begin : begin + step], step) for n, v in parameters.items()}
            out = np.asarray(run(block, some, shared, more))
            out = out[: min(step, n_draws - begin), : piece.stop - piece.start]
            parts.append(out.sum(axis=0) / n_draws if average else out)
        whole.append(sum(parts) if average else np.concatenate(parts))
    return np.concatenate(whole, axis=0 if average else 1)


@in_double_precision
def evaluate_paired(
    compiled: CompiledResponse, draws: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], what: str, extra: np.ndarray | None = None
) -> np.ndarray:
    """As :func:`evaluate`, but each draw has rows of its own.

    Parameters
    ----------
    inputs : mapping of str to array, shape (draw, row) or ()
    extra : array, shape (draw, row) or (draw, row, 2), optional

    Returns
    -------
    array, shape (draw, row) or (draw, row, 2)
    """
    by_row, shared = _split(compiled, inputs)
    n_draws, n_rows = next(iter(by_row.values())).shape
    parameters = {n: np.asarray(draws[n]) for n in compiled.parameters} or {"": np.zeros(n_draws)}
    extra = np.zeros((n_draws, n_rows)) if extra is None else extra
    rows = _bucket(n_rows)
    step = max(1, min(_bucket(n_draws), PAIRED // rows))
    run = _function(compiled, what, True)
    parts = []
    for begin in range(0, n_draws, step):
        piece = slice(begin, begin + step)
        some = {n: _pad(_pad(v[piece], rows, 1), step) for n, v in by_row.items()}
        block = {n: _pad(v[piece], step) for n, v in parameters.items()}
        out = np.asarray(run(block, some, shared, _pad(_pad(extra[piece], rows, 1), step)))
        parts.append(out[: min(step, n_draws - begin), :n_rows])
    return np.concatenate(parts)
