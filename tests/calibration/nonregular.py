"""The nine two-stage examples over simulated trials: coverage of the first stage's main effect, and regret beside Q-learning by least squares.

With default hierarchical priors; the continuation is the committed rule. Nominal 95 % equal-tailed intervals.
"""

from typing import NamedTuple

import numpy as np
from honest import SIGNS
from scipy.special import expit

from bayesdtr import Study, fit_many
from bayesdtr.decision.induction import clairvoyant, committed, solve
from bayesdtr.decision.learner import Learned
from bayesdtr.decision.world import Rows
from bayesdtr.evaluate.learning import world_of
from bayesdtr.simulators import chakraborty

PATIENTS, DRAWS, CHUNK = 300, 1024, 250
STARTS = Rows({"o1": np.array([0.0, 1.0])}, None, 2)


class Found(NamedTuple):
    """Per data set.

    Attributes
    ----------
    psi : array, shape (set, rule, 3)
        Mean and interval of the first stage's main effect, later decisions committed and clairvoyant.
    value : array, shape (set, 3)
        Mean and interval of the committed rule's value under the model.
    reached : array, shape (set, 2)
        True value of the rule learned, and of that by least squares.
    """

    psi: np.ndarray
    value: np.ndarray
    reached: np.ndarray


def trials(example: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Simulated trials as codes, shape (set, patient)."""
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[example]
    rng = np.random.default_rng([seed, list(chakraborty.EXAMPLES).index(example)])
    shape = (count, PATIENTS)
    o1, first, second = (rng.integers(0, 2, shape) for _ in range(3))
    s1, a1, a2 = SIGNS[o1], SIGNS[first], SIGNS[second]
    o2 = (rng.random(shape) < expit(d1 * s1 + d2 * a1)).astype(float)
    y = g3 * a1 + a2 * (g5 + g6 * (2 * o2 - 1) + g7 * a1) + rng.normal(size=shape)
    return {"o1": o1.astype(float), "first": first, "o2": o2, "second": second, "y": y}


def value_of(example: str, first: np.ndarray, second: np.ndarray) -> float:
    """Exact value of a rule: options (codes) by `o1`, and by `o1`, `first` and `o2`."""
    g3, g5, g6, g7, d1, d2 = chakraborty.EXAMPLES[example]
    total = 0.0
    for o1 in (0, 1):
        a1 = SIGNS[first[o1]]
        for o2 in (0, 1):
            s2 = SIGNS[o2]
            p = expit(s2 * (d1 * SIGNS[o1] + d2 * a1)) / 2
            total += p * (g3 * a1 + SIGNS[second[o1, first[o1], o2]] * (g5 + g6 * s2 + g7 * a1))
    return float(total)


def least_squares(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Q-learning by least squares on the published working models; options as :func:`value_of` takes them."""
    s1, a1, s2, a2, y = (SIGNS[columns["o1"].astype(int)], SIGNS[columns["first"]], SIGNS[columns["o2"].astype(int)], SIGNS[columns["second"]],
                         columns["y"])
    one = np.ones_like(y)
    beta = np.linalg.lstsq(np.stack([one, s1, a1, s1 * a1, a2, s2 * a2, a1 * a2], axis=1), y, rcond=None)[0]
    effect = beta[4] + beta[5] * s2 + beta[6] * a1
    pseudo = np.stack([one, s1, a1, s1 * a1], axis=1) @ beta[:4] + np.abs(effect)
    gamma = np.linalg.lstsq(np.stack([one, s1, a1, s1 * a1], axis=1), pseudo, rcond=None)[0]
    first = np.array([int(gamma[2] + gamma[3] * s > 0) for s in SIGNS])
    second = np.array([[[int(beta[4] + beta[5] * s + beta[6] * a > 0) for s in SIGNS] for a in SIGNS] for _ in SIGNS])
    return first, second


def run(example: str, sets: int, seed: int = 1, study: Study | None = None) -> Found:
    """Fit, decide and compare with the truth, data set by data set."""
    study, found = study or chakraborty.study(), []
    o1, a1, o2 = (v.ravel() for v in np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"))
    later = Rows({"o1": o1.astype(float), "first": a1, "o2": o2.astype(float)}, None, 8)
    for begin in range(0, sets, CHUNK):
        count = min(CHUNK, sets - begin)
        columns = trials(example, count, seed * 1000 + begin)
        fits = fit_many(study, columns, seed=seed, draws=DRAWS, corrected=True, first=begin)
        for i in range(count):
            learned = Learned.of(world_of(study, fits, i), STARTS, 1)
            (answer,) = solve(learned.world, 0, STARTS, [committed, clairvoyant])
            choice = answer.qbar.argmax(axis=1)
            psi = [(q[:, :, 1] - q[:, :, 0]).mean(axis=1) / 2 for q in answer.values]
            share = np.random.default_rng([seed, begin + i]).dirichlet(np.bincount(columns["o1"][i].astype(int), minlength=2), DRAWS)
            value = (share * answer.values[0][:, [0, 1], choice]).sum(axis=1)
            second = learned.qbar(1, later).argmax(axis=1).reshape(2, 2, 2)
            plain = least_squares({n: v[i] for n, v in columns.items()})
            found.append((np.stack([_summary(p) for p in psi]), _summary(value), np.array([value_of(example, choice, second),
                                                                                         value_of(example, *plain)])))
    return Found(*(np.stack(part) for part in zip(*found, strict=True)))


def _summary(draws: np.ndarray) -> np.ndarray:
    return np.array([draws.mean(), *np.quantile(draws, [0.025, 0.975])])
