"""The reference problem written by hand in NumPyro, as its users write it: non-centred, float32, a device a chain."""

import os
import sys
import time

import numpyro

METHOD = sys.argv[3]
if METHOD == "parallel":
    numpyro.set_host_device_count(4)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402
from reference import CHAINS, CLUSTERS, COVARIATES, DRAWS, WARMUP, arguments, design, patients, report  # noqa: E402

jax.config.update("jax_compilation_cache_dir", os.environ["RIVAL_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def model(x, sign, site, location, sd, y, family):
    intercept = numpyro.sample("intercept", dist.Normal(location, 2.5 * sd) if family == "normal" else dist.Normal(0.0, 1.5))
    beta = numpyro.sample("beta", dist.Normal(0.0, sd).expand([COVARIATES]).to_event(1))
    tau = numpyro.sample("tau", dist.HalfNormal(0.5 * sd))
    tau_interaction = numpyro.sample("tau_interaction", dist.HalfNormal(0.25 * sd))
    cluster_sd = numpyro.sample("cluster_sd", dist.HalfNormal(0.5 * sd))
    cluster_treatment_sd = numpyro.sample("cluster_treatment_sd", dist.HalfNormal(0.25 * sd))
    treatment = numpyro.deterministic("treatment", tau * numpyro.sample("treatment_raw", dist.Normal(0.0, 1.0)))
    raw = numpyro.sample("interaction_raw", dist.Normal(0.0, 1.0).expand([COVARIATES]).to_event(1))
    interaction = numpyro.deterministic("interaction", tau_interaction * raw)
    level = cluster_sd * numpyro.sample("cluster_raw", dist.Normal(0.0, 1.0).expand([CLUSTERS]).to_event(1))
    slope = cluster_treatment_sd * numpyro.sample("cluster_treatment_raw", dist.Normal(0.0, 1.0).expand([CLUSTERS]).to_event(1))
    numpyro.deterministic("cluster", level)
    numpyro.deterministic("cluster_treatment", slope)
    eta = intercept + x @ beta + sign * (treatment + x @ interaction + slope[site]) + level[site]
    if family == "normal":
        numpyro.sample("y", dist.Normal(eta, numpyro.sample("sigma", dist.HalfNormal(sd))), obs=y)
    else:
        numpyro.sample("y", dist.Bernoulli(logits=eta), obs=y)


seed, family = arguments()
data = {n: jnp.asarray(v) for n, v in design(patients(family=family), family).items()}
begin = time.time()
mcmc = MCMC(NUTS(model), num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method=METHOD, progress_bar=False)
mcmc.run(jax.random.key(seed), **data, family=family, extra_fields=("diverging", "num_steps"))
import numpy as np  # noqa: E402

found = {n: np.asarray(v, dtype=float) for n, v in mcmc.get_samples(group_by_chain=True).items() if "raw" not in n}
extra = mcmc.get_extra_fields(group_by_chain=True)
report(found, np.asarray(extra["diverging"]), np.asarray(extra["num_steps"]), fit_seconds=time.time() - begin)
