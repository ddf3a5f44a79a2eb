"""Conjugate posteriors of saturated cells: Beta-Binomial, and Normal-inverse-gamma; independent draws."""

import zlib

import numpy as np

from ..data import Trajectories
from ..errors import InferenceError, listing
from ..study.models import Saturated
from ..study.predictor import Cells, saturated_cells
from ..study.study import Study
from ..study.timeline import Response


def cell_of(cells: Cells, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Cell of each patient, shape (n,)."""
    return cells.lookup[tuple(columns[name].astype(int) for name in cells.names)]


def refuse(study: Study) -> None:
    """Raise when a study's posterior is not conjugate.

    Raises
    ------
    InferenceError
        Names the first response that stands in the way.
    """
    for response in study.responses:
        if not isinstance(response.model, Saturated):
            raise InferenceError(
                f"engine='exact' needs saturated cells, and response {response.name!r} has another model; "
                f"declare Response({response.name!r}, ..., model=Saturated()) or use engine='nuts'."
            )
        prior = study.priors(response.name).get("probability")
        if prior is not None and prior.prior.distribution != "Beta":
            raise InferenceError(f"engine='exact' needs a Beta prior for {response.name!r}, got {prior.prior}; use engine='nuts'.")


def normal_cells(y: np.ndarray, cell: np.ndarray, cells: Cells, response: Response, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws of cell means and the common residual SD.

    With cells ``c`` of ``n_c`` patients: ``sigma^2 ~ InverseGamma(shape, rate)`` and
    ``mean_c | sigma ~ Normal(m_c, sigma / sqrt(k_c))``. Under the reference prior ``1/sigma^2`` the
    shape is (N - cells)/2 and the rate half the sum of squares within cells; a
    ``NormalInverseGamma`` prior adds its own counts (standard conjugate update).

    Returns
    -------
    dict
        ``mean`` (size, cell) and ``sigma`` (size,).
    """
    n_cells = len(cells.labels)
    count = np.bincount(cell, minlength=n_cells)
    total = np.bincount(cell, weights=y, minlength=n_cells)
    average = total / np.maximum(count, 1)
    within = float(((y - average[cell]) ** 2).sum())
    prior = response.model.conjugate if isinstance(response.model, Saturated) else None
    if prior is None:
        if (empty := np.flatnonzero(count == 0)).size:
            raise InferenceError(
                f"Response {response.name!r}: no patient in cell {listing([cells.labels[i] for i in empty])}, and the reference prior says "
                "nothing about it; give Saturated(conjugate=NormalInverseGamma(...)) or use engine='nuts'."
            )
        if len(y) <= n_cells or within == 0:
            raise InferenceError(f"Response {response.name!r}: {len(y)} patients in {n_cells} cells leave no information on the residual SD.")
        shape, rate, strength, centre = (len(y) - n_cells) / 2, within / 2, count.astype(float), average
    else:
        strength = prior.strength + count
        centre = (prior.strength * prior.mean + total) / strength
        shape = prior.shape + len(y) / 2
        rate = prior.rate + within / 2 + float((prior.strength * count * (average - prior.mean) ** 2 / (2 * strength)).sum())
    sigma = np.sqrt(rate / rng.gamma(shape, size=size))
    return {"mean": centre + sigma[:, None] * rng.standard_normal((size, n_cells)) / np.sqrt(strength), "sigma": sigma}


def bernoulli_cells(y: np.ndarray, cell: np.ndarray, cells: Cells, a: float, b: float, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws of cell probabilities, ``Beta(a + successes, b + failures)``; ``probability`` (size, cell)."""
    n_cells = len(cells.labels)
    yes = np.bincount(cell, weights=y, minlength=n_cells)
    no = np.bincount(cell, minlength=n_cells) - yes
    return {"probability": rng.beta(a + yes, b + no, size=(size, n_cells))}


def draw(study: Study, trajectories: Trajectories, response: Response, *, size: int, seed: int) -> dict[str, np.ndarray]:
    """Independent draws from the exact posterior of one saturated response.

    Returns
    -------
    dict of str to array, shape (size, ...)
    """
    rng = np.random.default_rng([seed, zlib.crc32(response.name.encode())])
    cells = saturated_cells(study, response)
    rows = trajectories.observed(response.name)
    cell = cell_of(cells, trajectories.history(cells.names, rows))
    y = trajectories.columns[response.name][rows]
    priors = study.priors(response.name)
    if "probability" in priors:
        prior = priors["probability"].prior
        return bernoulli_cells(y, cell, cells, prior["concentration1"], prior["concentration0"], size, rng)
    return normal_cells(y, cell, cells, response, size, rng)
