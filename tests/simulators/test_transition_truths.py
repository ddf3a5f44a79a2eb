"""Generators of transition times: simulated means agree with the closed forms, which agree with quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad

from bayesdtr.data import read
from bayesdtr.simulators import declined_rerandomization as declined
from bayesdtr.simulators import transition_times as tt

N = 40_000


def test_published_restricted_means():
    found = [regime.value for regime in tt.truth().regimes.values()]
    np.testing.assert_allclose(found, [16.965783, 15.229205, 15.211740, 15.906890], atol=1e-6)
    assert tt.truth().optimal.value == found[0]
    assert tt.truth().details["first time under 1"] > tt.truth().details["first time under 0"]  # the trap


@pytest.mark.parametrize("label", ["00", "01", "10", "11"])
def test_simulated_times(label):
    regime = tt.truth().regimes[label]
    frame = tt.simulate(N, seed=3, policy=regime.policy, censored=False)
    lived = np.minimum(frame.t1 + frame.t2, tt.HORIZON)
    assert abs(lived.mean() - regime.value) < 4 * lived.std() / np.sqrt(N)
    a, b = int(label[0]), int(label[1])
    np.testing.assert_allclose(regime.value, quad(lambda t: tt.survival(a, b, t), 0, tt.HORIZON)[0], rtol=1e-9)


@pytest.mark.parametrize("label", list(declined.truth().regimes))
def test_simulated_survival(label):
    """Everyone is followed for at least six months, so survival at five is seen."""
    regime = declined.truth(5.0).regimes[label]
    frame = declined.simulate(N, seed=3, policy=regime.policy, declining=False)
    dead = ((frame.response == 0) & (frame.t1 <= 5)) | ((frame.died == 1) & (frame.t1 + frame.t2 <= 5))
    assert abs((1 - dead.mean()) - regime.value) < 4 * np.sqrt(regime.value * (1 - regime.value) / N)


def test_a_seed_gives_the_same_patients_under_every_policy():
    for module in (tt, declined):
        trial, treated = module.simulate(200, seed=1), module.simulate(200, seed=1, policy=module.truth().optimal.policy)
        same = (trial["first"] == treated["first"]) & (trial["second"].fillna("") == treated["second"].fillna(""))
        assert 0 < same.sum() < 200
        assert trial[same].equals(treated[same])


def test_the_declarations_fit_the_frames():
    assert read(tt.study(), tt.simulate(200, seed=1)).censored("t1").any()
    data = read(declined.study(), declined.simulate(400, seed=1))
    assert "not been followed to the end" in " ".join(data.notes)  # those who declined wait before the second decision
    assert "The course of" in " ".join(data.notes)
