"""One batch of replicates: the seam between those who simulate and those who run, keep and read."""

import numpy as np

from .design import TrialDesign


def run_batch(design: TrialDesign, scenario: "object", replicates: np.ndarray, *, seed: int, keep: str = "summary") -> dict[str, np.ndarray]:
    """Simulate some replicates of a design under a scenario.

    A replicate's records depend on the design, the scenario, the seed and its own number alone, to the last bit.

    Parameters
    ----------
    design : TrialDesign
    scenario : Scenario
    replicates : array of int, shape (trial,)
    seed : int
    keep : {"summary", "looks", "patients"}

    Returns
    -------
    dict of str to array, shape (trial, ...)
        As `records.FIELDS` says.
    """
    raise NotImplementedError
