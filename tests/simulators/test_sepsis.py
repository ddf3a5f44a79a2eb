"""The sepsis kernel: stated values, its own equations, and a literal program of its rules."""

import itertools

import numpy as np
import pytest

from bayesdtr.errors import DecisionError
from bayesdtr.simulators import always, sepsis

# Optimal, random and untreated under a discount of .99; optimal without discount, and over 20 steps.
STATED = {True: (0.477098, -0.810472, -0.783929, 0.540020, 0.449151), False: (0.741765, -0.768233, -0.736391, 0.919465, 0.579961)}


@pytest.mark.parametrize("as_released", [True, False])
def test_values_to_six_digits(as_released):
    known = sepsis.truth(as_released)
    found = (known.optimal.value, known.regimes["random"].value, known.regimes["none"].value, known.details["undiscounted"],
             known.details["undiscounted, 20 steps"])
    assert found == pytest.approx(STATED[as_released], abs=5.1e-7)


@pytest.mark.parametrize("as_released", [True, False])
def test_the_kernel_is_a_law(as_released):
    k = sepsis.kernel(as_released)
    assert len(sepsis.STATES) == 1440 and len(k.going) == 1440 - 834
    assert (sepsis.outcome(sepsis.STATES) == 0).sum() == 606
    for sign in k.signs:
        assert (sign >= 0).all()
        np.testing.assert_allclose(sign.sum(axis=2), 1, atol=1e-12)
    ends = 1 - k.step.sum(axis=2)  # discharge or death
    assert (ends > -1e-12).all() and (np.abs(k.reward) <= ends + 1e-12).all()
    assert k.begin.sum() == pytest.approx(1) and k.begin[sepsis.STATES[k.going, 0] == 1].sum() == pytest.approx(0.2)
    assert np.array_equal(sepsis.index_of(sepsis.STATES), np.arange(1440))


def test_the_best_policy_solves_its_own_equations():
    """No treatment in any state improves on it, and its value is that of the linear system."""
    k = sepsis.kernel()
    value, choice = sepsis.solve()
    q = k.reward + sepsis.DISCOUNT * np.einsum("sat,t->sa", k.step, value)
    assert (q.max(axis=1) - value).max() < 1e-11
    np.testing.assert_allclose(sepsis.value_of(np.eye(8)[choice]), value, atol=1e-9)
    rng = np.random.default_rng(1)
    for _ in range(3):
        other = rng.integers(0, 8, len(choice))
        assert (sepsis.value_of(np.eye(8)[other]) <= value + 1e-9).all()
    # Over a few steps: every sequence of choices is among what backward induction has looked at.
    one, two = sepsis.solve(discount=1.0, steps=1)[0], sepsis.solve(discount=1.0, steps=2)[0]
    np.testing.assert_allclose(one, k.reward.max(axis=1), atol=1e-15)
    np.testing.assert_allclose(two, np.max([k.reward[:, a] + k.step[:, a] @ one for a in range(8)], axis=0), atol=1e-12)


def literally(state, option, rng, as_released):
    """One step by the rules, one patient, in the order in which they are stated."""
    d, hr, bp, o2, g, a0, v0, o0 = (int(x) for x in state)
    a, v, o = (name in sepsis.OPTIONS[option].split("+") for name in ("antibiotics", "vasopressors", "ventilation"))
    if a:
        hr = 1 if hr == 2 and rng.random() < 0.5 else hr
        bp = 1 if bp == 2 and rng.random() < 0.5 else bp
    elif a0:
        hr = 2 if hr == 1 and rng.random() < 0.1 else hr
        bp = 2 if bp == 1 and rng.random() < 0.1 else bp
    if o:
        o2 = 1 if o2 == 0 and rng.random() < 0.7 else o2
    elif o0:
        o2 = 0 if o2 == 1 and rng.random() < 0.1 else o2
    if v and not d:
        bp += bp < 2 and rng.random() < 0.7
    elif v:
        u = rng.random()
        bp = {0: 1 if u < 0.5 else 2 if u < 0.9 else 0, 1: 2 if u < 0.9 else 1, 2: 2}[bp]
        g = min(4, g + 1) if rng.random() < 0.5 else g
    elif v0:
        bp -= bp > 0 and rng.random() < (0.05 if d else 0.1)

    def fluctuate(level, p, top):
        u = rng.random()
        return max(0, level - 1) if u < p else min(top, level + 1) if u < 2 * p else level

    hr = hr if a or a0 else fluctuate(hr, 0.1, 2)
    bp = bp if a or a0 or v or v0 else fluctuate(bp, 0.1, 2)
    o2 = o2 if o or o0 else fluctuate(o2, 0.1, 1)
    g = g if v else fluctuate(g, 0.3 if d else 0.1, 1 if as_released and not d else 4)
    return [d, hr, bp, o2, g, int(a), int(v), int(o)]


