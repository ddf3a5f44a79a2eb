"""The reference problem by `pm.sample`, with the sampler named third on the command line: pymc or nutpie."""

import sys
import time

import numpy as np
import pymc as pm
from reference import CHAINS, CLUSTERS, COVARIATES, DRAWS, WARMUP, arguments, design, patients, report

seed, family = arguments()
d = design(patients(family=family), family)
begin = time.time()
with pm.Model() as model:
    sd = float(d["sd"])
    intercept = pm.Normal("intercept", float(d["location"]), 2.5 * sd if family == "normal" else 1.5)
    beta = pm.Normal("beta", 0, sd, shape=COVARIATES)
    tau, tau_interaction = pm.HalfNormal("tau", 0.5 * sd), pm.HalfNormal("tau_interaction", 0.25 * sd)
    cluster_sd, cluster_treatment_sd = pm.HalfNormal("cluster_sd", 0.5 * sd), pm.HalfNormal("cluster_treatment_sd", 0.25 * sd)
    treatment = pm.Deterministic("treatment", tau * pm.Normal("treatment_raw"))
    interaction = pm.Deterministic("interaction", tau_interaction * pm.Normal("interaction_raw", shape=COVARIATES))
    level = pm.Deterministic("cluster", cluster_sd * pm.Normal("cluster_raw", shape=CLUSTERS))
    slope = pm.Deterministic("cluster_treatment", cluster_treatment_sd * pm.Normal("cluster_treatment_raw", shape=CLUSTERS))
    eta = intercept + d["x"] @ beta + d["sign"] * (treatment + d["x"] @ interaction + slope[d["site"]]) + level[d["site"]]
    if family == "normal":
        pm.Normal("y", eta, pm.HalfNormal("sigma", sd), observed=d["y"])
    else:
        pm.Bernoulli("y", logit_p=eta, observed=d["y"])
    drawn = pm.sample(draws=DRAWS, tune=WARMUP, chains=CHAINS, random_seed=seed, nuts_sampler=sys.argv[3], progressbar=False)
stats = drawn["sample_stats"]
values = {str(n): np.asarray(v) for n, v in drawn["posterior"].data_vars.items() if "raw" not in str(n)}
steps = stats["n_steps"].values if "n_steps" in stats else None
report(values, stats["diverging"].values, steps, fit_seconds=time.time() - begin)
