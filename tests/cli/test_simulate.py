"""`bayesdtr simulate`: a design's file from any path, the table, the files beside the store, one-line errors."""

import json
import sys

import pytest
from typer.testing import CliRunner

from bayesdtr.cli import app

DESIGN = """
import bayesdtr as dtr
study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
def design():
    return dtr.TrialDesign(study, size=24, looks=[12, 24], allocation=dtr.Thompson(floor=0.1))
scenarios = [dtr.Scenario("alike", {"y": 0.4}), dtr.Scenario("b better", {"y": {"a": 0.3, "b": 0.6}})]
"""


def call(*arguments: str):
    """As in a process of its own, which has imported no file of that name before."""
    for name in ("my design", "odd_design_file"):
        sys.modules.pop(name, None)
    return CliRunner().invoke(app, ["simulate", *arguments])


def test_a_users_design_is_simulated_grown_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    file, out = tmp_path / "my design.py", tmp_path / "o"
    file.write_text(DESIGN)
    done = call(str(file), "--replicates", "20", "--seed", "4", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "b better" in done.output and max(map(len, done.output.splitlines())) <= 120
    rows = json.loads((out / "operating.json").read_text())["rows"]
    assert {r["replicates"] for r in rows} == {20} and (out / "operating.csv").read_text().startswith("scenario,quantity")
    assert call(str(file), "--replicates", "30", "--seed", "4", "--out", str(out)).exit_code == 0
    assert {r["replicates"] for r in json.loads((out / "operating.json").read_text())["rows"]} == {30}
    other = call(str(file), "--replicates", "30", "--seed", "5", "--out", str(out))
    assert other.exit_code == 2 and "another seed" in other.output


@pytest.mark.parametrize(("text", "said"), [("design = 3\n", "defines no design"), ("import nothing_at_all\n", "failed: ModuleNotFoundError")])
def test_a_file_without_a_design_is_refused(tmp_path, monkeypatch, text, said):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "odd_design_file.py").write_text(text)
    done = call(str(tmp_path / "odd_design_file.py"), "--out", str(tmp_path / "o"))
    assert done.exit_code == 2 and said in done.output and not (tmp_path / "o").exists()


def test_zero_replicates_are_refused(tmp_path):
    done = call("three_arm_adaptive", "--replicates", "0", "--out", str(tmp_path / "o"))
    assert done.exit_code == 2 and "replicates takes a whole number" in done.output and not (tmp_path / "o").exists()
