"""Smooth curves: Gaussian processes on eigenfunctions of the Laplacian, so that their coefficients are Normal given two numbers.

Source of the approximation and of the rules for its size: Riutort-Mayol, Bürkner, Andersen, Solin
and Vehtari (2023), squared-exponential covariance.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from ..study.predictor import SMOOTH_EDGE, SMOOTH_RANGE, Basis, Column, Factor, groups
from ..study.priors import PriorInForce
from .history import History
from .priors import place

Tensor = pt.TensorVariable


def basis(x: Tensor, order: np.ndarray) -> Tensor:
    """Eigenfunctions of the Laplacian on ``(-edge, edge)`` by number, at standardised values, shape (patient, function); level beyond the range."""
    inside = pt.clip(x, -SMOOTH_RANGE, SMOOTH_RANGE)
    frequency = pt.constant(order * np.pi / (2 * SMOOTH_EDGE))
    return pt.sin((inside + SMOOTH_EDGE)[:, None] * frequency[None, :]) / np.sqrt(SMOOTH_EDGE)


def curve_matrix(columns: Sequence[Column], plain: Callable[[tuple[Column, ...]], Tensor], history: History) -> Tensor:
    """Design matrix of columns that each hold one basis function, shape (patient, column).

    Parameters
    ----------
    columns : sequence of Column
    plain : callable
        Design matrix of columns without basis functions.
    history : History
    """
    curves: dict[tuple[str, tuple[Factor, ...]], list[tuple[int, int]]] = {}
    for position, column in enumerate(columns):
        (function,) = [f for f in column.factors if isinstance(f, Basis)]
        others = tuple(f for f in column.factors if f is not function)
        curves.setdefault((function.name, others), []).append((position, function.index))
    multipliers = list(dict.fromkeys(others for _, others in curves if others))
    factors = plain(tuple(Column(others) for others in multipliers)) if multipliers else None
    blocks, order = [], []
    for (name, others), members in curves.items():
        block = basis(history.standardized(name), np.array([index for _, index in members]))
        if others:
            assert factors is not None
            block = block * factors[:, multipliers.index(others)][:, None]
        blocks.append(block)
        order += [position for position, _ in members]
    return pt.concatenate(blocks, axis=1)[:, np.argsort(order)]


def smooth_scales(name: str, columns: Sequence[Column], priors: Mapping[str, PriorInForce], sd: Tensor) -> Tensor:
    """Prior scale of every basis coefficient: the square root of the spectral density at its frequency, shape (column,).

    Each curve has a spread ``{name}_sd`` and a length scale ``{name}_length``; the curves of one
    decision's options in one covariate share both.
    """
    curves, index = groups(columns)
    pm.modelcontext(None).add_coord(f"{name}_curve", list(curves))
    spread = place(priors[f"{name}_sd"], sd, dims=f"{name}_curve")[index]
    length = place(priors[f"{name}_length"], sd, dims=f"{name}_curve")[index]
    order = np.array([next(f.index for f in c.factors if isinstance(f, Basis)) for c in columns])
    frequency = pt.constant(order * np.pi / (2 * SMOOTH_EDGE))
    return spread * (2 * np.pi) ** 0.25 * pt.sqrt(length) * pt.exp(-((length * frequency) ** 2) / 4)
