"""NUTS within Gibbs: parameters and missing values drawn in turn from their joint posterior.

Every iteration advances each block (the responses' models and those of covariates with missing
values) by one NUTS transition with the completed data as inputs, then redraws each missing entry
given the parameters and the rest of the patient's record: discrete ones jointly by enumeration of
their levels, others by Metropolis steps, an independent proposal from their own model and a random
walk of adapted width. Patients are independent given the parameters, so all are redrawn at once.
"""

import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data import Trajectories
from ..model import CompiledResponse
from ..runtime import Progress, double_precision, key, progress
from ..study.study import Study
from . import gaps
from .coordinates import start_of, to_model
from .gaps import Gap, Record
from .nuts import CHUNK, PLAIN_TARGET_ACCEPT, Block, Draws

MOST_COMBINATIONS = 64
"""Combinations of levels of one patient's discrete missing values that are enumerated together."""
WALK_ACCEPT = 0.44
"""Acceptance that random walks in one dimension are tuned to."""


class Chain(NamedTuple):
    """State of one chain: a NUTS state, and the inputs of its coordinates, per block; completed values and log widths ``(p,)`` per gap."""

    nuts: tuple[Any, ...]
    anchors: tuple[Any, ...]
    completed: dict[str, Any]
    width: dict[str, Any]
    key: Any
    i: Any


