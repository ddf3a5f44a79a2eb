"""The caller's data frames: opened through narwhals, never changed, and given back in the caller's kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError

from ..errors import DataError, listing


def open_frame(frame: Any) -> nw.DataFrame:
    """Look at a frame through narwhals.

    Parameters
    ----------
    frame : pandas, polars or pyarrow table, or anything else that narwhals calls an eager data frame

    Returns
    -------
    narwhals.DataFrame
        A view with at least one row and distinct column names.

    Raises
    ------
    DataError
        For something that is no frame, a lazy frame, repeated column names or no rows.
    """
    try:
        view = nw.from_native(frame)
    except DuplicateError as error:
        names = [str(name) for name in getattr(frame, "columns", ())] or list(getattr(frame, "column_names", ()))
        repeated = dict.fromkeys(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"The data have the column names {listing(repeated)} more than once; rename or drop the copies.") from error
    except TypeError as error:
        raise DataError(
            f"The data must be a data frame (pandas, polars or pyarrow), got {type(frame).__name__}; "
            "for a mapping of columns write pandas.DataFrame(...)."
        ) from error
    if not isinstance(view, nw.DataFrame):
        raise DataError(f"The data are a lazy frame ({type(frame).__module__}.{type(frame).__name__}); call .collect() on it first.")
    if not len(view):
        raise DataError("The data have no rows; at least one patient is needed.")
    return view


def backend(frame: Any) -> str:
    """Name of a frame's library: ``pandas``, ``polars``, ``pyarrow``, ``modin`` or ``cudf``."""
    return open_frame(frame).implementation.value


def like(backend_of_frame: Any, columns: Mapping[str, np.ndarray | Sequence[Any]]) -> Any:
    """Make a native frame of the caller's kind.

    Parameters
    ----------
    backend_of_frame : str or frame
        What :func:`backend` returned, or a frame of the wanted kind.
    columns : mapping of str to array or list, each of length n
        Copied. None stands for a missing text.

    Returns
    -------
    frame
        With n rows and the columns in the order given.
    """
    name = backend_of_frame if isinstance(backend_of_frame, str) else backend(backend_of_frame)
    # NumPy text arrays become lists: each library then uses its own text type.
    made = {k: v.tolist() if isinstance(v, np.ndarray) and v.dtype.kind in "UO" else np.array(v) if isinstance(v, np.ndarray) else list(v)
            for k, v in columns.items()}
    return nw.from_dict(made, backend=name).to_native()  # type: ignore[arg-type]
