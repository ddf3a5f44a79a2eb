"""Fixing the scales: the location and SD by which continuous variables are standardised and priors are stated."""

import numpy as np

from ..errors import DataError
from ..study import Response, Scale, Study, UserModel
from ..study.survival import Survival
from ..study.timeline import finite_values
from .trajectories import Trajectories


def fix_scales(study: Study, trajectories: Trajectories) -> dict[str, Scale]:
    """Location and SD of every continuous variable.

    Parameters
    ----------
    study : Study
    trajectories : Trajectories

    Returns
    -------
    dict of str to Scale
        In time order. The declared scale where there is one, located at the observed mean where only
        an SD is declared; otherwise mean and SD (n - 1 in the
        denominator) of the observed values. A user-written response without spread, or with values
        0 and 1 only, has location 0 and SD 1. A survival time: the logarithm of its person-time per event
        ``m``, and the SD of ``log(1 + time / m)`` over the events.

    Raises
    ------
    DataError
        When a scale is needed and fewer than two distinct values are observed.
    """
    declared, result = dict(study.scales), {}
    for node in study.timeline:
        if finite_values(node) is not None:
            continue
        if node.name in declared and declared[node.name].location is not None:
            result[node.name] = declared[node.name]
            continue
        values = trajectories.history([node.name], trajectories.observed(node.name))[node.name]
        if isinstance(node, Response) and isinstance(node.family, Survival):
            result[node.name] = _of_times(node.name, values, trajectories, declared.get(node.name))
            continue
        if node.name in declared and values.size:
            result[node.name] = Scale(float(values.mean()), declared[node.name].sd)
            continue
        flat = not values.size or values.min() == values.max()
        free = isinstance(node, Response) and isinstance(node.model, UserModel)
        if free and (flat or np.isin(values, (0.0, 1.0)).all()):
            result[node.name] = Scale(0.0, 1.0)
        elif flat:
            raise DataError(
                f"The scale of {node.name!r} cannot be fixed from {values.size} observed value{'' if values.size == 1 else 's'} without spread; "
                f"declare it: scales={{{node.name!r}: (location, sd)}}."
            )
        else:
            result[node.name] = Scale(float(values.mean()), float(values.std(ddof=1)))
    return result


def _of_times(name: str, times: np.ndarray, trajectories: Trajectories, declared: Scale | None) -> Scale:
    """Scale of a survival response, its observed times being given."""
    events = ~trajectories.censored(name)[trajectories.observed(name)]
    if not events.any():
        raise DataError(f"The scale of {name!r} cannot be fixed, because nobody had the event; declare it: scales={{{name!r}: (log time, sd)}}.")
    unit = times.sum() / events.sum()
    if declared is not None:
        return Scale(float(np.log(unit)), declared.sd)
    spread = np.log1p(times[events] / unit)
    return Scale(float(np.log(unit)), float(spread.std(ddof=1)) if spread.size > 1 and spread.max() > spread.min() else 0.5)
