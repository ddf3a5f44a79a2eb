"""Sensitive columns are declared, printed, saved and refused where models or rules would see them."""

import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Hierarchical, Normal, Response, Saturated, Study, StudyError, when
from bayesdtr.study import from_json, to_json


def study(sensitive=True, **how) -> Study:
    parts = {"options": ["x", "y"], "tailoring": None, "model": None, "reference": None} | how
    return Study(
        Baseline("race", levels=["b", "w"], sensitive=sensitive), Baseline("age"), Decision("a", ["p", "q"]), Response("r", Bernoulli()),
        Decision("b", parts["options"], tailoring=parts["tailoring"]), Response("u", Normal(), model=parts["model"]),
        utility="u", reference=parts["reference"],
    )


def test_models_and_rules_do_not_see_it_unless_asked():
    made, asked, without = study(), study("use"), Study(*study().timeline, utility="u")
    assert made.names == without.names and made.timeline == without.timeline and [b.name for b in made.audited] == ["race"]
    assert "race" in asked.names and asked.audited == ()
    assert set(made.priors("u")) == set(without.priors("u")) and made.embedded() == without.embedded()
    assert "neither models nor rules see it" in str(made) and str(made).count("race") == 1
    assert "because the study asks for it" in " ".join(str(asked).split()) and "race" in str(asked).split("Models")[1]


def test_it_comes_back_from_json_and_from_files_of_before():
    for made in (study(), study("use")):
        assert from_json(to_json(made)) == made
    assert from_json(to_json(study())) != Study(*study().timeline, utility="u")
    old = Study(*study().timeline, utility="u")
    text = to_json(old).replace(',"sensitive":false', "").replace(',"audited":[]', "")
    assert "sensitive" not in text and "audited" not in text and from_json(text) == old


@pytest.mark.parametrize("how", [
    {"options": {when(race="b"): ["x", "y"], when(race="w"): ["x"]}},
    {"tailoring": ["race"]},
    {"model": Hierarchical(covariates="age + C(race)")},
    {"model": Hierarchical(modifiers="race")},
    {"model": Saturated(over=["race", "a"])},
    {"reference": {"a": {when(race="b"): "p", when(race="w"): "q"}, "b": "x"}},
])
def test_every_use_is_refused_with_the_way_to_ask(how):
    with pytest.raises(StudyError, match=r"'race', declared sensitive=True.*sensitive='use'"):
        study(**how)
    study("use", **how)  # and then it is a covariate like any other


def test_declarations_that_say_two_things():
    with pytest.raises(StudyError, match="got 'used'; did you mean 'use'"):
        Baseline("race", sensitive="used")
    with pytest.raises(StudyError, match="missing= does not apply"):
        Baseline("race", sensitive=True, missing="model")
    Baseline("race", levels=["b", "w"], sensitive="use", missing="model")
    with pytest.raises(StudyError, match="comes after a decision"):
        Study(Decision("a", ["p", "q"]), Baseline("race", sensitive=True), Response("u", Normal()), utility="u")
    with pytest.raises(StudyError, match="'race' is used twice"):
        Study(Baseline("race", sensitive=True), Baseline("race"), Decision("a", ["p", "q"]), Response("u", Normal()), utility="u")
    with pytest.raises(StudyError, match="not part of the timeline"):
        Study(Baseline("race", sensitive=True), Decision("a", ["p", "q"]), Response("u", Normal()), utility="u", cluster="race")
