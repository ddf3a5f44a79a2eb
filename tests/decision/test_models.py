"""Several models of one study: what predicts, what is recommended, what is lost; the stacked posterior wherever a posterior goes."""

import dataclasses
import json

import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, StackedPosterior, Study, Utility, VerdictWarning, when
from bayesdtr.decision.crossvalues import covering, cross_values, needs_regression
from bayesdtr.errors import DecisionError, FileError, InferenceError, StudyError
from bayesdtr.inference import log_likelihood
from bayesdtr.inference.prior import prior_draws
from bayesdtr.inference.stacked import stack
from bayesdtr.model import evaluate
from bayesdtr.reporting import report, summary

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def two_stage(r=None, u=None, **more) -> Study:
    """The same trial under different models."""
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=r or Saturated()),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["go"]}), Response("u", Normal(), model=u or Saturated(over=["a", "r", "b"])),
        **{"utility": "u", **more},
    )


def trial(n: int = 160, seed: int = 5) -> pd.DataFrame:
    """The second decision matters where the first did not work, and depends on the first."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, n)
    r = (rng.random(n) < 0.45).astype(int)
    b = np.where(r == 1, 2, rng.integers(0, 2, n))
    u = 1.0 * a + 2.0 * r + np.where(b == 1, np.where(a == 1, 2.5, -2.5), 0.0) + rng.normal(0, 1.0, n)
    return pd.DataFrame({"a": np.array(["p", "q"])[a], "r": r, "b": np.array(["x", "y", "go"])[b], "u": u})


@pytest.fixture(scope="module")
def models():
    data = trial()
    how = {"seed": 1, "engine": "exact", "draws": 4000}
    return {
        "full": dtr.fit(two_stage(), data, **how),
        "blind": dtr.fit(two_stage(u=Saturated(over=["b"])), data, **how),
    }


@pytest.fixture(scope="module")
def compared(models):
    return dtr.compare_models(models)


# ---- accuracy and weights ------------------------------------------------------------------------------------------


def test_a_wrong_structure_gets_no_weight(compared):
    table = compared.models.set_index(["response", "model"])
    assert compared.weights["u"] == pytest.approx((1, 0), abs=0.01)
    assert table.loc[("u", "blind"), "difference"] < -4 * table.loc[("u", "blind"), "difference_se"] < 0
    assert compared.weights["r"] == (0.5, 0.5)  # both have the same model of r, with the same draws
    assert table.loc[("r", "full"), "elpd"] == table.loc[("r", "blind"), "elpd"]
    for model in ("full", "blind"):
        for column in ("elpd", "difference", "p_loo"):
            assert table.loc[("all responses", model), column] == pytest.approx(sum(table.loc[(r, model), column] for r in "ru"))
    assert np.isnan(table.loc[("all responses", "full"), "weight"])


def test_errors_of_differences_are_paired(compared):
    full, blind = (x.elpd["u"] for x in compared.loo)
    d = blind - full
    row = compared.models.set_index(["response", "model"]).loc[("u", "blind")]
    assert row["difference"] == pytest.approx(d.sum()) and row["difference_se"] == pytest.approx(np.sqrt(len(d)) * d.std(ddof=1))


def test_identical_models_have_the_value_of_either(models):
    same = dtr.compare_models([models["full"], models["full"]])
    assert same.names == ("model 1", "model 2") and set(same.weights.values()) == {(0.5, 0.5)}
    np.testing.assert_allclose(same.regimes["stacked"].value_draws, dtr.optimize(models["full"]).value_draws, rtol=1e-12)
    assert (same.values["lost"] == 0).all() and not same.recommendations["differ"].any() and (same.agreement["differ"] == 0).all()
    assert "No rule loses anything" in str(same)


# ---- recommendations and values ---------------------------------------------------------------------------------------


def test_what_moves_between_models(compared):
    """The blind model cannot tailor the second decision to the first; the table says where and what it costs."""
    table = compared.recommendations
    assert list(table.columns[:3]) == ["decision", "a", "r"]
    second = table[table["decision"] == "b"].set_index("a")
    data = trial()
    assert second["patients"].to_dict() == data[data["r"] == 0]["a"].value_counts().to_dict()  # who had no choice is left out
    assert second["full"].to_dict() == second["stacked"].to_dict() == {"p": "x", "q": "y"}
    assert second["blind"].nunique() == 1
    differs = second["full"] != second["blind"]
    assert (second["differ"] == differs).all() and differs.sum() == 1
    lost = second["loss: blind"][differs].item()
    mean = data[data["r"] == 0].groupby(["a", "b"])["u"].mean()
    where = differs.idxmax()
    assert lost == pytest.approx(abs(mean[where, "x"] - mean[where, "y"]), abs=0.1)  # draws of a mean, reference prior: a few SE / sqrt(4000)
    shares = second["patients"] / second["patients"].sum()
    agreement = compared.agreement.set_index("decision").loc["b"]
    assert agreement["differ"] == agreement["differ_beyond"] == pytest.approx(shares[where])
    assert agreement["agrees: blind"] == pytest.approx(1 - shares[where]) and agreement["agrees: full"] == 1
    assert agreement["loss: blind"] == pytest.approx(lost * shares[where])


def test_values_of_rules_under_models(compared, models):
    table = compared.values.set_index(["rule", "model"])
    assert len(table) == 9 and (table["lost"] >= -4 * table["lost_mcse"] - 1e-12).all()
    for name, posterior in models.items():
        assert table.loc[(name, name), "mean"] == pytest.approx(dtr.optimize(posterior).value().mean, abs=1e-12)
        assert table.loc[(name, name), "lost"] == 0
    assert table.loc[("blind", "full"), "lost"] > 0.3


def test_rules_that_agree_have_the_mixture_of_values():
    """One decision: with the same rule under both, the stacked value is the weighted mean within Monte Carlo error."""
    study = Study(Decision("a", ["p", "q"]), Response("u", Normal(), model=Saturated()), utility="u")
    rng = np.random.default_rng(2)
    draws = [{"u": {"mean": rng.normal([m, m - 2], 0.5, (2, 1000, 2)), "sigma": np.ones((2, 1000))}} for m in (1.0, 3.0)]
    posteriors = [known.posterior_with(study, d) for d in draws]
    values = [dtr.optimize(p).value() for p in posteriors]
    for w in (0.0, 0.2, 0.9, 1.0):
        mixed = dtr.optimize(stack(posteriors, ["low", "high"], {"u": (w, 1 - w)})).value()
        wanted = w * values[0].mean + (1 - w) * values[1].mean
        assert mixed.mean == pytest.approx(wanted, abs=4 * (mixed.mcse + max(v.mcse for v in values)))
        spread = w * (values[0].sd ** 2 + values[0].mean**2) + (1 - w) * (values[1].sd ** 2 + values[1].mean**2) - wanted**2
        assert mixed.sd == pytest.approx(np.sqrt(spread), rel=0.05)  # uncertainty between models is in it


# ---- text -------------------------------------------------------------------------------------------------------------


def test_text_fits_and_says_what_matters(compared):
    text = str(compared)
    assert max(map(len, text.splitlines())) <= 100
    for wanted in ("Predicting a patient left out (160 patients", "difference", "p_loo", "worst k", "weight", "not the probability of a model",
                   "What they recommend", "agrees for", "Value of each rule (row) under each model (column)", "Most is lost by the rule of blind"):
        assert wanted in text, wanted


def test_long_names_and_many_models_fit(models):
    some = {f"a model with a rather long name, number {i}": models["full" if i % 2 else "blind"] for i in range(6)}
    text = str(dtr.compare_models(some))
    assert max(map(len, text.splitlines())) <= 100 and "Value of each rule under the stacked posterior" in text
    assert max(len(line) for line in str(dtr.compare_models(dict(list(some.items())[:2]))).splitlines()) <= 100


# ---- the stacked posterior where posteriors go ------------------------------------------------------------------------


def test_a_stacked_regime_answers_and_reports(compared, tmp_path):
    regime = dtr.optimize(compared.stacked)
    new = regime.recommend(pd.DataFrame({"a": ["p", "q", "q"], "r": [0, 0, 1]}), every_option=True)
    assert new[new["recommended"]].set_index("patient")["option"].to_dict() == {"1": "x", "2": "y", "3": "go"}
    assert regime.rules() == dtr.optimize(compared.posteriors[0]).rules()
    assert len(dtr.compare(compared.stacked).rows) == 4
    path = report(regime, tmp_path / "r.html")
    page = path.read_text(encoding="utf-8")
    for wanted in ("Two models of how patients respond were at hand", "Stacking weights", "stacked (several models mixed)", "Model blind:",
                   "Study declaration of full, SHA-256", "full: r.probability", "dtr.compare_models([posterior_1, posterior_2]",
                   "Sampler of blind: independent draws"):
        assert wanted in page, wanted
    found = summary(regime)
    assert found["engine"] == "stacked" and [m["name"] for m in found["stacked"]["models"]] == ["full", "blind"]
    assert found["stacked"]["weights"]["r"] == {"full": 0.5, "blind": 0.5}
    json.dumps(found, allow_nan=False)
    assert summary(dtr.optimize(compared.posteriors[0]))["stacked"] is None
    assert "Weights by response" in str(compared.stacked) and "r: full 0.500, blind 0.500" in str(compared.stacked)


def test_a_stacked_posterior_and_regime_come_back(compared, tmp_path):
    stacked, regime = compared.stacked, compared.regimes["stacked"]
    back = dtr.load(stacked.save(tmp_path / "stacked.nc"))
    assert isinstance(back, StackedPosterior) and dict(back.weights) == dict(stacked.weights) and back.verdict == stacked.verdict
    for mine, theirs in zip(back.models, stacked.models, strict=True):
        assert (mine.name, mine.study, dict(mine.scales), mine.seed, mine.engine, mine.shape, mine.verdict) == (
            theirs.name, theirs.study, dict(theirs.scales), theirs.seed, theirs.engine, theirs.shape, theirs.verdict)
    for response in ("r", "u"):
        for name, values in stacked.draws(response).items():
            np.testing.assert_array_equal(back.draws(response)[name], values)
    np.testing.assert_array_equal(dtr.optimize(back).value_draws, regime.value_draws)
    again = dtr.load(regime.save(tmp_path / "regime.nc"))
    assert again.rules() == regime.rules() and again.value() == regime.value() and isinstance(again.posterior, StackedPosterior)


def test_models_that_cannot_be_found_again_are_not_saved(models, tmp_path):
    def local(history):
        return pm.Normal("u", pm.Normal("level", 0, 5) + history.zeros, 1.0)

    mine = dtr.fit(two_stage(u=local), trial(), seed=1, draws=100, warmup=200, chains=2, progress=False)
    stacked = dtr.compare_models({"full": models["full"], "mine": mine}).stacked
    assert stacked.shape == (2, 100)  # as many draws as the smallest holds
    with pytest.raises(FileError, match="the model of response 'u' could not be found again"):
        stacked.save(tmp_path / "stacked.nc")
    assert not list(tmp_path.iterdir())


def test_functions_are_handed_back_by_model(compared, tmp_path):
    path = compared.stacked.save(tmp_path / "stacked.nc")
    with pytest.raises(FileError, match=r"models names 'third'.*'full', 'blind'"):
        dtr.load(path, models={"third": {}})
    with pytest.raises(StudyError, match="'u'"):
        dtr.load(path, models={"full": {"u": print}})


def test_scales_of_every_model_are_its_own():
    """Two fits that differ only in their declared scales keep them in the mixture: a draw predicts as in its own posterior."""
    study = Study(Baseline("age"), Decision("a", ["p", "q"]), Response("u", Normal()), utility="u")
    frame = known.cohort(study, 60)
    posteriors = [dtr.fit(study.with_scales({"age": s}), frame, seed=1, draws=50, warmup=200, chains=2, progress=False) for s in ((0, 1), (3, 10))]
    rows = pd.DataFrame({"age": [-1.0, 0.5, 2.0]})
    shown = [dtr.optimize(p).recommend(rows, every_option=True)["expected_utility"] for p in posteriors]
    for k in range(2):
        only = stack(posteriors, ["a", "b"], {"u": np.eye(2)[k]})
        np.testing.assert_allclose(dtr.optimize(only).recommend(rows, every_option=True)["expected_utility"], shown[k], rtol=1e-10)


def test_failed_checks_travel(models):
    bad = dataclasses.replace(models["full"].verdict, status="fail", reasons=("R-hat of u::mean is 1.4.",))
    bad = dataclasses.replace(bad, convergence=dataclasses.replace(bad.convergence, rhat=1.4))
    failed = dataclasses.replace(models["full"], verdict=bad)
    with pytest.warns(VerdictWarning, match="the checks of model 'full' fail.*R-hat of u::mean is 1.4"):
        compared = dtr.compare_models({"full": failed, "blind": models["blind"]})
    assert compared.stacked.verdict.status == "fail" and "Model 'full'" in compared.stacked.verdict.reasons[0]
    assert str(compared).startswith("The checks of full fail")
    with pytest.warns(VerdictWarning, match="no recommendation"):
        compared.regimes["stacked"].recommend(pd.DataFrame({"a": ["p"], "r": [0]}))
    assert stack(compared.posteriors, compared.names, {"r": (0, 1), "u": (0, 1)}).verdict.status != "fail"  # a model without weight does no harm


def test_only_its_models_have_priors(compared):
    with pytest.raises(InferenceError, match=r"has no prior of its own.*'full', 'blind'"):
        prior_draws(compared.stacked, seed=1)
    with pytest.raises(InferenceError, match="no inputs of its own"):
        compared.stacked.inputs("u", {}, None)


# ---- continuous histories: grid and simulation -----------------------------------------------------------------------


def marker(history):
    effect = pm.Normal("effect", 0, 1)
    return pm.Normal("marker", 0.5 * history["age"] + effect * history.code("a"), 1.0)


def marker_of_age(history):
    slope = pm.Normal("slope", 0, 1)
    return pm.Normal("marker", slope * history["age"], 1.5)


def outcome(history):
    slope = pm.Normal("slope", 0, 1)
    return pm.Normal("u", history["marker"] + history.code("b") * (slope * history["marker"] - 0.2), 1.0)


def flat_outcome(history):
    return pm.Normal("u", history["marker"] + history.code("b") * pm.Normal("gain", 0, 1), 1.2)


@pytest.fixture(scope="module")
def continuous():
    def study(*responses):
        return Study(Baseline("age"), Decision("a", ["p", "q"]), Response("marker", model=responses[0]),
                     Decision("b", ["x", "y"]), Response("u", model=responses[1]), utility=Utility({"u": 1.0, "marker": 0.3}))

    rng = np.random.default_rng(1)
    one, two = study(marker, outcome), study(marker_of_age, flat_outcome)
    frame = known.cohort(one, 40)
    return {
        name: known.posterior_with(s, {r: {p: rng.normal(m, 0.2, (2, 20))} for r, (p, m) in drawn.items()}, frame)
        for name, s, drawn in (
            ("tailored", one, {"marker": ("effect", 0.3), "u": ("slope", 1.0)}), ("flat", two, {"marker": ("slope", 0.6), "u": ("gain", 0.1)}))
    }


def test_rules_on_a_common_grid(continuous):
    """Each model's own value on the common grid is its own value on its own grid, and no other rule does better under it."""
    compared = dtr.compare_models(continuous)
    assert not needs_regression(compared._cover)
    for name, posterior in {**continuous, "stacked": compared.stacked}.items():
        # A kink in the value of the second decision is integrated to the square of the grid's spacing.
        np.testing.assert_allclose(compared.cross.draws[name, name], dtr.optimize(posterior).value_draws, atol=2e-3)
    assert (compared.values["lost"] >= -1e-3).all() and compared.values["lost"].max() > 0.05
    assert max(map(len, str(compared).splitlines())) <= 100
    assert len(compared.recommendations) == 80  # every patient at both decisions


