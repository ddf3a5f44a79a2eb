"""Laplace's approximation for looks inside simulations: thousands of trials, every look's posterior in one pass of a compiled program."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import TrialError
from ...inference import many
from ...inference.coordinates import latent
from ...inference.latent import Latent
from ...inference.pareto import smooth
from ...kept import Kept
from ...model import CompiledResponse, compile_response
from ...model.names import CLUSTER_INPUT, location_input, sd_input
from ...runtime import double_precision
from ...schema import NOT_YET
from ...study import Study
from ...study.timeline import finite_values
from ..observed import Observed
from . import quick
from .along import Fitted
from .compiled_tree import check_study
from .lined import LinedLook, LinedPrograms, Part
from .looked import LANES, padded
from .spec import Analysis

CLUSTERS = 16
"""Clusters that a study with clusters may have in a simulation."""
TOGETHER = 16
"""Trials that are fitted side by side: enough that the program's own pace is forgotten, few enough for the processor's cache."""
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
    posterior; means are corrected for the likelihood's skewness (:mod:`quick`, :mod:`bayesdtr.inference.many`). Draws are fixed quasi-random points
    too, the same for all trials, and probabilities are integrated along lines through them (:class:`Lines`): they carry no seed noise, only the
    points' own error, which they state.
    """

    divisible = True

    def __init__(self, study: Study, analysis: Analysis, size: int, *, clusters: int = CLUSTERS):
        check_study(study)
        self.study, self.analysis, self.size = study, analysis, size
        labels = tuple(str(i) for i in range(clusters)) if study.cluster else ()
        self.compiled = {r.name: compile_response(study, r.name, labels) for r in study.responses}
        self.clusters = len(labels)
        for name, c in self.compiled.items():
            if c.parameters and (c.linear is None or not c.linear.affine or not c.linear.predicts):
                raise TrialError(f"Response {name!r}: its model has no linear predictors for Laplace's approximation; use Analysis(engine='nuts').")
        self.models = {n: _latent(study, c) for n, c in self.compiled.items() if c.parameters}
        self.programs = LinedPrograms(study, self.compiled, self.models, analysis.draws)
        self._priors: dict[str, Fitted] = {}
        self._fits = {n: _program(study, self.compiled[n], m, self.programs.uniforms[n]) for n, m in self.models.items()}

    def look(self, data: Observed, replicates: np.ndarray, look: int) -> LinedLook:
        """Posteriors of a batch of trials; see :class:`~bayesdtr.trial.analysis.protocol.Analyst`."""
        if self.clusters and data.cluster is not None and data.cluster.max(initial=0) >= self.clusters:
            raise TrialError(f"Simulated looks of a study with clusters hold up to {self.clusters} of them, and there are {data.cluster.max() + 1}.")
        return LinedLook(self.programs, lambda name: self._fitted(name, data), data)

    def khat(self, data: Observed) -> dict[str, np.ndarray]:
        """How far the approximation may be from the exact posterior: the shape of the tail of the weights that would correct its draws.

        Parameters
        ----------
        data : Observed

        Returns
        -------
        dict of str to array, shape (trial,)
            By response. Below 0.7 weights could make up for what the approximation lacks.
        """
        found = {}
        for name, model in self.models.items():
            columns, cluster = rows_of(self.study, self.compiled[name], data)
            program = Kept(functools.partial(_tails, self.study, self.compiled[name], model, self.programs.uniforms[name]),
                           self.compiled[name].address, "tails of a look", str(self.analysis.draws))
            with double_precision():
                found[name] = np.asarray(program(columns, cluster))
        return found

    def _fitted(self, name: str, data: Observed) -> list[Part]:
        """One response's fits of all trials; where nobody's outcome is known, the prior's, which is the same for all."""
        every = np.arange(data.size)
        if name not in self._fits:
            draws = self.analysis.draws
            nothing = np.zeros((1, draws, 0)), np.zeros((1, 1, 0)), np.zeros((1, 1, 0, 0)), np.ones((1, 1))
            return [Part(every, Fitted({"": np.zeros((1, draws))}, np.zeros((1, draws), dtype=int), *nothing))]
        columns, cluster = rows_of(self.study, self.compiled[name], data)
        known, most = ~np.isnan(columns[name]) & data.enrolled, data.enrolled.shape[1]
        count = known.sum(axis=1)
        widths = np.array([0, *(w for w in WIDTHS if w < most), most])
        mine = widths[np.searchsorted(widths, count)]
        order = np.argsort(~known, axis=1, kind="stable")  # those whose outcome is known first, in the order of enrolment
        parts = []
        for width in np.unique(mine):
            group = np.flatnonzero(mine == width)
            for begin in range(0, len(group) if width else 1, LANES):
                index = group[begin : begin + LANES]
                first = order[index, : max(width, 1)]
                given = {n: padded(np.take_along_axis(v[index], first, axis=1), np.arange(len(index))) for n, v in columns.items()}
                site = None if cluster is None else padded(np.take_along_axis(cluster[index], first, axis=1), np.arange(len(index)))
                parts.append(Part(index, self._run(name, given, site)) if width else Part(group, self._nothing_known(name, given, site)))
        return parts

    def _run(self, name: str, given: dict[str, np.ndarray], cluster: np.ndarray | None) -> Fitted:
        with double_precision():
            return self._fits[name](given, cluster)

    def _nothing_known(self, name: str, given: dict[str, np.ndarray], cluster: np.ndarray | None) -> Fitted:
        """The fit of a trial without any outcome of a response, made once: no trial's columns matter to it."""
        if name not in self._priors:
            self._priors[name] = jax.tree.map(lambda v: np.asarray(v[:1]), self._run(name, given, cluster))
        return self._priors[name]


