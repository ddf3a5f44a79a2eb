"""Responses that share something: each response given the patient's history, and their joint density.

Pooled stages share the contrasts of their latest decision's options, a parameter that belongs to the
first of them. A patient's own effect `u` is standard Normal and never sampled. Given parameters it is integrated on
Gauss-Hermite nodes, patient by patient (:mod:`quadrature`): a later response is a mixture over nodes whose weights are the
posterior of `u` given the patient's own earlier responses. So what is predicted for a patient has
learned from that patient, and everything that uses a response's distribution needs no special case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..kept import digest
from ..schema import variable
from .names import CLUSTER_INPUT, EFFECT_INPUT, POOLED, POOLED_DIM, POOLED_INPUT
from .quadrature import LogLikelihood, log_integral, placed

if TYPE_CHECKING:
    from .compile import CompiledResponse

Arrays = Mapping[str, Any]

def _address(*compiled: "CompiledResponse", also: tuple[str, ...] = ()) -> str | None:
    """What programs of several responses together are kept under; None where one of them is kept under nothing."""
    addresses = [c.address for c in compiled if c.address is not None]
    return digest(*addresses, *also) if len(addresses) == len(compiled) else None


HIDDEN = (EFFECT_INPUT, POOLED_INPUT)
"""Inputs of a compiled response that are no data: integrated over, or a parameter of another response."""


def _given(compiled: "CompiledResponse", inputs: Arrays, pooled: Any = None, effects: Any = None) -> dict[str, Any]:
    """A response's inputs with those that are no data.

    `effects`, shape ``(node, patient)``, repeats the rows once for each node, those of the first node first. Without it each row stands
    once, with the effect at its mean; without `pooled` the common contrasts are 0.
    """
    rows = np.shape(inputs[compiled.history[0]])[0]
    times = 1 if effects is None else len(effects)
    found = {n: jnp.tile(inputs[n], times) if n in compiled.by_row else inputs[n] for n in compiled.inputs if n not in HIDDEN}
    if EFFECT_INPUT in compiled.inputs:
        found[EFFECT_INPUT] = jnp.zeros(rows) if effects is None else effects.ravel()
    if POOLED_INPUT in compiled.inputs:
        found[POOLED_INPUT] = jnp.zeros(len(compiled.coords[POOLED_DIM])) if pooled is None else pooled
    return found


@dataclass(frozen=True, eq=False)
class LinkedResponse:
    """A response given history and parameters, with the patient's effect integrated against that history.

    It offers what :class:`CompiledResponse` offers to prediction. Its parameters are its own and, as
    ``response::parameter``, those of other responses that it depends on: of the earlier ones that
    share the effect, since they tell what a patient's own history says about the effect, and the
    contrasts common to pooled stages.

    Attributes
    ----------
    own : CompiledResponse
        Given the effect and the common contrasts, where these are among its inputs.
    earlier : tuple of CompiledResponse
        The responses before it that share the effect.
    before : tuple of str
        All earlier responses whose parameters it shares; a patient's own history tells about these.
    pooled : str
        Full name of the parameter that holds the common contrasts; empty where this is no later pooled stage.
    """

    own: "CompiledResponse"
    earlier: tuple["CompiledResponse", ...]
    before: tuple[str, ...]
    pooled: str

    name = property(lambda self: self.own.name)
    address = property(lambda self: _address(self.own, *self.earlier, also=(*self.before, self.pooled)))
    reported = property(lambda self: self.own.reported)
    dims = property(lambda self: self.own.dims)
    coords = property(lambda self: self.own.coords)
    history = property(lambda self: self.own.history)
    support = property(lambda self: self.own.support)
    distribution = property(lambda self: self.own.distribution)
    smooth = property(lambda self: self.own.smooth)
    whole = property(lambda self: self.own.whole)
    linear = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Own parameters, then those of earlier responses under their full names."""
        others = [variable(e.name, p) for e in self.earlier for p in e.parameters]
        shared = [self.pooled] if self.pooled else []
        return (*self.own.parameters, *dict.fromkeys([*others, *shared]))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all inputs that are data."""
        names = dict.fromkeys(n for c in (self.own, *self.earlier) for n in c.inputs)
        return tuple(n for n in names if n not in HIDDEN)

    @property
    def extras(self) -> dict[str, float]:
        """Further inputs with one value per patient."""
        return {n: v for c in (*self.earlier, self.own) for n, v in c.extras.items()}

    @property
    def uses(self) -> frozenset[str]:
        """Inputs that the distribution depends on: earlier responses tell about what is shared."""
        return frozenset(n for c in (self.own, *self.earlier) for n in c.uses if n not in HIDDEN) | set(self.before)

    @property
    def by_row(self) -> frozenset[str]:
        """The inputs with one value per patient."""
        return frozenset((*self.history, *self.extras, CLUSTER_INPUT))

    def _common(self, parameters: Arrays) -> Any:
        """The common contrasts under given parameters, or None."""
        return parameters[self.pooled] if self.pooled else None

    def _before(self, parameters: Arrays, inputs: Arrays) -> LogLikelihood:
        """Log likelihood of each patient's earlier responses that share the effect, given the effect."""
        from .distributions import log_prob

        def found(effect):
            total = jnp.zeros(jnp.shape(effect))
            for e in self.earlier:
                mine = {p: parameters[variable(e.name, p)] for p in e.parameters}
                given = _given(e, inputs, self._common(parameters), effect[None])
                total = total + log_prob(e.predict(mine, given), jnp.asarray(inputs[e.name], dtype=float))
            return total

        return found

    def log_weights(self, parameters: Arrays, inputs: Arrays) -> tuple[jax.Array, jax.Array]:
        """Nodes of the effect and the logs of their posterior weights given a patient's earlier responses, shape (node, patient)."""
        before = self._before(parameters, inputs)
        points, log_weight = placed(before, np.shape(inputs[self.history[0]])[0])
        total = log_weight + jax.vmap(before)(points)
        return points, total - jax.scipy.special.logsumexp(total, axis=0)

    def predict(self, parameters: Arrays, inputs: Arrays) -> Any:
        """The response's distribution for each row of inputs."""
        from .distributions import NodeMixture

        if EFFECT_INPUT not in self.own.inputs:
            return self.own.predict(parameters, _given(self.own, inputs, self._common(parameters)))
        points, log_weights = self.log_weights(parameters, inputs)
        return NodeMixture(self.own.predict(parameters, _given(self.own, inputs, self._common(parameters), points)), log_weights)

    def log_prob(self, parameters: Arrays, inputs: Arrays, y: jax.Array) -> jax.Array:
        """Log density of each row's outcome given its history.

        As a ratio of integrals, each with nodes of its own: the mixture of :meth:`predict` is placed by the
        history, and its density between two nodes is too small where the residual SD is.
        """
        from .distributions import log_prob

        if EFFECT_INPUT not in self.own.inputs:
            return log_prob(self.predict(parameters, inputs), y)
        before, size = self._before(parameters, inputs), np.shape(inputs[self.history[0]])[0]

        def with_own(effect):
            given = _given(self.own, inputs, self._common(parameters), effect[None])
            return before(effect) + log_prob(self.own.predict(parameters, given), y)

        return log_integral(with_own, with_own, size) - log_integral(before, before, size)


