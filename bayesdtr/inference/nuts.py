"""NumPyro's NUTS on a compiled response, data as inputs: compiled once per structure and shape.

The transition kernel of :func:`numpyro.infer.hmc.hmc` takes the data as arguments, so nothing is
recompiled for a new data set of the same shape. Chains run in threads, each with a key of its own,
so a chain's draws do not depend on how many run beside it.
"""

import functools
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..kept import Kept, Program
from ..model import CompiledResponse
from ..runtime import Progress, double_precision, key, progress
from .coordinates import chart, potential, start_of, to_model

CHUNK = 100
"""Iterations between two updates of the progress bar, and between two chances to interrupt."""

TARGET_ACCEPT = 0.9
"""In the coordinates of a latent Gaussian model; above NumPyro's 0.8, for scales over two or three options have long tails."""
PLAIN_TARGET_ACCEPT = 0.95
"""In a model's own coordinates, whose corners nobody has smoothed."""


_ZERO = np.zeros((), dtype=np.int64)


@dataclass(frozen=True)
class Block:
    """One response's model with its data, ready to be sampled.

    Attributes
    ----------
    compiled : CompiledResponse
    inputs : mapping of str to array
    y, weight : array, shape (patient,)
    """

    compiled: CompiledResponse
    inputs: Mapping[str, np.ndarray]
    y: np.ndarray
    weight: np.ndarray

    @property
    def data(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """What the compiled programs take as their data argument."""
        return dict(self.inputs), self.y, self.weight

    @property
    def signature(self) -> tuple[tuple[str, tuple[int, ...], str], ...]:
        """Names, shapes and types of the arrays: what a compiled program is made for."""
        return tuple((n, np.shape(v), str(np.asarray(v).dtype)) for n, v in {**self.inputs, "y": self.y, "weight": self.weight}.items())


@dataclass(frozen=True)
class Draws:
    """Draws of one block: reported quantities and the sampler's statistics, each ``[chain, draw, ...]``; single numbers about them."""

    values: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    diagnostics: dict[str, float] = field(default_factory=dict)


@functools.lru_cache(maxsize=64)
def _executables(
    compiled: CompiledResponse, signature: tuple[Any, ...], warmup: int, target_accept: float | None
) -> tuple[Program, Program, Program]:
    """The three executables of a structure and shape: lay out coordinates, start a chain, advance it by a chunk.

    Between them coordinates and state are plain tuples of arrays, which any process can hand on.
    """
    lay_out, start, advance = programs(compiled, warmup, target_accept)
    shapes = {n: jax.ShapeDtypeStruct(shape, dtype) for n, shape, dtype in signature}
    data = ({n: shapes[n] for n in compiled.inputs}, shapes["y"], shapes["weight"])
    made = functools.cache(lambda: jax.eval_shape(lay_out, data))
    state = functools.cache(lambda: jax.eval_shape(start, _ZERO, _ZERO, data, made()))

    def begin(seed, chain, data, constants):
        return _plain(start(seed, chain, data, _like(made(), constants)))

    def go_on(now, data, constants):
        later, out = advance(_like(state(), now), data, _like(made(), constants))
        return _plain(later), out

    def kept(function, what):
        return Kept(function, compiled.address, what, str(warmup), str(target_accept), str(CHUNK))

    with double_precision():
        first = kept(lambda data: _plain(lay_out(data)), "lay out").fetch(data)
        second = kept(begin, "start").fetch(_ZERO, _ZERO, data, first.out)
        return first, second, kept(go_on, "advance").fetch(second.out, data, first.out)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> tuple[jax.Array, ...]:
    """The leaves of a tree, random keys as raw data."""
    return tuple(jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(tree))


def _like(tree: Any, leaves: tuple[jax.Array, ...]) -> Any:
    """Leaves put back into a tree of shapes."""
    shapes, structure = jax.tree.flatten(tree)
    keyed = [jax.random.wrap_key_data(x) if _is_key(shape) else x for x, shape in zip(leaves, shapes, strict=True)]
    return jax.tree.unflatten(structure, keyed)


def _target(made: Any) -> float:
    """Acceptance aimed at: higher where the coordinates leave scales and coefficients bound to each other."""
    return TARGET_ACCEPT if made is not None and made.basis is None else PLAIN_TARGET_ACCEPT


def programs(compiled: CompiledResponse, warmup: int, target_accept: float | None = None, depth: int = 10) -> tuple[Any, Any, Any]:
    """The three functions behind the executables.

    Returns
    -------
    lay_out : callable
        Data to the constants of its coordinates.
    start : callable
        Seed, chain, data and constants to the sampler's state.
    advance : callable
        State, data, constants and a number of iterations (`CHUNK`) to the state after them, with draws and statistics.
    """
    density = jax.jit(lambda position, made, data: potential(compiled, position, made, data))  # traced once, however often it is called

    def potential_of(inputs, y, weight, made):
        return lambda position: density(position, made, (inputs, y, weight))

    @functools.cache
    def kernels():
        from numpyro.infer.hmc import hmc  # only a program that is not kept needs it

        return hmc(potential_fn_gen=potential_of, algo="NUTS")

    def start(seed, chain, data, made):
        chain_key = key(seed, compiled.name, chain)
        return kernels()[0](
            start_of(compiled, made, data, jax.random.fold_in(chain_key, 0)), num_warmup=warmup,
            target_accept_prob=target_accept or _target(made),
            model_args=(*data, made), rng_key=jax.random.fold_in(chain_key, 1), max_tree_depth=depth,
        )

    def advance(state, data, made, length=CHUNK):
        def step(state, _):
            state = kernels()[1](state, model_args=(*data, made))
            stats = {
                "diverging": state.diverging, "n_steps": state.num_steps, "acceptance_rate": state.accept_prob,
                "lp": -state.potential_energy, "energy": state.energy, "step_size": state.adapt_state.step_size,
            }
            return state, (compiled.constrain(to_model(compiled, state.z, made, data)[0], data[0]), stats)

        return jax.lax.scan(step, state, None, length=length)

    return lambda data: chart(compiled, data), start, advance


class _StoppedError(Exception):
    """A chain was told to stop before its end."""


def _chain(
    block: Block, made: Any, programs: tuple[Any, Any, Any], seed: int, chain: int, warmup: int, draws: int, bar: Progress, stop: threading.Event
) -> tuple[dict, dict]:
    """Run one chain; runs in a worker thread, so it enters the 64-bit context itself."""
    _, start, advance = programs
    with double_precision():
        data = block.data
        state = start(np.asarray(seed, dtype=np.int64), np.asarray(chain, dtype=np.int64), data, made)
        kept = []
        for begin in range(0, warmup + draws, CHUNK):
            if stop.is_set():
                raise _StoppedError
            state, out = advance(state, data, made)
            skip = max(warmup - begin, 0)
            if skip < CHUNK:
                kept.append(jax.tree.map(lambda a, skip=skip: np.asarray(a)[skip:], out))
            else:
                jax.block_until_ready(state)
            bar.advance(CHUNK)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:draws], *kept)


