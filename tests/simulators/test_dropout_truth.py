"""Patients who leave: the truths against simulation, and what the recorded data show of the mechanism."""

import numpy as np
import pytest
from scipy.special import expit

from bayesdtr.errors import DecisionError
from bayesdtr.simulators import chakraborty, dropout

N = 200_000
SHIFT = (0.6, -0.9)


@pytest.mark.parametrize("shift", [(0.0, 0.0), SHIFT])
def test_values_agree_with_simulation(shift):
    known = dropout.truth(shift)
    for i, regime in enumerate([known.optimal, *known.regimes.values()]):
        y = dropout.simulate(N, seed=20 + i, policy=regime.policy, shift=shift, complete=True)["y"].to_numpy()
        assert abs(y.mean() - regime.value) < 4.5 * y.std() / np.sqrt(N)
    assert known.optimal.value >= max(r.value for r in known.regimes.values()) - 1e-12


def test_without_a_shift_the_truth_is_that_of_the_study_without_dropout():
    known, without = dropout.truth(), chakraborty.truth("6")
    assert known.optimal.value == pytest.approx(without.optimal.value, abs=1e-12)
    for a in chakraborty.OPTIONS:
        for b in chakraborty.OPTIONS:
            assert known.regimes[f"{a}; {b}; {b}"].value == pytest.approx(without.regimes[f"{a}; {b}"].value, abs=1e-12)


def test_who_leaves():
    frame = dropout.simulate(N, seed=5)
    stays = frame["y"].notna().to_numpy()
    assert (frame["second"].notna().to_numpy() == stays).all()
    for o2 in (0, 1):
        for a1, sign in zip(chakraborty.OPTIONS, (-1, 1), strict=True):
            here = ((frame["o2"] == o2) & (frame["first"] == a1)).to_numpy()
            p = expit(1 - 0.8 * (o2 == 0) + 0.5 * sign)
            assert abs(stays[here].mean() - p) < 4.5 * np.sqrt(p * (1 - p) / here.sum())
    for a1 in chakraborty.OPTIONS:
        here = (frame["first"] == a1).to_numpy()
        assert abs((~stays[here]).mean() - dropout.truth().details[f"leave_{a1}"]) < 4.5 * 0.5 / np.sqrt(here.sum())


def test_only_leavers_are_shifted():
    plain, moved = (dropout.simulate(500, seed=3, shift=s, complete=True) for s in ((0.0, 0.0), SHIFT))
    lost = dropout.simulate(500, seed=3)["y"].isna()
    change = np.where(lost, np.where(plain["first"] == "+1", SHIFT[1], SHIFT[0]), 0.0)
    np.testing.assert_allclose(moved["y"] - plain["y"], change, atol=1e-12)
    with pytest.raises(DecisionError, match=r"shift is a pair of numbers.*got 0.5"):
        dropout.simulate(10, seed=1, shift=0.5)