@dataclass(frozen=True, eq=False)
class _JointLinear:
    """Means and scales of the Normal coefficients of several responses; their predictors do not stand alone."""

    members: tuple["CompiledResponse", ...]
    affine = False

    @property
    def latent(self) -> tuple[str, ...]:
        return tuple(variable(m.name, n) for m in self.members if m.linear for n in m.linear.latent)

    def prior(self, hyper: Arrays, inputs: Arrays) -> dict[str, tuple[jax.Array, jax.Array]]:
        found = {}
        for m in self.members:
            if m.linear:
                mine = {n: hyper[variable(m.name, n)] for n in m.linear.hyper}
                found |= {variable(m.name, n): v for n, v in m.linear.prior(mine, _of(m, inputs)).items()}
        return found


def joint_input(response: str, name: str) -> str:
    """Name of a response's input among those of a joint density."""
    return f"{response}|{name}"


def _of(member: "CompiledResponse", inputs: Arrays, pooled: Any = None) -> dict[str, Any]:
    """A response's own inputs from a joint density's, the effect at its mean."""
    return _given(member, {n: inputs[joint_input(member.name, n)] for n in member.inputs if n not in HIDDEN}, pooled)


@dataclass(frozen=True, eq=False)
class JointResponses:
    """The joint density of all responses that share something, the patients' effect or common contrasts, as one block to be sampled.

    Parameters are named ``response::parameter``; inputs :func:`joint_input`; outcomes and weights have
    shape ``(response, patient)``.
    """

    members: tuple["CompiledResponse", ...]
    address = property(lambda self: _address(*self.members))

    @property
    def name(self) -> str:
        """Names of the responses, joined."""
        return " + ".join(m.name for m in self.members)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Parameters of all responses."""
        return tuple(variable(m.name, p) for m in self.members for p in m.parameters)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs of all responses that are data."""
        return tuple(joint_input(m.name, n) for m in self.members for n in m.inputs if n not in HIDDEN)

    @property
    def linear(self) -> _JointLinear:
        """Prior moments of the Normal coefficients."""
        return _JointLinear(self.members)

    def log_density(self, u: Arrays, inputs: Arrays, y: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of each patient's responses together, shape (patient,), and log prior with Jacobian.

        A response of weight 0 is left out of its patient's integral, whatever it holds.
        """
        size = jnp.shape(y)[-1]

        def rows(member, k, u, effect):
            common = next((u[variable(m.name, POOLED)] for m in self.members if POOLED in m.parameters), None)
            mine = {n: u[variable(member.name, n)] for n in member.value_names}
            own = _of(member, inputs, common)
            own = {**own, EFFECT_INPUT: effect} if EFFECT_INPUT in own else own
            each, prior = member.log_density(mine, own, y[k])
            return jnp.where(weight[k] > 0, each, 0.0) * weight[k], prior

        def shared(u, effect):
            return sum(rows(m, k, u, effect)[0] for k, m in enumerate(self.members) if EFFECT_INPUT in m.inputs)

        everything = [rows(m, k, u, jnp.zeros(size)) for k, m in enumerate(self.members)]
        priors = sum((prior for _, prior in everything), jnp.zeros(()))
        total = sum((r for (r, _), m in zip(everything, self.members, strict=True) if EFFECT_INPUT not in m.inputs), jnp.zeros(size))
        if any(EFFECT_INPUT in m.inputs for m in self.members):
            fixed = jax.tree.map(jax.lax.stop_gradient, dict(u))
            total = total + log_integral(lambda effect: shared(u, effect), lambda effect: shared(fixed, effect), size)
        return total, priors

    def potential(self, u: Arrays, inputs: Arrays, y: jax.Array, weight: jax.Array) -> jax.Array:
        """Negative log posterior density."""
        rows, prior = self.log_density(u, inputs, y, weight)
        return -(prior + jnp.sum(rows))

    def constrain(self, u: Arrays, inputs: Arrays) -> dict[str, jax.Array]:
        """Reported quantities of all responses from unconstrained parameters."""
        found = {}
        for m in self.members:
            mine = {n: u[variable(m.name, n)] for n in m.value_names}
            found |= {variable(m.name, n): v for n, v in m.constrain(mine, _of(m, inputs)).items()}
        return found

    def initial(self, inputs: Arrays) -> dict[str, jax.Array]:
        """A central unconstrained starting point."""
        return {variable(m.name, n): v for m in self.members for n, v in m.initial(_of(m, inputs)).items()}
