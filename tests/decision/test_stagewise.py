"""Stage-wise Q-learning through the decision layer: families, clusters, follow-up, what is refused, what is printed."""

import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, DecisionError, InferenceError, Normal, Ordinal, Response, Saturated, Study, Utility, q_learn, when
from bayesdtr.decision.stagewise.qlearning import kept_response, stage_study
from bayesdtr.gallery import codiacs
from bayesdtr.simulators import chakraborty

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
TWO = ["p", "q"]
HOW = {"seed": 1, "engine": "exact", "imputations": 200, "progress": False}
GRADES = Ordinal(["worse", "same", "better"])
WORTH = {"worse": 0.0, "same": 0.4, "better": 1.0}


def two_stages(last: Response, **how) -> Study:
    return Study(Decision("a", TWO), Response("r", Bernoulli()), Decision("b", how.pop("b", TWO)), last, **how)


@pytest.fixture(scope="module")
def learned():
    return q_learn(codiacs.study, codiacs.patients(), **HOW)


def test_what_is_printed_says_what_it_is(learned):
    text = str(learned)
    assert "Cut posterior" in text and "mode bml_committed" in text and "stage-wise value" in text and "Positivity: 'stay' at 'second'" in text
    assert max(map(len, text.splitlines())) <= 100
    assert dtr.check(learned).status == "warn"


def test_it_answers_as_a_regime_does(learned):
    patients = codiacs.patients()[["first", "improved"]].head(4)
    frame = learned.recommend(patients, every_option=True)
    assert list(frame.columns[:3]) == ["patient", "decision", "option"] and len(frame) == 8
    np.testing.assert_allclose(frame.groupby("patient").p_best.sum(), 1)
    assert frame[frame.recommended].regret.between(0, 10).all()
    assert (learned.recommend(pd.DataFrame({"first": [None]})).decision == "first").all()
    assert {c.decision for c in learned.cells()} == {"first", "second"}
    assert {r.decision for r in learned.ties().rows} == {"first", "second"}
    assert len(learned.sets(patients)) == 8 and learned.gates(patients).empty


def test_the_same_seed_gives_the_same_regime(learned):
    again, other = q_learn(codiacs.study, codiacs.patients(), **HOW), q_learn(codiacs.study, codiacs.patients(), **{**HOW, "seed": 2})
    np.testing.assert_array_equal(again.value_draws, learned.value_draws)
    assert not np.array_equal(other.value_draws, learned.value_draws)


def test_only_committed_modes_have_a_value():
    found = q_learn(codiacs.study, codiacs.patients(), mode="bml", **HOW)
    with pytest.raises(DecisionError, match="not the value of a rule; use mode='bml_committed'"):
        found.value()
    assert "no value of a rule" in str(found)


def test_what_needs_a_joint_model_refuses(learned, tmp_path):
    with pytest.raises(DecisionError, match="takes a Posterior"):
        dtr.with_utility(learned.posterior, "bdi_drop")
    with pytest.raises(DecisionError, match="takes a Posterior"):
        dtr.compare(learned.posterior)
    with pytest.raises(DecisionError, match="models utilities to come"):
        dtr.by_group(learned, ["a", "b"] * 54)
    with pytest.raises(DecisionError, match="cannot be saved"):
        learned.save(tmp_path / "q.nc")


def test_bad_arguments_are_named():
    data = codiacs.patients()
    with pytest.raises(DecisionError, match="did you mean 'bml_committed'"):
        q_learn(codiacs.study, data, seed=1, mode="bml_comitted")
    with pytest.raises(InferenceError, match="did you mean 'laplace'"):
        q_learn(codiacs.study, data, seed=1, engine="laplce")
    with pytest.raises(DecisionError, match="at least 100, got 50"):
        q_learn(codiacs.study, data, seed=1, imputations=50)
    with pytest.raises(DecisionError, match="have their models in the study"):
        q_learn(codiacs.study, data, seed=1, models={"second": Response("y", Normal())})
    with pytest.raises(DecisionError, match="did you mean 'first'"):
        q_learn(codiacs.study, data, seed=1, models={"frist": Response("y", Normal())})
    with pytest.raises(DecisionError, match="needs the family Normal or StudentT"):
        q_learn(codiacs.study, data, seed=1, models={"first": Response("y", Bernoulli())})
    with pytest.raises(DecisionError, match="is a Response that says"):
        q_learn(codiacs.study, data, seed=1, models={"first": dtr.Hierarchical()})
    with pytest.raises(InferenceError, match="needs saturated cells"):
        q_learn(codiacs.study, data, models={"first": Response("y", Normal())}, **HOW)


