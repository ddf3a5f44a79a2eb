"""How far recommendations extrapolate: counts by hand, weights by definition, widths against closed forms and literal sums."""

import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, fit, optimize, when
from bayesdtr.decision.explaining.overlap import PRIOR_DRAWS, spread

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def cohort_of(study, n, seed, frame=None):
    return optimize(known.posterior_with(study, known.random_cells(study, seed), known.cohort(study, n, seed) if frame is None else frame))


SECOND = {when(r=0): ["p", "q", "s"], when(r=1): ["stay"]}


def two(**how):
    return Study(Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()),
                 Decision("b", SECOND, **how), Response("y", Bernoulli(), model=Saturated()), utility="y")


@pytest.mark.parametrize("assigned", ["declared", "equal", "observed"])
def test_discrete_histories_are_counted_cell_by_cell(assigned):
    chance = {"p": 0.5, "q": 0.3, "s": 0.2}
    study = two(**{"declared": {"probability": chance}, "equal": {}, "observed": {"assigned": "observed"}}[assigned])
    regime = cohort_of(study, 70, 2)
    frame = known.cohort(study, 70, 2)
    asked = pd.DataFrame(list(known.histories(study, "b")))
    every = regime.recommend(asked, every_option=True)
    assert len(every) == 4 * 3 + 4
    for line in every.itertuples():
        h = asked.iloc[int(line.patient) - 1]
        like = frame[(frame[["sex", "a", "r"]] == h[["sex", "a", "r"]].tolist()).all(axis=1)]
        got = int((like["b"] == line.option).sum())
        assert (line.patients_like, line.received, line.extrapolates) == (len(like), got, got < 5)
        if h["r"] == 1:
            assert line.weight == 1
        elif assigned == "observed":
            assert line.weight == (len(like) / got if got else np.inf)
        else:
            assert line.weight == pytest.approx(1 / (chance[line.option] if assigned == "declared" else 1 / 3))
    assert every["extrapolates"].nunique() == 2
    short = regime.recommend(asked)
    best = every[every["recommended"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(short, best[short.columns.tolist()])


def test_recorded_probabilities_are_averaged_over_those_who_received_the_option():
    study = two(probability="chance")
    frame = known.cohort(study, 60, 4)
    frame["chance"] = np.where(frame["r"] == 1, 1.0, np.random.default_rng(1).uniform(0.1, 0.9, 60))
    regime = cohort_of(study, 60, 4, frame)
    asked = pd.DataFrame(list(known.histories(study, "b")))
    for line in regime.recommend(asked, every_option=True).itertuples():
        h = asked.iloc[int(line.patient) - 1]
        got = frame[(frame[["sex", "a", "r", "b"]] == [h["sex"], h["a"], h["r"], line.option]).all(axis=1)]
        assert line.weight == (pytest.approx((1 / got["chance"]).mean()) if len(got) else np.inf) and line.received == len(got)


def slopes(history):
    return pm.Normal("y", pm.Normal("effect", 0, 1, shape=2)[history.code("a")] * (history["x"] + history["w"]), 1.0)


def test_neighborhoods_of_continuous_variables():
    """Within half an SD in each, by loops; a variable that no model looks at counts for nothing; chunks do not matter."""
    covariates = [Baseline(n) for n in ("x", "w", "idle", "flag")]
    study = Study(*covariates, Decision("a", ["p", "q"]), Response("y", model=slopes), utility="y")
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"x": rng.normal(size=90), "w": rng.normal(5, 3, 90), "idle": rng.normal(size=90), "flag": [0, 1] * 45,
                          "a": rng.choice(["p", "q"], 90), "y": rng.normal(size=90)})
    regime = optimize(known.posterior_with(study, {"y": {"effect": rng.normal([0, 1], 0.1, (2, 20, 2))}}, frame))
    asked = pd.DataFrame({"x": rng.normal(size=60), "w": rng.normal(5, 3, 60), "idle": 50.0, "flag": 7})
    asked.loc[0, ["x", "w"]] = [frame["x"].max() + 0.01, 5.0]
    told, more = regime.recommend(asked, every_option=True), regime.overlap(asked)
    assert more["outside_range"].iloc[0] == "x" and more["extrapolates"].iloc[0]
    sd = frame[["x", "w"]].std()
    for line in told.itertuples():
        h = asked.iloc[int(line.patient) - 1]
        like = frame[(np.abs(frame[["x", "w"]] - h[["x", "w"]]) <= 0.5 * sd).all(axis=1)]
        got = (like["a"] == line.option).sum()
        beyond = any(h[n] < frame[n].min() or h[n] > frame[n].max() for n in ("x", "w"))
        assert (line.patients_like, line.received, line.weight) == (len(like), got, 2)
        assert line.extrapolates == (got < 5 or beyond)
    assert 0 < told["extrapolates"].mean() < 1
    import bayesdtr.decision.explaining.neighbors as neighbors

    original, neighbors.PAIRS = neighbors.PAIRS, 200
    try:
        pd.testing.assert_frame_equal(regime.recommend(asked, every_option=True), told)
    finally:
        neighbors.PAIRS = original


