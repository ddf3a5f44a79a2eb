"""Borrowing patients of an earlier trial: the power prior."""

import json
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from ..data import Trajectories, read
from ..errors import DataError, InferenceError, did_you_mean, listing
from ..study.study import Study

GROUP = "historical_data"
"""Group of a saved posterior that holds the earlier trial's patients."""


@dataclass(frozen=True, init=False, eq=False)
class PowerPrior:
    """Patients of an earlier trial, each counting as a fraction of a patient.

    Their likelihood is raised to the power `a0` and multiplied with the prior: the posterior of the
    earlier trial at that discount is the prior of this one (Ibrahim and Chen 2000, fixed power).
    Hand it to ``fit(..., borrow=...)``.

    Parameters
    ----------
    data : pandas, polars or pyarrow frame
        One row per patient of the earlier trial, with the columns of the study.
    a0 : float or mapping of str to float, default 0.5
        Weight of each earlier patient, above 0 and at most 1; by response where not all borrow
        (those left out borrow nothing).

    Raises
    ------
    InferenceError
        For a weight out of range.
    """

    data: Any = field(repr=False)
    a0: float | tuple[tuple[str, float], ...]

    def __init__(self, data: Any, a0: float | Mapping[str, float] = 0.5):
        values = a0.values() if isinstance(a0, Mapping) else [a0]
        for value in values:
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value <= 1:
                raise InferenceError(f"PowerPrior: a0 is the weight of an earlier patient, above 0 and at most 1, got {value!r}.")
        if not values:
            raise InferenceError("PowerPrior: a0 names no response; give one weight, or one per response that borrows.")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "a0", tuple((str(k), float(v)) for k, v in a0.items()) if isinstance(a0, Mapping) else float(a0))


@dataclass(frozen=True)
class Conflict:
    """One comparison of the new patients with what the earlier ones predict.

    Attributes
    ----------
    response : str
    statistic : str
        What is compared, for example ``mean where arm = a``.
    observed, lower, upper : float
        In the new data, and the central 95 % of its prior predictive distribution.
    p : float
        Box's prior predictive p-value, two-sided: small where earlier and new patients disagree.
    """

    response: str
    statistic: str
    observed: float
    lower: float
    upper: float
    p: float

    def __str__(self) -> str:
        return f"{self.response}, {self.statistic}: {self.observed:.4g}, expected {self.lower:.4g} to {self.upper:.4g} (p = {self.p:.3f})"


@dataclass(frozen=True, eq=False)
class Borrowed:
    """An earlier trial as it entered a fit.

    Attributes
    ----------
    trajectories : Trajectories
        Its patients.
    a0 : mapping of str to float
        Weight per response; 0 where nothing is borrowed.
    conflict : tuple of Conflict
    """

    trajectories: Trajectories
    a0: Mapping[str, float]
    conflict: tuple[Conflict, ...] = ()

    def weights(self, response: str) -> np.ndarray:
        """Weight of each earlier patient in a response's likelihood, shape (patient,)."""
        return self.a0[response] * self.trajectories.observed(response)

    def effective(self, response: str) -> float:
        """Patients that the borrowed ones are worth."""
        return float(self.weights(response).sum())

    def to_json(self) -> str:
        """Everything but the patients as JSON."""
        rows = [[c.response, c.statistic, c.observed, c.lower, c.upper, c.p] for c in self.conflict]
        return json.dumps({"a0": dict(self.a0), "conflict": rows})

    @classmethod
    def from_parts(cls, study: Study, dataset: xr.Dataset, text: str) -> "Borrowed":
        """Inverse of :meth:`to_json` and ``trajectories.to_dataset``."""
        stored = json.loads(text)
        return cls(Trajectories.from_dataset(study, dataset), stored["a0"], tuple(Conflict(*row) for row in stored["conflict"]))


def borrowed_of(study: Study, power: Any, trajectories: Trajectories) -> tuple[Trajectories, Borrowed]:
    """Read the earlier patients; both sets of patients then share one list of clusters.

    Raises
    ------
    InferenceError
        When the weights do not belong to the study, or the patients are the same.
    DataError
        When the earlier trial's frame does not fit the study.
    """
    if not isinstance(power, PowerPrior):
        raise InferenceError(f"fit: borrow takes a PowerPrior, got {type(power).__name__}; other priors are declared with the responses' priors=.")
    names = [r.name for r in study.responses]
    if isinstance(power.a0, tuple):
        for name, _ in power.a0:
            if name not in names:
                raise InferenceError(f"PowerPrior: a0 names {name!r}; responses: {listing(names)}{did_you_mean(name, names)}")
    try:
        earlier = read(study, power.data)
    except DataError as error:
        raise DataError(f"PowerPrior: the earlier trial's data do not fit the study. {error}") from error
    if earlier.hash == trajectories.hash:
        raise InferenceError("PowerPrior: the earlier patients are the new ones; they would count twice.")
    weights = dict(power.a0) if isinstance(power.a0, tuple) else dict.fromkeys(names, power.a0)
    for name in names:
        if weights.get(name) and not earlier.observed(name).any():
            raise InferenceError(f"PowerPrior: no earlier patient has {name!r}, so nothing can be borrowed for it; name the others in a0.")
    labels = (*trajectories.cluster_labels, *(c for c in earlier.cluster_labels if c not in trajectories.cluster_labels))
    found = Borrowed(_with_clusters(earlier, labels), {n: weights.get(n, 0.0) for n in names})
    return _with_clusters(trajectories, labels), found


def _with_clusters(t: Trajectories, labels: tuple[str, ...]) -> Trajectories:
    """The same patients with their clusters counted along another list."""
    if t.cluster is None or labels == t.cluster_labels:
        return t
    place = np.array([labels.index(c) for c in t.cluster_labels])
    return Trajectories.of(t.ids, t.columns, cluster=place[t.cluster], cluster_labels=labels, assignment=t.assignment, notes=t.notes,
                           extras=t.extras)
