"""`Run`: the replicates of one design under one scenario, read from disk when asked for."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ..design import TrialDesign
from ..layout import Layout
from ..records import FIELDS, kept
from .store import Store


@dataclass(frozen=True, eq=False)
class Run:
    """Replicates 0, 1, ... of a design under a scenario.

    ``run["size"]`` is an array over replicates; `bayesdtr.trial.records.FIELDS` names all of them with their dims.

    Attributes
    ----------
    design : TrialDesign
        With equal allocation where the run is what an adaptive design is compared with.
    scenario : Scenario
    seed : int
    keep : {"summary", "looks", "patients"}
    replicates : int
    """

    design: TrialDesign
    scenario: Any
    seed: int
    keep: str
    replicates: int
    store: Store = field(repr=False)
    held: Any = field(default=None, repr=False)
    """What must live as long as the run: the temporary folder of one that nobody asked to keep."""

    @property
    def layout(self) -> Layout:
        """The axes of the records."""
        return self.design.layout

    @property
    def versions(self) -> list[dict[str, str]]:
        """Versions of the packages that replicates were simulated with, one for each time that some were added under others."""
        found: list[dict[str, str]] = []
        for one in self.store.sessions:
            if one["versions"] not in found:
                found.append(one["versions"])
        return found

    def __getitem__(self, name: str) -> np.ndarray:
        """An array of the records, shape (replicate, ...).

        Raises
        ------
        TrialError
            For an unknown name, or one that was not kept.
        """
        return self._read(name, 0, self.replicates)

    def records(self, which: slice | None = None) -> dict[str, np.ndarray]:
        """All arrays that were kept, of some consecutive replicates or of all."""
        start, stop, step = (which or slice(None)).indices(self.replicates)
        if step != 1:
            raise TrialError(f"records(...) takes consecutive replicates, got {which!r}.")
        return {name: self._read(name, start, max(start, stop)) for name in kept(self.keep)}

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        if name not in FIELDS:
            raise TrialError(f"A run has no array {name!r}; there are {listing(kept(self.keep), 60)}{did_you_mean(name, FIELDS)}")
        if name not in kept(self.keep):
            raise TrialError(f"The array {name!r} was not kept; simulate with keep={FIELDS[name].keep!r} (this run has keep={self.keep!r}).")
        return self.store.read(name, start, stop)

    def __len__(self) -> int:
        return self.replicates

    def __str__(self) -> str:
        allocation = "adaptive allocation" if self.design.adaptive else "allocation that looks at no outcomes"
        return f"{self.replicates:,} replicates under {self.scenario.name!r}, {allocation}, seed {self.seed}, keep={self.keep!r}"
