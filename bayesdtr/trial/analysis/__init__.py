"""Posteriors of a batch of trials at one look."""

from .betas import Betas
from .drawn import Drawn
from .engines import analyst
from .protocol import Analyst, LookPosterior
from .spec import Analysis
from .values import Values

__all__ = ["Analysis", "Analyst", "Betas", "Drawn", "LookPosterior", "Values", "analyst"]
