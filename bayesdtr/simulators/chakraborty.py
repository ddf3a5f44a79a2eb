"""The nine regular and non-regular two-stage examples that Q-learning is usually tried on.

With ``s(x) = 2 x - 1`` turning 0/1 into a sign, and signs throughout the equations,

    P(o1 = 1) = 1/2,  P(o2 = 1 | o1, a1) = expit(d1 o1 + d2 a1),  a1, a2 = +-1 with probability 1/2,
    y = g3 a1 + a2 (g5 + g6 o2 + g7 a1) + N(0, 1).

`o1` and `o2` are stored as 0 and 1, treatments as "-1" and "+1". Non-regular means that the second
treatment has no effect for a share `p` of the patients, so that the maximum over it has a kink there.

Source: Chakraborty, Murphy & Strecher, Statistical Methods in Medical Research 2010;19:317 (examples
1-6), and Laber et al., Electronic Journal of Statistics 2014;8:1225 (A, B, C). Published versions that
code treatments 0/1 in the *equations* are other distributions, with other truths.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from ..errors import DecisionError, did_you_mean, listing
from ..study import Baseline, Bernoulli, Decision, Normal, Response, Study
from .common import KnownRegime, Policy, Truth, always, decide, start

OPTIONS = ("-1", "+1")
SIGNS = (-1, 1)

EXAMPLES: dict[str, tuple[float, float, float, float, float, float]] = {
    # (g3, g5, g6, g7, d1, d2)
    "1": (0, 0, 0, 0, 0.5, 0.5),
    "2": (0, 0.01, 0, 0, 0.5, 0.5),
    "3": (-0.5, 0.5, 0, 0.5, 0.5, 0.5),
    "4": (-0.5, 0.5, 0, 0.49, 0.5, 0.5),
    "5": (-0.5, 1, 0.5, 0.5, 1, 0),
    "6": (-0.5, 0.25, 0.5, 0.5, 0.1, 0.1),
    "A": (-0.25, 0.75, 0.5, 0.5, 0.1, 0.1),
    "B": (0, 0.25, 0, 0.25, 0, 0),
    "C": (0, 0.25, 0, 0.24, 0, 0),
}


def study() -> Study:
    """The declaration of this study, the same for every example."""
    return Study(
        Baseline("o1"),
        Decision("first", OPTIONS),
        Response("o2", Bernoulli()),
        Decision("second", OPTIONS),
        Response("y", Normal()),
        utility="y",
    )


def _coefficients(example: str) -> tuple[float, float, float, float, float, float]:
    if example not in EXAMPLES:
        raise DecisionError(f"chakraborty: no example {example!r}; examples: {listing(EXAMPLES)}{did_you_mean(example, EXAMPLES)}")
    return EXAMPLES[example]


def _sign(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == "+1", 1, -1)


def simulate(n: int, *, seed: int, policy: Policy | None = None, example: str = "3") -> pd.DataFrame:
    """Simulate patients; the same seed gives the same patients under every policy.

    Parameters
    ----------
    n : int
    seed : int
    policy : mapping of str to callable, optional
        A rule per decision (``first``, ``second``); by default fair coins.
    example : {"1", "2", "3", "4", "5", "6", "A", "B", "C"}

    Returns
    -------
    DataFrame, n rows
        Columns ``o1, first, o2, second, y``.
    """
    g3, g5, g6, g7, d1, d2 = _coefficients(example)
    rng = start(n, seed, policy, ("first", "second"))
    uniform, noise = rng.random((2, n)), rng.standard_normal(n)
    coin = rng.integers(0, 2, (2, n))
    columns = {"o1": (uniform[0] < 0.5).astype(int)}
    columns["first"] = decide(columns, "first", OPTIONS, coin[0], policy)
    a1 = _sign(columns["first"])
    columns["o2"] = (uniform[1] < expit(d1 * (2 * columns["o1"] - 1) + d2 * a1)).astype(int)
    columns["second"] = decide(columns, "second", OPTIONS, coin[1], policy)
    a2 = _sign(columns["second"])
    columns["y"] = g3 * a1 + a2 * (g5 + g6 * (2 * columns["o2"] - 1) + g7 * a1) + noise
    return pd.DataFrame(columns)


def truth(example: str = "3") -> Truth:
    """The exact numbers of an example, by enumeration over `o1`, `first` and `o2`.

    Among tied options the optimal rule takes the one declared first.

    Returns
    -------
    Truth
        `regimes`: the four fixed sequences. `details`: ``p``, the share of randomized patients
        without a second-stage effect; ``phi``, mean over SD of that effect (NaN where both are 0);
        ``psi10`` and ``psi11``, the coefficients of `a1` and `o1 a1` in the first-stage Q-function;
        ``tie``, 1 where the first options are equally good for everybody.
    """
    g3, g5, g6, g7, d1, d2 = _coefficients(example)

    def probability(o1, a1, o2):
        return expit(o2 * (d1 * o1 + d2 * a1))

    def effect(a1, o2):
        # Rounded so that 0.5 - 0.49 and exact cancellations are told apart from rounding error.
        return round(g5 + g6 * o2 + g7 * a1, 12)

    def q1(o1, a1):
        return g3 * a1 + sum(probability(o1, a1, o2) * abs(effect(a1, o2)) for o2 in SIGNS)

    cells = [(probability(o1, a1, o2) / 4, effect(a1, o2)) for o1 in SIGNS for a1 in SIGNS for o2 in SIGNS]
    mean = sum(w * e for w, e in cells)
    sd = np.sqrt(max(sum(w * e**2 for w, e in cells) - mean**2, 0.0))
    spread = sd > 1e-9
    half = {o1: (q1(o1, 1) - q1(o1, -1)) / 2 for o1 in SIGNS}
    details = {
        "p": sum(w for w, e in cells if e == 0),
        "phi": mean / sd if spread else np.inf if mean else np.nan,
        "psi10": (half[1] + half[-1]) / 2,
        "psi11": (half[1] - half[-1]) / 2,
        "tie": float(all(abs(h) < 1e-9 for h in half.values())),
    }
    regimes = {}
    for i, a in enumerate(SIGNS):
        for j, b in enumerate(SIGNS):
            value = g3 * a + b * sum(probability(o1, a, o2) * effect(a, o2) for o1 in SIGNS for o2 in SIGNS) / 2
            regimes[f"{OPTIONS[i]}; {OPTIONS[j]}"] = KnownRegime(float(value), {"first": always(OPTIONS[i]), "second": always(OPTIONS[j])})

    def first(frame: pd.DataFrame) -> np.ndarray:
        return np.where(np.where(frame["o1"] == 1, half[1], half[-1]) > 1e-9, "+1", "-1").astype(object)

    def second(frame: pd.DataFrame) -> np.ndarray:
        gain = np.round(g5 + g6 * (2 * frame["o2"].to_numpy() - 1) + g7 * _sign(frame["first"].to_numpy(dtype=object)), 12)
        return np.where(gain > 0, "+1", "-1").astype(object)

    best = sum(max(q1(o1, a1) for a1 in SIGNS) for o1 in SIGNS) / 2
    return Truth(KnownRegime(float(best), {"first": first, "second": second}), regimes, {k: float(v) for k, v in details.items()})
