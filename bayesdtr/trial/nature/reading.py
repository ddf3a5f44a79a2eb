"""Reading of numbers that users give, with one error each."""

import math
import numbers
from typing import Any

from ...errors import TrialError


def positive(value: Any, what: str) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < math.inf:
        raise TrialError(f"{what} must be a finite number above 0, got {value!r}.")
    return float(value)


def finite(value: Any, what: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise TrialError(f"{what} must be a finite number, got {value!r}.")
    return float(value)


def not_negative(value: Any, what: str) -> float:
    """A finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
        raise TrialError(f"{what} must be a finite number of at least 0, got {value!r}.")
    return float(value)


def probability(value: Any, what: str) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise TrialError(f"{what} must be a probability between 0 and 1, got {value!r}.")
    return float(value)
