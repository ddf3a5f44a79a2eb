"""Chemotherapy month by month: a dose that shrinks a tumor is toxic, and either may kill.

With toxicity W (of either sign), tumor size M and a dose D between 0 and 1 in each of six months, ``W0, M0 ~ U(0, 2)``,

    W' = W + .1 max(M, M0) + 1.2 (D - .5)
    M' = [M + .15 max(W, W0) - 1.2 (D - .5)]+    while M > 0; a tumor that is gone stays away
    P(survive the month) = exp(-exp(-4 + W' + M')).

A month in which the patient dies earns -60 and ends the course. One survived earns +5 where W has fallen by .5 or more and -5 where it
has risen so; and +15 where there is no tumor (again in every month without one), otherwise +5 where M has fallen by .5 or more and -5
where it has risen so. The state is Markov only together with W0 and M0. Published accounts differ in how the hazard of a month is
summed up: here it is that of the month's end.

Model: Zhao, Kosorok and Zeng (2009), Reinforcement learning design for cancer clinical trials, Statistics in Medicine 28:3294.

Given the doses W and M are certain, so the best doses of a patient are found exactly by going through the tree of doses, 11 to the power of 6
leaves, backwards and in blocks. Its last month is in closed form: the risk does not depend on the dose while the tumor stays (the effects
on W and M cancel), and what is earned changes at four doses only.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from ..errors import DecisionError
from ..study import Baseline, Bernoulli, Decision, Normal, Response, Study, Utility, when
from .common import KnownRegime, Policy, Rule, Truth, always, decide, start

MONTHS = 6
DOSES = tuple(f"{d / 10:g}" for d in range(11))
"""Labels of the doses 0, 0.1, ..., 1."""
GROWTH_W, GROWTH_M, EFFECT, MIDDLE, INTERCEPT = 0.1, 0.15, 1.2, 0.5, -4.0
DEATH, GONE, CHANGE, STEP = -60.0, 15.0, 5.0, 0.5
BLOCK = 2**16
"""Doses looked at together: a few MiB for each array."""


def study(months: int = MONTHS, doses: Sequence[str] = DOSES) -> Study:
    """The declaration of a trial of so many months: each month a dose, whether the patient died, and what the month earned."""
    nodes: list = [Baseline("w0"), Baseline("m0")]
    for k in range(1, months + 1):
        options = list(doses) if k == 1 else {when(**{f"died{k - 1}": 0}): list(doses), when(**{f"died{k - 1}": 1}): []}
        nodes += [Decision(f"dose{k}", options), Response(f"died{k}", Bernoulli()), Response(f"gain{k}", Normal())]
    return Study(*nodes, utility=Utility({f"gain{k}": 1.0 for k in range(1, months + 1)}))


# ---- one month ------------------------------------------------------------------------------------------


def next_state(w, m, w0, m0, dose):
    """Toxicity and tumor size after a month, broadcast."""
    push = EFFECT * (dose - MIDDLE)
    grown = np.where(m > 0, np.maximum(m + GROWTH_M * np.maximum(w, w0) - push, 0.0), 0.0)
    return w + GROWTH_W * np.maximum(m, m0) + push, grown


def survives(w, m):
    """Probability of surviving the month that ends with a toxicity and a tumor size, broadcast."""
    return np.exp(-np.exp(INTERCEPT + w + m))


def earned(w, m, w_next, m_next):
    """What a month that is survived earns, broadcast."""
    dw, dm = w_next - w, m_next - m
    shrunk = np.where(m_next == 0, GONE, CHANGE * (dm <= -STEP) - CHANGE * (dm >= STEP))
    return CHANGE * (dw <= -STEP) - CHANGE * (dw >= STEP) + shrunk


# ---- exact values by patient -------------------------------------------------------------------------------


def value_of(w0: np.ndarray, m0: np.ndarray, doses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Expected return and probability of survival of patients under given doses, one a month; shape (n,) each."""
    w, m, alive, total = w0, m0, np.ones(np.shape(w0)), np.zeros(np.shape(w0))
    for dose in doses:
        w_next, m_next = next_state(w, m, w0, m0, dose)
        p = survives(w_next, m_next)
        total = total + alive * (p * earned(w, m, w_next, m_next) + (1 - p) * DEATH)
        w, m, alive = w_next, m_next, alive * p
    return total, alive


