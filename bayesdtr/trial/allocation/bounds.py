"""What adaptive rules have in common: floors and ceilings as declared, checked and applied."""

import math
import numbers
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from .shares import FLOORS, capped, floored
from .simple import choices_of


def number(value: Any, what: str, low: float, high: float, above: bool = False) -> float:
    """A number in [low, high], or (low, high] with `above`; raises `TrialError`."""
    sound = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
    given = float(value) if sound else math.nan
    if not low <= given <= high or (above and given == low):
        upper = "" if np.isinf(high) else f" and at most {high:g}"
        raise TrialError(f"{what} takes a number {'above' if above else 'of at least'} {low:g}{upper}, got {value!r}.")
    return given


def one_of(value: Any, allowed: tuple[str, ...], what: str) -> str:
    """One of a few words; raises `TrialError`."""
    if value not in allowed:
        raise TrialError(f"{what} is {listing(allowed)}; got {value!r}{did_you_mean(value, allowed) or '.'}")
    return value


def check_bounds(study: Study, decision: str, what: str, floor: float, floor_rule: str, ceiling: float | None) -> None:
    """Raise `TrialError` where a floor or ceiling leaves no probabilities that add up to 1 in a feasible set."""
    for options in choices_of(study, decision):
        count = len(options)
        if floor * count > 1 + 1e-12:
            raise TrialError(f"{what}: floor={floor:g} times the {count} options of {decision!r} ({listing(options)}) is {floor * count:g}, above 1; "
                             f"at most {1 / count:.4g} is possible.")
        if floor_rule == "clip" and count > 2:
            raise TrialError(f"{what}: floor_rule='clip' is for two options, and {decision!r} offers {listing(options)}; take 'affine'.")
        if ceiling is not None and ceiling * count < 1 - 1e-12:
            raise TrialError(f"{what}: ceiling={ceiling:g} times the {count} options of {decision!r} ({listing(options)}) is {ceiling * count:g}, "
                             f"below 1; at least {1 / count:.4g} is needed.")


def check_fields(what: str, floor: Any, floor_rule: Any, ceiling: Any) -> tuple[float, str, float | None]:
    """Floor, its rule and ceiling as declared; raises `TrialError`."""
    low = number(floor, f"{what}: floor", 0, 1)
    rule = one_of(floor_rule, FLOORS, f"{what}: floor_rule")
    high = None if ceiling is None else number(ceiling, f"{what}: ceiling", 0, 1, above=True)
    if high is not None and low > high:
        raise TrialError(f"{what}: floor={low:g} is above ceiling={high:g}.")
    return low, rule, high


def bounded(share: np.ndarray, floor: float, floor_rule: str, ceiling: float | None, feasible: np.ndarray) -> np.ndarray:
    """Floor, then ceiling, shape (m, option)."""
    lifted = floored(share, floor, floor_rule, feasible)
    return lifted if ceiling is None else capped(lifted, ceiling, floor, feasible)


def bounds_text(floor: float, floor_rule: str, ceiling: float | None) -> str:
    """In words, to be appended."""
    rule = "" if floor_rule == "affine" else f" ({floor_rule})"
    return (f", floor {floor:g}{rule}" if floor else "") + (f", ceiling {ceiling:g}" if ceiling is not None else "")
