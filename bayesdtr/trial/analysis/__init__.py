"""Posteriors of a batch of trials at one look."""

from .betas import Betas
from .cells import CellsAnalyst
from .drawn import Drawn
from .engines import analyst, auditor
from .matched import Matched
from .protocol import Analyst, LookPosterior
from .spec import Analysis
from .students import Students
from .values import Later, Values

__all__ = ["Analysis", "Analyst", "Betas", "CellsAnalyst", "Drawn", "Later", "LookPosterior", "Matched", "Students", "Values", "analyst",
           "auditor"]
