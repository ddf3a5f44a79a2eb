"""When patients come and when their responses are known."""

from dataclasses import dataclass

from ...study import Study


@dataclass(frozen=True)
class Calendar:
    """Accrual and delays of a trial; by default one patient a unit of time, responses known at once."""

    def check(self, study: Study) -> None:
        """Raise `TrialError` where the calendar does not fit a study."""
