"""Runs grow without anything being simulated twice, in any batches, in little memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cheap import Weather, all_arrays, cheap, counting, design

from bayesdtr.trial.running.driving import Request, carry_out
from bayesdtr.trial.running.workers import Here

HERE = Path(__file__).resolve().parents[2]


def grown(out, replicates, runner=cheap):
    return carry_out(Request.of(design(), Weather("dry"), replicates, seed=3, progress=False, out=out), runner)


def test_from_a_thousand_to_ten_thousand_without_redoing_any(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    for size in (750, 1000, 10_000):
        runs, equal = grown(tmp_path / "o", size, counting)
    asked = (tmp_path / "counted").read_text().splitlines()
    assert len(asked) == len(set(asked)) == 20_000
    at_once, equal_at_once = grown(tmp_path / "once", 10_000)
    assert all_arrays(runs["dry"]) == all_arrays(at_once["dry"]) and all_arrays(equal["dry"]) == all_arrays(equal_at_once["dry"])


@pytest.mark.parametrize("parts", [512, 74, 1])
def test_batches_leave_no_trace(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(Here, "parts", parts)
    runs, _ = grown(tmp_path / "o", 40)
    direct = cheap(design(), Weather("dry"), np.arange(40), seed=3, keep="looks")
    assert all_arrays(runs["dry"]) == {n: a.tobytes() for n, a in direct.items()}


MEMORY = """
import resource, sys
from bayesdtr.trial.running.driving import Request, carry_out
from cheap import Weather, cheap, design
big = design(size=200, looks=tuple(range(10, 201, 10)))
ask = lambda n: carry_out(Request.of(big, Weather("dry"), n, seed=3, progress=False, keep="patients", compare=False), cheap)
ask(1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
runs, _ = ask(10000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sum(runs["dry"][n][:1].nbytes for n in runs["dry"].records(slice(0, 1))))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units elsewhere")
def test_memory_is_flat_in_the_number_of_replicates():
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=HERE, capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(HERE / "tests" / "trial")})
    more_kb, bytes_each = map(int, done.stdout.split())
    assert 9_000 * bytes_each > 60e6  # held in memory they would show
    assert more_kb * 1024 < 20e6
