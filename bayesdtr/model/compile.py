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
import numpyro.distributions as dist
import pytensor.tensor as pt
from pymc.initial_point import make_initial_point_expression
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from ..runtime import bridge, in_double_precision
from ..schema import PATIENT, variable
from ..study.models import UserModel
from ..study.study import Study
from ..study.timeline import Response
from .build import CLUSTER_INPUT, build, extra_input, input_names
from .distributions import FINITE, LAWS, carried
from .linear import Linear, linear_of
from .linked import JointResponses, LinkedResponse
from .names import EFFECT_INPUT, POOLED

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
    extras : mapping of str to float
        Further inputs with one value per patient, and the value of a patient to come.
    uses : frozenset of str
        The inputs that the response's distribution depends on.
    support : tuple of int, or None
        Finite values of the response (codes of its levels), or None.
    distribution : str
        Key of the distribution that the model ends in.
    linear : Linear or None
        The latent Gaussian structure of a model with linear predictors.
    """

    name: str
    parameters: tuple[str, ...]
    reported: tuple[str, ...]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, tuple[str, ...]]
    inputs: tuple[str, ...]
    history: tuple[str, ...]
    extras: Mapping[str, float]
    uses: frozenset[str]
    support: tuple[int, ...] | None
    distribution: str
    linear: Linear | None
    _value_names: tuple[str, ...]
    _density: Callable[..., Any]
    _constrain: Callable[..., Any]
    _initial: Callable[..., Any]
    _predict: Callable[..., Any]

    @property
    def smooth(self) -> bool:
        """Whether a uniform grid integrates the response's density."""
        return LAWS[self.distribution].smooth

    @property
    def cells(self) -> bool:
        """Whether cells between quantiles carry the response's distribution."""
        return LAWS[self.distribution].cells

    @property
    def whole(self) -> bool:
        """Whether the response takes whole numbers only."""
        return LAWS[self.distribution].whole

    @property
    def by_row(self) -> frozenset[str]:
        """The inputs with one value per patient; the others are shared by all."""
        return frozenset((*self.history, *self.extras, CLUSTER_INPUT, EFFECT_INPUT))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the unconstrained parameters."""
        return self._value_names

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
        return carried(self.distribution, values, inputs[self.history[0]].shape[0])


@functools.lru_cache(maxsize=64)
@in_double_precision  # constants of a graph take their width when it is turned into JAX, not when it runs
def _compile(study: Study, name: str, clusters: tuple[str, ...], function_id: int | None) -> CompiledResponse:
    del function_id  # part of the key only: two closures may share their source
    response = study[name]
    assert isinstance(response, Response)
    model, made, data = build(study, response, clusters)
    variable = made.variable
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
    by_name = {d.name: symbol for d, symbol in symbols.items()}  # PyMC copies the data of an initial point, so they are known by name only
    copies = {a: by_name[a.name] for a in ancestors(start) if a.name in by_name and a.owner is None}
    start = clone_replace(start, replace=copies, rebuild_strict=False) if start else []
    given = {v: pt.tensor(f"given_{i}", dtype=v.dtype, shape=(None,) * v.ndim) for i, v in enumerate(free)}
    parameters = clone_replace(list(made.parameters), replace={**given, **symbols}, rebuild_strict=False)
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
        extras={extra_input(name, role): default for role, _, default in response.columns},
        uses=frozenset(n for n in inputs if symbols[data[n]] in reached),
        support=response.support or FINITE.get(made.kind),
        distribution=made.kind,
        linear=linear_of(model, made, symbols, inputs, observed) if made.eta else None,
        _value_names=tuple(v.name for v in values),
        _density=jaxify(inputs=[*values, *ordered, observed], outputs=density),
        _constrain=jaxify(inputs=[*values, *ordered], outputs=constrained),
        _initial=jaxify(inputs=ordered, outputs=start),
        _predict=jaxify(inputs=[*given.values(), *ordered], outputs=parameters),
    )


def compile_response(study: Study, name: str, clusters: tuple[str, ...] = ()) -> CompiledResponse | LinkedResponse:
    """Compile one response's model; the same structure is compiled once per process.

    A response that shares the patients' effect with others is given with that effect integrated; one
    of pooled stages has their common contrasts among its parameters.

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
    own = given_effect(study, name, clusters)
    if name not in study.shared:
        return own
    earlier = tuple(n for n in study.patient_effects if study.names.index(n) < study.names.index(name)) if name in study.patient_effects else ()
    before = tuple(n for n in study.shared if study.names.index(n) < study.names.index(name))
    needs = any(n in study.pool_stages[1:] for n in (name, *earlier))
    pooled = variable(study.pool_stages[0], POOLED) if needs else ""
    return _linked(own, tuple(given_effect(study, n, clusters) for n in earlier), before, pooled)


def given_effect(study: Study, name: str, clusters: tuple[str, ...] = ()) -> CompiledResponse:
    """Compile one response's model given what it shares with others (a patient's effect, common contrasts) as inputs."""
    response = study[name]
    assert isinstance(response, Response)
    function = response.model.function if isinstance(response.model, UserModel) else None
    return _compile(study, name, clusters, None if function is None else id(function))


@functools.lru_cache(maxsize=64)
def _linked(own: CompiledResponse, earlier: tuple[CompiledResponse, ...], before: tuple[str, ...], pooled: str) -> LinkedResponse:
    return LinkedResponse(own, earlier, before, pooled)


@functools.lru_cache(maxsize=64)
def joint_of(members: tuple[CompiledResponse, ...]) -> JointResponses:
    """The joint density of responses that share something; the same object for the same responses."""
    return JointResponses(members)
