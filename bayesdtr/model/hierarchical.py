"""The default model: a linear predictor with shrunken contrasts and interactions, partial pooling over clusters.

Source of the structure: treatment contrasts that sum to zero share a scale ``tau``, so the prior
treats the options alike; interactions share a smaller scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..schema import CLUSTER
from ..study.conditions import Interval, Test
from ..study.families import Family
from ..study.models import Hierarchical
from ..study.predictor import Column, Contrast, Factor, Numeric, Step, Stratum, contrast_matrix, default_predictor, sequence_variables
from ..study.priors import PriorInForce
from ..study.saturated import cells_over
from ..study.structures import interactions_of, pseudo_sd
from ..study.study import Study
from ..study.timeline import Decision, Response
from .history import History
from .likelihoods import Outcome, likelihood
from .names import POOLED, POOLED_DIM
from .priors import place, place_vector, rows_of, variables_of
from .saturated import cell_codes
from .shrinkage import interaction_scales
from .smooth import curve_matrix, smooth_scales

Tensor = pt.TensorVariable


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
    if isinstance(factor, Step):
        return pt.cast(pt.ge(history.code(factor.name), factor.index), "float64")
    assert isinstance(factor, Stratum)
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
    """Design matrix of columns without smooth curves, shape (patient, column)."""
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


@dataclass(frozen=True)
class _Part:
    """One linear predictor, or several in parallel with common scales.

    Attributes
    ----------
    prefix : str
        Before the names of its variables and of its priors' addresses.
    width : int or None
        Parallel predictors; their coefficients carry a last dim ``category``.
    intercept : bool
    sd, location : scalar tensor
        Unit and centre of default priors.
    pseudo_sd : float
        Residual SD of one observation, in that unit.
    """

    prefix: str
    width: int | None
    intercept: bool
    sd: Tensor
    location: Tensor
    pseudo_sd: float


@dataclass(frozen=True)
class _Design:
    """Columns of a response's predictors, evaluated once for all of its parts."""

    history: History
    clustered: bool
    interactions: str
    columns: dict[str, tuple[Column, ...]]
    matrices: dict[str, Tensor]
    labels: dict[str, tuple[str, ...]]
    decisions: dict[str, tuple[str, ...]]
    sequence: Tensor | None

    @classmethod
    def of(cls, study: Study, response: Response, history: History) -> "_Design":
        predictor = default_predictor(study, response)
        tables = {"beta": predictor.main, "treatment": predictor.treatment, "interaction": predictor.interaction,
                  "combination": predictor.combination, "smooth": predictor.smooth, "interaction_smooth": predictor.interaction_smooth,
                  "drift": predictor.drift}
        if study.cluster:
            tables["cluster_treatment"] = predictor.latest
        tables = {name: columns for name, columns in tables.items() if columns}
        model, sequence = pm.modelcontext(None), None
        for name, columns in tables.items():
            model.add_coord(_DIMS[name], [c.label for c in columns])
        assert isinstance(response.model, Hierarchical)
        if response.model.sequences:
            cells = cells_over(study, sequence_variables(study, response))
            model.add_coord("sequence", list(cells.labels))
            sequence = cell_codes(cells, history)
        plain = lambda columns: _matrix(columns, study, history)  # noqa: E731
        matrices = {n: curve_matrix(c, plain, history) if n.endswith("smooth") else plain(c) for n, c in tables.items()}
        labels = {name: tuple(c.label for c in columns) for name, columns in tables.items()}
        decisions = {name: tuple(getattr(c.factors[0], "name", "") for c in columns) for name, columns in tables.items()}
        return cls(history, study.cluster is not None, interactions_of(study, response), tables, matrices, labels, decisions, sequence)


_DIMS = {"beta": "covariate", "treatment": "treatment_contrast", "interaction": "interaction_contrast", "combination": "combination_contrast",
         "cluster_treatment": "cluster_contrast", "drift": "drift_step", "smooth": "smooth_basis", "interaction_smooth": "interaction_smooth_basis"}
