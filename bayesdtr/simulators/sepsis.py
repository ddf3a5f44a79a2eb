"""Patients with sepsis, hour by hour: a Markov decision process of 1,440 states and 8 treatments, with its exact kernel.

A state is diabetes (0, 1), heart rate and systolic pressure (low, normal, high), oxygen (low, normal), glucose (very low, low,
normal, high, very high), and which of antibiotics, vasopressors and ventilation are on. A treatment turns each of the three on or
off. With ``a, v, o`` for antibiotics, vasopressors and ventilation (before: ``a-, v-, o-``), one step changes the vital signs
independently of one another given state and treatment, in this order:

    antibiotics    a = 1: heart rate and pressure  high -> normal  .5;    a = 0, a- = 1:  normal -> high  .1
    ventilation    o = 1: oxygen  low -> normal  .7;                      o = 0, o- = 1:  normal -> low  .1
    vasopressors   v = 1, no diabetes:  pressure  low -> normal  .7,  normal -> high  .7
                   v = 1, diabetes:     pressure  low -> normal  .5,  low -> high  .4,  normal -> high  .9;  glucose + 1  .5
                   v = 0, v- = 1:       pressure  normal -> low, high -> normal  .1 (diabetes .05)
    chance         heart rate without a, a-; pressure without a, a-, v, v-; oxygen without o, o-:  one up .1, one down .1
                   glucose without v:  one up .1, one down .1 (diabetes .3 and .3), within the ends.

A patient with three or more abnormal signs dies (reward -1); one with none who is off treatment is discharged (+1); both end the
course. Patients start off treatment, with diabetes in .2; heart rate and pressure (.25, .5, .25); oxygen (.2, .8); glucose (.05, .15,
.6, .15, .05), with diabetes (.01, .05, .15, .6, .19); all but diabetes drawn again while they would end the course at once.

The published program caps the rising glucose of patients without diabetes at "low" instead of "very high", so that what should be a rise
from normal or above is a fall to low. ``as_released=True`` does the same, for comparison with results computed by it; the default does not.

Model: Oberst and Sontag (2019), Counterfactual off-policy evaluation with Gumbel-max structural causal models, ICML; written anew
from its rules. Values come from dynamic programming on the kernel, not from simulation.
"""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from ..errors import DecisionError
from .common import KnownRegime, Policy, Truth, always, decide, start

DECISION = "treatment"
OPTIONS = tuple("+".join(n for n, on in zip(("antibiotics", "vasopressors", "ventilation"), given, strict=True) if on) or "none"
                for given in itertools.product((0, 1), repeat=3))
"""The eight treatments: code ``4 a + 2 v + o``."""
GIVEN = np.array(list(itertools.product((0, 1), repeat=3)))
"""Whether each option holds antibiotics, vasopressors, ventilation, shape (option, 3)."""
SIGNS = ("diabetes", "heart_rate", "pressure", "oxygen", "glucose", "antibiotics", "vasopressors", "ventilation")
SIZES = (2, 3, 3, 2, 5, 2, 2, 2)
STATES = np.array(list(itertools.product(*(range(k) for k in SIZES))))
"""Levels of the eight variables of every state, shape (1440, 8)."""
P_DIABETES = 0.2
VITAL, OXYGEN, GLUCOSE = (0.25, 0.5, 0.25), (0.2, 0.8), ((0.05, 0.15, 0.6, 0.15, 0.05), (0.01, 0.05, 0.15, 0.6, 0.19))
DISCOUNT, STEPS = 0.99, 20


# ---- one step, sign by sign: matrices of level to level -----------------------------------------------


def _moves(size: int, *moves: tuple[int, int, float]) -> np.ndarray:
    """The matrix of a step that moves from some levels to others with given probabilities and stays otherwise."""
    out = np.zeros((size, size))
    for before, after, p in moves:
        out[before, after] += p
    return out + np.diag(1 - out.sum(axis=1))


def _chance(size: int, p: float, top: int | None = None) -> np.ndarray:
    """One up or one down with probability `p` each; a rise ends at `top` at most, even where it starts above."""
    top = size - 1 if top is None else top
    moves = [(k, max(k - 1, 0), p) for k in range(size)] + [(k, min(k + 1, top), p) for k in range(size)]
    return _moves(size, *moves)


def heart_rate(before: int, a: int) -> np.ndarray:
    """Matrix of the heart rate's step, antibiotics before and now."""
    return _moves(3, (2, 1, 0.5)) if a else _moves(3, (1, 2, 0.1)) if before else _chance(3, 0.1)


def pressure(diabetes: int, before: tuple[int, int], a: int, v: int) -> np.ndarray:
    """Matrix of the pressure's step; `before`: antibiotics and vasopressors before."""
    step = np.eye(3)
    if a or before[0]:
        step = heart_rate(before[0], a)
    if v:
        step = step @ (_moves(3, (0, 1, 0.5), (0, 2, 0.4), (1, 2, 0.9)) if diabetes else _moves(3, (0, 1, 0.7), (1, 2, 0.7)))
    elif before[1]:
        p = 0.05 if diabetes else 0.1
        step = step @ _moves(3, (1, 0, p), (2, 1, p))
    return step if a or v or any(before) else _chance(3, 0.1)


