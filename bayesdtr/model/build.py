"""Build a response's PyMC model on placeholders, and check what a user's function returned."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from ..errors import ModelError
from ..schema import CLUSTER, NEW_CLUSTER, PATIENT
from ..study.counts import Count, Hurdle, ZeroInflated
from ..study.families import Family
from ..study.models import Saturated, UserModel
from ..study.study import Study
from ..study.timeline import Response, finite_values, labels_of
from . import hierarchical, saturated
from .distributions import FINITE, LAWS, check_carried
from .history import History
from .likelihoods import Outcome
from .names import CLUSTER_INPUT, EFFECT_INPUT, POOLED_INPUT, extra_input, location_input, sd_input


def _placeholders(study: Study, response: Response) -> tuple[dict[str, pt.TensorVariable], History]:
    """Add a ``pm.Data`` per input to the current model; return them and the history made of them."""
    before = study.before(response.name)
    data: dict[str, pt.TensorVariable] = {}
    columns: dict[str, pt.TensorVariable] = {}
    coords: dict[str, tuple[str, ...]] = {}
    for node in before:
        labels = labels_of(node)
        zeros = np.zeros(2, dtype="int64" if labels else "float64")
        data[node.name] = pm.Data(f"history::{node.name}", zeros, dims=PATIENT)
        columns[node.name] = pt.cast(data[node.name], "int64") if labels else data[node.name]
        if labels:
            coords[node.name] = labels
    cluster = None
    if study.cluster:
        data[CLUSTER_INPUT] = pm.Data("history::cluster", np.zeros(2, dtype="int64"), dims=PATIENT)
        cluster = pt.cast(data[CLUSTER_INPUT], "int64")
    effect = None
    if response.name in study.patient_effects:
        effect = data[EFFECT_INPUT] = pm.Data(EFFECT_INPUT, np.zeros(2), dims=PATIENT)
    pooled = None
    if response.name in study.pool_stages[1:]:
        pooled = data[POOLED_INPUT] = pm.Data(POOLED_INPUT, np.zeros(2))
    extras = {}
    for role, _, default in response.columns:
        extras[role] = data[extra_input(response.name, role)] = pm.Data(extra_input(response.name, role), np.full(2, default), dims=PATIENT)
    scales = {}
    for node in [*before, response]:
        if finite_values(node) is None:
            location, sd = location_input(node.name), sd_input(node.name)
            data[location], data[sd] = pm.Data(location, 0.0), pm.Data(sd, 1.0)
            scales[node.name] = (data[location], data[sd])
    return data, History(coords, {n.name: n for n in before}, columns, scales, cluster, extras, effect, pooled)


def build(study: Study, response: Response, clusters: tuple[str, ...]) -> tuple[pm.Model, Outcome, dict[str, pt.TensorVariable]]:
    """Build a response's model; return it with the response and the placeholders by input name.

    Raises
    ------
    ModelError
        When a user's function does not return what is needed.
    """
    coords: dict[str, Any] = {PATIENT: [0, 1]}
    if study.cluster:
        coords[CLUSTER] = [*clusters, NEW_CLUSTER]
    with pm.Model(coords=coords) as model:
        data, history = _placeholders(study, response)
        if isinstance(response.model, UserModel):
            built = _call(response, history)
        elif isinstance(response.model, Saturated):
            return model, saturated.build(study, response, history), data
        else:
            return model, hierarchical.build(study, response, history), data
    if built not in model.free_RVs:
        raise ModelError(
            f"Response {response.name!r}: its model must return an unobserved PyMC random variable made inside it, got {built!r}; "
            f"end the function with, for example, `return pm.Normal({response.name!r}, mu, sigma)`."
        )
    if built.ndim != 1:
        raise ModelError(f"Response {response.name!r}: its model must give one value per patient (1 dimension), got {built.ndim} dimensions.")
    _check_user_model(response, model, built, data)
    for other in model.free_RVs:
        if other is not built and PATIENT in (model.named_vars_to_dims.get(other.name) or ()):
            raise ModelError(
                f"Response {response.name!r}: {other.name!r} has one value per patient, and such are not sampled; name the response in "
                "Study(patient_effects=[...]) and use history.patient_effect, which is integrated over."
            )
    kind = check_carried(built, response.name)
    return model, Outcome(built, kind, tuple(built.owner.op.dist_params(built.owner))), data


def _check_user_model(response: Response, model: pm.Model, built: Any, data: dict[str, pt.TensorVariable]) -> None:
    """Refuse what would be sampled wrongly or left out in silence."""
    for other in model.free_RVs:
        if other is not built and other.dtype.startswith(("int", "bool", "uint")):
            raise ModelError(f"Response {response.name!r}: {other.name!r} is discrete, and the sampler needs continuous parameters; sum it out.")
    for term in (*model.potentials, *model.observed_RVs):
        if set(ancestors([term])) & set(data.values()):
            raise ModelError(
                f"Response {response.name!r}: {term.name!r} is a likelihood term on patients' columns; only the returned variable may be one "
                "(terms on other data, such as an earlier trial, are fine)."
            )
    if response.family is not None and not _agree(response.family, check_carried(built, response.name)):
        raise ModelError(
            f"Response {response.name!r} is declared {response.family.name}, but its model ends in a {check_carried(built, response.name)!r} "
            "distribution; make the two agree or leave the family out."
        )


def _agree(family: Family, kind: str) -> bool:
    """Whether a declared family and the distribution that a user's model ends in take the same kind of values."""
    if family.support is not None or kind in FINITE:
        return family.support == FINITE.get(kind)
    return LAWS[kind].whole == isinstance(family, (Count, ZeroInflated)) or isinstance(family, Hurdle)


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
