"""`bayesdtr simulate --scheduler`: the command line, a scheduler and workers as processes, and a design file that only the first can see."""

import json
import linecache
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from bayesdtr.cli import app

pytest.importorskip("distributed")

DESIGN = """
import numpy as np
import bayesdtr as dtr

GAIN = 0.3

def responds(history):
    return np.where(history["arm"] == "b", 0.3 + GAIN, 0.3)

study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
design = dtr.TrialDesign(study, size=24, looks=[12, 24], allocation=dtr.Thompson(floor=0.1))
scenarios = [dtr.Scenario("function", {"y": responds}), dtr.Scenario("lambda", {"y": lambda history: responds(history) - GAIN / 2})]
"""


HOW = ["--replicates", "300", "--seed", "4"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def simulate(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """In a folder that is neither the file's nor the workers'."""
    folder.mkdir(exist_ok=True)
    call = [sys.executable, "-c", "from bayesdtr.cli import app; app()", "simulate", *arguments, *HOW]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler and two workers, started as a user starts them."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    quiet = {"cwd": folder, "env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    known = ["--no-dashboard", "--scheduler-file", str(file)]
    started = [subprocess.Popen(command("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *known), **quiet)]
    started += [subprocess.Popen(command("dask", "worker", "--nthreads", "1", *known), **quiet) for _ in range(2)]
    try:
        end = time.monotonic() + 60
        while not file.is_file() or not file.read_text().strip():
            assert time.monotonic() < end and started[0].poll() is None
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in started[::-1]:
            process.terminate()
        for process in started:
            process.wait(30)


def at_home(file: Path, out: Path) -> None:
    """Without a scheduler, in this process, which forgets the file as it was."""
    sys.modules.pop(file.stem, None)
    sys.path[:] = [p for p in sys.path if p != str(file.parent)]
    linecache.checkcache()
    done = CliRunner().invoke(app, ["simulate", str(file), *HOW, "--out", str(out)])
    assert done.exit_code == 0, done.output


def arrays(out: Path) -> dict[str, bytes]:
    root = zarr.open_group(out / "run.zarr", mode="r")
    return {f"{s}/{v}/{n}": np.asarray(a[:]).tobytes() for s, group in root.groups() for v, one in group.groups() for n, a in one.arrays()}


def test_functions_of_a_users_file_reach_the_workers(address, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "of the user").mkdir()
    file = tmp_path / "of the user" / "functional_design.py"
    file.write_text(DESIGN)
    there = simulate(tmp_path / "x", str(file), "--out", "there", "--scheduler", address)
    assert there.returncode == 0, there.stderr + there.stdout
    at_home(file, tmp_path / "x" / "here")
    assert len(arrays(tmp_path / "x" / "here")) > 100
    assert arrays(tmp_path / "x" / "here") == arrays(tmp_path / "x" / "there")
    for name in ("operating.csv", "operating.json"):
        assert (tmp_path / "x" / "here" / name).read_bytes() == (tmp_path / "x" / "there" / name).read_bytes()
    file.write_text(DESIGN.replace("GAIN = 0.3", "GAIN = 0.1"))  # the workers must not go on with the file as it was
    there = simulate(tmp_path / "x", str(file), "--out", "there2", "--scheduler", address)
    assert there.returncode == 0, there.stderr
    at_home(file, tmp_path / "x" / "here2")
    assert arrays(tmp_path / "x" / "here2") == arrays(tmp_path / "x" / "there2") != arrays(tmp_path / "x" / "here")


@pytest.mark.slow
def test_what_stands_beside_a_file_goes_with_it(address, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "of the user").mkdir()
    (tmp_path / "of the user" / "neighbour_of_a_design.py").write_text("GAIN = 0.3\n")
    file = tmp_path / "of the user" / "leaning_design.py"
    file.write_text(DESIGN.replace("GAIN = 0.3", "from neighbour_of_a_design import GAIN"))
    there = simulate(tmp_path / "x", str(file), "--out", "there", "--scheduler", address)
    assert there.returncode == 0, there.stderr + there.stdout
    at_home(file, tmp_path / "x" / "here")
    assert arrays(tmp_path / "x" / "here") == arrays(tmp_path / "x" / "there")