def test_a_covariate_with_two_values_is_discrete():
    study = Study(Baseline("x"), Decision("a", ["p", "q"]), Response("y", model=one_slope), utility="y")
    frame = pd.DataFrame({"x": [0, 1] * 20, "a": ["p"] * 20 + ["q"] * 20, "y": np.random.default_rng(1).normal(size=40)})
    regime = optimize(known.posterior_with(study, {"y": {"effect": np.ones((2, 20, 2))}}, frame))
    told = regime.recommend(pd.DataFrame({"x": [0, 1, 2]}))
    assert told["patients_like"].tolist() == [20, 20, 0] and told["extrapolates"].tolist() == [False, False, True]


def one_slope(history):
    return pm.Normal("y", pm.Normal("effect", 0, 1, shape=2)[history.code("a")] * history["x"], 1.0)


def test_patients_still_on_study_count_where_they_have_got_to():
    """Who reached the decision but has not made it is like others, and has received nothing."""
    study = two()
    frame = known.cohort(study, 40, 6).astype({"b": object, "y": object})
    open_ = frame.index[(frame["r"] == 0)][:3]
    frame.loc[open_, ["b", "y"]] = None
    regime = cohort_of(study, 40, 6, frame)
    every = regime.recommend(pd.DataFrame(list(known.histories(study, "b"))), every_option=True)
    assert every.drop_duplicates("patient")["patients_like"].sum() == 40 and every["received"].sum() == 37


# ---- posterior over prior width -----------------------------------------------------------------------------------


def test_spread_is_the_sd_of_a_normal_law():
    z = np.random.default_rng(1).normal(3, 2, 400_000)
    assert spread(z) == pytest.approx(2, abs=4 * 2 * 1.2 / np.sqrt(400_000))
    cauchy = np.random.default_rng(2).standard_cauchy(400_000)
    assert spread(cauchy) == pytest.approx(np.tan(np.pi * 0.6826895 / 2), rel=0.02)


def test_widths_of_cells_have_a_closed_form():
    """One decision, Beta(1, 1) priors: the prior contrast is triangular."""
    study = Study(Decision("a", ["p", "q"]), Response("y", Bernoulli(), model=Saturated()), utility="y")
    frame = pd.DataFrame({"a": ["p"] * 40 + ["q"] * 60, "y": [1, 0] * 20 + [1, 1, 0] * 20})
    regime = optimize(fit(study, frame, seed=1, engine="exact", draws=40_000))
    told = regime.overlap(pd.DataFrame({"row": [1]}))
    rng = np.random.default_rng(3)
    after = spread(rng.beta(41, 21, 400_000) - rng.beta(21, 21, 400_000))
    before = 1 - np.sqrt(1 - 0.6826895)
    assert told["option"].item() == "q"
    assert told["width"].item() == pytest.approx(after / before, abs=4 * told["width_error"].item() + 0.005)
    # The spread's standard error from n draws is about 1.05 spread / sqrt(n), mostly that of the 2,000 prior draws.
    assert 0.3 < told["width_error"].item() / (told["width"].item() * 1.05 / np.sqrt(4 * PRIOR_DRAWS)) < 3


