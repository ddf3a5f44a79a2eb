"""Leave-one-patient-out densities against closed forms and refits; stacking weights against the optimum of the same score."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import optimize as scipy_optimize
from scipy import stats

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Normal, NormalInverseGamma, Prior, Response, Saturated, Study
from bayesdtr.errors import InferenceError
from bayesdtr.inference import leave_one_out, log_likelihood, loo
from bayesdtr.inference.loo import log_likelihood_dataset, stacking_weights

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
PRIOR = NormalInverseGamma(mean=1.0, strength=0.5, shape=2.0, rate=3.0)
CONJUGATE = Study(
    Decision("a", ["p", "q"]),
    Response("r", Bernoulli(), model=Saturated(), priors={"probability": Prior("Beta", concentration1=2, concentration0=1.5)}),
    Decision("b", ["x", "y"]), Response("u", Normal(), model=Saturated(over=["a", "b"], conjugate=PRIOR)), utility="u",
)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(8)
    n = 60
    a, b = rng.integers(0, 2, n), rng.integers(0, 2, n)
    r = (rng.random(n) < 0.3 + 0.4 * a).astype(float)
    u = 2 * a - b + rng.normal(0, 1.5, n)
    u[[4, 17]] = np.nan
    return pd.DataFrame({"a": np.array(["p", "q"])[a], "r": r, "b": np.array(["x", "y"])[b], "u": u})


@pytest.fixture(scope="module")
def posterior(frame):
    return dtr.fit(CONJUGATE, frame, seed=1, engine="exact", draws=20_000)


def beta_binomial(frame: pd.DataFrame) -> np.ndarray:
    """Exact log predictive probability of each patient's response given all others'."""
    found = []
    for i, row in frame.iterrows():
        others = frame.drop(i)
        same = others[others["a"] == row["a"]]
        p = (2 + same["r"].sum()) / (2 + 1.5 + len(same))
        found.append(np.log(p if row["r"] == 1 else 1 - p))
    return np.array(found)


def student(frame: pd.DataFrame) -> np.ndarray:
    """Exact log predictive density: Student t of the conjugate posterior refitted without the patient."""
    found = np.full(len(frame), np.nan)
    for i, row in frame.iterrows():
        if np.isnan(row["u"]):
            continue
        others = frame.drop(i).dropna()
        shape, rate, centre, strength = PRIOR.shape + len(others) / 2, PRIOR.rate, PRIOR.mean, PRIOR.strength
        for cell, group in others.groupby(["a", "b"]):
            y, k = group["u"].to_numpy(), len(group)
            rate += ((y - y.mean()) ** 2).sum() / 2 + PRIOR.strength * k * (y.mean() - PRIOR.mean) ** 2 / (2 * (PRIOR.strength + k))
            if cell == (row["a"], row["b"]):
                strength = PRIOR.strength + k
                centre = (PRIOR.strength * PRIOR.mean + y.sum()) / strength
        found[i] = stats.t(2 * shape, centre, np.sqrt(rate / shape * (1 + 1 / strength))).logpdf(row["u"])
    return found


@pytest.mark.parametrize(("response", "exact"), [("r", beta_binomial), ("u", student)])
def test_leaving_one_out_equals_exact_refits(posterior, frame, response, exact):
    """Within four Monte Carlo errors of each patient's estimate, 1/density averaged over draws."""
    found, truth = leave_one_out(posterior).elpd[response], exact(frame)
    assert (np.isnan(found) == np.isnan(truth)).all()
    seen = np.isfinite(truth)
    inverse = np.exp(-log_likelihood(posterior, response))
    error = inverse.std(axis=0) / inverse.mean(axis=0) / np.sqrt(len(inverse))
    assert (np.abs(found[seen] - truth[seen]) < 4 * error + 1e-9).all()
    assert error.max() < 0.05  # else nothing is proved


def test_leaving_out_differs_from_not_leaving_out(posterior, frame):
    """The test above could tell: within-sample densities are higher than left-out ones by far more than its tolerance."""
    within = np.log(np.exp(log_likelihood(posterior, "u")).mean(axis=0))
    found = leave_one_out(posterior)
    assert within.sum() - np.nansum(found.elpd["u"]) > 2
    np.testing.assert_allclose(np.nansum(found.p_loo["u"]), within.sum() - np.nansum(found.elpd["u"]), atol=1e-8)


