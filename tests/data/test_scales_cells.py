"""Scales fixed from data, and the cell counts behind positivity."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr.data import CellCount, Trajectories, cell_counts, fix_scales, read, read_new
from bayesdtr.errors import DataError
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Scale, Study, at_least, below, when

CODIACS = Study(
    Decision("A1", ["medication", "therapy"], assigned="observed"),
    Response("O2", Bernoulli(), model=Saturated()),
    Decision("A2", ["stay", "switch"], assigned="observed"),
    Response("Y", Normal(), model=Saturated()),
    utility="Y",
)


def f(history):
    """Stands for a user's model."""


def test_mean_and_sd_of_observed_values(study, table):
    table["drop"][5] = None
    scales = fix_scales(study, read(study, pd.DataFrame(table)))
    assert list(scales) == ["severity", "drop"]
    assert scales["drop"] == Scale(3.0, float(np.std([1, 2, 3, 4, 5], ddof=1)))
    assert scales["severity"].location == pytest.approx(3.75) and scales["severity"].sd == pytest.approx(np.std(table["severity"], ddof=1))


def test_declared_scales_win():
    one = Study(Baseline("x"), Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y", scales={"x": (10, 2), "y": 3.0})
    data = read_new(one, pd.DataFrame({"x": [1.0], "arm": ["a"], "y": [5.0]}))
    assert fix_scales(one, data) == {"x": Scale(10, 2), "y": Scale(5, 3)}  # an SD alone is located at the observed mean


def test_a_scale_that_cannot_be_fixed():
    one = Study(Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y")
    with pytest.raises(DataError, match=r"scale of 'y' cannot be fixed from 1 observed value .*scales=\{'y'"):
        fix_scales(one, Trajectories.of(["1"], {"arm": np.array([0]), "y": np.array([1.0])}))


@pytest.mark.parametrize(("values", "scale"), [([2.0, 2.0], Scale(0, 1)), ([0.0, 1.0], Scale(0, 1)), ([np.nan] * 2, Scale(0, 1)),
                                               ([1.0, 3.0], Scale(2, float(np.sqrt(2))))])
def test_users_models(values, scale):
    free = Study(Decision("arm", ["a", "b"]), Response("y", model=f), utility="y")
    assert fix_scales(free, Trajectories.of(["1", "2"], {"arm": np.array([0, 1]), "y": np.array(values)})) == {"y": scale}


# ---- cells -----------------------------------------------------------------------------------------


def codiacs_like():
    """Cells of A1, O2, A2 with 1, 2, ... 8 patients, in the order of declaration."""
    rows = []
    for k, (a1, o2, a2) in enumerate(np.ndindex(2, 2, 2), 1):
        rows += [(("medication", "therapy")[a1], o2, ("stay", "switch")[a2], float(len(rows) + j)) for j in range(k)]
    return pd.DataFrame(rows, columns=["A1", "O2", "A2", "Y"])


def test_counts_of_a_two_stage_table():
    counts = cell_counts(CODIACS, read(CODIACS, codiacs_like()))
    assert counts[0] == CellCount("A1", (), "everyone", ("medication", "therapy"), (1 + 2 + 3 + 4, 5 + 6 + 7 + 8))
    assert [(c.label, c.counts) for c in counts[1:]] == [
        ("A1 = medication, O2 = 0", (1, 2)), ("A1 = medication, O2 = 1", (3, 4)), ("A1 = therapy, O2 = 0", (5, 6)), ("A1 = therapy, O2 = 1", (7, 8)),
    ]
    assert counts[2].cell == (("A1", "medication"), ("O2", "1")) and counts[2].options == ("stay", "switch")


def test_only_cells_with_a_choice_and_empty_cells_too(study, table):
    counts = cell_counts(study, read(study, pd.DataFrame(table)))
    assert [(c.decision, c.label, c.options, c.counts) for c in counts] == [
        ("first", "everyone", ("medication", "therapy"), (3, 3)),
        ("second", "first = medication, improved = 0", ("augment", "switch"), (1, 1)),
        ("second", "first = therapy, improved = 0", ("augment", "switch"), (1, 1)),
    ]
    start = read_new(study, pd.DataFrame({"severity": [1.0], "sex": ["male"]}))
    assert [c.counts for c in cell_counts(study, start)] == [(0, 0)] * 3


def test_a_condition_that_the_cells_leave_open():
    one = Study(Baseline("sbp"), Decision("drug", {when(sbp=at_least(140)): ["a", "b"], when(sbp=below(140)): ["none", "a"]}),
                Response("y", Normal()), utility="y")
    data = read(one, pd.DataFrame({"sbp": [150, 160, 120, 110, 139.9], "drug": ["a", "b", "none", "a", "a"], "y": [1.0, 2, 3, 4, 5]}))
    assert cell_counts(one, data) == [
        CellCount("drug", (("condition", "sbp >= 140"),), "sbp >= 140", ("a", "b"), (1, 1)),
        CellCount("drug", (("condition", "sbp < 140"),), "sbp < 140", ("none", "a"), (1, 2)),
    ]


def test_cells_that_cannot_arise_are_not_listed():
    """The first decision leaves no choice above the threshold, so its other option never precedes the second's strict branch."""
    two = Study(
        Baseline("x"),
        Decision("first", {when(x=at_least(0)): ["a"], when(x=below(0)): ["a", "b"]}),
        Response("r", Bernoulli()),
        Decision("second", {when(x=at_least(0)): ["c", "d"], when(x=below(0)): ["e", "f"]}),
        Response("y", Normal()), utility="y",
    )
    labels = [c.label for c in cell_counts(two, read_new(two, pd.DataFrame({"x": [1.0]})))]
    assert labels == [
        "x < 0", "first = a, r = 0, x >= 0", "first = a, r = 0, x < 0", "first = a, r = 1, x >= 0", "first = a, r = 1, x < 0",
        "first = b, r = 0, x < 0", "first = b, r = 1, x < 0",
    ]


def test_more_than_64_cells_lists_those_reached():
    names = [f"r{i}" for i in range(6)]
    many = Study(Decision("first", ["a", "b"]), *(Response(n, Bernoulli()) for n in names), Decision("second", ["c", "d"]),
                 Response("y", Normal()), utility="y")
    frame = pd.DataFrame({"first": ["a", "b"]} | {n: [0, 1] for n in names} | {"second": ["c", "d"], "y": [1.0, 2.0]})
    counts = cell_counts(many, read(many, frame))
    assert [c.counts for c in counts if c.decision == "second"] == [(1, 0), (0, 1)]


def test_codiacs(shared_data):
    raw = pd.read_csv(shared_data / "codiacs.csv")
    frame = pd.DataFrame({"A1": raw.A1.map({0: "medication", 1: "therapy"}), "O2": raw.O2, "A2": raw.A2.map({0: "stay", 1: "switch"}), "Y": raw.Y})
    data = read(CODIACS, frame)
    assert data.n == 108 and data.notes == ()
    second = {c.cell: c.counts for c in cell_counts(CODIACS, data) if c.decision == "A2"}
    for (a1, o2), group in frame.groupby(["A1", "O2"]):
        assert second[("A1", a1), ("O2", str(o2))] == tuple((o == group.A2).sum() for o in ("stay", "switch"))
    assert fix_scales(CODIACS, data)["Y"].location == pytest.approx(raw.Y.mean())
    with pytest.raises(DataError, match=r"Column 'A1': \d is not one of its options .*labels \(text\), not codes"):
        read(CODIACS, raw)


def test_ten_thousand_patients_are_read_at_once():
    import time

    rng = np.random.default_rng(0)
    n = 10_000
    frame = pd.DataFrame({"A1": rng.choice(["medication", "therapy"], n), "O2": rng.integers(0, 2, n), "A2": rng.choice(["stay", "switch"], n),
                          "Y": rng.normal(size=n)})
    start = time.process_time()
    cell_counts(CODIACS, read(CODIACS, frame))
    assert time.process_time() - start < 1
