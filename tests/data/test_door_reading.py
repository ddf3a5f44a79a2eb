"""What the door lets in: the same trajectories whatever the library, and nothing of the caller's changed."""

import copy
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storages import VARIANTS

from bayesdtr.data import backend, due, like, read, read_new
from bayesdtr.errors import DataError
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Response, Study, when


def same(a, b):
    assert a.hash == b.hash
    np.testing.assert_array_equal(a.ids, b.ids)
    assert list(a.columns) == list(b.columns) and a.cluster_labels == b.cluster_labels and a.notes == b.notes
    for name in a.columns:
        assert a.columns[name].dtype == b.columns[name].dtype
        np.testing.assert_array_equal(a.columns[name], b.columns[name])
    for name in a.assignment:
        np.testing.assert_array_equal(a.assignment[name], b.assignment[name])
    np.testing.assert_array_equal(a.cluster, b.cluster)


def test_codes_and_numbers(make, study, table):
    got = read(study, make(table))
    assert got.n == 6 and got.ids.tolist() == list("abcdef") and got.ids.dtype.kind == "U"
    assert list(got.columns) == list(study.names)
    assert got.columns["first"].dtype == np.int64 and got.columns["first"].tolist() == [0, 1, 0, 1, 0, 1]
    assert got.columns["sex"].dtype == np.int64 and got.columns["sex"].tolist() == [0, 1, 1, 0, 1, 0]
    assert got.columns["improved"].dtype == np.float64 and got.columns["improved"].tolist() == [0, 0, 1, 1, 0, 0]
    assert got.cluster.tolist() == [0, 0, 1, 1, 0, 1] and got.cluster_labels == ("x", "y")
    assert got.assignment["first"].tolist() == [0.5] * 6
    assert got.assignment["second"].tolist() == [0.5, 0.5, 1, 1, 0.5, 0.5]


def test_a_single_option_is_filled_in_and_noted(make, study, table):
    got = read(study, make(table))
    assert got.columns["second"].tolist() == [0, 1, 2, 2, 1, 0]
    assert got.notes == ("'second': 1 empty entry was filled in with the only feasible option.",)


def test_patients_still_on_study_contribute_what_is_known(make, study, table):
    for name, rows in {"drop": (0, 1, 2), "second": (1, 2), "improved": ()}.items():
        for row in rows:
            table[name][row] = None
    got = read(study, make(table))
    assert got.columns["second"].tolist() == [0, -1, -1, 2, 1, 0]  # the third patient's only option is not due until something follows it
    assert np.isnan(got.columns["drop"][:3]).all()
    waiting, assumed = got.notes
    assert waiting == "3 patients have not been followed to the end: 2 before decision 'second', 1 before response 'drop'."
    assert "These patients count with what was observed" in assumed and "missing at random" in assumed
    np.testing.assert_array_equal(got.assignment["second"], [0.5, np.nan, np.nan, 1, 0.5, 0.5])
    assert due(study, got).tolist() == [2, 1, 1, 2, 2, 2]


