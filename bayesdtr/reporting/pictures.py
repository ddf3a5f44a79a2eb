"""Figures as text to put inside a document."""

import base64
import io
from typing import TYPE_CHECKING

from .blocks import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def inlined(figure: "Figure") -> str:
    """A figure as a data address: SVG with its letters drawn as shapes, so that it looks the same everywhere."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "bayesdtr"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def picture(figure: "Figure", description: str, caption: str) -> Picture:
    """Put a figure into the document, at its natural width in CSS pixels."""
    return Picture(inlined(figure), description, caption, round(figure.get_figwidth() * 96))
