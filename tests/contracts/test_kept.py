"""Programs kept on disk: found again, never out of date, never in the way."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr import kept
from bayesdtr.model import compile as compile_module
from bayesdtr.model import compile_response
from bayesdtr.model.compile import Facts, _graphs
from bayesdtr.runtime import double_precision
from bayesdtr.study import from_json, to_json


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one's own for entries."""
    monkeypatch.setattr(kept, "_folder", lambda: tmp_path)
    return tmp_path


def counted(address):
    """A function that is kept, and the list of the shapes it was traced for."""
    traced = []

    def double(x):
        traced.append(x["a"].shape)
        return {"twice": 2 * x["a"], "pair": (x["a"].sum(), x["b"])}

    return kept.Kept(double, address), traced


def run(function):
    with double_precision():
        return function({"a": np.arange(3.0), "b": np.int64(4)})


def test_a_second_process_finds_what_the_first_has_traced(folder):
    first, traced = counted("f")
    found = run(first)
    assert traced == [(3,)] and len(list(folder.iterdir())) == 1
    again, retraced = counted("f")  # as in another process: an object that knows nothing
    other = run(again)
    assert retraced == []
    np.testing.assert_array_equal(other["twice"], [0, 2, 4])
    assert float(other["pair"][0]) == float(found["pair"][0]) == 3 and other["pair"][1].dtype == np.int64
    assert again.fetch({"a": np.arange(3.0), "b": np.int64(4)}).out["twice"].shape == (3,)


def test_other_shapes_and_other_addresses_are_other_programs(folder):
    first, traced = counted("f")
    run(first)
    with double_precision():
        first({"a": np.arange(5.0), "b": np.int64(4)})
    assert traced == [(3,), (5,)]
    other, retraced = counted("g")
    run(other)
    assert retraced == [(3,)] and len(list(folder.iterdir())) == 3


def test_settings_that_change_a_trace_make_another_program(folder):
    run(counted("f")[0])
    before = jax.config.jax_default_matmul_precision
    try:
        jax.config.update("jax_default_matmul_precision", "highest")
        other, traced = counted("f")
        run(other)
    finally:
        jax.config.update("jax_default_matmul_precision", before)
    assert traced == [(3,)] and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("address", ["here", None])
def test_programs_that_run_beside_others_say_the_same(folder, monkeypatch, address):
    """The compiler knows the options: with one that it does not know nothing would be compiled."""
    def function(x):
        return jnp.cumsum(x @ x.T)

    x = jnp.linspace(0, 1, 600).reshape(20, 30)
    with double_precision():
        assert np.asarray(kept.Kept(function, address, "beside", beside=True)(x)) == pytest.approx(np.asarray(function(x)), rel=1e-12)
        monkeypatch.setattr(kept, "BESIDE", {"xla_cpu_no_such_option": True})
        with pytest.raises(RuntimeError, match="no_such_option"):
            kept.Kept(function, address, "beside", beside=True)(x)


def test_without_an_address_nothing_is_kept(folder):
    first, traced = counted(None)
    assert float(run(first)["pair"][0]) == 3 and traced and not list(folder.iterdir())


@pytest.mark.parametrize("damage", [b"", b"short", "flip", "cut"])
def test_a_damaged_entry_is_made_again(folder, damage):
    run(counted("f")[0])
    path = next(folder.iterdir())
    whole = path.read_bytes()
    path.write_bytes({"flip": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:-9]}.get(damage, damage))
    again, traced = counted("f")
    assert float(run(again)["pair"][0]) == 3 and traced
    mended, retraced = counted("f")
    assert float(run(mended)["pair"][0]) == 3 and not retraced


def test_a_folder_that_cannot_be_written_costs_no_answer(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(kept.os, "replace", refuse)
    assert float(run(counted("f")[0])["pair"][0]) == 3
    assert not list(folder.iterdir())


def test_the_fingerprint_covers_sources_and_versions(tmp_path, monkeypatch):
    mine = kept.fingerprint()
    (tmp_path / "a.py").write_text("1")
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "kept.py"))
    one = kept.fingerprint.__wrapped__()
    (tmp_path / "a.py").write_text("2")
    two = kept.fingerprint.__wrapped__()
    monkeypatch.setattr(kept.importlib.metadata, "version", lambda name: "0")
    three = kept.fingerprint.__wrapped__()
    assert len({mine, one, two, three}) == 4