def test_log_likelihood_is_the_density_at_the_observed_value(posterior, frame):
    some = np.flatnonzero(~np.isnan(frame["u"]))[:7]
    found = log_likelihood(posterior, "u", some, thin=50)
    drawn = posterior.draws("u", 50)
    labels = ["p, x", "p, y", "q, x", "q, y"]
    for j, i in enumerate(some):
        cell = labels.index(f"{frame['a'][i]}, {frame['b'][i]}")
        np.testing.assert_allclose(found[:, j], stats.norm(drawn["mean"][:, cell], drawn["sigma"]).logpdf(frame["u"][i]), rtol=1e-12)
    with pytest.raises(InferenceError, match="'u' is not observed for row 4"):
        log_likelihood(posterior, "u", np.array([3, 4]))


def test_a_patient_is_the_sum_of_the_responses(posterior):
    found = leave_one_out(posterior)
    both = found.patients()
    assert both[4] == found.elpd["r"][4]  # u is missing
    np.testing.assert_allclose(both[:4], found.elpd["r"][:4] + found.elpd["u"][:4])
    assert found.high() == found.high("r") == 0 and np.isnan(found.khat["u"][4])


def test_blocks_change_nothing(posterior, monkeypatch):
    whole = leave_one_out(posterior)
    monkeypatch.setattr(loo, "BLOCK", 5 * posterior.size)
    pieces = leave_one_out(posterior)
    for response in ("r", "u"):
        np.testing.assert_allclose(pieces.elpd[response], whole.elpd[response], rtol=1e-12)


def test_arviz_agrees_on_the_stored_likelihood(posterior):
    import arviz_stats

    tree = xr.DataTree.from_dict({"posterior": posterior.tree["posterior"].to_dataset(), "log_likelihood": log_likelihood_dataset(posterior)[["r"]]})
    theirs = arviz_stats.loo(tree, var_name="r", reff=1.0)
    assert theirs.elpd == pytest.approx(np.nansum(leave_one_out(posterior).elpd["r"]), abs=1e-6)


def test_an_impossible_observation_is_named(posterior):
    draws = posterior.tree["posterior"].to_dataset().copy(deep=True)
    draws["u::sigma"][0, 0] = 0.0
    groups = {n: v.to_dataset() for n, v in posterior.tree.children.items()} | {"posterior": draws}
    with pytest.raises(InferenceError, match=r"'u': some draws give the observed value of patient \d+ a density of zero"):
        leave_one_out(dataclasses.replace(posterior, tree=xr.DataTree.from_dict(groups)))


def test_a_patient_alone_in_a_cell_is_flagged(frame):
    """The cell's mean rests on the patient who is left out: with the residual SD known the tail's shape would be 1 / (1 + strength)."""
    weak = NormalInverseGamma(mean=1.0, strength=0.01, shape=2.0, rate=3.0)
    study = Study(Decision("a", ["p", "q"]), Response("u", Normal(), model=Saturated(conjugate=weak)), utility="u")
    alone = pd.concat([frame[frame["a"] == "p"], frame[frame["a"] == "q"].head(1)], ignore_index=True)[["a", "u"]]
    found = leave_one_out(dtr.fit(study, alone, seed=1, engine="exact", draws=20_000))
    assert found.high() == found.high("u") == 1 and found.khat["u"][-1] == pytest.approx(1.0, abs=0.2)


def test_refitting_is_exact_where_importance_sampling_fails(frame):
    """A patient alone in a cell: the conjugate posterior of all others predicts by a Student t whose centre is the prior's."""
    weak = NormalInverseGamma(mean=1.0, strength=0.01, shape=2.0, rate=3.0)
    study = Study(Decision("a", ["p", "q"]), Response("u", Normal(), model=Saturated(conjugate=weak)), utility="u")
    others = frame[frame["a"] == "p"][["a", "u"]].dropna()
    alone = pd.concat([others, frame[frame["a"] == "q"].head(1)[["a", "u"]]], ignore_index=True)
    posterior = dtr.fit(study, alone, seed=1, engine="exact", draws=20_000)
    sampled, refitted = leave_one_out(posterior), leave_one_out(posterior, refit=True)
    assert refitted.high() == 0 and refitted.refitted["u"].nonzero()[0].tolist() == [len(others)]
    y, k = others["u"].to_numpy(), len(others)
    rate = 3.0 + ((y - y.mean()) ** 2).sum() / 2 + 0.01 * k * (y.mean() - 1.0) ** 2 / (2 * (0.01 + k))
    shape = 2.0 + k / 2
    truth = stats.t(2 * shape, 1.0, np.sqrt(rate / shape * (1 + 1 / 0.01))).logpdf(alone["u"].iloc[-1])
    # The density is an average over means of SD 10 sigma, of which one in about 30 counts: a relative error of sqrt(30 / 20000).
    assert refitted.elpd["u"][-1] == pytest.approx(truth, abs=4 * np.sqrt(30 / 20_000))
    assert abs(sampled.elpd["u"][-1] - truth) > 0.3  # importance sampling misses by more
    np.testing.assert_array_equal(refitted.elpd["u"][:-1], sampled.elpd["u"][:-1])
    within = _log_mean(log_likelihood(posterior, "u"))
    assert refitted.p_loo["u"][-1] == pytest.approx(within[-1] - refitted.elpd["u"][-1])


