"""Turn a response's PyMC model into pure JAX functions with data as inputs.

A PyMC model is built once per structure on placeholder data. Every ``pm.Data`` is then replaced by
a symbolic input, so the compiled functions serve any patients, any number of rows, any draws, under
``jit`` and ``vmap`` alike.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pymc as pm
import pytensor.tensor as pt
from pymc.initial_point import make_initial_point_expression
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from ..errors import ModelError
from ..runtime import bridge, in_double_precision
from ..schema import CLUSTER, NEW_CLUSTER, PATIENT
from ..study.models import Saturated, UserModel
from ..study.study import Study
from ..study.timeline import Baseline, Decision, Response, finite_values
from . import hierarchical, saturated
from .distributions import FINITE, SMOOTH, carried, check_carried
from .history import History

Arrays = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CompiledResponse:
    """A response's model as pure functions of parameters and data.

    Unconstrained parameters are a dict by value-variable name, parameters a dict by name, inputs a
    dict by the names in `inputs` (history columns, scales, cluster codes).

    Attributes
    ----------
    name : str
    parameters : tuple of str
        Free random variables, which a posterior holds a draw of.
    reported : tuple of str
        Parameters and deterministic quantities, in the order of :meth:`constrain`.
    dims : mapping of str to tuple of str
        Dims of what is reported; coords give their labels.
    inputs, history : tuple of str
        Names of all inputs, and of the columns of the history among them.
    uses : frozenset of str
        The inputs that the response's distribution depends on.
    distribution : str
        Name of the operation that the model ends in.
    """

    name: str
    parameters: tuple[str, ...]
    reported: tuple[str, ...]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, tuple[str, ...]]
    inputs: tuple[str, ...]
    history: tuple[str, ...]
    uses: frozenset[str]
    distribution: str
    _value_names: tuple[str, ...]
    _density: Callable[..., Any]
    _constrain: Callable[..., Any]
    _initial: Callable[..., Any]
    _predict: Callable[..., Any]

    @property
    def support(self) -> tuple[int, ...] | None:
        """Finite values of the response, or None."""
        return FINITE.get(self.distribution)

    @property
    def smooth(self) -> bool:
        """Whether a uniform grid integrates the response's density."""
        return self.distribution in SMOOTH

    def log_density(self, u: Arrays, inputs: Arrays, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of each row, shape (patient,), and log prior with Jacobian, scalar."""
        rows, prior = self._density(*(u[n] for n in self._value_names), *(inputs[n] for n in self.inputs), y)
        return rows, prior

    def potential(self, u: Arrays, inputs: Arrays, y: jax.Array, weight: jax.Array) -> jax.Array:
        """Negative log posterior density; a row of weight 0 does not count, whatever it holds."""
        rows, prior = self.log_density(u, inputs, y)
        return -(prior + jnp.sum(jnp.where(weight > 0, rows, 0.0) * weight))

    def constrain(self, u: Arrays, inputs: Arrays) -> dict[str, jax.Array]:
        """Reported quantities from unconstrained parameters."""
        values = self._constrain(*(u[n] for n in self._value_names), *(inputs[n] for n in self.inputs)) if self.reported else ()
        return {n: jnp.asarray(v, dtype=float) for n, v in zip(self.reported, values, strict=True)}

    def initial(self, inputs: Arrays) -> dict[str, jax.Array]:
        """A central unconstrained starting point."""
        values = self._initial(*(inputs[n] for n in self.inputs)) if self._value_names else ()
        return {n: jnp.asarray(v, dtype=float) for n, v in zip(self._value_names, values, strict=True)}

    def predict(self, parameters: Arrays, inputs: Arrays) -> dist.Distribution:
        """The response's distribution for each row of inputs, batch shape (patient,)."""
        values = self._predict(*(parameters[n] for n in self.parameters), *(inputs[n] for n in self.inputs))
        rows = inputs[self.history[0]].shape[0]
        return carried(self.distribution, [jnp.broadcast_to(v, (rows,)) for v in values])


def input_names(study: Study, response: Response) -> tuple[str, ...]:
    """Names of a response's inputs: history columns, the clusters' codes, then scales."""
    names = [n.name for n in study.before(response.name)]
    if study.cluster:
        names.append(CLUSTER_INPUT)
    for n in [*study.before(response.name), response]:
        if finite_values(n) is None:
            names += [location_input(n.name), sd_input(n.name)]
    return tuple(names)


CLUSTER_INPUT = "cluster::code"


def location_input(name: str) -> str:
    """Name of the input that holds a variable's location."""
    return f"{name}::location"


def sd_input(name: str) -> str:
    """Name of the input that holds a variable's SD."""
    return f"{name}::sd"


def _placeholders(study: Study, response: Response) -> tuple[dict[str, pt.TensorVariable], History]:
    """Add a ``pm.Data`` per input to the current model; return them and the history made of them."""
    before = study.before(response.name)
    data: dict[str, pt.TensorVariable] = {}
    columns: dict[str, pt.TensorVariable] = {}
    coords: dict[str, tuple[str, ...]] = {}
    for node in before:
        labels = node.options if isinstance(node, Decision) else node.levels if isinstance(node, Baseline) else None
        zeros = np.zeros(2, dtype="int64" if labels else "float64")
        data[node.name] = pm.Data(f"history::{node.name}", zeros, dims=PATIENT)
        columns[node.name] = pt.cast(data[node.name], "int64") if labels else data[node.name]
        if labels:
            coords[node.name] = labels
    cluster = None
    if study.cluster:
        data[CLUSTER_INPUT] = pm.Data("history::cluster", np.zeros(2, dtype="int64"), dims=PATIENT)
        cluster = pt.cast(data[CLUSTER_INPUT], "int64")
    scales = {}
    for node in [*before, response]:
        if finite_values(node) is None:
            location, sd = location_input(node.name), sd_input(node.name)
            data[location], data[sd] = pm.Data(location, 0.0), pm.Data(sd, 1.0)
            scales[node.name] = (data[location], data[sd])
    return data, History(coords, {n.name: n for n in before}, columns, scales, cluster)


def _build(study: Study, response: Response, clusters: tuple[str, ...]) -> tuple[pm.Model, pt.TensorVariable, dict[str, pt.TensorVariable]]:
    """Build a response's model on placeholders and check what a user's function returned."""
    coords: dict[str, Any] = {PATIENT: [0, 1]}
    if study.cluster:
        coords[CLUSTER] = [*clusters, NEW_CLUSTER]
    with pm.Model(coords=coords) as model:
        data, history = _placeholders(study, response)
        if isinstance(response.model, UserModel):
            variable = _call(response, history)
        elif isinstance(response.model, Saturated):
            variable = saturated.build(study, response, history)
        else:
            variable = hierarchical.build(study, response, history)
    if variable not in model.free_RVs:
        raise ModelError(
            f"Response {response.name!r}: its model must return an unobserved PyMC random variable made inside it, got {variable!r}; "
            f"end the function with, for example, `return pm.Normal({response.name!r}, mu, sigma)`."
        )
    if variable.ndim != 1:
        raise ModelError(f"Response {response.name!r}: its model must give one value per patient (1 dimension), got {variable.ndim} dimensions.")
    if isinstance(response.model, UserModel):
        _check_user_model(response, model, variable, data)
    for other in model.free_RVs:
        if other is not variable and PATIENT in (model.named_vars_to_dims.get(other.name) or ()):
            raise ModelError(f"Response {response.name!r}: {other.name!r} has one value per patient; patient-level effects are not supported yet.")
    return model, variable, data


def _check_user_model(response: Response, model: pm.Model, variable: Any, data: dict[str, pt.TensorVariable]) -> None:
    """Refuse what would be sampled wrongly or left out in silence."""
    for other in model.free_RVs:
        if other is not variable and other.dtype.startswith(("int", "bool", "uint")):
            raise ModelError(f"Response {response.name!r}: {other.name!r} is discrete, and the sampler needs continuous parameters; sum it out.")
    for term in (*model.potentials, *model.observed_RVs):
        if set(ancestors([term])) & set(data.values()):
            raise ModelError(
                f"Response {response.name!r}: {term.name!r} is a likelihood term on patients' columns; only the returned variable may be one "
                "(terms on other data, such as an earlier trial, are fine)."
            )
    if response.family is not None and response.family.support != FINITE.get(check_carried(variable, response.name)):
        raise ModelError(
            f"Response {response.name!r} is declared {response.family.name}, but its model ends in a {check_carried(variable, response.name)!r} "
            "distribution; make the two agree or leave the family out."
        )


def _call(response: Response, history: History) -> Any:
    assert isinstance(response.model, UserModel)
    function = response.model.found().function if response.model.function is None else response.model.function
    assert function is not None
    try:
        variable = function(history)
    except ModelError:
        raise
    except Exception as error:  # whatever a user's function raises is about that function
        raise ModelError(f"Response {response.name!r}: its model {response.model.address!r} failed: {type(error).__name__}: {error}") from error
    if variable is None:
        raise ModelError(f"Response {response.name!r}: its model {response.model.address!r} returned nothing; return the response's random variable.")
    return variable


@functools.lru_cache(maxsize=64)
@in_double_precision  # constants of a graph take their width when it is turned into JAX, not when it runs
def _compile(study: Study, name: str, clusters: tuple[str, ...], function_id: int | None) -> CompiledResponse:
    del function_id  # part of the key only: two closures may share their source
    response = study[name]
    assert isinstance(response, Response)
    model, variable, data = _build(study, response, clusters)
    distribution = check_carried(variable, name)
    jaxify = bridge().get_jaxified_graph
    inputs = input_names(study, response)
    symbols = {data[n]: pt.tensor(n.replace("::", "_"), dtype=data[n].dtype, shape=(None,) * data[n].ndim) for n in inputs}
    free = [v for v in model.free_RVs if v is not variable]
    kept = [*free, *(d for d in model.deterministics if PATIENT not in (model.named_vars_to_dims.get(d.name) or ()))]
    observed = pt.vector("response", dtype="float64")
    model.rvs_to_transforms[variable] = None  # outcomes are observed as they are, not on the transformed scale of a parameter
    y = model.rvs_to_values[variable]
    values = [model.rvs_to_values[v] for v in free]
    rows = model.logp(vars=[variable], jacobian=False, sum=False)[0]
    others = [*free, *model.potentials, *model.observed_RVs]
    prior = model.logp(vars=others, sum=True) if others else pt.constant(0.0)
    density = clone_replace([rows, prior], replace={**symbols, y: pt.cast(observed, y.dtype)}, rebuild_strict=False)
    constrained = clone_replace(model.replace_rvs_by_values(kept), replace=symbols, rebuild_strict=False) if kept else []
    start = make_initial_point_expression(
        free_rvs=free, rvs_to_transforms=model.rvs_to_transforms, initval_strategies=model.rvs_to_initial_values, return_transformed=True
    ) if free else []
    start = clone_replace(start, replace=symbols, rebuild_strict=False) if start else []
    given = {v: pt.tensor(f"given_{i}", dtype=v.dtype, shape=(None,) * v.ndim) for i, v in enumerate(free)}
    parameters = clone_replace(list(variable.owner.op.dist_params(variable.owner)), replace={**given, **symbols}, rebuild_strict=False)
    ordered = [symbols[data[n]] for n in inputs]
    reached = set(ancestors(parameters))
    return CompiledResponse(
        name=name,
        parameters=tuple(v.name for v in free),
        reported=tuple(v.name for v in kept),
        dims={v.name: tuple(d for d in model.named_vars_to_dims.get(v.name) or () if d is not None) for v in kept},
        coords={d: tuple(map(str, c)) for d, c in model.coords.items() if d != PATIENT and c is not None},
        inputs=inputs,
        history=tuple(n.name for n in study.before(name)),
        uses=frozenset(n for n in inputs if symbols[data[n]] in reached),
        distribution=distribution,
        _value_names=tuple(v.name for v in values),
        _density=jaxify(inputs=[*values, *ordered, observed], outputs=density),
        _constrain=jaxify(inputs=[*values, *ordered], outputs=constrained),
        _initial=jaxify(inputs=ordered, outputs=start),
        _predict=jaxify(inputs=[*given.values(), *ordered], outputs=parameters),
    )


def compile_response(study: Study, name: str, clusters: tuple[str, ...] = ()) -> CompiledResponse:
    """Compile one response's model; the same structure is compiled once per process.

    Parameters
    ----------
    study : Study
    name : str
        A response.
    clusters : tuple of str
        Labels of the observed clusters; one more, never seen, is added.

    Raises
    ------
    ModelError
        When a user's function does not build what is needed, or ends in a distribution that cannot be carried.
    """
    response = study[name]
    assert isinstance(response, Response)
    function = response.model.function if isinstance(response.model, UserModel) else None
    return _compile(study, name, clusters, None if function is None else id(function))
