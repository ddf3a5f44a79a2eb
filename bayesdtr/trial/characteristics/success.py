"""What counts as a success of a trial when it is sized: criteria by name, or a function of a run and the truth."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ..design import TrialDesign
from .operating import IMBALANCE
from .quantities import Question, Reader, declared_right, selected_best, selected_near

CRITERIA = ("power", "selection", "exclusion")
CUT = 0.05
"""A regime whose P(best) in the final analysis is below this is excluded."""

Criterion = str | Callable[[Any, Any], np.ndarray]


def words(criterion: Criterion, margin: float | None) -> str:
    """The criterion in words."""
    near = "" if not margin else f" within {margin:g} of the best"
    if callable(criterion):
        return getattr(criterion, "__name__", "the criterion given")
    return {"power": "superiority is declared, and rightly",
            "selection": f"the regime selected at the end is {'a best one' if not margin else near.strip()}",
            "exclusion": f"the best regime is kept and all that lose {margin or 0:g} or more are excluded (P(best) below {CUT:g})"}[criterion]


def check_criterion(criterion: Criterion, margin: float | None) -> None:
    """Raise `TrialError` for an unknown criterion, or a margin where it has no meaning."""
    if not callable(criterion) and criterion not in CRITERIA:
        raise TrialError(f"criterion={criterion!r}: criteria are {listing(CRITERIA)}, or a function of a run and the truth that returns whether each "
                         f"replicate succeeds{did_you_mean(criterion, CRITERIA)}")
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, (int, float)) or not margin >= 0):
        raise TrialError(f"margin is a difference in utility of at least 0, got {margin!r}.")
    if margin is not None and criterion not in ("selection", "exclusion"):
        raise TrialError(f"margin belongs to the criteria 'selection' and 'exclusion', not to {criterion!r}.")


def succeeded(design: TrialDesign, run: Any, truth: Any, criterion: Criterion, margin: float | None) -> np.ndarray:
    """Whether each replicate succeeds, shape (replicate,).

    Raises
    ------
    TrialError
        When a user's criterion returns something else than a truth value per replicate.
    """
    read, ask = Reader(run), Question(design, design.layout, truth, IMBALANCE, margin)
    if callable(criterion):
        found = np.asarray(criterion(run, truth))
        if found.shape != read["size"].shape or not np.isin(found, (0, 1)).all():
            raise TrialError(f"The criterion returns one truth value per replicate, shape {read['size'].shape}; got shape {found.shape}.")
        return found.astype(bool)
    if criterion == "power":
        return declared_right(read, ask)
    if criterion == "selection":
        return selected_near(read, ask, margin) if margin else selected_best(read, ask)
    kept = read["p_best"] >= CUT
    worse = np.asarray(truth.values) <= truth.optimal - (margin or 0) - 1e-12 if margin else ~np.asarray(truth.best, bool)
    return kept[:, np.asarray(truth.best, bool)].any(axis=1) & ~kept[:, worse & ~np.asarray(truth.best, bool)].any(axis=1)
