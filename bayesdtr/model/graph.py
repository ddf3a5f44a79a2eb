"""From a response's PyMC model to pure JAX functions.

A PyMC model is built once per structure on placeholder data. Every ``pm.Data`` is then replaced by
a symbolic input, so the functions serve any patients, any number of rows, any draws, under ``jit``
and ``vmap`` alike.
"""

import pytensor.tensor as pt
from pymc.initial_point import make_initial_point_expression
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from ..runtime import bridge
from ..schema import PATIENT
from ..study.study import Study
from ..study.timeline import Response
from .build import build
from .compile import Facts, Functions
from .distributions import FINITE
from .linear import linear_of
from .names import extra_input, input_names


def graphs(study: Study, name: str, clusters: tuple[str, ...]) -> tuple[Facts, Functions]:
    """Build one response's model and turn it into functions; call it in double precision.

    Raises
    ------
    ModelError
        When a user's function does not build what is needed, or ends in a distribution that cannot be carried.
    """
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
    facts = Facts(
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
        value_names=tuple(v.name for v in values),
    )
    return facts, Functions(
        linear=linear_of(model, made, symbols, inputs, observed) if made.eta else None,
        density=jaxify(inputs=[*values, *ordered, observed], outputs=density),
        constrain=jaxify(inputs=[*values, *ordered], outputs=constrained),
        initial=jaxify(inputs=ordered, outputs=start),
        predict=jaxify(inputs=[*given.values(), *ordered], outputs=parameters),
    )
