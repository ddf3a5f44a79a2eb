"""What may be missing where the study says so: admitted, counted and told; refused everywhere else."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr.data import cell_counts, due, gaps, read, read_new
from bayesdtr.errors import DataError, StudyError
from bayesdtr.study import (
    Baseline,
    Bernoulli,
    Categorical,
    Decision,
    Normal,
    Poisson,
    Prior,
    Response,
    Study,
    at_least,
    below,
    from_json,
    to_json,
    when,
)
from bayesdtr.study.missing import covariate_priors, covariate_study


@pytest.fixture
def lenient() -> Study:
    """Covariates and the tailoring variable may be missing; "b" is offered after either value, with other company."""
    return Study(
        Baseline("severity", missing="model"), Baseline("sex", levels=["female", "male"], missing="model"), Baseline("age"),
        Decision("first", ["a", "b"]),
        Response("improved", Bernoulli(), missing="model"),
        Decision("second", {when(improved=0): ["a", "b", "c"], when(improved=1): ["b", "stay"]}),
        Response("drop", Normal()),
        utility="drop", id="pid",
    )


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({
        "pid": list("uvwxyz"), "severity": [1.0, None, 3.0, None, 5.0, 6.0], "sex": ["female", "male", None, "male", "female", "male"],
        "age": [40.0, 50, 60, 70, 80, 90], "first": ["a", "b", "a", "b", "a", "b"], "improved": [0, None, None, 1, None, 0],
        "second": ["a", "stay", "b", "b", "c", None], "drop": [1.0, 2.0, 3.0, 4.0, None, None],
    })


def test_admitted_and_told(lenient, frame):
    got = read(lenient, frame)
    found = {name: np.flatnonzero(lost).tolist() for name, lost in gaps(lenient, got.columns).items()}
    assert found == {"severity": [1, 3], "sex": [2], "improved": [1, 2, 4]}
    assert np.isnan(got.columns["severity"][[1, 3]]).all() and got.columns["sex"][2] == -1 and np.isnan(got.columns["improved"][[1, 2, 4]]).all()
    assert got.notes[0].startswith("'severity': missing for 2 of 6 patients (patients 'v', 'x'); drawn from its model")
    assert got.notes[2].startswith("'improved': missing for 3 of 6 patients")
    assert "Counts by cell" in got.notes[3]
    assert got.notes[4] == "2 patients have not been followed to the end: 1 before decision 'second', 1 before response 'drop'."
    assert "missing at random" in got.notes[5]
    # The option received is open after either value, so its probability is not known; one that rests on one value only neither.
    np.testing.assert_array_equal(got.assignment["second"], [1 / 3, np.nan, np.nan, 1 / 2, np.nan, np.nan])


def test_a_response_with_nothing_after_it_is_no_gap(lenient, frame):
    frame.loc[5, "improved"] = None
    assert 5 not in np.flatnonzero(gaps(lenient, read(lenient, frame).columns)["improved"])


def test_options_no_value_would_allow_and_decisions_not_made_are_refused(lenient, frame):
    frame["second"] = ["a", "stay", "b", "b", None, None]
    frame.loc[4, "drop"] = 5.0
    with pytest.raises(DataError, match=r"'second': the decision is missing \(patient 'y'\).*option received, one of 'a', 'b', 'c', 'stay'"):
        read(lenient, frame)
    two = Study(
        Baseline("score", missing="model"), Baseline("age"),
        Decision("arm", {when(score=at_least(3), age=below(65)): ["p"], when(score=below(3), age=below(65)): ["q"],
                         when(age=at_least(65)): ["r", "s"]}),
        Response("y", Normal()), utility="y",
    )
    data = pd.DataFrame({"score": [1.0, 5.0, None, None, 4.0, 2.0], "age": [50.0, 40, 45, 70, 80, 66], "arm": ["q", "p", "p", "r", "s", "r"],
                         "y": [1.0, 2, 3, 4, 5, 6]})
    assert read(two, data).n == 6
    with pytest.raises(DataError, match=r"'arm': 'r' is not feasible \(row 3\); feasible there: 'p', 'q'"):
        read(two, data.assign(arm=["q", "p", "r", "r", "s", "r"]))


def test_a_forced_option_is_filled_in_where_no_value_would_leave_a_choice(frame):
    study = Study(
        Baseline("age"), Decision("first", ["a", "b"]), Response("improved", Bernoulli(), missing="model"),
        Decision("second", {when(first="a"): ["stay"], when(first="b", improved=0): ["stay"], when(first="b", improved=1): ["stay", "go"]}),
        Response("drop", Normal()), utility="drop",
    )
    data = frame.assign(improved=[0, 0, None, 1, 1, 1], second=["stay", "stay", None, "go", "stay", "go"], drop=[1.0, 2, 3, 4, 5, 6])
    got = read(study, data)
    assert got.columns["second"][2] == 0 and "1 empty entry was filled in" in got.notes[0]


def test_counts_leave_out_cells_that_are_not_known(lenient, frame):
    table = {(c.decision, c.label): dict(zip(c.options, c.counts, strict=True)) for c in cell_counts(lenient, read(lenient, frame))}
    assert table["second", "first = a, improved = 0"] == {"a": 1, "b": 0, "c": 0}
    assert table["second", "first = b, improved = 1"] == {"b": 1, "stay": 0}
    assert sum(sum(counts.values()) for (d, _), counts in table.items() if d == "second") == 2


def test_a_recommendation_needs_what_it_looks_at(lenient, frame):
    with pytest.raises(DataError, match=r"Column 'severity': missing \(patients 'v', 'x'\); a recommendation looks at it: enter it"):
        read_new(lenient, frame[["pid", "severity", "sex", "age"]])
    whole = frame.loc[[0, 5]]
    assert due(lenient, read_new(lenient, whole)).tolist() == [2, 1]


def test_missing_for_everybody(lenient, frame):
    with pytest.raises(DataError, match="'severity': the baseline covariate is not observed for any patient"):
        read(lenient, frame.assign(severity=None))
    with pytest.raises(DataError, match="'sex': missing for all 6 patients"):
        read(lenient, frame.assign(sex=None))


DECLARED = [
    (lambda: Baseline("x", missing="impute"), r"Baseline 'x': missing is 'refuse', 'model' or, for a number, a family.*got 'impute'"),
    (lambda: Baseline("x", missing="modle"), r"did you mean 'model'"),
    (lambda: Baseline("x", missing=True), r"got True"),
    (lambda: Baseline("x", missing=Normal), r"write Normal\(\) with brackets"),
    (lambda: Baseline("x", levels=["a", "b"], missing=Normal()), r"labelled covariates take missing='model'"),
    (lambda: Baseline("x", missing=Categorical(["a", "b"])), r"numbers a family of numbers"),
    (lambda: Baseline("x", missing=Poisson(exposure="days")), r"needs further columns"),
    (lambda: Response("y", Normal(), missing="yes"), r"Response 'y': missing is 'refuse' or 'model'.*got 'yes'"),
    (lambda: Response("y", Poisson(exposure="days"), missing="model"), r"not for a response with further columns \('days'\)"),
]


@pytest.mark.parametrize(("make", "pattern"), DECLARED)
def test_declarations_that_make_no_sense(make, pattern):
    with pytest.raises(StudyError, match=pattern):
        make()


def test_covariates_are_factored_those_always_observed_first(lenient):
    first, second = covariate_study(lenient, "severity"), covariate_study(lenient, "sex")
    assert [b.name for b in first.baselines] == ["age"] and [b.name for b in second.baselines] == ["age", "severity"]
    assert first["severity"].family == Normal() and second["sex"].family == Categorical(["female", "male"])
    assert list(covariate_priors(lenient, "severity")) == ["intercept", "beta", "sigma"]
    alone = Study(Baseline("x", missing="model"), Decision("a", ["p", "q"]), Response("y", Normal()), utility="y")
    assert list(covariate_priors(alone, "x")) == ["intercept", "sigma"]
    assert from_json(to_json(lenient)) == lenient
    text = str(lenient)
    for line in ("severity ~ Normal(eta, sigma) (a covariate, for its missing values)", "sex.intercept", "missing values are drawn from its model"):
        assert line in text
    assert Prior("Normal", loc=0, scale=2.5) == covariate_priors(lenient, "severity")["intercept"].prior
