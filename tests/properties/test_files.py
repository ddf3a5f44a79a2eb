"""Save and load: what comes back is equal; what cannot be read says why."""

import json

import h5py
import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

from bayesdtr import Baseline, Decision, FileError, Posterior, Regime, Response, Study, load, optimize

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def biomarker(history):
    effect = pm.Normal("effect", 0, 1)
    return pm.Normal("marker", 0.5 * history["age"] + effect * history.code("a"), 1.0)


def outcome(history):
    slope = pm.Normal("slope", 0, 1)
    return pm.Normal("u", history["marker"] + history.code("b") * (slope * history["marker"] - 0.2), 1.0)


CONTINUOUS = Study(
    Baseline("age"), Decision("a", ["p", "q"]), Response("marker", model=biomarker),
    Decision("b", ["x", "y"]), Response("u", model=outcome), utility="u",
)


@pytest.fixture(scope="module")
def regressed():
    rng = np.random.default_rng(1)
    draws = {"marker": {"effect": rng.normal(0.3, 0.2, (2, 20))}, "u": {"slope": rng.normal(1.0, 0.2, (2, 20))}}
    return optimize(known.posterior_with(CONTINUOUS, draws), method="regression")


def same_posterior(a: Posterior, b: Posterior) -> None:
    assert a.study == b.study and a.verdict == b.verdict and dict(a.scales) == dict(b.scales)
    assert (a.seed, a.engine, a.trajectories.hash) == (b.seed, b.engine, b.trajectories.hash)
    assert set(a.tree.children) == set(b.tree.children)
    for name in a.tree.children:
        xr.testing.assert_identical(a.tree[name].to_dataset(), b.tree[name].to_dataset())


def test_posterior_comes_back(clustered, clustered_frame, clustered_regime, tmp_path):
    back = load(clustered.save(tmp_path / "posterior.nc"))
    assert isinstance(back, Posterior)
    same_posterior(clustered, back)
    rows = clustered_frame[["pid", "site", "age"]]
    pd.testing.assert_frame_equal(optimize(back).recommend(rows), clustered_regime.recommend(rows))
    again = load(back.save(tmp_path / "posterior.nc"))  # over itself
    same_posterior(clustered, again)
    assert [p.name for p in tmp_path.iterdir()] == ["posterior.nc"]


@pytest.mark.parametrize("which", ["clustered_regime", "regressed"])
def test_regime_comes_back(which, request, tmp_path):
    regime = request.getfixturevalue(which)
    back = load(regime.save(tmp_path / "regime.nc"))
    assert isinstance(back, Regime)
    same_posterior(regime.posterior, back.posterior)
    assert dict(back.methods) == dict(regime.methods) and set(back.fits) == set(regime.fits)
    np.testing.assert_array_equal(back.value_draws, regime.value_draws)
    for name, fit in regime.fits.items():
        assert back.fits[name].basis == fit.basis
        np.testing.assert_array_equal(back.fits[name].committed, fit.committed)
        np.testing.assert_array_equal(back.fits[name].clairvoyant, fit.clairvoyant)
    assert back.rules() == regime.rules() and back.value() == regime.value()


def test_regressed_regime_recommends_the_same_after_loading(regressed, tmp_path):
    assert any(m.startswith("regression") for m in regressed.methods.values())
    back = load(regressed.save(tmp_path / "regime.nc"))
    rows = pd.DataFrame({"age": np.linspace(-2, 2, 9)})
    pd.testing.assert_frame_equal(back.recommend(rows, every_option=True), regressed.recommend(rows, every_option=True))


def test_one_row_gets_what_it_gets_among_many(regressed):
    """The basis of a fitted regime does not depend on how many patients are asked about."""
    rows = pd.DataFrame({"age": np.linspace(-2, 2, 300)})
    many = regressed.recommend(rows)
    one = pd.concat([regressed.recommend(rows.iloc[[i]]) for i in (0, 150, 299)], ignore_index=True)
    pd.testing.assert_frame_equal(one.drop(columns="patient"), many.iloc[[0, 150, 299]].drop(columns="patient").reset_index(drop=True))


