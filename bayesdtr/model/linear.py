"""The latent Gaussian structure of a model with linear predictors, as pure JAX functions.

Coefficients are Normal given the other parameters, predictors are linear in the coefficients, and
each row's likelihood depends on its predictors alone. Engines build their coordinates and
approximations on this; the PyMC model remains the only place where the model is written.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from ..runtime import bridge
from .likelihoods import Outcome

Arrays = Mapping[str, Any]
CURVE = "smooth"
"""Names of coefficients of curves end so."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Coefficients, predictors and rows of a latent Gaussian model.

    Attributes
    ----------
    latent : tuple of str
        Coefficient variables that are Normal given the other parameters; not transformed.
    hyper : tuple of str
        Value variables (unconstrained) of all other parameters.
    parts : int
        Number of linear predictors.
    affine : bool
        Whether the predictors depend on nothing but the latent coefficients, so that `eta` and
        `rows` apply; False where a user's prior made a coefficient other than Normal.
    others : tuple of str
        Parameters, on their own scale, that are no coefficients.
    """

    latent: tuple[str, ...]
    hyper: tuple[str, ...]
    parts: int
    affine: bool
    _inputs: tuple[str, ...]
    _eta: Callable[..., Any] | None
    _prior: Callable[..., Any]
    _rows: Callable[..., Any] | None
    others: tuple[str, ...] = ()
    _given_eta: Callable[..., Any] | None = None

    @property
    def predicts(self) -> bool:
        """Whether the response's distribution depends on the coefficients through the predictors alone, so that `law_at` applies."""
        return self._given_eta is not None

    def design(self, x: Arrays, inputs: Arrays) -> tuple[jax.Array, jax.Array]:
        """Predictors as an offset ``(row, part)`` and slopes ``(row, part, coefficient)`` in the coefficients laid end to end.

        `x` lends the coefficients their shapes only.
        """
        shapes = [jnp.shape(x[n]) for n in self.latent]
        cuts = np.cumsum([math.prod(s) for s in shapes])

        def at(flat: jax.Array) -> jax.Array:
            parts = jnp.split(flat, cuts[:-1])
            return self.eta({n: v.reshape(s) for n, v, s in zip(self.latent, parts, shapes, strict=True)}, inputs)

        origin = jnp.zeros(int(cuts[-1]))
        return at(origin), jax.jacfwd(at)(origin)

    def law_at(self, eta: jax.Array, parameters: Arrays, inputs: Arrays) -> Any:
        """Parameters of the response's distribution given its predictors ``(row, part)`` and all parameters that are no coefficients."""
        assert self._given_eta is not None
        return self._given_eta(eta, *(parameters[n] for n in self.others), *(inputs[n] for n in self._inputs))

    @property
    def curves(self) -> tuple[str, ...]:
        """Coefficients of basis functions of smooth curves."""
        return tuple(n for n in self.latent if n.endswith(CURVE))

    def eta(self, x: Arrays, inputs: Arrays) -> jax.Array:
        """Linear predictors of each row, shape (row, part)."""
        assert self._eta is not None
        return self._eta(*(x[n] for n in self.latent), *(inputs[n] for n in self._inputs))[0]

    def prior(self, hyper: Arrays, inputs: Arrays) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Mean and scale of every latent variable given the other parameters; they broadcast to its shape."""
        values = self._prior(*(hyper[n] for n in self.hyper), *(inputs[n] for n in self._inputs))
        return {n: (jnp.asarray(values[2 * i], float), jnp.asarray(values[2 * i + 1], float)) for i, n in enumerate(self.latent)}

    def rows(self, eta: jax.Array, hyper: Arrays, inputs: Arrays, y: jax.Array) -> jax.Array:
        """Log likelihood of each row given its predictors ``(row, part)``, shape (row,)."""
        assert self._rows is not None
        return self._rows(eta, *(hyper[n] for n in self.hyper), *(inputs[n] for n in self._inputs), y)[0]


def linear_of(
    model: pm.Model, made: Outcome, symbols: Mapping[pt.TensorVariable, pt.TensorVariable], inputs: tuple[str, ...], observed: pt.TensorVariable
) -> Linear:
    """Read the structure off a built PyMC model.

    Parameters
    ----------
    model : pm.Model
    made : Outcome
    symbols : mapping
        Symbolic input of each placeholder, in the order of `inputs`.
    inputs : tuple of str
    observed : vector
        The symbol of the response's values.
    """
    jaxify = bridge().get_jaxified_graph
    ordered = list(symbols.values())
    latent = [v for v in made.effects if v.owner.op.name == "normal"]
    others = [v for v in model.free_RVs if v is not made.variable and v not in latent]
    hyper = [model.rvs_to_values[v] for v in others]
    moments = [m for v in latent for m in v.owner.op.dist_params(v.owner)]
    moments = clone_replace(model.replace_rvs_by_values(moments), replace=dict(symbols), rebuild_strict=False)
    prior = jaxify(inputs=[*hyper, *ordered], outputs=moments)
    names = tuple(v.name for v in latent), tuple(v.name for v in hyper)
    affine = bool(latent) and not set(others) & set(ancestors(made.eta, blockers=latent))
    if not affine:
        return Linear(*names, len(made.eta), False, inputs, None, prior, None)
    given = {v: pt.tensor(f"latent_{i}", dtype=v.dtype, shape=(None,) * v.ndim) for i, v in enumerate(latent)}
    eta = clone_replace([pt.stack(made.eta, axis=1)], replace={**given, **symbols}, rebuild_strict=False)
    predictors = pt.matrix("eta", dtype="float64")
    # The other parameters are replaced in the same pass: a clone of theirs would no longer be known to the model.
    known = dict(zip(others, model.replace_rvs_by_values(others), strict=True)) | {e: predictors[:, k] for k, e in enumerate(made.eta)}
    free = clone_replace([made.variable], replace=known, rebuild_strict=False)[0]
    rows = clone_replace([pm.logp(free, pt.cast(observed, free.dtype))], replace=dict(symbols), rebuild_strict=False)
    own = {v: pt.tensor(f"own_{i}", dtype=v.dtype, shape=(None,) * v.ndim) for i, v in enumerate(others)}
    replaced = {**own, **symbols} | {e: predictors[:, k] for k, e in enumerate(made.eta)}
    law = clone_replace(list(made.parameters), replace=replaced, rebuild_strict=False)
    alone = not set(latent) & set(ancestors(law))
    return Linear(
        *names, len(made.eta), True, inputs,
        jaxify(inputs=[*given.values(), *ordered], outputs=eta), prior,
        jaxify(inputs=[predictors, *hyper, *ordered, observed], outputs=rows),
        tuple(v.name for v in others), jaxify(inputs=[predictors, *own.values(), *ordered], outputs=law) if alone else None,
    )
