"""Laws of responses along the rows of a tree of histories, under each draw of a posterior: made to be traced, for one trial's patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...model import CompiledResponse
from ...model.linear import Linear
from ...model.names import CLUSTER_INPUT, location_input, sd_input

Draws = Mapping[str, Mapping[str, jax.Array]]
"""By response and parameter, ``[draw, ...]``."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Rows of the tree: every patient along every path.

    Attributes
    ----------
    columns : dict of str to array
        Patients' own ``(patient, 1, 1)``, traced; along paths ``(1, path, 1)``, NumPy; those that draws differ in ``(patient, path, draw)``.
    count : int
        Number of paths.
    drawn : frozenset of str
        Columns that draws differ in.
    """

    columns: dict[str, Any]
    count: int
    drawn: frozenset[str] = frozenset()

    def take(self, index: np.ndarray) -> "Paths":
        """Some of the paths, repeats allowed."""
        columns = {n: v[:, index] if isinstance(v, np.ndarray) or n in self.drawn else v for n, v in self.columns.items()}
        return Paths(columns, len(index), self.drawn)

    def put(self, name: str, values: Any, *, drawn: bool = False) -> "Paths":
        """Add a column."""
        return Paths({**self.columns, name: values}, self.count, self.drawn | {name} if drawn else self.drawn)


class Reading(NamedTuple):
    """One reading of a response's model by a walk.

    Attributes
    ----------
    name : str
        The response.
    shape : tuple of int
        Of what is nudged, but for the draws: linear predictors ``(row, part)``, or ``(group, coefficient)`` where rows differ by draw.
    slopes : array, shape (group, predictor, coefficient), or None
        Of the predictors of a group's rows, laid end to end, in the coefficients.
    """

    name: str
    shape: tuple[int, ...]
    slopes: jax.Array | None


class Nudges:
    """What is added to a walk's linear predictors, reading by reading, so that its values can be differentiated in them.

    Parameters
    ----------
    groups : int
        Of patients; rows belong to patients that follow one another.
    added : sequence of array, optional
        By reading, in turn, of its shape and ``[..., draw]``; nothing by default.
    """

    def __init__(self, groups: int, added: Any = None):
        self.groups, self.added = groups, added
        self.read: list[Reading] = []

    def next(self, name: str, shape: tuple[int, ...], slopes: jax.Array | None = None) -> Any:
        """What is added to the next reading, and 0 where nothing is."""
        place = len(self.read)
        self.read.append(Reading(name, shape, slopes))
        return 0.0 if self.added is None else self.added[place]


class Laws:
    """Distributions of responses for some patients under each draw.

    Parameters
    ----------
    compiled : mapping of str to CompiledResponse
    scales : mapping of str to Scale
    draws : mapping of str to mapping of str to array, shape (draw, ...)
    cluster : array, shape (patient,), optional
    nudges : Nudges, optional
    """

    def __init__(
        self, compiled: Mapping[str, CompiledResponse], scales: Mapping[str, Any], draws: Draws, cluster: jax.Array | None, nudges: Nudges | None
    ):
        self.compiled, self.scales, self.draws, self.cluster, self.nudges = compiled, scales, draws, cluster, nudges
        self.size = len(next(iter(next(iter(draws.values())).values())))

    def moments(self, name: str, paths: Paths, patients: int) -> tuple[jax.Array, jax.Array]:
        """Mean and SD of a response, ``[patient, path, draw]``."""
        from ...model.distributions import carried, mean_and_variance

        kind = self.compiled[name].distribution

        def summary(parameters: list[Any], rows: int) -> tuple[jax.Array, jax.Array]:
            if kind == "bernoulli":
                p = jnp.broadcast_to(parameters[0], (rows,))
                return p, jnp.sqrt(p * (1 - p))
            mean, variance = mean_and_variance(carried(kind, parameters, rows))
            return mean, jnp.sqrt(variance)

        return self._law(name, paths, patients, summary)

    def probabilities(self, name: str, paths: Paths, patients: int) -> jax.Array:
        """Probabilities of a response's finite values, ``[patient, path, value, draw]``."""
        from ...model.distributions import carried, log_prob

        compiled = self.compiled[name]
        points = jnp.asarray(compiled.support, dtype=float)

        def summary(parameters: list[Any], rows: int) -> jax.Array:
            if compiled.distribution == "bernoulli":
                p = jnp.broadcast_to(parameters[0], (rows,))
                return jnp.stack([1 - p, p], axis=-1)
            return jnp.exp(log_prob(carried(compiled.distribution, parameters, rows), points[:, None])).T

        return self._law(name, paths, patients, summary)

    def predictors(self, name: str, paths: Paths, patients: int) -> tuple[jax.Array, jax.Array]:
        """Linear predictors as offsets ``[patient, path, part]`` and slopes ``[..., coefficient]``, where rows do not differ by draw."""
        compiled, shape = self.compiled[name], (patients, paths.count)
        rows, cluster, flat, _ = self._rows(compiled, paths, shape)
        assert compiled.linear is not None
        mine = {n: self.draws[name][n][0] for n in compiled.linear.latent}
        offset, slopes = compiled.linear.design(mine, self._inputs(name, flat, rows, cluster))
        return offset.reshape(*shape, *offset.shape[1:]), slopes.reshape(*shape, *slopes.shape[1:])

    def _rows(self, compiled: CompiledResponse, paths: Paths, shape: tuple[int, int]) -> tuple[int, Any, dict[str, jax.Array], dict[str, jax.Array]]:
        """Their number, clusters, and columns: those that are the same for all draws ``(row,)`` and the others ``(row, draw)``."""
        rows = shape[0] * shape[1]
        cluster = None if self.cluster is None else jnp.broadcast_to(self.cluster[:, None], shape).ravel()
        typed = {n: jnp.asarray(v, dtype=int if v.dtype.kind == "i" else float) for n, v in paths.columns.items() if n in compiled.history}
        drawn = {n: jnp.broadcast_to(v, (*shape, self.size)).reshape(rows, -1) for n, v in typed.items() if n in paths.drawn and n in compiled.uses}
        return rows, cluster, {n: jnp.broadcast_to(v[..., :1], (*shape, 1)).ravel() for n, v in typed.items() if n not in drawn}, drawn

    def _law(self, name: str, paths: Paths, patients: int, summary: Any) -> Any:
        """A summary of a response's distribution, a function of its parameters' list and the number of rows: ``[patient, path, ..., draw]``."""
        compiled, shape = self.compiled[name], (patients, paths.count)
        mine = {p: self.draws[name][p] for p in compiled.parameters}
        rows, cluster, flat, drawn = self._rows(compiled, paths, shape)
        linear = compiled.linear
        if not drawn and linear is not None and linear.predicts and linear.affine:
            inputs = self._inputs(name, flat, rows, cluster)
            eta = self._predictors(name, linear, mine, inputs)
            found = jax.vmap(lambda e, o: summary(linear.law_at(e, o, inputs), rows), in_axes=(-1, 0), out_axes=-1)(
                eta, {n: mine[n] for n in linear.others})
        else:
            found = self._by_draw(name, mine, {**flat, CLUSTER_INPUT: cluster} if cluster is not None else flat, drawn, rows, summary)
        return jax.tree.map(lambda v: v.reshape(*shape, *v.shape[1:]), found)

    def _predictors(self, name: str, linear: Linear, mine: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]) -> jax.Array:
        """Linear predictors ``[row, part, draw]``."""
        offset, slopes = linear.design({n: mine[n][0] for n in linear.latent}, inputs)
        x = jnp.concatenate([mine[n].reshape(self.size, -1) for n in linear.latent], axis=1)
        eta = jnp.einsum("rkp,pb->rkb", slopes, x.T) + offset[:, :, None]
        if self.nudges is None:
            return eta
        return eta + self.nudges.next(name, offset.shape, slopes.reshape(self.nudges.groups, -1, slopes.shape[-1]))

    def _by_draw(
        self, name: str, mine: Mapping[str, jax.Array], flat: Mapping[str, jax.Array], drawn: Mapping[str, jax.Array], rows: int, summary: Any
    ) -> Any:
        """A summary for rows that differ by draw, or whose law is no function of linear predictors, ``[row, ..., draw]``."""
        compiled, groups, latent = self.compiled[name], 1, ()
        if self.nudges is not None and compiled.linear is not None:
            groups, latent = self.nudges.groups, compiled.linear.latent
            mine = self._nudged(name, latent, mine)
        many = rows // groups

        def one(parameters: Any, flat: Any, drawn: Any) -> Any:
            columns = {**flat, **drawn}
            inputs = self._inputs(name, columns, many, columns.get(CLUSTER_INPUT))
            found = compiled.functions.predict(*(parameters[n] for n in compiled.parameters), *(inputs[n] for n in compiled.inputs))
            return summary(list(found), many)

        over_draws = jax.vmap(one, in_axes=(0, None, -1), out_axes=-1)
        by_group = {n: 0 if n in latent else None for n in mine}
        grouped = jax.tree.map(lambda v: v.reshape(groups, many, *v.shape[1:]), (dict(flat), dict(drawn)))
        found = jax.vmap(over_draws, in_axes=(by_group, 0, 0), axis_size=groups)(dict(mine), *grouped)
        return jax.tree.map(lambda v: v.reshape(rows, *v.shape[2:]), found)

    def _nudged(self, name: str, latent: tuple[str, ...], mine: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Draws of the parameters, the coefficients' by group ``[group, draw, ...]``, with what is added to these."""
        assert self.nudges is not None
        sizes = [int(np.prod(mine[n].shape[1:])) for n in latent]
        added = self.nudges.next(name, (self.nudges.groups, sum(sizes)))
        every = {n: jnp.broadcast_to(mine[n], (self.nudges.groups, *mine[n].shape)) for n in latent}
        if self.nudges.added is not None:
            parts = jnp.split(jnp.swapaxes(added, 1, 2), np.cumsum(sizes)[:-1], axis=2)
            every = {n: every[n] + part.reshape(every[n].shape) for n, part in zip(latent, parts, strict=True)}
        return {**mine, **every}

    def _inputs(self, name: str, columns: Mapping[str, Any], rows: int, cluster: Any) -> dict[str, jax.Array]:
        """Inputs of a compiled response, from columns ``(row,)``."""
        compiled = self.compiled[name]
        given: dict[str, Any] = {n: columns[n] for n in compiled.history}
        given |= {n: jnp.full(rows, float(default)) for n, default in compiled.extras.items()}
        if CLUSTER_INPUT in compiled.inputs:
            given[CLUSTER_INPUT] = cluster
        for n, scale in self.scales.items():
            given[location_input(n)], given[sd_input(n)] = jnp.asarray(scale.location, float), jnp.asarray(scale.sd, float)
        return {n: given[n] for n in compiled.inputs}
