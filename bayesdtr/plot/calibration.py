"""Error over the threshold under each null scenario, the threshold chosen, and what the check found there."""

from typing import TYPE_CHECKING, Any

from ..trial.characteristics import Calibration
from .style import BLUE, GREEN, INK, LINE, MUTED, ORANGE, SKY, SMALL, dress, expected, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def calibration_data(calibration: Calibration) -> "DataFrame":
    """What the plot shows.

    Returns
    -------
    pandas.DataFrame
        ``null``, ``cut``, ``error``, ``lower``, ``upper`` and ``source``: "calibration" (the curves, read off path maxima) or "check" (other
        simulations at the chosen threshold).
    """
    import pandas as pd

    expected(calibration, Calibration, "calibration", "calibrate(design, ...)")
    curve, checked = calibration.errors(), calibration.frame()
    curve["source"], checked["source"], checked["cut"] = "calibration", "check", calibration.cut
    return pd.concat([curve, checked[list(curve.columns)]], ignore_index=True)


def calibration(calibration: Calibration) -> "Figure":
    """Draw the error over the threshold.

    Parameters
    ----------
    calibration : Calibration

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = calibration_data(calibration)
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    dress(axes, grid="y")
    curves, checks = data[data["source"] == "calibration"], data[data["source"] == "check"]
    worst = curves.loc[curves[curves["cut"] == calibration.cut]["error"].idxmax(), "null"]
    for name, one in curves.groupby("null", sort=False):
        if name == worst:
            axes.fill_between(one["cut"], one["lower"], one["upper"], color=SKY, linewidth=0, zorder=1)
        axes.plot(one["cut"], one["error"], color=BLUE if name == worst else MUTED, linewidth=1.8 if name == worst else 0.8, zorder=3)
    axes.axhline(calibration.target, color=GREEN, linestyle=(0, (4, 3)), linewidth=1.2, zorder=2)
    axes.text(curves["cut"].min(), calibration.target, f"target {calibration.target:g}", size=SMALL, color=GREEN, va="bottom")
    axes.axvline(calibration.cut, color=ORANGE, linewidth=1.2, zorder=2)
    axes.errorbar(checks["cut"], checks["error"], yerr=[checks["error"] - checks["lower"], checks["upper"] - checks["error"]], color=ORANGE,
                  linewidth=0, elinewidth=1.2, marker="o", markersize=4, zorder=4)
    varying = not isinstance(calibration.threshold, float)
    axes.annotate(f"{'shift' if varying else 'threshold'} {calibration.cut:.4f}", (calibration.cut, 1), xycoords=("data", "axes fraction"),
                  xytext=(4, -2), textcoords="offset points", size=SMALL, color=ORANGE, va="top")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("shift of the thresholds on the logit scale" if varying else "threshold", size=SMALL, color=INK)
    axes.set_title("P(error) under null scenarios", size=SMALL, color=INK, loc="left")
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(LINE)
    names = curves["null"].nunique()
    others = f" grey: {names - 1} other null scenario{'s' * (names > 2)}." if names > 1 else ""
    figure.supxlabel(wrapped(plain(f"Blue: {worst}, the worst at the chosen threshold, with its exact 95% band;{others} "
                                   f"Orange: check of each on {calibration.check:,} other simulations, with 95% intervals."), 105),
                     size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure
