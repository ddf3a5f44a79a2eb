"""What is true in a simulation: scenarios, patients, the calendar."""

from .calendar import Calendar
from .patients import Nature, Patients

__all__ = ["Calendar", "Nature", "Patients"]
