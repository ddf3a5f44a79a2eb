"""Times at the door: what is refused, with its reason, and what is said about who was censored."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr import Bernoulli, DataError, Decision, Normal, Response, RestrictedMean, Study, StudyError, Survival, SurvivalAt, Utility, when
from bayesdtr.data import fix_scales, read, read_new

STUDY = Study(
    Decision("a", ["p", "q"]), Response("t1", Survival(event="event1")), Response("responded", Bernoulli()),
    Decision("b", {when(responded=1): ["x", "y"], when(responded=0): []}), Response("t2", Survival("lognormal", event="died")),
    utility=RestrictedMean(["t1", "t2"], horizon=24),
)


def frame() -> pd.DataFrame:
    """A responder who dies, one who is censored, one not yet randomised again; a death; a censored first time; a death late."""
    return pd.DataFrame({
        "a": ["p", "q", "p", "q", "p", "q"], "t1": [1.0, 2.0, 1.5, 3.0, 4.0, 9.0], "event1": [1, 1, 1, 1, 0, 1],
        "responded": [1, 1, 1, 0, np.nan, 0], "b": ["x", "y", None, None, None, None],
        "t2": [5.0, 8.0] + [np.nan] * 4, "died": [1, 0] + [np.nan] * 4,
    })


def test_what_is_read():
    data = read(STUDY, frame())
    assert data.censored("t1").tolist() == [False] * 4 + [True, False]
    assert data.reached(STUDY, "b").tolist() == [True, True, True, False, False, False]
    assert data.finished(STUDY).tolist() == [True, False, False, True, False, True]
    notes = " ".join(data.notes)
    assert "'t1': 1 patient was right-censored" in notes and "'t2': 1 patient was right-censored" in notes
    assert "The course of 2 patients ended before decision 'b'." in notes
    assert "1 patient has not been followed to the end: 1 before decision 'b'." in notes
    scale = fix_scales(STUDY, data)["t1"]
    np.testing.assert_allclose(np.exp(scale.location), 20.5 / 5)  # person-time per event
    np.testing.assert_allclose(scale.sd, np.log1p(np.array([1, 2, 1.5, 3, 9]) / 4.1).std(ddof=1))


def test_a_stored_frame_comes_back():
    data = read(STUDY, frame())
    again = type(data).from_dataset(STUDY, data.to_dataset(STUDY))
    assert again.hash == data.hash and (again.censored("t2") == data.censored("t2")).all()


@pytest.mark.parametrize(("column", "row", "value", "message"), [
    ("t1", 0, 0.0, "'t1': 0 is not a value of a Survival response .* times above 0"),
    ("t1", 0, -1.0, "'t1': -1 is not a value of a Survival"),
    ("event1", 0, 2, "'event1': 2 cannot be the event of 't1' = 1 .* allowed: 1 .* and 0"),
    ("event1", 0, np.nan, "'event1': the event of 't1' is missing"),
    ("event1", 3, 0, "'t1': the time 3 is censored .* 'responded', which comes later, is observed"),
    ("b", 3, "x", "the course ends under responded = 0"),
])
def test_what_is_refused(column, row, value, message):
    table = frame()
    table.loc[row, column] = value
    with pytest.raises(DataError, match=message):
        read(STUDY, table)


def test_nobody_had_the_event():
    table = frame()
    table["died"] = [0, 0] + [np.nan] * 4
    with pytest.raises(DataError, match="'t2': all 2 patients are censored"):
        read(STUDY, table)


def test_the_column_of_events_is_needed():
    with pytest.raises(DataError, match=r"no column 'died' .*event of response 't2'"):
        read(STUDY, frame().drop(columns="died"))


def test_intervals():
    study = Study(Decision("a", ["p", "q"]), Response("t", Survival(upper="until")), utility=SurvivalAt("t", at=3))
    table = pd.DataFrame({"a": ["p", "q", "p", "q"], "t": [1.0, 2.0, 3.0, 4.0], "until": [2.0, 2.0, np.nan, np.inf]})
    data = read(study, table)
    assert data.censored("t").tolist() == [False, False, True, True]
    assert data.history(["t"])["t"].tolist() == [1.5, 2.0, 3.0, 4.0]  # the middle of an interval
    assert "1 time known up to an interval" in " ".join(data.notes)
    table.loc[0, "until"] = 0.5
    with pytest.raises(DataError, match=r"'until': 0.5 cannot be the upper of 't' = 1"):
        read(study, table)


def test_new_patients_need_no_events_but_a_censored_time_is_no_transition():
    data = read_new(STUDY, pd.DataFrame({"a": ["p"], "t1": [1.0], "responded": [1]}))
    assert data.reached(STUDY, "b").tolist() == [True]
    data = read_new(STUDY, pd.DataFrame({"a": ["p"], "t1": [1.0], "event1": [0]}))
    assert data.reached(STUDY, "b").tolist() == [False]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Survival("weibul"), "no distribution 'weibul'.*did you mean 'weibull'"),
    (lambda: Survival("piecewise"), "needs breaks"),
    (lambda: Survival("weibull", breaks=[1]), "breaks belong to 'piecewise'"),
    (lambda: Survival("piecewise", breaks=[3, 2]), "breaks must increase"),
    (lambda: Survival("piecewise", breaks=[0, 2]), "finite times above 0, got 0"),
    (lambda: Survival(event="e", upper="u"), "event= or upper=, not both"),
    (lambda: Survival(event=1), "event names a column"),
    (lambda: Survival(by=["a"]), "by belongs to 'piecewise'"),
    (lambda: RestrictedMean(["t"], horizon=0), "horizon must be a finite time above 0"),
    (lambda: SurvivalAt([], at=3), "takes the survival responses"),
    (lambda: Study(Decision("a", ["p", "q"]), Response("t", Survival()), utility="t"), "use RestrictedMean"),
    (lambda: Study(Decision("a", ["p", "q"]), Response("y", Normal()), utility=RestrictedMean("y", horizon=2)), "'y' is no time"),
    (lambda: Study(Decision("a", ["p", "q"]), Response("t", Survival()), utility=RestrictedMean("tt", horizon=2)), "did you mean 't'"),
    (lambda: Study(*STUDY.timeline, utility=RestrictedMean(["t2", "t1"], horizon=2)), "in the order of the timeline"),
    (lambda: Study(Decision("a", ["p", "q"]), Response("t", Survival(), model=lambda h: h), utility=SurvivalAt("t", at=1)), "nothing of censoring"),
    (lambda: Study(Decision("a", ["p", "q"]), Response("t", Survival("piecewise", breaks=[1], by=["b"])), utility=SurvivalAt("t", at=1)),
     "by names 'b'"),
])
def test_declarations_that_contradict_themselves(make, message):
    with pytest.raises(StudyError, match=message):
        make()


def test_a_utility_may_join_time_and_other_responses():
    utility = Utility({RestrictedMean(["t1", "t2"], horizon=24): 1.0, "responded": 2.0})
    study = Study(*STUDY.timeline, utility=utility)
    assert str(study.utility) == "2 responded + min(t1 + t2, 24)"
    assert study.lives("t2") and study.weight("responded") == 2.0
