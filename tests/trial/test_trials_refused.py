"""What `simulate` refuses, before anything runs; and the command line around it."""

import json
import os
import subprocess
import sys
import time

import pytest
from test_trials_replayed import three_arms
from typer.testing import CliRunner

from bayesdtr.cli import app
from bayesdtr.errors import TrialError
from bayesdtr.trial.allocation import Thompson
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.nature import Scenario
from bayesdtr.trial.running.workers import by_value
from bayesdtr.trial.simulation import load_run, simulate


@pytest.fixture(autouse=True)
def nothing_runs(request, monkeypatch):
    """Unless a test says that it simulates, simulating is an error of its own."""
    if "simulates" not in request.fixturenames:
        def forbidden(*_, **__):
            raise AssertionError("simulated")

        monkeypatch.setattr("bayesdtr.trial.batch.run_batch", forbidden)


@pytest.fixture
def simulates():
    """Marks a test that simulates."""


@pytest.mark.parametrize(("changed", "message"), [
    ({"replicates": 0}, "replicates takes a whole number from 1"),
    ({"replicates": -5}, "got -5"),
    ({"replicates": 2.0}, "got 2.0"),
    ({"replicates": True}, "got True"),
    ({"seed": -1}, "seed takes a whole number"),
    ({"seed": 1.5}, "got 1.5"),
    ({"keep": "look"}, "did you mean 'looks'"),
    ({"design": "three_arm_adaptive"}, "simulate takes a TrialDesign first"),
    ({"scenarios": []}, "at least one scenario"),
    ({"scenarios": ["null"]}, "takes a Scenario or a list of them, got 'null'"),
    ({"scenarios": "null"}, "takes a Scenario or a list of them, got 'null'"),
    ({"scenarios": [Scenario("one", {"cured": 0.5}), Scenario("one", {"cured": 0.6})]}, "two scenarios are called 'one'"),
    ({"scenarios": Scenario("one", {"cure": 0.5})}, "'cure', which is no response.*did you mean 'cured'"),
    ({"scheduler": "tcp://127.0.0.1:9"}, "No scheduler answers at 'tcp://127.0.0.1:9'"),
    ({"scheduler": 8786}, "scheduler takes an address"),
])
def test_refused_before_anything_runs(tmp_path, monkeypatch, changed, message):
    monkeypatch.setattr("bayesdtr.trial.running.workers.PATIENCE", 1.0)
    declared, scenarios = three_arms()
    given = {"design": declared, "scenarios": scenarios, "replicates": 10, "seed": 1, "out": tmp_path / "o", "progress": False, **changed}
    start = time.monotonic()
    with pytest.raises(TrialError, match=message):
        simulate(**given)
    assert time.monotonic() - start < 20 and not (tmp_path / "o" / "run.zarr").exists()


def test_a_seed_is_required():
    with pytest.raises(TypeError, match="seed"):
        simulate(*three_arms(), 10)


def test_folders_of_others_are_left_alone(tmp_path, monkeypatch, simulates):
    declared, scenarios = three_arms()
    simulate(declared, scenarios, 4, seed=1, out=tmp_path / "o", progress=False)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "o").rglob("*") if p.is_file()}
    other = TrialDesign(declared.study, size=90, looks=[30, 50, 70], allocation=Thompson(floor=0.2),
                        stopping=[*declared.dropping, *declared.stopping], calendar=declared.calendar)
    truth = Scenario("null", {"cured": 0.41})
    for changed, message in [
        ({"seed": 2}, "another seed: seed is 1 there and 2 here"),
        ({"keep": "patients"}, "another level of detail: keep is \"looks\" there and \"patients\" here"),
        ({"design": other}, "another design's run: design.allocation.* is 0.1 there and 0.2 here"),
        ({"scenarios": [truth]}, "another scenario 'null': .* 0.4 there and 0.41 here"),
    ]:
        given = {"design": declared, "scenarios": scenarios, "replicates": 8, "seed": 1, "out": tmp_path / "o", "progress": False, **changed}
        with pytest.raises(TrialError, match=message):
            simulate(**given)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "o").rglob("*") if p.is_file()}
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "aunt.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    for where, message in (("letters", "is not empty and holds no run of a design .'aunt.txt'"),
                           ("file", "is a file"), ("o/run.zarr", "holds no run")):
        with pytest.raises(TrialError, match=message):
            simulate(declared, scenarios, 4, seed=1, out=tmp_path / where, progress=False)
    with pytest.raises(TrialError, match="There is no run in"):
        load_run(tmp_path / "nowhere", declared, scenarios)
    with pytest.raises(TrialError, match="another design's run"):
        load_run(tmp_path / "o", other, scenarios)


