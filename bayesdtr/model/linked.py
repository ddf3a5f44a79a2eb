"""Responses that share a patient's own effect: each response given the patient's history, and their joint density.

The effect `u` is standard Normal and never sampled. Given parameters it is integrated on
Gauss-Hermite nodes, patient by patient: a later response is a mixture over nodes whose weights are the
posterior of `u` given the patient's own earlier responses. So what is predicted for a patient has
learned from that patient, and everything that uses a response's distribution needs no special case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..schema import variable
from .build import CLUSTER_INPUT, EFFECT_INPUT
from .distributions import NodeMixture, log_prob

if TYPE_CHECKING:
    from .compile import CompiledResponse

Arrays = Mapping[str, Any]

NODES = 32
"""Nodes over the patient's effect: exact for polynomials of degree 63 under the standard Normal."""


def nodes() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes of the standard Normal and the logs of their weights, shape (node,)."""
    x, w = np.polynomial.hermite_e.hermegauss(NODES)
    return x, np.log(w / w.sum())


def _repeat(compiled: "CompiledResponse", inputs: Arrays, points: np.ndarray) -> dict[str, Any]:
    """A response's inputs once for each node: rows of the first node, then of the second, and so on."""
    rows = np.shape(inputs[compiled.history[0]])[0]
    repeated = {n: jnp.tile(inputs[n], len(points)) if n in compiled.by_row else inputs[n] for n in compiled.inputs if n != EFFECT_INPUT}
    return {**repeated, EFFECT_INPUT: jnp.repeat(jnp.asarray(points), rows)}


@dataclass(frozen=True, eq=False)
class LinkedResponse:
    """A response given history and parameters with the patient's effect integrated against that history.

    It offers what :class:`CompiledResponse` offers to prediction. Its parameters are its own and, as
    ``response::parameter``, those of the earlier responses that share the effect: they tell what a
    patient's own history says about the effect.

    Attributes
    ----------
    own : CompiledResponse
        Given the effect, one of its inputs.
    earlier : tuple of CompiledResponse
        The responses before it that share the effect.
    """

    own: "CompiledResponse"
    earlier: tuple["CompiledResponse", ...]

    name = property(lambda self: self.own.name)
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
        return (*self.own.parameters, *(variable(e.name, p) for e in self.earlier for p in e.parameters))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all inputs; the effect is none of them."""
        names = dict.fromkeys(n for c in (self.own, *self.earlier) for n in c.inputs)
        return tuple(n for n in names if n != EFFECT_INPUT)

    @property
    def extras(self) -> dict[str, float]:
        """Further inputs with one value per patient."""
        return {n: v for c in (*self.earlier, self.own) for n, v in c.extras.items()}

    @property
    def uses(self) -> frozenset[str]:
        """Inputs that the distribution depends on: earlier responses tell about the patient's effect."""
        return frozenset(n for c in (self.own, *self.earlier) for n in c.uses if n != EFFECT_INPUT) | {e.name for e in self.earlier}

    @property
    def by_row(self) -> frozenset[str]:
        """The inputs with one value per patient."""
        return frozenset((*self.history, *self.extras, CLUSTER_INPUT))

    def log_weights(self, parameters: Arrays, inputs: Arrays) -> jax.Array:
        """Log posterior weight of each node given a patient's earlier responses, shape (node, patient)."""
        points, log_weight = nodes()
        rows = np.shape(inputs[self.history[0]])[0]
        total = jnp.broadcast_to(jnp.asarray(log_weight)[:, None], (NODES, rows))
        for e in self.earlier:
            mine = {p: parameters[variable(e.name, p)] for p in e.parameters}
            value = jnp.tile(jnp.asarray(inputs[e.name], dtype=float), NODES)
            total = total + log_prob(e.predict(mine, _repeat(e, inputs, points)), value).reshape(NODES, rows)
        return total - jax.scipy.special.logsumexp(total, axis=0)

    def predict(self, parameters: Arrays, inputs: Arrays) -> NodeMixture:
        """The response's distribution for each row of inputs."""
        points, _ = nodes()
        return NodeMixture(self.own.predict(parameters, _repeat(self.own, inputs, points)), self.log_weights(parameters, inputs))


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


def _of(member: "CompiledResponse", inputs: Arrays) -> dict[str, Any]:
    """A response's own inputs from a joint density's, the effect at its mean."""
    mine = {n: inputs[joint_input(member.name, n)] for n in member.inputs if n != EFFECT_INPUT}
    return {**mine, EFFECT_INPUT: jnp.zeros(np.shape(mine[member.history[0]]))}


@dataclass(frozen=True, eq=False)
class JointResponses:
    """The joint density of all responses that share the patients' effect, as one block to be sampled.

    Parameters are named ``response::parameter``; inputs :func:`joint_input`; outcomes and weights have
    shape ``(response, patient)``.
    """

    members: tuple["CompiledResponse", ...]

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
        """Inputs of all responses but the effect."""
        return tuple(joint_input(m.name, n) for m in self.members for n in m.inputs if n != EFFECT_INPUT)

    @property
    def linear(self) -> _JointLinear:
        """Prior moments of the Normal coefficients."""
        return _JointLinear(self.members)

    def log_density(self, u: Arrays, inputs: Arrays, y: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of each patient's responses together, shape (patient,), and log prior with Jacobian.

        A response of weight 0 is left out of its patient's integral, whatever it holds.
        """
        points, log_weight = nodes()
        total, priors = jnp.asarray(log_weight)[:, None], jnp.zeros(())
        for k, member in enumerate(self.members):
            mine, own = {n: u[variable(member.name, n)] for n in member.value_names}, _of(member, inputs)
            size = jnp.shape(y)[-1]

            def rows(node, member=member, mine=mine, own=own, k=k, size=size):
                given = {**own, EFFECT_INPUT: jnp.broadcast_to(node, (size,))}
                return member.log_density(mine, given, y[k])

            each, prior = jax.vmap(rows, out_axes=(0, None))(jnp.asarray(points))
            total = total + jnp.where(weight[k] > 0, each, 0.0) * weight[k]
            priors = priors + prior
        return jax.scipy.special.logsumexp(total, axis=0), priors

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
