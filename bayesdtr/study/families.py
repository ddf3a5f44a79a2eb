"""Outcome families: what values a response takes and on which scale its predictor is linear."""

import abc
from dataclasses import dataclass


@dataclass(frozen=True)
class Family(abc.ABC):
    """Base of the outcome families. Parameter-free, frozen, without any library behind it."""

    @property
    def name(self) -> str:
        """Name as typed, for example ``Normal``."""
        return type(self).__name__

    @property
    def support(self) -> tuple[int, ...] | None:
        """The finite values of the response, or None when it is continuous."""
        return None

    @property
    @abc.abstractmethod
    def link(self) -> str:
        """Scale of the linear predictor: ``identity`` or ``logit``."""


@dataclass(frozen=True)
class Normal(Family):
    """A continuous response, Gaussian around a linear predictor with one residual SD."""

    @property
    def link(self) -> str:
        """Identity."""
        return "identity"


@dataclass(frozen=True)
class Bernoulli(Family):
    """A yes/no response coded 0 and 1, its probability on the logit scale."""

    @property
    def support(self) -> tuple[int, ...]:
        """0 and 1."""
        return (0, 1)

    @property
    def link(self) -> str:
        """Logit."""
        return "logit"
