"""What a response's model sees of a patient: symbolic columns, one row per patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytensor.tensor as pt

from ..errors import ModelError, did_you_mean, listing
from ..study.survival import Survival
from ..study.timeline import Node, Response


def outcome(response: str) -> str:
    """Name of a built-in model's response variable, which no parameter can bear: a response may be called ``tau``."""
    return f"response::{response}"


@dataclass(frozen=True)
class History:
    """The variables observed before a response, as symbolic columns on dim ``patient``.

    Attributes
    ----------
    coords : mapping of str to tuple of str
        Labels of every decision and labelled covariate, and of the clusters.
    pooled : vector or None
        Contrasts of the latest decision that an earlier response's parameters hold, where stages are pooled.

    Examples
    --------
    >>> def cd4(history):
    ...     effect = pm.Normal("effect", 0, 1, shape=2)
    ...     mu = history["age"] + effect[history.code("first")]
    ...     return pm.StudentT("cd4", nu=4, mu=mu, sigma=pm.HalfNormal("sigma", 5))
    """

    coords: Mapping[str, tuple[str, ...]]
    _nodes: Mapping[str, Node]
    _columns: Mapping[str, pt.TensorVariable]
    _scales: Mapping[str, tuple[pt.TensorVariable, pt.TensorVariable]]
    _cluster: pt.TensorVariable | None
    _extras: Mapping[str, pt.TensorVariable] = field(default_factory=dict)
    _effect: pt.TensorVariable | None = None
    pooled: pt.TensorVariable | None = None

    def _column(self, name: str) -> pt.TensorVariable:
        if name not in self._columns:
            raise ModelError(
                f"history has no {name!r} at this point of the timeline; it has {listing(self._columns)}{did_you_mean(name, self._columns)}"
            )
        return self._columns[name]

    def __getitem__(self, name: str) -> pt.TensorVariable:
        """Values of a numeric variable, shape (patient,)."""
        column = self._column(name)
        if name in self.coords:
            raise ModelError(f"{name!r} has labels, not values; use history.code({name!r}) for its integer codes along {self.coords[name]}.")
        return column

    def code(self, name: str) -> pt.TensorVariable:
        """Integer codes of a decision or labelled covariate (or of a 0/1 response), shape (patient,)."""
        column = self._column(name)
        return column if name in self.coords else pt.cast(column, "int64")

    def standardized(self, name: str) -> pt.TensorVariable:
        """Values of a numeric variable by its scale; one of a finite list becomes -1 to +1 (a 0/1 response -1/+1). Shape (patient,).

        A survival time enters as ``log((1 + time / m) / 2)`` by its SD, `m` being the person-time per event.
        """
        column, node = pt.cast(self._column(name), "float64"), self._nodes[name]
        if name in self._scales:
            location, sd = self._scales[name]
            if isinstance(node, Response) and isinstance(node.family, Survival):
                return pt.log((1 + column * pt.exp(-location)) / 2) / sd
            return (column - location) / sd
        low, high = (node.support[0], node.support[-1]) if isinstance(node, Response) and node.support else (0, 1)
        return (column - (low + high) / 2) / ((high - low) / 2)

    def node(self, name: str) -> Node:
        """The declaration of a variable observed before."""
        self._column(name)
        return self._nodes[name]

    def extra(self, role: str) -> pt.TensorVariable:
        """A further column of the response, such as its exposure, shape (patient,)."""
        return self._extras[role]

    def scale(self, response: str) -> tuple[pt.TensorVariable, pt.TensorVariable]:
        """Location and SD that a continuous response's priors are stated in, scalars."""
        return self._scales[response]

    @property
    def cluster(self) -> pt.TensorVariable:
        """Integer code of each patient's cluster, shape (patient,); the last code is a cluster never seen."""
        if self._cluster is None:
            raise ModelError("The study declares no cluster=, so history.cluster is not there.")
        return self._cluster

    @property
    def patient_effect(self) -> pt.TensorVariable:
        """Each patient's own effect, shared by the study's ``patient_effects`` responses, standard Normal, shape (patient,)."""
        if self._effect is None:
            raise ModelError("The study does not name this response in patient_effects=, so history.patient_effect is not there.")
        return self._effect

    @property
    def zeros(self) -> pt.TensorVariable:
        """A column of zeros, shape (patient,), to give a constant predictor one row per patient."""
        return pt.zeros_like(next(iter(self._columns.values())), dtype="float64")

    def options(self, name: str) -> tuple[str, ...]:
        """Labels of a decision or labelled covariate."""
        return self.coords[name]
