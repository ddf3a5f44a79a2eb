"""Whatever can be refused is refused before anything runs, in one clear sentence; nothing is left behind."""

import pytest
from cheap import Weather, cheap, design

from bayesdtr.errors import TrialError
from bayesdtr.trial.running.driving import Request, carry_out, reopen


def never(*_, **__):
    raise AssertionError("something ran")


def ask(made=None, scenarios=None, replicates=10, runner=never, **how):
    given = {"seed": 1, "progress": False, **how}
    return carry_out(Request.of(made or design(), [Weather("dry")] if scenarios is None else scenarios, replicates, **given), runner)


@pytest.mark.parametrize(("how", "said"), [
    ({"replicates": 0}, r"replicates takes a whole number from 1 to \d+, got 0"),
    ({"replicates": 2.5}, "replicates takes a whole number.*2.5"),
    ({"replicates": True}, "replicates takes a whole number.*True"),
    ({"seed": -1}, "seed takes a whole number from 0.*-1"),
    ({"keep": "look"}, "keep='look'.*did you mean 'looks'"),
    ({"scenarios": []}, "at least one scenario"),
    ({"scenarios": [Weather("dry"), Weather("dry", 1.0)]}, "two scenarios are called 'dry'"),
    ({"scenarios": ["dry"]}, "takes a Scenario or a list of them, got 'dry'"),
    ({"scenarios": [Weather("dry"), Weather("odd", -1.0)]}, "cannot be negative"),
    ({"made": "three arms"}, "takes a TrialDesign first, got 'three arms'"),
])
def test_bad_arguments(tmp_path, how, said):
    with pytest.raises(TrialError, match=said):
        ask(out=tmp_path / "o", **how)
    assert not (tmp_path / "o").exists()


def test_a_folder_of_something_else_is_refused_with_what_differs(tmp_path):
    out = tmp_path / "o"
    ask(out=out, runner=cheap)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    for how, said in (
        ({"made": design(floor=0.2)}, r"holds another design's run: design\.allocation.*floor is 0\.1 there and 0\.2 here"),
        ({"made": design(looks=(5, 12))}, r"another design's run.*looks\.points\[0\] is .*6.* there and .*5.* here"),
        ({"seed": 2}, "a run with another seed: seed is 1 there and 2 here"),
        ({"keep": "summary"}, "another level of detail: keep is \"looks\" there and \"summary\" here"),
        ({"scenarios": Weather("dry", 2.0)}, "another scenario 'dry'.*shift is 0.0 there and 2.0 here"),
    ):
        with pytest.raises(TrialError, match=said):
            ask(out=out, replicates=20, **how)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    ask(out=out, scenarios=[Weather("dry"), Weather("new", 2.0)], runner=cheap)  # another scenario of another name is welcome


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(TrialError, match=r"is not empty and holds no run of a design \('thesis.txt' is there\)"):
        ask(out=tmp_path)
    with pytest.raises(TrialError, match="is a file"):
        ask(out=tmp_path / "thesis.txt")
    with pytest.raises(TrialError, match="There is no run in"):
        reopen(tmp_path / "nowhere", design(), {"dry": Weather("dry")})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    def nested(*given, **how):
        with pytest.raises(TrialError, match="Another process is writing to the folder"):
            ask(out=tmp_path / "o", runner=never)
        return cheap(*given, **how)

    pytest.importorskip("fcntl")
    ask(out=tmp_path / "o", runner=nested)
