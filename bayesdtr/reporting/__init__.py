"""The posterior report as one HTML file, its summary as JSON, its figures as PNG files. This layer assembles and never fits."""

from .figures import write_figures
from .report import report
from .summary import summary, write_summary

__all__ = ["report", "summary", "write_figures", "write_summary"]
