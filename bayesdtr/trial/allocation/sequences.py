"""Embedded regimes as what is randomized: which option each names for a patient, and what a draw of a whole regime means decision by decision."""

from collections.abc import Mapping, Sequence

import numpy as np

from ...study import Rules, Study
from .shares import normalized, summed


def named(study: Study, decision: int, regimes: Sequence[Rules], columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Code of the option that each regime names for each patient, shape (m, regime); -1 where it names none.

    Parameters
    ----------
    study : Study
    decision : int
        From 0.
    regimes : sequence of Rules
    columns : mapping of str to array, shape (m,)
        Histories before the decision.
    count : int
        Number of patients.
    """
    name = study.decisions[decision].name
    # Patients share few histories, and a rule is evaluated once for each; columns that no condition looks at do not tell histories apart.
    used = sorted({v for r in regimes for c, _ in dict(r.decisions).get(name, ()) for v in c.variables}
                  | {v for c, _ in study.decisions[decision].choices for v in c.variables})
    if not used:
        return np.stack([r.option(study, name, {"": np.zeros(1)}) for r in regimes], axis=1).repeat(count, axis=0)
    held, group = np.unique(np.stack([np.asarray(columns[v], dtype=float) for v in used], axis=1), axis=0, return_inverse=True)
    history = {v: held[:, j] for j, v in enumerate(used)}
    return np.stack([r.option(study, name, history) for r in regimes], axis=1)[group.reshape(-1)]


def starting(p: np.ndarray, names: np.ndarray, options: int) -> np.ndarray:
    """Probability of each option under a drawn regime: that of all regimes that name it, shape (m, option).

    Parameters
    ----------
    p : array, shape (m, regime)
    names : array of int, shape (m, regime)
        As :func:`named` gives them.
    options : int
        Number of options.
    """
    return np.concatenate([summed(np.where(names == a, p, 0.0)) for a in range(options)], axis=1)


def consistent(study: Study, decision: int, regimes: Sequence[Rules], columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Regimes that a patient's assignments so far agree with, shape (m, regime)."""
    found = np.ones((count, len(regimes)), dtype=bool)
    for earlier in range(decision):
        taken = np.asarray(columns[study.decisions[earlier].name])
        names = named(study, earlier, regimes, columns, count)
        # Where a patient had no decision to make, or a regime has nothing to say of it, nothing contradicts it.
        found &= (names == taken[:, None]) | (taken[:, None] < 0) | (names < 0)
    return found


def conditional_on_history(weights: np.ndarray, study: Study, decision: int, regimes: Sequence[Rules], columns: Mapping[str, np.ndarray],
                           feasible: np.ndarray) -> np.ndarray:
    """Probability of each option at a decision, if a regime was drawn at baseline and has been followed so far, shape (m, option).

    Parameters
    ----------
    weights : array, shape (m, regime)
        Probabilities with which each patient's regime was drawn.
    study : Study
    decision : int
    regimes : sequence of Rules
    columns : mapping of str to array, shape (m,)
        Histories before the decision, assignments included.
    feasible : array of bool, shape (m, option)

    Returns
    -------
    array, shape (m, option)
        ``sum of w_r over regimes that agree with the history and name the option / sum of w_r over regimes that agree``; drawing from it at every
        decision is drawing the regime at baseline. Equal among the feasible where no regime agrees, or all that do name options dropped since.
    """
    kept = np.where(consistent(study, decision, regimes, columns, len(weights)), weights, 0.0)
    return normalized(starting(kept, named(study, decision, regimes, columns, len(weights)), feasible.shape[1]), feasible)
