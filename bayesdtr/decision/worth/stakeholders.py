"""Several stakeholders' utilities on one posterior: who would choose what, and what a compromise costs each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data import backend, like, read_new
from ...errors import DecisionError, StudyError
from ...inference import Posterior
from ...study.lifetime import LifeUtility
from ...study.utility import Utility
from ..optimize import optimize
from ..regime import Regime, mcid_of, next_decision, rows_before, warn_if_failed
from .utilities import with_utility

TAKEN = ("decision", "agree", "compromise", "verdict")
ALIKE = 1e-9
"""Losses below this share of the smallest difference that matters are rounding."""


def stakeholders(posterior: Posterior, utilities: Mapping[str, Any], patients: Any) -> Any:
    """What each of several stakeholders would choose for each patient, and the option that costs none of them much.

    Parameters
    ----------
    posterior : Posterior
        Its study's own utility plays no part unless it is among those given.
    utilities : mapping of str to utility, or to (utility, mcid)
        Each stakeholder's utility, with the smallest difference in it that matters; by default 0.1 SD of it.
    patients : pandas, polars or pyarrow frame
        As for :meth:`Regime.recommend`; answered at the decision that is due next.

    Returns
    -------
    frame of the caller's kind
        One row per patient. Columns: the patient's identifier, ``decision``; one per stakeholder with the option of highest
        posterior-expected utility to them, later decisions made as they would (the first of equals); ``agree``, whether one
        option is best to all; ``compromise``, the feasible option whose largest loss to anyone, in units of their mcid, is
        smallest; ``loss: name``, what it costs each in expected utility against their own choice; ``verdict``, the worst of theirs.

    Raises
    ------
    DecisionError
        For fewer than two stakeholders, or a name that is a column already.
    StudyError
        Where a utility does not fit the study, or does not depend on anything after the last decision.

    Notes
    -----
    Safety gates play no part.
    """
    given = _checked(posterior, utilities)
    study = posterior.study
    regimes = {n: optimize(_moved(posterior, n, u, m)) for n, (u, m) in given.items()}
    verdict = max((r.posterior.verdict for r in regimes.values()), key=lambda v: ("ok", "warn", "fail").index(v.status))
    warn_if_failed(verdict)
    units = np.array([_unit(n, r) for n, r in regimes.items()])
    new = read_new(study, patients, cluster_labels=posterior.trajectories.cluster_labels)
    waiting = next_decision(posterior, new)
    lines: dict[int, dict[str, Any]] = {}
    for stage, decision in enumerate(study.decisions):
        index = np.flatnonzero(waiting == stage)
        if index.size:
            rows = rows_before(posterior, new, decision.name, index)
            expected = np.stack([r.assess(decision.name, rows).expected for r in regimes.values()])  # [stakeholder, row, option]
            loss = np.nanmax(expected, axis=2, keepdims=True) - expected
            choice = np.nanargmin(loss, axis=2)
            middle = np.nanargmin((loss / units[:, None, None]).max(axis=0), axis=1)
            for k, i in enumerate(index):
                lines[int(i)] = {
                    "decision": decision.name, **{n: decision.options[o] for n, o in zip(regimes, choice[:, k], strict=True)},
                    "agree": bool((loss[:, k] <= ALIKE * units[:, None]).all(axis=0).any()), "compromise": decision.options[middle[k]],
                    **{f"loss: {n}": float(v) for n, v in zip(regimes, loss[:, k, middle[k]], strict=True)}, "verdict": verdict.status,
                }
    names = ["decision", *regimes, "agree", "compromise", *(f"loss: {n}" for n in regimes), "verdict"]
    order = sorted(lines)
    columns: dict[str, Any] = {study.id or "patient": [str(new.ids[i]) for i in order]}
    return like(backend(patients), columns | {n: [lines[i][n] for i in order] for n in names})


def _checked(posterior: Posterior, utilities: Any) -> dict[str, tuple[Utility, float | None]]:
    """Utilities and margins by name."""
    if not isinstance(posterior, Posterior):
        raise DecisionError(f"stakeholders takes a Posterior, got {type(posterior).__name__}; fit a study first.")
    if not isinstance(utilities, Mapping) or len(utilities) < 2:
        raise DecisionError(f"stakeholders takes a mapping of at least two names to utilities, got {utilities!r}.")
    found = {}
    for name, value in utilities.items():
        if not isinstance(name, str) or not name or name in (*TAKEN, "patient", posterior.study.id):
            raise DecisionError(f"stakeholders: {name!r} cannot name a stakeholder, since the table has a column of this name; choose another.")
        pair = value if isinstance(value, tuple) else (value, None)
        if len(pair) != 2 or not isinstance(pair[0], Utility | LifeUtility | str):
            raise DecisionError(f"stakeholders: {name!r} takes a Utility, the name of a response, or (utility, mcid), got {value!r}.")
        found[name] = Utility(pair[0]) if isinstance(pair[0], str | LifeUtility) else pair[0], pair[1]
    return found


def _moved(posterior: Posterior, name: str, utility: Utility, mcid: float | None) -> Posterior:
    """The posterior under one stakeholder's utility; errors say whose it is."""
    try:
        return with_utility(posterior, utility, mcid=mcid)
    except StudyError as error:
        raise StudyError(f"stakeholders, {name!r}: {error}") from error


def _unit(name: str, regime: Regime) -> float:
    """What losses of a stakeholder are measured in."""
    if not (unit := mcid_of(regime.posterior)) > 0:
        raise DecisionError(f"stakeholders: nobody's course tells the spread of the utility of {name!r}; give (utility, mcid) for it.")
    return unit
