"""Recommendations: kinds of frames, prefixes of the timeline, clusters, forced options; chunks and memory."""

import tracemalloc

import known
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, compare, fit, optimize, when

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


@pytest.mark.parametrize("columns", [["pid", "site", "age"], ["pid", "site", "age", "first", "improved"]])
@pytest.mark.parametrize("every_option", [False, True])
def test_pandas_polars_and_pyarrow_agree(clustered_regime, clustered_frame, columns, every_option):
    frame = clustered_frame[columns]
    answers = [clustered_regime.recommend(f, every_option=every_option) for f in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame))]
    assert [type(a) for a in answers] == [pd.DataFrame, pl.DataFrame, pa.Table]
    plain = [answers[0].to_dict("list"), answers[1].to_dict(as_series=False), answers[2].to_pydict()]
    assert plain[0] == plain[1] == plain[2]


def test_every_prefix_of_the_timeline(clustered_regime, clustered_frame):
    """Who is asked what: the decision due, nobody while a response is awaited, the single option where it is forced."""
    f = clustered_frame
    start = clustered_regime.recommend(f[["pid", "site", "age"]])
    assert set(start["decision"]) == {"first"} and start["pid"].tolist() == f["pid"].tolist()
    assert len(clustered_regime.recommend(f[["pid", "site", "age", "first"]])) == 0
    after = clustered_regime.recommend(f[["pid", "site", "age", "first", "improved"]])
    assert set(after["decision"]) == {"second"} and len(after) == len(f)
    improved = f["improved"].to_numpy() == 1
    assert (after["option"][improved] == "continue").all() and after["option"][~improved].isin(["augment", "switch", "wait"]).all()
    forced = after[improved]
    assert (forced["p_best"] == 1).all() and not forced["near_tie"].any() and not forced["mc_tie"].any()
    every = clustered_regime.recommend(f[["pid", "site", "age", "first", "improved"]], every_option=True)
    sizes = every.groupby("pid", sort=False).size().to_numpy()
    np.testing.assert_array_equal(sizes, np.where(improved, 1, 3))
    assert len(clustered_regime.recommend(f)) == 0  # everything observed: nothing is due
    mixed = f[["pid", "site", "age", "first", "improved"]].astype({"first": object, "improved": object})
    mixed.loc[:9, ["first", "improved"]] = None
    told = clustered_regime.recommend(mixed)
    assert told["decision"].tolist() == ["first"] * 10 + ["second"] * (len(f) - 10)
    joined = pd.concat([start[:10], after[10:]], ignore_index=True)
    pd.testing.assert_frame_equal(told, joined, check_exact=False, atol=1e-10)


def test_probabilities_and_regret_are_coherent(clustered_regime, clustered_frame):
    every = clustered_regime.recommend(clustered_frame[["pid", "site", "age"]], every_option=True)
    for _, rows in every.groupby("pid"):
        assert rows["recommended"].sum() == 1
        assert rows["p_best"].sum() == pytest.approx(1) and rows["p_starts_best"].sum() == pytest.approx(1)
        assert (rows["lower"] < rows["expected_utility"]).all() and (rows["expected_utility"] < rows["upper"]).all()
        assert rows.loc[rows["recommended"], "expected_utility"].item() == rows["expected_utility"].max()
        assert (rows["regret"] >= 0).all() and rows.loc[rows["recommended"], "regret"].item() == rows["regret"].min()


def test_clusters_seen_and_never_seen(clustered, clustered_regime):
    """A cluster never seen is integrated out, whatever it is called; its raw effects keep their Normal(0, 1) prior."""
    rows = pd.DataFrame({"pid": list("abcd"), "site": ["east", None, "north", "south"], "age": 60.0})
    told = clustered_regime.recommend(rows, every_option=True)
    by = {pid: g.drop(columns="pid").reset_index(drop=True) for pid, g in told.groupby("pid")}
    pd.testing.assert_frame_equal(by["a"], by["b"])
    without = clustered_regime.recommend(rows[["pid", "age"]].head(1), every_option=True).drop(columns="pid")
    pd.testing.assert_frame_equal(by["a"], without.reset_index(drop=True))
    assert not by["c"]["expected_utility"].equals(by["d"]["expected_utility"])
    raw = clustered.tree["posterior"]["drop::cluster_effect"] / clustered.tree["posterior"]["drop::cluster_sd"]
    assert raw["drop::cluster"].values.tolist() == ["north", "south", "west", "(new)"]
    new = raw.isel({"drop::cluster": -1}).values
    # 800 nearly independent draws of a standard normal: SE .035 of the mean, .025 of the SD; NUTS may halve the effective number.
    assert abs(new.mean()) < 4 * 0.05 and abs(new.std() - 1) < 4 * 0.036
    width = lambda g: (g["upper"] - g["lower"]).mean()  # noqa: E731
    assert width(by["a"]) > max(width(by["c"]), width(by["d"]))


