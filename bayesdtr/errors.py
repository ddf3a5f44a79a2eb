"""The exception tree, and the "did you mean" that its messages share.

Every error a user can cause is a `BayesDTRError` and also an instance of the stock exception that
a caller would expect, so that ``except ValueError`` keeps working. A message names the value, says
what is allowed and what to do.
"""

import difflib
from collections.abc import Iterable


class BayesDTRError(Exception):
    """Root of every error raised on purpose by bayesdtr."""


class StudyError(BayesDTRError, ValueError):
    """A declaration cannot be what was meant."""


class DataError(BayesDTRError, ValueError):
    """A data frame does not fit the declared study."""


class ModelError(BayesDTRError, ValueError):
    """A response's model cannot be built or compiled."""


class InferenceError(BayesDTRError, ValueError):
    """A posterior cannot be computed as asked."""


class DecisionError(BayesDTRError, ValueError):
    """A decision question cannot be answered as asked."""


class TrialError(BayesDTRError, ValueError):
    """A trial's design, scenario or simulation cannot be what was meant."""


class FileError(BayesDTRError, OSError):
    """A file cannot be read or written as one of ours."""


class VerdictWarning(UserWarning):
    """A result is returned whose checks warn or fail."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string.

    Case is ignored, so that ``Severity`` finds ``severity``.
    """
    originals = {str(k).casefold(): k for k in known}
    close = difflib.get_close_matches(str(name).casefold(), list(originals), n=1, cutoff=0.6)
    return f"; did you mean {originals[close[0]]!r}?" if close else ""


def listing(values: Iterable[object], limit: int = 12) -> str:
    """Return values as ``'a', 'b', 'c'``, cut after `limit` of them."""
    shown = [repr(v) for v in values]
    extra = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" and {extra} more" if extra > 0 else "")
