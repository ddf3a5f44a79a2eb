"""NUTS against closed forms under the same priors, and an answer nobody can miss."""

import arviz_stats as azs
import numpy as np
import pandas as pd
import pytest
from known import COUNTS, SMART, smart_frame
from scipy.stats import beta as beta_law

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Study, compare, fit, optimize


def test_nuts_against_beta_cells():
    posterior = fit(SMART, smart_frame(), seed=6)
    assert posterior.verdict.convergence.rhat < 1.01 and posterior.verdict.convergence.divergences == 0
    assert posterior.verdict.convergence.ess_bulk > 400
    group, z = posterior.tree["posterior"], {}
    laws = {("success", ", ".join(map(str, c))): beta_law(1 + y, 1 + n - y) for c, (n, y) in COUNTS.items()}
    for a1 in ("+1", "-1"):
        n, yes = (sum(k for c, (k, _) in COUNTS.items() if c[0] == a1 and (c[1] or every)) for every in (1, 0))
        laws["responded", a1] = beta_law(1 + yes, 1 + n - yes)
    for (response, cell), law in laws.items():
        draws = group[f"{response}::probability"].sel({f"{response}::cell": cell}, drop=True)
        z[response, cell, "mean"] = (float(draws.mean()) - law.mean()) / float(azs.mcse(draws, method="mean"))
        z[response, cell, "sd"] = (float(draws.std(ddof=1)) - law.std()) / float(azs.mcse(draws, method="sd"))
        for q in (0.05, 0.95):
            z[response, cell, q] = (float(draws.quantile(q)) - law.ppf(q)) / float(azs.mcse(draws, method="quantile", prob=q))
    assert max(map(abs, z.values())) < 4, z
    exact = fit(SMART, smart_frame(), seed=6, engine="exact", draws=200_000)
    for mine, theirs in zip(compare(posterior).rows, compare(exact).rows, strict=True):
        assert abs(mine.p_best - theirs.p_best) < 4 * max(mine.p_best_error, 1e-3)


@pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
def test_five_standard_deviations_are_found_for_everybody():
    """Both decisions have an option that is better by five residual SDs for every patient."""
    study = Study(
        Baseline("x"), Decision("first", ["old", "new"]), Response("r", Bernoulli()), Decision("second", ["new", "old"]), Response("y", Normal()),
        utility="y",
    )
    rng = np.random.default_rng(8)
    n = 400
    x, a, r, b = rng.normal(size=n), rng.integers(0, 2, n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    y = 0.5 * x + 0.5 * r + 5.0 * a + 5.0 * (1 - b) + rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "first": np.array(["old", "new"])[a], "r": r, "second": np.array(["new", "old"])[b], "y": y})
    posterior = fit(study, frame, seed=9)
    found = posterior.verdict.convergence
    assert found.rhat < 1.01 and found.divergences <= 0.002 * found.draws
    regime = optimize(posterior)
    for columns in (["x"], ["x", "first", "r"]):
        told = regime.recommend(frame[columns])
        assert (told["option"] == "new").all()
        assert told["p_best"].min() > 0.999
    # E y under the best regime: 10 + .5 E x + .5 E r, within 4 posterior SDs of the truth of these patients.
    value = regime.value()
    assert abs(value.mean - (10 + 0.5 * x.mean() + 0.25)) < 4 * value.sd
    assert value.sd < 0.3
