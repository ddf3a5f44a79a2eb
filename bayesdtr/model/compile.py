"""A response's model as pure JAX functions with data as inputs.

The functions are made from the PyMC model (:mod:`graph`) when the first of them is called. What is known
of a model besides, its parameters, dims and inputs, is kept on disk beside the programs traced from it,
so that a later process that only runs such programs builds no model at all.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from .. import kept
from ..runtime import in_double_precision
from ..schema import variable
from ..study.codec import to_json
from ..study.models import UserModel
from ..study.study import Study
from ..study.timeline import Response
from .linked import JointResponses, LinkedResponse
from .names import CLUSTER_INPUT, EFFECT_INPUT, POOLED

if TYPE_CHECKING:
    from numpyro.distributions import Distribution

    from .distributions import Law
    from .linear import Linear

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What is known of a response's model without its functions; see :class:`CompiledResponse`."""

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
    value_names: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self) | {"uses": sorted(self.uses)}).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> "Facts":
        """From JSON."""
        raw = json.loads(text)
        mappings = {n: {k: tuple(v) for k, v in raw[n].items()} for n in ("dims", "coords")}
        lists = {n: tuple(raw[n]) for n in ("parameters", "reported", "inputs", "history", "value_names")}
        support = None if raw["support"] is None else tuple(raw["support"])
        return cls(**{**raw, **mappings, **lists, "uses": frozenset(raw["uses"]), "support": support})


@dataclass(frozen=True, eq=False)
class Functions:
    """The functions of a response's model, of arrays in the order of their names; `linear` is None without linear predictors."""

    linear: "Linear | None"
    density: Callable[..., Any]
    constrain: Callable[..., Any]
    initial: Callable[..., Any]
    predict: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class CompiledResponse:
    """A response's model as pure functions of parameters and data.

    Unconstrained parameters are a dict by value-variable name, parameters a dict by name, inputs a
    dict by the names in `inputs` (history columns, scales, cluster codes).

    Attributes
    ----------
    name : str
    address : str or None
        What programs traced from its functions are kept under: a digest of study, response and clusters. None for
        a model written by the user, whose function a digest cannot see.
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
    value_names : tuple of str
        Names of the unconstrained parameters.
    linear : Linear or None
        The latent Gaussian structure of a model with linear predictors.
    """

    name: str
    address: str | None
    facts: Facts
    _make: Callable[[], Functions]

    parameters = property(lambda self: self.facts.parameters)
    reported = property(lambda self: self.facts.reported)
    dims = property(lambda self: self.facts.dims)
    coords = property(lambda self: self.facts.coords)
    inputs = property(lambda self: self.facts.inputs)
    history = property(lambda self: self.facts.history)
    extras = property(lambda self: self.facts.extras)
    uses = property(lambda self: self.facts.uses)
    support = property(lambda self: self.facts.support)
    distribution = property(lambda self: self.facts.distribution)
    value_names = property(lambda self: self.facts.value_names)

    @functools.cached_property
    def functions(self) -> Functions:
        """The model's functions, made when first needed."""
        return self._make()

    @property
    def linear(self) -> "Linear | None":
        """The latent Gaussian structure, or None."""
        return self.functions.linear

    @property
    def _law(self) -> "Law":
        from .distributions import LAWS  # NumPyro is imported when a distribution is asked for

        return LAWS[self.distribution]

    @property
    def smooth(self) -> bool:
        """Whether a uniform grid integrates the response's density."""
        return self._law.smooth

    @property
    def cells(self) -> bool:
        """Whether cells between quantiles carry the response's distribution."""
        return self._law.cells

    @property
    def whole(self) -> bool:
        """Whether the response takes whole numbers only."""
        return self._law.whole

    @property
    def by_row(self) -> frozenset[str]:
        """The inputs with one value per patient; the others are shared by all."""
        return frozenset((*self.history, *self.extras, CLUSTER_INPUT, EFFECT_INPUT))

    def log_density(self, u: Arrays, inputs: Arrays, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of each row, shape (patient,), and log prior with Jacobian, scalar."""
        rows, prior = self.functions.density(*(u[n] for n in self.value_names), *(inputs[n] for n in self.inputs), y)
        return rows, prior

    def potential(self, u: Arrays, inputs: Arrays, y: jax.Array, weight: jax.Array) -> jax.Array:
        """Negative log posterior density; a row of weight 0 does not count, whatever it holds."""
        rows, prior = self.log_density(u, inputs, y)
        return -(prior + jnp.sum(jnp.where(weight > 0, rows, 0.0) * weight))

    def constrain(self, u: Arrays, inputs: Arrays) -> dict[str, jax.Array]:
        """Reported quantities from unconstrained parameters."""
        values = self.functions.constrain(*(u[n] for n in self.value_names), *(inputs[n] for n in self.inputs)) if self.reported else ()
        return {n: jnp.asarray(v, dtype=float) for n, v in zip(self.reported, values, strict=True)}

    def initial(self, inputs: Arrays) -> dict[str, jax.Array]:
        """A central unconstrained starting point."""
        values = self.functions.initial(*(inputs[n] for n in self.inputs)) if self.value_names else ()
        return {n: jnp.asarray(v, dtype=float) for n, v in zip(self.value_names, values, strict=True)}

    def predict(self, parameters: Arrays, inputs: Arrays) -> "Distribution":
        """The response's distribution for each row of inputs, batch shape (patient,)."""
        values = self.functions.predict(*(parameters[n] for n in self.parameters), *(inputs[n] for n in self.inputs))
        from .distributions import carried

        return carried(self.distribution, values, inputs[self.history[0]].shape[0])


@in_double_precision  # constants of a graph take their width when it is turned into JAX, not when it runs
def _graphs(study: Study, name: str, clusters: tuple[str, ...]) -> tuple[Facts, Functions]:
    from .graph import graphs  # PyMC is imported when a model is built

    with jax.ensure_compile_time_eval():  # the first call may come from within a trace, whose own arrays must not stay in the functions
        return graphs(study, name, clusters)


@functools.lru_cache(maxsize=64)
def _compile(study: Study, name: str, clusters: tuple[str, ...], function_id: int | None) -> CompiledResponse:
    del function_id  # part of the key only: two closures may share their source
    if isinstance(study[name].model, UserModel):  # type: ignore[union-attr]
        facts, functions = _graphs(study, name, clusters)
        return CompiledResponse(name, None, facts, lambda: functions)
    address = kept.digest(to_json(study), name, *clusters)
    if (text := kept.read(address)) is not None:
        return CompiledResponse(name, address, Facts.from_bytes(text), lambda: _graphs(study, name, clusters)[1])
    facts, functions = _graphs(study, name, clusters)
    kept.write(address, facts.to_bytes())
    return CompiledResponse(name, address, facts, lambda: functions)


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
    return _compile(study.modeled, name, clusters, None if function is None else id(function))


@functools.lru_cache(maxsize=64)
def _linked(own: CompiledResponse, earlier: tuple[CompiledResponse, ...], before: tuple[str, ...], pooled: str) -> LinkedResponse:
    return LinkedResponse(own, earlier, before, pooled)


@functools.lru_cache(maxsize=64)
def joint_of(members: tuple[CompiledResponse, ...]) -> JointResponses:
    """The joint density of responses that share something; the same object for the same responses."""
    return JointResponses(members)