def test_widths_follow_the_committed_rule_under_the_prior():
    """Two stages: the literal value of the regime's own rule under each prior draw."""
    study = Study(Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()),
                  Decision("b", {when(r=0): ["p", "q"], when(r=1): ["stay"]}), Response("y", Bernoulli(), model=Saturated()), utility="y")
    frame = known.cohort(study, 120, 8)
    regime = optimize(fit(study, frame, seed=2, engine="exact", draws=4000))
    told = regime.overlap(pd.DataFrame({"row": [1]}))
    seconds = pd.DataFrame(list(known.histories(study, "b")))
    rule = {tuple(h): o for h, o in zip(seconds.itertuples(index=False), regime.recommend(seconds)["option"], strict=True)}

    def contrast(draws):
        law = known.cell_law(study, {n: {p: v[None] for p, v in d.items()} for n, d in draws.items()}, False)
        policy = lambda node, h: rule[h["a"], h["r"]]  # noqa: E731
        value = {o: known.value_of(study, policy, law, {"a": o}, 1) for o in ("p", "q")}
        return value[told["option"].item()] - value[told["against"].item()]

    posterior = {r.name: regime.posterior.draws(r.name) for r in study.responses}
    exact = spread(contrast(posterior)) / spread(contrast(regime.prior.draws))
    assert told["width"].item() == pytest.approx(exact, rel=1e-9) and 0 < exact < 1


def test_no_width_where_the_prior_is_improper_or_only_one_option_is_open():
    study = Study(Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()), Decision("b", SECOND),
                  Response("y", Normal(), model=Saturated()), utility="y")
    regime = optimize(fit(study, known.cohort(study, 80, 3), seed=1, engine="exact", draws=400))
    told = regime.overlap(pd.DataFrame({"a": ["p", "p"], "r": [0, 1]}))
    assert told["width"].isna().all() and told["against"].tolist()[1] == "" and "improper" in regime.extrapolation().no_width
    binary = optimize(fit(two(), known.cohort(two(), 80, 3), seed=1, engine="exact", draws=400))
    told = binary.overlap(pd.DataFrame({"sex": ["f", "f"], "a": ["p", "p"], "r": [0, 1]}))
    assert told["width"].notna().tolist() == [True, False]


def test_the_summary_counts_observed_patients():
    study = two()
    frame = known.cohort(study, 80, 3)
    regime = optimize(fit(study, frame, seed=1, engine="exact", draws=400))
    found = regime.extrapolation()
    assert [r.decision for r in found.rows] == ["a", "b"]
    for row, columns in zip(found.rows, (["sex"], ["sex", "a", "r"]), strict=True):
        told = regime.overlap(frame[columns])
        told = told[told["against"] != ""]
        assert row.patients == len(told) and row.extrapolating == told["extrapolates"].mean() and row.fewest == told["received"].min()
        assert row.largest_weight == told["weight"].max()
        some = np.linspace(0, len(told) - 1, min(len(told), 50)).astype(int)
        assert row.width == pytest.approx(tuple(np.quantile(told["width"].to_numpy()[some], [0.1, 0.5, 0.9])))
    assert max(map(len, str(found).splitlines())) <= 100
    cheap = regime.extrapolation(width=False)
    assert [r.width for r in cheap.rows] == [None, None] and [r.fewest for r in cheap.rows] == [r.fewest for r in found.rows]
