"""Utility: what the decisions are meant to achieve, as a weighted sum of responses."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import StudyError


@dataclass(frozen=True, init=False)
class Utility:
    """A weighted sum of responses, larger is better.

    Parameters
    ----------
    weights : str or mapping of str to float
        One response, or responses with their weights: ``{"relief": 1.0, "harm": -0.5}``.
    discount : float, default 1.0
        In (0, 1]. A response after decision number k counts ``discount ** (k - 1)`` times its weight.

    Raises
    ------
    StudyError
        For no response, a weight that is not a finite number other than 0, or a discount outside (0, 1].
    """

    weights: tuple[tuple[str, float], ...]
    discount: float

    def __init__(self, weights: str | Mapping[str, float], *, discount: float = 1.0):
        pairs = {weights: 1.0} if isinstance(weights, str) else dict(weights) if isinstance(weights, Mapping) else None
        if not pairs:
            raise StudyError(f"Utility takes the name of a response or a mapping of names to weights, got {weights!r}.")
        for name, weight in pairs.items():
            if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not math.isfinite(weight) or weight == 0:
                raise StudyError(f"Utility: the weight of {name!r} must be a finite number other than 0, got {weight!r}.")
        if isinstance(discount, bool) or not isinstance(discount, numbers.Real) or not 0 < discount <= 1:
            raise StudyError(f"Utility: discount must lie in (0, 1], got {discount!r}.")
        object.__setattr__(self, "weights", tuple((str(name), float(weight)) for name, weight in pairs.items()))
        object.__setattr__(self, "discount", float(discount))

    def __str__(self) -> str:
        def term(name: str, weight: float) -> str:
            return name if weight == 1 else f"-{name}" if weight == -1 else f"{weight:g} {name}"

        total = " + ".join(term(*pair) for pair in self.weights).replace("+ -", "- ")
        return total if self.discount == 1 else f"{total}, discounted by {self.discount:g} per decision"
