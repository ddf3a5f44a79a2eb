"""The cells of a saturated model: the combinations of discrete values that can arise."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StudyError, listing
from .sensitive import refuse_sensitive
from .timeline import Decision, Response, finite_values

if TYPE_CHECKING:
    from .study import Study


def saturated_variables(study: "Study", response: Response) -> tuple[str, ...]:
    """The variables whose values form a saturated model's cells.

    Raises
    ------
    StudyError
        When one of them is unknown or continuous.
    """
    over = getattr(response.model, "over", None)
    known = {n.name: finite_values(n) for n in study.before(response.name)}
    names = tuple(known) if over is None else over
    refuse_sensitive(study, names, f"Response {response.name!r}: Saturated(over=...)")
    for name in names:
        if name not in known:
            raise StudyError(f"Response {response.name!r}: Saturated(over=...) names {name!r}; observed before it: {listing(known)}.")
        if known[name] is None:
            discrete = [n for n, v in known.items() if v is not None]
            raise StudyError(
                f"Response {response.name!r}: Saturated needs discrete variables, and {name!r} is continuous; "
                f"name the cells with Saturated(over={discrete!r}) or use the default model."
            )
    return names


@dataclass(frozen=True)
class Cells:
    """The cells of a saturated model: the combinations of its variables that can arise.

    Attributes
    ----------
    names : tuple of str
    labels : tuple of str
        One per cell: ``medication, 0, stay``.
    lookup : array of int, shape (levels of each variable, ...)
        Cell of each combination of codes; -1 where it cannot arise.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    lookup: np.ndarray


def saturated_cells(study: "Study", response: Response) -> Cells:
    """Enumerate the cells of a saturated response, leaving out infeasible combinations."""
    return cells_over(study, saturated_variables(study, response))


def cells_over(study: "Study", names: tuple[str, ...]) -> Cells:
    """Enumerate the combinations of some discrete variables, leaving out infeasible ones."""
    nodes = [study[n] for n in names]
    levels = [finite_values(n) or () for n in nodes]
    shape = tuple(len(v) for v in levels)
    grid = np.indices(shape).reshape(len(shape), -1)
    history = {n.name: np.array([study.code(n.name, v) for v in lv])[grid[j]] for j, (n, lv) in enumerate(zip(nodes, levels, strict=True))}
    possible = np.ones(grid.shape[1], dtype=bool)
    for j, node in enumerate(nodes):
        if isinstance(node, Decision) and all(set(c.variables) <= set(names) for c, _ in node.choices):
            possible &= study.feasible(node.name, history)[np.arange(grid.shape[1]), grid[j]]
    lookup = np.where(possible, np.cumsum(possible) - 1, -1).reshape(shape)
    labels = tuple(", ".join(str(lv[i]) for lv, i in zip(levels, row, strict=True)) for row in grid.T[possible])
    return Cells(names, labels, lookup)
