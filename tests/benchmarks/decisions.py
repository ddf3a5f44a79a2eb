"""Three decisions with three options each: ``python decisions.py PATIENTS DRAWS`` prints seconds and peak memory of `optimize` and `recommend`.

A binary response, a Gaussian one, a final Gaussian one, two covariates; default models, draws around a truth as wide as those of some
2,000 patients. Everything is timed in its second run, when all is compiled.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from known import posterior_with

import bayesdtr as dtr
from bayesdtr.inference import Posterior
from bayesdtr.model import compile_response
from bayesdtr.runtime import compile_seconds

OPTIONS = ["a", "b", "c"]
STUDY = dtr.Study(
    dtr.Baseline("age"), dtr.Baseline("severity"),
    dtr.Decision("first", OPTIONS), dtr.Response("improved", dtr.Bernoulli()),
    dtr.Decision("second", OPTIONS), dtr.Response("score", dtr.Normal()),
    dtr.Decision("third", OPTIONS), dtr.Response("outcome", dtr.Normal()),
    utility=dtr.Utility({"score": 0.5, "outcome": 1.0}),
)
SPREAD = 0.03
"""Posterior SD of every coefficient, in residual SDs."""


def patients(n: int, seed: int = 1) -> pd.DataFrame:
    """Complete patients with arbitrary data."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "age": rng.normal(50, 10, n), "severity": rng.normal(size=n), "first": rng.choice(OPTIONS, n), "improved": rng.integers(0, 2, n),
        "second": rng.choice(OPTIONS, n), "score": rng.normal(size=n), "third": rng.choice(OPTIONS, n), "outcome": rng.normal(size=n),
    })


def posterior_of(n: int, draws: int, seed: int = 2) -> Posterior:
    """A posterior with given draws in four chains."""
    rng = np.random.default_rng(seed)
    found = {}
    for response in STUDY.responses:
        c = compile_response(STUDY, response.name)
        one = {}
        for name in c.parameters:
            shape = tuple(len(c.coords[d]) for d in c.dims.get(name, ()))
            scale = {"tau": 0.0, "tau_interaction": 0.0, "tau_combination": 0.0, "sigma": 0.0, "treatment": 0.5, "interaction": 0.25,
                     "combination": 0.25}.get(name, 0.5)
            centre = 1.0 if name in ("sigma", "tau", "tau_interaction", "tau_combination") else rng.normal(0, scale, shape)
            one[name] = np.asarray(centre + SPREAD * rng.normal(size=(4, draws // 4, *shape)))
        found[response.name] = one
    return posterior_with(STUDY, found, patients(n), seed)


def due(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Patients of whom a third waits for each of the decisions."""
    return {d.name: frame.iloc[k::3][[n.name for n in STUDY.before(d.name)]] for k, d in enumerate(STUDY.decisions)}


def timed(what):
    """Seconds on the clock and of all processors, and the result."""
    begin, used = time.perf_counter(), time.process_time()
    made = what()
    return time.perf_counter() - begin, time.process_time() - used, made


def measure(n: int, draws: int) -> dict:
    """Seconds by step, of the second run."""
    posterior, new = posterior_of(n, draws), due(patients(n, 7))
    found: dict = {"patients": n, "draws": draws}
    for _ in range(2):
        found["optimize_s"], found["optimize_cpu_s"], regime = timed(lambda: dtr.optimize(posterior))
        for name, frame in new.items():
            found[f"recommend_{name}_s"], found[f"recommend_{name}_cpu_s"], told = timed(lambda f=frame, r=regime: r.recommend(f))
            assert len(told) == len(frame) and (told["decision"] == name).all()
    value = regime.value()
    steps = [k for k in found if k.endswith("_cpu_s")]
    return found | {
        "total_s": sum(found[k.replace("_cpu", "")] for k in steps), "total_cpu_s": sum(found[k] for k in steps),
        "methods": [str(a) for a in regime.accuracy], "value": [value.mean, value.mcse], "compile_s": compile_seconds(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