@dataclass(frozen=True, eq=False)
class Sampler:
    """The programs of one study's blocks and gaps.

    Attributes
    ----------
    study : Study
    compiled : tuple of CompiledResponse
        One per block.
    found : tuple of Gap
    warmup : int
    """

    study: Study
    compiled: tuple[CompiledResponse, ...]
    found: tuple[Gap, ...]
    warmup: int

    @property
    def names(self) -> frozenset[str]:
        """The variables with missing values."""
        return frozenset(g.name for g in self.found)

    def groups(self) -> list[list[Gap]]:
        """Discrete gaps that are enumerated together."""
        made: list[list[Gap]] = []
        for g in self.found:
            if g.levels is None:
                continue
            if made and len(g.levels) * np.prod([len(o.levels) for o in made[-1] if o.levels is not None]) <= MOST_COMBINATIONS:
                made[-1].append(g)
            else:
                made.append([g])
        return made

    # ---- parameters ----------------------------------------------------------------------------------

    def kernels(self) -> list[tuple[Any, Any]]:
        """NUTS of every block: start and step, the data and the inputs of the coordinates as arguments."""

        def of(compiled: CompiledResponse) -> tuple[Any, Any]:
            from numpyro.infer.hmc import hmc

            return hmc(potential_fn_gen=lambda inputs, y, weight, anchor: lambda z: potential(compiled, z, (inputs, y, weight), anchor), algo="NUTS")

        return [of(c) for c in self.compiled]

    def unconstrained(self, chain: Chain) -> list[dict[str, Any]]:
        """Every block's parameters as the compiled density takes them."""
        return [
            to_model_at(c, s.z, a)[0] if c.parameters else {} for c, s, a in zip(self.compiled, chain.nuts, chain.anchors, strict=True)
        ]

    # ---- missing values --------------------------------------------------------------------------------

    def log_joint(self, us: Sequence[Mapping[str, Any]], record: Record, columns: Mapping[str, Any], rows: Any, moved: frozenset[str],
                  without: str = "") -> Any:
        """Log joint density of given patients' records, up to what does not depend on the variables moved; shape (row,).

        Parameters
        ----------
        columns : mapping of str to array, shape (row,)
        rows : array of int, shape (row,)
        moved : frozenset of str
        without : str, optional
            A block whose own density is left out.
        """
        total = jnp.zeros(rows.shape)
        for compiled, u, part in zip(self.compiled, us, record.parts, strict=True):
            if compiled.name != without and (compiled.name in moved or compiled.uses & moved):
                inputs, y, weight = gaps.data_of(compiled, part, columns, compiled.name in self.names, rows)
                density = jnp.broadcast_to(compiled.log_density(u, inputs, y)[0], rows.shape)
                total = total + jnp.where(weight > 0, density, 0.0)
        for decision in self.study.decisions:
            if gaps.looks_at(decision) & moved:
                total = total + gaps.log_assignment(self.study, decision, columns, jnp)
        return jnp.where(jnp.isnan(total), -jnp.inf, total)

    def enumerate(self, group: Sequence[Gap], us: Any, record: Record, columns: dict[str, Any], random: Any) -> dict[str, Any]:
        """Draw the missing values of discrete variables jointly, all combinations of levels weighed."""
        combinations = np.array(list(itertools.product(*(g.levels for g in group if g.levels is not None))))
        count, p = len(combinations), len(record.patients)
        wide = {n: jnp.tile(v, count) for n, v in columns.items()}
        allowed = jnp.ones((count, p), dtype=bool)
        for j, g in enumerate(group):
            values = jnp.broadcast_to(combinations[:, j, None], (count, p))
            allowed &= record.lost[g.name] | (values == columns[g.name])
            wide[g.name] = values.reshape(-1).astype(columns[g.name].dtype)
        moved = frozenset(g.name for g in group)
        logits = self.log_joint(us, record, wide, jnp.tile(record.patients, count), moved).reshape(count, p)
        drawn = jax.random.categorical(random, jnp.where(allowed, logits, -jnp.inf), axis=0)
        return {g.name: jnp.asarray(combinations)[drawn, j].astype(columns[g.name].dtype) for j, g in enumerate(group)}

    def propose(self, g: Gap, us: Any, record: Record, columns: dict[str, Any], random: Any) -> Any:
        """Values from a variable's own model given what comes before it, shape (p,)."""
        from ..model.distributions import quantile

        k = [c.name for c in self.compiled].index(g.name)
        compiled, part = self.compiled[k], record.parts[k]
        inputs, _, _ = gaps.data_of(compiled, part, columns, True, record.patients)
        law = compiled.predict(compiled.constrain(us[k], inputs), inputs)
        return quantile(law, jax.random.uniform(random, record.patients.shape, minval=1e-12), compiled.whole)

    def metropolis(self, g: Gap, us: Any, record: Record, columns: dict[str, Any], width: Any, random: Any) -> tuple[Any, Any]:
        """An independent proposal, then a random walk; the new column, and where the walk was accepted."""
        lost, moved = record.lost[g.name], frozenset({g.name})
        keys = jax.random.split(random, 4)
        new = {**columns, g.name: jnp.where(lost, self.propose(g, us, record, columns, keys[0]), columns[g.name])}
        later = [self.log_joint(us, record, c, record.patients, moved, without=g.name) for c in (columns, new)]
        taken = lost & (jnp.log(jax.random.uniform(keys[1], lost.shape)) < later[1] - later[0])
        columns = {**columns, g.name: jnp.where(taken, new[g.name], columns[g.name])}
        move = jnp.exp(width) * jax.random.normal(keys[2], lost.shape)
        step = columns[g.name] + (jnp.round(move) if g.whole else move)
        new = {**columns, g.name: jnp.where(lost, step, columns[g.name])}
        whole = [self.log_joint(us, record, c, record.patients, moved) for c in (columns, new)]
        possible = lost & (step >= 0) if g.whole else lost
        taken = possible & (jnp.log(jax.random.uniform(keys[3], lost.shape)) < whole[1] - whole[0])
        return jnp.where(taken, new[g.name], columns[g.name]), taken

    def impute(self, us: Any, record: Record, chain: Chain, random: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Redraw everything that is missing; the completed values and the adapted log widths."""
        columns = {n: jnp.asarray(v)[record.patients] for n, v in record.columns.items()}
        columns |= {n: v.astype(columns[n].dtype) for n, v in chain.completed.items()}
        width = dict(chain.width)
        groups = self.groups()
        keys = jax.random.split(random, len(groups) + len(self.found))
        for j, group in enumerate(groups):
            columns |= self.enumerate(group, us, record, columns, keys[j])
        rate = jnp.where(chain.i < self.warmup, (chain.i + 1.0) ** -0.6, 0.0)
        for j, g in enumerate(self.found):
            if g.levels is None:
                columns[g.name], taken = self.metropolis(g, us, record, columns, width[g.name], keys[len(groups) + j])
                width[g.name] = width[g.name] + rate * (taken - WALK_ACCEPT)
        return {g.name: columns[g.name].astype(float) for g in self.found}, width

    # ---- one chain ---------------------------------------------------------------------------------------

    def programs(self, target_accept: float) -> tuple[Any, Any]:
        """Two functions: seed, chain, data and starting values to a state; state and data to the state after a chunk, with draws."""
        kernels = self.kernels()

        def start(seed: Any, number: Any, record: Record, completed: dict[str, Any]) -> Chain:
            columns = gaps.fill(record, completed)
            states, anchors = [], []
            for compiled, (begin, _), part in zip(self.compiled, kernels, record.parts, strict=True):
                data = gaps.data_of(compiled, part, columns, compiled.name in self.names)
                anchors.append(data)
                own = key(seed, compiled.name, number)
                states.append(begin(
                    start_of(compiled, None, data, jax.random.fold_in(own, 0)), num_warmup=self.warmup, target_accept_prob=target_accept,
                    model_args=(*data, data), rng_key=jax.random.fold_in(own, 1),
                ) if compiled.parameters else None)
            width = {g.name: jnp.full(record.patients.shape, np.log(g.spread)) for g in self.found if g.levels is None}
            return Chain(tuple(states), tuple(anchors), completed, width, key(seed, "imputed", number), jnp.zeros((), dtype=int))

        def step(record: Record, chain: Chain) -> tuple[Chain, Any]:
            columns = gaps.fill(record, chain.completed)
            states, stats, values = [], [], []
            for compiled, (_, move), part, state, anchor in zip(self.compiled, kernels, record.parts, chain.nuts, chain.anchors, strict=True):
                data = gaps.data_of(compiled, part, columns, compiled.name in self.names)
                if compiled.parameters:
                    # The data have changed since the last transition, and with them the energy and its gradient.
                    energy, gradient = jax.value_and_grad(lambda z, c=compiled, d=data, a=anchor: potential(c, z, d, a))(state.z)
                    state = move(state._replace(potential_energy=energy, z_grad=gradient), model_args=(*data, anchor))
                    values.append(compiled.constrain(to_model_at(compiled, state.z, anchor)[0], data[0]))
                else:
                    values.append({})
                stats.append({} if state is None else {
                    "diverging": state.diverging, "n_steps": state.num_steps, "acceptance_rate": state.accept_prob,
                    "lp": -state.potential_energy, "energy": state.energy, "step_size": state.adapt_state.step_size,
                })
                states.append(state)
            moved = chain._replace(nuts=tuple(states))
            completed, width = self.impute(self.unconstrained(moved), record, moved, jax.random.fold_in(chain.key, chain.i))
            return moved._replace(completed=completed, width=width, i=chain.i + 1), (tuple(values), tuple(stats), completed)

        def advance(chain: Chain, record: Record) -> tuple[Chain, Any]:
            return jax.lax.scan(lambda c, _: step(record, c), chain, None, length=CHUNK)

        return start, advance


def to_model_at(compiled: CompiledResponse, z: Any, anchor: Any) -> tuple[dict[str, Any], Any]:
    """Unconstrained parameters from the sampler's coordinates (the plain, non-centred ones), and the log Jacobian determinant of the map.

    The anchor is the first completed data, and kept, so that redrawing values does not move parameters.
    """
    return to_model(compiled, z, None, anchor)


def potential(compiled: CompiledResponse, z: Any, data: Any, anchor: Any) -> Any:
    """Negative log posterior density of the completed data in the coordinates of an anchor."""
    u, jacobian = to_model_at(compiled, z, anchor)
    return compiled.potential(u, *data) - jacobian


def _run(programs: Any, record: Record, first: dict[str, np.ndarray], seed: int, number: int, steps: int, warmup: int, bar: Progress,
         stop: threading.Event) -> Any:
    """Run one chain; runs in a worker thread, so it enters the 64-bit context itself."""
    start, advance = programs
    with double_precision():
        chain = start(np.asarray(seed, dtype=np.int64), np.asarray(number, dtype=np.int64), record, first)
        kept = []
        for begin in range(0, steps, CHUNK):
            if stop.is_set():
                raise InterruptedError
            chain, out = advance(chain, record)
            skip = max(warmup - begin, 0)
            if skip < CHUNK:
                kept.append(jax.tree.map(lambda a, skip=skip: np.asarray(a)[skip:], out))
            else:
                jax.block_until_ready(chain.i)
            bar.advance(CHUNK)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *kept)


def sample(
    study: Study, trajectories: Trajectories, blocks: Sequence[Block], found: Sequence[Gap], *, seed: int, draws: int, warmup: int, chains: int,
    target_accept: float = PLAIN_TARGET_ACCEPT, show: str | bool = "auto",
) -> tuple[list[Draws], dict[str, np.ndarray]]:
    """Sample all blocks and all that is missing from their joint posterior.

    Parameters
    ----------
    study : Study
    trajectories : Trajectories
    blocks : sequence of Block
        Responses and modelled covariates.
    found : sequence of Gap
    seed, draws, warmup, chains : int
    target_accept : float
    show : {"auto", True, False}

    Returns
    -------
    list of Draws
        In the order of `blocks`; ``[chain, draw, ...]``.
    dict of str to array, shape (chain, draw, entry)
        Drawn values, in the order of each gap's rows.
    """
    record = gaps.record_of(study, trajectories, blocks, found)
    firsts = [gaps.start(study, trajectories, record, found, seed, c) for c in range(chains)]
    sampler = Sampler(study, tuple(b.compiled for b in blocks), tuple(found), warmup)
    steps = -(-(warmup + draws) // CHUNK) * CHUNK
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool, progress(steps * chains, "sampling", show) as bar:
        try:
            start, advance = sampler.programs(target_accept)
            with double_precision():
                zero = np.zeros((), dtype=np.int64)
                begin = jax.jit(start).lower(zero, zero, record, firsts[0]).compile()
                state = jax.eval_shape(start, zero, zero, record, firsts[0])
                compiled = begin, jax.jit(advance).lower(state, record).compile()
            jobs = [pool.submit(_run, compiled, record, first, seed, c, steps, warmup, bar, stop) for c, first in enumerate(firsts)]
            out = jax.tree.map(lambda *chain: np.stack(chain)[:, :draws], *(job.result() for job in jobs))
        except BaseException:
            stop.set()  # an interrupt ends the other chains at their next chunk instead of waiting for all of them
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    values, stats, completed = out
    results = [Draws(dict(v), dict(s)) for v, s in zip(values, stats, strict=True)]
    return results, {g.name: completed[g.name][..., record.lost[g.name]] for g in found}
