"""Probability of success over the size of a trial: simulated points, the curve between them, the size that reaches the target."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..trial.characteristics import Sizing
from .style import BLUE, GREEN, INK, LINE, MUTED, ORANGE, SMALL, apart, dress, expected, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PALETTE = (BLUE, ORANGE, "#cc79a7", "#56b4e9", "#e69f00", INK)
POINTS = 121
CLOSE = 0.055
"""Labels at the end of curves keep this distance, in probability."""


def sizing_data(sizing: Sizing) -> "DataFrame":
    """What the plot shows.

    Returns
    -------
    pandas.DataFrame
        ``scenario``, ``source`` ("curve", "simulated" or "check"), ``size``, ``power``, ``lower``, ``upper``: the curve's 95 % band, and the exact
        95 % Monte Carlo interval of what was simulated.
    """
    import pandas as pd

    from ..trial.characteristics.estimates import exact_interval

    expected(sizing, Sizing, "sizing", "power_curve(...) and size_for(...)")
    parts = []
    for name, curve in sizing.curves.items():
        grid = np.linspace(curve.sizes.min(), curve.sizes.max(), POINTS)
        middle, low, high = curve.at(grid)
        parts.append(pd.DataFrame({"scenario": name, "source": "curve", "size": grid, "power": middle, "lower": low, "upper": high}))
    frame = sizing.frame()
    parts.append(frame[["scenario", "size", "power", "lower", "upper"]].assign(source="simulated"))
    if sizing.check is not None:
        low, high = exact_interval(sizing.check.successes, sizing.check.replicates)
        parts.append(pd.DataFrame({"scenario": next(iter(sizing.curves)), "source": "check", "size": [sizing.check.size],
                                   "power": [sizing.check.share], "lower": low, "upper": high}))
    return pd.concat(parts, ignore_index=True)[["scenario", "source", "size", "power", "lower", "upper"]]


def sizing(sizing: Sizing) -> "Figure":
    """Draw the probability of success over the size.

    Parameters
    ----------
    sizing : Sizing

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = sizing_data(sizing)
    figure = new_figure(6.8, 4.0)
    axes = figure.subplots()
    dress(axes, grid="y")
    axes.axhline(sizing.target, color=GREEN, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.text(data["size"].min(), sizing.target, f"target {sizing.target:g}", size=SMALL, color=GREEN, va="bottom")
    ends = apart([float(c.at(c.sizes.max())[0][0]) for c in sizing.curves.values()], CLOSE)
    for i, (name, end) in enumerate(zip(sizing.curves, ends, strict=True)):
        _scenario(axes, data[data["scenario"] == name], PALETTE[i % len(PALETTE)], sizing, name)
        axes.annotate(wrapped(plain(name), 22), (sizing.curves[name].sizes.max(), end), xytext=(7, 0), textcoords="offset points", size=SMALL,
                      color=PALETTE[i % len(PALETTE)], va="center", annotation_clip=False)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("patients in the trial", size=SMALL, color=INK)
    axes.set_title(wrapped(plain(f"P(success): {sizing.criterion}"), 80), size=SMALL, color=INK, loc="left")
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(LINE)
    checked = " Diamond: the size found, simulated with other random numbers." if sizing.check is not None else ""
    figure.supxlabel(wrapped(f"Points: {sizing.replicates:,} replicates, 95% intervals; curves: probit regression with its 95% band. Bar on the "
                             f"target: 95% interval of the size that reaches it.{checked}", 110), size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure


def _scenario(axes: "Axes", data: Any, color: str, sizing: Sizing, name: str) -> None:
    curve, points, check = (data[data["source"] == s] for s in ("curve", "simulated", "check"))
    axes.fill_between(curve["size"], curve["lower"], curve["upper"], color=color, alpha=0.18, linewidth=0, zorder=1)
    axes.plot(curve["size"], curve["power"], color=color, linewidth=1.6, zorder=2)
    for what, marker, size in ((points, "o", 4), (check, "D", 6)):
        axes.errorbar(what["size"], what["power"], yerr=[what["power"] - what["lower"], what["upper"] - what["power"]], color=color, linewidth=0,
                      elinewidth=1.0, marker=marker, markersize=size, zorder=3, markerfacecolor=color if marker == "o" else "none")
    size, low, high = sizing.size(name)
    if np.isfinite(size) and size > curve["size"].min():
        axes.hlines(sizing.target, low, high if np.isfinite(high) else curve["size"].max(), color=color, linewidth=4, alpha=0.6, zorder=2)
        axes.annotate(f"{size:g}", (size, sizing.target), xytext=(4, -10), textcoords="offset points", size=SMALL, color=color, weight="bold")