def rows_of(study: Study, compiled: CompiledResponse, data: Observed) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """A response's own column and those of its history, as they were observed; and clusters."""
    columns = {n: data.columns[n] for n in compiled.history}
    columns[compiled.name] = np.asarray(data.columns[compiled.name], dtype=float)
    return columns, data.cluster if CLUSTER_INPUT in compiled.inputs else None


def _latent(study: Study, compiled: CompiledResponse) -> Latent:
    """The latent structure of a response's model, whatever the data."""
    cluster = np.zeros(1, dtype=int) if CLUSTER_INPUT in compiled.inputs else None
    with double_precision():
        columns = {n: jnp.zeros(1, dtype=float if finite_values(study[n]) is None else int) for n in compiled.history}
        model = latent(compiled, scaled(study, data_of(compiled, {**columns, compiled.name: jnp.ones(1)}, cluster)[0], compiled))
    if model is None:
        raise TrialError(f"Response {compiled.name!r} has too many coefficients for looks; use Analysis(engine='nuts').")
    return model


def _program(study: Study, compiled: CompiledResponse, model: Latent, uniforms: np.ndarray) -> Kept:
    """Columns ``[lane, patient]`` and clusters to a `Fitted` of every lane."""
    with double_precision():
        standard = np.asarray(many.coordinates(jnp.asarray(uniforms[:, 1:])))

    def data(columns: Mapping[str, jax.Array], cluster: jax.Array | None) -> Any:
        inputs, y, weight = data_of(compiled, columns, cluster)
        return scaled(study, inputs, compiled), y, weight

    def fitted(lane: Any, seen: Any) -> Fitted:
        given = data(*lane)
        placed = quick.place(model, seen, given)
        found, point = placed.mixture, placed.mixture.pick(uniforms[:, 0])
        deviations = placed.deviations(point, standard)
        x = found.centres[point] + deviations
        begin, coefficients = compiled.initial(given[0]), frozenset(model.linear.latent)

        def reported(other: jax.Array) -> dict[str, jax.Array]:
            values = compiled.constrain({**begin, **model.other(other)}, given[0])
            return {n: v for n, v in values.items() if n in compiled.parameters and n not in coefficients}

        draws = {n: v[point] for n, v in jax.vmap(reported)(found.others).items()} | jax.vmap(model.named)(x)
        return Fitted({n: draws[n] for n in compiled.parameters}, point, deviations, found.centres, placed.covariances, jnp.exp(found.log_share))

    def program(columns: Any, cluster: Any) -> Fitted:
        # Patients are read for some trials side by side; what follows has numbers enough of one trial's.
        seen = jax.lax.map(lambda lane: quick.find(model, data(*lane)), (columns, cluster), batch_size=TOGETHER)
        return jax.lax.map(lambda given: fitted(*given), ((columns, cluster), seen))

    return Kept(program, compiled.address, "fit of a look", str(len(uniforms)), beside=True)


WIDER = 1.1
"""Scale of the draws' coordinates that are weighed, so that the largest weights are not in their tails."""


def _tails(study: Study, compiled: CompiledResponse, model: Latent, uniforms: np.ndarray, columns: Any, cluster: Any) -> jax.Array:
    """Columns ``[trial, patient]`` to k-hat of each trial."""

    def one(lane: Any) -> jax.Array:
        inputs, y, weight = data_of(compiled, *lane)
        data = scaled(study, inputs, compiled), y, weight
        found = quick.mixture(model, data)
        point, x, z = found.draw(uniforms, WIDER)
        return smooth(found.exact(model, point, x, data) + 0.5 * jnp.sum((z / WIDER) ** 2, axis=1))[1]

    return jax.lax.map(one, (columns, cluster))


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
