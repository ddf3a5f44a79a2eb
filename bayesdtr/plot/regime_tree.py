"""The recommended rule as a tree over the discrete history, drawn from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..decision import Regime
from ..decision.reading.readable import CONDITION, Cell
from .style import BLUE, CREAM, GREEN, INK, LINE, MUTED, NORMAL, ORANGE, PALE, SKY, SMALL, SPARSE, canvas, lines_height, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

BOX, JOINT, PAD, GAP, MARGIN = 2.0, 1.35, 0.09, 0.16, 0.15
"""Inches: width of a box, width of the joint to the next one, padding in a box, gap between boxes, margin."""


@dataclass
class Leaf:
    """One cell placed in the tree; `text` is what its box says."""

    cell: Cell
    on_path: bool
    text: list[str]
    parent: "Leaf | None" = None
    children: list["Leaf"] = field(default_factory=list)
    edge: str = ""
    column: int = 0
    middle: float = 0.0

    @property
    def height(self) -> float:
        """Height of the box in inches."""
        return 2 * PAD + sum(lines_height(t, NORMAL if i == 0 else SMALL) for i, t in enumerate(self.text))


def sparse_options(cell: Cell) -> list[tuple[str, int]]:
    """Options recommended to anybody in a cell that fewer than five patients of the cell received, with their number."""
    return [(o.option, o.patients) for o in cell.options if o.share > 0 and o.patients < SPARSE]


def on_path(cells: Sequence[Cell]) -> list[bool]:
    """Whether a patient who follows the rule from the start can reach each cell."""
    offered: dict[str, set[str]] = {}
    found = []
    for cell in cells:
        reached = all(label in offered[name] for name, label in cell.history if name in offered)
        found.append(reached)
        if reached:
            offered.setdefault(cell.decision, set()).update(o.option for o in cell.options if o.share > 0)
    return found


def regime_tree_data(regime: Regime, *, cells: Sequence[Cell] | None = None) -> "DataFrame":
    """What the tree shows, one row per decision and cell.

    Parameters
    ----------
    regime : Regime
    cells : sequence of Cell, optional
        ``regime.cells()``, where it is at hand.

    Returns
    -------
    pandas.DataFrame
        Columns ``decision``, ``cell``, ``patients``, ``option``, ``share``, ``expected_utility``,
        ``p_best``, ``received`` (patients of the cell who received the option), ``sparse`` (fewer
        than five on an option recommended there), ``on_path`` (reached by who follows the rule).
    """
    import pandas as pd

    cells = regime.cells() if cells is None else cells
    rows = []
    for cell, reached in zip(cells, on_path(cells), strict=True):
        top = next(o for o in cell.options if o.option == cell.option)
        rows.append({"decision": cell.decision, "cell": cell.label, "patients": cell.patients, "option": cell.option, "share": top.share,
                     "expected_utility": top.expected_utility, "p_best": top.p_best, "received": top.patients,
                     "sparse": bool(sparse_options(cell)), "on_path": reached})
    return pd.DataFrame(rows)


def regime_tree(regime: Regime, *, cells: Sequence[Cell] | None = None) -> "Figure":
    """Draw the recommended rule.

    Parameters
    ----------
    regime : Regime
    cells : sequence of Cell, optional
        ``regime.cells()``, where it is at hand.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    leaves = _leaves(regime.cells() if cells is None else cells, [d.name for d in regime.posterior.study.decisions])
    if not leaves:
        return Figure(figsize=(4, 1))
    bottom = MARGIN + 0.3
    for root in (leaf for leaf in leaves if leaf.parent is None):
        bottom = _place(root, bottom) + GAP
    depth = max(leaf.column for leaf in leaves)
    width = 2 * MARGIN + (depth + 1) * BOX + depth * JOINT
    sparse = any(sparse_options(leaf.cell) for leaf in leaves)
    note = "Blue: reached when the rule is followed from the start. Grey: what to do if an earlier treatment was another." + (
        f" Orange, dashed: a recommended option that fewer than {SPARSE} patients received there." if sparse else "")
    note = wrapped(note, int(width * 14.5))
    figure, axes = canvas(width, bottom + lines_height(note, SMALL) + 0.08)
    _headings(axes, leaves)
    for leaf in leaves:
        _draw(axes, leaf)
    axes.text(MARGIN, bottom - 0.02, note, size=SMALL, color=MUTED, va="top")
    return figure