@pytest.mark.parametrize("method", ["tree", "regression"])
def test_a_mixture_of_one_model_with_itself_changes_nothing(continuous, method, monkeypatch):
    monkeypatch.setattr("bayesdtr.decision.regression.SIMULATIONS", 40_000)
    monkeypatch.setattr("bayesdtr.decision.rollout.ROWS_PER_DRAW", 200)
    one = continuous["tailored"]
    twice = stack([one, one], ["first", "second"], {"marker": (0.5, 0.5), "u": (0.3, 0.7)})
    a, b = dtr.optimize(one, method=method), dtr.optimize(twice, method=method)
    np.testing.assert_allclose(b.value_draws, a.value_draws, rtol=1e-9)
    rows = pd.DataFrame({"age": [-1.0, 0.0, 1.5]})
    pd.testing.assert_frame_equal(a.recommend(rows, every_option=True), b.recommend(rows, every_option=True), rtol=1e-9)


@pytest.mark.parametrize("fitted", [True, pytest.param(False, marks=pytest.mark.slow)])  # rules without fits are asked on the tree of histories
def test_rules_by_simulation_agree_with_the_grid(continuous, monkeypatch, fitted):
    """Rollouts of fitted rules under the other model, against the grid: the fit's and the rollouts' error is a few hundredths (40 draws)."""
    monkeypatch.setattr("bayesdtr.decision.rollout.ROWS_PER_DRAW", 1000)
    names = list(continuous)
    cover = covering(list(continuous.values()), names)
    exact = cross_values(cover, continuous, {n: dtr.optimize(p) for n, p in continuous.items()})
    monkeypatch.setattr("bayesdtr.decision.crossvalues.MOST_LEAVES", 1)
    assert needs_regression(cover)
    monkeypatch.setattr("bayesdtr.decision.regression.SIMULATIONS", 100_000)
    simulated = cross_values(cover, continuous, {n: dtr.optimize(p, method="regression" if fitted else "tree") for n, p in continuous.items()})
    assert simulated.method.startswith("simulation")
    for pair, draws in exact.draws.items():
        assert simulated.draws[pair].mean() == pytest.approx(draws.mean(), abs=0.05)


