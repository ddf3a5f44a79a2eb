"""The reference model with many patients: ``python rows.py PATIENTS`` prints compile seconds, sampling seconds and peak memory."""

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "rivals"))

from reference import patients

import bayesdtr as dtr
from bayesdtr.data import fix_scales, read
from bayesdtr.inference import nuts
from bayesdtr.inference.fit import blocks_of
from bayesdtr.runtime import compile_seconds

size = int(sys.argv[1])
family = sys.argv[2] if len(sys.argv) > 2 else "normal"
covariates = [dtr.Baseline(f"x{i}") for i in range(1, 5)]
response = dtr.Response("y", dtr.Normal() if family == "normal" else dtr.Bernoulli())
study = dtr.Study(*covariates, dtr.Decision("treatment", ["control", "new"]), response, cluster="site", utility="y")
trajectories = read(study, patients(n=size, family=family))
blocks = blocks_of(study, trajectories, fix_scales(study, trajectories))
nuts.sample(blocks, seed=0, draws=10, warmup=500, chains=1, show=False)
compiled = compile_seconds()
begin = time.perf_counter()
draws = nuts.sample(blocks, seed=1, draws=500, warmup=500, chains=4, show=False)[0]
print(json.dumps({
    "patients": size, "compile_s": compiled, "sample_s": time.perf_counter() - begin, "steps": float(draws.stats["n_steps"].mean()),
    "divergences": int(draws.stats["diverging"].sum()), "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
