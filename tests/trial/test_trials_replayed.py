"""One trial of a run again, with all its detail: the same trial, told in words and in frames."""

import numpy as np
import pytest
from cheap import Weather, cheap, design

from bayesdtr.errors import TrialError
from bayesdtr.study import Bernoulli, Decision, Response, Saturated, Study, Utility, when
from bayesdtr.trial.allocation import Thompson
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.nature import Calendar, PoissonAccrual, Scenario
from bayesdtr.trial.records import kept
from bayesdtr.trial.running import replay
from bayesdtr.trial.running.driving import Request, carry_out
from bayesdtr.trial.running.replay import replayed
from bayesdtr.trial.simulation import load_run, simulate
from bayesdtr.trial.stopping import DropWorst, Superiority


def three_arms() -> tuple[TrialDesign, list[Scenario]]:
    study = Study(Decision("arm", ["A", "B", "C"]), Response("cured", Bernoulli(), model=Saturated()), utility=Utility("cured"))
    made = TrialDesign(study, size=90, looks=[30, 50, 70], allocation=Thompson(floor=0.1), stopping=[DropWorst(0.02), Superiority(0.95)],
                       calendar=Calendar(PoissonAccrual(4.0), delays=2.0))
    return made, [Scenario("null", {"cured": 0.4}), Scenario("C better", {"cured": {"A": 0.3, "B": 0.3, "C": 0.65}})]


def two_stages() -> tuple[TrialDesign, list[Scenario]]:
    study = Study(
        Decision("first", ["a", "b"]), Response("better", Bernoulli(), model=Saturated()),
        Decision("second", {when(better=1): ["stay"], when(better=0): ["switch", "augment"]}), Response("well", Bernoulli(), model=Saturated()),
        utility="well")
    made = TrialDesign(study, size=60, looks=[20, 40], allocation=Thompson(power=0.5, floor=0.1),
                       calendar=Calendar(delays={"better": 2.0, "well": 3.0}))
    return made, [Scenario("some", {"better": 0.5, "well": {when(better=1): 0.7, when(second="switch"): 0.3, when(second="augment"): 0.5}})]


@pytest.fixture(scope="module")
def kept_trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay") / "o"
    declared = three_arms()
    return folder, declared, simulate(*declared, 40, seed=7, out=folder, progress=False)


@pytest.mark.parametrize("equal", [False, True])
def test_frames_agree_with_what_was_kept(kept_trials, equal):
    made = kept_trials[2]
    run = (made.equal_runs if equal else made.runs)["C better"]
    stopped = [int(i) for i in np.flatnonzero(run["stopped_by"] >= 0)[:2]]
    for i in [0, 11, *stopped]:
        again = replay(run, i)
        people, looks = again.patients(), again.looks()
        assert len(people) == run["size"][i] and set(people["arm"]) <= {"A", "B", "C"} and people["enrolled"].is_monotonic_increasing
        assert [int((people["arm"] == a).sum()) for a in "ABC"] == run["allocated"][i].tolist()
        assert people["cured"].sum() == run["total"][i, 0] == run["utility"][i]
        early = people["look arm"] == 0
        assert early[:30].all() and not early[45:].any()  # 30 recruited at the first look; from there on by its probabilities
        assert len(looks) == (run["stopped_at"][i] + 1 if run["stopped_by"][i] >= 0 else 3)
        assert np.array_equal(looks[[f"P(best) {a}" for a in "ABC"]], run["p_best_look"][i, : len(looks)])
        assert np.array_equal(looks["recruited"], run["recruited"][i, : len(looks)])
        assert looks["recruited"].tolist() == [30, 50, 70][: len(looks)] and (looks["known"] < looks["recruited"]).all()
        last = looks["decision"].iloc[-1]
        assert last.startswith("stop: superiority") == (run["stopped_by"][i] == 0) and (looks["decision"].iloc[:-1] == "go on").all()
        assert (looks["level superiority: P(best) > 0.95"] == 0.95).all()


def test_a_trial_in_words(kept_trials):
    _, _, made = kept_trials
    run = made.runs["C better"]
    i = int(np.flatnonzero(run["stopped_by"] == 0)[0])
    text = str(replay(run, i))
    assert max(map(len, text.splitlines())) <= 100
    stop = int(run["stopped_at"][i]) + 1
    for part in (f"Replicate {i} under 'C better', seed 7", f"Stopped at look {stop} by superiority", "30 recruited", ": fires",
                 f"{run['p_best'][i, 2]:.4f}", f"A {run['allocated'][i, 0]}", "Declared superior: C"):
        assert part in " ".join(text.split()), part
    other = str(replay(run, int(np.flatnonzero(run["stopped_by"] < 0)[0])))
    assert "No stopping rule fired" in other and "Look 3" in other and "Look 4" not in other


def test_two_stages_by_labels():
    made = simulate(*two_stages(), 6, seed=2, progress=False)
    again = replay(made.runs["some"], 4)
    people = again.patients()
    assert set(people["first"]) == {"a", "b"} and set(people.loc[people["better"] == 1, "second"]) == {"stay"}
    assert set(people.loc[people["better"] == 0, "second"]) == {"switch", "augment"}
    assert max(map(len, str(again).splitlines())) <= 100 and "second: augment" in str(again)
    assert np.array_equal(people["well"].sum(), made.runs["some"]["total"][4, 1])


def test_it_is_the_same_trial_in_another_batch_or_read_again(kept_trials):
    folder, declared, made = kept_trials
    there = load_run(folder, *declared)
    assert there.replicates("null") == 40 and str(there) == str(made)
    for i in (0, 39):
        one, other = replay(made.runs["null"], i), replay(there.runs["null"], i)
        assert all(one.records[n].tobytes() == other.records[n].tobytes() for n in kept("patients"))


def test_one_bit_off_is_refused(tmp_path):
    runs, _ = carry_out(Request.of(design(), Weather("dry"), 20, seed=5, progress=False, out=tmp_path / "o"), cheap)
    replayed(runs["dry"], 7, cheap)

    def off(design, scenario, replicates, **how):
        made = cheap(design, scenario, replicates, **how)
        made["upper"][0, 1] = np.nextafter(made["upper"][0, 1], 1)
        return made

    with pytest.raises(TrialError, match=r"Replicate 7 does not come out as it was kept: 'upper' .* jax .* now there is .*jax"):
        replayed(runs["dry"], 7, off)


def test_what_cannot_be_replayed(kept_trials):
    run = kept_trials[2].runs["null"]
    for wrong in (-1, 40, 1.5, True, "0"):
        with pytest.raises(TrialError, match="id takes a whole number from 0 to 39"):
            replay(run, wrong)
    with pytest.raises(TrialError, match="replay takes a Run first"):
        replay(kept_trials[2], 0)
