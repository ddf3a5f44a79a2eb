"""Sparse priors of many interactions: one scale for each group of columns, so that coefficients stay Normal given their scales."""

from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..study.predictor import Column, Contrast, groups
from ..study.priors import PriorInForce
from .priors import place

Tensor = pt.TensorVariable


def column_variance(column: Column) -> float:
    """Variance of a column where options are equally frequent and numbers are standardised.

    An orthonormal contrast of `n` equally frequent options has variance ``1 / n``.
    """
    return float(np.prod([1 / len(f.options) if isinstance(f, Contrast) else 1.0 for f in column.factors]))


def interaction_scales(
    kind: str, prefix: str, columns: Sequence[Column], priors: Mapping[str, PriorInForce], sd: Tensor, pseudo_sd: float
) -> Tensor:
    """Prior scale of every interaction, shape (column,).

    Columns that compare the options of one set in the same respect share their local scale: with a
    scale for each contrast the prior would favor some option of three or more.

    Parameters
    ----------
    kind : {"horseshoe", "r2d2"}
        Horseshoe: ``tau * local * slab / sqrt(slab^2 + tau^2 local^2)`` (Piironen and Vehtari, 2017).
        R2D2: ``residual SD * sqrt(R^2 / (1 - R^2) * share / variance of the column)``.
    prefix : str
        Before the names of the part's variables.
    columns : sequence of Column
    priors : mapping of str to PriorInForce
    sd : scalar tensor
        Unit of the predictor.
    pseudo_sd : float
        Residual SD of one observation in that unit.
    """
    names, index = groups(columns)
    model = pm.modelcontext(None)
    if "interaction_group" not in model.coords:
        model.add_coord("interaction_group", list(names))
    if kind == "r2d2":
        r2 = place(priors[prefix + "r2_interaction"], sd)
        concentration = priors[prefix + "share_interaction"].prior["concentration"]
        share = pt.ones(1)  # one interaction takes the whole: a Dirichlet of length 1 has no coordinate to sample
        if len(names) > 1:
            share = pm.Dirichlet(prefix + "share_interaction", np.full(len(names), concentration), dims="interaction_group")
        variance = pt.constant(np.array([column_variance(c) for c in columns]))
        # A group of several columns divides its share among them.
        size = pt.constant(np.bincount(index)[index].astype(float))
        return sd * pseudo_sd * pt.sqrt(r2 / (1 - r2) * share[index] / (size * variance))
    tau = place(priors[prefix + "tau_interaction"], sd)
    local = place(priors[prefix + "local_interaction"], sd, dims="interaction_group")
    slab = sd * pt.sqrt(place(priors[prefix + "slab_interaction"], sd))
    free = tau * local
    return (free / pt.sqrt(1 + (free / slab) ** 2))[index]