FILE = """
import bayesdtr as dtr
from truths_of_ours import BETTER
study = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("cured", dtr.Bernoulli(), model=dtr.Saturated()), utility="cured")
design = dtr.TrialDesign(study, size=40, looks=[20], allocation=dtr.Thompson(floor=0.1))
def cured(history):
    return (history["arm"] == "B") * BETTER + 0.3
scenarios = [dtr.Scenario("B better", {"cured": cured})]
"""


@pytest.fixture
def file(tmp_path):
    """A design file whose function needs another file beside it; its modules are forgotten afterwards."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "our_trial.py").write_text(FILE)
    (tmp_path / "mine" / "truths_of_ours.py").write_text("BETTER = 0.25\n")
    yield tmp_path / "mine" / "our_trial.py"
    forget(tmp_path / "mine")


def forget(folder):
    """As a new process would find it."""
    sys.path[:] = [p for p in sys.path if p != str(folder)]
    for name in ("our_trial", "truths_of_ours"):
        sys.modules.pop(name, None)


def call(*arguments):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def test_the_command_writes_replicates_and_tables_and_goes_on(file, tmp_path, simulates):
    done = call(file, "--replicates", 20, "--out", tmp_path / "o", "--seed", 3)
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 100 for line in done.output.splitlines() if str(tmp_path) not in line)
    assert "up to 40 patients" in done.output and "SCENARIO B better (20 replicates)" in done.output and "equal allocation" in done.output
    content = json.loads((tmp_path / "o" / "operating.json").read_text())
    assert content["scenarios"]["B better"]["optimal"] == pytest.approx(0.55) and content["rows"][0]["replicates"] == 20
    assert (tmp_path / "o" / "operating.csv").read_text().count("\n") == len(content["rows"]) + 1
    forget(file.parent)
    more = call(file, "--replicates", 30, "--out", tmp_path / "o", "--seed", 3)
    assert more.exit_code == 0, more.stderr
    assert "(30 replicates)" in more.output
    (file.parent / "truths_of_ours.py").write_text("BETTER = 0.2501\n")  # another truth, of the same name and source
    forget(file.parent)
    refused = call(file, "--replicates", 30, "--out", tmp_path / "o", "--seed", 3)
    assert refused.exit_code == 2 and "holds another scenario 'B better'" in refused.stderr and len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["three_arm"], "did you mean 'three_arm_adaptive'"),
    (["codiacs"], "codiacs defines no design"),
    (["nowhere.py"], "No study file nowhere.py"),
    (["three_arm_adaptive", "--replicates", 0], "replicates takes a whole number"),
    (["three_arm_adaptive", "--keep", "all"], "levels of detail are"),
])
def test_the_command_refuses_in_one_line(tmp_path, arguments, message):
    done = call(*arguments, "--out", tmp_path / "o")
    assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1 and not (tmp_path / "o").exists()


def test_functions_of_a_file_travel_by_value(file):
    """A process that can import neither the file nor its neighbor can call the function."""
    import importlib

    cloudpickle = pytest.importorskip("cloudpickle")
    sys.path.insert(0, str(file.parent))
    module = importlib.import_module("our_trial")
    by_value(file.parent)
    try:
        sent = cloudpickle.dumps(module.scenarios[0])
    finally:
        for name in cloudpickle.list_registry_pickle_by_value() & {"our_trial", "truths_of_ours"}:
            cloudpickle.unregister_pickle_by_value(sys.modules[name])
    there = ("import sys, cloudpickle, numpy\ns = cloudpickle.loads(sys.stdin.buffer.read())\n"
             "print(s.responses[0][1].mean.call({'arm': numpy.array(['A', 'B'])}).tolist())")
    done = subprocess.run([sys.executable, "-c", there], input=sent, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": ""})
    assert done.stdout.decode().strip() == "[0.3, 0.55]"
