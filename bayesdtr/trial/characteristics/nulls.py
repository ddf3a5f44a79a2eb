"""`null_grid`: scenarios in which no option changes anything, over what else is unknown."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import TrialError, did_you_mean, listing
from ...study import Study

MOST = 1000
"""Scenarios of a grid at most."""


def null_grid(study: Study, levels: Mapping[str, Any], *, drifts: Mapping[str, Any] | None = None, like: Any = None) -> dict[str, Any]:
    """Sharp null scenarios: every response has one law whatever the options.

    Parameters
    ----------
    study : Study
    levels : mapping of str to sequence
        For every response the means to be tried (probabilities of a yes/no response), or laws (:class:`Law`, where a family needs more than a
        mean); one that is not in question may have a single value.
    drifts : mapping of str to drift, optional
        Each scenario is added once more with each drift over calendar time, by name.
    like : Scenario, optional
        Baseline covariates, clusters, dropout, adherence and calendar are as in this scenario.

    Returns
    -------
    dict of str to Scenario
        All combinations, by name: ``"event 0.1"``, ``"event 0.1, late step"``.

    Raises
    ------
    TrialError
        For an unknown response or one left out, and for more than 1,000 combinations.

    Examples
    --------
    ``calibrate(design, null_grid(study, {"event": [0.1, 0.2, 0.3]}), seed=1)``
    """
    from ..nature import Scenario

    if not isinstance(levels, Mapping):
        raise TrialError(f"null_grid takes a mapping of responses to levels, such as {{'event': [0.1, 0.2]}}, got {levels!r}.")
    names = [r.name for r in study.responses]
    for name in levels:
        if name not in names:
            raise TrialError(f"null_grid: no response {name!r}; responses: {listing(names)}{did_you_mean(name, names)}")
    if missing := [n for n in names if n not in levels]:
        raise TrialError(f"null_grid: a scenario says what is true of every response; {listing(missing)} has no levels.")
    tried = [_several(levels[n], n) for n in names]
    if drifts is not None and not isinstance(drifts, Mapping):
        raise TrialError(f"null_grid: drifts takes a mapping of names to drifts, such as {{'late step': StepDrift(0.5)}}, got {drifts!r}.")
    moves: dict[str, Any] = {"": None, **(drifts or {})}
    size = len(moves)
    for values in tried:
        size *= len(values)
    if size > MOST:
        raise TrialError(f"null_grid: {size:,} scenarios; take at most {MOST:,}, a few levels per response will do.")
    made = {}
    for values in itertools.product(*tried):
        title = ", ".join(f"{n} {_shown(v)}" for n, v, all_ in zip(names, values, tried, strict=True) if len(all_) > 1) or _title(names, values)
        for label, drift in moves.items():
            name = f"{title}, {label}" if label else title
            if name in made:
                raise TrialError(f"null_grid: two scenarios would be called {name!r}; give each level once.")
            laws = dict(zip(names, values, strict=True))
            made[name] = Scenario(name, laws, drift=drift) if like is None else _like(like, name, laws, drift)
    return made


def _like(like: Any, name: str, laws: dict[str, Any], drift: Any) -> Any:
    """Another scenario's conduct under these laws."""
    drifts = () if drift is None else (drift,) if not isinstance(drift, (list, tuple)) else tuple(drift)
    return like.with_responses(laws, name).with_drift(*drifts, name=name)


def _several(given: Any, name: str) -> list[Any]:
    several = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several:
        raise TrialError(f"null_grid: {name!r} has no levels; give at least one.")
    return several


def _title(names: list[str], values: tuple[Any, ...]) -> str:
    return ", ".join(f"{n} {_shown(v)}" for n, v in zip(names, values, strict=True))


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
