"""How verbs of this room ask for replicates and truths; one place, imported when first needed."""

from typing import Any

import numpy as np

from ...errors import TrialError
from ..design import TrialDesign

BATCH = 512
"""Replicates that are simulated at once and held in memory."""


def simulated(design: TrialDesign, scenario: Any, replicates: int, *, seed: int, keep: str = "summary", scheduler: Any = None) -> Any:
    """A run: arrays of `records.FIELDS` by name, the leading axis being the replicate.

    A single batch is not written to disk first: making a store takes longer than simulating it.
    """
    from .. import running
    from ..batch import run_batch

    if scheduler is None and at_least(replicates, 1, "replicates") <= BATCH:
        running.Request.of(design, scenario, replicates, seed=seed, keep=keep)
        return run_batch(design, scenario, np.arange(replicates), seed=seed, keep=keep)
    return running.run(design, scenario, replicates, seed=seed, keep=keep, scheduler=scheduler)


def truth_of(design: TrialDesign, scenario: Any) -> Any:
    """True values of a design's regimes under a scenario."""
    from .. import nature

    return nature.truth(design, scenario)


def stream(seed: int, *path: int) -> int:
    """Another seed, whose random numbers have nothing to do with those of the first."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint32)[0])


def by_name(scenarios: Any, what: str) -> dict[str, Any]:
    """Scenarios by name: of one, of a sequence, or of a mapping; refused as :func:`bayesdtr.simulate` refuses them, in the name of `what`."""
    from ..running.driving import by_name as named

    return named(scenarios, what)


def at_least(value: Any, least: int, what: str) -> int:
    """A whole number of at least so many.

    Raises
    ------
    TrialError
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise TrialError(f"{what} is a whole number of at least {least}, got {value!r}.")
    return int(value)


def share(value: Any, what: str) -> float:
    """A number strictly between 0 and 1.

    Raises
    ------
    TrialError
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise TrialError(f"{what} is a number between 0 and 1, got {value!r}.")
    return float(value)
