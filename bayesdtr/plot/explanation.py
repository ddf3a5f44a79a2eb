"""What drove one recommendation: from an average patient's difference between two options to this patient's, variable by variable."""

from typing import TYPE_CHECKING, Any

from ..decision import Explanation
from .style import BLUE, INK, LINE, MUTED, NORMAL, ORANGE, SMALL, decimals, dress, expected, fixed, new_figure, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST = 12
"""Variables drawn one by one at most; smaller contributions are drawn together. The data twin holds all of them."""
ROW = 0.34


def explanation_data(explanation: Explanation) -> "DataFrame":
    """What the waterfall shows, one row per bar from top to bottom.

    Returns
    -------
    pandas.DataFrame
        Columns ``kind`` ("average", "variable" or "patient"), ``variable``, ``value`` (the patient's), ``usual``, ``begin``, ``end`` (of the
        bar, in units of the utility), ``contribution`` (``end - begin``), ``lower``, ``upper`` (equal-tailed interval of the contribution).
    """
    import numpy as np
    import pandas as pd

    expected(explanation, Explanation, "explanation", "regime.explain(...)")
    c = explanation.contributions
    at = c.base
    rows: list[dict[str, Any]] = []
    if c.rows:
        rows.append({"kind": "average", "variable": "average patient", "begin": 0.0, "end": at, "contribution": at})
    for r in c.rows:
        rows.append({"kind": "variable", "variable": r.name, "value": r.value, "usual": r.usual, "begin": at, "end": at + r.contribution,
                     "contribution": r.contribution, "lower": r.lower, "upper": r.upper})
        at += r.contribution
    d = explanation.difference
    rows.append({"kind": "patient", "variable": f"patient {explanation.patient}", "begin": 0.0, "end": c.total, "contribution": c.total,
                 "lower": d.lower, "upper": d.upper})
    found = pd.DataFrame(rows, columns=["kind", "variable", "value", "usual", "begin", "end", "contribution", "lower", "upper"])
    return found.astype({"value": object, "usual": object}).where(found.notna(), other=np.nan)


def explanation(explanation: Explanation) -> "Figure":
    """Draw the contributions to a recommendation as a waterfall.

    Parameters
    ----------
    explanation : Explanation
        From ``regime.explain(...)``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    data: Any = explanation_data(explanation)
    shown = _joined(data)
    figure = new_figure(8.4, ROW * len(shown) + 1.5)
    axes = figure.subplots()
    dress(axes)
    labels = []
    spread = max(shown[["begin", "end"]].to_numpy().max(), 0.0) - min(shown[["begin", "end"]].to_numpy().min(), 0.0)
    digits = decimals(spread / 10)
    for y, row in enumerate(shown.to_dict("records")):
        _bar(axes, y, row, digits)
        value = f" = {row['value']}" if isinstance(row["value"], str) else ""
        usual = f" ({row['usual']})" if isinstance(row["usual"], str) else ""
        labels.append(plain(wrapped(f"{row['variable']}{value}{usual}", 40)))
    axes.set_yticks(range(len(shown)), labels)
    for tick, kind in zip(axes.get_yticklabels(), shown["kind"], strict=True):
        tick.set_fontweight("normal" if kind == "variable" else "bold")
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.use_sticky_edges = False
    axes.margins(x=0.1)
    axes.set_xlabel(plain(f"Expected utility of {explanation.option} minus that of {explanation.against}"), size=SMALL, color=INK)
    title = f"{explanation.decision}, patient {explanation.patient}: {explanation.option} rather than {explanation.against}"
    axes.set_title(plain(wrapped(title, 96)), size=NORMAL, color=INK, loc="left", weight="bold")
    prob = f"{explanation.difference.ci_prob:.0%}"
    note = (f"Blue: speaks for {explanation.option}; orange: against it. Thin lines: {prob} equal-tailed intervals of each contribution and of the "
            "patient's difference.")
    figure.supxlabel(plain(wrapped(note, 128)), size=SMALL, color=MUTED, x=0.01, ha="left")
    return figure


def _joined(data: Any) -> Any:
    """The bars drawn: the smallest contributions together where there are too many."""
    import pandas as pd

    variables = data.index[data["kind"] == "variable"]
    if len(variables) <= MOST:
        return data
    kept, rest = variables[: MOST - 1], variables[MOST - 1 :]
    joined = {"kind": "variable", "variable": f"{len(rest)} others together", "begin": data["begin"][rest[0]], "end": data["end"][rest[-1]],
              "contribution": data["contribution"][rest].sum()}
    return pd.concat([data.loc[: kept[-1]], pd.DataFrame([joined]), data.loc[rest[-1] + 1 :]], ignore_index=True)


def _bar(axes: "Axes", y: int, row: dict[str, Any], digits: int) -> None:
    color = MUTED if row["kind"] == "average" else BLUE if row["contribution"] >= 0 else ORANGE
    axes.barh(y, row["end"] - row["begin"], left=row["begin"], height=0.55, color=color, zorder=2)
    axes.plot([row["end"], row["end"]], [y, y + 1] if row["kind"] != "patient" else [y, y], color=LINE, linewidth=0.8, zorder=1)
    if row["lower"] == row["lower"]:
        low, high = row["begin"] + row["lower"], row["begin"] + row["upper"]
        axes.plot([low, high], [y, y], color=INK, linewidth=1.0, zorder=3)
    right = max(row["begin"], row["end"], row["begin"] + row["upper"] if row["upper"] == row["upper"] else row["end"])
    sign = "+" if row["kind"] == "variable" and row["contribution"] > 0 else ""
    axes.annotate(sign + fixed(row["contribution"], digits), (right, y), xytext=(4, 0), textcoords="offset points", va="center", size=SMALL,
                  color=INK, weight="normal" if row["kind"] == "variable" else "bold")
