"""A user-written model with near-flat priors against ordinary least squares, on the ADHD SMART."""

import arviz_stats as azs
import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Response, Saturated, Study, fit

# Printed by the source's own analysis and recomputed: the order of the design below.
PRINTED = {
    "intercept": 2.3528890, "odd": -0.6239429, "severity": -0.0495819, "priormed": -0.5773477, "race": 0.2627090,
    "adherence": 0.9272389, "A1": 0.4248878, "A2": -1.1725476, "A1:A2": -0.1523192, "adherence:A2": 1.7331262,
}
COVARIATES = ("odd", "severity", "priormed", "race")


def school_performance(history):
    """Ten terms, treatments as signs; priors a thousand times wider than the estimates' errors."""
    b = pm.Normal("b", 0, 1000, shape=10)
    a1, a2 = 2.0 * history.code("A1") - 1, 2.0 * history.code("A2") - 1
    terms = [pt.ones_like(a1), *(history[n] for n in COVARIATES), history["adherence"], a1, a2, a1 * a2, history["adherence"] * a2]
    return pm.Normal("Y2", sum(b[i] * t for i, t in enumerate(terms)), pm.HalfCauchy("sigma", 25))


ADHD = Study(
    *(Baseline(n) for n in COVARIATES), Decision("A1", ["-1", "1"]), Response("adherence", Bernoulli(), model=Saturated(over=["A1"])),
    Decision("A2", ["-1", "1"]), Response("Y2", model=school_performance), utility="Y2",
)


@pytest.fixture(scope="module")
def children(shared_data):
    table = pd.read_csv(shared_data / "adhd_smart_2023.csv")
    table[list(COVARIATES)] -= table[list(COVARIATES)].mean()  # centred on all 150
    return table[table["R"] == 0].reset_index(drop=True)


def least_squares(table):
    a1, a2 = table["A1"].astype(float), table["A2"].astype(float)
    design = np.column_stack([np.ones(len(table)), *(table[n] for n in COVARIATES), table["adherence"], a1, a2, a1 * a2, table["adherence"] * a2])
    return np.linalg.lstsq(design, table["Y2"].to_numpy(), rcond=None)[0]


def test_least_squares_is_what_is_printed(children):
    assert len(children) == 101
    np.testing.assert_allclose(least_squares(children), list(PRINTED.values()), atol=5e-8)


def test_posterior_means_are_least_squares(children):
    frame = children.assign(A1=children["A1"].astype(int).astype(str), A2=children["A2"].astype(int).astype(str))
    posterior = fit(ADHD, frame, seed=4)
    assert posterior.verdict.convergence.rhat < 1.01 and posterior.verdict.convergence.divergences == 0
    draws = posterior.tree["posterior"]["Y2::b"]
    # Shrinkage by a prior of SD 1000 is (SE/1000)^2 of an estimate: nothing beside the Monte Carlo error.
    z = (draws.mean(("chain", "draw")).values - least_squares(children)) / azs.mcse(draws, method="mean").values
    assert np.abs(z).max() < 4, z
