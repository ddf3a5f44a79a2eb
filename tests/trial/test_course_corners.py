"""Corners of the course of a trial: ties in time, looks before anybody or after everybody, courses that end early, and what may be left out."""

import numpy as np
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr.errors import TrialError
from bayesdtr.trial.batch import run_batch

IDS = np.arange(12)
ARMS = ["A", "B"]
STUDY = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
TRUTH = dtr.Scenario("truth", {"y": {"A": 0.3, "B": 0.6}})


def test_site_effects_on_a_categorical_response_are_refused():
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("grade", dtr.Categorical(["low", "mid", "high"])), dtr.Response("y", dtr.Bernoulli()),
                      utility="y", cluster="site")
    levels = {"low": 0.5, "mid": 0.3, "high": 0.2}
    good = dtr.Scenario("sites", {"grade": levels, "y": 0.5}, clusters=dtr.Sites(3, sd={"y": 0.3}))
    good.check(study)
    with pytest.raises(TrialError, match="'grade' is Categorical"):
        dtr.Scenario("sites", {"grade": levels, "y": 0.5}, clusters=dtr.Sites(3, sd={"grade": 0.3})).check(study)


# ---- ties in time ----------------------------------------------------------------------------------


def followed(design, scenario=TRUTH, ids=IDS, **how):
    """Patient by patient, whatever could be counted; the count engine, where it applies, says the same."""
    out = run_batch(design, scenario, ids, seed=3, keep="patients", **how)
    for keep in ("looks", "summary"):
        other = run_batch(design, scenario, ids, seed=3, keep=keep)
        for name, values in other.items():
            assert np.array_equal(values, out[name], equal_nan=True), (keep, name)
    return out


def test_a_patient_who_enrolls_at_a_look_is_assigned_by_the_look_before():
    """Zero delays and a look at every patient: the look at patient i sees its outcome, and patient i + 1 is the first it assigns."""
    design = dtr.TrialDesign(STUDY, size=20, looks=range(4, 21), allocation=dtr.Thompson(floor=0.1))
    out = followed(design)
    assert (out["look_in_force"][:, :, 0] == np.maximum(np.arange(20) - 4, -1)).all()
    assert (out["recruited"] == np.arange(4, 21)).all()
    assert (out["known_look"] == np.arange(4, 21)).all()
    one = [1 + (out["option"][0, :, 0] == 0)[:9].sum(), 2 + 9]
    y, arm = out["outcome"][0, :9, 0], out["option"][0, :9, 0]
    assert out["mean_look"][0, 5, 0] == pytest.approx((1 + y[arm == 0].sum()) / (one[0] + 1))


