"""The reference problem by `bayesdtr.fit`."""

import time

from reference import CHAINS, DRAWS, WARMUP, arguments, patients, report

import bayesdtr as dtr

seed, family = arguments()
response = dtr.Response("y", dtr.Normal() if family == "normal" else dtr.Bernoulli())
covariates = [dtr.Baseline(f"x{i}") for i in range(1, 5)]
study = dtr.Study(*covariates, dtr.Decision("treatment", ["control", "new"]), response, cluster="site", utility="y")
frame = patients(family=family)
begin = time.time()
posterior = dtr.fit(study, frame, seed=seed, draws=DRAWS, warmup=WARMUP, chains=CHAINS, progress=False)
group, stats = posterior.tree["posterior"], posterior.tree["sample_stats"]
values = {n.removeprefix("y::"): v.values for n, v in group.data_vars.items() if "raw" not in n}
report(values, stats["diverging"].values, stats["n_steps"].values, fit_seconds=time.time() - begin)