def test_regression_agrees_with_the_tree(regressed):
    """One posterior, two methods: the same options except where they are within a hundredth of each other."""
    tree = optimize(regressed.posterior, method="tree")
    rows = pd.DataFrame({"age": np.linspace(-1.5, 1.5, 61)})
    a, b = (r.recommend(rows, every_option=True).set_index(["patient", "option"])["expected_utility"].unstack() for r in (tree, regressed))
    gain, fitted = a["q"] - a["p"], b["q"] - b["p"]
    # Simulated targets are shared by the options; what is left is the basis, to a few hundredths of the response's SD.
    assert np.abs(gain - fitted).max() < 0.05
    differs = (gain > 0) != (fitted > 0)
    assert (np.abs(gain[differs]) < 0.01).all()
    assert abs(tree.value().mean - regressed.value().mean) < 4 * np.hypot(tree.value_error, regressed.value_error) + 0.01


# ---- what cannot be read --------------------------------------------------------------------------------------


@pytest.fixture
def saved(regressed, tmp_path):
    return regressed.posterior.save(tmp_path / "posterior.nc")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileError, match=r"No file .*nothing\.nc"):
        load(tmp_path / "nothing.nc")


def test_a_text_file(tmp_path):
    (tmp_path / "notes.nc").write_text("first,second\n1,2\n")
    with pytest.raises(FileError, match=r"cannot be read.*not a file that bayesdtr wrote"):
        load(tmp_path / "notes.nc")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_truncated_file(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileError, match="cut short, damaged"):
        load(saved)


def test_a_foreign_netcdf_file(tmp_path):
    xr.Dataset({"temperature": ("time", [1.0, 2.0])}).to_netcdf(tmp_path / "weather.nc", engine="h5netcdf")
    with pytest.raises(FileError, match="was not written by bayesdtr"):
        load(tmp_path / "weather.nc")


def test_a_file_from_a_newer_release(saved):
    with h5py.File(saved, "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(FileError, match=r"file version 99.*Install a newer bayesdtr"):
        load(saved)


def test_a_file_from_an_earlier_release(saved):
    with h5py.File(saved, "r+") as file:
        file.attrs["schema_version"] = 1
    with pytest.raises(FileError, match=r"file version 1, of an earlier release.*fit the study again"):
        load(saved)


def test_a_file_whose_data_were_changed(saved):
    with h5py.File(saved, "r+") as file:
        column = file["trajectories"]["age"]
        column[0] = column[0] + 1
    with pytest.raises(FileError, match="hash"):
        load(saved)


@pytest.mark.parametrize("lost", ["study", "verdict", "scales", "schema_version"])
def test_a_file_without_an_attribute(saved, lost):
    with h5py.File(saved, "r+") as file:
        del file.attrs[lost]
    with pytest.raises(FileError, match=lost):
        load(saved)


@pytest.mark.parametrize("lost", ["posterior", "trajectories"])
def test_a_file_without_a_group(saved, lost):
    with h5py.File(saved, "r+") as file:
        del file[lost]
    with pytest.raises(FileError, match=lost):
        load(saved)


@pytest.mark.parametrize("lost", ["decision", "regime_value"])
def test_a_regime_without_a_group(regressed, tmp_path, lost):
    path = regressed.save(tmp_path / "regime.nc")
    with h5py.File(path, "r+") as file:
        del file[lost]
    with pytest.raises(FileError, match="damaged"):
        load(path)


def test_an_attribute_that_is_no_json(saved):
    with h5py.File(saved, "r+") as file:
        file.attrs["scales"] = "{"
    with pytest.raises(FileError, match="damaged"):
        load(saved)


def test_a_folder_that_is_not_there(regressed, tmp_path):
    with pytest.raises(FileError, match=r"folder .* does not exist"):
        regressed.save(tmp_path / "nowhere" / "regime.nc")
    assert not list(tmp_path.iterdir())


def test_file_says_that_it_holds_patients(saved):
    with h5py.File(saved) as file:
        assert "patients" in str(file.attrs["notice"])
        assert json.loads(str(file.attrs["versions"]))["pymc"]
