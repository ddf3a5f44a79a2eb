"""What the README promises, it does."""

import re
import subprocess
from pathlib import Path

import bayesdtr as dtr

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M | re.S)


def test_the_program_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, _ = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Embedded regimes (8)" in printed and "Verdict: warn" in printed and "P(best)" in printed
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_trial_runs(tmp_path, monkeypatch, capsys):
    """With fewer replicates than the README asks for."""
    monkeypatch.chdir(tmp_path)
    _, program = blocks("python")
    study = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("event", dtr.Bernoulli(), model=dtr.Saturated()), utility="event")
    assert "10_000" in program
    program = program.replace("10_000", "40").replace("error=0.05,", "error=0.05, replicates=300, check=300,")
    exec(compile(program, "README.md", "exec"), {"dtr": dtr, "study": study})
    printed = capsys.readouterr().out
    assert "SCENARIO B works (40 replicates)" in printed
    assert "True values" in printed
    assert (tmp_path / "runs").is_dir()


def test_ci_calls_exactly_the_test_command():
    commands = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert commands[0].endswith("uv run bayesdtr run codiacs")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands[1] in script
    assert [line for line in script if "pytest" in line] == [commands[1]]


def test_every_path_it_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_lock_file_stays_out():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert "uv.lock" not in tracked