def _last(w, m, w0, m0, doses: np.ndarray) -> np.ndarray:
    """Best value of the last month, shape (n,); doses in increasing order."""
    up, drift = GROWTH_W * np.maximum(m, m0), GROWTH_M * np.maximum(w, w0)
    first = lambda bound, side="left": np.searchsorted(doses, MIDDLE + bound / EFFECT, side)  # noqa: E731
    gone = np.where(m > 0, first(m + drift), 0)  # first dose that leaves no tumor
    worse, better = first(drift - STEP, "right"), first(drift + STEP)  # the tumor grows below the one and shrinks from the other on
    safe, toxic = first(-STEP - up, "right"), first(STEP - up)  # toxicity falls below the one and rises from the other on
    best = np.full(w.shape, -np.inf)
    # Of doses with the same change of toxicity the highest is best for the tumor.
    for top, change in ((safe, CHANGE), (toxic, 0.0), (np.full_like(gone, len(doses)), -CHANGE)):
        at = np.minimum(top, gone) - 1
        tumor = CHANGE * (at >= better) - CHANGE * (at < worse)
        best = np.maximum(best, np.where(at >= 0, change + tumor, -np.inf))
    stays = np.where(gone > 0, survives(w + up, m + drift) * (np.where(gone > 0, best, 0.0) - DEATH), -np.inf)
    at = np.minimum(gone, len(doses) - 1)  # of doses that leave no tumor the lowest is best
    cleared = CHANGE * (at < safe) - CHANGE * (at >= toxic) + GONE - DEATH
    ends = np.where(gone < len(doses), survives(w + up + EFFECT * (doses[at] - MIDDLE), 0.0) * cleared, -np.inf)
    return np.maximum(stays, ends) + DEATH


