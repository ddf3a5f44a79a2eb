"""The command line as a user meets it: files, one-line errors, exit codes, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bayesdtr.cli import app, gallery
from bayesdtr.inference.files import read_tree

STUDY = """
import pandas as pd
import bayesdtr as dtr
study = dtr.Study(dtr.Decision("arm", ["a", "b"]), dtr.Response("y", dtr.Normal(), model=dtr.Saturated()), utility="y")
def patients():
    return pd.DataFrame({"arm": ["a", "b"] * 20, "y": range(40)})
"""


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_run_writes_everything_and_says_the_same(tmp_path):
    done = call("run", "codiacs", "--engine", "exact", "--draws", "4000", "--seed", "3", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    folder = tmp_path / "out"
    names = {p.name for p in folder.iterdir()}
    assert names == {"report.html", "summary.json", "posterior.nc", "figures"} and len(list((folder / "figures").iterdir())) >= 5
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["seed"] == 3 and summary["engine"] == "exact" and summary["honest_value"] is None
    for row in summary["embedded_regimes"]:
        assert f"{row['mean']:.2f}" in done.output and f"{row['p_best']:.4f}" in done.output
    assert read_tree(folder / "posterior.nc").attrs["kind"] == "regime"
    assert "How far recommendations extrapolate" in done.output and summary["extrapolation"]["decisions"][1]["fewest"] == 2
    assert "improper" in summary["extrapolation"]["no_width"]
    assert "Positivity: 'stay' at 'second'" in done.output and "Positivity: 'switch' at 'second'" in done.output
    assert all(len(line) <= 100 for line in done.output.splitlines())


def test_a_users_file_runs_from_any_path(tmp_path):
    """With the honest value, which goes to the terminal, the summary and the report alike."""
    file = tmp_path / "my study.py"
    file.write_text(STUDY)
    done = call("run", str(file), "--engine", "exact", "--draws", "400", "--honest", "--out", str(tmp_path / "o"))
    assert done.exit_code == 0 and "Optimal regime" in done.output
    honest = json.loads((tmp_path / "o" / "summary.json").read_text())["honest_value"]
    assert honest["orders"] == 20 and honest["scored"] == 32 and not honest["estimated"]
    assert f"Honest value {honest['mean']:.4g} (SE {honest['se']:.3g}" in done.output
    text = (tmp_path / "o" / "report.html").read_text()
    assert honest["basis"].replace("'", "&#39;") in text and "--honest" in text and "were judged by others" in text


def test_run_shows_what_knowing_more_is_worth_and_who_gains(tmp_path):
    audited = STUDY.replace('dtr.Study(', 'dtr.Study(dtr.Baseline("sex", levels=["f", "m"], sensitive=True), ').replace(
        'utility="y")', 'utility="y", reference={"arm": "a"})').replace('"y": range(40)', '"y": range(40), "sex": ["f", "f", "m", "m"] * 10')
    (tmp_path / "audited.py").write_text(audited)
    done = call("run", str(tmp_path / "audited.py"), "--engine", "exact", "--draws", "2000", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    known, (groups,) = told["value_of_information"], told["subgroups"]
    assert known["evpi"] > 0 and f"EVPI {known['evpi']:.3g} per patient" in done.output
    assert [(r["label"], r["patients"]) for r in groups["rows"]] == [("sex = f", 20), ("sex = m", 20)]
    assert all(r["label"] in done.output for r in groups["rows"]) and "P(loss)" in done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What it would be worth to know more" in page and "Value by sex" in page


def test_an_honest_value_that_cannot_be_had_is_said(tmp_path):
    """Early patients leave cells of CODIACS empty, which the exact engine cannot learn from."""
    done = call("run", "codiacs", "--engine", "exact", "--draws", "400", "--honest", "--out", str(tmp_path / "o"))
    assert done.exit_code == 0 and "No honest value:" in done.output and "learned from 21 patients" in " ".join(done.output.split())
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["honest_value"] is None


@pytest.mark.parametrize(("text", "message"), [
    ("x = (", "line 1 failed: SyntaxError"),
    ("import nothing_like_this", "failed: ModuleNotFoundError"),
    ("study = 3", "defines no study"),
    (STUDY.split("def patients")[0], "defines no patients"),
    (STUDY.replace("return pd", "raise RuntimeError('a\\nb')\n    return pd"), "patients() of"),
    (STUDY.replace('"a", "b"] * 20', '"a", "c"] * 20'), "'c'"),
    ("raise SystemExit('bye')", "failed: SystemExit: bye"),
])
def test_a_bad_study_file_is_one_line(tmp_path, text, message):
    file = tmp_path / f"mine_{zlib.crc32(text.encode())}.py"
    file.write_text(text)
    done = call("run", str(file), "--engine", "exact", "--out", str(tmp_path / "o"))
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("bayesdtr: ") and message in line
    assert not list(tmp_path.rglob("*.html"))


def test_bad_names_folders_and_arguments_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "json.py").write_text(STUDY)
    for arguments, message in (
        (("codacs",), "did you mean 'codiacs'"), ((str(tmp_path / "no.py"),), "No study file"), ((str(tmp_path / "json.py"),), "rename the file"),
        (("codiacs", "--out", str(tmp_path / "file")), "Cannot write to the folder"), (("codiacs", "--out", "/proc/x"), "Cannot write to the folder"),
        (("codiacs", "--engine", "nutz", "--out", str(tmp_path / "o")), "did you mean 'nuts'"),
        (("codiacs", "--draws", "0", "--out", str(tmp_path / "o")), "draws must be a whole number"),
        (("codiacs", "--seed", "9" * 20, "--out", str(tmp_path / "o")), "seed must be at most"),
    ):
        done = call("run", *arguments)
        assert done.exit_code == 2, arguments
        (line,) = done.stderr.strip().splitlines()
        assert message in line and len(done.output.splitlines()) < 3, (arguments, done.output)


def test_models_lists_the_gallery():
    done = call("models")
    assert done.exit_code == 0 and all(name in done.output for name in gallery())
    assert set(gallery()) >= {"codiacs", "adhd_smart", "stepped_care_hypertension"}


def test_an_interrupted_run_leaves_the_folder_as_it_was(tmp_path):
    (tmp_path / "report.html").write_text("old")
    command = [sys.executable, "-m", "bayesdtr.cli", "run", "codiacs", "--draws", "5000000", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Embedded regimes"):
            break
    time.sleep(8)  # into the sampling
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.strip().splitlines()[-1] == "bayesdtr: interrupted; the results folder is as it was."
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"report.html"} and (tmp_path / "report.html").read_text() == "old"


def test_a_failure_while_writing_leaves_no_new_file(tmp_path, monkeypatch):
    from bayesdtr.errors import FileError

    def full(*_, **__):
        raise FileError("Cannot write summary.json: No space left on device.")

    monkeypatch.setattr("bayesdtr.reporting.write_summary", full)
    done = call("run", "codiacs", "--engine", "exact", "--draws", "400", "--out", str(tmp_path))
    assert done.exit_code == 2 and "No space left" in done.stderr
    assert not [p for p in Path(tmp_path).rglob("*") if p.is_file()]


@pytest.mark.slow
def test_doctor_passes_and_reports_both_compile_times():
    done = call("doctor")
    assert done.exit_code == 0, done.output
    line = next(line for line in done.output.splitlines() if "compilation" in line)
    assert float(line.split("(")[1].split("%")[0]) <= 10