@pytest.mark.slow
def test_counts_with_exposure_are_left_out_and_replicated_with_their_own():
    """Poisson against negative binomial on overdispersed counts: each patient's own time at risk enters density and replicates."""
    rng = np.random.default_rng(6)
    a, time = rng.integers(0, 2, 120), rng.uniform(0.5, 6.0, 120)
    frame = pd.DataFrame({"a": np.array(["p", "q"])[a], "n": rng.poisson(time * rng.gamma(1.0, 2.0 - a)), "time": time})
    fits = {
        name: dtr.fit(Study(Decision("a", ["p", "q"]), Response("n", family), utility=Utility({"n": -1.0})), frame, seed=1, draws=200, warmup=300,
                      chains=2, progress=False)
        for name, family in (("poisson", dtr.Poisson(exposure="time")), ("negative binomial", dtr.NegativeBinomial(exposure="time")))
    }
    posterior = fits["poisson"]
    compiled = posterior.compiled("n")
    rate = evaluate(compiled, posterior.draws("n"), posterior.inputs("n", {"a": a}, None), "mean")  # of one unit of time
    np.testing.assert_allclose(log_likelihood(posterior, "n"), stats.poisson(rate * time).logpmf(frame["n"].to_numpy()), rtol=1e-9)
    compared = dtr.compare_models(fits)
    assert compared.weights["n"] == pytest.approx((0, 1), abs=0.05)
    replicated = compared.stacked.tree["posterior_predictive"]["n"].values.reshape(-1, 120)
    high = time > 3
    ratio = replicated[:, high].mean() / replicated[:, ~high].mean()
    assert ratio == pytest.approx(time[high].mean() / time[~high].mean(), rel=0.15)  # one rate per arm: means follow the time at risk
    assert compared.regimes["stacked"].rules() == ["a: q"] and "negative binomial" in str(compared)


