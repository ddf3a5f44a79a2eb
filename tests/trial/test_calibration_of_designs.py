"""Thresholds from path maxima: exact bounds, errors against enumeration, rules that act, thresholds that vary by look."""

from dataclasses import replace

import numpy as np
import pytest
import two_arms
from scipy import special, stats

from bayesdtr.errors import TrialError
from bayesdtr.study import Bernoulli, Decision, Response, Study
from bayesdtr.trial.characteristics import calibrate, drift_inflation, null_grid, seam
from bayesdtr.trial.characteristics.calibration import allowed_count, checked_nulls, smallest_cut
from bayesdtr.trial.characteristics.estimates import upper_bound
from bayesdtr.trial.nature import Dropout, Scenario, StepDrift
from bayesdtr.trial.records import blank
from bayesdtr.trial.stopping import Superiority

NULLS = [two_arms.Arms(f"event {p}", (p, p)) for p in (0.1, 0.3, 0.5)]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(seam, "simulated", two_arms.run)
    monkeypatch.setattr(seam, "truth_of", two_arms.truth)


def exact_error(p: float, n: int, threshold: float) -> float:
    return two_arms.exact((p, p), n, threshold)[0].sum()


def test_allowed_counts_are_exact():
    for n, error, confidence in ((1000, 0.05, 0.95), (200, 0.1, 0.9), (10_000, 0.025, 0.99)):
        k = allowed_count(n, error, confidence)
        # Were the true error above the allowance, so few would be seen with probability at most 1 - confidence.
        assert stats.binom.cdf(k, n, error) <= 1 - confidence + 1e-12 < stats.binom.cdf(k + 1, n, error) + 1e-12
    with pytest.raises(TrialError, match="take 59 or more"):
        allowed_count(50, 0.05, 0.95)
    assert allowed_count(59, 0.05, 0.95) == 0


def test_the_calibrated_error_is_within_the_target_by_enumeration():
    design = two_arms.design(80)
    found = calibrate(design, NULLS, error=0.05, replicates=4000, seed=3, check=10_000)
    exact = {s.name: exact_error(s.p[0], 40, found.threshold) for s in NULLS}
    assert max(exact.values()) <= 0.05
    assert max(exact_error(s.p[0], 40, found.threshold - 0.004) for s in NULLS) > 0.05  # no stricter than it must be
    for row in found.frame().to_dict("records"):
        assert abs(row["error"] - exact[row["null"]]) < 4 * row["mcse"]
        assert row["calibration_upper"] <= 0.05
    assert found.largest_upper == max(upper_bound(k, 10_000) for k in found.checked.values())
    assert found.design.stopping[0].threshold == found.threshold
    assert found.design.stopping[0].binding
    again = two_arms.run(found.design, NULLS[0], 10_000, seed=found.check_seed)
    assert found.check_seed != found.seed == 3 and again["declared"].any(axis=1).sum() == found.checked[NULLS[0].name]
    # One scenario decides: at the next smaller value that its maxima take, more would err than may.
    allowed = allowed_count(4000, 0.05, 0.95)
    assert max(int((p > found.cut).sum()) for p in found.paths.values()) <= allowed < max(int((p >= found.cut).sum()) for p in found.paths.values())


def test_thresholds_fail_as_seldom_as_they_say():
    """Of 300 calibrations the true error exceeds the target in no more than 5 %, counting binomial luck."""
    n, target, replicates = 30, 0.08, 500
    _, _, (cells, weight) = two_arms.exact((0.3, 0.3), n, 0.9)
    largest = two_arms.p_best(cells, n).max(axis=1)
    rng, failed = np.random.default_rng(5), 0
    for _ in range(300):
        cut = smallest_cut(rng.choice(largest, replicates, p=weight / weight.sum()), allowed_count(replicates, target, 0.95), "null")
        failed += weight[largest > cut].sum() > target
    assert failed <= stats.binom.ppf(0.999, 300, 0.05)


