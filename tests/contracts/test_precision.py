"""The 64-bit contract: nothing of the process changes by import or by use, results are 64-bit NumPy."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, sys
before = {"flags": os.environ.get("XLA_FLAGS"), "environment": dict(os.environ)}
import jax
import jax.numpy as jnp
jax.config.update("jax_enable_x64", sys.argv[1] == "wide")
start = bool(jax.config.jax_enable_x64)
steps = {}

def look(step):
    steps[step] = [bool(jax.config.jax_enable_x64), os.environ.get("XLA_FLAGS") == before["flags"], str(jnp.ones(3).sum().dtype)]

import bayesdtr as dtr
look("import")
import numpy as np
import pandas as pd

study = dtr.Study(
    dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("r", dtr.Bernoulli()),
    dtr.Decision("b", ["s", "t"]), dtr.Response("y", dtr.Normal()), utility="y")
rng = np.random.default_rng(1)
n = 40
frame = pd.DataFrame({"x": rng.normal(size=n), "a": rng.choice(["p", "q"], n), "r": rng.integers(0, 2, n), "b": rng.choice(["s", "t"], n),
                      "y": rng.normal(size=n)})
posterior = dtr.fit(study, frame, seed=1, draws=50, warmup=100, chains=2)
look("fit")
import warnings
warnings.simplefilter("ignore")
regime = dtr.optimize(posterior)
look("optimize")
told = regime.recommend(frame[["x"]])
look("recommend")
table = dtr.compare(posterior)
look("compare")

def arrays(thing, seen=None, depth=0):
    '''Every array an object holds, through dataclasses, mappings and sequences.'''
    import dataclasses
    import xarray as xr
    if isinstance(thing, (np.ndarray, jax.Array)):
        yield thing
    elif isinstance(thing, xr.DataTree):
        for node in thing.subtree:
            for v in node.variables.values():
                yield v.data
    elif isinstance(thing, xr.Dataset):
        for v in thing.variables.values():
            yield v.data
    elif dataclasses.is_dataclass(thing):
        for f in dataclasses.fields(thing):
            yield from arrays(getattr(thing, f.name))
    elif hasattr(thing, "items"):
        for v in thing.values():
            yield from arrays(v)
    elif isinstance(thing, (list, tuple)):
        for v in thing:
            yield from arrays(v)

held = [a for thing in (posterior, regime, table) for a in arrays(thing)]
floats = {str(a.dtype) for a in held if a.dtype.kind == "f"}
kinds = sorted({type(a).__name__ for a in held})
print(json.dumps({
    "start": start, "steps": steps, "floats": sorted(floats), "kinds": kinds, "arrays": len(held),
    "answer": sorted({str(told[c].dtype) for c in ("expected_utility", "p_best", "regret")}),
    "environment": {k: [before["environment"].get(k), os.environ.get(k)] for k in {*before["environment"], *os.environ}
                    if before["environment"].get(k) != os.environ.get(k)},
}))
"""


@pytest.mark.parametrize(("setting", "flags"), [
    ("narrow", "--xla_cpu_multi_thread_eigen=true"),
    pytest.param("narrow", None, marks=pytest.mark.slow),
    pytest.param("wide", None, marks=pytest.mark.slow),
])
def test_process_is_left_as_it_was(setting, flags, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_ENABLE_X64")}
    if flags:
        environment["XLA_FLAGS"] = flags
    done = subprocess.run([sys.executable, "-c", SCRIPT, setting], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    wide = setting == "wide"
    assert found["start"] == wide
    for step, (now, same_flags, dtype) in found["steps"].items():
        assert now == wide and same_flags, step
        assert dtype == ("float64" if wide else "float32"), step
    assert found["floats"] == ["float64"] and found["answer"] == ["float64"]
    assert found["kinds"] == ["ndarray"] and found["arrays"] > 20
    assert not {k for k in found["environment"] if k.startswith(("JAX", "XLA", "PYTENSOR", "OMP"))}, found["environment"]