def test_the_cluster_is_explained_like_a_variable(clustered_regime, clustered_frame):
    rows = clustered_frame[["pid", "site", "age"]]
    told = clustered_regime.explain(rows, patient=rows["pid"].iloc[3])
    c = told.contributions
    assert {r.variables for r in c.rows} == {("site",), ("age",)} and abs(next(r for r in c.rows if r.variables == ("site",)).contribution) > 1e-6
    assert sum(r.contribution for r in c.rows) == pytest.approx(c.total - c.base, abs=1e-10)
    assert c.total == pytest.approx(told.difference.mean, abs=1e-8)
    unseen = clustered_regime.explain(pd.DataFrame({"pid": ["x"], "site": ["east"], "age": [60.0]}))
    assert next(r for r in unseen.contributions.rows if r.variables == ("site",)).value == "(new)"


def test_fitted_look_ahead_is_explained_too():
    """Regression Monte Carlo: contributions add up, the change named flips, and no prior width is made up."""
    study = Study(Baseline("x"), Decision("a", ["p", "q"]), Response("m", Normal()), Decision("b", ["p", "q"]), Response("y", Normal()), utility="y")
    rng = np.random.default_rng(2)
    frame = known.cohort(study, 60, 2)
    frame["y"] = frame["x"] * (frame["b"] == "q") + frame["m"] * (frame["a"] == "q") + rng.normal(0, 0.3, 60)
    regime = optimize(fit(study, frame, seed=1, engine="laplace", draws=50), method="regression")
    told = regime.explain(pd.DataFrame({"x": [1.0]}))
    c = told.contributions
    assert sum(r.contribution for r in c.rows) == pytest.approx(c.total - c.base, abs=1e-10) and c.total == pytest.approx(told.difference.mean)
    for change in told.changes.singles:
        assert regime.recommend(pd.DataFrame({"x": [change.values[0]]}))["option"].item() == change.option != told.option
    found = regime.extrapolation()
    assert "'a' on is fitted by regression" in found.no_width and found.rows[0].width is None and found.rows[1].width is not None
    assert np.isnan(regime.overlap(pd.DataFrame({"x": [1.0]}))["width"].item())


# ---- chunks and memory -----------------------------------------------------------------------------------------


def ask(regime, frame):
    return regime.recommend(frame[["pid", "site", "age"]], every_option=True), regime.value_draws, compare(regime.posterior).draws["value"].values


def test_answers_do_not_depend_on_chunks(clustered, clustered_frame, monkeypatch):
    import importlib

    from bayesdtr.decision import induction

    evaluate = importlib.import_module("bayesdtr.model.evaluate")  # the package exports a function of the same name
    whole = ask(optimize(clustered), clustered_frame)
    monkeypatch.setattr(induction, "BUDGET", 2**13)
    monkeypatch.setattr(evaluate, "BLOCK", 2**12)
    pieces = ask(optimize(clustered), clustered_frame)
    pd.testing.assert_frame_equal(whole[0], pieces[0], check_exact=False, atol=1e-9)
    for a, b in zip(whole[1:], pieces[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


BOUND = 2**29
"""Arrays that optimize, cells and compare may hold at once on top of the posterior: 512 MiB, eight times the budget of one chunk."""


def test_memory_is_bounded_for_many_draws_and_cells():
    """Many exact draws and many histories to describe: without a bound, tables of all of them at once take about 1 GiB here."""
    arms = [f"a{i}" for i in range(6)]
    study = Study(
        Decision("a", arms), Response("r", Bernoulli(), model=Saturated()), Response("s", Bernoulli(), model=Saturated(over=["a"])),
        Decision("b", ["x", "y", "z"]), Response("t", Bernoulli(), model=Saturated(over=["a", "b"])),
        Decision("c", {when(t=0): ["x", "y", "z"], when(t=1): ["x", "y"]}), Response("u", Normal(), model=Saturated(over=["a", "c"])), utility="u",
    )
    posterior = fit(study, known.cohort(study, n=600, seed=2), seed=1, engine="exact", draws=60_000)
    tracemalloc.start()
    try:
        regime = optimize(posterior)
        cells = regime.cells()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"peak {peak / 2**20:.0f} MiB for {len(cells)} cells")
    assert peak < BOUND
