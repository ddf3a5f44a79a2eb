"""When a trial is looked at: by patients recruited, by patients whose follow-up is complete, or by the calendar."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TrialError


@dataclass(frozen=True, init=False)
class Looks:
    """Looks at a trial, in one of three ways.

    Parameters
    ----------
    recruited : sequence of int, optional
        A look when so many patients are enrolled.
    known : sequence of int, optional
        A look when the follow-up of so many patients is complete (outcome known, or patient lost).
    at : sequence of float, optional
        A look at these times after the first enrolment is possible, in the calendar's unit; at the latest when the last follow-up of the largest
        size is complete.

    Raises
    ------
    TrialError
        Unless exactly one is given, strictly increasing and positive.
    """

    by: str
    points: tuple[float, ...]

    def __init__(self, *, recruited: Sequence[int] | None = None, known: Sequence[int] | None = None, at: Sequence[float] | None = None):
        given = {n: v for n, v in (("recruited", recruited), ("known", known), ("at", at)) if v is not None}
        if len(given) != 1:
            raise TrialError(f"Looks takes exactly one of recruited=, known=, at=; got {', '.join(given) or 'none'}.")
        by, points = next(iter(given.items()))
        try:
            values = tuple(float(p) for p in points)
        except (TypeError, ValueError):
            raise TrialError(f"Looks({by}=...) takes a sequence of numbers, such as [100, 200] or range(100, 501, 100), got {points!r}.") from None
        if not values or not all(np.isfinite(values)) or values[0] <= 0 or any(b <= a for a, b in itertools.pairwise(values)):
            raise TrialError(f"Looks({by}=...) takes positive, strictly increasing numbers, got {points!r}.")
        if by != "at" and any(v != int(v) for v in values):
            raise TrialError(f"Looks({by}=...) counts patients, so it takes whole numbers, got {points!r}.")
        object.__setattr__(self, "by", by)
        object.__setattr__(self, "points", values)

    @property
    def count(self) -> int:
        """Number of looks."""
        return len(self.points)

    def check(self, size: int) -> None:
        """Raise `TrialError` where a look counts more patients than the trial has."""
        if self.by != "at" and self.points[-1] > size:
            beyond = [int(p) for p in self.points if p > size]
            raise TrialError(f"The look at {beyond[0]} {self.by} patients lies beyond the largest size, {size}; leave it out or raise size=.")

    def times(self, enrolled: np.ndarray, complete: np.ndarray) -> np.ndarray:
        """Calendar time of each look, shape (trial, look).

        Parameters
        ----------
        enrolled, complete : array, shape (trial, patient)
            Times of enrolment and of the end of follow-up, of all patients up to the largest size.
        """
        if self.by == "at":
            # Once everything is known there is nothing to wait for: a look that would come later is the final analysis.
            return np.minimum(np.array(self.points), complete.max(axis=1, keepdims=True))
        ordered = np.sort(enrolled if self.by == "recruited" else complete, axis=1)
        return ordered[:, np.array(self.points, dtype=int) - 1]

    def text(self) -> str:
        """In words, for tables."""
        shown = ", ".join(f"{p:g}" for p in self.points) if self.count <= 6 else f"{self.points[0]:g}, {self.points[1]:g}, ..., {self.points[-1]:g}"
        what = {"recruited": "patients recruited", "known": "patients with follow-up complete", "at": "units of time"}[self.by]
        return f"{self.count} look{'s' * (self.count > 1)} at {shown} {what}"
