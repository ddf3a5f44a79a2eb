"""The default model: a linear predictor with shrunken contrasts and interactions, partial pooling over clusters.

Source of the structure: treatment contrasts that sum to zero share a scale ``tau``, so the prior
treats the options alike; interactions share a smaller scale. Everything hierarchical is non-centred.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..schema import CLUSTER
from ..study.conditions import Interval, Test
from ..study.predictor import Column, Contrast, Factor, Numeric, contrast_matrix, default_predictor
from ..study.study import Study
from ..study.timeline import Decision, Response
from .history import History, outcome
from .priors import place


def _factor(factor: Factor, study: Study, history: History) -> pt.TensorVariable:
    """One factor of a column as a symbolic vector over patients."""
    if isinstance(factor, Numeric):
        return history.standardized(factor.name)
    if isinstance(factor, Contrast):
        table = np.zeros(len(history.options(factor.name)))
        rows = [history.options(factor.name).index(o) for o in factor.options]
        table[rows] = contrast_matrix(len(factor.options))[:, factor.index]
        value = pt.constant(table)[history.code(factor.name)]
        node = study[factor.name]
        if isinstance(node, Decision) and _shares_options(node, factor.options):
            value = value * _applies(study, node, factor.options, history)
        return value
    node = study[factor.decision]
    assert isinstance(node, Decision)
    return _holds(study, node, factor.index, history)


def _shares_options(node: Decision, options: tuple[str, ...]) -> bool:
    """Whether an option of a feasible set belongs to another set too, so that its code alone does not tell the set."""
    return any(set(other) & set(options) for other in node.sets if other != options)


def _holds(study: Study, node: Decision, index: int, history: History) -> pt.TensorVariable:
    """Indicator of one of a decision's conditions, symbolic."""
    condition, _ = node.choices[index]
    met = pt.ones_like(history.code(node.name), dtype="float64")
    for name, test in condition.tests:
        column = history.code(name) if name in history.coords else history[name]
        met = met * _test(study, name, test, column)
    return met


def _test(study: Study, name: str, test: Test, column: pt.TensorVariable) -> pt.TensorVariable:
    if isinstance(test, Interval):
        met = pt.ones_like(column, dtype="float64")
        if test.low is not None:
            met = met * pt.cast(pt.ge(column, test.low), "float64")
        if test.high is not None:
            met = met * pt.cast(pt.lt(column, test.high), "float64")
        return met
    return sum(pt.cast(pt.eq(column, study.code(name, label)), "float64") for label in test.labels)


def _applies(study: Study, node: Decision, options: tuple[str, ...], history: History) -> pt.TensorVariable:
    """Indicator that a patient's feasible set is the given one, symbolic."""
    return sum(_holds(study, node, i, history) for i, (_, o) in enumerate(node.choices) if o == options)


def _matrix(columns: tuple[Column, ...], study: Study, history: History) -> pt.TensorVariable:
    """Design matrix of columns, shape (patient, column)."""
    cache: dict[Factor, pt.TensorVariable] = {}
    made = []
    for column in columns:
        product = None
        for factor in column.factors:
            if factor not in cache:
                cache[factor] = _factor(factor, study, history)
            product = cache[factor] if product is None else product * cache[factor]
        made.append(product)
    return pt.stack(made, axis=1)


def build(study: Study, response: Response, history: History) -> pt.TensorVariable:
    """Build the default model inside the current ``pm.Model`` and return the response's variable.

    Free variables: ``intercept``, ``beta``, ``tau``, ``treatment_raw``, ``tau_interaction``,
    ``interaction_raw``, the clusters' scales and raw effects, ``sigma``. Deterministic ones hold the
    effects on the natural scale: ``treatment``, ``interaction`` (dims: columns of the predictor).
    """
    assert response.family is not None
    normal = response.family.link == "identity"
    location, sd = history.scale(response.name) if normal else (pt.constant(0.0), pt.constant(1.0))
    priors = study.priors(response.name)
    predictor = default_predictor(study, response)
    model = pm.modelcontext(None)
    eta = place(priors["intercept"], sd, location=location) + history.zeros
    if predictor.main:
        model.add_coord("covariate", [c.label for c in predictor.main])
        eta = eta + pt.dot(_matrix(predictor.main, study, history), place(priors["beta"], sd, dims="covariate"))
    for address, name, columns in (("tau", "treatment", predictor.treatment), ("tau_interaction", "interaction", predictor.interaction)):
        if columns:
            model.add_coord(f"{name}_contrast", [c.label for c in columns])
            raw = pm.Normal(f"{name}_raw", 0.0, 1.0, dims=f"{name}_contrast")
            effect = pm.Deterministic(name, place(priors[address], sd) * raw, dims=f"{name}_contrast")
            eta = eta + pt.dot(_matrix(columns, study, history), effect)
    if study.cluster:
        level = pm.Normal("cluster_raw", 0.0, 1.0, dims=CLUSTER)
        eta = eta + (place(priors["cluster_sd"], sd) * level)[history.cluster]
        if predictor.latest:
            model.add_coord("cluster_contrast", [c.label for c in predictor.latest])
            slopes = pm.Normal("cluster_treatment_raw", 0.0, 1.0, dims=(CLUSTER, "cluster_contrast"))
            slopes = place(priors["cluster_treatment_sd"], sd) * slopes
            eta = eta + (_matrix(predictor.latest, study, history) * slopes[history.cluster]).sum(axis=1)
    if normal:
        return pm.Normal(outcome(response.name), eta, place(priors["sigma"], sd))
    return pm.Bernoulli(outcome(response.name), logit_p=eta)