def oxygen(before: int, o: int) -> np.ndarray:
    """Matrix of the oxygen's step, ventilation before and now."""
    return _moves(2, (0, 1, 0.7)) if o else _moves(2, (1, 0, 0.1)) if before else _chance(2, 0.1)


def glucose(diabetes: int, v: int, as_released: bool) -> np.ndarray:
    """Matrix of the glucose's step."""
    if v:
        return _moves(5, *((k, min(k + 1, 4), 0.5) for k in range(5))) if diabetes else np.eye(5)
    return _chance(5, 0.3) if diabetes else _chance(5, 0.1, 1 if as_released else 4)


# ---- the kernel -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Kernel:
    """The exact law of a step.

    Attributes
    ----------
    signs : tuple of array, shapes (state, option, level)
        Law of heart rate, pressure, oxygen and glucose after a step; independent given state and treatment.
    going : array of int, shape (606,)
        States in which the course goes on.
    step : array, shape (going, option, going)
        Probability of every next state that goes on.
    reward : array, shape (going, option)
        Expected reward: P(discharge) - P(death).
    begin : array, shape (going,)
        Law of the first state.
    """

    signs: tuple[np.ndarray, ...]
    going: np.ndarray
    step: np.ndarray
    reward: np.ndarray
    begin: np.ndarray


def index_of(levels: np.ndarray) -> np.ndarray:
    """Number of each state, given the levels of the eight variables ``(n, 8)``."""
    return np.ravel_multi_index(tuple(np.asarray(levels).astype(int).T), SIZES)


def outcome(levels: np.ndarray) -> np.ndarray:
    """Reward of entering each state ``(n, 8)``: -1 death, 1 discharge, 0 where the course goes on; shape (n,)."""
    abnormal = (levels[:, 1:5] != np.array([1, 1, 1, 2])).sum(axis=1)
    return np.where(abnormal >= 3, -1, np.where((abnormal == 0) & ~levels[:, 5:].any(axis=1), 1, 0))


@cache
def kernel(as_released: bool = False) -> Kernel:
    """The exact kernel.

    Parameters
    ----------
    as_released : bool
        Whether glucose is capped as in the published program.
    """
    signs = tuple(np.zeros((len(STATES), len(OPTIONS), k)) for k in SIZES[1:5])
    for option, (a, v, o) in enumerate(GIVEN):
        for d, a0, v0, o0 in itertools.product((0, 1), repeat=4):
            here = np.flatnonzero((STATES[:, [0, 5, 6, 7]] == (d, a0, v0, o0)).all(axis=1))
            laws = heart_rate(a0, a), pressure(d, (a0, v0), a, v), oxygen(o0, o), glucose(d, v, as_released)
            for column, (sign, law) in enumerate(zip(signs, laws, strict=True), start=1):
                sign[here, option] = law[STATES[here, column]]
    ends = outcome(STATES)
    going = np.flatnonzero(ends == 0)
    step, reward = np.zeros((len(going), len(OPTIONS), len(going))), np.zeros((len(going), len(OPTIONS)))
    for option, given in enumerate(GIVEN):
        for d in (0, 1):
            rows = np.flatnonzero(STATES[going, 0] == d)
            after = np.flatnonzero((STATES[:, 0] == d) & (STATES[:, 5:] == given).all(axis=1))
            p = np.ones((len(rows), len(after)))
            for column, sign in enumerate(signs, start=1):
                p *= sign[going[rows], option][:, STATES[after, column]]
            reward[rows, option] = p @ ends[after]
            alive = ends[after] == 0
            step[np.ix_(rows, [option], np.searchsorted(going, after[alive]))] = p[:, None, alive]
    begin = np.zeros(len(STATES))
    off = ~STATES[:, 5:].any(axis=1)
    d, h, s, x, g = STATES[off, :5].T
    begin[off] = np.take(VITAL, h) * np.take(VITAL, s) * np.take(OXYGEN, x) * np.array(GLUCOSE)[d, g]
    begin = begin[going]  # the other signs are drawn again until the course goes on; diabetes is not
    for d, share in enumerate((1 - P_DIABETES, P_DIABETES)):
        begin[STATES[going, 0] == d] *= share / begin[STATES[going, 0] == d].sum()
    return Kernel(signs, going, step, reward, begin)


# ---- values -----------------------------------------------------------------------------------------------


def solve(
    *, discount: float = DISCOUNT, steps: int | None = None, as_released: bool = False, tolerance: float = 1e-12
) -> tuple[np.ndarray, np.ndarray]:
    """Best values by value iteration.

    Parameters
    ----------
    discount : float
        Of a reward by each step that passes before it.
    steps : int, optional
        Number of steps; without it the course goes on until it ends.
    tolerance : float
        Of the change that the last iteration makes to any state.

    Returns
    -------
    value : array, shape (606,)
        Of every state in which the course goes on.
    choice : array of int, shape (606,)
        The first step's best treatment.
    """
    k = kernel(as_released)
    value, choice, done = np.zeros(len(k.going)), np.zeros(len(k.going), dtype=int), 0
    flat = k.step.reshape(-1, len(k.going))
    while steps is None or done < steps:
        q = k.reward + discount * (flat @ value).reshape(k.reward.shape)
        best, choice = q.max(axis=1), q.argmax(axis=1)
        change, value, done = np.abs(best - value).max(), best, done + 1
        if steps is None and change < tolerance:
            break
    return value, choice


