"""Dropout between stages: unbiased where it is at random, complete cases are not; and a known shift gives its bias back."""

import warnings

import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.simulators import dropout

SHIFT = (0.6, -0.9)
REPLICATES, PATIENTS = 120, 600


def study():
    """Saturated, so that the model is right and the posterior conjugate."""
    return dtr.Study(
        dtr.Baseline("o1", levels=["0", "1"]), dtr.Decision("first", dropout.OPTIONS), dtr.Response("o2", dtr.Bernoulli(), model=dtr.Saturated()),
        dtr.Decision("second", dropout.OPTIONS), dtr.Response("y", dtr.Normal(), model=dtr.Saturated()), utility="y",
    )


def labels():
    """Labels of our regimes in the order of the study's embedded ones."""
    return [f"{a}; {low}; {high}" for a in dropout.OPTIONS for low in dropout.OPTIONS for high in dropout.OPTIONS]


def means(posterior):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array([r.value.mean for r in dtr.compare(posterior).rows])


@pytest.fixture(scope="module")
def estimates():
    """Posterior means of the eight regimes' values, [replicate, regime], per analysis."""
    s = study()
    found = {"at random": [], "complete cases": [], "not at random": [], "not at random, shifted": []}
    for k in range(REPLICATES):
        frame = dropout.simulate(PATIENTS, seed=100 + k)
        fitted = dtr.fit(s, frame, seed=k, engine="exact", draws=400)
        found["at random"].append(means(fitted))
        found["complete cases"].append(means(dtr.fit(s, frame[frame["y"].notna()], seed=k, engine="exact", draws=400)))
        moved = dtr.fit(s, dropout.simulate(PATIENTS, seed=100 + k, shift=SHIFT), seed=k, engine="exact", draws=400)
        found["not at random"].append(means(moved))
        prior = dict(zip(dropout.OPTIONS, SHIFT, strict=True))
        found["not at random, shifted"].append(means(dtr.missing_shift(moved, dtr.Shift("y", by="first", prior=prior))))
    return {name: np.array(rows) for name, rows in found.items()}


def errors(rows, known):
    """Bias of each regime's value and of the differences to the first, in standard errors over replicates."""
    off = rows - np.array([known.regimes[name].value for name in labels()])
    off = np.concatenate([off, off[:, 1:] - off[:, :1]], axis=1)
    return off.mean(axis=0), off.mean(axis=0) / (off.std(axis=0, ddof=1) / np.sqrt(len(off)))


@pytest.mark.slow
def test_regimes_are_unbiased_under_dropout_at_random_and_complete_cases_are_not(estimates):
    assert [r.label.count("o2") for r in study().embedded()] == [0, 2, 2, 0] * 2  # the order that `labels` assumes
    bias, z = errors(estimates["at random"], dropout.truth())
    assert np.abs(z).max() < 4 and np.abs(bias).max() < 0.05, (bias, z)
    bias, z = errors(estimates["complete cases"], dropout.truth())
    assert np.abs(z).max() > 6 and np.abs(bias).max() > 0.06, (bias, z)


@pytest.mark.slow
def test_the_true_shift_gives_the_bias_of_dropout_not_at_random_back(estimates):
    known = dropout.truth(SHIFT)
    bias, z = errors(estimates["not at random"], known)
    assert np.abs(z).max() > 10 and np.abs(bias).max() > 0.2, (bias, z)
    bias, z = errors(estimates["not at random, shifted"], known)
    assert np.abs(z).max() < 4 and np.abs(bias).max() < 0.05, (bias, z)
