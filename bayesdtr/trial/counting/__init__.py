"""The engine for trials of exchangeable patients: the patients of the patient-level course, counted instead of followed."""

from .analyst import CountedAnalyst
from .engine import run
from .plan import applies

__all__ = ["CountedAnalyst", "applies", "run"]
