"""The value of a further trial against its size, under the value of knowing everything; its net benefit where costs are given."""

from typing import TYPE_CHECKING, Any

from ..decision import SampleInformation
from .style import BLUE, GREEN, INK, LINE, MUTED, ORANGE, SKY, SMALL, dress, expected, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

WIDTH = 1.96
"""Half width of the bands in Monte Carlo standard errors."""


def evsi_data(information: SampleInformation) -> "DataFrame":
    """What the plot shows, one row per size.

    Returns
    -------
    pandas.DataFrame
        As :meth:`bayesdtr.SampleInformation.frame`, with ``evsi_lower``, ``evsi_upper`` (95 % Monte Carlo band), ``evpi`` and, with a
        population, ``net_lower``, ``net_upper``.
    """
    expected(information, SampleInformation, "evsi", "evsi(posterior, ...)")
    data = information.frame()
    data["evsi_lower"], data["evsi_upper"] = data["evsi"] - WIDTH * data["error"], data["evsi"] + WIDTH * data["error"]
    data["evpi"] = information.evpi
    if information.population is not None:
        data["net_lower"], data["net_upper"] = data["net"] - WIDTH * data["net_error"], data["net"] + WIDTH * data["net_error"]
    return data


def evsi(information: SampleInformation) -> "Figure":
    """Draw the value of a further trial against its size.

    Parameters
    ----------
    information : SampleInformation

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = evsi_data(information)
    both = information.population is not None
    figure = new_figure(8.4 if both else 5.4, 3.6)
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    _value(axes[0], data)
    if both:
        _net(axes[1], data, information)
    gap = " " if both else "\n"
    figure.supxlabel(f"Shaded: 95% Monte Carlo error. Filled: EVSI;{gap}hollow: what its rules add in draws they were not learned from.",
                     size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure


def _value(axes: "Axes", data: Any) -> None:
    _frame(axes, data, "EVSI per patient treated afterwards")
    top = float(data["evpi"].iloc[0])
    axes.axhline(top, color=GREEN, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.text(float(data["size"].max()), top, "EVPI", size=SMALL, color=GREEN, ha="right", va="bottom")
    axes.fill_between(data["size"], data["evsi_lower"], data["evsi_upper"], color=SKY, linewidth=0, zorder=1)
    axes.plot(data["size"], data["evsi"], color=BLUE, linewidth=1.8, marker="o", markersize=5, zorder=3)
    axes.plot(data["size"], data["at_least"].clip(lower=0), color=BLUE, linewidth=0, marker="o", markersize=7, markerfacecolor="none", zorder=2)
    axes.set_ylim(bottom=min(0.0, float(data["evsi_lower"].min())))


def _net(axes: "Axes", data: Any, information: SampleInformation) -> None:
    _frame(axes, data, f"Net benefit for {information.population:,.0f} patients")
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    axes.fill_between(data["size"], data["net_lower"], data["net_upper"], color=SKY, linewidth=0, zorder=1)
    axes.plot(data["size"], data["net"], color=BLUE, linewidth=1.8, marker="o", markersize=5, zorder=3)
    best = data[data["best"]].iloc[0]
    axes.plot([best["size"]], [best["net"]], marker="o", markersize=9, color=ORANGE, zorder=4)
    side = "left" if best["size"] == data["size"].min() else "right" if best["size"] == data["size"].max() else "center"
    axes.annotate(f"best: {int(best['size'])}", (best["size"], best["net"]), xytext=({"left": 7, "right": -7}.get(side, 0), 9),
                  textcoords="offset points", size=SMALL, color=ORANGE, ha=side, weight="bold")


def _frame(axes: "Axes", data: Any, title: str) -> None:
    dress(axes, grid="y")
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(LINE)
    axes.set_title(title, size=SMALL, color=INK, loc="left")
    axes.set_xlabel("patients in the trial", size=SMALL, color=INK)
    axes.margins(y=0.15)
