"""`Trajectories` as a value: read-only, sliced, stored and read back."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdtr.data import Trajectories, read, read_new
from bayesdtr.errors import FileError
from bayesdtr.study import Baseline, Decision, Normal, Response, Study


def equal(a, b):
    assert a.hash == b.hash and a.notes == b.notes and a.cluster_labels == b.cluster_labels and a.ids.tolist() == b.ids.tolist()
    for one, other in ((a.columns, b.columns), (a.assignment, b.assignment)):
        assert list(one) == list(other)
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])
    assert (a.cluster is None) == (b.cluster is None)
    if a.cluster is not None:
        np.testing.assert_array_equal(a.cluster, b.cluster)


@pytest.fixture
def trajectories(study, table):
    table["drop"][5] = None
    return read(study, pd.DataFrame(table))


def test_read_only(trajectories):
    for array in (trajectories.ids, trajectories.cluster, *trajectories.columns.values(), *trajectories.assignment.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(TypeError):
        trajectories.columns["first"] = np.zeros(6)
    with pytest.raises(dataclasses.FrozenInstanceError):
        trajectories.hash = ""


def test_making_one_leaves_the_callers_arrays_writeable():
    mine = np.array([0.0, 1.0])
    made = Trajectories.of(["1", "2"], {"y": mine})
    mine[0] = 5
    assert made.columns["y"].tolist() == [0.0, 1.0]


def test_history_and_observed(trajectories):
    assert list(trajectories.history(["first", "drop"])) == ["first", "drop"]
    assert trajectories.history(["first"], [1, 3, 5])["first"].tolist() == [1, 1, 1]
    assert trajectories.history(["first"], trajectories.columns["improved"] == 1)["first"].tolist() == [0, 1]
    assert trajectories.observed("drop").tolist() == [True] * 5 + [False]
    assert trajectories.observed("second").all() and trajectories.observed("sex").all()


def test_subset(trajectories):
    some = trajectories.subset([4, 0])
    assert some.ids.tolist() == ["e", "a"] and some.n == 2 and some.notes == ()
    assert some.columns["severity"].tolist() == [5.5, 1.5] and some.cluster.tolist() == [0, 0]
    assert some.assignment["second"].tolist() == [0.5, 0.5] and some.hash != trajectories.hash
    mask = np.array([True, False, False, False, True, False])
    equal(trajectories.subset(mask), trajectories.subset([0, 4]))
    assert trajectories.subset(np.arange(6)).hash == trajectories.hash


def test_dataset_round_trip(study, trajectories):
    ds = trajectories.to_dataset(study)
    assert set(ds.sizes) == {"patient"} and ds["patient"].values.tolist() == list("abcdef")
    assert ds["first"].attrs["labels"] == '["medication", "therapy"]' and ds["first"].dtype == np.int64
    equal(Trajectories.from_dataset(study, ds), trajectories)


def test_netcdf_round_trip(study, trajectories, tmp_path):
    trajectories.to_dataset(study).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as ds:
        equal(Trajectories.from_dataset(study, ds), trajectories)


def test_columns_named_like_dimensions(tmp_path):
    awkward = Study(Baseline("patient"), Baseline("cluster", levels=["ä", "ö"]), Decision("arm", ["a", "b"]), Response("größe", Normal()),
                    utility="größe", cluster="site")
    made = read(awkward, pd.DataFrame({"patient": [1.0, 2.0], "cluster": ["ö", "ä"], "arm": ["a", "b"], "größe": [1.0, 2.0], "site": ["é", "z"]}))
    made.to_dataset(awkward).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as ds:
        equal(Trajectories.from_dataset(awkward, ds), made)


def test_a_foreign_or_altered_dataset(study, trajectories):
    ds = trajectories.to_dataset(study)
    with pytest.raises(FileError, match="lack 'second'"):
        Trajectories.from_dataset(study, ds.drop_vars("second"))
    other = ds.copy(deep=True)
    other["drop"][0] = 99.0
    with pytest.raises(FileError, match="do not match their hash"):
        Trajectories.from_dataset(study, other)
    parts = [Decision("first", ["therapy", "medication"]) if n.name == "first" else n for n in study.timeline]
    with pytest.raises(FileError, match=r"label 'first' by \['medication', 'therapy'\], the study by \['therapy', 'medication'\]"):
        Trajectories.from_dataset(Study(*parts, utility="drop", cluster="site", id="pid"), ds)


numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)
SMALL = Study(Baseline("x"), Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y", id="who")


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.tuples(numbers, st.sampled_from(["a", "b"]), numbers | st.none()), min_size=1, max_size=8))
def test_any_trajectories_survive_a_dataset(rows):
    frame = pd.DataFrame([(k, *v) for k, v in rows.items()], columns=["who", "x", "arm", "y"])
    made = read_new(SMALL, frame)
    equal(Trajectories.from_dataset(SMALL, made.to_dataset(SMALL)), made)
