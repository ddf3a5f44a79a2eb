"""Studies of many stages with known parameters, and their optimum by dynamic programming on a fine grid.

Normal, binary and count responses take turns; each depends on the latest of each kind and on the option, so that the state
``(x, r, c)`` is Markov and the optimum can be computed, while the study under test only knows whole histories.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
from scipy.special import expit
from scipy.stats import poisson

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Poisson, Response, Study, Utility

KINDS = ("normal", "binary", "normal", "count", "binary", "normal")
WEIGHTS = {"normal": 0.5, "binary": 1.0, "count": -0.3}
FAMILIES = {"normal": Normal, "binary": Bernoulli, "count": Poisson}
SD = 1.0
GRID = np.linspace(-12.0, 12.0, 1201)
COUNTS = np.arange(16)
"""Counts that the dynamic programme tells apart; what it does with the last is done with more."""


def predictor(kind, x, r, c, a):
    """Linear predictor of a response of a kind; whole numbers, floats or symbols alike."""
    if kind == "normal":
        return 0.6 * x + a * (0.4 * x - 0.3 + 0.6 * r - 0.2 * c)
    if kind == "binary":
        return -0.3 + 0.4 * x + a * (0.5 - 0.9 * r - 0.6 * x)
    return 0.1 + 0.2 * x - a * (0.3 + 0.3 * x - 0.1 * c)


def _latest(stage: int, kinds, kind: str) -> str | None:
    found = [f"y{k + 1}" for k in range(stage) if kinds[k] == kind]
    return found[-1] if found else ("x0" if kind == "normal" else None)


def _model(stage: int, kinds) -> Callable:
    names = [_latest(stage, kinds, k) for k in ("normal", "binary", "count")]

    def model(history):
        x, r, c = (0.0 if n is None else history[n] for n in names)
        eta = predictor(kinds[stage], x, r, c, history.code(f"d{stage + 1}"))
        name = f"y{stage + 1}"
        if kinds[stage] == "normal":
            return pm.Normal(name, eta, SD)
        return pm.Bernoulli(name, logit_p=eta) if kinds[stage] == "binary" else pm.Poisson(name, pt.exp(eta))

    return model


def study_of(kinds) -> Study:
    """The study; every response is known and counts for the utility."""
    nodes = [Baseline("x0")]
    for k, kind in enumerate(kinds):
        nodes += [Decision(f"d{k + 1}", ["no", "yes"]), Response(f"y{k + 1}", FAMILIES[kind](), model=_model(k, kinds))]
    return Study(*nodes, utility=Utility({f"y{k + 1}": WEIGHTS[kind] for k, kind in enumerate(kinds)}))


def _earned(kind, eta):
    return WEIGHTS[kind] * (eta if kind == "normal" else expit(eta) if kind == "binary" else np.exp(eta))


@dataclass(frozen=True)
class Optimum:
    """Values of both options at every stage on the grid of states, ``[x, r, c, option]``."""

    kinds: tuple[str, ...]
    q: tuple[np.ndarray, ...]

    def option(self, stage: int, x, r, c) -> np.ndarray:
        """The best option at states, arrays ``(n,)``: the two options' values are interpolated between grid points."""
        table = self.q[stage][..., 1] - self.q[stage][..., 0]
        r, c = r.astype(int), np.minimum(c.astype(int), COUNTS[-1])
        place = np.clip((x - GRID[0]) / (GRID[1] - GRID[0]), 0, len(GRID) - 1.001)
        low, part = place.astype(int), place - place.astype(int)
        return ((1 - part) * table[low, r, c] + part * table[low + 1, r, c] > 0).astype(int)


def optimum_of(kinds) -> Optimum:
    """Backward induction on the grid: Normal transitions by 41 Gauss-Hermite nodes and linear interpolation, the others summed."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    x, r, c = GRID[:, None, None], np.arange(2)[None, :, None], COUNTS[None, None, :]
    after, tables = np.zeros((len(GRID), 2, len(COUNTS))), []
    for kind in reversed(kinds):
        q = np.empty((*after.shape, 2))
        for a in (0, 1):
            eta = predictor(kind, x, r, c, a) + np.zeros(after.shape)
            q[..., a] = _earned(kind, eta)
            if kind == "binary":
                q[..., a] += expit(eta) * after[:, [1], :] + expit(-eta) * after[:, [0], :]
            elif kind == "count":
                p = poisson.pmf(COUNTS, np.exp(eta)[..., None])
                p[..., -1] = 1 - p[..., :-1].sum(axis=-1)
                q[..., a] += np.einsum("xrcn,xrn->xrc", p, after)
            else:
                for node, w in zip(nodes, weights, strict=True):
                    for i in range(2):
                        for j in range(len(COUNTS)):
                            q[:, i, j, a] += w * np.interp(eta[:, i, j] + SD * node, GRID, after[:, i, j])
        after = q.max(axis=-1)
        tables.append(q)
    return Optimum(tuple(kinds), tuple(tables[::-1]))


Policy = Callable[[int, pd.DataFrame, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From a stage, the history so far and the state to option codes."""


def follow(kinds, policy: Policy, n: int, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Expected utility that each patient earns on its way, given its history, and the histories; the same luck under every policy."""
    rng = np.random.default_rng(seed)
    x, r, c = rng.normal(size=n), np.zeros(n), np.zeros(n)
    frame, total = pd.DataFrame({"x0": x}), np.zeros(n)
    for k, kind in enumerate(kinds):
        luck = rng.random(n)
        option = policy(k, frame, x, r, c)
        eta = predictor(kind, x, r, c, option)
        total += _earned(kind, eta)
        frame[f"d{k + 1}"] = np.array(["no", "yes"])[option]
        if kind == "normal":
            from scipy.special import ndtri

            x = eta + SD * ndtri(luck)
        elif kind == "binary":
            r = (luck < expit(eta)).astype(float)
        else:
            c = poisson.ppf(luck, np.exp(eta))
        frame[f"y{k + 1}"] = {"normal": x, "binary": r, "count": c}[kind]
    return total, frame