def sample(
    blocks: list[Block], *, seed: int, draws: int, warmup: int, chains: int, target_accept: float | None = None, show: str | bool = "auto"
) -> list[Draws]:
    """Sample independent blocks with NUTS.

    Parameters
    ----------
    blocks : list of Block
    seed : int
    draws, warmup, chains : int
        Draws and warm-up iterations per chain.
    target_accept : float, optional
        0.9 for latent Gaussian models, 0.95 for others.
    show : {"auto", True, False}
        Whether to show a progress bar.

    Returns
    -------
    list of Draws
        In the order of `blocks`; ``[chain, draw, ...]``.
    """
    sampled = [b for b in blocks if b.compiled.parameters]
    steps = -(-(warmup + draws) // CHUNK) * CHUNK
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool, progress(steps * chains * len(sampled), "sampling", show) as bar:
        try:
            # One after the other: XLA uses all cores for one program, and fetching two at once takes longer than twice one.
            programs = [_executables(b.compiled, b.signature, warmup, target_accept) for b in sampled]
            with double_precision():
                charts = [p[0](b.data) for b, p in zip(sampled, programs, strict=True)]
            jobs = [
                [pool.submit(_chain, b, made, p, seed, chain, warmup, draws, bar, stop) for chain in range(chains)]
                for b, made, p in zip(sampled, charts, programs, strict=True)
            ]
            results = {}
            for block, row in zip(sampled, jobs, strict=True):
                values, stats = jax.tree.map(lambda *chain: np.stack(chain), *(job.result() for job in row))
                results[block.compiled.name] = Draws(values, stats)
        except BaseException:
            stop.set()  # an interrupt ends the other chains at their next chunk instead of waiting for all of them
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results.get(b.compiled.name) or Draws({}, {}) for b in blocks]
