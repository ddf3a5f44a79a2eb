"""NUTS at looks: for audits of faster engines, and for studies whose models have no linear predictors."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...inference import nuts
from ...inference.fits import DEPTH
from ...kept import Kept
from ...model import CompiledResponse, compile_response
from ...runtime import double_precision
from ...study import Study
from ..observed import Observed
from .compiled_tree import check_study
from .laplace import CLUSTERS, data_of, rows_of, scaled
from .looked import DrawnLook, TreePrograms
from .spec import Analysis

WARMUP = 300
SEED = 20_261_127
"""Of the chains, which the numbers of replicate and look set apart."""
MOST_LOOKS = 1_000


class NutsAnalyst:
    """An engine for any study, by Markov chains: one for each trial, look and response, a thread a core.

    Parameters
    ----------
    study : Study
        With declared scales.
    analysis : Analysis
    size : int
        Largest number of patients in a trial.
    draws : int, optional
        Of each chain after its warm-up; by default those of the analysis.
    clusters : int
        Most clusters, where the study has any.

    Raises
    ------
    TrialError
        Where the study cannot be simulated at looks.

    Notes
    -----
    A chain's random numbers come from the numbers of the replicate and the look alone.
    """

    divisible = False

    def __init__(self, study: Study, analysis: Analysis, size: int, *, draws: int | None = None, clusters: int = CLUSTERS):
        check_study(study)
        self.study, self.size, self.draws = study, size, draws or analysis.draws
        labels = tuple(str(i) for i in range(clusters)) if study.cluster else ()
        self.compiled = {r.name: compile_response(study, r.name, labels) for r in study.responses}
        self.programs = TreePrograms(study, self.compiled)
        self._chains = {n: _program(study, c, self.draws) for n, c in self.compiled.items() if c.parameters}

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> DrawnLook:
        """Posteriors of a batch of trials; see :class:`~bayesdtr.trial.analysis.protocol.Analyst`."""
        numbers = np.asarray(replicates, dtype=np.int64) * MOST_LOOKS + look
        draws: dict[str, Any] = {n: {"": np.zeros((data.size, self.draws))} for n, c in self.compiled.items() if not c.parameters}
        with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
            for name, program in self._chains.items():
                columns, cluster = rows_of(self.study, self.compiled[name], data)

                def one(i: int, program: Any = program, columns: Any = columns, cluster: Any = cluster) -> dict[str, np.ndarray]:
                    with double_precision():
                        found = program(numbers[i], {n: v[i] for n, v in columns.items()}, None if cluster is None else cluster[i])
                        return jax.tree.map(np.asarray, found)

                parts = [one(0), *pool.map(one, range(1, data.size))]  # the first alone, so that it is compiled once
                draws[name] = {n: np.stack([p[n] for p in parts]) for n in parts[0]}
        return DrawnLook(self.programs, draws, data)


def _program(study: Study, compiled: CompiledResponse, draws: int) -> Kept:
    """A chain's number, columns ``[patient]`` and clusters to draws of the reported parameters, ``[draw, ...]``."""
    return Kept(functools.partial(_chain, study, compiled, draws), compiled.address, "look by nuts", str(draws), beside=True)


def _chain(study: Study, compiled: CompiledResponse, draws: int, number: Any, columns: Any, cluster: Any) -> dict[str, jax.Array]:
    inputs, y, weight = data_of(compiled, columns, cluster)
    data = scaled(study, inputs, compiled), y, weight
    lay_out, start, advance = nuts.programs(compiled, WARMUP, depth=DEPTH)
    made = lay_out(data)
    state = start(jnp.asarray(SEED), number, data, made)
    shapes = jax.eval_shape(lambda s: advance(s, data, made, 1)[1], state)
    kept = {n: jnp.zeros((draws, *a.shape[1:]), a.dtype) for n, a in shapes[0].items() if n in compiled.parameters}

    def step(i: Any, carried: Any) -> Any:
        state, kept = carried
        state, (values, _) = advance(state, data, made, 1)
        return state, {n: v.at[jnp.maximum(i - WARMUP, 0)].set(values[n][0]) for n, v in kept.items()}

    return jax.lax.fori_loop(0, WARMUP + draws, step, (state, kept))[1]
