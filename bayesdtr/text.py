"""Plain text that fits a terminal of 100 columns."""

import math
import textwrap

WIDTH = 98


def fold(text: str, indent: int = 4) -> str:
    """Fold every line that is too long; what follows on is indented further than its line."""
    out = []
    for line in text.splitlines():
        lead = len(line) - len(line.lstrip())
        if len(line) <= WIDTH:
            out.append(line)
        else:
            out.append(textwrap.fill(line.strip(), WIDTH, initial_indent=" " * lead, subsequent_indent=" " * (lead + indent), break_on_hyphens=False))
    return "\n".join(out)


def number(value: float, form: str) -> str:
    """A number in a format, or words where it is not one."""
    return "not defined" if value != value else format(value, form)


def places(*spreads: float, figures: int = 3) -> int | None:
    """Decimals that show so many significant figures of the smallest positive spread; None where there is none.

    Spreads below a thousandth of the largest are left out: one regime whose value hardly varies does not lengthen the numbers of all.
    """
    positive = [s for s in spreads if 0 < s < math.inf]
    smallest = min((s for s in positive if s > max(positive) / 1000), default=None)
    return None if smallest is None else min(max(figures - 1 - math.floor(math.log10(smallest)), 0), 8)


def decimal(value: float, digits: int | None) -> str:
    """A number with so many decimals, four significant figures where that is None."""
    if digits is None or not math.isfinite(value):
        return f"{value:.4g}"
    return f"{round(value, digits) + 0.0:.{digits}f}"
