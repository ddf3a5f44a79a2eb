"""Data that leave something undetermined: the priors are proper, so the posterior is too; never NaN."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr import Baseline, Bernoulli, DataError, Decision, Normal, Response, Study, fit
from bayesdtr.study import Hierarchical

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
N = 40
STUDY = Study(
    Baseline("x"), Baseline("z"), Decision("arm", ["a", "b"]),
    Response("r", Bernoulli(), model=Hierarchical(covariates="x*z", interactions="horseshoe", relevant=1, sequences=True)), utility="r",
    scales={"x": (0.0, 1.0), "z": (0.0, 1.0)},
)


def data(case: str) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(N)
    frame = pd.DataFrame({"x": x, "z": rng.standard_normal(N), "arm": rng.choice(["a", "b"], N), "r": rng.integers(0, 2, N)})
    if case == "separation":
        frame["r"] = (frame["arm"] == "b").astype(int)
    elif case == "separation by a covariate":
        frame["r"] = (frame["x"] > 0).astype(int)
    elif case == "rank":
        frame["z"] = 2 * frame["x"]
    elif case == "all equal":
        frame["r"] = 1
    elif case == "one patient":
        frame["arm"] = ["b"] + ["a"] * (N - 1)
    return frame


@pytest.mark.parametrize("case", ["separation", "separation by a covariate", "rank", "all equal", "one patient"])
def test_the_posterior_is_proper(case):
    """One compiled program for all cases: the data are arguments."""
    posterior = fit(STUDY, data(case), seed=2, draws=150, warmup=300, chains=2, progress=False)
    group = posterior.tree["posterior"]
    assert all(np.isfinite(v).all() for v in group.data_vars.values())
    # Proper: even what the data say nothing about keeps to the prior's size (levels Normal(0, 1.5), slopes Normal(0, 1)).
    assert float(np.abs(group["r::intercept"]).max()) < 12 and float(np.abs(group["r::beta"]).max()) < 8
    assert float(group["r::beta"].std(("chain", "draw")).min()) > 0.05


@pytest.mark.parametrize(("column", "message"), [("x", "declare its scale"), ("y", "no variation to explain")])
def test_a_constant_column_is_refused(column, message):
    study = Study(Baseline("x"), Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y")
    frame = pd.DataFrame({"x": np.arange(6.0), "arm": ["a", "b"] * 3, "y": np.arange(6.0) ** 2})
    frame[column] = 3.0
    with pytest.raises(DataError, match=f"'{column}'.*{message}"):
        fit(study, frame, seed=1, progress=False)