def test_errors_of_other_thresholds_are_those_of_designs_that_have_them():
    design = two_arms.design(120, looks=[40, 80, 120])
    found = calibrate(design, NULLS[:2], replicates=3000, seed=3, check=2000)
    for threshold in (0.95, 0.98, found.threshold):
        stopped = two_arms.run(two_arms.design(120, looks=[40, 80, 120], threshold=threshold), NULLS[1], 3000, seed=3)
        curve = found.errors(threshold)
        row = curve[curve["null"] == NULLS[1].name].iloc[0]
        assert row["error"] == stopped["declared"].any(axis=1).mean()
        assert row["lower"] < row["error"] < row["upper"]
    curve = found.errors()
    for _, one in curve.groupby("null"):
        assert (np.diff(one["error"]) <= 0).all()
    assert found.cut in set(curve["cut"])


def test_other_rules_act_while_one_is_calibrated():
    """A second rule that declares counts as an error at any threshold; the bound holds for both together."""
    rules = [two_arms.Best(threshold=0.9), two_arms.Best(threshold=0.997)]
    design = two_arms.design(120, looks=[40, 80, 120], rules=rules)
    found = calibrate(design, NULLS, replicates=4000, seed=3, check=4000)
    alone = calibrate(two_arms.design(120, looks=[40, 80, 120]), NULLS, replicates=4000, seed=3, check=4000)
    assert found.threshold >= alone.threshold
    assert any(np.isinf(p).any() for p in found.paths.values())
    assert found.largest_upper < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 4000)
    with pytest.raises(TrialError, match="no threshold keeps the error"):
        calibrate(design._with(stopping=(rules[0], two_arms.Best(threshold=0.8))), NULLS, replicates=4000, seed=3, check=10)


def test_thresholds_that_vary_by_look_keep_their_shape():
    shape = (0.999, 0.99, 0.97)
    found = calibrate(two_arms.design(120, looks=[40, 80, 120], threshold=shape), NULLS, replicates=4000, seed=3, check=8000)
    shift = special.logit(found.threshold) - special.logit(shape)
    np.testing.assert_allclose(shift, found.cut, rtol=1e-9)
    assert len(found.threshold) == 3 and found.threshold[0] > found.threshold[1] > found.threshold[2]
    for row in found.frame().to_dict("records"):
        assert abs(row["error"] - row["calibration_error"]) < 4 * np.sqrt(0.05 * 0.95 * (1 / 4000 + 1 / 8000))
    assert found.frame()["calibration_upper"].max() <= 0.05
    # A single look: the shift of one threshold is that of the constant rule.
    again = calibrate(found.design, NULLS, replicates=4000, seed=3, check=10)
    np.testing.assert_allclose(again.threshold, found.threshold, rtol=1e-9)


def test_a_coarse_statistic_is_told():
    found = calibrate(two_arms.design(40), NULLS[1], replicates=4000, seed=3, check=100)
    exceeding = int((found.paths[NULLS[1].name] > found.cut).sum())
    assert found.coarse == (exceeding < 0.9 * allowed_count(4000, 0.05, 0.95)) == ("takes few values" in str(found))
    steps = replace(found, paths={n: np.round(p * 8) / 8 for n, p in found.paths.items()}, cut=1.0)
    assert steps.coarse and "takes few values" in str(steps)


def test_drift_counts_among_the_nulls():
    drift = two_arms.Arms("drift", (0.2, 0.2), jump=0.3)
    found = calibrate(two_arms.design(120, looks=[60, 120]), [*NULLS, drift], replicates=2000, seed=1, check=1000)
    assert set(found.checked) == {*(s.name for s in NULLS), "drift"}
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100 and "drift" in text and "upper 95% bound" in text


@pytest.mark.parametrize(("change", "message"), [
    ({"rule": 1}, "no stopping rule 1; the design's are 0: "),
    ({"nulls": two_arms.Arms("better", (0.3, 0.4))}, "'better' is no null"),
    ({"nulls": [NULLS[0], NULLS[0]]}, "two scenarios are called"),
    ({"nulls": []}, "needs at least one scenario"),
    ({"error": 5}, "error is a number between 0 and 1"),
    ({"replicates": 0}, "replicates is a whole number"),
    ({"replicates": 20}, "cannot show an error"),
])
def test_bad_input_is_named(change, message):
    given = {"nulls": NULLS, "replicates": 100, "check": 10, "seed": 1} | change
    with pytest.raises(TrialError, match=message):
        calibrate(two_arms.design(40), given.pop("nulls"), **given)


