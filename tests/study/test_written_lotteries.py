"""Lotteries as declarations: what they refuse, how they read, JSON and back."""

import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Lottery, Normal, Response, Study, StudyError, otherwise, when
from bayesdtr.reporting.words import rules_words
from bayesdtr.study import from_json, to_json, written


def study(**how) -> Study:
    return Study(
        Decision("first", ["medication", "therapy"]), Response("improved", Bernoulli()),
        Decision("second", {when(improved=0): ["augment", "switch"], when(improved=1): ["continue"]}), Response("drop", Normal()),
        utility="drop", **how,
    )


LOTS = {"first": Lottery({"medication": 0.7, "therapy": 0.3}), "second": {when(improved=0): Lottery({"augment": 0.25, "switch": 0.75})}}


@pytest.mark.parametrize(("chances", "said"), [
    ({}, "takes a mapping of options to probabilities"), (["a"], "takes a mapping"), ({"a": 0.5}, "add up to 0.5, not 1"),
    ({"a": 0.5, "b": 0.5 + 1e-6}, "add up to 1.000001, not 1"), ({"a": 0.0, "b": 1.0}, "'a' must lie in .0, 1., got 0.0; leave out"),
    ({"a": -0.1, "b": 1.1}, "'a' must lie in"), ({"a": float("nan"), "b": 1.0}, "got nan"), ({"a": True}, "got True"), ({"a": "1"}, "got '1'"),
    ({1: 1.0}, "options are labels, got 1"),
])
def test_what_is_no_lottery(chances, said):
    with pytest.raises(StudyError, match=said):
        Lottery(chances)


def test_probabilities_add_up_to_rounding():
    thirds = Lottery({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3 + 5e-10})
    assert thirds.among(("c", "a", "b", "d")).sum() == pytest.approx(1, abs=1e-15)
    assert thirds.among(("d", "a"))[0] == 0


def test_lotteries_name_what_is_feasible_where_they_are_drawn():
    s = study()
    cases = (
        ({"first": Lottery({"medication": 0.5, "herbs": 0.5}), "second": "augment"}, "'herbs' is not an option of 'first'; options"),
        ({"first": "medication", "second": {when(improved=0): Lottery({"augment": 0.5, "continue": 0.5})}},
         "at decision 'second' it names 'continue', which is not feasible, for first = medication, improved = 0"),
        ({"first": Lottery({"medication": 0.5, "therapy": 0.5}),
          "second": {when(first="medication"): "augment"}}, "it names no option for first = therapy, improved = 0"),
        ({"first": "medication", "second": {"when": Lottery({"augment": 1.0})}}, "keys for 'second' are conditions"),
    )
    for choices, said in cases:
        with pytest.raises(StudyError, match=said):
            written(s, choices)
    # Where the lottery never draws therapy, nothing needs to be named for it.
    assert written(s, {"first": Lottery({"medication": 1.0}), "second": {when(first="medication"): "augment"}}).stochastic


def test_a_lottery_names_no_single_option():
    s = study()
    rules = written(s, LOTS)
    with pytest.raises(StudyError, match=r"'first' this regime draws a lottery \(medication 70% or therapy 30%\)"):
        rules.option(s, "first", {"": np.zeros(1)})
    history = {"first": np.array([0, 1, 1]), "improved": np.array([0.0, 0.0, 1.0])}
    assert rules.chances(s, "second", history).tolist() == [[0.25, 0.75, 0], [0.25, 0.75, 0], [0, 0, 1]]


def test_they_read_as_written():
    s = study(reference=LOTS)
    assert s.reference.label == "medication 70% or therapy 30%; augment 25% or switch 75% if improved = 0"
    assert s.reference.lines() == ["first: medication 70% or therapy 30%", "second: if improved = 0, augment 25% or switch 75%"]
    text = str(s)
    assert "medication 70% or therapy 30%" in text and max(map(len, text.splitlines())) <= 100
    said = rules_words(s.reference)
    assert said == "medication 70 percent or therapy 30 percent, then augment 25 percent or switch 75 percent if improved is 0"


def test_json_and_back():
    s = study(reference=LOTS)
    again = from_json(to_json(s))
    assert again == s and again.reference.stochastic and hash(again.reference) == hash(s.reference)
    assert written(s, s.reference.by_decision) == s.reference


def test_as_assigned_needs_declared_probabilities():
    def with_first(**how) -> Study:
        return Study(Decision("first", ["a", "b"], **how), Response("y", Normal()), utility="y")

    with pytest.raises(StudyError, match=r"decision 'first' was observed, so nobody set probabilities; write the regime with Lottery.*at_random"):
        dtr.as_assigned(with_first(assigned="observed"))
    with pytest.raises(StudyError, match="'first' has its probabilities in column 'p', which no regime looks at"):
        dtr.as_assigned(with_first(probability="p"))
    assert dtr.as_assigned(study()) == dtr.at_random(study())
    assert dtr.as_assigned(study()).label == "medication 50% or therapy 50%; augment 50% or switch 50% if improved = 0"
    assert study(reference="as assigned").reference == dtr.as_assigned(study())
    for wrong, said in (("as asigned", "did you mean 'as assigned'"), (3, "or 'as assigned', got 3")):
        with pytest.raises(StudyError, match=said):
            study(reference=wrong)


def test_embedded_regimes_draw_nothing():
    assert not any(r.stochastic for r in study(reference=LOTS).embedded())


def test_otherwise_is_what_is_left():
    s = study()
    rules = written(s, {"first": "medication", "second": {when(first="therapy", improved=0): "switch", otherwise: "augment"}})
    history = {"first": np.array([0, 1, 1]), "improved": np.array([0.0, 0.0, 1.0])}
    assert [s["second"].options[c] for c in rules.option(s, "second", history)] == ["augment", "switch", "continue"]
    assert rules.label == "medication; switch if first = therapy and improved = 0, augment otherwise"
    assert rules.lines()[1:] == ["second: if first = therapy and improved = 0, switch", "second: otherwise, augment"]
    with pytest.raises(StudyError, match="at 'second' nothing after `otherwise` can apply; write it last"):
        written(s, {"first": "medication", "second": {otherwise: "augment", when(improved=0): "switch"}})
