"""Sets of options instead of points: within a margin of the best, likely to hold the best, and how often options tie."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DecisionError
from ..study.timeline import Decision
from ..text import fold
from .assess import Assessment

if TYPE_CHECKING:
    from .regime import Regime

COLUMNS = (
    "decision", "option", "recommended", "expected_utility", "shortfall", "near_best", "p_near_best", "p_equivalent", "p_best", "in_set",
    "set_probability", "verdict",
)


def smallest_set(p: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The fewest options that together hold the best with probability ``1 - alpha`` at least.

    Parameters
    ----------
    p : array, shape (row, option)
        Probability that each option is the best; NaN where infeasible.
    alpha : float

    Returns
    -------
    member : array of bool, shape (row, option)
        Options that are exactly as probable as the last one needed are members too: none is left out by its place in a list.
    probability : array, shape (row,)
        That the best is in the set.
    """
    shares = np.nan_to_num(p)
    ordered = -np.sort(-shares, axis=1)
    needed = np.argmax(np.cumsum(ordered, axis=1) >= 1 - alpha - 1e-12, axis=1)
    least = np.take_along_axis(ordered, needed[:, None], axis=1)
    member = np.isfinite(p) & (shares >= least - 1e-12)
    return member, np.where(member, shares, 0.0).sum(axis=1)


def shortfall(a: Assessment) -> np.ndarray:
    """By how much each option's expected utility lies below the recommended one's, shape (row, option)."""
    return np.take_along_axis(a.expected, a.choice[:, None], axis=1) - a.expected


def checked(regime: "Regime", epsilon: float | None, alpha: float, verb: str) -> float:
    """The margin in force.

    Raises
    ------
    DecisionError
        For a negative or infinite margin, or `alpha` outside (0, 1).
    """
    from .regime import mcid_of

    if not 0 < alpha < 1:
        raise DecisionError(f"{verb}: alpha must lie between 0 and 1, got {alpha!r}.")
    if epsilon is None:
        return mcid_of(regime.posterior)
    if not 0 <= epsilon < np.inf:
        raise DecisionError(f"{verb}: epsilon is a difference in utility, 0 or more, got {epsilon!r}.")
    return float(epsilon)


def lines(regime: "Regime", decision: Decision, a: Assessment, index: np.ndarray, epsilon: float, alpha: float) -> Iterator[dict[str, Any]]:
    """Lines of :meth:`Regime.sets`, one per patient and feasible option."""
    member, probability = smallest_set(a.p_best, alpha)
    below = shortfall(a)
    for i, row in enumerate(index):
        for o in np.flatnonzero(np.isfinite(a.expected[i])):
            yield {
                "row": int(row), "decision": decision.name, "option": decision.options[o], "recommended": bool(o == a.choice[i]),
                "expected_utility": float(a.expected[i, o]), "shortfall": float(below[i, o]), "near_best": bool(below[i, o] <= epsilon),
                "p_near_best": float(a.p_near_best[i, o]), "p_equivalent": float(a.p_equivalent[i, o]), "p_best": float(a.p_best[i, o]),
                "in_set": bool(member[i, o]), "set_probability": float(probability[i]), "verdict": regime.posterior.verdict.status,
            }


@dataclass(frozen=True)
class DecisionTies:
    """How often options tie at one decision, over the observed patients who reached it and had a choice.

    Attributes
    ----------
    decision : str
    patients : int
    near : float
        Share of them for whom another option's expected utility lies within the margin of the best.
    monte_carlo : float
        Share for whom simulation error could have decided.
    near_best, in_set : float
        Options within the margin of the best, and in the smallest set that holds the best: averages.
    """

    decision: str
    patients: int
    near: float
    monte_carlo: float
    near_best: float
    in_set: float


@dataclass(frozen=True)
class Ties:
    """Tie rates decision by decision; printing shows them.

    Attributes
    ----------
    rows : tuple of DecisionTies
        Decisions that no observed patient reached with a choice are absent.
    epsilon, alpha : float
    """

    rows: tuple[DecisionTies, ...]
    epsilon: float
    alpha: float

    def __str__(self) -> str:
        width = max([len("decision"), *(len(r.decision) for r in self.rows)])
        out = [f"{'decision':<{width}} {'patients':>8} {'near-tie':>9} {'MC tie':>7} {'near best':>10} {'in set':>7}"]
        out += [
            f"{r.decision:<{width}} {r.patients:>8} {r.near:>9.0%} {r.monte_carlo:>7.0%} {r.near_best:>10.2f} {r.in_set:>7.2f}" for r in self.rows
        ]
        out.append(
            f"Of patients with a choice. Near-tie: another option within {self.epsilon:.4g} of the best expected utility; MC tie: simulation error "
            f"could have decided; near best, in set: options on average within that margin, and in the smallest set that holds the best with "
            f"probability {1 - self.alpha:.0%}."
        )
        return fold("\n".join(out))


def ties(regime: "Regime", epsilon: float, alpha: float) -> Ties:
    """See :meth:`Regime.ties`."""
    from .regime import rows_before

    found = []
    posterior = regime.posterior
    t = posterior.completed(0)
    for decision in posterior.study.decisions:
        index = np.flatnonzero(t.reached(posterior.study, decision.name))
        if not index.size:
            continue
        a = regime.assess(decision.name, rows_before(posterior, t, decision.name, index), epsilon=epsilon)
        a = a.take(np.flatnonzero(np.isfinite(a.expected).sum(axis=1) > 1))
        if not len(a.choice):
            continue
        near = shortfall(a) <= epsilon
        member, _ = smallest_set(a.p_best, alpha)
        found.append(DecisionTies(
            decision.name, len(a.choice), float((near.sum(axis=1) > 1).mean()), float(a.mc_tie.mean()), float(near.sum(axis=1).mean()),
            float(member.sum(axis=1).mean()),
        ))
    return Ties(tuple(found), epsilon, alpha)