@pytest.mark.parametrize("as_released", [True, False])
def test_the_kernel_against_the_rules_played_literally(as_released):
    rng = np.random.default_rng(7)
    k, n = sepsis.kernel(as_released), 1500
    for state, option in itertools.product(rng.choice(k.going, 6, replace=False), range(8)):
        after = np.array([literally(sepsis.STATES[state], option, rng, as_released) for _ in range(n)])
        assert (after[:, 0] == sepsis.STATES[state, 0]).all() and (after[:, 5:] == sepsis.GIVEN[option]).all()
        for column, sign in enumerate(k.signs, start=1):
            p = sign[state, option]
            share = np.bincount(after[:, column], minlength=len(p)) / n
            assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-12).all()  # 48 cells of up to 13 levels: 5 SE
        reached = sepsis.outcome(after).mean()
        assert abs(reached - k.reward[np.searchsorted(k.going, state), option]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("as_released", [True, False])
def test_simulated_returns_agree(as_released):
    known = sepsis.truth(as_released)
    for label, regime in {"optimal": known.optimal, **known.regimes}.items():
        frame = sepsis.simulate(4000, seed=3, policy=regime.policy, steps=400, as_released=as_released)
        got = sepsis.returns(frame)
        assert abs(got.mean() - regime.value) < 4 * got.std() / np.sqrt(len(got)), label
    short = sepsis.returns(sepsis.simulate(4000, seed=4, policy=known.optimal.policy, as_released=as_released), 1.0)
    assert short.mean() < known.details["undiscounted, 20 steps"] + 4 * short.std() / np.sqrt(4000)


def test_the_same_patients_under_every_policy():
    trial, again = sepsis.simulate(300, seed=1), sepsis.simulate(300, seed=1)
    assert trial.equals(again) and not trial.equals(sepsis.simulate(300, seed=2))
    assert set(trial["treatment"]) == set(sepsis.OPTIONS) and trial.groupby("patient").size().max() <= 20
    none = sepsis.simulate(300, seed=1, policy={"treatment": always("none")})
    signs = list(sepsis.SIGNS)
    first = trial[trial["step"] == 0].set_index("patient")
    assert first[signs].equals(none[none["step"] == 0].set_index("patient")[signs])
    # Who happened to be untreated at first goes the same way.
    same = first.index[first["treatment"] == "none"]
    second = [f[f["step"] == 1].set_index("patient")[signs] for f in (trial, none)]
    both = second[0].index.intersection(same)
    assert len(both) > 5 and second[0].loc[both].equals(second[1].loc[both])
    ended = trial.groupby("patient")["reward"].agg(lambda r: int((r != 0).sum()))
    last = trial.groupby("patient")["step"].max()[ended == 1]
    assert ended.max() == 1 and trial[trial["reward"] != 0]["step"].tolist() == last.tolist()


def test_what_it_refuses():
    with pytest.raises(DecisionError, match=r"no decision 'treat'.*did you mean 'treatment'"):
        sepsis.simulate(10, seed=1, policy={"treat": always("none")})
    with pytest.raises(DecisionError, match="steps is a number of at least 1, got 0"):
        sepsis.simulate(10, seed=1, steps=0)
    with pytest.raises(DecisionError, match="'rest' is not an option"):
        sepsis.simulate(10, seed=1, policy={"treatment": always("rest")})