def _log_mean(values):
    return np.log(np.exp(values).mean(axis=0))


def test_refitting_by_the_sampler_agrees_with_importance_sampling(frame):
    """Where k-hat is small both are right: a patient left out of NUTS, and out of its weights."""
    study = Study(Decision("a", ["p", "q"]), Response("r", Bernoulli()), utility="r")
    posterior = dtr.fit(study, frame[["a", "r"]].head(10), seed=1, draws=4000, warmup=300, chains=2, progress=False)
    found = leave_one_out(posterior)
    row = int(found.elpd["r"].argmin())
    inverse = np.exp(-log_likelihood(posterior, "r", np.array([row])))
    tolerance = 6 * inverse.std() / inverse.mean() / np.sqrt(2000)  # two such errors, about 4 SE; an effective sample size of 2000 at least
    assert found.high() == 0
    assert loo.refitted_density(posterior, ("r",), row) == pytest.approx(found.elpd["r"][row], abs=tolerance)
    assert _log_mean(log_likelihood(posterior, "r"))[row] - found.elpd["r"][row] > 1.2 * tolerance  # not leaving out would be noticed


def test_without_the_patient_there_may_be_no_posterior(frame):
    study = Study(Decision("a", ["p", "q"]), Response("u", Normal(), model=Saturated()), utility="u")
    alone = pd.concat([frame[frame["a"] == "p"], frame[frame["a"] == "q"].head(1)], ignore_index=True)[["a", "u"]]
    posterior = dtr.fit(study, alone, seed=1, engine="exact", draws=2000)
    with pytest.raises(InferenceError, match=r"Without patient \d+ there is no posterior to predict with.*reference prior"):
        leave_one_out(posterior, refit=True)


def test_a_patient_of_whom_the_parameters_say_nothing_is_predicted_as_before():
    values = np.random.default_rng(1).normal(-1, 0.3, (400, 3))
    values[:, 1] = -2.5  # the same density under every draw
    elpd, p_loo, khat = loo._smoothed(values, 1.0)
    assert (elpd[1], p_loo[1], khat[1]) == pytest.approx((-2.5, 0, -np.inf), abs=1e-12)
    assert np.isfinite(khat[[0, 2]]).all() and (elpd[[0, 2]] < values[:, [0, 2]].mean(axis=0)).all()


# ---- stacking ---------------------------------------------------------------------------------------------------


def score(weights: np.ndarray, points: np.ndarray) -> float:
    return float(np.log(np.exp(points).T @ weights).sum())


@pytest.mark.parametrize("models", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_maximise_the_score_of_the_mixture(models, seed):
    """No weights found by another optimiser, in other coordinates and from several starts, score better."""
    rng = np.random.default_rng(seed)
    points = rng.normal(-1.5, 0.8, (models, 200)) + rng.normal(0, 0.1, (models, 1))
    found = stacking_weights(list(points))
    assert found.sum() == pytest.approx(1) and (found >= 0).all()

    def negative(z):
        e = np.exp(z - z.max())
        return -score(e / e.sum(), points)

    tries = [scipy_optimize.minimize(negative, z, method="Nelder-Mead", options={"maxiter": 20_000, "fatol": 1e-10, "xatol": 1e-8})
             for z in (np.zeros(models), rng.normal(size=models))]
    best = min(tries, key=lambda t: t.fun)
    assert score(found, points) > -best.fun - 1e-3  # of 200 patients: a thousandth of a log score in all
    e = np.exp(best.x - best.x.max())
    np.testing.assert_allclose(found, e / e.sum(), atol=0.02)


def test_weights_do_not_depend_on_the_unit_of_the_response():
    rng = np.random.default_rng(3)
    points = rng.normal(-1, 0.8, (3, 150))
    np.testing.assert_allclose(stacking_weights(list(points)), stacking_weights(list(points - 900.0)), atol=1e-9)


def test_models_that_predict_alike_weigh_alike():
    points = np.random.default_rng(1).normal(-1, 1, 50)
    np.testing.assert_array_equal(stacking_weights([points, points.copy()]), [0.5, 0.5])
    assert stacking_weights([points, np.where(np.arange(50) == 3, np.nan, points)]).tolist() == [0.5, 0.5]  # missing in one counts for none
