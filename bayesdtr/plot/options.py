"""Every option in every cell of every decision: expected utility with its interval, patients, P(best)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..decision import Regime
from ..decision.reading.readable import Cell
from .style import BLUE, INK, LINE, MUTED, NORMAL, ORANGE, SMALL, SPARSE, WHITE, decimals, dress, fixed, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST = 60
"""Options drawn at most; the data twin holds all of them."""
ROW, HEAD = 0.27, 0.3


def options_data(regime: Regime, *, cells: Sequence[Cell] | None = None) -> "DataFrame":
    """What the plot shows, one row per decision, cell and option.

    Parameters
    ----------
    regime : Regime
    cells : sequence of Cell, optional
        ``regime.cells()``, where it is at hand.

    Returns
    -------
    pandas.DataFrame
        Columns ``decision``, ``cell``, ``cell_patients``, ``option``, ``expected_utility``,
        ``lower``, ``upper`` (95 %, equal-tailed), ``p_best``, ``share`` (of the cell's histories for
        which it is recommended), ``patients``, ``recommended``, ``sparse`` (fewer than five patients).
    """
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "decision": c.decision, "cell": c.label, "cell_patients": c.patients, "option": o.option, "expected_utility": o.expected_utility,
                "lower": o.lower, "upper": o.upper, "p_best": o.p_best, "share": o.share, "patients": o.patients,
                "recommended": o.option == c.option, "sparse": o.patients < SPARSE,
            }
            for c in (regime.cells() if cells is None else cells)
            for o in c.options
        ],
        columns=["decision", "cell", "cell_patients", "option", "expected_utility", "lower", "upper", "p_best", "share", "patients", "recommended",
                 "sparse"],
    )


def options(regime: Regime, *, cells: Sequence[Cell] | None = None) -> "Figure":
    """Draw the options of every cell side by side.

    Parameters
    ----------
    regime : Regime
    cells : sequence of Cell, optional
        ``regime.cells()``, where it is at hand.

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = options_data(regime, cells=cells)
    shown = data.head(MOST)
    heads, points, y, last = [], [], 0.0, None
    for i, row in shown.iterrows():
        key = (row["decision"], row["cell"])
        if key != last:
            text = wrapped(f"{row['decision']}: {row['cell']} ({row['cell_patients']} patients)", 96)
            y += 0.1 if last else 0.0
            heads.append((y, text))
            y += HEAD + 0.15 * text.count("\n")
            last = key
        points.append((y + ROW / 2, i))
        y += ROW
    figure = new_figure(8.4, y + 1.05)
    axes, side = figure.subplots(1, 2, width_ratios=[3.0, 2.5], sharey=True)
    _points(axes, shown, points)
    axes.set_ylim(y + 0.05, -0.02)
    for top, text in heads:
        axes.annotate(plain(text), (0, top + 0.05), xycoords=("figure fraction", "data"), xytext=(4, 0), textcoords="offset points", size=NORMAL,
                      weight="bold", color=INK, va="top", annotation_clip=False)
        axes.axhspan(top, top + HEAD - 0.04 + 0.15 * text.count("\n"), color=WHITE, zorder=2)
    axes.set_xlabel("Expected utility: mean and 95% equal-tailed interval", size=SMALL, color=INK)
    widths = shown["upper"] - shown["lower"]
    _columns(side, shown, points, decimals(float(widths.min()) / 4 if len(widths) else 1.0))
    note = f"Bold: recommended for most of the cell. Orange, hollow, dashed: fewer than {SPARSE} patients received it."
    figure.supxlabel(note + (f" First {MOST} of {len(data)} rows." if len(data) > MOST else ""), size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure


def _points(axes: "Axes", shown: Any, points: list[tuple[float, int]]) -> None:
    dress(axes)
    axes.set_yticks([y for y, _ in points], [plain(wrapped(shown["option"][i], 34)) for _, i in points])
    for tick, (_, i) in zip(axes.get_yticklabels(), points, strict=True):
        tick.set_fontweight("bold" if shown["recommended"][i] else "normal")
    for y, i in points:
        row = shown.loc[i]
        color = ORANGE if row["sparse"] else BLUE if row["recommended"] else MUTED
        axes.plot([row["lower"], row["upper"]], [y, y], color=color, linewidth=2.4 if row["recommended"] else 1.5,
                  linestyle=(0, (3, 1.5)) if row["sparse"] else "-", zorder=3)
        axes.plot([row["expected_utility"]], [y], marker="o", markersize=7, markerfacecolor=WHITE if row["sparse"] else color, markeredgecolor=color,
                  markeredgewidth=1.6, zorder=4)


def _columns(axes: "Axes", shown: Any, points: list[tuple[float, int]], digits: int) -> None:
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.plot([0, 1], [0, 0], color=LINE, linewidth=0.8)
    for x, title in ((0.46, "mean (interval)"), (0.63, "P(best)"), (0.99, "patients")):
        axes.text(x, -0.04, title, size=SMALL, color=MUTED, ha="right", va="bottom")
    for y, i in points:
        row = shown.loc[i]
        weight = "bold" if row["recommended"] else "normal"
        numbers = f"{fixed(row['expected_utility'], digits)} ({fixed(row['lower'], digits)} to {fixed(row['upper'], digits)})"
        axes.text(0.46, y, numbers, size=SMALL, color=INK, ha="right", va="center", weight=weight)
        axes.text(0.63, y, f"{row['p_best']:.3f}", size=SMALL, color=INK, ha="right", va="center", weight=weight)
        axes.text(0.99, y, ("only " if row["sparse"] else "") + str(row["patients"]), size=SMALL, color=ORANGE if row["sparse"] else INK,
                  ha="right", va="center", weight="bold" if row["sparse"] else "normal")