class Batches(dtr.Steady):
    """Patients in groups of five who enroll at the same moment."""

    def times(self, seed, replicates, size):
        return np.broadcast_to(np.arange(size) // 5 + 1.0, (len(replicates), size))


def test_two_looks_at_one_moment():
    """Whom they find is the same; the later one assigns those who follow, and the stopping rule fires at the earlier."""
    calendar = dtr.Calendar(Batches(1.0))
    design = dtr.TrialDesign(STUDY, size=20, looks=[6, 8, 11], allocation=dtr.Thompson(floor=0.1), calendar=calendar)
    out = followed(design)
    assert (out["time"] == [2, 2, 3]).all()
    assert (out["recruited"] == [10, 10, 15]).all()
    assert (out["mean_look"][:, 0] == out["mean_look"][:, 1]).all()
    assert (out["look_in_force"][:, :, 0] == [-1] * 10 + [1] * 5 + [2] * 5).all()
    assert np.isnan(out["probability_look"][:, 0]).all()
    stopping = dtr.TrialDesign(STUDY, size=20, looks=[6, 8, 11], allocation=dtr.Thompson(floor=0.1), calendar=calendar,
                               stopping=[dtr.Superiority(0.501)])
    out = followed(stopping)
    first = out["stopped_at"] == 0
    assert first.sum() > 6
    assert (out["stopped_at"] != 1).all()
    assert (out["size"][first] == 10).all() and (out["duration"][first] == 2).all()
    assert (out["allocated"][first].sum(axis=1) == 10).all()


# ---- looks before anybody and after everybody ------------------------------------------------------


@pytest.mark.parametrize("rule", [dtr.Thompson(), dtr.TopTwo(), dtr.NullStabilized(0.5)], ids=lambda r: type(r).__name__)
def test_a_look_before_anybody_has_come_sees_the_prior(rule):
    design = dtr.TrialDesign(STUDY, size=10, looks=dtr.Looks(at=[0.5, 4.5, 30.0, 40.0]), allocation=rule,
                             stopping=[dtr.DropWorst(0.01), dtr.SuccessProbability(0.001, success=0.9, binding=False)])
    out = followed(design)
    assert (out["recruited"] == [0, 4, 10, 10]).all()
    assert out["p_best_look"][:, 0] == pytest.approx(0.5)
    assert (out["look_in_force"][:, :, 0] == [0] * 4 + [1] * 6).all()
    assert out["probability"][:, :4] == pytest.approx(0.5)
    assert (out["mean_look"][:, 2] == out["mean_look"][:, 3]).all()
    assert (out["mean_look"][:, 3] == out["mean"]).all()
    assert (out["stopped_at"] == 3).all() and (out["duration"] == 10).all()


def test_a_rule_may_fire_when_everything_is_known():
    design = dtr.TrialDesign(STUDY, size=40, looks=dtr.Looks(at=[30.5, 60.0]), stopping=[dtr.Superiority((0.999999, 0.6))])
    out = followed(design)
    fired = out["stopped_by"] == 0
    assert fired.any()
    assert (out["size"] == 40).all() and (out["known"] == 40).all()
    # Nobody waits for the 60th month when all is known after the 40th.
    assert (out["time"] == [30.5, 40.0]).all() and (out["duration"] == 40).all() and (out["follow_up"] == 40).all()
    assert (out["mean_decision"][fired] == out["mean"][fired]).all()
    assert (out["selected"] == out["selected_final"]).all()
    assert out["declared"][fired].any(axis=1).all() and not out["declared"][~fired].any()


# ---- when rules act --------------------------------------------------------------------------------

EARLY = dtr.Superiority(0.55)
DELAYED = dtr.Calendar(dtr.PoissonAccrual(2.0), delays=3.0)


def test_below_the_minimum_nothing_acts():
    late = followed(dtr.TrialDesign(STUDY, size=40, looks=[10, 20, 30], stopping=[EARLY, dtr.DropWorst(0.3)], minimum=20, calendar=DELAYED))
    assert (late["stopped_at"] >= 1).all()
    assert np.isnan(late["statistic"][:, 0]).all()
    assert late["active_look"][:, 0].all()
    assert (late["stopped_at"] == 1).any()


def test_rules_that_do_not_bind_change_nothing_but_what_they_record():
    rules = [], [dtr.Superiority(0.55, binding=False), dtr.Superiority(0.9)], [dtr.Superiority(0.9)]
    same = {"size": 40, "looks": [10, 20, 30], "allocation": dtr.Thompson(), "calendar": DELAYED}
    a, b, bound = (followed(dtr.TrialDesign(STUDY, stopping=r, **same)) for r in rules)
    assert (b["stopped_by"] != 0).all() and (b["stopped_by"] == 1).any()
    assert (b["size"] == bound["size"]).all() and (b["statistic"][:, :, 1] == bound["statistic"][:, :, 0])[~np.isnan(b["time"])].all()
    on = b["stopped_by"] < 0
    assert all(np.array_equal(a[n][on], b[n][on], equal_nan=True) for n in ("option", "outcome", "mean", "duration", "utility"))


def test_a_trial_that_stops_at_its_first_look_keeps_its_pipeline():
    design = dtr.TrialDesign(STUDY, size=40, looks=[10, 20, 30], allocation=dtr.Thompson(), calendar=DELAYED, stopping=[dtr.Superiority(0.5000001)])
    out = followed(design)
    first = np.flatnonzero(out["stopped_at"] == 0)
    assert len(first) > 5
    for t in first:
        assert out["size"][t] == 10 == out["allocated"][t].sum() == out["observed"][t, 0] == out["completed"][t]
        assert out["known"][t] < 10 and out["duration"][t] == out["enrolled_at"][t, 9]
        assert out["follow_up"][t] == pytest.approx(out["duration"][t] + 3)
        arm, y = out["option"][t, :10, 0], out["outcome"][t, :10, 0]
        known = out["enrolled_at"][t, :10] + 3 <= out["duration"][t]
        for when, mean in ((known, "mean_decision"), (np.ones(10, dtype=bool), "mean")):
            assert out[mean][t] == pytest.approx([(1 + y[when & (arm == j)].sum()) / (2 + (when & (arm == j)).sum()) for j in (0, 1)])
        assert out["selected_final"][t] == out["mean"][t].argmax()


def test_where_no_rule_fires_the_decision_is_the_final_analysis():
    out = followed(dtr.TrialDesign(STUDY, size=40, looks=[10, 20], calendar=DELAYED))
    assert (out["duration"] == out["follow_up"]).all()
    assert (out["known"] == 40).all() and (out["stopped_at"] == 1).all() and (out["stopped_by"] == -1).all()
    for a, b in (("p_best", "p_best_decision"), ("mean", "mean_decision"), ("sd", "sd_decision"), ("selected", "selected_final")):
        assert np.array_equal(out[a], out[b])


# ---- burn-in ---------------------------------------------------------------------------------------


def test_burn_in_of_nobody_of_some_and_beyond_the_first_look():
    made = {b: followed(dtr.TrialDesign(STUDY, size=30, looks=[10, 20], allocation=dtr.Thompson(floor=0.1), burn_in=b), ids=np.arange(30))
            for b in (0, 15, dtr.BurnIn(10, block=2), None)}
    none, some, pairs, default = made.values()
    assert (none["probability"][:, :10] == 0.5).all()
    assert not ((none["option"][:, :4, 0] == 0).sum(axis=1) == 2).all()  # independent draws, no blocks
    assert (none["look_in_force"][:, :, 0] == np.repeat([-1, 0, 1], 10)).all()
    assert (some["look_in_force"][:, :, 0] == np.repeat([-1, -1, 0, 1], [10, 5, 5, 10])).all()
    assert ((some["option"][:, :12, 0].reshape(30, 3, 4) == 0).sum(axis=2) == 2).all()
    assert ((pairs["option"][:, :10, 0].reshape(30, 5, 2) == 0).sum(axis=2) == 1).all()
    assert ((default["option"][:, :8, 0].reshape(30, 2, 4) == 0).sum(axis=2) == 2).all()
    # Blocks hold on average; the probabilities of the looks count from patient 15 on.
    assert (some["probability"][:, :15] == 0.5).all()
    assert (some["probability"][:, 15:20] != 0.5).any()
    # The twin with equal allocation has the same burn-in, patient by patient.
    twin = followed(dtr.TrialDesign(STUDY, size=30, looks=[10, 20], allocation=dtr.Thompson(floor=0.1), burn_in=15).equal, ids=np.arange(30))
    assert (twin["option"][:, :15] == some["option"][:, :15]).all() and (twin["outcome"][:, :15] == some["outcome"][:, :15]).all()


# ---- courses ---------------------------------------------------------------------------------------

LONG = dtr.Study(
    dtr.Decision("first", ["a", "b"]),
    dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()),
    dtr.Decision("second", {dtr.when(r=0): ["c", "d"], dtr.when(r=1): []}),
    dtr.Response("s", dtr.Bernoulli(), model=dtr.Saturated(over=["first", "second"])),
    dtr.Decision("third", {dtr.when(s=0): ["e", "f"], dtr.when(s=1): ["hold"]}),
    dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated(over=["second", "third"])),
    utility=dtr.Utility({"r": 1.0, "s": 0.5, "y": 2.0}, costs={"first": {"b": 0.25}, "second": {"d": 0.1}, "third": {"f": 0.05}}),
)
LONG_TRUTH = dtr.Scenario("three", {"r": {"a": 0.3, "b": 0.5}, "s": {"c": 0.2, "d": 0.4}, "y": {"e": 0.4, "f": 0.7, "hold": 0.9}})
LONG_CALENDAR = dtr.Calendar(dtr.PoissonAccrual(4.0), delays={"r": 1.0, "s": 2.0, "y": 3.0})


