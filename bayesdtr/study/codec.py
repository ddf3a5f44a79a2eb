"""Declarations to JSON and back: one generic codec, a registry of classes, no pickle."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import FileError, StudyError, listing
from . import attitude, borrowing, conditions, counts, families, lifetime, lottery, models, priors, rules, safety, study, survival, timeline, utility

KIND = "kind"

CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        conditions.Condition, conditions.Equals, conditions.OneOf, conditions.Interval,
        families.Normal, families.StudentT, families.LogNormal, families.Bernoulli, families.BetaBinomial, families.Ordinal, families.Categorical,
        counts.Poisson, counts.NegativeBinomial, counts.ZeroInflated, counts.Hurdle, survival.Survival,
        lifetime.RestrictedMean, lifetime.SurvivalAt, lifetime.QualityAdjusted,
        priors.Prior, priors.NormalInverseGamma, borrowing.RobustMAP, borrowing.Commensurate,
        models.Hierarchical, models.Saturated, models.UserModel,
        attitude.Exponential, attitude.Power, attitude.PiecewiseLinear,
        utility.Utility, utility.Table, rules.Rules, lottery.Lottery, safety.SafetyGate, safety.Safety, study.Scale,
        timeline.Baseline, timeline.Decision, timeline.Response, study.Study,
    )
}
UNSAVED = {("UserModel", "function")}
LATER: dict[tuple[str, str], Any] = {("Baseline", "sensitive"): False, ("Baseline", "drift"): False, ("Study", "audited"): ()}
"""Parts that earlier files lack, and what they then are."""


def encode(value: Any) -> Any:
    """Turn a declaration into plain lists, dicts, texts and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value) if (kind, f.name) not in UNSAVED}
        return {KIND: kind, **fields}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise StudyError(f"{value!r} cannot be written to JSON.")


def decode(value: Any) -> Any:
    """Inverse of :func:`encode`; lists become tuples."""
    if isinstance(value, list):
        return tuple(decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind not in CLASSES:
        raise FileError(f"The declaration holds an unknown kind {kind!r}; this release knows {listing(sorted(CLASSES), 30)}.")
    cls = CLASSES[kind]
    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := set(value) - known - {KIND}:
        raise FileError(f"The declaration of a {kind} has unknown parts {listing(sorted(unknown))}; it comes from another release.")
    made = object.__new__(cls)
    for name in known:
        if (kind, name) not in UNSAVED:
            if name not in value and (kind, name) in LATER:
                object.__setattr__(made, name, LATER[kind, name])
                continue
            if name not in value:
                raise FileError(f"The declaration of a {kind} lacks {name!r}.")
            object.__setattr__(made, name, decode(value[name]))
    return made


def to_json(declaration: "study.Study") -> str:
    """Write a study as JSON text."""
    return json.dumps(encode(declaration), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(text: str, models: Mapping[str, Callable[..., Any]] | None = None) -> "study.Study":
    """Read a study from JSON text.

    Parameters
    ----------
    text : str
    models : mapping of str to callable, optional
        Functions of user-written response models, by response, where they cannot be imported from
        the address they were saved under.

    Raises
    ------
    FileError
        When the text is not a study of this release.
    StudyError
        When a user-written model is not found or has changed.
    """
    try:
        made = decode(json.loads(text))
    except (json.JSONDecodeError, TypeError) as error:
        raise FileError(f"The declaration is not JSON of a bayesdtr study: {error}.") from error
    if not isinstance(made, study.Study):
        raise FileError(f"The JSON text declares a {type(made).__name__}, not a Study.")
    supplied = dict(models or {})
    for response in made.responses:
        if isinstance(response.model, timeline.UserModel):
            object.__setattr__(response, "model", response.model.found(supplied.pop(response.name, None)))
    if supplied:
        raise StudyError(f"models names {listing(supplied)}, which are not responses with a user-written model.")
    return made
