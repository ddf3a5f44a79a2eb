"""The study as a diagram: time runs down, decisions are squares, responses circles, covariates diamonds."""

from typing import TYPE_CHECKING, Any

from ..study.study import Study
from ..study.survival import Survival
from ..study.timeline import Baseline, Decision, Node, Response
from .style import BLUE, GREEN, INK, LARGE, LINE, MUTED, NORMAL, PALE, SKY, SMALL, WHITE, canvas, lines_height, plain, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

WIDTH, RAIL, TEXT = 7.6, 0.45, 0.85
"""Inches: width of the figure, position of the time line, left edge of the text."""
GAP = 0.22


def timeline_data(study: Study) -> "DataFrame":
    """What the diagram shows, one row per variable and condition.

    Returns
    -------
    pandas.DataFrame
        Columns ``step``, ``kind`` (baseline, decision, response, utility), ``stage``, ``name``,
        ``detail``, ``condition`` (empty: always), ``options`` (joined by " | "; empty unless a decision).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for step, node in enumerate(study.timeline, 1):
        common = {"step": step, "kind": type(node).__name__.lower(), "stage": study.stage(node.name), "name": node.name, "detail": _detail(node)}
        offered = node.choices if isinstance(node, Decision) else ()
        choices = [(str(c) if c.tests else "", " | ".join(o) or "the course ends") for c, o in offered] or [("", "")]
        rows += [{**common, "condition": condition, "options": options} for condition, options in choices]
    rows.append({"step": len(study.timeline) + 1, "kind": "utility", "stage": len(study.decisions), "name": "utility",
                 "detail": f"maximize the mean of {study.utility}", "condition": "", "options": ""})
    return pd.DataFrame(rows)


def _detail(node: Node) -> str:
    if isinstance(node, Baseline):
        return f"one of {', '.join(node.levels)}" if node.levels else "a number"
    if isinstance(node, Response):
        if node.family is None:
            return "model written by the user"
        if node.family.levels:
            return f"one of {', '.join(node.family.levels)}"
        if isinstance(node.family, Survival):
            return "a time" + (", censored where the event was not seen" if node.columns else "")
        return "yes or no (1 or 0)" if node.support == (0, 1) else f"a number ({node.family.name})"
    if node.assigned == "observed":
        return "observed, not randomized"
    if isinstance(node.probability, str):
        return f"randomized, probabilities in column {node.probability}"
    return "randomized" + (", " + ", ".join(f"{o} {p:g}" for o, p in node.probability) if node.probability else "")


def timeline(study: Study) -> "Figure":
    """Draw the study: variables in the order in which they are observed, each decision with its options.

    Parameters
    ----------
    study : Study

    Returns
    -------
    matplotlib.figure.Figure
    """
    blocks = [_block(node, study) for node in study.timeline]
    blocks.append(("utility", "Utility", wrapped(f"maximize the mean of {study.utility}", 78), []))
    heights = [lines_height(title, LARGE) + lines_height(detail, SMALL) + sum(r[1] for r in rows) for _, title, detail, rows in blocks]
    total = sum(heights) + GAP * (len(blocks) + 1)
    figure, axes = canvas(min(max(_reach(blocks), 4.0), WIDTH), total)
    axes.annotate("", (RAIL, total - GAP - heights[-1] + 0.02), (RAIL, GAP + 0.1),
                  arrowprops={"arrowstyle": "-|>", "color": LINE, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}, zorder=1)
    top = GAP
    for (kind, title, detail, rows), height in zip(blocks, heights, strict=True):
        _symbol(axes, kind, top + 0.1)
        axes.text(TEXT, top, plain(title), size=LARGE, weight="bold", color=INK, va="top")
        top_text = top + lines_height(title, LARGE)
        axes.text(TEXT, top_text, plain(detail), size=SMALL, color=MUTED, va="top")
        below = top_text + lines_height(detail, SMALL)
        for condition, row_height, pills in rows:
            _options(axes, below, condition, pills)
            below += row_height
        top += height + GAP
    return figure


def _block(node: Node, study: Study) -> tuple[str, str, str, list[tuple[str, float, list[list[str]]]]]:
    """Kind, title, detail, and per condition its text, height and rows of options."""
    kind = type(node).__name__.lower()
    title = f"Decision {study.stage(node.name)}: {node.name}" if isinstance(node, Decision) else node.name
    detail = {"baseline": "Baseline covariate, ", "response": "Response, ", "decision": ""}[kind] + _detail(node)
    rows = []
    if isinstance(node, Decision):
        for condition, options in node.choices:
            text = wrapped(f"if {condition}" + ("" if options else ": the course ends"), 90) if condition.tests else ""
            pills = _pill_rows(list(options)) if options else []
            rows.append((text, (lines_height(text, SMALL) + 0.02 if text else 0.04) + 0.3 * len(pills) + 0.04, pills))
    return kind, wrapped(title, 70), wrapped(detail, 92), rows


def _reach(blocks: list) -> float:
    """Width that the longest line needs."""
    wide = [4.0]
    for _, title, detail, rows in blocks:
        wide += [text_width(t, LARGE, bold=True) for t in title.split("\n")] + [text_width(t, SMALL) for t in detail.split("\n")]
        for condition, _, pills in rows:
            wide += [text_width(t, SMALL) for t in condition.split("\n")]
            wide += [sum(text_width(o) + 0.36 for o in row) + (1.2 if len(row) == 1 else 0.0) for row in pills]
    return TEXT + max(wide) + 0.25


def _pill_rows(options: list[str]) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    used = 0.0
    for option in (o if len(o) <= 60 else o[:59] + "…" for o in options):
        width = text_width(option, NORMAL) + 0.36
        if rows[-1] and used + width > WIDTH - TEXT - 0.2:
            rows.append([])
            used = 0.0
        rows[-1].append(option)
        used += width
    return rows


def _options(axes: "Axes", top: float, condition: str, pills: list[list[str]]) -> None:
    from matplotlib.patches import FancyBboxPatch

    if condition:
        axes.text(TEXT, top + 0.03, plain(condition), size=SMALL, color=INK, style="italic", va="top")
        top += lines_height(condition, SMALL) + 0.02
    single = sum(map(len, pills)) == 1
    for number, row in enumerate(pills):
        x, y = TEXT + 0.04, top + 0.06 + 0.3 * number
        for option in row:
            width = text_width(option, NORMAL) + 0.2
            axes.add_patch(FancyBboxPatch((x, y), width, 0.2, boxstyle="round,pad=0.02,rounding_size=0.06", facecolor=PALE if single else SKY,
                                          edgecolor=LINE if single else BLUE, linewidth=0.8))
            axes.text(x + width / 2, y + 0.1, plain(option), size=NORMAL, color=MUTED if single else INK, ha="center", va="center_baseline")
            x += width + 0.16
        if single:
            axes.text(x, y + 0.1, "the only option", size=SMALL, color=MUTED, va="center_baseline")


def _symbol(axes: "Axes", kind: str, y: float) -> None:
    marker, face, edge, size = {
        "baseline": ("D", PALE, MUTED, 9), "decision": ("s", BLUE, BLUE, 14), "response": ("o", WHITE, BLUE, 13), "utility": ("D", GREEN, GREEN, 11),
    }[kind]
    axes.plot([RAIL], [y], marker=marker, markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.6, zorder=3)
