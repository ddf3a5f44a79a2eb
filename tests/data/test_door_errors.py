"""Every error of the door, by the value its message shows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from bayesdtr.data import read, read_new
from bayesdtr.errors import BayesDTRError, DataError
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Response, Study, at_least, below, when

ABSENT = object()

CASES = [
    # column, row (None: whole column), value, pattern
    ("severity", None, ABSENT, r"no column 'severity'; columns: 'pid', 'site', .*"),
    ("pid", None, ABSENT, r"no column 'pid' \(identifiers\)"),
    ("site", None, ABSENT, r"no column 'site' \(clusters\)"),
    ("first", 1, "Therapy",
     r"Column 'first': 'Therapy' is not one of its options \(patient 'b'\); allowed: 'medication', 'therapy'; did you mean 'therapy'\?"),
    ("first", None, [0, 1, 0, 1, 0, 1],
     r"Column 'first': 0 is not one of its options \(patients 'a', 'c', 'e'\); allowed: .*labels \(text\), not codes"),
    ("first", None, [0.0, 1.0, 0.0, 1.0, 0.0, None], r"Column 'first': 0.0 is not one of its options"),
    ("first", None, [True, False, True, False, True, False], r"Column 'first': True is not one of its options"),
    ("second", 3, "switch", r"Column 'second': 'switch' is not feasible under improved = 1 \(patient 'd'\); feasible there: 'continue'"),
    ("second", 0, "continue", r"'continue' is not feasible under improved = 0 \(patient 'a'\); feasible there: 'augment', 'switch'"),
    ("second", 1, None, r"Column 'second': the decision is missing \(patient 'b'\) although 'drop'.*one of 'augment', 'switch'"),
    ("second", 1, "  ", r"Column 'second': the decision is missing \(patient 'b'\)"),
    ("first", 4, None, r"Column 'first': the decision is missing \(patient 'e'\) although 'improved'"),
    ("improved", 3, None, r"Column 'improved': the response is missing \(patient 'd'\) although 'second', which comes later"),
    ("improved", 2, None, r"Column 'improved': the response is missing \(patient 'c'\) although 'drop'"),
    ("improved", 0, 2, r"Column 'improved': 2 is not a value of a Bernoulli response \(patient 'a'\); allowed: 0, 1"),
    ("improved", 0, 0.5, r"Column 'improved': 0.5 is not a value of a Bernoulli response"),
    ("improved", None, ["no", "no", "yes", "yes", "no", "no"], r"Column 'improved': 'no' is not a number \(patients 'a', 'b', 'e', 'f'\)"),
    ("drop", None, ["1", "2", "3", "4", "5", "n/a"], r"Column 'drop': '1' is not a number \(patient 'a'\); this response holds numbers"),
    ("drop", 2, np.inf, r"Column 'drop': inf is not a finite number \(patient 'c'\)"),
    ("drop", 2, -np.inf, r"Column 'drop': -inf is not a finite number"),
    ("drop", None, [None] * 6, r"Column 'drop': the response is not observed for any patient"),
    ("drop", None, [7.0] * 6, r"Column 'drop': the response is 7 for all 6 patients"),
    ("severity", None, [7.0] * 6, r"Column 'severity': the baseline covariate is 7 for all 6 patients.*scales=\{'severity'"),
    ("severity", 1, None,
     r"Column 'severity': the baseline covariate is missing \(patient 'b'\); enter it, declare it as Baseline\('severity', missing='model'\)"),
    ("severity", 1, np.nan, r"Column 'severity': the baseline covariate is missing \(patient 'b'\)"),
    ("severity", 1, np.inf, r"Column 'severity': inf is not a finite number \(patient 'b'\)"),
    ("severity", None, list("123456"), r"Column 'severity': '1' is not a number.*a numeric baseline covariate holds numbers"),
    ("sex", 0, "femal", r"Column 'sex': 'femal' is not one of its levels \(patient 'a'\); allowed: 'female', 'male'; did you mean 'female'\?"),
    ("sex", 0, None, r"Column 'sex': the baseline covariate is missing \(patient 'a'\)"),
    ("pid", 1, "a", r"Column 'pid': the patient identifier 'a' is used twice \(rows 1, 2\)"),
    ("pid", 1, None, r"Column 'pid': the patient identifier is missing \(row 2\)"),
    ("site", 1, None, r"Column 'site': the cluster is missing \(patient 'b'\)"),
    ("site", 1, "(new)", r"Column 'site': '\(new\)' \(patient 'b'\) stands for a cluster never seen"),
    ("second", None, ["augment", "augment", None, None, "augment", "augment"],
     r"Column 'second': option 'switch' was never received, though it was feasible for 4 patients; received: 'augment', 'continue'"),
    ("first", None, ["therapy"] * 6, r"option 'medication' was never received, though it was feasible for 6 patients"),
]


def changed(table, column, row, value):
    table = {name: list(values) for name, values in table.items()}
    if value is ABSENT:
        del table[column]
    elif row is None:
        table[column] = value
    else:
        table[column][row] = value
    return table


@pytest.mark.parametrize(("column", "row", "value", "pattern"), CASES)
def test_refused(make, study, table, column, row, value, pattern):
    frame = make(changed(table, column, row, value))
    with pytest.raises(DataError, match=pattern) as caught:
        read(study, frame)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, BayesDTRError)
    assert "\n" not in str(caught.value)


def test_missing_column_suggests(make, study, table):
    table["Severity"] = table.pop("severity")
    with pytest.raises(DataError, match=r"no column 'severity'; columns: .*did you mean 'Severity'\?"):
        read(study, make(table))


def test_no_rows(make, study, table):
    with pytest.raises(DataError, match="no rows"):
        read(study, make({name: [] for name in table}))


def test_repeated_column_names(study, table):
    frame = pd.DataFrame(table)
    frame = pd.concat([frame, frame[["drop"]]], axis=1)
    with pytest.raises(DataError, match=r"column names 'drop' more than once"):
        read(study, frame)


def test_lazy_frame(study, table):
    with pytest.raises(DataError, match=r"lazy frame \(polars.*LazyFrame\); call \.collect\(\)"):
        read(study, pl.LazyFrame(table))


@pytest.mark.parametrize(("thing", "name"), [
    ({"a": [1]}, "dict"), (None, "NoneType"), (np.zeros((2, 2)), "ndarray"), (pd.Series([1]), "Series"), (3, "int"),
])
def test_no_frame(study, thing, name):
    with pytest.raises(DataError, match=f"must be a data frame .* got {name}"):
        read(study, thing)


def test_rows_are_named_by_number_without_an_id_column(make, table):
    plain = Study(Decision("first", ["medication", "therapy"]), Response("drop", Normal()), utility="drop")
    table["first"] = ["x"] * 6
    with pytest.raises(DataError, match=r"\(rows 1, 2, 3, 4, 5 and 1 more\)"):
        read(plain, make(table))


# ---- probabilities of assignment -----------------------------------------------------------------


@pytest.fixture
def weighted(study):
    parts = [Decision("first", ["medication", "therapy"], probability="p1") if node.name == "first" else node for node in study.timeline]
    return Study(*parts, utility="drop", cluster="site", id="pid")


@pytest.mark.parametrize(("p", "pattern"), [
    (None, r"no column 'p1' \(probabilities of decision 'first'\)"),
    ([0.5, 0, 0.5, 0.5, 0.5, 0.5], r"Column 'p1': 0 is no probability \(patient 'b'\); .*received at 'first'"),
    ([0.5, 0.5, 1.5, 0.5, 0.5, -1], r"Column 'p1': 1.5 is no probability \(patients 'c', 'f'\)"),
    ([0.5, 0.5, 0.5, None, 0.5, 0.5], r"Column 'p1': the probability is missing \(patient 'd'\)"),
    (["half"] * 6, r"Column 'p1': 'half' is not a number"),
])
def test_probability_column(make, weighted, table, p, pattern):
    if p is not None:
        table["p1"] = p
    with pytest.raises(DataError, match=pattern):
        read(weighted, make(table))


def test_probability_of_a_decision_not_made_may_be_empty(make, weighted, table):
    table |= {"p1": [0.3, 0.7, 0.5, 0.4, 1.0, None]}
    for name in ("first", "improved", "second", "drop"):
        table[name][5] = None
    assigned = read(weighted, make(table)).assignment["first"]
    np.testing.assert_array_equal(assigned, [0.3, 0.7, 0.5, 0.4, 1.0, np.nan])


# ---- conditions that only the data can contradict ----------------------------------------------


def many_thresholds(extra):
    """Conditions on so many variables that the declaration leaves the check to the door."""
    names = [f"x{i}" for i in range(12)]
    cuts = {name: at_least(-1e9 + i) for i, name in enumerate(names)}
    return Study(
        *(Baseline(name) for name in names),
        Decision("arm", {when(**cuts): ["a", "b"], extra: ["c", "d"]}),
        Response("y", Normal()), utility="y",
    )


def wide(rows):
    rng = np.random.default_rng(0)
    return {f"x{i}": rng.normal(size=rows).tolist() for i in range(12)} | {"arm": ["a", "b"] * (rows // 2), "y": rng.normal(size=rows).tolist()}


def test_overlapping_conditions_at_the_door(make):
    with pytest.raises(DataError, match=r"Decision 'arm': more than one of its conditions holds for x0 = .*\(row"):
        read(many_thresholds(when(x0=at_least(0))), make(wide(20)))


def test_gap_between_conditions_at_the_door(make):
    table = wide(20)
    table["x3"][7] = -2e9
    with pytest.raises(DataError, match=r"Decision 'arm': none of its conditions holds for x0 = .*x3 = -2e\+09.*\(row 8\)"):
        read(many_thresholds(when(x0=below(-1e9))), make(table))


# ---- a declared scale, a user's model --------------------------------------------------------------


def my_model(history):
    """Stands for a PyMC model; the door calls nothing."""


def test_declared_scale_exempts_a_constant_covariate_only(make):
    one = Study(Baseline("x"), Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y", scales={"x": 2.0, "y": 1.0})
    columns = {"x": [3.0, 3.0], "arm": ["a", "b"], "y": [0.0, 1.0]}
    assert read(one, make(columns)).n == 2
    with pytest.raises(DataError, match="Column 'y': the response is 1 for all 2 patients"):
        read(one, make(columns | {"y": [1.0, 1.0]}))


def test_a_users_model_may_be_constant(make):
    free = Study(Decision("arm", ["a", "b"]), Response("y", model=my_model), utility="y")
    assert read(free, make({"arm": ["a", "b"], "y": [1, 1]})).n == 2


def test_option_that_nobody_could_receive_is_no_error(make):
    two = Study(Decision("arm", ["a", "b"]), Response("r", Bernoulli()),
                Decision("next", {when(r=0): ["c", "d"], when(r=1): ["e", "f"]}), Response("y", Normal()), utility="y")
    columns = {"arm": ["a", "b", "a"], "r": [0, 0, 0], "next": ["c", "d", "c"], "y": [1.0, 2.0, 3.0]}
    assert read(two, make(columns)).n == 3


def test_read_new_refuses_what_cannot_have_arisen(make, study, table):
    table["second"][3] = "switch"
    with pytest.raises(DataError, match="'switch' is not feasible"):
        read_new(study, make(table))
