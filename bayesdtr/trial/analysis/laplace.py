"""Laplace's approximation for looks inside simulations: thousands of trials, every look's posterior in one pass of a compiled program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import TrialError
from ...inference.coordinates import latent
from ...kept import Kept
from ...model import CompiledResponse, compile_response
from ...model.names import CLUSTER_INPUT, location_input, sd_input
from ...runtime import double_precision
from ...schema import NOT_YET
from ...study import Study
from ..observed import Observed
from . import quick
from .compiled_tree import check_study
from .looked import LANES, DrawnLook, TreePrograms, padded
from .spec import Analysis

CLUSTERS = 16
"""Clusters that a study with clusters may have in a simulation."""
WIDTHS = (64, 128)
"""Rows that early looks are read with; later ones with as many as the largest size. By each trial's own patients, so that no other trial's matter."""


class LaplaceAnalyst:
    """An engine for any study whose responses have linear predictors.

    Parameters
    ----------
    study : Study
        With declared scales.
    analysis : Analysis
    size : int
        Largest number of patients in a trial.
    clusters : int
        Most clusters, where the study has any.

    Raises
    ------
    TrialError
        Where a response has no linear predictors, or the study cannot be simulated at looks.

    Notes
    -----
    Every response's coefficients are Normal given the few other parameters, which are integrated over fixed quasi-random points stretched to each
    posterior; means are corrected for the likelihood's skewness (:mod:`bayesdtr.inference.many`). Draws are fixed quasi-random points too,
    the same for all trials: probabilities carry no seed noise, only the points' own error, which :class:`Drawn` states.
    """

    def __init__(self, study: Study, analysis: Analysis, size: int, *, clusters: int = CLUSTERS):
        check_study(study)
        self.study, self.analysis, self.size = study, analysis, size
        labels = tuple(str(i) for i in range(clusters)) if study.cluster else ()
        self.compiled = {r.name: compile_response(study, r.name, labels) for r in study.responses}
        self.clusters = len(labels)
        for name, c in self.compiled.items():
            if c.parameters and (c.linear is None or not c.linear.affine or not c.linear.predicts):
                raise TrialError(f"Response {name!r}: its model has no linear predictors for Laplace's approximation; use Analysis(engine='nuts').")
        self.programs = TreePrograms(study, self.compiled)
        self._fits = {n: _program(study, c, analysis.draws) for n, c in self.compiled.items() if c.parameters}

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> DrawnLook:
        """Posteriors of a batch of trials; see :class:`~bayesdtr.trial.analysis.protocol.Analyst`."""
        if self.clusters and data.cluster is not None and data.cluster.max(initial=0) >= self.clusters:
            raise TrialError(f"Simulated looks of a study with clusters hold up to {self.clusters} of them, and there are {data.cluster.max() + 1}.")
        draws: dict[str, dict[str, np.ndarray]] = {}
        for name, program in self._fits.items():
            draws[name] = self._drawn(program, self.compiled[name], data)
        for name, c in self.compiled.items():
            draws.setdefault(name, {"": np.zeros((data.size, self.analysis.draws))} if not c.parameters else {})
        khat = {n: d.pop(quick.KHAT) for n, d in draws.items() if quick.KHAT in d}
        return DrawnLook(self.programs, draws, data, khat)

    def _drawn(self, program: Kept, compiled: CompiledResponse, data: Observed) -> dict[str, np.ndarray]:
        """Draws of one response's parameters, ``[trial, draw, ...]``."""
        columns, cluster = rows_of(self.study, compiled, data)
        seen = data.enrolled.shape[1]
        last = np.where(data.enrolled.any(axis=1), seen - np.argmax(data.enrolled[:, ::-1], axis=1), 0)
        widths = np.array([*(w for w in WIDTHS if w < seen), seen])
        mine = widths[np.searchsorted(widths, last)]
        out: dict[str, np.ndarray] = {}
        with double_precision():
            for width in np.unique(mine):
                group = np.flatnonzero(mine == width)
                for begin in range(0, len(group), LANES):
                    index = group[begin : begin + LANES]
                    given = {n: padded(v[:, :width], index) for n, v in columns.items()}
                    found = program(given, None if cluster is None else padded(cluster[:, :width], index))
                    for n, v in found.items():
                        v = np.asarray(v)
                        out.setdefault(n, np.empty((data.size, *v.shape[1:])))[index] = v[: len(index)]
        return out


def rows_of(study: Study, compiled: CompiledResponse, data: Observed) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """A response's own column and those of its history, as they were observed; and clusters."""
    columns = {n: data.columns[n] for n in compiled.history}
    columns[compiled.name] = np.asarray(data.columns[compiled.name], dtype=float)
    return columns, data.cluster if CLUSTER_INPUT in compiled.inputs else None


def _program(study: Study, compiled: CompiledResponse, draws: int) -> Kept:
    """Columns ``[lane, patient]`` to draws of the reported parameters, ``[lane, draw, ...]``."""
    return Kept(jax.vmap(lambda columns, cluster: _approximated(study, compiled, draws, columns, cluster)), compiled.address, "look", str(draws))


def _approximated(
    study: Study, compiled: CompiledResponse, draws: int, columns: Mapping[str, jax.Array], cluster: jax.Array | None
) -> dict[str, jax.Array]:
    inputs, y, weight = data_of(compiled, columns, cluster)
    data = scaled(study, inputs, compiled), y, weight
    if latent(compiled, data[0]) is None:
        raise TrialError(f"Response {compiled.name!r} has too many coefficients for looks; use Analysis(engine='nuts').")
    found = quick.approximate(compiled, data, draws)
    return {n: found[n] for n in (*compiled.parameters, *([quick.KHAT] if quick.KHAT in found else []))}


def data_of(compiled: CompiledResponse, columns: Mapping[str, jax.Array], cluster: jax.Array | None) -> tuple[dict[str, Any], jax.Array, jax.Array]:
    """Inputs, outcomes and weights of one trial: whoever lacks the response weighs nothing, and the first who has it stands in."""
    y = columns[compiled.name]
    seen = ~jnp.isnan(y)
    where = jnp.where(seen, jnp.arange(len(y)), jnp.argmax(seen))
    inputs: dict[str, Any] = {}
    for name in compiled.history:
        column = columns[name][where]
        inputs[name] = jnp.where(column == NOT_YET, 0, column) if jnp.issubdtype(column.dtype, jnp.integer) else jnp.nan_to_num(column)
    inputs |= {n: jnp.full(len(y), float(default)) for n, default in compiled.extras.items()}
    if cluster is not None:
        inputs[CLUSTER_INPUT] = cluster[where]
    return inputs, jnp.where(seen.any(), jnp.nan_to_num(y[where]), 1.0), seen.astype(float)


def scaled(study: Study, inputs: dict[str, Any], compiled: CompiledResponse) -> dict[str, Any]:
    """Inputs with the study's declared scales, in the order of the compiled response."""
    for name, scale in study.scales:
        inputs[location_input(name)], inputs[sd_input(name)] = jnp.asarray(scale.location, float), jnp.asarray(scale.sd, float)
    return {n: inputs[n] for n in compiled.inputs}
