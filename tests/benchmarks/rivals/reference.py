"""The reference problem of the speed comparison: its data, its prior, and what every rival reports.

A trial of 500 patients in 20 clusters with 4 covariates and 2 options; effects of the treatment, its
interactions with the covariates, and its spread over clusters are hierarchical. Nothing heavy is imported
here, so that each rival pays for its own imports only.
"""

import json
import os
import sys
import time

import numpy as np
import pandas as pd

CHAINS, WARMUP, DRAWS = 4, 500, 500
PATIENTS, COVARIATES, CLUSTERS = 500, 4, 20


def patients(seed: int = 2026, n: int = PATIENTS, family: str = "normal") -> pd.DataFrame:
    """Simulated patients; columns ``x1..x4``, ``site``, ``treatment``, ``y``."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, COVARIATES))
    site, a = rng.integers(0, CLUSTERS, n), rng.integers(0, 2, n)
    level, slope = 0.4 * rng.normal(size=CLUSTERS), 0.2 * rng.normal(size=CLUSTERS)
    sign = (2 * a - 1) / np.sqrt(2)
    eta = 0.3 + x @ [0.5, -0.3, 0.2, 0.0] + sign * (0.4 + x @ [0.3, 0.0, 0.0, -0.1] + slope[site]) + level[site]
    y = eta + rng.normal(size=n) if family == "normal" else (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    frame = {f"x{i + 1}": x[:, i] for i in range(COVARIATES)}
    return pd.DataFrame({**frame, "site": [f"s{i:02d}" for i in site], "treatment": np.array(["control", "new"])[a], "y": y})


def design(frame: pd.DataFrame, family: str = "normal") -> dict[str, np.ndarray]:
    """What the models by hand read: standardized covariates, the treatment's contrast, codes of clusters, outcome and its scale."""
    x = frame[[f"x{i + 1}" for i in range(COVARIATES)]].to_numpy()
    y = frame["y"].to_numpy(dtype=float)
    location, sd = (y.mean(), y.std(ddof=1)) if family == "normal" else (0.0, 1.0)
    return {
        "x": (x - x.mean(axis=0)) / x.std(axis=0, ddof=1), "sign": np.where(frame["treatment"] == "new", 1.0, -1.0) / np.sqrt(2),
        "site": np.unique(frame["site"], return_inverse=True)[1], "y": y, "location": np.float64(location), "sd": np.float64(sd),
    }


def arguments() -> tuple[int, str]:
    """Seed and family from the command line."""
    return int(sys.argv[1]), sys.argv[2]


def report(values: dict[str, np.ndarray], diverging: np.ndarray, steps: np.ndarray | None = None, **more: float) -> None:
    """Print one line of JSON: seconds since the process was started, the smallest bulk ESS, ESS per second, divergences.

    Parameters
    ----------
    values : mapping of str to array, shape (chain, draw, ...)
        Effects on the natural scale and scales.
    diverging : array of bool
    steps : array of int, optional
        Leapfrog steps per draw.
    """
    seconds = time.time() - float(os.environ["STARTED"])
    from arviz_stats.base import array_stats

    least, name = min(
        (float(np.min([array_stats.ess(v.reshape(*v.shape[:2], -1)[..., j], method="bulk") for j in range(int(np.prod(v.shape[2:])))])), n)
        for n, v in values.items()
    )
    rhat = max(float(array_stats.rhat(v.reshape(*v.shape[:2], -1)[..., j])) for v in values.values() for j in range(int(np.prod(v.shape[2:]))))
    print(json.dumps({
        "seconds": seconds, "ess": least, "worst": name, "ess_per_second": least / seconds, "rhat": rhat, "divergences": int(np.sum(diverging)),
        "steps": None if steps is None else float(np.mean(steps)), **more,
        "means": {n: float(np.mean(v)) for n, v in values.items() if v.ndim == 2},
    }))
