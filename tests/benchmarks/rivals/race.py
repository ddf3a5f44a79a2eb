"""Run the rivals one after the other, each in a process of its own, and print a table: ``python race.py [seeds] [family]``."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RIVALS = {
    "bayesdtr": ("ours.py",), "NumPyro by hand, parallel": ("numpyro_by_hand.py", "parallel"),
    "NumPyro by hand, vectorized": ("numpyro_by_hand.py", "vectorized"),
    "pm.sample, nutpie": ("pymc_sample.py", "nutpie"), "pm.sample, PyMC": ("pymc_sample.py", "pymc"),
}


def run(rival: str, seed: int, family: str, cache: str) -> dict:
    """One run of one rival: what it reports, with the seconds from process start to draws.

    Bytecode is cached too, whatever the environment says: else most of the seconds are Python compiling libraries.
    """
    script, *more = RIVALS[rival]
    environment = {**os.environ, "RIVAL_CACHE": cache, "PYTHONPYCACHEPREFIX": str(Path(cache) / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["STARTED"] = repr(time.time())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / script), str(seed), family, *more], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{rival} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def race(seeds: int, family: str = "normal", rivals: tuple[str, ...] = tuple(RIVALS), patience: int | None = None) -> dict[str, list[dict]]:
    """Run every rival over seeds, interleaved so that a noisy machine is shared; a first run of each warms its cache.

    Parameters
    ----------
    seeds : int
    patience : int, optional
        Seeds for the rivals other than ours; all by default.
    """
    with tempfile.TemporaryDirectory() as cache:
        for rival in rivals:
            run(rival, 999, family, cache)
        found: dict[str, list[dict]] = {rival: [] for rival in rivals}
        for seed in range(seeds):
            for rival in rivals:
                if rival == "bayesdtr" or patience is None or seed < patience:
                    found[rival].append(run(rival, seed, family, cache))
    return found


def table(found: dict[str, list[dict]]) -> str:
    """Medians over seeds."""
    from statistics import median

    lines = [f"{'':<30}{'seconds':>9}{'(fit)':>8}{'min ESS':>9}{'ESS/s':>8}{'R-hat':>8}{'steps':>7}  divergences by seed"]
    for rival, runs in found.items():
        m = {k: median(r[k] for r in runs) for k in ("seconds", "fit_seconds", "ess", "ess_per_second", "rhat")}
        steps = median(r["steps"] for r in runs) if runs[0]["steps"] is not None else float("nan")
        lines.append(
            f"{rival:<30}{m['seconds']:>9.1f}{m['fit_seconds']:>8.1f}{m['ess']:>9.0f}{m['ess_per_second']:>8.1f}{m['rhat']:>8.3f}{steps:>7.1f}  "
            f"{[r['divergences'] for r in runs]}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(race(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2] if len(sys.argv) > 2 else "normal")))
