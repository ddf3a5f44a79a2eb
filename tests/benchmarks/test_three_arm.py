"""Speed of counted trials against a plain JAX program for the same design, in one process on the same cores; run with ``-m benchmark -s``.

The rival is what one would write first: `vmap` over trials, a `scan` over all looks, every patient drawn beforehand, and at each look one grid of 256
points on (0, 1) that P(best), the drops and equivalence are read off; single precision, JAX's default. It is given two threads, too, and the
faster of its two times counts.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesdtr.trial.counting import run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trial"))
import designs

REPLICATES, BATCH = 16_384, 1_024
GRID = (np.arange(256, dtype=np.float32) + 0.5) / 256
LOOKS = np.arange(300, 2001, 100)
LOWER, UPPER, FLOOR, MARGIN = 0.0185682, 0.9814318, 0.2, 0.05


def others(table):
    return jnp.stack([table[1] * table[2], table[0] * table[2], table[0] * table[1]])


def shares(p, active):
    """Proportional to P(best), arms below the floor set to it, until none is below."""
    raised, result = jnp.zeros(3, bool), p
    for _ in range(3):
        raised = raised | (active & (result < FLOOR))
        free = active & ~raised
        rest = jnp.where(free, p, 0.0)
        result = jnp.where(raised, FLOOR, jnp.where(free, (1 - FLOOR * raised.sum()) * rest / jnp.maximum(rest.sum(), 1e-30), 0.0))
    return result


def trial(key, truth):
    """One trial, all looks: (0 superior, 1 equivalent, -1 neither), size, arm with the lowest mean."""
    luck, chance = jax.random.uniform(key, (2, 2000))
    arm = jnp.concatenate([jnp.arange(400) % 3, jnp.full(1600, -1)])
    bad = chance < truth[:, None]
    shift = MARGIN * 256

    def look(state, known):
        arm, active, ended, size = state
        mine = (arm == jnp.arange(3)[:, None]) & (jnp.arange(2000) < known)
        n, y = mine.sum(axis=1), (mine & bad).sum(axis=1)
        log = y[:, None] * jnp.log(GRID) + (n - y)[:, None] * jnp.log1p(-GRID)
        f = jnp.exp(log - log.max(axis=1, keepdims=True))
        f = f / f.sum(axis=1, keepdims=True)
        below = jnp.cumsum(f, axis=1) - f / 2
        left = active
        for _ in range(3):
            p = jnp.where(left, (f * others(jnp.where(left[:, None], 1 - below, 1.0))).sum(axis=1), 0.0)
            p = p / p.sum()
            left = left & (p >= LOWER)
        p = jnp.where(left, (f * others(jnp.where(left[:, None], 1 - below, 1.0))).sum(axis=1), 0.0)
        p = p / p.sum()
        whole, part = int(shift), shift - int(shift)
        padded = jnp.concatenate([below, jnp.ones((3, whole + 1))], axis=1)
        further = (1 - part) * padded[:, whole : whole + 256] + part * padded[:, whole + 1 : whole + 257]
        near = jnp.where(left[:, None], further - below, 1.0)
        equal = jnp.where(left, (f * others(near)).sum(axis=1), 0.0).sum()
        now = jnp.where(p.max() > UPPER, 0, jnp.where((equal > 0.9) & (left.sum() > 1), 1, -1))
        going = ended < 0
        recruited = jnp.minimum(known + 100, 2000)
        pi = jnp.cumsum(shares(p, left))
        drawn = jnp.minimum((luck[:, None] >= pi[None, :]).sum(axis=1), 2)
        i = jnp.arange(2000)
        arm = jnp.where((i >= recruited) & (i < recruited + 100), drawn, arm)
        lowest = jnp.argmin(jnp.where(left, (1 + y) / (2 + n), 2.0))
        result = (jnp.where(going, now, ended), jnp.where(going & (now >= 0), recruited, size))
        return (arm, jnp.where(going, left, active), *result), (going, lowest)

    start = (arm, jnp.ones(3, bool), jnp.int32(-1), jnp.int32(2000))
    (_, _, ended, size), (going, lowest) = jax.lax.scan(look, start, jnp.asarray(LOOKS))
    return ended, size, lowest[going.sum() - 1]


@jax.jit
def rival_batch(keys, truth):
    return jax.vmap(trial, in_axes=(0, None))(keys, truth)


def rival(truth, threads):
    keys = jax.random.split(jax.random.key(5), REPLICATES)
    parts = [keys[i : i + BATCH] for i in range(0, REPLICATES, BATCH)]
    one = lambda part: [np.asarray(x) for x in rival_batch(part, truth)]  # noqa: E731
    if threads == 1:
        made = [one(p) for p in parts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(one, parts))
    return [np.concatenate(x) for x in zip(*made, strict=True)]


def timed(function, repeats=4):
    """Result, and wall and processor seconds of the fastest of some calls."""
    best = None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        made = function()
        spent = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best, spent) if best else spent
    return made, best


@pytest.mark.benchmark
@pytest.mark.parametrize("events", [(0.25, 0.25, 0.25), (0.25, 0.20, 0.30)])
def test_three_arm_against_a_plain_rival(events):
    design, scenario, truth = designs.three_arm(), designs.three_arm_truth(*events), jnp.asarray(events, dtype=jnp.float32)
    rival_batch(jax.random.split(jax.random.key(1), BATCH), truth)
    run(design, scenario, np.arange(2 * BATCH), seed=1)  # compiles, as the line above
    ours, spent = timed(lambda: run(design, scenario, np.arange(REPLICATES), seed=2))
    theirs, alone = timed(lambda: rival(truth, 1))
    _, threaded = timed(lambda: rival(truth, 2))
    slow = min(alone, threaded)
    print(f"\nevents {events}: ours {REPLICATES / spent[0]:,.0f} replicates/s, {spent[1] / REPLICATES * 1e6:.0f} us of processor each; "
          f"rival {REPLICATES / slow[0]:,.0f}, {slow[1] / REPLICATES * 1e6:.0f} us; "
          f"ratio {slow[0] / spent[0]:.1f} in time, {slow[1] / spent[1]:.1f} in processor time")
    for mine, other in ((ours["stopped_by"] == 0, theirs[0] == 0), (ours["stopped_by"] == 1, theirs[0] == 1), (ours["selected"] == 1, theirs[2] == 1),
                        (ours["size"], theirs[1])):
        x, y = np.asarray(mine, dtype=float), np.asarray(other, dtype=float)
        assert abs(x.mean() - y.mean()) <= 4 * np.sqrt((x.var() + y.var()) / REPLICATES), (x.mean(), y.mean())
    assert slow[0] / spent[0] >= 3
