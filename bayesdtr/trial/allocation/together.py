"""What the rules of a study's decisions must have in common."""

from collections.abc import Mapping

from ...errors import TrialError, listing
from .rule import AllocationRule


def check_together(rules: Mapping[str, AllocationRule]) -> None:
    """Raise `TrialError` unless rules that draw a whole regime at baseline rule every decision.

    Parameters
    ----------
    rules : mapping of decision to AllocationRule
    """
    drawing = [name for name, rule in rules.items() if rule.draws_regimes]
    if drawing and len({rules[name] for name in rules}) > 1:
        others = [name for name in rules if name not in drawing]
        where = f"{listing(others)} by another rule" if others else "decisions by different rules of this kind"
        raise TrialError(f"A rule with level='sequence' draws the options of all decisions at once, and this design assigns {where}; "
                         "give one rule for all decisions.")
