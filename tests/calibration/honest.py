"""How honest values fall around what they estimate, in the nine two-stage examples whose truth is exact."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from bayesdtr.data import read
from bayesdtr.decision.learner import Learned
from bayesdtr.decision.world import Rows
from bayesdtr.evaluate.honest import combined, judged, lessons_of, scales_of
from bayesdtr.simulators import chakraborty

PATIENTS, BLOCKS, CHUNK = 300, 10, 50
SIGNS = np.array([-1.0, 1.0])


class Found(NamedTuple):
    """Per data set: honest value, its standard error, and the average true value of the rules it judged, weighed as it weighs them."""

    value: np.ndarray
    error: np.ndarray
    target: np.ndarray


def true_value(learned: Learned, example: str) -> float:
    """Exact value of a rule in an example, by enumeration."""
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[example]
    first = learned.qbar(0, Rows({"o1": np.array([0.0, 1.0])}, None, 2)).argmax(axis=1)
    o1, o2 = (v.ravel() for v in np.meshgrid([0.0, 1.0], [0.0, 1.0], indexing="ij"))
    code = first[o1.astype(int)]
    second = learned.qbar(1, Rows({"o1": o1, "first": code, "o2": o2}, None, 4)).argmax(axis=1)
    a1, a2, s1, s2 = SIGNS[code], SIGNS[second], 2 * o1 - 1, 2 * o2 - 1
    p = expit(s2 * (d1 * s1 + d2 * a1)) / 2
    return float((p * (g3 * a1 + a2 * (g5 + g6 * s2 + g7 * a1))).sum())


def run(example: str, sets: int, seed: int = 1) -> Found:
    """Honest values of one order each of simulated data sets."""
    study, found = chakraborty.study(), []
    for begin in range(0, sets, CHUNK):
        count = min(CHUNK, sets - begin)
        frame = pd.concat([chakraborty.simulate(PATIENTS, seed=seed * 1_000_003 + begin + i, example=example) for i in range(count)])
        t = read(study, frame.reset_index(drop=True))
        orders = [np.arange(PATIENTS) + PATIENTS * i for i in range(count)]
        training, asked = lessons_of(orders, BLOCKS, 0)
        parts = list(judged(study, t, training, asked, [dict(t.assignment)] * len(asked), "laplace", seed + begin, False))
        each = len(parts) // count
        for s in range(0, len(parts), each):
            mine = parts[s : s + each]
            value, error, _ = combined(mine, None)
            weight = np.array([len(p.patients) for p in mine]) / scales_of(mine)
            found.append((value, error, float((weight * [true_value(p.learned, example) for p in mine]).sum() / weight.sum())))
    return Found(*np.array(found).T)
