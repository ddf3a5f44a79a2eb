"""Several compiled models of one response: each draw belongs to one of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..study.study import Scale
from .compile import CompiledResponse
from .evaluate import evaluate, evaluate_paired
from .inputs import make_inputs

MODEL = "(model)"
"""Among a mixture's draws, the name of the index of the model that each draw belongs to; no PyMC variable is called so."""


def parameter_of(part: int, name: str) -> str:
    """Name of one model's parameter among a mixture's draws."""
    return f"{part}::{name}"


@dataclass(frozen=True, eq=False)
class Mixture:
    """A response with several models; it stands wherever a :class:`CompiledResponse` is asked for predictions.

    Draws of it are a mapping with the index of each draw's model under ``MODEL`` and, under
    :func:`parameter_of`, the parameters of every model, all of the same number of draws; those of
    the models that a draw does not belong to are not read.

    Attributes
    ----------
    name : str
    parts : tuple of (CompiledResponse, mapping of str to Scale)
        Each model with the scales that its own priors and covariates were stated in. They share
        their support: densities and probabilities cannot be averaged.
    """

    name: str
    parts: tuple[tuple[CompiledResponse, Mapping[str, Scale]], ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the arrays among the draws."""
        return (MODEL, *(parameter_of(k, p) for k, (part, _) in enumerate(self.parts) for p in part.parameters))

    @property
    def support(self) -> tuple[int, ...] | None:
        """Finite values of the response, or None."""
        return self.parts[0][0].support

    @property
    def smooth(self) -> bool:
        """Whether a uniform grid integrates the density of every model."""
        return all(part.smooth for part, _ in self.parts)

    @property
    def cells(self) -> bool:
        """Whether cells between quantiles carry the distribution of every model."""
        return all(part.cells for part, _ in self.parts)

    @property
    def whole(self) -> bool:
        """Whether the response takes whole numbers only."""
        return self.parts[0][0].whole

    @property
    def uses(self) -> frozenset[str]:
        """The inputs that the distribution depends on under any of the models."""
        return frozenset().union(*(part.uses for part, _ in self.parts))

    @property
    def history(self) -> tuple[str, ...]:
        """The variables observed before the response."""
        return self.parts[0][0].history


Predictor = CompiledResponse | Mixture
Draws = Mapping[str, np.ndarray]


def _members(mixture: Mixture, draws: Draws):
    """Each model that has draws: the model, its scales, its draws, and their positions."""
    for k, (part, scales) in enumerate(mixture.parts):
        index = np.flatnonzero(draws[MODEL] == k)
        if index.size:
            yield part, scales, {p: draws[parameter_of(k, p)][index] for p in part.parameters}, index


def look(
    compiled: Predictor, draws: Draws, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, scales: Mapping[str, Scale], what: str,
    extra: np.ndarray | None = None, *, average: bool = False,
) -> np.ndarray:
    """Summaries of a response at given histories under one model or a mixture; see :func:`bayesdtr.model.evaluate`.

    A mixture's average over draws weighs its models by their draws. `scales` are those of a single
    model; a mixture has its own.

    Returns
    -------
    array, shape (draw, row, ...), or (row, ...) when averaged
    """
    if not isinstance(compiled, Mixture):
        return evaluate(compiled, draws, make_inputs(compiled, columns, cluster, scales), what, extra, average=average)
    size, out = len(draws[MODEL]), None
    for part, own, some, index in _members(compiled, draws):
        found = evaluate(part, some, make_inputs(part, columns, cluster, own), what, extra, average=average)
        if out is None:
            out = np.zeros(found.shape if average else (size, *found.shape[1:]))
        if average:
            out += len(index) / size * found
        else:
            out[index] = found
    assert out is not None
    return out


def look_paired(
    compiled: Predictor, draws: Draws, columns: Mapping[str, np.ndarray], cluster: np.ndarray | None, scales: Mapping[str, Scale], what: str,
    extra: np.ndarray | None = None, extras: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """As :func:`look` with rows of their own for each draw: columns, cluster, extra and extras (of the response's inputs) ``(draw, row)``."""
    if not isinstance(compiled, Mixture):
        return evaluate_paired(compiled, draws, make_inputs(compiled, columns, cluster, scales, extras), what, extra)
    out = None
    for part, own, some, index in _members(compiled, draws):
        mine = {n: v[index] for n, v in columns.items()}
        inputs = make_inputs(part, mine, None if cluster is None else cluster[index], own, {n: v[index] for n, v in (extras or {}).items()})
        found = evaluate_paired(part, some, inputs, what, None if extra is None else extra[index])
        out = np.zeros((len(draws[MODEL]), *found.shape[1:])) if out is None else out
        out[index] = found
    assert out is not None
    return out


def spread_over(compiled: Predictor, draws: Draws, size: int, most: int) -> np.ndarray:
    """About `most` draws by index, evenly spaced; every model of a mixture is among them."""
    if not isinstance(compiled, Mixture):
        return np.arange(0, size, -(-size // most))
    parts = [np.flatnonzero(draws[MODEL] == k) for k in range(len(compiled.parts))]
    return np.sort(np.concatenate([p[:: max(1, -(-len(p) * len(parts) // most))] for p in parts]))
