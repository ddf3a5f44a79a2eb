"""Corners of the course of a trial: ties in time, looks before anybody or after everybody, courses that end early, and what may be left out."""

import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.errors import TrialError
from bayesdtr.trial.batch import run_batch

IDS = np.arange(12)
ARMS = ["A", "B"]
STUDY = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
TRUTH = dtr.Scenario("truth", {"y": {"A": 0.3, "B": 0.6}})


def test_site_effects_on_a_categorical_response_are_refused():
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("grade", dtr.Categorical(["low", "mid", "high"])), dtr.Response("y", dtr.Bernoulli()),
                      utility="y", cluster="site")
    levels = {"low": 0.5, "mid": 0.3, "high": 0.2}
    good = dtr.Scenario("sites", {"grade": levels, "y": 0.5}, clusters=dtr.Sites(3, sd={"y": 0.3}))
    good.check(study)
    with pytest.raises(TrialError, match="'grade' is Categorical"):
        dtr.Scenario("sites", {"grade": levels, "y": 0.5}, clusters=dtr.Sites(3, sd={"grade": 0.3})).check(study)
