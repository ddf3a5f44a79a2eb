"""Plain text that fits a terminal of 100 columns."""

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
