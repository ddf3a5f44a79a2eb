"""Thousands of data sets of 300 patients and 9 parameters: `fit_many` by Laplace beside NUTS in the same run.

Two rivals of 300 + 300 iterations: the model written by hand in NumPyro, data sets side by side under ``vmap``, and
our own `fit_many(engine="nuts")`.

``python many.py [data sets] [data sets under NUTS] [family]`` prints milliseconds per data set; compile seconds apart.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import bayesdtr as dtr
from bayesdtr.runtime import compile_seconds

PATIENTS = 300


def study(family: str) -> dtr.Study:
    """Two covariates and two options: intercept, 2 + 1 + 2 coefficients, two scales, and a residual SD where there is one."""
    response = dtr.Response("y", dtr.Normal() if family == "normal" else dtr.Bernoulli())
    covariates = [dtr.Baseline("x1"), dtr.Baseline("x2")] + ([] if family == "normal" else [dtr.Baseline("x3")])
    return dtr.Study(*covariates, dtr.Decision("treatment", ["control", "new"]), response, utility="y")


def trials(count: int, family: str, seed: int = 1) -> dict[str, np.ndarray]:
    """Simulated trials as arrays, shape (trial, patient), with effects drawn anew for each."""
    rng = np.random.default_rng(seed)
    names = ["x1", "x2"] if family == "normal" else ["x1", "x2", "x3"]
    x = {n: rng.normal(size=(count, PATIENTS)) for n in names}
    a = rng.integers(0, 2, (count, PATIENTS))
    effect = rng.normal(0, 0.3, (4, count, 1))
    eta = 0.2 + 0.5 * x["x1"] - 0.3 * x["x2"] + (a - 0.5) * (effect[0] + effect[1] * x["x1"] + effect[2] * x["x2"])
    y = eta + rng.normal(size=eta.shape) if family == "normal" else (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(float)
    return {**x, "treatment": a, "y": y}


def timed(data: dict[str, np.ndarray], family: str, **how: object) -> tuple[dtr.Fits, float, float]:
    """Fits, milliseconds per data set once compiled, and seconds of the first call that were compilation and tracing."""
    declared = study(family)
    begin, compiled = time.perf_counter(), compile_seconds()
    few = {n: v[: 2 * how.get("batch", 64)] for n, v in data.items()}  # type: ignore[operator]
    dtr.fit_many(declared, few, seed=1, **how)  # type: ignore[arg-type]
    first, compiled = time.perf_counter() - begin, compile_seconds() - compiled
    begin = time.perf_counter()
    fits = dtr.fit_many(declared, data, seed=1, **how)  # type: ignore[arg-type]
    return fits, 1000 * (time.perf_counter() - begin) / fits.size, first


def by_hand(data: dict[str, np.ndarray], family: str, iterations: int = 300) -> tuple[np.ndarray, float]:
    """The same model written by hand in NumPyro, all data sets in one vmapped and compiled program.

    P(new is best for a patient whose covariates are 0), shape (dataset,), and milliseconds per data set.
    """
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    covariates = sorted(n for n in data if n.startswith("x"))

    def model(x, average, sign, y, location, sd):
        k = len(covariates)
        intercept = numpyro.sample("intercept", dist.Normal(location, 2.5 * sd) if family == "normal" else dist.Normal(0.0, 1.5))
        beta = numpyro.sample("beta", dist.Normal(0.0, sd).expand([k]).to_event(1))
        tau, tau_interaction = numpyro.sample("tau", dist.HalfNormal(0.5 * sd)), numpyro.sample("tau_interaction", dist.HalfNormal(0.25 * sd))
        treatment = tau * numpyro.sample("treatment_raw", dist.Normal(0.0, 1.0))
        interaction = tau_interaction * numpyro.sample("interaction_raw", dist.Normal(0.0, 1.0).expand([k]).to_event(1))
        numpyro.deterministic("better", treatment + average @ interaction > 0)
        eta = intercept + x @ beta + sign * (treatment + x @ interaction)
        if family == "normal":
            numpyro.sample("y", dist.Normal(eta, numpyro.sample("sigma", dist.HalfNormal(sd))), obs=y)
        else:
            numpyro.sample("y", dist.Bernoulli(logits=eta), obs=y)

    def one(seed, x, sign, y):
        mcmc = MCMC(NUTS(model), num_warmup=iterations, num_samples=iterations, num_chains=1, progress_bar=False)
        location, sd = (y.mean(), y.std(ddof=1)) if family == "normal" else (0.0, 1.0)
        mcmc.run(seed, (x - x.mean(0)) / x.std(0, ddof=1), -x.mean(0) / x.std(0, ddof=1), sign, y, location, sd)
        return mcmc.get_samples()["better"].mean()

    x = jnp.stack([jnp.asarray(data[n], dtype=float) for n in covariates], axis=-1)
    sign, y = jnp.where(jnp.asarray(data["treatment"]) == 1, 1.0, -1.0) / np.sqrt(2), jnp.asarray(data["y"], dtype=float)
    arguments = (jax.random.split(jax.random.key(1), len(y)), x, sign, y)
    program = jax.jit(jax.vmap(one)).lower(*arguments).compile()
    begin = time.perf_counter()
    p_best = jax.block_until_ready(program(*arguments))
    return np.asarray(p_best), 1000 * (time.perf_counter() - begin) / len(y)


def compare(count: int = 10_000, audited: int = 128, family: str = "bernoulli") -> dict[str, float]:
    """All on the same data sets; how far their P(new is best for an average patient) lie from those of Laplace."""
    data = trials(count, family)
    average = {n: 0.0 for n in ("x1", "x2", "x3") if n in data}
    histories = [{**average, "treatment": t} for t in ("control", "new")]
    fast, fast_ms, fast_compile = timed(data, family, engine="laplace")
    _, weighed_ms, _ = timed({n: v[: max(count // 10, 64)] for n, v in data.items()}, family, engine="laplace", khat=True)
    _, corrected_ms, _ = timed({n: v[: max(count // 10, 64)] for n, v in data.items()}, family, engine="laplace", corrected=True)
    slow, slow_ms, slow_compile = timed(
        {n: v[:audited] for n, v in data.items()}, family, engine="nuts", draws=300, warmup=300, batch=min(128, audited))
    written, vmapped_ms = by_hand({n: v[:audited] for n, v in data.items()}, family)
    p_best = fast.p_best("y", histories)[: slow.size, 1]
    gaps = [float(np.quantile(np.abs(p_best - other), 0.95)) for other in (slow.p_best("y", histories)[:, 1], written)]
    return {
        "laplace_ms": fast_ms, "laplace_with_khat_ms": weighed_ms, "laplace_corrected_ms": corrected_ms, "nuts_ms": slow_ms,
        "vmapped_ms": vmapped_ms, "ratio": vmapped_ms / fast_ms, "ratio_own_nuts": slow_ms / fast_ms,
        "ratio_corrected": vmapped_ms / corrected_ms, "laplace_first_s": fast_compile,
        "nuts_first_s": slow_compile, "gap_95": gaps[0], "gap_vmapped_95": gaps[1],
        "nuts_divergences": float(np.sum(slow.diagnostics["y"]["divergences"])),
    }


if __name__ == "__main__":
    count, audited = (int(v) for v in (sys.argv[1:3] or ("10000", "128")))
    print(json.dumps(compare(count, audited, *sys.argv[3:4]), indent=1))
