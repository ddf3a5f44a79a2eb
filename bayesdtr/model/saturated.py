"""The saturated model: one mean or probability per cell of a discrete history, one residual SD."""

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..study.priors import PriorInForce
from ..study.saturated import Cells, saturated_cells
from ..study.study import Study
from ..study.timeline import Response
from .history import History, outcome
from .likelihoods import Outcome
from .priors import place, place_vector, rows_of


def cell_codes(cells: Cells, history: History) -> pt.TensorVariable:
    """Cell of each patient, shape (patient,); an impossible combination reads cell 0, and no patient has one."""
    table = pt.constant(np.maximum(cells.lookup, 0).astype("int64"))
    return table[tuple(history.code(name) for name in cells.names)]


def _cells(
    address: str, cells: Cells, priors: Mapping[str, PriorInForce], sd: pt.TensorVariable, location: pt.TensorVariable | None
) -> pt.TensorVariable:
    """One parameter per cell, some with priors of their own; shape (cell,)."""
    own = rows_of(address, cells.labels, priors)
    if own:
        return place_vector(address, own, sd, dims=("cell",), location=location)
    return place(priors[address], sd, location=location, dims="cell")


def build(study: Study, response: Response, history: History) -> Outcome:
    """Build the saturated model inside the current ``pm.Model``.

    Free variables: ``probability`` (dim ``cell``), or ``mean`` (dim ``cell``) and ``sigma``.
    """
    assert response.family is not None
    cells = saturated_cells(study, response)
    priors = study.priors(response.name)
    pm.modelcontext(None).add_coord("cell", list(cells.labels))
    code = cell_codes(cells, history)
    if response.family.link == "logit":
        p = _cells("probability", cells, priors, pt.constant(1.0), None)[code]
        return Outcome(pm.Bernoulli(outcome(response.name), p=p), "bernoulli", (p,))
    location, sd = history.scale(response.name)
    mean = _cells("mean", cells, priors, sd, location)[code]
    sigma = place(priors["sigma"], sd)
    return Outcome(pm.Normal(outcome(response.name), mean, sigma), "normal", (mean, sigma))