@pytest.mark.slow
def test_levels_and_their_utilities():
    """An ordinal response valued level by level: one model stacked with itself answers as it does alone, cell tables included."""
    study = Study(
        Decision("a", ["p", "q"]), Response("grade", dtr.Ordinal(["none", "some", "full"])), Decision("b", ["x", "y"]),
        Response("late", dtr.Categorical(["home", "ward", "dead"])),
        utility=Utility({"grade": {"none": 0.0, "some": 0.4, "full": 1.0}, "late": {"home": 1.0, "ward": 0.5, "dead": -2.0}}),
    )
    rng = np.random.default_rng(4)
    pick = lambda labels: np.array(list(labels))[rng.integers(0, len(labels), 90)]  # noqa: E731
    frame = pd.DataFrame({n: pick(v) for n, v in {"a": "pq", "grade": ("none", "some", "full"), "b": "xy", "late": ("home", "ward", "dead")}.items()})
    one = dtr.fit(study, frame, seed=1, draws=100, warmup=200, chains=2, progress=False)
    same = dtr.compare_models({"one": one, "two": one})
    np.testing.assert_allclose(same.cross.draws["stacked", "stacked"], dtr.optimize(one).value_draws, rtol=1e-10)
    assert set(same.recommendations["grade"].dropna()) == {"none", "some", "full"} and max(map(len, str(same).splitlines())) <= 100