def test_null_scenarios_of_a_comparison_may_have_a_worse_arm():
    """Against A, an arm that is worse than A is no reason to refuse a scenario; one that is better is."""
    ours = [Superiority(0.95, against="A")]
    design = two_arms.design(40, options=("A", "B", "C"), rules=ours)
    assert set(checked_nulls(design, two_arms.Arms("worse", (0.3, 0.3, 0.1)), 0)) == {"worse"}
    with pytest.raises(TrialError, match="is no null"):
        checked_nulls(design, two_arms.Arms("better", (0.3, 0.4, 0.1)), 0)
    with pytest.raises(TrialError, match="is no null"):
        checked_nulls(two_arms.design(40, options=("A", "B", "C")), two_arms.Arms("worse", (0.3, 0.3, 0.1)), 0)


def test_grids_of_null_scenarios():
    study = two_arms.study()
    late = StepDrift(0.5)
    made = null_grid(study, {"event": [0.1, 0.3]}, drifts={"late step": late})
    assert list(made) == ["event 0.1", "event 0.1, late step", "event 0.3", "event 0.3, late step"]
    assert made["event 0.3, late step"].drift == (late,) and made["event 0.3"].drift == ()
    assert all(s.name == n for n, s in made.items())
    like = Scenario("like", {"event": 0.2}, dropout=Dropout(rate=0.1))
    grown = null_grid(study, {"event": [0.1, 0.3]}, drifts={"late step": late}, like=like)
    assert list(grown) == list(made) and all(s.dropout == like.dropout for s in grown.values())
    assert grown["event 0.3, late step"].responses == made["event 0.3"].responses and grown["event 0.3"].drift == ()
    assert list(null_grid(study, {"event": 0.25})) == ["event 0.25"]
    for levels, message in (({"evnt": [0.1]}, "no response 'evnt'.*did you mean 'event'"), ({}, "'event' has no levels"),
                            ({"event": []}, "no levels"), ({"event": [0.1, 0.1]}, "give each level once"), ([0.1], "a mapping of responses")):
        with pytest.raises(TrialError, match=message):
            null_grid(study, levels)


# ---- drift -------------------------------------------------------------------------------------------------------


def test_inflation_by_drift_is_paired_and_per_analysis(monkeypatch):
    """Maxima with a known law: drift moves them up by a fifth of the way to 1, unless the analysis has period effects."""
    seeds = []

    def simulated(design, scenario, replicates, *, seed, keep="summary", **_):
        seeds.append(seed)
        run = two_arms.Run(blank(design.layout, replicates, keep))
        u = np.random.default_rng(seed).random(replicates)
        run["path_max"][:, 0] = u if scenario.jump == 0 or design.analysis.period_effects else 1 - 0.8 * (1 - u)
        return run

    monkeypatch.setattr(seam, "simulated", simulated)
    study = Study(Decision("treatment", ["A", "B"]), Response("event", Bernoulli()), utility="event")
    found = drift_inflation(two_arms.design(80)._with(study=study), two_arms.Arms("none", (0.3, 0.3)),
                            two_arms.Arms("step", (0.3, 0.3), jump=0.2), error=0.05, replicates=8000, seed=1)
    assert seeds[0] == seeds[3] == 1 and len({*seeds[1:3], *seeds[4:]}) == 1 and seeds[1] != 1
    plain, drifting, plain_period, drifting_period = found.rows
    cut = dict(found.thresholds)["no period effects"]
    assert abs(plain.error.value - (1 - cut)) < 4 * plain.error.error
    assert abs(drifting.added.value - (1 - cut) / 4) < 4 * drifting.added.error
    # Errors without drift stay errors with it, so the pairs know the difference far better than two separate runs would.
    assert drifting.added.error < 0.5 * np.hypot(plain.error.error, drifting.error.error)
    assert drifting_period.added.value == 0 and drifting_period.added.error > 0
    assert not np.isfinite(plain.added.value) and plain_period.error.value == plain.error.value
    text = str(found)
    assert "with period effects" in text and max(map(len, text.splitlines())) <= 100
    with pytest.raises(TrialError, match="both the scenario without drift"):
        drift_inflation(two_arms.design(80), two_arms.Arms("none", (0.3, 0.3)), two_arms.Arms("none", (0.3, 0.3)), seed=1)
