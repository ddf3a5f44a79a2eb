"""Sensitive columns: kept for the audit by subgroup, and seen by neither models nor rules unless that is asked for."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import StudyError, listing
from .timeline import Baseline, Decision, Node

if TYPE_CHECKING:
    from .study import Study


def separated(timeline: tuple[Node, ...]) -> tuple[tuple[Node, ...], tuple[Baseline, ...]]:
    """What models and rules may see, in time order, and the covariates that serve the audit only.

    Raises
    ------
    StudyError
        When one of the latter comes after a decision.
    """
    audited = tuple(node for node in timeline if isinstance(node, Baseline) and node.sensitive is True)
    begun = False
    for node in timeline:
        begun |= isinstance(node, Decision)
        if begun and node in audited:
            raise StudyError(f"Study: baseline {node.name!r} comes after a decision; move it to the front.")
    return tuple(node for node in timeline if node not in audited), audited


def refuse_sensitive(study: "Study", names: Iterable[str], where: str) -> None:
    """Raise where one of some names is a covariate that serves the audit only.

    Raises
    ------
    StudyError
        Says how to ask for its use.
    """
    audited = {b.name for b in study.audited}
    if found := [n for n in names if n in audited]:
        raise StudyError(
            f"{where} names {listing(found)}, declared sensitive=True: it serves the audit by subgroup, and neither models nor rules see it. If they "
            f"are to, and that has been justified, declare Baseline({found[0]!r}, ..., sensitive='use'), which every printout then says."
        )
