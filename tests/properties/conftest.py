"""A small clustered study, fitted once for all properties."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Study, fit, optimize, when

CLUSTERED = Study(
    Baseline("age"), Decision("first", ["medication", "therapy"]), Response("improved", Bernoulli()),
    Decision("second", {when(improved=0): ["augment", "switch", "wait"], when(improved=1): ["continue"]}), Response("drop", Normal()),
    utility="drop", cluster="site", id="pid",
)


@pytest.fixture(scope="session")
def clustered_frame():
    rng = np.random.default_rng(4)
    n = 90
    first, improved = rng.integers(0, 2, n), rng.integers(0, 2, n)
    second = np.where(improved == 1, "continue", np.array(["augment", "switch", "wait"])[rng.integers(0, 3, n)])
    age = rng.normal(60, 8, n)
    drop = 5 + 3 * first + 0.1 * (age - 60) * (second == "switch") + 2 * improved + rng.normal(0, 3, n)
    return pd.DataFrame({
        "pid": [f"p{i}" for i in range(n)], "site": np.array(["north", "south", "west"])[rng.integers(0, 3, n)], "age": age,
        "first": np.array(["medication", "therapy"])[first], "improved": improved, "second": second, "drop": drop,
    })


@pytest.fixture(scope="session")
def clustered(clustered_frame):
    return fit(CLUSTERED, clustered_frame, seed=1, draws=400, warmup=500, chains=2)


@pytest.fixture(scope="session")
def clustered_regime(clustered):
    return optimize(clustered)
