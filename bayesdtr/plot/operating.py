"""What a design does under each scenario beside equal allocation: what it concludes, whom it treats with what, how large it grows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..trial.characteristics import OperatingCharacteristics
from .style import BLUE, INK, LINE, MUTED, ORANGE, SMALL, dress, expected, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

CONCLUDES, TREATS, GROWS = "probability", "share of patients", "patients in the trial"
SHOWN = (
    (CONCLUDES, "type_1_error", "type I error"), (CONCLUDES, "power", "power"), (CONCLUDES, "wrong_declaration", "wrong declaration"),
    (CONCLUDES, "selects_best", "selects a best regime"), (TREATS, "share", "{}"), (GROWS, "size", "size"),
)
DECLARED = {"type_1_error", "power", "wrong_declaration"}
"""Not shown of designs without a rule that declares superiority."""
PANELS = (CONCLUDES, TREATS, GROWS)
COLORS = {"adaptive": BLUE, "equal": ORANGE}
NAMES = {"adaptive": "this design", "equal": "equal allocation"}
MOST_ARMS = 10
ROW, EDGE = 0.26, 0.95
"""Inches of a row, and of a scenario's title and axis."""


def operating_data(oc: OperatingCharacteristics) -> "DataFrame":
    """What the plot shows.

    Returns
    -------
    pandas.DataFrame
        One row per scenario, panel, label and design: ``scenario``, ``panel``, ``label``, ``design`` ("adaptive" or "equal"), ``value``, ``lower``,
        ``upper`` (95 % Monte Carlo interval), ``low``, ``high`` (5 % and 95 % points of the size; NaN of what is no size).
    """
    import pandas as pd

    expected(oc, OperatingCharacteristics, "operating", "simulate(design, ...)")
    rows = []
    for scenario in oc.runs:
        mine = [c for c in oc.characteristics if c.scenario == scenario]
        if not any(rule.declares for rule in oc.design.stopping):
            mine = [c for c in mine if c.quantity not in DECLARED]
        for panel, quantity, label in SHOWN:
            for c in [c for c in mine if c.quantity == quantity][:MOST_ARMS]:
                for design in COLORS:
                    e = getattr(c, design)
                    if not np.isfinite(e.value):
                        continue
                    ends = (np.nan, np.nan)
                    if quantity == "size":
                        ends = tuple(getattr(oc.get(scenario, "size_quantile", q), design).value for q in ("5%", "95%"))
                    rows.append({"scenario": scenario, "panel": panel, "label": label.replace("{}", c.of), "design": design, "value": e.value,
                                 "lower": e.lower, "upper": e.upper, "low": ends[0], "high": ends[1]})
    return pd.DataFrame(rows)


def operating(oc: OperatingCharacteristics) -> "Figure":
    """Draw what a design does under each scenario, beside equal allocation.

    Parameters
    ----------
    oc : OperatingCharacteristics

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = operating_data(oc)
    scenarios = list(oc.runs)
    counts = [max(data[(data["scenario"] == s) & (data["panel"] == p)]["label"].nunique() for p in PANELS) for s in scenarios]
    heights = [count * ROW + EDGE for count in counts]
    figure = new_figure(9.6, sum(heights) + 0.5)
    grid = figure.subplots(len(scenarios), len(PANELS), squeeze=False, gridspec_kw={"height_ratios": heights, "width_ratios": (1.2, 1.2, 0.8)})
    for axes, scenario, rows in zip(grid, scenarios, counts, strict=True):
        for panel, one in zip(PANELS, axes, strict=True):
            _panel(one, data[(data["scenario"] == scenario) & (data["panel"] == panel)], panel, rows)
        axes[0].set_title(wrapped(plain(scenario), 40), size=SMALL + 1, color=INK, loc="left", weight="bold")
    _scales(grid, data)
    figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]  # numbers under neighboring panels keep apart
    _legend(figure, [d for d in COLORS if (data["design"] == d).any()])
    return figure


def _panel(axes: "Axes", data: Any, panel: str, rows: int) -> None:
    dress(axes)
    labels = list(dict.fromkeys(data["label"]))
    for design, color in COLORS.items():
        mine = data[data["design"] == design]
        shift = 0.0 if data["design"].nunique() == 1 else -0.14 if design == "adaptive" else 0.14
        y = np.array([labels.index(label) for label in mine["label"]]) + shift
        axes.hlines(y, mine["low"], mine["high"], color=color, linewidth=5, alpha=0.22, zorder=2)
        axes.hlines(y, mine["lower"], mine["upper"], color=color, linewidth=1.6, zorder=3)
        axes.plot(mine["value"], y, color=color, linewidth=0, marker="o" if design == "adaptive" else "s", markersize=4.6, zorder=4)
    axes.set_yticks(range(len(labels)), [wrapped(plain(label), 24) for label in labels], size=SMALL)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlabel(panel, size=SMALL, color=MUTED)
    if panel == GROWS:
        axes.set_yticks([])


def _scales(grid: Any, data: Any) -> None:
    """One scale per column, so that scenarios can be compared down the page."""
    top = float(np.nanmax(data[data["panel"] == GROWS][["upper", "high"]].to_numpy()))
    for row in grid:
        row[0].set_xlim(-0.03, 1.03)
        row[1].set_xlim(0, max(float(data[data["panel"] == TREATS]["upper"].max()) * 1.08, 0.5))
        row[2].set_xlim(0, top * 1.08)
        for axes in row:
            axes.axvline(axes.get_xlim()[0], color=LINE, linewidth=0.8, zorder=1)


def _legend(figure: "Figure", designs: list[str]) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=COLORS[d], marker="o" if d == "adaptive" else "s", linewidth=1.6, markersize=4.6, label=NAMES[d]) for d in designs]
    figure.legend(handles=marks, loc="outside lower left", ncols=2, frameon=False, fontsize=SMALL, labelcolor=INK,
                  title="Lines: 95% Monte Carlo interval. Bars: from the 5% to the 95% point of the size.", title_fontsize=SMALL, alignment="left")
