"""The one look of all plots: colors, sizes, wrapped text. Never touches pyplot or global settings."""

import re
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DecisionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart by readers with any color vision; greys for what is background.
INK = "#1f2933"
MUTED = "#5f6b7a"
LINE = "#c9d1da"
PALE = "#eef2f6"
BLUE = "#0072b2"
SKY = "#d6e8f4"
ORANGE = "#d55e00"
CREAM = "#fdebdd"
GREEN = "#009e73"
WHITE = "#ffffff"

SMALL, NORMAL, LARGE = 8.0, 9.0, 10.5
"""Font sizes in points."""
LINE_HEIGHT = 1.35
POINTS = 72.0

SPARSE = 5
"""Fewer patients than this on an option cannot carry a recommendation by themselves; marked in every plot."""


def wrapped(text: str, width: int) -> str:
    """Fold a label onto lines of at most `width` characters; long names break at underscores first."""
    lines = [""]
    for token in re.findall(r"[^\s_]*_+|[^\s_]+|\s+", text):
        if len(lines[-1]) + len(token.rstrip()) > width and lines[-1].strip():
            lines.append("")
        if not token.strip() and not lines[-1]:
            continue
        while len(token) > width:
            lines[-1:] = [token[:width], ""]
            token = token[width:]
        lines[-1] += token
    return "\n".join(line.rstrip() for line in lines if line.strip())


def text_width(text: str, size: float = NORMAL, bold: bool = False) -> float:
    """Width of one line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    return TextPath((0, 0), plain(text), size=size, prop=FontProperties(weight="bold" if bold else "normal")).get_extents().width / POINTS


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def lines_height(text: str, size: float = NORMAL) -> float:
    """Height of a text of several lines in inches."""
    return (text.count("\n") + 1) * size * LINE_HEIGHT / POINTS


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of the given size in inches that lays itself out."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor=WHITE)


def canvas(width: float, height: float) -> tuple["Figure", "Axes"]:
    """A figure for a drawing, with one bare axes whose units are inches and whose y runs downwards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=WHITE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def dress(axes: "Axes", *, grid: Literal["x", "y"] | None = "x") -> None:
    """Quiet spines, small ticks, a light grid along one axis."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(labelsize=SMALL, colors=INK, length=0)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=LINE, linewidth=0.6)


def apart(heights: list[float], distance: float) -> list[float]:
    """Heights of labels that stand at least so far from each other, each as near to its own as the order allows."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved, at = list(heights), float("-inf")
    for i in order:
        at = moved[i] = max(heights[i], at + distance)
    return moved


def fixed(value: float, digits: int) -> str:
    """A number with fixed decimals, never a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def decimals(spread: float) -> int:
    """Decimals that show two significant digits of a spread."""
    import math

    if not math.isfinite(spread) or spread <= 0:
        return 2
    return int(min(max(1 - math.floor(math.log10(spread)), 0), 6))


def expected(given: Any, kind: type, plot: str, verb: str) -> None:
    """Refuse what a plot cannot draw.

    Raises
    ------
    DecisionError
    """
    if not isinstance(given, kind):
        raise DecisionError(f"plot.{plot} draws what {verb} returns, got {type(given).__name__}.")