_SCALES = {"treatment": "tau", "interaction": "tau_interaction", "combination": "tau_combination", "cluster_treatment": "cluster_treatment_sd"}


def _effects(part: _Part, design: _Design, priors: Mapping[str, PriorInForce]) -> list[tuple[str, Tensor]]:
    """The coefficients of a part, each Normal given its scale, by what they multiply."""
    across = ("category",) if part.width else ()

    def of(address: str, location: Tensor | None = None, dims: tuple[str, ...] = ()) -> Tensor:
        return place(priors[part.prefix + address], part.sd, location=location, dims=(*dims, *across) or None)

    def scaled(name: str, scale: Tensor | str, dims: tuple[str, ...]) -> Tensor:
        if isinstance(scale, str) and (own := _own_rows(part, name, scale, design, priors)):
            return place_vector(part.prefix + name, own, part.sd, dims=(*dims, *across), across=part.width)
        sigma = place(priors[part.prefix + scale], part.sd) if isinstance(scale, str) else scale[:, None] if across else scale
        return pm.Normal(part.prefix + name, 0.0, sigma, dims=(*dims, *across))

    found = [("intercept", of("intercept", part.location))] if part.intercept else []
    if "beta" in design.matrices:
        own = rows_of(part.prefix + "beta", design.labels["beta"], priors)
        dims = (_DIMS["beta"], *across)
        found.append(("beta", place_vector(part.prefix + "beta", own, part.sd, dims=dims, across=part.width) if own else of("beta", dims=dims[:1])))
    for name in (n for n in ("treatment", "interaction", "combination", "smooth", "interaction_smooth") if n in design.matrices):
        columns = design.columns[name]
        if name in ("smooth", "interaction_smooth"):
            scale: Tensor | str = smooth_scales(part.prefix + name, columns, priors, part.sd)
        elif name == "interaction" and design.interactions != "normal":
            scale = interaction_scales(design.interactions, part.prefix, columns, priors, part.sd, part.pseudo_sd)
        else:
            scale = _SCALES[name]
        found.append((name, scaled(name, scale, (_DIMS[name],))))
    if "drift" in design.matrices:
        found.append(("drift", of("drift", dims=(_DIMS["drift"],))))
    if design.sequence is not None:
        found.append(("sequence_effect", scaled("sequence_effect", "tau_sequence", ("sequence",))))
    if design.clustered:
        found.append(("cluster_effect", scaled("cluster_effect", "cluster_sd", (CLUSTER,))))
        if "cluster_treatment" in design.matrices:
            found.append(("cluster_treatment", scaled("cluster_treatment", _SCALES["cluster_treatment"], (CLUSTER, _DIMS["cluster_treatment"]))))
    return found


def _own_rows(
    part: _Part, name: str, scale: str, design: _Design, priors: Mapping[str, PriorInForce]
) -> list[PriorInForce | Tensor] | None:
    """For each contrast of treatments, interactions or combinations its prior, or the scale of its decision; None where all have the common scale."""
    head = part.prefix + scale
    if not any(k.startswith((f"{head}.", f"{part.prefix}{name}.")) for k in priors):
        return None
    placed: dict[str, Tensor] = {}
    rows: list[PriorInForce | Tensor] = []
    for label, decision in zip(design.labels[name], design.decisions[name], strict=True):
        address = f"{head}.{decision}" if f"{head}.{decision}" in priors else head
        own = priors.get(f"{part.prefix}{name}.{label}")
        if own is None and address not in placed:
            placed[address] = place(priors[address], part.sd)
        rows.append(placed[address] if own is None else own)
    return rows


def _predictor(effects: list[tuple[str, Tensor]], design: _Design, k: int | None) -> Tensor:
    """A linear predictor, shape (patient,); number `k` of several in parallel."""
    eta = design.history.zeros
    for name, whole in effects:
        effect = whole if k is None else whole[..., k]
        if name == "intercept":
            eta = eta + effect
        elif name == "cluster_effect":
            eta = eta + effect[design.history.cluster]
        elif name == "sequence_effect":
            assert design.sequence is not None
            eta = eta + effect[design.sequence]
        elif name == "cluster_treatment":
            eta = eta + (design.matrices[name] * effect[design.history.cluster]).sum(axis=1)
        else:
            eta = eta + pt.dot(design.matrices[name], effect)
    return eta