def test_row_numbers_without_an_id_column_and_no_cluster(make):
    plain = Study(Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y")
    got = read(plain, make({"arm": ["a", "b", "b"], "y": [1, 2, 4]}))
    assert got.ids.tolist() == ["1", "2", "3"] and got.cluster is None and got.cluster_labels == ()


def test_declared_and_observed_assignment(make):
    parts = lambda **how: Study(Decision("arm", ["a", "b"], **how), Response("y", Normal()), utility="y")  # noqa: E731
    frame = make({"arm": ["a", "b", None], "y": [1.0, 2.0, None]})
    np.testing.assert_array_equal(read(parts(probability={"a": 0.75, "b": 0.25}), frame).assignment["arm"], [0.75, 0.25, np.nan])
    np.testing.assert_array_equal(read(parts(assigned="observed"), frame).assignment["arm"], [np.nan] * 3)


def test_numbers_as_labels_are_taken_where_a_label_spells_them(make):
    doses = Study(Decision("dose", ["0", "10"]), Response("y", Normal()), utility="y")
    for given_labels in ([0, 10, None], [0.0, 10.0, None], ["0", "10", None]):
        assert read(doses, make({"dose": given_labels, "y": [1.0, 2.0, None]})).columns["dose"].tolist() == [0, 1, -1]


def test_clusters_sort_numbers_as_numbers_and_follow_given_labels(make, study, table):
    table["site"] = [10, 10, 2, 2, 10, 2]
    assert read(study, make(table)).cluster_labels == ("2", "10")
    got = read(study, make(table), cluster_labels=("10", "2", "7"))
    assert got.cluster.tolist() == [0, 0, 1, 1, 0, 1] and got.cluster_labels == ("10", "2", "7")
    with pytest.raises(DataError, match=r"Column 'site': '2' is not a known cluster \(patients 'c', 'd', 'f'\); known: '10'"):
        read(study, make(table), cluster_labels=("10",))


# ---- the same whatever the library -------------------------------------------------------------


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_storage_gives_the_same_trajectories(study, table, variant):
    table["drop"][5] = None
    table["improved"] = [bool(v) for v in table["improved"]]
    reference = read(study, pd.DataFrame(table))
    same(read(study, VARIANTS[variant](table)), reference)


def test_integer_ids_and_clusters_stored_as_floats(study, table):
    table["pid"], table["site"] = [1, 2, 3, 4, 5, 6], [3, 3, 4, 4, 3, 4]
    frame = pd.DataFrame(table)
    same(read(study, frame), read(study, frame.astype({"pid": float, "site": float})))
    assert read(study, frame).ids.tolist() == list("123456")


def test_decimals_numpy_scalars_and_negative_zero(study, table):
    plain = read(study, pd.DataFrame(table | {"drop": [0.0, 2.0, 3.0, 4.0, 5.0, 6.5]}))
    odd = [-0.0, Decimal(2), np.float32(3), np.int8(4), np.float64(5), Decimal("6.5")]
    same(read(study, pd.DataFrame(table | {"drop": pd.Series(odd, dtype=object)})), plain)


def test_hash_ignores_unused_columns_and_their_order_but_no_value(make, study, table):
    reference = read(study, make(table)).hash
    assert read(study, make({"extra": list(range(6))} | dict(reversed(table.items())))).hash == reference
    table["drop"][0] += 1e-12
    assert read(study, make(table)).hash != reference


def test_hash_depends_on_ids_and_clusters(make, study, table):
    hashes = {read(study, make(table)).hash}
    hashes.add(read(study, make(table | {"pid": list("abcdeg")})).hash)
    hashes.add(read(study, make(table | {"site": ["x", "x", "y", "y", "y", "y"]})).hash)
    hashes.add(read(study, make(table | {"site": ["x", "x", "z", "z", "x", "z"]})).hash)
    assert len(hashes) == 4


def test_the_callers_frame_is_not_changed(study, table):
    panda = pd.DataFrame(table, index=list("zyxwvu"))
    polar, arrow = pl.DataFrame(table), pa.table(table)
    before = panda.copy(deep=True), polar.clone(), copy.deepcopy(arrow.to_pydict())
    for frame in (panda, polar, arrow):
        read(study, frame)
        read_new(study, frame)
    pd.testing.assert_frame_equal(panda, before[0])
    assert panda.index.tolist() == list("zyxwvu")
    assert polar.equals(before[1]) and polar.schema == before[1].schema
    assert arrow.to_pydict() == before[2]


# ---- any table ------------------------------------------------------------------------------------

TWO_STAGES = Study(
    Baseline("age"),
    Decision("first", ["a", "b"]),
    Response("r", Bernoulli()),
    Decision("second", {when(r=0): ["c", "d"], when(r=1): ["stay"]}),
    Response("y", Normal()),
    utility="y",
)


@st.composite
def patient(draw):
    """One history, cut off anywhere."""
    number = st.floats(-1e6, 1e6, allow_nan=False)
    r = draw(st.integers(0, 1))
    row = {"age": draw(number), "first": draw(st.sampled_from(["a", "b"])), "r": float(r),
           "second": "stay" if r else draw(st.sampled_from(["c", "d"])), "y": draw(number)}
    end = draw(st.integers(1, 5))
    return {name: value if i < end else None for i, (name, value) in enumerate(row.items())}


@settings(max_examples=40, deadline=None)
@given(st.lists(patient(), min_size=1, max_size=12), st.randoms())
def test_any_cut_of_the_timeline_reads_alike_everywhere(rows, random):
    columns = {name: [row[name] for row in rows] for name in TWO_STAGES.names}
    texts, floats = pl.String, pl.Float64
    types = {"age": floats, "first": texts, "r": floats, "second": texts, "y": floats}
    polar = pl.DataFrame(columns, schema=types)
    results = [read_new(TWO_STAGES, frame) for frame in (polar, polar.to_pandas(), polar.to_arrow())]
    assert len({r.hash for r in results}) == 1
    for i, position in enumerate(due(TWO_STAGES, results[0]) if all(row["first"] is None or row["r"] is not None for row in rows) else []):
        expected = 0 if rows[i]["first"] is None else 1 if rows[i]["second"] is None else 2
        assert position == expected
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = read_new(TWO_STAGES, polar[order])
    for name in TWO_STAGES.names:
        np.testing.assert_array_equal(shuffled.columns[name], results[0].columns[name][order])


# ---- frames out ----------------------------------------------------------------------------------


def test_like_gives_the_callers_kind(make, study, table):
    frame = make(table)
    ids = np.array(["a", "b"])
    values = np.array([1.5, 2.5])
    out = like(backend(frame), {"id": ids, "option": ["x", None], "value": values, "tie": np.array([True, False]), "k": np.array([1, 2])})
    assert type(out) is type(frame) and backend(out) == backend(frame)
    assert list(out.columns if not isinstance(out, pa.Table) else out.column_names) == ["id", "option", "value", "tie", "k"]
    again = like(frame, {"value": values})
    values[0] = 99
    assert again["value"].to_numpy().tolist() == [1.5, 2.5]
    assert type(again) is type(frame)
