"""SMART-AR against a plain loop over one trial's patients, and its published figures."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from bayesdtr.errors import TrialError
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, Response, Study, Utility, when
from bayesdtr.trial.allocation import Fixed, PermutedBlock, Situation, SmartAR, Thompson
from bayesdtr.trial.allocation.smart_ar import completed, q_functions, swept
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.observed import Observed

CHEUNG = Study(Decision("a1", ["0", "1"]), Response("r", Bernoulli()), Decision("a2", ["0", "1"]), Response("y", Normal()), utility="y",
               scales={"y": 10})


def trials(count, patients, seed, known=0.8, options=(2, 2), arms=(0.5, 0.5)):
    """Records of a batch of trials in which some outcomes are pending."""
    rng = np.random.default_rng(seed)
    shape = (count, patients)
    a1 = rng.choice(options[0], size=shape, p=arms)
    r = rng.integers(2, size=shape).astype(float)
    a2 = rng.integers(options[1], size=shape)
    y = 3.0 * a1 + 2 * r - 4 * a1 * a2 + a2 * r + rng.normal(0, 6.7, shape)
    late = rng.random(shape) > known
    columns = {"a1": a1, "r": np.where(late, np.nan, r), "a2": np.where(late, -1, a2), "y": np.where(late, np.nan, y)}
    return Observed(columns, None, np.zeros(shape, dtype=int), np.ones(shape, dtype=bool))


def ask(rule, data, study=CHEUNG, *, decision=0, trial=None, columns=None, feasible=None):
    trial = np.arange(data.size) if trial is None else trial
    options = len(study.decisions[decision].options)
    feasible = np.ones((len(trial), options), dtype=bool) if feasible is None else feasible
    rule.check(study, study.decisions[decision].name)
    none = np.zeros((len(trial), options), dtype=int)
    return Situation(study, decision, trial, columns or {}, feasible, None, data, np.full(len(trial), 100), 100, none)


# ---- the same in plain Python ----------------------------------------------------------------------


def least_squares(rows, y):
    """Coefficients with aliased later columns 0, and the residual SD."""
    x = np.array(rows, dtype=float)
    kept = []
    for j in range(x.shape[1]):
        if np.linalg.matrix_rank(x[:, [*kept, j]]) == len(kept) + 1:
            kept.append(j)
    b = np.zeros(x.shape[1])
    b[kept] = np.linalg.lstsq(x[:, kept], y, rcond=None)[0]
    left = len(y) - len(kept)
    return b, math.sqrt(((y - x @ b) ** 2).sum() / left) if left > 0 else 0.0


def terms(a1, r, a2):
    return [1, a1, a2, a1 * a2, r, r * (1 - a1) * a2, r * a1 * (1 - a2)]


def mix(q, sigma, n, base, tau, minimum):
    """Probabilities of options with given Q, some of them None."""
    there = [v for v in q if v is not None]
    q = [v if v is not None else (sum(there) / len(there) if there else 0.0) for v in q]
    power = [min(math.log(base) * (v - min(q)) / sigma if sigma else (math.inf if v > min(q) else 0.0), math.log(1e5)) for v in q]
    hat = [math.exp(p) for p in power]
    hat = [h / sum(hat) for h in hat]
    lam = tau ** (1 / (base - 1)) * minimum / n
    w0 = lam ** (base - 1)
    pi = [(1 / len(q)) ** w0 * h ** (1 - w0) for h in hat]
    return [p / sum(pi) for p in pi]


def plain(records, model, base, tau, minimum):
    """Stage-1 probabilities and those of every (a1, r), from a list of (a1, r, a2, y) of completed patients."""
    n = len(records)
    y = np.array([x[3] for x in records])
    if model == "published":
        b, sigma = least_squares([terms(a1, r, a2) for a1, r, a2, _ in records], y)
        q2 = {(a1, r, a2): float(np.dot(b, terms(a1, r, a2))) for a1, r, a2 in itertools.product((0, 1), repeat=3)}
    else:
        cells = sorted({x[:3] for x in records})
        b, sigma = least_squares([[x[:3] == c for c in cells] for x in records], y)
        q2 = dict(zip(cells, b, strict=True))
    second = {(a1, r): mix([q2.get((a1, r, a2)) for a2 in (0, 1)], sigma, n, base, tau, minimum) for a1 in (0, 1) for r in (0, 1)}
    pseudo = np.array([max(q2[a1, r, a2] for a2 in (0, 1) if (a1, r, a2) in q2) for a1, r, _, _ in records])
    arms = sorted({x[0] for x in records})
    b, sigma = least_squares([[x[0] == c for c in arms] for x in records], pseudo)
    q1 = dict(zip(arms, b, strict=True))
    return mix([q1.get(a) for a in (0, 1)], sigma, n, base, tau, minimum), second


@pytest.mark.parametrize("model", ["saturated", "published"])
@pytest.mark.parametrize("patients, seed, arms", [(60, 1, (0.5, 0.5)), (30, 2, (0.5, 0.5)), (26, 3, (0.95, 0.05)), (30, 5, (1.0, 0.0))])
def test_it_is_the_plain_loop(model, patients, seed, arms):
    """Empty cells, arms nobody was given and aliased terms included."""
    data = trials(25, patients, seed, arms=arms)
    rule = SmartAR(base=4, tau=0.6, minimum=20, model=model)
    first = rule.probabilities(ask(rule, data))
    grid = np.array(list(itertools.product(range(25), (0, 1), (0, 1))))
    columns = {"a1": grid[:, 1], "r": grid[:, 2].astype(float)}
    second = rule.probabilities(ask(rule, data, decision=1, trial=grid[:, 0], columns=columns)).reshape(25, 2, 2, 2)
    adapted = 0
    for t in range(25):
        c = data.columns
        here = np.flatnonzero(~np.isnan(c["y"][t]))
        records = [(int(c["a1"][t, i]), int(c["r"][t, i]), int(c["a2"][t, i]), float(c["y"][t, i])) for i in here]
        if len(records) < 20:
            np.testing.assert_array_equal(first[t], 0.5)
            np.testing.assert_array_equal(second[t], 0.5)
            continue
        adapted += 1
        want, wanted = plain(records, model, 4, 0.6, 20)
        np.testing.assert_allclose(first[t], want, rtol=1e-8)
        for a1, r in itertools.product((0, 1), repeat=2):
            np.testing.assert_allclose(second[t, a1, r], wanted[a1, r], rtol=1e-8)
    assert adapted >= 10


def test_published_coefficients_of_codiacs(shared_data):
    """The published model and Q-learning on the data of the paper (108 patients)."""
    frame = pd.read_csv(shared_data / "codiacs.csv")
    columns = {n: frame[[m]].to_numpy().T for n, m in (("a1", "A1"), ("r", "O2"), ("a2", "A2"), ("y", "Y"))}
    columns["r"], columns["y"] = columns["r"].astype(float), columns["y"].astype(float)
    data = Observed(columns, None, np.zeros((1, len(frame)), dtype=int), np.ones((1, len(frame)), dtype=bool))
    here = ask(SmartAR(model="published"), data)
    first, second = q_functions(here, *completed(here), "published")
    at = lambda a1, r, a2: second.value[0, np.ravel_multi_index((a1, r, a2), (3, 3, 3))]  # noqa: E731
    b = [2.206382, 5.593618, 8.293618, -12.102015, 7.745303, -13.045303, 6.454697]
    for a1, r, a2 in itertools.product((0, 1), repeat=3):
        assert at(a1, r, a2) == pytest.approx(np.dot(b, terms(a1, r, a2)), abs=2e-6)
    assert second.sigma[0] ** 2 == pytest.approx(45.20968, abs=1e-5)
    np.testing.assert_allclose(first.value[0, :2], [10.21605, 15.44615], atol=1e-5)
    assert first.sigma[0] ** 2 == pytest.approx(24.62276, abs=1e-5)
    # Weights of the randomization with base 2, as the paper's initial probabilities were made of them.
    odds = 2 ** ((15.44615 - 10.21605) / math.sqrt(24.62276))
    assert odds / (1 + odds) == pytest.approx(0.6749323, abs=1e-5)


def test_sweeping_leaves_out_later_aliases():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(3, 40, 3)).astype(float)
    x[1, :, 2] = x[1, :, 0]
    x[2, :, 1] = 0
    y = rng.normal(size=(3, 40, 1))
    z = np.concatenate([x, y], axis=2)
    system, kept = swept(np.stack([a.T @ a for a in z]), 3)
    np.testing.assert_array_equal(kept, [[True, True, True], [True, True, False], [True, False, True]])
    for t in range(3):
        np.testing.assert_allclose(system[t, :3, 3][kept[t]], np.linalg.lstsq(x[t][:, kept[t]], y[t, :, 0], rcond=None)[0], rtol=1e-10)


# ---- any SMART ------------------------------------------------------------------------------------


def test_only_feasible_options_count_and_the_utility_is_what_is_earned():
    study = Study(Decision("a1", ["a", "b"]), Response("r", Bernoulli()), Decision("a2", {when(r=0): ["x", "y", "z"], when(r=1): ["x"]}),
                  Response("y", Normal()), utility=Utility({"y": 2.0, "r": 1.0}, costs={"a1": {"b": 0.5}}), scales={"y": 1})
    rng = np.random.default_rng(4)
    a1, r = rng.integers(2, size=(1, 80)), rng.integers(2, size=(1, 80)).astype(float)
    a2 = np.where(r == 0, rng.integers(3, size=(1, 80)), 0)
    y = a1 + a2 * 0.3 + rng.normal(size=(1, 80))
    data = Observed({"a1": a1, "r": r, "a2": a2, "y": y}, None, np.zeros((1, 80), dtype=int), np.ones((1, 80), dtype=bool))
    rule = SmartAR(base=3)
    columns = {"a1": np.array([0, 1, 0]), "r": np.array([0.0, 1.0, 0.0])}
    feasible = np.array([[True, True, True], [True, False, False], [True, False, True]])
    got = rule.probabilities(ask(rule, data, study, decision=1, trial=np.zeros(3, dtype=int), columns=columns, feasible=feasible))
    assert got[1].tolist() == [1, 0, 0] and got[2, 1] == 0 and np.allclose(got.sum(axis=1), 1)
    total = 2 * y + r - 0.5 * a1
    cell = {(i, j, k): total[(a1 == i) & (r == j) & (a2 == k)] for i in (0, 1) for j in (0, 1) for k in range(3)}
    cell = {k: v for k, v in cell.items() if len(v)}
    sigma = math.sqrt(sum(((v - v.mean()) ** 2).sum() for v in cell.values()) / (80 - len(cell)))
    np.testing.assert_allclose(got[0], mix([cell[0, 0, k].mean() for k in range(3)], sigma, 80, 3, 0.75, 20), rtol=1e-9)
    np.testing.assert_allclose(got[2, [0, 2]], mix([cell[0, 0, k].mean() for k in (0, 2)], sigma, 80, 3, 0.75, 20), rtol=1e-9)


def test_a_trial_does_not_depend_on_its_neighbors():
    data = trials(40, 50, 9)
    rule = SmartAR()
    whole = rule.probabilities(ask(rule, data))
    for some in (np.array([7]), np.arange(31), np.array([39, 2, 2])):
        np.testing.assert_array_equal(rule.probabilities(ask(rule, data.take(some))), whole[some])


def test_initial_probabilities_weigh_less_and_less():
    rule = SmartAR(minimum=20, initial=Fixed({"0": 0.8, "1": 0.2}))
    few = trials(1, 19, 1, known=1.0)
    np.testing.assert_array_equal(rule.probabilities(ask(rule, few)), [[0.8, 0.2]])
    data = trials(1, 20, 1, known=1.0)
    here = ask(rule, data)
    equal = SmartAR(minimum=20).probabilities(here)[0]
    # At the minimum the initial probabilities weigh tau, and equal ones nothing, so what is left is the Q-functions' part.
    odds = (equal[1] / equal[0]) * (0.2 / 0.8) ** 0.75
    np.testing.assert_allclose(rule.probabilities(here)[0, 1], odds / (1 + odds), rtol=1e-12)


@pytest.mark.parametrize("make, words", [
    (lambda: SmartAR(base=1), "above 1, got 1"),
    (lambda: SmartAR(tau=1.2), "at most 1, got 1.2"),
    (lambda: SmartAR(minimum=0), "at least 1, got 0"),
    (lambda: SmartAR(model="publshed"), "did you mean 'published'"),
    (lambda: SmartAR(initial=Thompson()), r"Equal\(\) or Fixed"),
    (lambda: SmartAR(initial=PermutedBlock()), r"Equal\(\) or Fixed"),
    (lambda: SmartAR(model="published").check(Study(Decision("a1", ["0", "1"]), Response("y", Normal()), utility="y"), "a1"), "two decisions"),
    (lambda: SmartAR(initial=Fixed({"a": 0.5, "b": 0.5})).check(CHEUNG, "a1"), "no option of 'a1'"),
    (lambda: SmartAR().check(Study(Decision("a1", ["0", "1"]), Response("r", Bernoulli()), Decision("a2", {when(r=0): ["0", "1"], when(r=1): []}),
                                   Response("y", Normal()), utility=Utility({"y": 1, "r": 1})), "a1"), "may end before"),
])
def test_refusals(make, words):
    with pytest.raises(TrialError, match=words):
        make()


def test_covariates_are_not_looked_at():
    study = Study(Baseline("age"), Decision("a1", ["0", "1"]), Response("r", Bernoulli()), Decision("a2", ["0", "1"]), Response("y", Normal()),
                  utility="y", scales={"y": 10, "age": (50, 10)})
    data = trials(5, 40, 3)
    with_age = Observed({**data.columns, "age": np.random.default_rng(1).normal(50, 10, (5, 40))}, None, data.period, data.enrolled)
    rule = SmartAR()
    np.testing.assert_array_equal(rule.probabilities(ask(rule, with_age, study)), rule.probabilities(ask(rule, data)))
    assert rule.unseen(study, "a2") == ("age",) and rule.unseen(study, "a1") == ("age",)


def test_a_design_says_what_it_ignores():
    timeline = (Decision("a1", ["0", "1"]), Response("r", Normal()), Decision("a2", ["0", "1"]), Response("y", Normal()))
    study = Study(Baseline("age"), *timeline, utility="y", scales={"y": (0, 10), "age": (50, 10), "r": (0, 1)})
    text = str(TrialDesign(study, size=60, looks=[30], allocation=SmartAR()))
    assert "ignores 'age': patients are assigned alike whatever" in text and "ignores 'age', 'r': patients" in text
    assert "ignores" not in str(TrialDesign(study, size=60, looks=[30], allocation=Thompson()))
    assert max(map(len, text.splitlines())) <= 100


def test_it_says_what_it_does():
    assert SmartAR().text() == "SMART-AR, base 10, tau 0.75, after 20 completed"
    assert SmartAR(2, 0.5, 10, model="published").text() == "SMART-AR, base 2, tau 0.5, after 10 completed, published model"


# ---- published operating characteristics -------------------------------------------------------------

THETA = {"S1": (2.206, 5.594, 8.294, 7.745, -12.102, 6.455, -13.045, 6.59), "S3": (2.206, 5.594, 8.294, 7.745, -12.102, -6.455, -13.045, 19.5),
         "S5": (1.320, 6.480, 9.180, 9.555, -11.822, 4.645, -14.855, 6.382)}


def mean_outcome(theta, a1, r, a2):
    return sum(t * x for t, x in zip(theta, (1, a1, a2, r, a1 * a2, a1 * r, a2 * r, a1 * a2 * r), strict=True))


def cheung_trials(rule, theta, count, seed, size=100):
    """The authors' simulation: 4 patients a month, outcomes after 6 months, probabilities anew for every patient; what each trial learned."""
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / 4, (count, size)), axis=1)
    luck = rng.random((3, count, size))
    noise = rng.normal(0, 6.7, (count, size))
    a1, r, a2, y = np.full((count, size), -1), np.full((count, size), np.nan), np.full((count, size), -1), np.full((count, size), np.nan)
    for i in range(size):
        done = arrival < arrival[:, [i]] - 6
        columns = {"a1": np.where(done, a1, -1), "r": np.where(done, r, np.nan), "a2": np.where(done, a2, -1), "y": np.where(done, y, np.nan)}
        data = Observed(columns, None, np.zeros((count, size), dtype=int), done)
        a1[:, i] = luck[0, :, i] >= rule.probabilities(ask(rule, data))[:, 0]
        r[:, i] = luck[1, :, i] < np.where(a1[:, i] == 1, 28 / 52, 29 / 56)
        a2[:, i] = luck[2, :, i] >= rule.probabilities(ask(rule, data, decision=1, columns={"a1": a1[:, i], "r": r[:, i]}))[:, 0]
        y[:, i] = mean_outcome(theta, a1[:, i], r[:, i], a2[:, i]) + noise[:, i]
    cell = np.stack([(a1 == i) & (r == j) & (a2 == k) for i, j, k in itertools.product((0, 1), repeat=3)])
    q2 = np.where(cell.any(axis=2), (cell * y).sum(axis=2) / np.maximum(cell.sum(axis=2), 1), -np.inf).T.reshape(count, 2, 2, 2)
    best = q2.max(axis=3)
    pseudo = np.where(r == 1, np.where(a1 == 1, best[:, 1, [1]], best[:, 0, [1]]), np.where(a1 == 1, best[:, 1, [0]], best[:, 0, [0]]))
    first = np.stack([np.where(a1 == a, pseudo, 0).sum(axis=1) / (a1 == a).sum(axis=1) for a in (0, 1)], axis=1).argmax(axis=1)
    second = q2.argmax(axis=3)[np.arange(count), first]
    return first, second, y.mean(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("scenario, regime, balanced, adaptive", [("S1", (1, 0, 0), 0.90, 0.93), ("S3", (0, 1, 0), 0.51, 0.50),
                                                                  ("S5", (1, 0, 0), 0.82, 0.85)])
def test_published_chances_of_the_right_regime(scenario, regime, balanced, adaptive):
    """Cheung et al. 2015, read from a figure to within .02; patients do better than under equal allocation."""
    count = 1500
    means = []
    for rule, published in ((SmartAR(minimum=101), balanced), (SmartAR(model="published"), adaptive)):
        first, second, outcome = cheung_trials(rule, THETA[scenario], count, 7)
        right = ((first == regime[0]) & (second[:, 0] == regime[1]) & (second[:, 1] == regime[2])).mean()
        assert abs(right - published) < 0.02 + 4 * math.sqrt(right * (1 - right) / count)
        means.append(outcome)
    gain = means[1] - means[0]
    assert gain.mean() > 4 * gain.std() / math.sqrt(count)
