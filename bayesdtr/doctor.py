"""Self-test: versions, devices, the sampler against a closed form, the induction against enumeration, compile times.

The sampler runs in two fresh processes that share a new compilation cache, so that what a first and
a second run spend in compilation can be told apart.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

TOLERANCE = 4.0
"""Accepted distance in Monte Carlo standard errors."""

_PROBE = "import json; from bayesdtr.doctor import probe; print(json.dumps(probe()))"


def probe() -> dict[str, float]:
    """Analyse CODIACS as `bayesdtr run` does and compare with quadrature; report distances and compile seconds."""
    from . import runtime
    from .decision import compare, optimize, prior_starts_best
    from .gallery import codiacs
    from .inference import fit

    posterior = fit(codiacs.study, codiacs.patients(), seed=1, progress=False)
    comparison = compare(posterior)
    optimize(posterior).rules()
    prior_starts_best(posterior, seed=1)
    exact = exact_values()
    distance = [abs(row.value.mean - m) / row.value.mcse for row, m in zip(comparison.rows, exact, strict=True)]
    return {"distance": max(distance), "divergences": posterior.verdict.convergence.divergences, "compile": runtime.compile_seconds()}


def exact_values() -> list[float]:
    """Means of CODIACS' embedded regimes under the probe's priors, without sampling.

    Given the residual SD every cell mean is Normal; the SD is integrated on a fine grid (trapezoid),
    the improvement rates are Beta(1 + yes, 1 + no).
    """
    from .gallery import codiacs

    frame = codiacs.patients()
    priors = codiacs.study.priors("bdi_drop")
    prior_mean, prior_sd = (priors["mean"].prior[a] for a in ("loc", "scale"))
    half = priors["sigma"].prior["scale"]
    cells = {k: g["bdi_drop"].to_numpy(float) for k, g in frame.groupby(["first", "improved", "second"])}
    sigma = np.exp(np.linspace(np.log(4.0), np.log(12.0), 2001))
    log = np.log(sigma) - np.log1p((sigma / half) ** 2)
    means = {}
    for k, y in cells.items():
        n, average, within = len(y), y.mean(), ((y - y.mean()) ** 2).sum()
        variance = sigma**2 / n
        log = log - (n - 1) * np.log(sigma) - within / (2 * sigma**2)
        log = log - 0.5 * np.log(variance + prior_sd**2) - 0.5 * np.log(n) - (average - prior_mean) ** 2 / (2 * (variance + prior_sd**2))
        means[k] = (average * prior_sd**2 + prior_mean * variance) / (variance + prior_sd**2)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    improved = frame.groupby("first")["improved"].agg(["sum", "count"])
    rate = {a: (1 + r["sum"]) / (2 + r["count"]) for a, r in improved.iterrows()}
    values = []
    for first in codiacs.study["first"].options:
        for no in codiacs.study["second"].options:
            for yes in codiacs.study["second"].options:
                values.append(rate[first] * (weight @ means[first, 1, yes]) + (1 - rate[first]) * (weight @ means[first, 0, no]))
    return values


def induction_distance() -> float:
    """Largest difference between backward induction and the best of all enumerated regimes, on CODIACS by conjugate draws."""
    from .decision import compare, optimize
    from .gallery import codiacs
    from .inference import fit

    posterior = fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=4000)
    return abs(optimize(posterior).value().mean - max(row.value.mean for row in compare(posterior).rows))


def _fresh_process(cache: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], env={**os.environ, "BAYESDTR_CACHE": cache}, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        return {"error": 1.0, "text": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output"}  # type: ignore[dict-item]
    return json.loads(done.stdout.strip().splitlines()[-1])


def examine(show: Callable[[str], None]) -> bool:
    """Print versions, devices and the results of the self-test.

    Parameters
    ----------
    show : callable
        Receives one text at a time.

    Returns
    -------
    bool
        Whether every test passed.
    """
    import jax

    from .inference.files import versions
    from .runtime import cache_folder

    show("Python " + platform.python_version() + ", " + ", ".join(f"{n} {v}" for n, v in versions().items()))
    show("Devices: " + ", ".join(str(d) for d in jax.devices()) + f"; {os.cpu_count()} processors")
    show(f"Compilation cache: {cache_folder() or 'off'}")
    with tempfile.TemporaryDirectory() as cache:
        runs = [_fresh_process(cache), _fresh_process(cache)]
    for found in runs:
        if "error" in found:
            show(f"FAIL  sampler: {found['text']}")
            return False
    first, second = runs
    share = second["compile"] / first["compile"]
    gap = induction_distance()
    tests = [
        (f"sampler: eight regime values within {first['distance']:.1f} Monte Carlo errors of quadrature, {first['divergences']:.0f} divergences",
         first["distance"] < TOLERANCE and first["divergences"] == 0),
        (f"same seed, same numbers in a second process: {'yes' if first['distance'] == second['distance'] else 'no'}",
         first["distance"] == second["distance"]),
        (f"induction: value of the rule and of the best enumerated regime differ by {gap:.1e}", gap < 1e-8),
        (f"compilation: {first['compile']:.1f} s in a first run, {second['compile']:.1f} s in a second ({share:.0%})", True),
    ]
    for text, passed in tests:
        show(f"{'ok  ' if passed else 'FAIL'}  {text}")
    return all(passed for _, passed in tests)
