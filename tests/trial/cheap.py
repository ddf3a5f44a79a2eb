"""A stand-in for `run_batch` that costs next to nothing and is known to the last bit: noise of (seed, replicate) alone in every array."""

import os
import time
import zlib
from dataclasses import dataclass

import numpy as np

from bayesdtr.errors import TrialError
from bayesdtr.study import Bernoulli, Decision, Response, Saturated, Study, Utility
from bayesdtr.trial.allocation import Thompson
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.records import FIELDS, blank, kept


@dataclass(frozen=True)
class Weather:
    """A scenario of nothing but a name and a number."""

    name: str
    shift: float = 0.0

    def check(self, study) -> None:
        if self.shift < 0:
            raise TrialError(f"shift is {self.shift!r}; it cannot be negative.")

    def description(self) -> dict:
        return {"name": self.name, "shift": self.shift}


def design(size=12, looks=(6, 12), floor=0.1) -> TrialDesign:
    study = Study(Decision("treatment", ["A", "B"]), Response("event", Bernoulli(), model=Saturated()), utility=Utility("event"))
    return TrialDesign(study, size=size, looks=list(looks), allocation=Thompson(floor=floor))


def noise(name, seed, number, adaptive, shift, cells) -> np.ndarray:
    """Whole numbers below 2^53, one for each replicate and cell (the mixer of SplitMix64)."""
    start = zlib.crc32(f"{name} {seed} {adaptive} {shift}".encode())
    x = np.asarray(number, np.uint64)[:, None] * np.uint64(1_000_003) + np.arange(cells, dtype=np.uint64) + np.uint64(start << 30)
    for shift_by, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift_by))) * np.uint64(factor)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(11)


def cheap(design, scenario, replicates, *, seed, keep="summary"):
    """Every array of noise, whatever the level of detail; sizes are such that a trial can be told."""
    made = blank(design.layout, len(replicates), keep)
    for name, array in made.items():
        drawn = noise(name, seed, replicates, design.adaptive, scenario.shift, int(np.prod(array.shape[1:]))).reshape(array.shape)
        array[...] = drawn / 2.0**53 if FIELDS[name].dtype == "float64" else drawn % 2
    made["size"][:], made["stopped_by"][:] = design.size, -1
    return made


def counting(design, scenario, replicates, **how):
    """As `cheap`, and notes in the file named by COUNTED which replicates were asked for."""
    with open(os.environ["COUNTED"], "a") as file:
        file.write("".join(f"{scenario.name} {int(design.adaptive)} {r}\n" for r in replicates))
    return cheap(design, scenario, replicates, **how)


def slow(design, scenario, replicates, **how):
    """As `cheap`, a fifth of a second a batch."""
    time.sleep(0.2)
    return cheap(design, scenario, replicates, **how)


def busy(design, scenario, replicates, **how):
    """As `cheap`, with half a second of work for one core."""
    end = time.process_time() + 0.5
    x = 0
    while time.process_time() < end:
        x += sum(range(1000))
    return cheap(design, scenario, replicates, **how)


def all_arrays(run) -> dict[str, bytes]:
    return {name: run[name].tobytes() for name in kept(run.keep)}
