"""Posteriors of a batch of trials at one look."""

from .drawn import Drawn
from .protocol import Analyst, LookPosterior
from .spec import Analysis
from .values import Values

__all__ = ["Analysis", "Analyst", "Drawn", "LookPosterior", "Values"]
