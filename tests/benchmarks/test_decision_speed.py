"""Speed and memory of `optimize` and `recommend` with many patients and draws. Slow; run with ``-m slow``, and with ``-s`` to see the tables.

On the clock the figures are those of the machine and of what else it runs; so limits are set on seconds of all processors together, which
are twice the clock's on two idle cores at most.
"""

import functools
import json

import pytest
from test_speed import run

pytestmark = pytest.mark.slow
CORES = 2
LIMIT = 10.0
"""Seconds for 10,000 patients, 2,000 draws, three decisions of three options."""


@functools.cache
def found(patients: int, draws: int) -> dict:
    """One run of the benchmark."""
    return json.loads(run("decisions.py", str(patients), str(draws)))


def test_ten_thousand_patients():
    made = found(10_000, 2_000)
    print(json.dumps(made, indent=1))
    assert made["total_cpu_s"] < CORES * LIMIT
    assert made["peak_mib"] < 2048


def test_cost_is_linear_in_patients_and_draws():
    whole, half, thin = found(10_000, 2_000), found(5_000, 2_000), found(10_000, 1_000)
    print({k: [m[k] for m in (whole, half, thin)] for k in ("total_cpu_s", "total_s", "peak_mib")})
    assert whole["total_cpu_s"] < 2.5 * half["total_cpu_s"]
    assert whole["total_cpu_s"] < 2.5 * thin["total_cpu_s"]


def test_against_nested_monte_carlo():
    """The ratio is measured in one run; with 100 inner draws the rival is still no more exact."""
    made = json.loads(run("nested.py", "10000", "2000", "10", "30", "100"))
    print(json.dumps(made, indent=1))
    rival = made["rivals"][-1]
    assert made["ours_error"] <= rival["error"]
    assert rival["ratio"] >= 1000