def value_of(policy: np.ndarray, *, discount: float = DISCOUNT, as_released: bool = False) -> np.ndarray:
    """Value of a policy in every state in which the course goes on, by a linear system; shape (606,).

    Parameters
    ----------
    policy : array, shape (606, 8)
        Probability of every treatment in every state.
    discount : float
    as_released : bool
    """
    k = kernel(as_released)
    step = np.einsum("sa,sat->st", policy, k.step)
    return np.linalg.solve(np.eye(len(k.going)) - discount * step, (policy * k.reward).sum(axis=1))


@cache
def truth(as_released: bool = False) -> Truth:
    """Values under a discount of .99 a step, until the course ends.

    Parameters
    ----------
    as_released : bool
        Whether glucose is capped as in the published program.

    Returns
    -------
    Truth
        `regimes`: ``"random"`` (every treatment equally likely, as in the trial) and ``"none"`` (never a treatment). `details`: the optimal
        value without discount, ``"undiscounted"``, and that over 20 steps, ``"undiscounted, 20 steps"``.
    """
    k = kernel(as_released)
    value, choice = solve(as_released=as_released)
    chosen = np.zeros(len(STATES), dtype=int)
    chosen[k.going] = choice

    def rule(frame: pd.DataFrame) -> np.ndarray:
        return np.array(OPTIONS, dtype=object)[chosen[index_of(frame[list(SIGNS)].to_numpy())]]

    n = len(k.going)
    mean = lambda v: float(k.begin @ v)  # noqa: E731
    regimes = {
        "random": KnownRegime(mean(value_of(np.full((n, len(OPTIONS)), 1 / len(OPTIONS)), as_released=as_released)), {}),
        "none": KnownRegime(mean(value_of(np.eye(len(OPTIONS))[np.zeros(n, dtype=int)], as_released=as_released)), {DECISION: always("none")}),
    }
    details = {"undiscounted": mean(solve(discount=1.0, as_released=as_released)[0]),
               f"undiscounted, {STEPS} steps": mean(solve(discount=1.0, steps=STEPS, as_released=as_released)[0])}
    return Truth(KnownRegime(mean(value), {DECISION: rule}), regimes, details, 1e-9)


# ---- patients -----------------------------------------------------------------------------------------------


def simulate(n: int, *, seed: int, policy: Policy | None = None, steps: int = STEPS, as_released: bool = False) -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients, with the same luck in every step, under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule for the decision ``treatment``, from the columns of the state; by default every treatment is equally likely.
    steps : int
        A course is followed for so many steps at most.
    as_released : bool

    Returns
    -------
    DataFrame, one row per patient and step
        Columns ``patient`` and ``step`` (from 0), the eight variables of the state as levels, ``treatment``, ``reward``.

    Raises
    ------
    DecisionError
    """
    rng = start(n, seed, policy, (DECISION,))
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise DecisionError(f"simulate: steps is a number of at least 1, got {steps!r}.")
    k = kernel(as_released)
    state = k.going[np.minimum(np.searchsorted(np.cumsum(k.begin), rng.random(n)), len(k.going) - 1)]
    luck, coin = rng.random((steps, 4, n)), rng.integers(0, len(OPTIONS), (steps, n))
    patient, parts = np.arange(n), []
    for t in range(steps):
        columns = {"patient": patient, "step": np.full(len(patient), t)} | dict(zip(SIGNS, STATES[state].T, strict=True))
        columns[DECISION] = decide(columns, DECISION, OPTIONS, coin[t, patient], policy)
        option = pd.Categorical(columns[DECISION], categories=list(OPTIONS)).codes.astype(int)
        after = STATES[state].copy()
        for column, sign in enumerate(k.signs, start=1):
            reached = np.cumsum(sign[state, option], axis=1)
            after[:, column] = np.minimum((luck[t, column - 1, patient][:, None] >= reached).sum(axis=1), SIZES[column] - 1)
        after[:, 5:] = GIVEN[option]
        columns["reward"] = outcome(after)
        parts.append(pd.DataFrame(columns))
        alive = columns["reward"] == 0
        patient, state = patient[alive], index_of(after)[alive]
        if not patient.size:
            break
    return pd.concat(parts, ignore_index=True).sort_values(["patient", "step"], ignore_index=True)


def returns(frame: pd.DataFrame, discount: float = DISCOUNT) -> np.ndarray:
    """Discounted return of every patient of a simulation, shape (patient,)."""
    earned = frame["reward"].to_numpy() * discount ** frame["step"].to_numpy()
    return np.bincount(frame["patient"].to_numpy(), weights=earned)