@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_three_decisions_of_courses_that_end_early(lost):
    """What each patient is offered, answers and earns, patient by patient; rules by the looks in force at each decision."""
    scenario = LONG_TRUTH.with_dropout(dtr.Dropout(lost)) if lost else LONG_TRUTH
    design = dtr.TrialDesign(LONG, size=60, looks=[15, 25, 45], allocation=dtr.Thompson(floor=0.1), calendar=LONG_CALENDAR,
                             stopping=[dtr.Superiority(0.6)])
    out = followed(design, scenario)
    option, answer, entered = out["option"], out["outcome"], out["enrolled_at"]
    assert (out["stopped_by"] == 0).any() and (out["stopped_by"] < 0).any()
    for t in IDS:
        n, earned, complete = out["size"][t], 0.0, 0
        looks = np.sort(entered[t])[[14, 24, 44]] if out["stopped_by"][t] < 0 else out["time"][t][: out["stopped_at"][t] + 1]
        for i in range(n):
            (one, two, three), (r, s, y) = option[t, i], answer[t, i]
            assert one in (0, 1)
            times = entered[t, i] + np.array([0, 1, 3])
            for k, code in enumerate((one, two, three)):
                if code >= 0 and (k > 0 or (looks < times[0]).any()):
                    assert out["look_in_force"][t, i, k] in ((looks < times[k]).sum() - 1, -1 if not (looks < times[k]).any() else 99)
            if np.isnan(r):
                assert lost and two == three == -1 and np.isnan(s) and np.isnan(y)
                continue
            if r == 1:
                assert two == three == -1 and np.isnan(s) and np.isnan(y)
                # Times never depend on treatment: who leaves later in a course that is over by then counts as lost.
                if not lost:
                    complete, earned = complete + 1, earned + r - 0.25 * (one == 1)
                continue
            assert two in (0, 1)
            if np.isnan(s):
                assert lost and three == -1 and np.isnan(y)
                continue
            assert three == 2 if s == 1 else three in (0, 1)
            if np.isnan(y):
                assert lost
                continue
            complete, earned = complete + 1, earned + r + 0.5 * s + 2 * y - 0.25 * (one == 1) - 0.1 * (two == 1) - 0.05 * (three == 1)
        if not lost:
            assert out["completed"][t] == complete == n
            assert out["utility"][t] == pytest.approx(earned)
            assert out["known"][t] == (entered[t, :n] + 6 <= out["duration"][t] + 1e-9).sum()
        assert out["follow_up"][t] <= np.nanmax(entered[t]) + 6 + 1e-9
        assert (out["observed"][t] == (~np.isnan(answer[t])).sum(axis=0)).all()
        assert (out["allocated"][t] == [(option[t, :, k] == j).sum() for k, m in ((0, 2), (1, 2), (2, 3)) for j in range(m)]).all()