def test_what_it_cannot_do_is_refused():
    lives = Study(Decision("a", TWO), Response("t", dtr.Survival(event="died")), utility=dtr.RestrictedMean(["t"], horizon=5))
    with pytest.raises(DecisionError, match="is a survival time"):
        q_learn(lives, pd.DataFrame({"a": TWO, "t": [1.0, 2.0], "died": [1, 0]}), seed=1)
    shared = Study(Decision("a", TWO), Response("r", Normal()), Decision("b", TWO), Response("u", Normal()), utility="u", patient_effects=["r", "u"])
    with pytest.raises(DecisionError, match="share patients' effects"):
        q_learn(shared, pd.DataFrame(), seed=1)
    rates = two_stages(Response("u", dtr.Poisson(exposure="years")), utility="u")
    with pytest.raises(DecisionError, match="further column"):
        q_learn(rates, pd.DataFrame(), seed=1)
    gap = two_stages(Response("u", Normal(), model=Saturated(over=["b"])), utility="u")
    gap = Study(dtr.Baseline("x", missing="model"), *gap.timeline, utility="u")
    frame = pd.DataFrame({"x": [1.0, np.nan, 0.0, 2.0], "a": TWO * 2, "r": [0, 1, 1, 0], "b": ["p", "p", "q", "q"], "u": [1.0, 2, 3, 4]})
    with pytest.raises(DecisionError, match="complete histories"):
        q_learn(gap, frame, seed=1)
    with pytest.raises(DecisionError, match="nobody has 'u' yet"):
        q_learn(two_stages(Response("u", Bernoulli(), model=Saturated()), utility="u"), frame.assign(u=np.nan)[["a", "r", "b", "u"]], seed=1)


def test_who_is_not_followed_is_counted():
    study = two_stages(Response("u", Normal(), model=Saturated()), utility="u")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.choice(TWO, 120), "r": rng.integers(0, 2, 120).astype(float), "b": rng.choice(TWO, 120)})
    frame["u"] = rng.normal(size=120)
    frame.loc[:6, "u"] = np.nan
    frame.loc[:4, ["r", "b"]] = np.nan, None
    notes = q_learn(study, frame, **HOW).posterior.notes
    assert notes == ("2 of 115 patients who came to 'b' are not followed to the end: what they earn from it on is drawn.",
                     "5 patients are lost between 'a' and 'b' and left out of the model of 'a'.")


@pytest.mark.parametrize(("last", "utility", "mode", "kept"), [
    (Response("u", Bernoulli()), "u", "bml", True),
    (Response("u", Bernoulli()), "u", "mean", False),
    (Response("u", dtr.Poisson()), Utility({"u": -1.0}), "bml_committed", True),
    (Response("u", GRADES), Utility({"u": WORTH}, discount=0.9), "bml_committed", True),
    (Response("u", Bernoulli()), Utility({"u": 1.0}, costs={"a": {"p": 1.0}}), "bml", False),
    (Response("u", Bernoulli()), Utility({"u": 1.0, "r": 0.5}), "bml", False),
    (Response("u", Normal()), "u", "bml", False),
])
def test_when_the_family_is_kept(last, utility, mode, kept):
    study = two_stages(last, utility=utility)
    assert (kept_response(study, mode) == last) is kept
    if kept:
        own = stage_study(study, study.decisions[0], last, True)
        assert own.names == ("a", "u") and own.weight("u") == study.weight("u")
        grades = {"a": np.zeros(3, dtype=int), "u": np.arange(3.0)}
        full = {"r": np.zeros(3), "b": np.zeros(3, dtype=int), **grades}
        np.testing.assert_allclose(own.earned("u", grades) if own.pays("u") else 0, study.earned("u", full) if study.pays("u") else 0)


