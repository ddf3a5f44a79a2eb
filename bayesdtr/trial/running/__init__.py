"""Batches, stores, workers: the same numbers wherever they run."""

from .driving import Request, run
from .replay import Replay, replay
from .run import Run

__all__ = ["Replay", "Request", "Run", "replay", "run"]
