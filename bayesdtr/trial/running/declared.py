"""Designs and scenarios as data that they can be read back from: all but what holds a function, which no data is."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ...errors import BayesDTRError, TrialError
from ...study import Study
from ...study import codec as studies
from .. import allocation, analysis, assignment, looks, nature, stopping
from ..design import TrialDesign
from ..nature import laws
from ..stopping import safety

KIND, STUDY, PART, NUMBER = "kind", "Study", "part of a study", "number"

CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        TrialDesign, looks.Looks, assignment.BurnIn, analysis.Analysis,
        allocation.Equal, allocation.Fixed, allocation.PermutedBlock, allocation.Stratified, allocation.Thompson, allocation.TopTwo,
        allocation.NullStabilized, allocation.SmartAR,
        stopping.Superiority, stopping.Inferiority, stopping.Futility, stopping.Equivalence, stopping.SuccessProbability, stopping.SafetyStop,
        stopping.DropWorst, stopping.DropUnsafe, safety.Monitor,
        nature.Scenario, nature.Law, laws.Cells, nature.Gaussian, nature.Uniform, nature.Levels, nature.Sites, nature.LinearDrift, nature.StepDrift,
        nature.ArmDrift, nature.Dropout, nature.Adherence, nature.Calendar, nature.Steady, nature.PoissonAccrual, nature.PiecewiseAccrual,
        nature.FixedDelay, nature.ExponentialDelay, nature.UniformDelay,
    )
}


def written(value: Any) -> Any:
    """Plain data of a design or a scenario; None where it holds what cannot be read back: a function, or a class of the user's own."""
    try:
        return _written(value)
    except (TypeError, BayesDTRError):
        return None


def _written(value: Any) -> Any:
    if isinstance(value, Study):
        return {KIND: STUDY, "json": studies.to_json(value)}
    if CLASSES.get(type(value).__name__) is type(value):
        return {KIND: type(value).__name__, **{f.name: _written(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if studies.CLASSES.get(type(value).__name__) is type(value):
        return {KIND: PART, "value": studies.encode(value)}
    if isinstance(value, tuple):
        return [_written(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {KIND: NUMBER, "value": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(type(value).__name__)


def read(data: Any) -> Any:
    """Inverse of :func:`written`.

    Raises
    ------
    TrialError
        When the data are of another release.
    """
    if isinstance(data, list):
        return tuple(read(v) for v in data)
    if not isinstance(data, Mapping):
        return data
    kind = data.get(KIND)
    if kind == STUDY:
        return studies.from_json(data["json"])
    if kind == PART:
        return studies.decode(data["value"])
    if kind == NUMBER:
        return float(data["value"])
    if kind not in CLASSES or {f.name for f in dataclasses.fields(CLASSES[kind])} != set(data) - {KIND}:
        raise TrialError(f"it comes from another release, whose {kind} this one does not know")
    made = object.__new__(CLASSES[kind])
    for name, part in data.items():
        if name != KIND:
            object.__setattr__(made, name, read(part))
    return made
