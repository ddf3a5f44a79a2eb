"""What a fit needs beyond consistency: every option was tried, and what is scaled varies."""

from collections.abc import Mapping

import numpy as np

from ..errors import DataError, listing
from ..schema import NOT_YET
from ..study import Response, Study, UserModel
from ..study.timeline import finite_values

Columns = Mapping[str, np.ndarray]


def check_options(study: Study, columns: Columns) -> None:
    """Raise when patients could have received an option and none did."""
    for decision in study.decisions:
        made = columns[decision.name] != NOT_YET
        if not made.any():
            continue
        feasible = study.feasible(decision.name, {name: column[made] for name, column in columns.items()})
        received = np.bincount(columns[decision.name][made], minlength=len(decision.options))
        could = feasible.sum(axis=0)
        if never := [j for j in range(len(decision.options)) if could[j] and not received[j]]:
            j = never[0]
            seen = [o for o, count in zip(decision.options, received, strict=True) if count]
            raise DataError(
                f"Column {decision.name!r}: option {decision.options[j]!r} was never received, though it was feasible for {could[j]} "
                f"patient{'s' if could[j] > 1 else ''}; received: {listing(seen)}. Nothing can be learned about it: correct the labels, "
                "or take the option out of the decision."
            )


def check_variation(study: Study, columns: Columns) -> None:
    """Raise for a number that is needed with a spread and has none."""
    declared = dict(study.scales)
    for node in study.timeline:
        if finite_values(node) is not None:
            continue
        values = columns[node.name][~np.isnan(columns[node.name])]
        if not values.size:
            kind = "response" if isinstance(node, Response) else "baseline covariate"
            raise DataError(f"Column {node.name!r}: the {kind} is not observed for any patient; a fit needs values of it.")
        free = isinstance(node, Response) and isinstance(node.model, UserModel)
        exempt = free or (node.name in declared and not isinstance(node, Response))
        if values.size >= 2 and values.min() == values.max() and not exempt:
            advice = ("there is no variation to explain: check the column." if isinstance(node, Response) else
                      f"leave it out of the study, or declare its scale: scales={{{node.name!r}: (location, sd)}}.")
            kind = "response" if isinstance(node, Response) else "baseline covariate"
            raise DataError(f"Column {node.name!r}: the {kind} is {values[0]:g} for all {values.size} patients; {advice}")


def check_events(study: Study, columns: Columns, censored: Columns) -> None:
    """Raise for a time to an event that nobody had."""
    for name, mask in censored.items():
        seen = ~np.isnan(columns[name])
        if not (seen & ~mask).any():
            raise DataError(
                f"Column {name!r}: all {int(seen.sum())} patients are censored, so nothing is known of when the event happens; "
                "check the column of events, or wait for some."
            )
