"""A two-stage logistic SMART with covariates, and interim looks at simulated trials of it."""

import numpy as np

import bayesdtr as dtr
from bayesdtr.trial.observed import Observed

SMART = dtr.Study(
    dtr.Baseline("x1"), dtr.Baseline("x2"), dtr.Decision("a", ["p", "q"]), dtr.Response("r", dtr.Bernoulli()),
    dtr.Decision("a2", {dtr.when(r=0): ["u", "v"], dtr.when(r=1): ["u", "w"]}), dtr.Response("y", dtr.Bernoulli()),
    utility="y", scales={"x1": (0.0, 1.0), "x2": (0.0, 1.0)},
)


def expit(z):
    return 1 / (1 + np.exp(-z))


def looks(known, size=200, seed=1, spread=0.6):
    """Interim data of one trial for each of `known` patients, under effects of its own; and the frame of what is known of each."""
    rng = np.random.default_rng(seed)
    known = np.asarray(known)
    shape = (len(known), size)
    e = rng.normal(0, spread, (6, len(known), 1))
    x1, x2 = rng.normal(size=(2, *shape))
    a = rng.integers(0, 2, shape)
    r = (rng.random(shape) < expit((a - 0.5) * e[0] + 0.4 * x1)).astype(float)
    second = rng.integers(0, 2, shape)
    a2 = np.where(second == 0, 0, np.where(r == 1, 2, 1))
    eta = 0.3 + (a - 0.5) * e[1] + (second - 0.5) * (e[2] + e[3] * x1 + e[4] * (r - 0.5)) + 0.5 * x2 + 0.5 * r
    y = (rng.random(shape) < expit(eta)).astype(float)
    here = np.arange(size) < known[:, None]
    code = lambda v: np.where(here, v, -1)  # noqa: E731
    number = lambda v: np.where(here, v, np.nan)  # noqa: E731
    columns = {"x1": number(x1), "x2": number(x2), "a": code(a), "r": number(r), "a2": code(a2), "y": number(y)}
    return Observed(columns, None, np.where(here, 0, -1), here)


def frame(study, data, trial):
    """One trial's known patients as the door reads them."""
    import pandas as pd

    from bayesdtr.study.timeline import labels_of

    here = data.enrolled[trial]
    found = {}
    for node in study.timeline:
        values = data.columns[node.name][trial, here]
        labels = labels_of(node)
        found[node.name] = np.array(labels)[values.astype(int)] if labels else values
    return pd.DataFrame(found)
