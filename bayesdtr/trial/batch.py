"""One batch of replicates: the seam between those who simulate and those who run, keep and read."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import TrialError, did_you_mean, listing
from ..runtime import allowed_threads
from ..study import Study
from . import counting
from .analysis import Analysis, Analyst, analyst, auditor
from .course import Course
from .design import TrialDesign
from .nature import Nature, Scenario, bind
from .records import KEEP

LEAST = 32
"""Replicates that are worth a thread of their own."""
COUNTED = 4096
"""Replicates of a batch whose patients are counted: a second's work."""


def run_batch(design: TrialDesign, scenario: Scenario, replicates: np.ndarray, *, seed: int, keep: str = "summary") -> dict[str, np.ndarray]:
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

    Raises
    ------
    TrialError
        For an unknown `keep`, or a scenario that does not fit the study.
    """
    if keep not in KEEP:
        raise TrialError(f"keep={keep!r}: levels of detail are {listing(KEEP)}{did_you_mean(keep, KEEP)}")
    if counting.applies(design, scenario, keep):
        return counting.run(design, scenario, np.asarray(replicates), seed=seed, keep=keep)
    nature, engine, audits = _made(design, scenario)
    replicates, threads = np.asarray(replicates), allowed_threads() if engine.divisible else 1
    share = max(-(-len(replicates) // threads), 1)
    parts = [replicates[i : i + share] for i in range(0, len(replicates), share)] or [replicates]
    one = lambda ids: Course(design, nature, engine, ids, seed=seed, keep=keep, auditor=audits).run()  # noqa: E731
    if len(parts) == 1 or share < LEAST:
        return one(replicates)
    with ThreadPoolExecutor(threads) as pool:
        made = list(pool.map(one, parts))
    return {name: np.concatenate([m[name] for m in made]) for name in made[0]}


def together(design: TrialDesign, scenario: Scenario, keep: str = "summary") -> int | None:
    """How many replicates are best simulated, and kept, at a time; None where it makes no difference.

    Trials that are counted take less than a millisecond each, and the less the more there are: simulating and keeping them by the hundred would
    take several times as long.
    """
    return COUNTED if counting.applies(design, scenario, keep) else None


@functools.lru_cache(maxsize=8)
def _made(design: TrialDesign, scenario: Scenario) -> tuple[Nature, Analyst, Analyst | None]:
    """What a design and a scenario need, made once for all batches of a process."""
    if counting.applies(design, scenario):
        # What was counted is followed patient by patient by the same posteriors, so that a replay agrees to the last bit.
        return bind(design, scenario), counting.CountedAnalyst(design), None
    nature = bind(design, scenario)
    if design.study.cluster is not None and scenario.clusters is not None and design.analysis.chosen(design.study) != "exact":
        from .analysis.laplace import CLUSTERS

        if (sites := len(scenario.clusters.labels)) > CLUSTERS:
            raise TrialError(f"Scenario {scenario.name!r} has {sites} sites, and simulated looks of a study with clusters hold up to {CLUSTERS}.")
    return nature, *_engines(design.study, design.analysis, design.size, design.blocks)


@functools.lru_cache(maxsize=4)
def _engines(study: Study, analysis: Analysis, size: int, blocks: int) -> tuple[Analyst, Analyst | None]:
    """A design's engine and its auditor; the same for all its allocation rules and thresholds, since what they compile takes long."""
    return analyst(study, analysis, size, blocks), auditor(study, analysis, size, blocks)