def test_records_are_by_assignment_and_answers_by_what_was_taken():
    """Everybody assigned to B takes A: both arms answer alike, and the records keep them apart."""
    truth = dtr.Scenario("nobody takes B", {"y": {"A": 1 - 1e-9, "B": 1e-9}}, adherence=dtr.Adherence({"arm": {"B": 0.0}}))
    design = dtr.TrialDesign(STUDY, size=40, looks=[10, 20], allocation=dtr.Thompson(floor=0.2))
    out = followed(design, truth)
    assert (out["outcome"] == 1).all() and (out["total"] == 40).all()
    assert (out["allocated"] > 4).all() and (out["followed"] == out["allocated"]).all()
    assert out["mean"] == pytest.approx((1 + out["allocated"]) / (2 + out["allocated"]))


def test_utilities_of_courses_under_an_attitude_to_risk():
    worth = dtr.Exponential(0.8)
    study = dtr.Study(dtr.Decision("first", ["a", "b"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()),
                      dtr.Decision("second", ["c", "d"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()),
                      utility=dtr.Utility({"r": 1.0, "y": 2.0}, costs={"first": {"b": 0.25}, "second": {"d": 0.5}}, attitude=worth))
    truth = dtr.Scenario("truth", {"r": {"a": 0.3, "b": 0.5}, "y": {"c": 0.4, "d": 0.7}})
    design = dtr.TrialDesign(study, size=30, looks=[10, 20], allocation=dtr.Thompson(floor=0.1))
    out = followed(design, truth)
    earned = out["outcome"] @ [1.0, 2.0] - out["option"] @ [0.25, 0.5]
    assert out["utility"] == pytest.approx(worth.worth(earned).sum(axis=1))


def test_whole_regimes_drawn_at_baseline_survive_the_closing_of_later_options():
    study = dtr.Study(dtr.Decision("first", ["a", "b"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()),
                      dtr.Decision("second", ["c", "d"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
    truth = dtr.Scenario("truth", {"r": 0.5, "y": {"c": 0.05, "d": 0.95}})
    design = dtr.TrialDesign(study, size=60, looks=range(10, 60, 5), allocation=dtr.Thompson(level="sequence"),
                             calendar=dtr.Calendar(dtr.Steady(2.0), delays={"r": 6.0}), stopping=[dtr.DropWorst(0.3, at="second")])
    out = followed(design, truth)
    closed = ~out["active"]
    assert closed[:, 2].sum() > 6 and not closed[:, :2].any()
    assert ((out["probability"] > 0) & (out["probability"] <= 1 + 1e-12))[out["option"] >= 0].all()
    for t in np.flatnonzero(closed[:, 2]):
        since = np.flatnonzero(~out["active_look"][t, :, 2] & ~np.isnan(out["time"][t]))[0]
        after = out["look_in_force"][t, :, 1] >= since
        assert (out["option"][t, after, 1] == 1).all() and out["probability"][t, after, 1] == pytest.approx(1)
        assert "d" in design.layout.regime_labels[out["selected"][t]] and "c" not in design.layout.regime_labels[out["selected"][t]].split("; ")[-1]
    assert (out["option"] >= 0).all()


def test_drift_moves_patients_in_their_order_and_leaves_the_coupling():
    """A step that makes everybody answer, half way; before it nothing changes, patient by patient."""
    design = dtr.TrialDesign(STUDY, size=40, looks=[10, 30])
    plain, moved = followed(design), followed(design, TRUTH.with_drift(dtr.StepDrift(50.0, responses=["y"])))
    assert (plain["option"] == moved["option"]).all()
    assert (plain["outcome"][:, :20] == moved["outcome"][:, :20]).all()
    assert (moved["outcome"][:, 20:] == 1).all() and not (plain["outcome"][:, 20:] == 1).all()


@pytest.mark.slow
def test_period_effects_take_out_a_step_between_blocks_of_enrollment():
    """Under a huge step between blocks of enrolment, chance imbalance in time passes for an effect of treatment; with periods it does not."""
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Normal()), utility="y", scales={"y": (0.0, 3.0)})
    truth = dtr.Scenario("alike", {"y": dtr.Law({"A": 0.0, "B": 0.0}, sd=1.0)}, drift=dtr.StepDrift(6.0, at=0.5))
    unequal = {"allocation": dtr.Fixed({"A": 0.5, "B": 0.5}), "size": 40, "looks": [20, 30], "burn_in": 0}
    found = {}
    for periods in (False, True):
        design = dtr.TrialDesign(study, analysis=dtr.Analysis(engine="laplace", period_effects=periods, draws=64), **unequal)
        out = run_batch(design, truth, np.arange(8), seed=3, keep="patients")
        found[periods] = out
        assert (out["p_best_look"] >= 0).all() and np.isfinite(out["sd"]).all()
    a, b = found[False], found[True]
    assert (a["option"] == b["option"]).all() and (a["outcome"] == b["outcome"]).all()
    contrast = {p: np.abs(o["mean"][:, 1] - o["mean"][:, 0]).mean() for p, o in found.items()}
    assert contrast[True] < contrast[False]


def test_a_study_whose_looks_cannot_be_analyzed_is_refused_at_the_declaration():
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Normal()), utility="y")
    with pytest.raises(TrialError, match="need declared scales"):
        dtr.TrialDesign(study, size=20, looks=[10])
    exact = dtr.Saturated(conjugate=dtr.NormalInverseGamma(0.0, 0.01, 1.0, 1.0))
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Normal(), model=exact), utility="y")
    dtr.TrialDesign(study, size=20, looks=[10])
    with pytest.raises(TrialError, match="need declared scales"):
        dtr.TrialDesign(study, size=20, looks=[10], analysis=dtr.Analysis(audit=0.1))


