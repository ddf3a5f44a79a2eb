"""The embedded regimes as a forest: value with its interval, P(best), the set of best, the reference."""

from typing import TYPE_CHECKING, Any

from ..decision import Comparison
from .style import BLUE, GREEN, INK, LINE, MUTED, SMALL, WHITE, decimals, dress, fixed, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST = 32
"""Regimes drawn at most, the best first; the data twin holds all of them."""


def embedded_data(comparison: Comparison) -> "DataFrame":
    """What the forest shows, one row per regime, highest mean first.

    Returns
    -------
    pandas.DataFrame
        Columns ``regime``, ``mean``, ``lower``, ``upper`` (equal-tailed, probability ``ci_prob``),
        ``p_best``, ``p_best_mcse``, ``patients`` (who followed it), ``best``, ``in_best_set``,
        ``reference`` (whether it does what the reference regime does), ``minus_reference``.
    """
    import numpy as np
    import pandas as pd

    rows = [
        {
            "regime": r.label, "mean": r.value.mean, "lower": r.value.lower, "upper": r.value.upper, "ci_prob": r.value.ci_prob,
            "p_best": r.p_best, "p_best_mcse": r.p_best_error, "patients": r.patients, "best": i == comparison.best,
            "in_best_set": r.in_best_set, "reference": same_as_reference(r.contrast),
            "minus_reference": r.contrast.mean if r.contrast else np.nan,
        }
        for i, r in enumerate(comparison.rows)
    ]
    return pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable", ignore_index=True)


def same_as_reference(contrast) -> bool:
    """Whether a regime's value equals the reference regime's in every draw."""
    return contrast is not None and contrast.sd == 0 and abs(contrast.mean) < 1e-12


def embedded(comparison: Comparison) -> "Figure":
    """Draw the forest of the embedded regimes.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = embedded_data(comparison)
    shown = data.head(MOST)
    labels = [wrapped(label, 42) for label in shown["regime"]]
    heights = [max(text.count("\n") + 1, 2) * 0.155 + 0.09 for text in labels]
    figure = new_figure(8.4, sum(heights) + 1.25)
    axes, side = figure.subplots(1, 2, width_ratios=[2.9, 2.6], sharey=True)
    positions, y = [], 0.0
    for height in heights:
        positions.append(y + height / 2)
        y += height
    _forest(axes, shown, positions)
    axes.set_ylim(y, -0.05)
    axes.set_yticks(positions, [plain(text) for text in labels])
    for tick, (_, row) in zip(axes.get_yticklabels(), shown.iterrows(), strict=True):
        tick.set_fontweight("bold" if row["best"] else "normal")
    prob = float(shown["ci_prob"].iloc[0])
    axes.set_xlabel(f"Value under the model: mean and {prob:.0%} equal-tailed interval", size=SMALL, color=INK)
    _columns(side, shown, positions, decimals(min(r.value.sd for r in comparison.rows)))
    note = f"Filled: in the {1 - comparison.alpha:.0%} simultaneous set of best; hollow: outside it."
    if len(data) > MOST:
        note += f" The {MOST} regimes with the highest mean of {len(data)}."
    figure.supxlabel(note, size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure


def _forest(axes: "Axes", shown: Any, positions: list[float]) -> None:
    dress(axes)
    known = shown["minus_reference"].notna()
    if known.any():
        at = float((shown["mean"] - shown["minus_reference"])[known].iloc[0])
        axes.axvline(at, color=GREEN, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
        axes.text(at, -0.04, "reference", size=SMALL, color=GREEN, ha="center", va="bottom")
    for y, (_, row) in zip(positions, shown.iterrows(), strict=True):
        color = BLUE if row["in_best_set"] else MUTED
        axes.plot([row["lower"], row["upper"]], [y, y], color=color, linewidth=2.4 if row["best"] else 1.5, solid_capstyle="butt", zorder=2)
        axes.plot([row["mean"]], [y], marker="o", markersize=8 if row["best"] else 6.5, markerfacecolor=color if row["in_best_set"] else WHITE,
                  markeredgecolor=color, markeredgewidth=1.4, zorder=3)


def _columns(axes: "Axes", shown: Any, positions: list[float], digits: int) -> None:
    """Numbers beside the forest."""
    axes.axis("off")
    axes.set_xlim(0, 1)
    for x, title in ((0.46, "mean (interval)"), (0.64, "P(best)"), (0.83, "followed")):
        axes.text(x, -0.04, title, size=SMALL, color=MUTED, ha="right", va="bottom")
    for y, (_, row) in zip(positions, shown.iterrows(), strict=True):
        numbers = f"{fixed(row['mean'], digits)} ({fixed(row['lower'], digits)} to {fixed(row['upper'], digits)})"
        weight = "bold" if row["best"] else "normal"
        axes.text(0.46, y, numbers, size=SMALL, color=INK, ha="right", va="center", weight=weight)
        chance = "< 0.001" if row["p_best"] < 0.001 else f"{row['p_best']:.3f}"
        axes.text(0.64, y, chance, size=SMALL, color=INK, ha="right", va="center", weight=weight)
        axes.text(0.83, y, f"{row['patients']}", size=SMALL, color=INK, ha="right", va="center")
        tag = "best" if row["best"] else "in set" if row["in_best_set"] else ""
        axes.text(0.86, y, tag, size=SMALL, color=BLUE, ha="left", va="center", weight=weight)
        if row["reference"]:
            axes.text(0.86, y + (0.13 if tag else 0), "reference", size=SMALL, color=GREEN, ha="left", va="center")
    axes.plot([0, 1], [0, 0], color=LINE, linewidth=0.8)
