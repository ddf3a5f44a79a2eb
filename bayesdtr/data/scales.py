"""Fixing the scales: the location and SD by which continuous variables are standardised and priors are stated."""

import numpy as np

from ..errors import DataError
from ..study import Response, Scale, Study, UserModel
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
        0 and 1 only, has location 0 and SD 1.

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
