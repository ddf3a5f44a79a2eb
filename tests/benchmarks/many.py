"""Thousands of data sets of 300 patients and 9 parameters: `fit_many` by Laplace beside batched NUTS in the same run.

``python many.py [data sets] [data sets under NUTS] [family]`` prints milliseconds per data set; compile seconds apart.
"""

import json
import sys
import time

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


def compare(count: int = 10_000, audited: int = 128, family: str = "bernoulli") -> dict[str, float]:
    """Both engines on the same data sets; how far their P(new is best for an average patient) lie apart."""
    data = trials(count, family)
    average = {n: 0.0 for n in ("x1", "x2", "x3") if n in data}
    histories = [{**average, "treatment": t} for t in ("control", "new")]
    fast, fast_ms, fast_compile = timed(data, family, engine="laplace")
    _, weighed_ms, _ = timed({n: v[: max(count // 10, 64)] for n, v in data.items()}, family, engine="laplace", khat=True)
    _, corrected_ms, _ = timed({n: v[: max(count // 10, 64)] for n, v in data.items()}, family, engine="laplace", corrected=True)
    slow, slow_ms, slow_compile = timed(
        {n: v[:audited] for n, v in data.items()}, family, engine="nuts", draws=300, warmup=300, batch=min(128, audited))
    gap = np.abs(fast.p_best("y", histories)[: slow.size, 1] - slow.p_best("y", histories)[:, 1])
    return {
        "laplace_ms": fast_ms, "laplace_with_khat_ms": weighed_ms, "laplace_corrected_ms": corrected_ms, "nuts_ms": slow_ms,
        "ratio": slow_ms / fast_ms, "ratio_corrected": slow_ms / corrected_ms, "laplace_first_s": fast_compile,
        "nuts_first_s": slow_compile, "gap_95": float(np.quantile(gap, 0.95)),
        "nuts_divergences": float(np.sum(slow.diagnostics["y"]["divergences"])),
    }


if __name__ == "__main__":
    count, audited = (int(v) for v in (sys.argv[1:3] or ("10000", "128")))
    print(json.dumps(compare(count, audited, *sys.argv[3:4]), indent=1))