# ---- bad input ------------------------------------------------------------------------------------------------------------


def test_what_is_not_several_posteriors(models, compared):
    full = models["full"]
    for given, message in (
        (full, "takes several posteriors"), ([full], "at least two posteriors, got 1"), (3, "takes a list of posteriors.*got int"),
        ([full, compared.regimes["full"]], "'model 2' is a Regime; give its posterior"),
        ([full, compared.stacked], "stacked already.*'full', 'blind'"),
        ([full, "other"], "'model 2' is a str, not a Posterior"), ({"stacked": full, "b": full}, "'stacked' cannot name a model"),
        ({"x/y": full, "b": full}, "'x/y' cannot name a model"), ({"u": full, "b": full}, "'b', 'u' cannot name a model"),
    ):
        with pytest.raises(DecisionError, match=message):
            dtr.compare_models(given)
    for names, message in ((["a"], "1 names for 2 posteriors"), (["same", "same"], "two models are called 'same'"), (["", "m"], "'' cannot name")):
        with pytest.raises(DecisionError, match=message):
            dtr.compare_models([full, full], names=names)
    with pytest.raises(DecisionError, match="a mapping brings its own names"):
        dtr.compare_models(models, names=["m", "n"])
    with pytest.raises(DecisionError, match="ci_prob must lie between 0 and 1, got 95"):
        dtr.compare_models(models, ci_prob=95)


