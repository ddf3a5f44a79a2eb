"""One column at a time: whatever a library stores, turned into numbers, codes or text labels, or refused with a reason."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import narwhals as nw
import numpy as np

from ..errors import DataError, did_you_mean, listing
from ..schema import NOT_YET

SHOWN = 5
"""How many patients a message names."""


@dataclass(frozen=True)
class Who:
    """Names patients in messages: by identifier, or by row number from 1 where the study has none.

    Attributes
    ----------
    labels : sequence of str, length n
    what : str
        ``patient`` or ``row``.
    """

    labels: Sequence[str]
    what: str

    def __call__(self, rows: Iterable[int]) -> str:
        """``patient '7'``, ``rows 3, 5 and 2 more``."""
        names = [str(self.labels[i]) if self.what == "row" else repr(str(self.labels[i])) for i in rows]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"{self.what}{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{more}"


def missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, pandas' NA and NaT, or blank text."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    return type(value).__name__ in ("NAType", "NaTType")  # by name, so that pandas need not be imported


def text(value: Any) -> str:
    """A cell as a text label; a whole number has no decimals, because pandas turns integers with gaps into floats."""
    if isinstance(value, str):
        return value
    if isinstance(value, (float, np.floating, Decimal)) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


def cells(frame: nw.DataFrame, name: str) -> list[Any]:
    """The cells of a column as Python values."""
    return frame.get_column(name).to_list()


def need(frame: nw.DataFrame, names: Iterable[str], role: str = "") -> None:
    """Raise when the frame lacks a column."""
    present = list(frame.columns)
    lacking = [name for name in names if name not in present]
    if lacking:
        hint = next((h for name in lacking if (h := did_you_mean(name, present))), "")
        raise DataError(f"The data have no column {listing(lacking)}{f' ({role})' if role else ''}; columns: {listing(present)}{hint or '.'}")


def is_number(value: Any) -> bool:
    """Whether a cell is a number or a truth value."""
    return isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating, Decimal))


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def numbers(values: Sequence[Any], name: str, what: str, who: Who, *, infinite: bool = False) -> np.ndarray:
    """Turn a column into floats.

    Returns
    -------
    array of float, shape (n,)
        NaN where the cell is empty. Truth values become 0 and 1.

    Raises
    ------
    DataError
        For text or another value that is no number, and for an infinite number unless `infinite` allows it.
    """
    result = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if missing(value):
            continue
        if not is_number(value):
            same = [j for j, v in enumerate(values) if type(v) is type(value) and v == value]
            raise DataError(
                f"Column {name!r}: {value!r} is not a number ({who(same)}); {what} holds numbers, "
                "and a value not observed is left empty (null or NaN). Convert the column first."
            )
        result[i] = _float(value)
    if (endless := np.flatnonzero(np.isinf(result))).size and not infinite:
        raise DataError(
            f"Column {name!r}: {result[endless[0]]:g} is not a finite number ({who(endless)}); correct it, or leave it empty if it is not known."
        )
    return result + 0.0  # turns -0.0 into 0.0, which is the same value


def codes(values: Sequence[Any], name: str, allowed: Sequence[str], what: str, who: Who) -> np.ndarray:
    """Turn a column of labels into codes.

    Parameters
    ----------
    values : sequence, length n
    name : str
        The column, for messages.
    allowed : sequence of str
        The labels; codes count along them.
    what : str
        What a label is called: ``option`` or ``level``.
    who : Who

    Returns
    -------
    array of int, shape (n,)
        ``schema.NOT_YET`` where the cell is empty.

    Raises
    ------
    DataError
        For a label that is not allowed.
    """
    index = {label: i for i, label in enumerate(allowed)}
    result = np.full(len(values), NOT_YET, dtype=np.int64)
    for i, value in enumerate(values):
        if missing(value):
            continue
        label = text(value)
        if label not in index:
            same = [j for j, v in enumerate(values) if not missing(v) and text(v) == label]
            hint = f"; {what}s are labels (text), not codes: replace each number by its label" if is_number(value) else did_you_mean(label, allowed)
            raise DataError(
                f"Column {name!r}: {value if is_number(value) else label!r} is not one of its {what}s ({who(same)}); "
                f"allowed: {listing(allowed)}{hint or '.'}"
            )
        result[i] = index[label]
    return result


def labels(values: Sequence[Any]) -> list[str | None]:
    """Turn a column of identifiers into text; None where the cell is empty."""
    return [None if missing(v) else text(v) for v in values]