def test_what_is_known_of_a_model_survives_the_disk():
    study = dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("n", dtr.Poisson(exposure="years")), dtr.Decision("b", ["r", "s"]),
        dtr.Response("y", dtr.Bernoulli()), utility="y", cluster="site",
    )
    for name in ("n", "y"):
        facts, functions = _graphs(study, name, ("k",))
        assert Facts.from_bytes(facts.to_bytes()) == facts and functions.linear is not None
        assert compile_response(study, name, ("k",)).facts == facts


def test_two_studies_and_two_sets_of_clusters_have_addresses_of_their_own():
    def study(scale):
        priors = {"tau": dtr.Prior("HalfNormal", scale=scale)}
        return dtr.Study(dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("y", dtr.Normal(), priors=priors), utility="y", cluster="c")

    found = {compile_response(study(scale), "y", clusters).address for scale in (1.0, 2.0) for clusters in (("k",), ("k", "l"))}
    assert len(found) == 4 and None not in found


def test_a_model_written_by_the_user_is_never_kept():
    import pymc as pm

    def model(history):
        return pm.Normal("y", history["x"] * pm.Normal("b"), 1.0)

    study = dtr.Study(dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("y", model=model), utility="y")
    assert compile_response(study, "y").address is None
    with pytest.raises(dtr.StudyError, match="cannot be found"):  # its function's address alone makes no model either
        compile_response(from_json(to_json(study)), "y")


def test_functions_first_asked_for_within_a_trace_keep_nothing_of_it(folder):
    study = dtr.Study(dtr.Baseline("x"), dtr.Decision("a", ["p", "q", "r"]), dtr.Response("y", dtr.Bernoulli()), utility="y")
    try:
        compile_module._compile.cache_clear()
        compile_response(study, "y")
        compile_module._compile.cache_clear()
        compiled = compile_response(study, "y")  # as in a second process
        assert "functions" not in vars(compiled)

        def density(x):
            inputs = {"x": x, "a": jnp.zeros(x.shape, dtype=int), "x::location": 0.0, "x::sd": 1.0}
            return compiled.log_density(compiled.initial(inputs), inputs, jnp.zeros(x.shape))[0]

        with double_precision(), jax.checking_leaks():
            found = [jax.jit(density)(np.zeros(n)) for n in (3, 5)]
        np.testing.assert_allclose(np.concatenate(found), np.log(0.5))
    finally:
        compile_module._compile.cache_clear()


SCRIPT = """
import json, sys
import numpy as np, pandas as pd
import bayesdtr as dtr
rng = np.random.default_rng(0)
frame = pd.DataFrame({"x": rng.normal(size=40), "a": np.array(["p", "q"])[rng.integers(0, 2, 40)], "y": rng.normal(size=40)})
study = dtr.Study(dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("y", dtr.Normal()), utility="y")
found = dtr.fit(study, frame, seed=1, draws=50, warmup=50, chains=2, progress=False).tree["posterior"]["y::treatment"].values
print(json.dumps([found.ravel().tolist(), sorted({"pymc", "numpyro.distributions", "pytensor"} & set(sys.modules))]))
"""


@pytest.mark.filterwarnings("ignore")
def test_a_second_process_fits_the_same_without_building_a_model(tmp_path):
    environment = {**os.environ, "BAYESDTR_CACHE": str(tmp_path / "xla"), "PYTHONWARNINGS": "ignore"}
    outputs = [
        json.loads(subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True).stdout) for _ in "12"
    ]
    assert outputs[0][0] == outputs[1][0] and len(outputs[0][0]) == 100
    assert "pymc" in outputs[0][1] and outputs[1][1] == []


def test_jax_arrays_and_numpy_arrays_are_one_program(folder):
    first, traced = counted("f")
    run(first)
    with double_precision():
        first({"a": jnp.arange(3.0), "b": jnp.asarray(4)})
    assert traced == [(3,)]
