"""Batches, stores, workers: the same numbers wherever they run."""

from .memory import MemoryRun, run

__all__ = ["MemoryRun", "run"]
