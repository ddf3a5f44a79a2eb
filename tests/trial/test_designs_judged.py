"""Designs simulated patient by patient, and what is said of them: power by enumeration, thresholds that hold, tables that read."""

import numpy as np
import pytest
import two_arms

import bayesdtr as dtr
from bayesdtr import plot
from bayesdtr.trial.allocation import Thompson
from bayesdtr.trial.characteristics import calibrate, null_grid, power_curve
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.nature import Calendar, PoissonAccrual, Scenario, StepDrift
from bayesdtr.trial.running import run
from bayesdtr.trial.simulation import simulate
from bayesdtr.trial.stopping import Futility, Superiority

TWO, THREE = two_arms.study(), two_arms.study(("A", "B", "C"))
SMART = dtr.Study(
    dtr.Decision("first", ["a", "b"]), dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()),
    dtr.Decision("second", {dtr.when(r=0): ["c", "d"], dtr.when(r=1): ["go"]}), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()),
    utility="y",
)


def test_power_of_a_fixed_design_is_that_of_enumeration():
    """Everybody enters before the first look, so arms are of equal size in permuted blocks: the law is that of two binomial counts."""
    better = Scenario("better", {"event": {"A": 0.3, "B": 0.5}})
    found = power_curve(lambda n: TrialDesign(TWO, size=n, looks=[n], stopping=[Superiority(0.95)]), better, [40, 60], replicates=1500, seed=1)
    for row in found.frame().to_dict("records"):
        assert abs(row["power"] - two_arms.exact((0.3, 0.5), row["size"] // 2, 0.95)[0][1]) < 4 * row["mcse"]


def test_a_smart_is_told_beside_equal_allocation():
    design = TrialDesign(SMART, size=100, looks=[40, 70, 100], allocation=Thompson(power=0.5, floor=0.1), stopping=[Superiority(0.9)], burn_in=30,
                         calendar=Calendar(PoissonAccrual(4.0), delays=2.0))
    later = {dtr.when(r=1): 0.7, dtr.when(r=0, second="c"): 0.2, dtr.when(r=0, second="d"): 0.5}
    better = Scenario("b;d best", {"r": {"a": 0.4, "b": 0.5}, "y": later})
    oc = simulate(design, [*null_grid(SMART, {"r": 0.4, "y": 0.5}).values(), better], 128, seed=1, progress=False)
    text = str(oc)
    assert max(map(len, text.splitlines())) <= 100 and "allocation at second" in text
    arms = oc.frame()[lambda f: (f["scenario"] == "b;d best") & (f["quantity"] == "share")]
    assert arms["adaptive"].sum() == pytest.approx(2)
    # More patients follow the best course than under equal allocation, and the pairs show it.
    gain = oc.get("b;d best", "on_best").difference
    assert gain.value > 2 * gain.error
    # What is seen when the best is selected is its true value.
    regret, utility = oc.get("b;d best", "future_regret").adaptive, oc.get("b;d best", "future_utility").adaptive
    assert regret.value + utility.value == pytest.approx(0.5 * 0.7 + 0.5 * 0.5)
    data = plot.paths_data(run(design, better, 64, seed=1, keep="looks"))
    assert set(data[data["panel"] == "allocation probability"]["name"]) >= {"first: a", "second: d"}


def test_a_calibrated_design_errs_as_its_paths_say():
    rules = [Superiority(0.9), Futility(0.02, against="A", margin=0.1)]
    design = TrialDesign(THREE, size=60, looks=[30, 60], allocation=Thompson(floor=0.1), stopping=rules, burn_in=15)
    nulls = null_grid(THREE, {"event": [0.2, 0.5]}, drifts={"step": StepDrift(0.5)})
    found = calibrate(design, nulls, error=0.1, replicates=500, check=500, seed=2)
    # The design with the threshold, on the calibration's own random numbers, errs in just those replicates whose path exceeds it.
    for name, scenario in list(nulls.items())[:2]:
        again = run(found.design, scenario, 500, seed=2)
        np.testing.assert_array_equal(np.asarray(again["declared"]).any(axis=1), found.paths[name] > found.cut)


@pytest.mark.slow
def test_the_largest_error_is_within_the_target():
    """40,000 replicates a scenario: the upper bound on the largest error over the grid, drift included, is at most the target and .003."""
    design = TrialDesign(THREE, size=150, looks=[50, 100, 150], allocation=Thompson(power=0.5, floor=0.1), stopping=[Superiority(0.97)], burn_in=48)
    nulls = null_grid(THREE, {"event": [0.1, 0.3, 0.5]}) | {"step": Scenario("step", {"event": 0.3}, drift=StepDrift(0.5))}
    found = calibrate(design, nulls, error=0.05, replicates=10_000, check=40_000, seed=1)
    assert found.largest_upper <= 0.053
    assert found.largest > 0.04  # and no stricter than it must be


def test_where_dropping_alone_errs_too_often_nothing_can_be_calibrated():
    study = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated()), utility="event")
    design = dtr.TrialDesign(study, size=200, looks=range(40, 201, 20), stopping=[dtr.DropWorst(0.1), dtr.Superiority(0.99)])
    with pytest.raises(dtr.TrialError, match="a smaller threshold of DropWorst"):
        dtr.calibrate(design, dtr.null_grid(study, {"event": [0.3]}), replicates=500, check=10, seed=1)


def test_drifts_of_a_grid_have_names():
    study = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("event", dtr.Bernoulli()), utility="event")
    with pytest.raises(dtr.TrialError, match="a mapping of names to drifts"):
        dtr.null_grid(study, {"event": [0.3]}, drifts=[dtr.LinearDrift(0.5)])
