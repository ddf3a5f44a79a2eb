"""Who was censored, read off the further columns of survival responses."""

from collections.abc import Mapping

import numpy as np

from ..schema import variable
from ..study import Study

Arrays = Mapping[str, np.ndarray]


def right_censored(extras: Arrays, response: str) -> np.ndarray | None:
    """Whether each patient's time is right-censored, array of bool ``(n,)``; None for a response without censoring."""
    if (event := extras.get(variable(response, "event"))) is not None:
        return event == 0
    upper = extras.get(variable(response, "upper"))
    return None if upper is None else np.isinf(upper)


def middle(extras: Arrays, response: str, time: np.ndarray) -> np.ndarray:
    """Times as later models see them: an interval-censored one is the middle of its interval, shape (n,)."""
    upper = extras.get(variable(response, "upper"))
    if upper is None:
        return time
    return np.where(np.isfinite(upper) & (upper > time), (time + upper) / 2, time)


def censoring(study: Study, extras: Arrays) -> dict[str, np.ndarray]:
    """Right-censored patients by response, for the responses that can be censored."""
    return {r.name: mask for r in study.responses if (mask := right_censored(extras, r.name)) is not None}


def censoring_notes(columns: Arrays, extras: Arrays, censored: Arrays) -> tuple[str, ...]:
    """One sentence per survival response with censored patients."""
    notes = []
    for name, mask in censored.items():
        if count := int(mask.sum()):
            verb = "patient was" if count == 1 else "patients were"
            notes.append(f"{name!r}: {count} {verb} right-censored; each counts with the probability of having had no event yet, and nothing later.")
        upper = extras.get(variable(name, "upper"))
        if upper is not None and (count := int((np.isfinite(upper) & (upper > columns[name])).sum())):
            notes.append(f"{name!r}: {count} time{'' if count == 1 else 's'} known up to an interval; later models see the middle of it.")
    return tuple(notes)
