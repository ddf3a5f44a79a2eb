"""Patients of a range, drawn, assigned, answered and counted in one program: the same patients as the patient-level course draws, to the last bit.

A uniform number of :mod:`bayesdtr.trial.luck` depends on its own key and its place alone, so that any range of places can be drawn where it is
needed and never stored. Threefry-2x32 is that of Salmon, Moraes, Dror and Shaw (2011), Parallel Random Numbers: As Easy as 1, 2, 3, with 20 rounds.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ...runtime import double_precision, key
from .grid import WIDTH

BITS = 52
TURNS = ((13, 15, 26, 6), (17, 29, 16, 24))
NEVER = np.int64(1) << 53
"""A threshold above every number drawn."""


@jax.jit
def _folded(start: jax.Array, replicates: jax.Array) -> jax.Array:
    return jax.vmap(lambda r: jax.random.key_data(jax.random.fold_in(start, r)))(replicates)


def keys(seed: int, purpose: str, replicates: np.ndarray) -> np.ndarray:
    """Words of each replicate's key for a purpose, as `luck.uniforms` makes it, shape (2, trial)."""
    parts = []
    with double_precision():
        start = key(seed, purpose)
        for begin in range(0, len(replicates), WIDTH):
            part = np.zeros(WIDTH, dtype=np.uint32)
            ids = np.asarray(replicates[begin : begin + WIDTH], dtype=np.uint32)
            part[: len(ids)] = ids
            parts.append(np.asarray(_folded(start, part))[: len(ids)])
    return np.concatenate(parts).T


def thresholds(p: np.ndarray) -> np.ndarray:
    """Numbers such that ``u >= p`` for a uniform u where its 52 bits are at least them: whole numbers, exactly."""
    return np.ceil(np.asarray(p, dtype=float) * 2.0**BITS).astype(np.int64)


def _words(words: jax.Array, place: jax.Array) -> jax.Array:
    """The 52 bits of the uniform numbers at some places, shape (place, trial)."""
    k0, k1 = words[0][None], words[1][None]
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0 = jnp.zeros_like(place, dtype=jnp.uint32)[:, None] + k0
    x1 = place.astype(jnp.uint32)[:, None] + k1
    for group in range(5):
        for turn in TURNS[group % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn))
            x1 = x0 ^ x1
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return (x0.astype(jnp.int64) << 20) | (x1 >> np.uint32(12)).astype(jnp.int64)


def _counted(member: list[jax.Array], word: jax.Array, bad: jax.Array, used: jax.Array) -> jax.Array:
    """Patients and successes of each arm, shape (2 arm, trial), from who is in it ``(patient, trial)``; counts are packed into few integers."""
    yes = [m & (word >= bad[:, k][:, None]) for k, m in enumerate(member)]
    flags = [m & used[:, None] for m in (*member, *(y for y in yes))]
    bits = len(used).bit_length()
    per = 62 // bits
    counts = []
    for begin in range(0, len(flags), per):
        some = flags[begin : begin + per]
        packed = sum(f.astype(jnp.int64) << (bits * i) for i, f in enumerate(some)).sum(axis=0)
        counts += [(packed >> (bits * i)) & ((1 << bits) - 1) for i in range(len(some))]
    return jnp.stack(counts).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="tile")
def _free(assignment: jax.Array, response: jax.Array, cut: jax.Array, bad: jax.Array, begin: jax.Array, end: jax.Array, tile: int) -> jax.Array:
    """Counts of patients assigned by independent draws; `cut` (arm - 1, trial) are thresholds of the cumulated probabilities."""
    place = begin + jnp.arange(tile)
    luck = _words(assignment, place)
    above = [luck >= c[None] for c in cut]
    member = [~above[0]] + [above[k - 1] & ~above[k] for k in range(1, len(above))] + [above[-1]]
    return _counted(member, _words(response, place), bad, place < end)


@functools.partial(jax.jit, static_argnames=("tile", "block", "arms"))
def _blocked(lists: jax.Array, response: jax.Array, bad: jax.Array, begin: jax.Array, end: jax.Array, tile: int, block: int, arms: int) -> jax.Array:
    """Counts of patients assigned by permuted blocks, `begin` at the first of a block and `tile` whole blocks; patients from `end` on not counted."""
    place = begin + jnp.arange(tile)
    word = _words(lists, place).reshape(tile // block, block, -1)
    rank = sum((word[:, [j]] < word).astype(jnp.int32) for j in range(block)).reshape(tile, -1)
    times = block // arms
    member = [(rank >= k * times) & (rank < (k + 1) * times) for k in range(arms)]
    return _counted(member, _words(response, place), bad, place < end)


def _chunks(size: int):
    for begin in range(0, size, WIDTH):
        yield slice(begin, min(begin + WIDTH, size))


def _padded(array: np.ndarray) -> np.ndarray:
    short = WIDTH - array.shape[-1]
    return np.concatenate([array, np.repeat(array[..., :1], short, axis=-1)], axis=-1) if short else array


def free(assignment: np.ndarray, response: np.ndarray, pi: np.ndarray, bad: np.ndarray, begin: int, end: int, tile: int) -> np.ndarray:
    """Count patients ``begin`` to ``end - 1`` of some trials, assigned by independent draws.

    Parameters
    ----------
    assignment, response : array, shape (2, trial)
        Words of keys.
    pi : array, shape (trial, arm)
        Probabilities of the arms.
    bad : array of int, shape (size, arm)
        Thresholds from which a patient's number makes a success.
    begin, end, tile : int
        At most `tile` patients.

    Returns
    -------
    array of int, shape (2 arm, trial)
        Patients of each arm, then successes.
    """
    last = pi.shape[1] - 1 - np.argmax(pi[:, ::-1] > 0, axis=1)
    cut = thresholds(np.cumsum(pi, axis=1)[:, :-1])
    cut = np.where(np.arange(pi.shape[1] - 1) >= last[:, None], NEVER, cut).T
    parts = []
    rows = _rows(bad, begin, tile)
    with double_precision():
        for some in _chunks(len(pi)):
            words = (_padded(x[:, some]) for x in (assignment, response, cut))
            parts.append(_free(*words, rows, np.int64(begin), np.int64(end), tile))
        return np.concatenate([np.asarray(p) for p in parts], axis=1)[:, : len(pi)]


def blocked(lists: np.ndarray, response: np.ndarray, bad: np.ndarray, end: int, block: int, arms: int) -> np.ndarray:
    """Count patients 0 to ``end - 1`` of some trials, assigned by permuted blocks; parameters and result as of :func:`free`."""
    trials, parts = lists.shape[1], []
    tile = block * -(-100 // block)
    with double_precision():
        for some in _chunks(trials):
            words = _padded(lists[:, some]), _padded(response[:, some])
            parts.append([_blocked(*words, _rows(bad, begin, tile), np.int64(begin), np.int64(end), tile, block, arms)
                          for begin in range(0, end, tile)])
        return np.concatenate([sum(np.asarray(p) for p in part) for part in parts], axis=1)[:, :trials]


def _rows(bad: np.ndarray, begin: int, tile: int) -> np.ndarray:
    rows = bad[begin : begin + tile]
    return np.concatenate([rows, np.repeat(rows[-1:], tile - len(rows), axis=0)]) if len(rows) < tile else rows
