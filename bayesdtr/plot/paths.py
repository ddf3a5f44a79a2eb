"""How simulated trials go, look by look: P(best) of each regime and the allocation to each arm, mean and bands."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DecisionError
from .style import BLUE, GREEN, INK, LINE, MUTED, ORANGE, SMALL, apart, dress, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PALETTE = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00", "#999999", INK)
BAND = (0.1, 0.9)
BELIEF, ALLOCATION = "P(best)", "allocation probability"
CLOSE = 0.06
"""Labels at the end of lines keep this distance, in probability."""
LONGEST = 34
"""Characters of a name that are shown."""


def paths_data(run: Any) -> "DataFrame":
    """What the plot shows.

    Parameters
    ----------
    run : Run or Replay
        Replicates kept look by look, or one trial as `replay` tells it.

    Returns
    -------
    pandas.DataFrame
        ``panel``, ``name`` (regime or arm), ``look`` (from 1), ``point`` (patients or time of the look), ``mean``, ``low``, ``high`` (10 % and 90 %
        points over replicates), ``going`` (share of trials not stopped before the look).
        Of several trials, one that has stopped keeps its last numbers; a single one is shown as far as it went.

    Raises
    ------
    DecisionError
        When the run was not kept look by look.
    """
    import pandas as pd

    design, read = _source(run)
    try:
        layout, points = design.layout, design.looks.points
        fields = {BELIEF: np.asarray(read("p_best_look")), ALLOCATION: np.asarray(read("probability_look"))}
    except (AttributeError, KeyError, TypeError):
        raise DecisionError("plot.paths draws a run that was kept look by look: simulate with keep='looks'.") from None
    names = {BELIEF: layout.regime_labels, ALLOCATION: layout.arm_labels}
    going = np.isfinite(fields[BELIEF]).any(axis=2).mean(axis=0)
    rows = []
    for panel, values in fields.items():
        kept = _carried(values) if len(values) > 1 else values  # one trial is shown as far as it went
        for i, name in enumerate(names[panel]):
            for look in range(kept.shape[1]):
                x = kept[:, look, i][np.isfinite(kept[:, look, i])]
                if len(x):
                    low, high = np.quantile(x, BAND)
                    rows.append({"panel": panel, "name": name, "look": look + 1, "point": points[look], "mean": x.mean(), "low": low, "high": high,
                                 "going": going[look]})
    return pd.DataFrame(rows)


def paths(run: Any) -> "Figure":
    """Draw P(best) and the allocation by look, mean and bands over replicates.

    Parameters
    ----------
    run : Run or Replay
        Replicates kept look by look, or one trial as `replay` tells it.

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = paths_data(run)
    figure = new_figure(9.2, 3.8)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    design, read = _source(run)
    count = len(np.asarray(read("p_best_look")))
    by = {"recruited": "patients recruited", "known": "patients with follow-up complete", "at": "time of the look"}[design.looks.by]
    for panel, one in zip((BELIEF, ALLOCATION), axes, strict=True):
        dress(one, grid="y")
        one.set_title(panel if count == 1 else f"{panel}: mean and {BAND[0]:.0%} to {BAND[1]:.0%} of trials", size=SMALL, color=INK, loc="left")
        one.set_xlabel(by, size=SMALL, color=INK)
        one.set_ylim(-0.02, 1.02)
        one.spines["left"].set_visible(True)
        one.spines["left"].set_color(LINE)
        _lines(one, data[data["panel"] == panel], bands=count > 1)
    told = "One simulated trial." if count == 1 else f"{count:,} simulated trials; one that has stopped keeps its last numbers."
    figure.supxlabel(told, size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure


def _source(given: Any) -> tuple[Any, Callable[[str], np.ndarray]]:
    """The design of a run or of one trial, and how to read its arrays with a leading axis of replicates."""
    records = getattr(given, "records", None)
    if isinstance(records, Mapping):
        return given.run.design, lambda name: np.asarray(records[name])[None]
    return getattr(given, "design", None), lambda name: given[name]


def _carried(values: np.ndarray) -> np.ndarray:
    """Values with NaN replaced by the last number before it, shape (replicate, look, name)."""
    there = np.isfinite(values)
    last = np.maximum.accumulate(np.where(there, np.arange(values.shape[1])[None, :, None], 0), axis=1)
    return np.take_along_axis(values, last, axis=1)


def _lines(axes: "Axes", data: Any, *, bands: bool) -> None:
    ends = []
    for i, (name, one) in enumerate(data.groupby("name", sort=False)):
        color = PALETTE[i % len(PALETTE)]
        if bands:
            axes.fill_between(one["point"], one["low"], one["high"], color=color, alpha=0.13, linewidth=0, zorder=1)
        axes.plot(one["point"], one["mean"], color=color, linewidth=1.7, marker="o", markersize=3, zorder=3)
        ends.append((float(one["mean"].iloc[-1]), float(one["point"].iloc[-1]), str(name), color))
    for (_, x, name, color), y in zip(ends, apart([e[0] for e in ends], CLOSE), strict=True):
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        axes.annotate(plain(short), (x, y), xytext=(6, 0), textcoords="offset points", size=SMALL, color=color, va="center", annotation_clip=False)
