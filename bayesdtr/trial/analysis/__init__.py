"""Posteriors of a batch of trials at one look."""

from .audit import Audit, Audited, audited, refit
from .betas import Betas
from .drawn import Drawn
from .laplace import LaplaceAnalyst
from .nuts import NutsAnalyst
from .protocol import Analyst, LookPosterior
from .spec import Analysis
from .values import Values

__all__ = [
    "Analysis", "Analyst", "Audit", "Audited", "Betas", "Drawn", "LaplaceAnalyst", "LookPosterior", "NutsAnalyst", "Values", "audited", "refit",
]
