"""Conjugate posteriors of saturated cells: Beta-Binomial, and Normal-inverse-gamma; independent draws."""

import zlib
from collections.abc import Collection, Mapping

import numpy as np
from scipy.special import betaln, logsumexp

from ..data import Trajectories
from ..errors import InferenceError, listing
from ..study.borrowing import RobustMAP
from ..study.models import Saturated
from ..study.priors import Prior, PriorInForce
from ..study.saturated import Cells, saturated_cells
from ..study.study import Study
from ..study.timeline import Response
from .borrow import Borrowed


def cell_of(cells: Cells, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Cell of each patient, shape (n,)."""
    return cells.lookup[tuple(columns[name].astype(int) for name in cells.names)]


def refuse(study: Study, only: Collection[str] | None = None) -> None:
    """Raise when a study's posterior, or that of some responses, is not conjugate.

    Raises
    ------
    InferenceError
        Names the first response that stands in the way.
    """
    for response in (r for r in study.responses if only is None or r.name in only):
        if not isinstance(response.model, Saturated):
            raise InferenceError(
                f"engine='exact' needs saturated cells, and response {response.name!r} has another model; "
                f"declare Response({response.name!r}, ..., model=Saturated()) or use engine='nuts'."
            )
        for address, row in study.priors(response.name).items():
            if address.startswith("probability") and row.prior.distribution not in ("Beta", "RobustMAP"):
                raise InferenceError(f"engine='exact' needs a Beta prior for {response.name!r} ({address}), got {row.prior}; use engine='nuts'.")
            if address.startswith("mean."):
                raise InferenceError(
                    f"engine='exact' has one conjugate prior for all cells of {response.name!r} and cannot honor {address!r}; use engine='nuts'."
                )


def normal_cells(
    y: np.ndarray, cell: np.ndarray, cells: Cells, response: Response, size: int, rng: np.random.Generator, weight: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Draws of cell means and the common residual SD.

    With cells ``c`` of ``n_c`` patients: ``sigma^2 ~ InverseGamma(shape, rate)`` and
    ``mean_c | sigma ~ Normal(m_c, sigma / sqrt(k_c))``. Under the reference prior ``1/sigma^2`` the
    shape is (N - cells)/2 and the rate half the sum of squares within cells; a
    ``NormalInverseGamma`` prior adds its own counts (standard conjugate update). Patients of weight
    below 1 count as that fraction of a patient in all of these.

    Returns
    -------
    dict
        ``mean`` (size, cell) and ``sigma`` (size,).
    """
    w = np.ones(len(y)) if weight is None else weight
    n_cells, patients = len(cells.labels), float(w.sum())
    count = np.bincount(cell, weights=w, minlength=n_cells)
    total = np.bincount(cell, weights=w * y, minlength=n_cells)
    average = total / np.where(count > 0, count, 1)
    within = float((w * (y - average[cell]) ** 2).sum())
    prior = response.model.conjugate if isinstance(response.model, Saturated) else None
    if prior is None:
        if (empty := np.flatnonzero(count == 0)).size:
            raise InferenceError(
                f"Response {response.name!r}: no patient in cell {listing([cells.labels[i] for i in empty])}, and the reference prior says "
                "nothing about it; give Saturated(conjugate=NormalInverseGamma(...)) or use engine='nuts'."
            )
        if patients <= n_cells or within == 0:
            raise InferenceError(f"Response {response.name!r}: {patients:g} patients in {n_cells} cells leave no information on the residual SD.")
        shape, rate, strength, centre = (patients - n_cells) / 2, within / 2, count, average
    else:
        strength = prior.strength + count
        centre = (prior.strength * prior.mean + total) / strength
        shape = prior.shape + patients / 2
        rate = prior.rate + within / 2 + float((prior.strength * count * (average - prior.mean) ** 2 / (2 * strength)).sum())
    sigma = np.sqrt(rate / rng.gamma(shape, size=size))
    return {"mean": centre + sigma[:, None] * rng.standard_normal((size, n_cells)) / np.sqrt(strength), "sigma": sigma}


def bernoulli_cells(
    y: np.ndarray, cell: np.ndarray, cells: Cells, priors: Mapping[str, PriorInForce], size: int, rng: np.random.Generator,
    weight: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Draws of cell probabilities: ``Beta(a + successes, b + failures)``, or a mixture of them whose weights move with the data.

    Component ``k`` of a mixture has posterior weight proportional to
    ``w_k B(a_k + successes, b_k + failures) / B(a_k, b_k)``.

    Returns
    -------
    dict
        ``probability`` (size, cell); with priors of single cells also each of them, (size,).
    """
    n_cells = len(cells.labels)
    w = np.ones(len(y)) if weight is None else weight
    yes = np.bincount(cell, weights=w * y, minlength=n_cells)
    no = np.bincount(cell, weights=w, minlength=n_cells) - yes
    common = priors["probability"]
    if not any(k.startswith("probability.") for k in priors):
        assert isinstance(common.prior, Prior)
        a, b = common.prior["concentration1"], common.prior["concentration0"]
        return {"probability": rng.beta(a + yes, b + no, size=(size, n_cells))}
    drawn = np.empty((size, n_cells))
    for c, label in enumerate(cells.labels):
        prior = priors.get(f"probability.{label}", common).prior
        log_weight, a, b = mixture_posterior(prior, yes[c], no[c])
        pick = rng.choice(len(a), size=size, p=np.exp(log_weight))
        drawn[:, c] = rng.beta(a[pick], b[pick])
    # The model names such cells one by one and their vector besides.
    return {"probability": drawn} | {f"probability.{label}": drawn[:, c] for c, label in enumerate(cells.labels)}


def mixture_posterior(prior: object, yes: float, no: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior of a probability under a Beta prior or a mixture of Betas: log weights and both parameters, each ``(component,)``."""
    if isinstance(prior, RobustMAP):
        weight, a, b = np.array(prior.components).T
    else:
        assert isinstance(prior, Prior)
        weight, a, b = (np.array([v]) for v in (1.0, prior["concentration1"], prior["concentration0"]))
    log_weight = np.log(weight) + betaln(a + yes, b + no) - betaln(a, b)
    return log_weight - logsumexp(log_weight), a + yes, b + no


def draw(
    study: Study, trajectories: Trajectories | None, response: Response, *, size: int, seed: int, borrowed: Borrowed | None = None,
    stream: int | None = None,
) -> dict[str, np.ndarray]:
    """Independent draws from the exact posterior of one saturated response.

    Parameters
    ----------
    study : Study
    trajectories : Trajectories or None
        None for the prior: no patients but borrowed ones.
    response : Response
    size, seed : int
    borrowed : Borrowed, optional
        Earlier patients, each counting as its weight.
    stream : int, optional
        Sets draws for another purpose apart.

    Returns
    -------
    dict of str to array, shape (size, ...)
    """
    rng = np.random.default_rng([seed, zlib.crc32(response.name.encode()), *([] if stream is None else [stream])])
    cells = saturated_cells(study, response)
    y, cell, weight = np.empty(0), np.empty(0, dtype=int), np.empty(0)
    for patients, discount in ((trajectories, 1.0), (borrowed and borrowed.trajectories, borrowed.a0[response.name] if borrowed else 0.0)):
        if patients is not None and discount:
            rows = patients.observed(response.name)
            y = np.concatenate([y, patients.columns[response.name][rows]])
            cell = np.concatenate([cell, cell_of(cells, patients.history(cells.names, rows))])
            weight = np.concatenate([weight, np.full(int(rows.sum()), discount)])
    priors = study.priors(response.name)
    if "probability" in priors:
        return bernoulli_cells(y, cell, cells, priors, size, rng, weight)
    return normal_cells(y, cell, cells, response, size, rng, weight)
