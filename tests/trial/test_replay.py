"""A replicate told again is the one that was kept, to the last bit, or it is refused."""

import numpy as np
import pytest
from cheap import Weather, cheap, design

from bayesdtr.errors import TrialError
from bayesdtr.trial.running.driving import Request, carry_out
from bayesdtr.trial.running.replay import replay, replayed


@pytest.fixture(scope="module", params=["summary", "looks", "patients"])
def run(request):
    return carry_out(Request.of(design(), Weather("dry"), 40, seed=5, keep=request.param, progress=False), cheap)[0]["dry"]


def test_the_frames_are_the_records(run):
    told = replayed(run, 17, cheap)
    direct = {n: a[0] for n, a in cheap(design(), Weather("dry"), np.array([17]), seed=5, keep="patients").items()}
    looks, patients = told.looks(), told.patients()
    assert len(looks) == 2 and list(looks["P(best) A"]) == list(direct["p_best_look"][:, 0])
    assert list(looks["allocation B"]) == list(direct["probability_look"][:, 1]) and list(looks["time"]) == list(direct["time"])
    assert len(patients) == 12 and list(patients["treatment"]) == ["AB"[c] for c in direct["option"][:, 0]]
    assert list(patients["event"]) == list(direct["outcome"][:, 0]) and patients["patient"].iloc[0] == 1
    text = str(told)
    assert text.startswith("Replicate 17 under 'dry'") and "Look 2" in text and max(map(len, text.splitlines())) <= 100


def test_a_replicate_that_comes_out_differently_is_refused(run):
    def other(*given, **how):
        made = cheap(*given, **how)
        made["sd"] = np.nextafter(made["sd"], 1)
        return made

    with pytest.raises(TrialError, match=r"Replicate 3 does not come out as it was kept: 'sd' is .* It was made with bayesdtr .*jax"):
        replayed(run, 3, other)


def test_a_replicate_that_is_not_there_is_refused(run):
    for wrong in (40, -1, 2.0, "3"):
        with pytest.raises(TrialError, match="id takes a whole number from 0 to 39"):
            replayed(run, wrong, cheap)
    with pytest.raises(TrialError, match="replay takes a Run first"):
        replay("null", 3)