def test_where_a_course_can_end_zero_must_be_an_outcome():
    ends = {when(r=0): TWO, when(r=1): []}
    assert kept_response(two_stages(Response("u", Bernoulli()), utility="u", b=ends), "bml") is not None
    assert kept_response(two_stages(Response("u", dtr.LogNormal()), utility="u", b=ends), "bml") is None
    assert kept_response(two_stages(Response("u", GRADES), utility=Utility({"u": WORTH}), b=ends), "bml") is None


def test_hierarchical_stages_agree_with_the_joint_model():
    """Example 6, regular: first-stage contrasts of both routes agree within their doubt, and recommendations with them."""
    study, frame = chakraborty.study(), chakraborty.simulate(300, seed=5, example="6")
    q = q_learn(study, frame, seed=1, engine="laplace", progress=False)
    plain = dtr.optimize(dtr.fit(study, frame, seed=1, engine="laplace", progress=False))
    (_, mine), (_, theirs) = q.profile["first"], plain.profile["first"]
    wide = (theirs.upper - theirs.lower) / 4
    assert (np.abs(mine.expected - theirs.expected) < 0.5 * wide).all()
    assert q.posterior.verdict.convergence.khat < 0.7 and q.verdict.status == "ok"
    assert abs(q.value().mean - plain.value().mean) < 0.5 * plain.value().sd
    assert q.value().sd == pytest.approx(plain.value().sd, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bml_committed", "mean"])
def test_ordinal_outcomes_clusters_and_covariates(mode):
    """An ordinal end point keeps its family; utilities of levels lie between those given; a cluster never seen is integrated out."""
    choice = {when(r=dtr.below(0.5)): TWO, when(r=dtr.at_least(0.5)): ["p"]}
    study = Study(dtr.Baseline("x"), Decision("a", TWO), Response("r", Normal()), Decision("b", choice), Response("u", GRADES),
                  utility=Utility({"u": WORTH}), cluster="site")
    rng = np.random.default_rng(4)
    x, a, site = rng.normal(size=240), rng.integers(0, 2, 240), rng.integers(0, 6, 240)
    r = 0.5 * x + 0.5 * a + rng.normal(size=240)
    b = np.where(r < 0.5, rng.integers(0, 2, 240), 0)
    eta = 0.8 * b + 0.5 * r + 0.3 * rng.normal(size=6)[site] + rng.logistic(size=240)
    frame = pd.DataFrame({"x": x, "a": np.array(TWO)[a], "r": r, "b": np.array(TWO)[b], "u": np.array(GRADES.levels)[np.digitize(eta, [0, 1])],
                          "site": [f"s{s}" for s in site]})
    q = q_learn(study, frame, seed=1, engine="laplace", mode=mode, imputations=200, progress=False)
    stage = q.posterior.stages["a"]
    assert isinstance(stage.world.study[stage.responses[0]].family, Ordinal if mode == "bml_committed" else Normal)
    found = q.recommend(pd.DataFrame({"x": [0.0, 1.0], "site": ["s1", "new"]}), every_option=True)
    assert found.expected_utility.between(0, 1).all() and (found.upper - found.lower > 0.05).all()
    doubtful = [r for r in q.verdict.reasons if r.startswith("k-hat")]
    # A known limit: with clusters, Laplace's approximation fails in a third of the imputations of an ordinal stage, and the verdict says so.
    assert (q.verdict.status == "fail" and len(doubtful) == 1) if mode == "bml_committed" else (q.verdict.status != "fail" and not doubtful)
    later = q.recommend(frame[["x", "a", "r", "site"]].head(20), every_option=True)
    assert later.patient.value_counts().sort_index(key=lambda i: i.astype(int)).tolist() == np.where(r[:20] < 0.5, 2, 1).tolist()
