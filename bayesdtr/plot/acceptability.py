"""Acceptability curves over willingness to pay, with the frontier and the expected value of perfect information below."""

from typing import TYPE_CHECKING, Any

from ..decision import Acceptability
from .style import BLUE, GREEN, INK, LINE, MUTED, ORANGE, SMALL, dress, expected, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLORS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00")
"""Of the regimes drawn one by one, those that are ever most probable first; the others are one grey curve together."""
OTHERS = "the others together"


def acceptability_data(result: Acceptability) -> "DataFrame":
    """What the curves show, one row per threshold and curve.

    Returns
    -------
    pandas.DataFrame
        Columns ``threshold``, ``regime``, ``p_best`` and ``p_best_mcse``, ``frontier`` (highest expected net monetary benefit), ``evpi``.
        Regimes beyond those drawn one by one are one curve, whose ``p_best`` is their sum and whose error is left empty.
    """
    import pandas as pd

    expected(result, Acceptability, "acceptability", "acceptability(posterior, ...)")
    frame: Any = result.frame()
    frame = frame[frame["p_best"].notna()]
    columns = ["threshold", "regime", "p_best", "p_best_mcse", "frontier", "evpi"]
    drawn = _drawn(result)
    rest = frame[~frame["regime"].isin(drawn)]
    lines = [frame[frame["regime"] == label][columns] for label in drawn]
    if len(rest):
        grouped = rest.groupby("threshold", sort=True).agg(p_best=("p_best", "sum"), frontier=("frontier", "any"), evpi=("evpi", "first"))
        lines.append(grouped.reset_index().assign(regime=OTHERS, p_best_mcse=float("nan"))[columns])
    return pd.concat(lines, ignore_index=True)


def _drawn(result: Acceptability) -> list[str]:
    """Labels drawn one by one: those on the frontier in its order, then the most probable."""
    order = list(dict.fromkeys(int(r) for r in result.best))
    order += [int(r) for r in (-result.p_best.max(axis=0)).argsort(kind="stable") if int(r) not in order]
    return [result.labels[r] for r in order[: len(COLORS)]]


def acceptability(result: Acceptability) -> "Figure":
    """Draw acceptability curves; the frontier is drawn thick.

    Parameters
    ----------
    result : Acceptability

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = acceptability_data(result)
    drawn = _drawn(result)
    labels = [wrapped(label, 44) for label in drawn]
    lines = sum(text.count("\n") + 1 for text in labels) + 3
    figure = new_figure(8.4, max(4.6, 0.17 * lines + 1.2))
    grid = figure.add_gridspec(2, 2, width_ratios=[2.0, 1.35], height_ratios=[2.6, 1.0])
    upper = figure.add_subplot(grid[0, 0])
    lower, key = figure.add_subplot(grid[1, 0], sharex=upper), figure.add_subplot(grid[:, 1])
    for axes in (upper, lower):
        dress(axes, grid="y")
    handles = []
    for label, color in [*zip([*drawn], COLORS, strict=False), (OTHERS, MUTED)]:
        part = data[data["regime"] == label]
        if not len(part):
            continue
        dotted = (0, (1, 1.5)) if label == OTHERS else "solid"
        handles.append(upper.plot(part["threshold"], part["p_best"], color=color, linewidth=1.3, linestyle=dotted, zorder=2)[0])
        if label != OTHERS:
            best = part["p_best"].where(part["frontier"])
            upper.plot(part["threshold"], best, color=color, linewidth=3.6, solid_capstyle="butt", zorder=3,
                       marker="o" if best.notna().sum() == 1 else None)
    one = data.drop_duplicates("threshold")
    for change in result.changes:
        for axes in (upper, lower):
            axes.axvline(change.threshold, color=LINE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    lower.plot(one["threshold"], one["evpi"], color=INK, linewidth=1.3)
    upper.set_ylim(0, 1.02)
    lower.set_ylim(0, None)
    upper.set_ylabel("P(highest net benefit)", size=SMALL, color=INK)
    lower.set_ylabel("EVPI\nper patient", size=SMALL, color=INK)
    lower.set_xlabel("Threshold: what a unit of effect is worth, in units of cost", size=SMALL, color=INK)
    upper.tick_params(labelbottom=False)
    key.axis("off")
    names = [plain(text) for text in labels] + ([OTHERS] if len(handles) > len(labels) else [])
    key.legend(handles, names, loc="upper left", frameon=False, fontsize=SMALL, labelcolor=INK, handlelength=1.4, borderaxespad=0)
    note = "Thick: highest expected net monetary benefit (the frontier); dashed: where it changes. Under the model, among the regimes compared."
    figure.supxlabel(wrapped(note, 118), size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure
