"""`read_new` and `due`: any prefix of the timeline, unseen clusters, and histories that are torn."""

import numpy as np
import pytest

from bayesdtr.data import Trajectories, due, read_new
from bayesdtr.errors import DataError


def test_any_prefix(make, study):
    base = {"severity": [1.0, 1.0], "sex": ["male", "female"]}
    steps = [({}, [0, 0]), ({"first": ["therapy", None]}, None), ({"first": ["therapy", None], "improved": [0, None]}, [1, 0]),
             ({"first": ["therapy", None], "improved": [0, None], "second": ["switch", None]}, [2, 0])]
    for more, expected in steps:
        got = read_new(study, make(base | more))
        assert got.ids.tolist() == ["1", "2"]
        if expected is not None:
            assert due(study, got).tolist() == expected


def test_a_patient_who_waits_for_a_response_is_named(make, study):
    got = read_new(study, make({"pid": ["p", "q"], "severity": [1.0, 1.0], "sex": ["male", "female"], "first": ["therapy", None]}))
    with pytest.raises(DataError, match=r"No decision is due: 'improved' is not observed yet and decision 'second' follows it \(patient 'p'\)"):
        due(study, got)


def test_an_only_option_that_is_due_stays_open(make, study):
    got = read_new(study, make({"severity": [1.0], "sex": ["male"], "first": ["therapy"], "improved": [1]}))
    assert got.columns["second"].tolist() == [-1] and due(study, got).tolist() == [1]


def test_nothing_is_asked_about_variation_or_options(make, study):
    got = read_new(study, make({"severity": [3.0, 3.0], "sex": ["male"] * 2, "first": ["therapy"] * 2, "improved": [0, 0], "second": ["switch"] * 2}))
    assert due(study, got).tolist() == [2, 2] and got.notes == ()


@pytest.mark.parametrize(("site", "expected"), [(["x", "zzz", None], [1, 2, 2]), (None, [2, 2, 2]), (["(new)", "y", "x"], [2, 0, 1])])
def test_unseen_clusters(make, study, site, expected):
    columns = {"severity": [1.0, 2.0, 3.0], "sex": ["male"] * 3} | ({"site": site} if site else {})
    got = read_new(study, make(columns), cluster_labels=("y", "x"))
    assert got.cluster.tolist() == expected and got.cluster_labels == ("y", "x")


def test_baselines_are_needed(make, study):
    with pytest.raises(DataError, match="no column 'sex'"):
        read_new(study, make({"severity": [1.0]}))
    with pytest.raises(DataError, match=r"Column 'severity': the baseline covariate is missing \(row 1\)"):
        read_new(study, make({"severity": [None], "sex": ["male"]}))


def test_a_column_left_out_in_between(make, study):
    with pytest.raises(DataError, match=r"no column 'improved', which comes before 'second'; columns: .*did you mean 'improve'\?"):
        read_new(study, make({"severity": [1.0], "sex": ["male"], "first": ["therapy"], "improve": [0], "second": ["switch"]}))


def test_a_misspelled_last_column(make, study):
    with pytest.raises(DataError, match=r"no column 'improved'; did you mean 'Improved '\?"):
        read_new(study, make({"severity": [1.0], "sex": ["male"], "first": ["therapy"], "Improved ": [0]}))


def test_due_refuses_a_torn_history(study):
    columns = {"severity": np.zeros(2), "sex": np.zeros(2, dtype=int), "first": np.array([0, -1]), "improved": np.array([0.0, 1.0]),
               "second": np.array([-1, -1]), "drop": np.full(2, np.nan)}
    with pytest.raises(DataError, match=r"interrupted: 'first' is missing although 'improved' is known \(patient 'v'\)"):
        due(study, Trajectories.of(["u", "v"], columns))
