"""The two-stage example 6 with patients who leave after the first stage, at random given what was recorded or not.

Patients as in :mod:`.chakraborty`. With signs throughout, a patient stays for the second stage with

    P(stay | o2, a1) = expit(1 - 0.8 [o2 = -1] + 0.5 a1);

`second` and `y` of the others are not recorded. Leaving is missing at random: the patients left
behind differ from all by `o2`, which is recorded. With a shift, the outcomes of those who leave are
higher by a number that goes by the first treatment, and leaving is not at random.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from ..errors import DecisionError
from ..study import Study
from . import chakraborty
from .chakraborty import OPTIONS, SIGNS
from .common import KnownRegime, Policy, Truth, always

EXAMPLE = "6"
LEAVING = 11
"""Keeps the random numbers of leaving apart from those of the patients."""


def study() -> Study:
    """The declaration, that of the study without dropout."""
    return chakraborty.study()


def _stay(o2: np.ndarray | int, a1: np.ndarray | int) -> np.ndarray:
    """Probability of staying, signs given."""
    return expit(1 - 0.8 * (np.asarray(o2) < 0) + 0.5 * np.asarray(a1))


def _shifts(shift: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(shift, tuple) or len(shift) != 2 or not np.isfinite(shift).all():
        raise DecisionError(f"dropout: shift is a pair of numbers, for the first treatments {OPTIONS[0]} and {OPTIONS[1]}, got {shift!r}.")
    return float(shift[0]), float(shift[1])


def simulate(
    n: int, *, seed: int, policy: Policy | None = None, shift: tuple[float, float] = (0.0, 0.0), complete: bool = False
) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default fair coins.
    shift : (float, float)
        By how much outcomes of those who leave are higher, after "-1" and after "+1".
    complete : bool
        Whether what happens to those who leave is recorded all the same, as nobody could in a trial.

    Returns
    -------
    DataFrame, n rows
        Columns ``o1, first, o2, second, y``.
    """
    frame = chakraborty.simulate(n, seed=seed, policy=policy, example=EXAMPLE)
    a1 = np.where(frame["first"] == "+1", 1, -1)
    stays = np.random.default_rng([seed, LEAVING]).random(n) < _stay(2 * frame["o2"].to_numpy() - 1, a1)
    frame["y"] = frame["y"] + np.where(stays, 0.0, np.where(a1 > 0, *reversed(_shifts(shift))))
    if not complete:
        frame["second"] = frame["second"].where(stays, None)
        frame["y"] = frame["y"].where(stays, np.nan)
    return frame


def truth(shift: tuple[float, float] = (0.0, 0.0)) -> Truth:
    """The exact numbers, by enumeration over `o1`, `first` and `o2`.

    Returns
    -------
    Truth
        `regimes`: the eight that may tailor the second treatment to `o2`, ``"first; second if o2 = 0; second if o2 = 1"``.
        `details`: ``leave_-1`` and ``leave_+1``, the shares who leave after each first treatment.
        Had everybody been followed: leavers count with their shifted outcomes.
    """
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[EXAMPLE]
    shifts = dict(zip(SIGNS, _shifts(shift), strict=True))

    def chance(o1: int, a1: int, o2: int) -> float:
        return float(expit(o2 * (d1 * o1 + d2 * a1)))

    def level(o1: int, a1: int) -> float:
        leaves = sum(chance(o1, a1, o2) * (1 - float(_stay(o2, a1))) for o2 in SIGNS)
        return g3 * a1 + leaves * shifts[a1]

    def effect(a1: int, o2: int) -> float:
        return g5 + g6 * o2 + g7 * a1

    def best(o1: int, a1: int) -> float:
        return level(o1, a1) + sum(chance(o1, a1, o2) * abs(effect(a1, o2)) for o2 in SIGNS)

    def second(low: str, high: str):
        return lambda frame: np.where(frame["o2"] == 1, high, low).astype(object)

    regimes = {}
    for a1, first in zip(SIGNS, OPTIONS, strict=True):
        for low in (0, 1):
            for high in (0, 1):
                value = sum(level(o1, a1) + sum(chance(o1, a1, o2) * SIGNS[k] * effect(a1, o2) for o2, k in zip(SIGNS, (low, high), strict=True))
                            for o1 in SIGNS) / 2
                regimes[f"{first}; {OPTIONS[low]}; {OPTIONS[high]}"] = KnownRegime(
                    float(value), {"first": always(first), "second": second(OPTIONS[low], OPTIONS[high])})
    gain = {o1: best(o1, 1) - best(o1, -1) for o1 in SIGNS}

    def optimal_first(frame: pd.DataFrame) -> np.ndarray:
        return np.where(np.where(frame["o1"] == 1, gain[1], gain[-1]) > 0, "+1", "-1").astype(object)

    def optimal_second(frame: pd.DataFrame) -> np.ndarray:
        worth = effect(np.where(frame["first"] == "+1", 1, -1), 2 * frame["o2"].to_numpy() - 1)  # type: ignore[arg-type]
        return np.where(worth > 0, "+1", "-1").astype(object)

    value = sum(max(best(o1, a1) for a1 in SIGNS) for o1 in SIGNS) / 2
    leave = {a1: sum(chance(o1, a1, o2) * (1 - float(_stay(o2, a1))) for o1 in SIGNS for o2 in SIGNS) / 2 for a1 in SIGNS}
    details = {f"leave_{first}": leave[a1] for a1, first in zip(SIGNS, OPTIONS, strict=True)}
    return Truth(KnownRegime(float(value), {"first": optimal_first, "second": optimal_second}), regimes, details)
