"""Data of a batch of trials reduced to the posteriors of saturated cells."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import TrialError, listing
from ...study import Bernoulli, Normal, Study
from ...study.models import Saturated
from ...study.priors import NormalInverseGamma, Prior
from ...study.saturated import Cells, saturated_cells
from ...study.timeline import Response
from ..observed import Observed


@dataclass(frozen=True, eq=False)
class BetaCells:
    """``Beta(a, b)`` for each cell of each trial, ``(trial, cell)``."""

    a: np.ndarray
    b: np.ndarray

    def mean(self) -> np.ndarray:
        """Posterior means of the cells ``(trial, cell)``."""
        return self.a / (self.a + self.b)

    def variance(self) -> np.ndarray:
        """Posterior variances of the cells ``(trial, cell)``."""
        n = self.a + self.b
        return self.a * self.b / (n**2 * (n + 1))


@dataclass(frozen=True, eq=False)
class NormalCells:
    """``mean | sigma ~ Normal(center, sigma / sqrt(strength))`` ``(trial, cell)`` and ``sigma^2 ~ InverseGamma(shape, rate)`` ``(trial,)``."""

    center: np.ndarray
    strength: np.ndarray
    shape: np.ndarray
    rate: np.ndarray

    def mean(self) -> np.ndarray:
        """Posterior means of the cells ``(trial, cell)``."""
        return self.center

    def variance(self) -> np.ndarray:
        """Posterior variances of the cells ``(trial, cell)``; infinite where the shape is not above 1."""
        finite = self.shape > 1
        return np.where(finite, self.rate / np.where(finite, self.shape - 1, 1.0), np.inf)[:, None] / self.strength


CellPosterior = BetaCells | NormalCells


class CellModel:
    """One saturated response: its cells and the prior in force in each.

    Parameters
    ----------
    study : Study
    response : Response

    Raises
    ------
    TrialError
        Where the response has another model or family, or a prior that is not conjugate or not proper.
    """

    def __init__(self, study: Study, response: Response):
        name, family = response.name, response.family
        if not isinstance(response.model, Saturated) or type(family) not in (Bernoulli, Normal):
            raise TrialError(f"engine='exact' takes Bernoulli and Normal responses with saturated cells, and response {name!r} is "
                             f"{family.name if family else 'a function'} with {type(response.model).__name__}; declare "
                             f"Response({name!r}, ..., model=Saturated()) or use Analysis(engine='laplace').")
        self.name = name
        self.cells: Cells = saturated_cells(study, response)
        self.decisions = frozenset(d.name for d in study.decisions)
        self.sizes = self.cells.lookup.shape
        self.binary = isinstance(family, Bernoulli)
        rows = study.priors(name)
        if self.binary:
            priors = [rows.get(f"probability.{label}", rows["probability"]).prior for label in self.cells.labels]
            for label, prior in zip(self.cells.labels, priors, strict=True):
                if not isinstance(prior, Prior) or prior.distribution != "Beta":
                    raise TrialError(f"engine='exact' takes Beta priors, and response {name!r} has {prior} in cell {label!r}; declare "
                                     "Prior('Beta', concentration1=..., concentration0=...) or use Analysis(engine='laplace').")
            self.prior = np.array([[p["concentration1"], p["concentration0"]] for p in priors]).T  # type: ignore[index]
            return
        single = [a for a in rows if a.startswith("mean.")]
        if single:
            raise TrialError(f"engine='exact' has one conjugate prior for all cells of {name!r} and cannot honor {listing(single)}; "
                             "use Analysis(engine='laplace').")
        if response.model.conjugate is None:
            raise TrialError(f"Response {name!r}: early in a trial some cells are empty, and the reference prior says nothing about them; declare "
                             "Saturated(conjugate=NormalInverseGamma(mean=..., strength=..., shape=..., rate=...)), for example with strength 0.01.")
        self.conjugate: NormalInverseGamma = response.model.conjugate

    def posterior(self, data: Observed) -> CellPosterior:
        """Posteriors of the cells given what is observed of the response, in whatever order patients come."""
        y = np.asarray(data.columns[self.name], dtype=float)
        known = data.enrolled & ~np.isnan(y)
        codes = []
        for n in self.cells.names:
            column = np.asarray(data.columns[n])
            known = known & (column >= 0 if column.dtype.kind in "iu" else np.nan_to_num(column, nan=-1.0) >= 0)
            codes.append(column)
        trial, patient = np.nonzero(known)
        cell = np.zeros(len(trial), dtype=int)
        if codes:
            cell = self.cells.lookup[tuple(c[trial, patient].astype(int) for c in codes)]
        place, y, trials, count = trial * len(self.cells.labels) + cell, y[trial, patient], data.size, len(self.cells.labels)
        if (cell < 0).any():
            raise TrialError(f"Response {self.name!r}: some histories in the data are infeasible under the study.")
        tally = lambda weight: np.bincount(place, weights=weight, minlength=trials * count).reshape(trials, count)  # noqa: E731
        n = tally(None).astype(float)
        if self.binary:
            yes = tally(y)
            return BetaCells(self.prior[0] + yes, self.prior[1] + n - yes)
        # Sums of numbers depend on their order in the last digits; records in another order are the same records.
        order = np.lexsort((y, place))
        place, y = place[order], y[order]
        average = tally(y) / np.where(n > 0, n, 1.0)
        within = tally((y - average.ravel()[place]) ** 2).sum(axis=1)
        prior = self.conjugate
        strength = prior.strength + n
        center = (prior.strength * prior.mean + n * average) / strength
        apart = (prior.strength * n * (average - prior.mean) ** 2 / (2 * strength)).sum(axis=1)
        return NormalCells(center, strength, prior.shape + n.sum(axis=1) / 2, prior.rate + within / 2 + apart)


def reduced(models: Mapping[str, CellModel], data: Observed) -> dict[str, CellPosterior]:
    """Posteriors of all responses' cells."""
    return {n: m.posterior(data) for n, m in models.items()}