def build(study: Study, response: Response, history: History) -> Outcome:
    """Build the default model inside the current ``pm.Model``.

    Every coefficient is written centred, Normal given its scale, so that draws are effects on the
    natural scale: ``intercept``, ``beta``, ``treatment`` (scale ``tau``), ``interaction`` (scale
    ``tau_interaction``, or one scale each), ``combination`` (of decisions, ``tau_combination``), ``smooth`` and
    ``interaction_smooth`` (basis functions), ``drift`` (steps between periods), ``sequence_effect`` (``tau_sequence``),
    ``cluster_effect``, ``cluster_treatment``; those of a family's part for zeros begin with ``zero_``. Engines choose their own coordinates.
    """
    family = response.family
    assert family is not None
    location, sd = _unit(family, response, history)
    parts = [_Part("", family.width, family.intercept, sd, location, pseudo_sd(family.link))]
    if family.zero_part:
        parts.append(_Part("zero_", None, True, pt.constant(1.0), pt.constant(0.0), pseudo_sd("logit")))
    if family.width:
        pm.modelcontext(None).add_coord("category", list(range(1, family.width + 1)))
    design, priors = _Design.of(study, response, history), study.priors(response.name)
    eta, effects = [], []
    for part in parts:
        made = _effects(part, design, priors)
        effects += [v for _, e in made for v in variables_of(e)]
        eta += [_predictor(made, design, k) for k in (range(part.width) if part.width else (None,))]
    if response.name in study.pool_stages:
        shift, common = _pooled(study, response, history, priors, sd)
        eta[0] = eta[0] + shift
        effects += common
    if response.name in study.patient_effects:
        shift, loadings = _patient_effect(study, response, history, priors, sd)
        eta[0] = eta[0] + shift
        effects += loadings
    return likelihood(response, priors, history, tuple(eta), sd, tuple(effects))


def _pooled(
    study: Study, response: Response, history: History, priors: Mapping[str, PriorInForce], sd: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """What the contrasts common to pooled stages add to the predictor, shape (patient,); they are a variable of the first stage only."""
    columns = default_predictor(study, response).latest
    pm.modelcontext(None).add_coord(POOLED_DIM, [f"{k + 1}" for k in range(len(columns))])
    if history.pooled is not None:
        return pt.dot(_matrix(columns, study, history), history.pooled), []
    common = pm.Normal(POOLED, 0.0, place(priors["tau_pooled"], sd), dims=POOLED_DIM)
    return pt.dot(_matrix(columns, study, history), common), [common]


def _patient_effect(
    study: Study, response: Response, history: History, priors: Mapping[str, PriorInForce], sd: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """What a patient's own effect adds to the predictor, shape (patient,), and its loadings: on the level and on the latest contrasts."""
    columns = default_predictor(study, response).latest
    level = place(priors["patient_effect"], sd)
    if not columns:
        return history.patient_effect * level, [level]
    pm.modelcontext(None).add_coord("patient_effect_contrast", [c.label for c in columns])
    tilt = place(priors["patient_effect_treatment"], sd, dims="patient_effect_contrast")
    return history.patient_effect * (level + pt.dot(_matrix(columns, study, history), tilt)), [level, tilt]


def _unit(family: Family, response: Response, history: History) -> tuple[Tensor, Tensor]:
    """Where default priors of the intercept are centred, and the unit of default priors."""
    if family.link == "identity":
        return history.scale(response.name)
    if family.link == "log":
        return pt.log(pt.maximum(history.scale(response.name)[0], 1e-8)), pt.constant(1.0)
    return pt.constant(0.0), pt.constant(1.0)