def test_posteriors_that_do_not_belong_together(models):
    full = models["full"]
    how = {"seed": 1, "engine": "exact", "draws": 200}
    with pytest.raises(DecisionError, match=r"'model 2' was fitted to other data than 'model 1' \(150 and 160 patients"):
        dtr.compare_models([full, dtr.fit(two_stage(), trial().head(150), **how)])
    with pytest.raises(DecisionError, match="the utility of 'model 2'"):
        dtr.compare_models([full, dtr.fit(two_stage(utility=Utility({"u": 1.0, "r": 2.0})), trial(), **how)])
    one = Study(Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()), utility="r")
    with pytest.raises(DecisionError, match="the timeline of 'model 2'"):
        dtr.compare_models([full, dtr.fit(one, trial()[["a", "r"]], **how)])
    swapped = Study(Decision("a", ["q", "p"]), Response("r", Bernoulli(), model=Saturated()), utility="r")
    with pytest.raises(DecisionError, match="the options at 'a' of 'model 2'"):
        dtr.compare_models([dtr.fit(one, trial()[["a", "r"]], **how), dtr.fit(swapped, trial()[["a", "r"]], **how)])


def as_normal(history):
    return pm.Normal("r", pm.Normal("level", 0, 1) + history.zeros, 1.0)


def test_densities_and_probabilities_are_not_compared():
    one = Study(Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()), utility="r")
    other = Study(Decision("a", ["p", "q"]), Response("r", model=as_normal), utility="r")
    data = trial()[["a", "r"]]
    a = dtr.fit(one, data, seed=1, engine="exact", draws=200)
    b = dtr.fit(other, data, seed=1, draws=100, warmup=200, chains=2, progress=False)
    with pytest.raises(DecisionError, match=r"the distribution of 'r' of 'model 2' is normal.*a density and a probability"):
        dtr.compare_models([a, b])
