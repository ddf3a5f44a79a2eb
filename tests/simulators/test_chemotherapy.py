"""The chemotherapy generator: stated values, and its best doses against a plain search through every sequence of doses."""

import itertools

import numpy as np
import pytest

from bayesdtr.errors import DecisionError
from bayesdtr.simulators import chemotherapy

# Mean return and survival under one dose in every month, by simulation with standard errors of at most .07.
STATED = {"0": (-61.51, 0.139), "0.3": (-49.67, 0.185), "0.5": (-48.17, 0.197), "0.7": (-43.63, 0.162), "1": (-52.12, 0.018)}


def by_hand(w0, m0, doses):
    """Expected return of one patient under given doses, one number at a time."""
    w, m, alive, total = w0, m0, 1.0, 0.0
    for d in doses:
        w2 = w + 0.1 * max(m, m0) + 1.2 * (d - 0.5)
        m2 = max(m + 0.15 * max(w, w0) - 1.2 * (d - 0.5), 0.0) if m > 0 else 0.0
        p = np.exp(-np.exp(-4 + w2 + m2))
        toxicity = 5 if w2 - w <= -0.5 else -5 if w2 - w >= 0.5 else 0
        tumor = 15 if m2 == 0 else 5 if m2 - m <= -0.5 else -5 if m2 - m >= 0.5 else 0
        total += alive * (p * (toxicity + tumor) - 60 * (1 - p))
        w, m, alive = w2, m2, alive * p
    return total


def patients(n, seed):
    return np.random.default_rng(seed).uniform(0, 2, (2, n))


@pytest.mark.parametrize(("months", "n"), [(1, 60), (2, 15), (3, 2)])
def test_best_values_by_every_sequence_of_doses(months, n):
    w0, m0 = patients(n, 2)
    doses = [float(d) for d in chemotherapy.DOSES]
    plain = [max(by_hand(w, m, s) for s in itertools.product(doses, repeat=months)) for w, m in zip(w0, m0, strict=True)]
    np.testing.assert_allclose(chemotherapy.best_values(w0, m0, months), plain, atol=1e-10, rtol=0)


def test_six_months_against_every_path():
    """11 to the power of 6 sequences, grown as one array, no month in closed form."""
    for w0, m0 in patients(2, 3).T:
        w, m, alive, total = (np.array([v]) for v in (w0, m0, 1.0, 0.0))
        for _ in range(6):
            d = np.arange(11) / 10
            w2 = (w[:, None] + 0.1 * np.maximum(m, m0)[:, None] + 1.2 * (d - 0.5)).ravel()
            m2 = np.where(m[:, None] > 0, np.maximum(m[:, None] + 0.15 * np.maximum(w, w0)[:, None] - 1.2 * (d - 0.5), 0), 0).ravel()
            w, m, alive, total = (np.repeat(v, 11) for v in (w, m, alive, total))
            p = np.exp(-np.exp(-4 + w2 + m2))
            gain = 5.0 * (w2 - w <= -0.5) - 5.0 * (w2 - w >= 0.5) + np.where(m2 == 0, 15, 5.0 * (m2 - m <= -0.5) - 5.0 * (m2 - m >= 0.5))
            w, m, alive, total = w2, m2, alive * p, total + alive * (p * gain - 60 * (1 - p))
        assert len(total) == 11**6
        assert chemotherapy.best_values([w0], [m0]) == pytest.approx(total.max(), abs=1e-10)


def test_constant_doses_have_their_stated_values():
    regimes = chemotherapy.truth(points=4)
    for dose, (value, survival) in STATED.items():
        assert regimes.regimes[dose].value == pytest.approx(value, abs=4 * 0.07)
        assert regimes.details[f"survival under {dose}"] == pytest.approx(survival, abs=2e-3)
    w0, m0 = patients(50, 4)
    for dose in (0.0, 0.7):
        found = chemotherapy.value_of(w0, m0, [dose] * 6)[0]
        np.testing.assert_allclose(found, [by_hand(w, m, [dose] * 6) for w, m in zip(w0, m0, strict=True)], atol=1e-12)


def test_the_best_doses_of_200_patients():
    """Stated: 1.6 with a standard error of 4.4 over 200 patients. Paired with one dose for all, patient by patient."""
    w0, m0 = patients(200, 5)
    best = chemotherapy.best_values(w0, m0)
    error = best.std(ddof=1) / np.sqrt(200)
    assert error == pytest.approx(4.4, abs=0.6) and abs(best.mean() - 1.6) < 4 * np.hypot(error, 4.4)
    known = chemotherapy.truth(points=12)
    assert abs(best.mean() - known.optimal.value) < 4 * error + known.error
    for dose in STATED:
        gain = best - chemotherapy.value_of(w0, m0, [float(dose)] * 6)[0]
        assert gain.min() > -1e-12 and gain.mean() > 4 * gain.std() / np.sqrt(200)


def test_the_average_over_starts_has_the_error_it_states():
    values = {points: chemotherapy.truth(months=3, points=points) for points in (8, 16, 64)}
    for points in (8, 16):
        assert abs(values[points].optimal.value - values[64].optimal.value) < values[points].error
    # Doses that a trial would really try: fewer of them are worth less.
    few = chemotherapy.truth(months=3, doses=("0.2", "0.5", "0.8"), points=16)
    assert few.optimal.value < values[16].optimal.value and few.optimal.value > max(r.value for r in few.regimes.values())


@pytest.mark.parametrize("months", [2, 4])
def test_simulated_returns_agree_with_the_truth(months):
    known = chemotherapy.truth(months=months, doses=("0", "0.3", "0.5", "0.7", "1"), points=40)
    for label, regime in {"optimal": known.optimal, **known.regimes}.items():
        frame = chemotherapy.simulate(8000, seed=9, policy=regime.policy, months=months, doses=("0", "0.3", "0.5", "0.7", "1"))
        got = chemotherapy.returns(frame)
        assert abs(got.mean() - regime.value) < 4 * got.std() / np.sqrt(len(got)) + known.error, label


def test_frames():
    trial, again = chemotherapy.simulate(300, seed=1), chemotherapy.simulate(300, seed=1)
    assert trial.equals(again) and not trial.equals(chemotherapy.simulate(300, seed=2))
    assert [c for c in trial if c[0] not in "wm"] == [n for n in chemotherapy.study().names if n not in ("w0", "m0")]
    other = chemotherapy.simulate(300, seed=1, policy=chemotherapy.truth(points=4).regimes["0.5"].policy)
    same = trial["dose1"] == "0.5"
    assert trial.loc[same, ["w0", "m0", "died1", "gain1", "w1", "m1"]].equals(other.loc[same, ["w0", "m0", "died1", "gain1", "w1", "m1"]])
    for k in range(1, 6):
        over = trial[f"died{k}"] != 0
        assert trial.loc[over, [f"dose{k + 1}", f"died{k + 1}", f"gain{k + 1}", f"w{k + 1}"]].isna().all(axis=None)
        assert (trial.loc[trial[f"died{k}"] == 1, f"gain{k}"] == -60).all() and trial.loc[~over, f"died{k + 1}"].notna().all()


def test_what_it_refuses():
    with pytest.raises(DecisionError, match=r"no decision 'dose7'.*decisions: 'dose1'"):
        chemotherapy.simulate(5, seed=1, policy={"dose7": lambda frame: frame})
    with pytest.raises(DecisionError, match="increasing order"):
        chemotherapy.simulate(5, seed=1, doses=("0.5", "0.1"))
