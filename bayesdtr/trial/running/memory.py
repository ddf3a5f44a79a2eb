"""Runs held in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..batch import run_batch
from ..design import TrialDesign
from ..layout import Layout

BATCH = 512


@dataclass(frozen=True, eq=False)
class MemoryRun:
    """Replicates of a design under a scenario."""

    design: TrialDesign
    scenario: Any
    seed: int
    keep: str
    arrays: dict[str, np.ndarray]

    def __getitem__(self, field: str) -> np.ndarray:
        return self.arrays[field]

    @property
    def replicates(self) -> int:
        """Number of replicates."""
        return len(self.arrays["size"])

    @property
    def layout(self) -> Layout:
        """The axes of the records."""
        return self.design.layout


def run(design: TrialDesign, scenario: Any, replicates: int, *, seed: int, keep: str = "summary", out=None, scheduler=None, progress=False) -> MemoryRun:
    """Simulate replicates 0, 1, ... of a design under a scenario."""
    parts = [run_batch(design, scenario, np.arange(b, min(b + BATCH, replicates)), seed=seed, keep=keep) for b in range(0, replicates, BATCH)]
    return MemoryRun(design, scenario, seed, keep, {n: np.concatenate([p[n] for p in parts]) for n in parts[0]})
