"""A design prints as a page that a designer can check: every part of the declaration is in it, within 100 columns."""

import pytest

import bayesdtr as dtr
from bayesdtr.errors import TrialError
from bayesdtr.gallery import activity_smart, small_n_smart, three_arm_adaptive


def words(design: dtr.TrialDesign) -> str:
    """The text with its lines joined, so that folds do not matter."""
    return " ".join(str(design).split())


@pytest.mark.parametrize("module", [three_arm_adaptive, small_n_smart, activity_smart])
def test_designs_of_the_gallery_fit_a_terminal(module):
    text = str(module.design)
    assert max(map(len, text.splitlines())) <= 100
    for decision in module.study.decisions:
        assert decision.name in text and all(option in text for _, options in decision.choices for option in options)
    for _, rule in module.design.allocation:
        assert rule.text() in words(module.design)


def test_rules_looks_and_calendar_are_told():
    text = words(three_arm_adaptive.design)
    for part in ("up to 2,000 patients", "1 patient a day", "event known after 100 days", "18 looks at 300, 400, ..., 2000", "P(best) < 0.0185682",
                 "P(best) > 0.981432", "P(all within 0.05) > 0.9", "exact posteriors"):
        assert part in text


def test_what_differs_from_the_defaults_is_told():
    arms = dtr.Study(dtr.Decision("arm", ["A", "B", "C"]), dtr.Response("event", dtr.Bernoulli()), utility="event")
    design = dtr.TrialDesign(
        arms, size=200, looks=dtr.Looks(at=[50, 100]), burn_in=dtr.BurnIn(40, 6), minimum=60,
        stopping=[dtr.Superiority(0.99, binding=False)], analysis=dtr.Analysis(engine="laplace", period_effects=True, audit=0.1),
        calendar=dtr.Calendar(unit="week"))
    text = words(design)
    for part in ("looks at 50, 100 weeks", "first 40 patients to enter", "blocks of 6", "never acts", "never before 60 patients", "Laplace",
                 "drift", "0.1 of looks", "allocation equal"):
        assert part in text
    assert "nothing: recruitment goes on" in words(dtr.TrialDesign(three_arm_adaptive.study, size=50, looks=[25], burn_in=0))


def test_saturated_cells_have_no_periods_and_no_laplace():
    for analysis, words_ in ((dtr.Analysis(period_effects=True), "Period effects drift along a linear predictor"),
                             (dtr.Analysis(engine="laplace"), "Laplace's approximation needs a linear predictor")):
        with pytest.raises(TrialError, match=f"{words_}.*'event' is Saturated"):
            dtr.TrialDesign(three_arm_adaptive.study, size=200, looks=[100], analysis=analysis)


def test_arguments_in_the_wrong_place_are_named_briefly():
    design, scenario = three_arm_adaptive.design, three_arm_adaptive.scenarios[0]
    with pytest.raises(TrialError, match=r"truth takes a TrialDesign or a Study, then a Scenario; got Scenario, TrialDesign"):
        dtr.truth(scenario, design)
    with pytest.raises(TrialError, match=r"replay takes a Run first, .* got TrialDesign"):
        dtr.replay(design, 0)
    with pytest.raises(TrialError, match=r"Looks.*such as \[100, 200\]"):
        dtr.TrialDesign(three_arm_adaptive.study, size=500, looks=5)


def test_dropping_down_to_one_arm_leaves_no_threshold():
    """P(best) of the last arm is 1: no threshold below 1 keeps the error, and none is made up."""
    with pytest.raises(TrialError, match=r"no threshold keeps the error.*DropWorst"):
        dtr.calibrate(three_arm_adaptive.design, three_arm_adaptive.scenarios[0], replicates=500, check=10, seed=2)


def test_declarations_are_not_told_of_designs_that_declare_nothing():
    oc = dtr.simulate(small_n_smart.design, small_n_smart.scenarios[1], 50, seed=1, compare=False, progress=False)
    assert "(power)" not in str(oc) and "last look" not in str(oc) and "selects a best regime" in str(oc)
    assert set(dtr.plot.operating_data(oc)["label"]) & {"power", "type I error"} == set()