def test_harms_are_watched_from_the_first_patient_and_the_least_harmful_option_stays():
    study = dtr.Study(dtr.Decision("first", ["a", "b", "c"]), dtr.Response("harm", dtr.Bernoulli(), model=dtr.Saturated()),
                      dtr.Decision("second", {dtr.when(harm=1): ["stop", "halve"], dtr.when(harm=0): []}),
                      dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
    truth = dtr.Scenario("harmful", {"harm": {"a": 0.9, "b": 0.9, "c": 0.9}, "y": 0.5})
    rules = [dtr.DropUnsafe("harm", above=0.3, probability=0.6), dtr.SafetyStop("harm", above=0.3, probability=0.95, binding=False)]
    design = dtr.TrialDesign(study, size=40, looks=dtr.Looks(at=[0.5, 5.5, 10.5, 20.5, 30.5]), allocation=dtr.Thompson(), stopping=rules, minimum=10)
    out = followed(design, truth)
    open_ = out["active_look"][:, :, :3].sum(axis=2)
    # P(rate > .3) is .7 of a Beta(1, 1) law: above the limit, but nobody is recruited at the first look and too few at the second.
    assert (open_[:, :2] == 3).all() and np.isnan(out["statistic"][:, :2]).all()
    assert (open_[:, 2] == 1).all() and out["active"][:, 3:].all()
    for t in IDS:
        kept = np.flatnonzero(out["active_look"][t, 2, :3])[0]
        first, harm = out["option"][t, :10, 0], out["outcome"][t, :10, 0]
        yes = np.array([(harm[first == j] == 1).sum() for j in range(3)])
        n = np.array([(first == j).sum() for j in range(3)])
        assert kept == stats.beta(1 + yes, 1 + n - yes).sf(0.3).argmin()
        later = out["look_in_force"][t, :, 0] >= 2
        assert later.sum() == 30 and (out["option"][t, later, 0] == kept).all()
    # Whoever was not harmed has no second decision, and is followed to the end all the same.
    well = out["outcome"][:, :, 0] == 0
    assert (out["option"][:, :, 1][well] == -1).all() and (out["completed"] == 40).all()
    assert (out["utility"] == np.nansum(out["outcome"][:, :, 1], axis=1)).all()


@pytest.mark.parametrize("rule", [dtr.PermutedBlock(), dtr.Fixed({"A": 0.7, "B": 0.3})], ids=["blocks", "fixed"])
def test_rules_that_never_adapt_need_no_burn_in(rule):
    """Blocks run on across looks, and draws are with the rule's own probabilities from the first patient on."""
    design = dtr.TrialDesign(STUDY, size=32, looks=[10, 21], allocation=rule, stopping=[dtr.Superiority(0.999)])
    out = followed(design, ids=np.arange(20))
    whole = out["stopped_by"] < 0
    assert whole.sum() > 10
    if isinstance(rule, dtr.Fixed):
        assert out["probability"][whole, :, 0] == pytest.approx(np.where(out["option"][whole, :, 0] == 0, 0.7, 0.3))
        assert (out["look_in_force"][whole][:, :, 0] == np.repeat([-1, 0, 1], [10, 11, 11])).all()
    else:
        assert ((out["option"][whole][:, :, 0].reshape(whole.sum(), 8, 4) == 0).sum(axis=2) == 2).all()


def test_more_sites_than_looks_can_hold_are_refused_before_anything_runs():
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Bernoulli()), utility="y", cluster="site")
    design = dtr.TrialDesign(study, size=20, looks=[10])
    with pytest.raises(TrialError, match=r"17 sites.*up to 16"):
        run_batch(design, dtr.Scenario("many", {"y": 0.5}, clusters=dtr.Sites(17)), IDS, seed=1)
