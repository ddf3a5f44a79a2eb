"""A folder knows whose run it holds: designs and scenarios are read back from it, or named where they cannot be."""

import json

import numpy as np
import pytest
from designs import arms_study, three_arm

import bayesdtr as dtr
from bayesdtr.gallery import activity_smart, small_n_smart, three_arm_adaptive
from bayesdtr.trial.running.declared import read, written
from bayesdtr.trial.running.describing import describe


def there_and_back(value):
    return read(json.loads(json.dumps(written(value), allow_nan=False)))


@pytest.mark.parametrize("module", [three_arm_adaptive, small_n_smart, activity_smart])
def test_designs_and_scenarios_of_the_gallery_come_back(module):
    again = there_and_back(module.design)
    assert again == module.design and describe(again) == describe(module.design) and str(again) == str(module.design)
    for scenario in module.scenarios:
        if (kept := written(scenario)) is not None:
            assert read(json.loads(json.dumps(kept))) == scenario


def test_every_part_comes_back():
    study = dtr.Study(
        dtr.Baseline("x"), dtr.Baseline("sex", levels=["f", "m"]), dtr.Decision("first", ["a", "b"]), dtr.Response("r", dtr.Bernoulli()),
        dtr.Decision("second", {dtr.when(r=0): ["c", "d"], dtr.when(r=1): ["go on"]}), dtr.Response("y", dtr.Normal()), utility="y",
        scales={"x": (0.0, 1.0), "y": (0.0, 2.0)}, reference={"first": "a", "second": {dtr.when(r=0): "c"}})
    design = dtr.TrialDesign(
        study, size=80, looks=dtr.Looks(known=[30, 50]), burn_in=dtr.BurnIn(20, 4), minimum=40,
        allocation={"first": dtr.TopTwo(), "second": dtr.Thompson("n/2N", floor=0.1, ceiling=0.9)},
        stopping=[dtr.DropWorst(0.02), dtr.Superiority([0.99, 0.98], regime={"first": "a"}, looks=[2]), dtr.Futility(0.1, margin=0.2, binding=False)],
        calendar=dtr.Calendar(dtr.PiecewiseAccrual([(10, 2.0), (np.inf, 4.0)]), delays={"r": dtr.UniformDelay(1, 3), "y": 6}, unit="week"),
        analysis=dtr.Analysis(draws=64, audit=0.1))
    scenario = dtr.Scenario(
        "s", {"r": {dtr.when(first="a"): 0.3, dtr.when(first="b"): 0.5}, "y": dtr.Law({"c": 0.0, "d": 1.0, "go on": 2.0}, sd=2)},
        baseline={"x": dtr.Gaussian(1, 2), "sex": dtr.Levels({"f": 0.4, "m": 0.6})}, drift=[dtr.LinearDrift(0.5), dtr.ArmDrift({"a": 1.0})],
        dropout=dtr.Dropout(rate=0.01), adherence=dtr.Adherence({"first": 0.9}), calendar=dtr.Calendar(dtr.PoissonAccrual(3)))
    for value in (design, scenario):
        again = there_and_back(value)
        assert again == value and describe(again) == describe(value)
    assert str(there_and_back(design)) == str(design) and str(there_and_back(scenario)) == str(scenario)


def test_a_run_is_loaded_by_its_folder_alone(tmp_path):
    design = three_arm()
    scenarios = [dtr.Scenario(n, {"event": {"A": 0.25, "B": b, "C": 0.3}}) for n, b in (("null-ish", 0.25), ("B better", 0.2))]
    made = dtr.simulate(design, scenarios, 30, seed=1, out=tmp_path / "o", progress=False)
    again = dtr.load_run(tmp_path / "o")
    assert again.design == design and set(again.runs) == {"null-ish", "B better"}
    assert again.table("B better") == made.table("B better")
    assert list(dtr.load_run(tmp_path / "o", scenarios=scenarios[1]).runs) == ["B better"]
    with pytest.raises(dtr.TrialError, match="load_run takes a TrialDesign second, or none"):
        dtr.load_run(tmp_path / "o", scenarios)
    with pytest.raises(dtr.TrialError, match="There is no run in"):
        dtr.load_run(tmp_path / "nowhere")


def power(n, size):
    return n / size


def test_what_holds_functions_is_named_and_must_be_given(tmp_path):
    design = dtr.TrialDesign(arms_study(), size=40, looks=[20], allocation=dtr.Thompson(power, floor=0.1))
    scenario = dtr.Scenario("B better", {"event": lambda h: 0.3 + 0.2 * (h["arm"] == "B")})
    dtr.simulate(design, scenario, 10, seed=1, out=tmp_path / "o", progress=False)
    with pytest.raises(dtr.TrialError, match=r"is of a design of up to 40 patients, 1 look at 20.*Thompson, own power.*Give the design: .*function"):
        dtr.load_run(tmp_path / "o")
    with pytest.raises(dtr.TrialError, match=r"has a scenario 'B better'. Give the scenarios"):
        dtr.load_run(tmp_path / "o", design)
    assert dtr.load_run(tmp_path / "o", design, scenario).replicates("B better") == 10


def test_a_folder_that_says_one_thing_and_holds_another_is_refused(tmp_path):
    design = dtr.TrialDesign(arms_study(), size=40, looks=[20])
    dtr.simulate(design, dtr.Scenario("s", {"event": 0.3}), 4, seed=1, out=tmp_path / "o", progress=False)
    file = tmp_path / "o" / "run.zarr" / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["declaration"]["size"] = 50
    file.write_text(json.dumps(content))
    with pytest.raises(dtr.TrialError, match="Read back, this design is another"):
        dtr.load_run(tmp_path / "o")