def _leaves(cells: Sequence[Cell], order: list[str]) -> list[Leaf]:
    leaves = [Leaf(cell, reached, _text(cell)) for cell, reached in zip(cells, on_path(cells), strict=True)]
    columns = {name: i for i, name in enumerate(dict.fromkeys(leaf.cell.decision for leaf in leaves))}
    for leaf in leaves:
        leaf.column = columns[leaf.cell.decision]
        mine = dict(leaf.cell.history)
        earlier = [
            other for other in leaves
            if order.index(other.cell.decision) < order.index(leaf.cell.decision)
            and all(mine.get(n) == v for n, v in other.cell.history if n != CONDITION)
            and mine.get(other.cell.decision) in {o.option for o in other.cell.options}
        ]
        if earlier:
            leaf.parent = max(earlier, key=lambda other: order.index(other.cell.decision))
            leaf.parent.children.append(leaf)
        known = dict(leaf.parent.cell.history) if leaf.parent else {}
        leaf.edge = "\n".join(
            wrapped(label if name == CONDITION else f"{name} = {label}", 20)
            for name, label in leaf.cell.history if name == CONDITION or known.get(name) != label
        )
    return leaves


def _text(cell: Cell) -> list[str]:
    shares = sorted((o for o in cell.options if o.share > 0), key=lambda o: -o.share)
    if len(shares) == 1:
        lines = [wrapped(shares[0].option, 24), f"P(best) {shares[0].p_best:.2f}; {cell.patients} patients here"]
    else:
        split = "\n".join(wrapped(f"{o.option}: {o.share:.0%}", 24) for o in shares)
        lines = [split, wrapped(f"of the {cell.patients} patients here, by their covariates", 32)]
    return lines + [wrapped(f"only {n} of {cell.patients} received {option}", 30) for option, n in sparse_options(cell)]


def _place(leaf: Leaf, top: float) -> float:
    """Give a subtree its vertical positions from `top` on; return where it ends."""
    if not leaf.children:
        height = max(leaf.height, lines_height(leaf.edge, SMALL) + 0.06)
        leaf.middle = top + height / 2
        return top + height
    end = top
    for i, child in enumerate(leaf.children):
        end = _place(child, end + (GAP if i else 0.0))
    leaf.middle = (leaf.children[0].middle + leaf.children[-1].middle) / 2
    return max(end, leaf.middle + leaf.height / 2)


def _left(leaf: Leaf) -> float:
    return MARGIN + leaf.column * (BOX + JOINT)


def _headings(axes: "Axes", leaves: list[Leaf]) -> None:
    for column, name in {leaf.column: leaf.cell.decision for leaf in leaves}.items():
        axes.text(MARGIN + column * (BOX + JOINT), MARGIN, plain(wrapped(name, 26).split("\n")[0]), size=NORMAL, weight="bold", color=INK, va="top")


def _draw(axes: "Axes", leaf: Leaf) -> None:
    from matplotlib.patches import FancyBboxPatch

    sparse = bool(sparse_options(leaf.cell))
    face, edge = (SKY, BLUE) if leaf.on_path else (PALE, LINE)
    if sparse:
        face, edge = CREAM if leaf.on_path else PALE, ORANGE
    left, top = _left(leaf), leaf.middle - leaf.height / 2
    axes.add_patch(FancyBboxPatch((left, top), BOX, leaf.height, boxstyle="round,pad=0,rounding_size=0.06", facecolor=face, edgecolor=edge,
                                  linewidth=1.4, linestyle="--" if sparse else "-", zorder=2))
    y = top + PAD
    for i, text in enumerate(leaf.text):
        axes.text(left + PAD, y, plain(text), size=NORMAL if i == 0 else SMALL, weight="bold" if i == 0 else "normal", va="top",
                  color=(INK if leaf.on_path else MUTED) if i < 2 else ORANGE, zorder=3)
        y += lines_height(text, NORMAL if i == 0 else SMALL)
    if leaf.parent:
        x0, y0 = _left(leaf.parent) + BOX, leaf.parent.middle
        color = GREEN if leaf.on_path and leaf.parent.on_path else LINE
        axes.plot([x0, x0 + 0.12, x0 + 0.12, left], [y0, y0, leaf.middle, leaf.middle], color=color, linewidth=1.2, zorder=1)
        axes.text(left - 0.06, leaf.middle - 0.03, plain(leaf.edge), size=SMALL - 1, color=INK if leaf.on_path else MUTED, ha="right", va="center",
                  zorder=3, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2})
