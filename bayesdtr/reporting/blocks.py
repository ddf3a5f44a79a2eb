"""The parts a section of a report is made of. Plain data: the template turns them into HTML and escapes every text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..plot.style import decimals, fixed

NOT_PROVIDED = "not provided"


@dataclass(frozen=True)
class Paragraph:
    """Running text; `tone` is "", "note" or "alarm"."""

    text: str
    tone: str = ""
    kind: str = "paragraph"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "points"


@dataclass(frozen=True)
class Table:
    """A table; `numeric` holds the positions of columns set flush right, `strong` those of rows set in bold."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A figure inside the document."""

    source: str
    description: str
    caption: str
    width: int
    kind: str = "picture"


@dataclass(frozen=True)
class Code:
    """Text in fixed width, lines kept."""

    text: str
    kind: str = "code"


Block = Paragraph | Heading | Points | Table | Picture | Code


@dataclass(frozen=True)
class Section:
    """A numbered section; `serves` names the reporting guidelines it is aligned with."""

    key: str
    title: str
    serves: str
    blocks: tuple[Block, ...]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: Sequence[int] = (), strong: Sequence[int] = (),
          caption: str = "") -> Table:
    """Make a table of anything that can be written as text."""
    return Table(tuple(columns), tuple(tuple(str(cell) for cell in row) for row in rows), tuple(numeric), tuple(strong), caption)


def chance(p: float) -> str:
    """A probability for a table."""
    return "below 0.001" if p < 0.001 else "above 0.999" if p > 0.999 else f"{p:.3f}"


def amount(x: float, digits: int) -> str:
    """A number for a table; a dash for none."""
    return fixed(x, digits) if np.isfinite(x) else "–"


def interval(low: float, high: float, digits: int) -> str:
    """Two ends of an interval."""
    return f"{amount(low, digits)} to {amount(high, digits)}"


def digits_for(*spreads: float) -> int:
    """Decimals that show two significant digits of the smallest positive spread."""
    positive = [s for s in spreads if np.isfinite(s) and s > 0]
    return decimals(min(positive)) if positive else 2