def options(w: np.ndarray, m: np.ndarray, w0: np.ndarray, m0: np.ndarray, months: int, doses: Sequence[float]) -> np.ndarray:
    """Value of every dose now, followed by the best doses of the months that are left.

    Parameters
    ----------
    w, m, w0, m0 : array, shape (n,)
    months : int
        Months left, this one included.
    doses : sequence of float
        In increasing order.

    Returns
    -------
    array, shape (n, dose)
    """
    doses = np.asarray(doses, dtype=float)
    most = max(1, BLOCK // len(doses))
    if len(w) > most:
        return np.concatenate([options(*(v[i : i + most] for v in (w, m, w0, m0)), months, doses) for i in range(0, len(w), most)])
    w_next, m_next = next_state(w[:, None], m[:, None], w0[:, None], m0[:, None], doses)
    after = np.zeros(w_next.shape)
    if months > 1:
        flat = w_next.ravel(), m_next.ravel(), np.repeat(w0, len(doses)), np.repeat(m0, len(doses))
        after = (_last(*flat, doses) if months == 2 else options(*flat, months - 1, doses).max(axis=1)).reshape(after.shape)
    return survives(w_next, m_next) * (earned(w[:, None], m[:, None], w_next, m_next) + after - DEATH) + DEATH


def best_values(w0: np.ndarray, m0: np.ndarray, months: int = MONTHS, doses: Sequence[str] = DOSES) -> np.ndarray:
    """Expected return of patients under their own best doses, shape (n,)."""
    w0, m0 = np.asarray(w0, dtype=float), np.asarray(m0, dtype=float)
    return options(w0, m0, w0, m0, months, _numbers(doses)).max(axis=1)


def _numbers(doses: Sequence[str]) -> np.ndarray:
    numbers = np.array([float(d) for d in doses])
    if (np.diff(numbers) <= 0).any():
        raise DecisionError(f"doses must be in increasing order, got {list(doses)}.")
    return numbers


def best_dose(month: int, months: int = MONTHS, doses: Sequence[str] = DOSES) -> Rule:
    """The optimal rule of a month (from 1)."""
    def rule(frame: pd.DataFrame) -> np.ndarray:
        now = [frame[f"{v}{month - 1}"].to_numpy(dtype=float) for v in "wm"]
        value = options(*now, frame["w0"].to_numpy(dtype=float), frame["m0"].to_numpy(dtype=float), months - month + 1, _numbers(doses))
        return np.array(doses, dtype=object)[value.argmax(axis=1)]

    return rule


@cache
def truth(months: int = MONTHS, doses: tuple[str, ...] = DOSES, points: int = 24) -> Truth:
    """The optimal regime, and the regimes that give everybody one dose in every month.

    Parameters
    ----------
    months : int
    doses : tuple of str
    points : int
        Toxicities and tumor sizes at the start over which the best values are averaged, so many each, at the middles of equal intervals.

    Returns
    -------
    Truth
        `regimes` by dose. `details`: ``survival under 0.5`` and so on. `error`: of the optimal value, a tenth of its SD over the points
        divided by their number along an axis; values of the others, averages over a finer grid, have errors below .02.
    """
    axis = (np.arange(points) + 0.5) * 2 / points
    best = best_values(np.repeat(axis, points), np.tile(axis, points), months, doses)
    names = [f"dose{k}" for k in range(1, months + 1)]
    optimal = KnownRegime(float(best.mean()), {n: best_dose(k, months, doses) for k, n in enumerate(names, start=1)})
    fine = (np.arange(400) + 0.5) / 200
    w0, m0 = np.repeat(fine, len(fine)), np.tile(fine, len(fine))
    regimes, details = {}, {}
    for dose in doses:
        value, alive = value_of(w0, m0, [float(dose)] * months)
        regimes[dose] = KnownRegime(float(value.mean()), {n: always(dose) for n in names})
        details[f"survival under {dose}"] = float(alive.mean())
    return Truth(optimal, regimes, details, float(0.1 * best.std() / points))


# ---- patients -------------------------------------------------------------------------------------------------


def simulate(n: int, *, seed: int, policy: Policy | None = None, months: int = MONTHS, doses: Sequence[str] = DOSES) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``dose1`` and so on); by default all doses are equally likely.
    months : int
    doses : sequence of str

    Returns
    -------
    DataFrame, n rows
        Columns ``w0, m0``, then for every month k ``dosek, diedk, gaink, wk, mk``, empty after a death; the state at the end of a month in which
        the patient dies is there.
    """
    rng = start(n, seed, policy, [f"dose{k}" for k in range(1, months + 1)])
    numbers = _numbers(doses)
    w0, m0 = rng.uniform(0, 2, (2, n))
    luck, coin = rng.random((months, n)), rng.integers(0, len(doses), (months, n))
    columns: dict[str, np.ndarray] = {"w0": w0, "m0": m0}
    alive = np.arange(n)
    for k in range(1, months + 1):
        seen = {c: v[alive] for c, v in columns.items()}
        given = decide(seen, f"dose{k}", doses, coin[k - 1, alive], policy)
        dose = numbers[pd.Categorical(given, categories=list(doses)).codes]
        w, m = seen[f"w{k - 1}"], seen[f"m{k - 1}"]
        w_next, m_next = next_state(w, m, seen["w0"], seen["m0"], dose)
        died = luck[k - 1, alive] >= survives(w_next, m_next)
        gain = np.where(died, DEATH, earned(w, m, w_next, m_next))
        for name, values in ((f"died{k}", died), (f"gain{k}", gain), (f"w{k}", w_next), (f"m{k}", m_next)):
            columns[name] = np.full(n, np.nan)
            columns[name][alive] = values
        columns[f"dose{k}"] = np.full(n, None, dtype=object)
        columns[f"dose{k}"][alive] = given
        alive = alive[~died]
    order = ["w0", "m0", *(f"{v}{k}" for k in range(1, months + 1) for v in ("dose", "died", "gain", "w", "m"))]
    return pd.DataFrame({c: columns[c] for c in order})


def returns(frame: pd.DataFrame) -> np.ndarray:
    """What every patient of a simulation earned, shape (n,)."""
    return frame[[c for c in frame if c.startswith("gain")]].sum(axis=1).to_numpy()
