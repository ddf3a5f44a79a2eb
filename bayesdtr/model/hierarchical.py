"""The default model: a linear predictor with shrunken contrasts and interactions, partial pooling over clusters.

Source of the structure: treatment contrasts that sum to zero share a scale ``tau``, so the prior
treats the options alike; interactions share a smaller scale.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..schema import CLUSTER
from ..study.conditions import Interval, Test
from ..study.predictor import Column, Contrast, Factor, Numeric, contrast_matrix, default_predictor
from ..study.study import Study
from ..study.timeline import Decision, Response
from .history import History
from .likelihoods import Outcome, likelihood
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


def build(study: Study, response: Response, history: History) -> Outcome:
    """Build the default model inside the current ``pm.Model``.

    Every coefficient is written centred, Normal given its scale, so that draws are effects on the
    natural scale: ``intercept``, ``beta``, ``treatment`` (scale ``tau``), ``interaction`` (scale
    ``tau_interaction``), ``cluster_effect``, ``cluster_treatment``. Engines choose their own coordinates.
    """
    assert response.family is not None
    normal = response.family.link == "identity"
    location, sd = history.scale(response.name) if normal else (pt.constant(0.0), pt.constant(1.0))
    priors = study.priors(response.name)
    predictor = default_predictor(study, response)
    model = pm.modelcontext(None)
    effects = [place(priors["intercept"], sd, location=location)]
    eta = effects[0] + history.zeros
    if predictor.main:
        model.add_coord("covariate", [c.label for c in predictor.main])
        effects.append(place(priors["beta"], sd, dims="covariate"))
        eta = eta + pt.dot(_matrix(predictor.main, study, history), effects[-1])
    for address, name, columns in (("tau", "treatment", predictor.treatment), ("tau_interaction", "interaction", predictor.interaction)):
        if columns:
            model.add_coord(f"{name}_contrast", [c.label for c in columns])
            effects.append(pm.Normal(name, 0.0, place(priors[address], sd), dims=f"{name}_contrast"))
            eta = eta + pt.dot(_matrix(columns, study, history), effects[-1])
    if study.cluster:
        effects.append(pm.Normal("cluster_effect", 0.0, place(priors["cluster_sd"], sd), dims=CLUSTER))
        eta = eta + effects[-1][history.cluster]
        if predictor.latest:
            model.add_coord("cluster_contrast", [c.label for c in predictor.latest])
            effects.append(pm.Normal("cluster_treatment", 0.0, place(priors["cluster_treatment_sd"], sd), dims=(CLUSTER, "cluster_contrast")))
            eta = eta + (_matrix(predictor.latest, study, history) * effects[-1][history.cluster]).sum(axis=1)
    return likelihood(study, response, history, (eta,), sd, tuple(effects))
