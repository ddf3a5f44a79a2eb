"""Scenarios bound to studies: patients, their answers, what they have in common, and errors."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from bayesdtr.errors import TrialError
from bayesdtr.study import (
    Baseline,
    Bernoulli,
    BetaBinomial,
    Categorical,
    Decision,
    Hurdle,
    LogNormal,
    NegativeBinomial,
    Normal,
    Ordinal,
    Poisson,
    Response,
    StudentT,
    Study,
    Survival,
    ZeroInflated,
    at_least,
    below,
    when,
)
from bayesdtr.trial.nature import (
    Adherence,
    ArmDrift,
    Calendar,
    Dropout,
    Gaussian,
    Joint,
    Law,
    Levels,
    LinearDrift,
    PoissonAccrual,
    Scenario,
    Sites,
    StepDrift,
    Uniform,
    bind,
)

SEED = 5
ARMS = Study(Decision("arm", ["A", "B", "C"]), Response("event", Bernoulli()), utility="event")
TWO = Study(Decision("first", ["medication", "therapy"]), Response("improved", Bernoulli()),
            Decision("second", {when(improved=1): ["stay"], when(improved=0): ["switch", "add"]}), Response("y", Normal()), utility="y")
RATES = {"A": 0.25, "B": 0.20, "C": 0.30}


def answers(study, scenario, columns, *, response=0, trials=200, size=100, nature=None):
    """Responses of all patients of some trials to the same history, shape (trial, patient)."""
    nature = nature or bind(study, scenario, size)
    people = nature.patients(SEED, np.arange(trials))
    trial, patient = np.divmod(np.arange(trials * size), size)
    full = {n: np.full(trials * size, c) for n, c in columns.items()} | {n: c.reshape(-1) for n, c in people.columns.items()}
    return nature.respond(people, response, full, full, trial, patient).reshape(trials, size)


# ---- what is drawn -------------------------------------------------------------------------------


def test_frequencies_are_those_said_and_options_are_coupled():
    drawn = [answers(ARMS, Scenario("s", {"event": RATES}), {"arm": k}) for k in range(3)]
    for y, p in zip(drawn, RATES.values(), strict=True):
        assert set(np.unique(y)) == {0.0, 1.0} and abs(y.mean() - p) < 4 * np.sqrt(p * (1 - p) / y.size)
    # One uniform number a patient: an event under the smaller rate is one under the larger.
    assert (drawn[1] <= drawn[0]).all() and (drawn[0] <= drawn[2]).all()


@pytest.mark.parametrize(("form", "cells"), [
    (0.3, [0.3] * 3),
    (RATES, list(RATES.values())),
    ({when(arm="A"): 0.1, when(arm="B"): 0.2, when(arm="C"): 0.6}, [0.1, 0.2, 0.6]),
    (lambda h: np.where(h["arm"] == "B", 0.2, 0.5), [0.5, 0.2, 0.5]),
])
def test_every_way_to_say_a_mean_says_the_same(form, cells):
    for code, p in enumerate(cells):
        assert (answers(ARMS, Scenario("s", {"event": form}), {"arm": code}) == answers(ARMS, Scenario("s", {"event": p}), {"arm": 0})).all()


LAWS = [
    (Normal(), Law(1.5, sd=2), stats.norm(1.5, 2)),
    (StudentT(), Law(1.5, sd=2, df=5), stats.t(5, 1.5, 2 * np.sqrt(3 / 5))),
    (LogNormal(), Law(3, log_sd=0.5), stats.lognorm(0.5, scale=3 * np.exp(-0.125))),
    (BetaBinomial(6), Law(2.4, concentration=4), stats.betabinom(6, 0.4 * 4, 0.6 * 4)),
    (Poisson(), Law(2.5), stats.poisson(2.5)),
    (NegativeBinomial(), Law(2.5, dispersion=0.8), stats.nbinom(1 / 0.64, (1 / 0.64) / (1 / 0.64 + 2.5))),
    (Survival(), Law(10, shape=2), stats.weibull_min(2, scale=10 / 0.886226925452758)),
    (Survival("lognormal"), Law(10, log_sd=0.7), stats.lognorm(0.7, scale=10 * np.exp(-0.245))),
]


@pytest.mark.parametrize(("family", "law", "known"), LAWS, ids=lambda x: getattr(x, "name", ""))
def test_families_have_their_distribution(family, law, known):
    study = Study(Decision("arm", ["a", "b"]), Response("z", family), Response("y", Normal()), utility="y")
    z = answers(study, Scenario("s", {"z": law, "y": Law(0, sd=1)}), {"arm": 0}).reshape(-1)
    assert abs(z.mean() - known.mean()) < 4 * known.std() / np.sqrt(z.size)
    for q in (0.1, 0.5, 0.9):
        at = known.ppf(q)
        p = known.cdf(at)
        assert abs((z <= at + 1e-9).mean() - p) < 4 * np.sqrt(p * (1 - p) / z.size)


@pytest.mark.parametrize("family", [ZeroInflated(Poisson()), Hurdle(LogNormal())])
def test_zeros_are_part_of_the_mean(family):
    study = Study(Decision("arm", ["a", "b"]), Response("z", family), Response("y", Normal()), utility="y")
    law = Law(2.0, zero=0.3) if isinstance(family, ZeroInflated) else Law(2.0, zero=0.3, log_sd=0.5)
    z = answers(study, Scenario("s", {"z": law, "y": Law(0, sd=1)}), {"arm": 0})
    zero = 0.3 + 0.7 * np.exp(-2 / 0.7) if isinstance(family, ZeroInflated) else 0.3
    assert abs(z.mean() - 2) < 4 * z.std() / np.sqrt(z.size) and abs((z == 0).mean() - zero) < 4 * 0.5 / np.sqrt(z.size)


@pytest.mark.parametrize("family", [Ordinal(["low", "mid", "high"]), Categorical(["low", "mid", "high"])])
def test_levels_by_option_and_by_function(family):
    study = Study(Decision("arm", ["a", "b"]), Response("z", family), Response("y", Normal()), utility="y")
    table = {"a": {"low": 0.2, "mid": 0.5, "high": 0.3}, "b": {"low": 0.1, "mid": 0.1, "high": 0.8}}
    function = lambda h: np.where((h["arm"] == "a")[:, None], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8])  # noqa: E731
    for truth in (table, function):
        z = answers(study, Scenario("s", {"z": truth, "y": Law(0, sd=1)}), {"arm": 1})
        share = np.bincount(z.astype(int).reshape(-1)) / z.size
        assert np.abs(share - [0.1, 0.1, 0.8]).max() < 4 * 0.5 / np.sqrt(z.size)
    seen = Scenario("s", {"z": table, "y": Law(lambda h: np.where(h["z"] == "mid", 1.0, -1.0), sd=1e-9)})
    for code, y in ((1.0, 1), (2.0, -1)):
        assert np.allclose(answers(study, seen, {"arm": 0, "z": code}, response=1), y)


def test_conditions_on_numbers_and_labels():
    study = Study(Baseline("age"), Baseline("sex", levels=["f", "m"]), Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y")
    cells = {when(age=below(50)): 0.0, when(age=at_least(50), sex="f"): 1.0, when(age=at_least(50), sex="m", arm="a"): 2.0,
             when(age=at_least(50), sex="m", arm="b"): 3.0}
    scenario = Scenario("s", {"y": Law(cells, sd=1e-9)}, baseline={"age": Uniform(40, 60), "sex": Levels({"f": 0.3, "m": 0.7})})
    nature = bind(study, scenario, 100)
    people = nature.patients(SEED, np.arange(200))
    age, sex = people.columns["age"], people.columns["sex"]
    assert sex.dtype.kind == "i" and abs(sex.mean() - 0.7) < 4 * 0.46 / np.sqrt(sex.size) and abs(age.mean() - 50) < 4 * 5.8 / np.sqrt(age.size)
    y = answers(study, scenario, {"arm": 1}, nature=nature)
    assert np.allclose(y, np.where(age < 50, 0, np.where(sex == 0, 1, 3)), atol=1e-6)


def test_joint_covariates():
    study = Study(Baseline("x"), Baseline("sex", levels=["f", "m"]), Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y")
    scenario = Scenario("s", {"y": Law(lambda h: h["x"], sd=1e-9)},
                        baseline=Joint(lambda u: {"x": u[:, 0] + u[:, 1], "sex": np.where(u[:, 0] > 0.5, "m", "f")}, 2))
    columns = bind(study, scenario, 100).patients(SEED, np.arange(100)).columns
    assert np.corrcoef(columns["x"].reshape(-1), columns["sex"].reshape(-1))[0, 1] > 0.5
    assert np.allclose(answers(study, scenario, {"arm": 0}, trials=100), columns["x"], atol=1e-6)


def test_functions_are_tried_on_histories_that_arise_and_not_beside_them():
    study = Study(Baseline("age"), Decision("arm", ["a", "b"]), Response("y", Normal()), Response("event", Bernoulli()), utility="event")
    baseline = {"age": Uniform(40, 60)}
    sound = {"y": Law(lambda h: np.log(h["age"]), sd=lambda h: h["age"] - 39), "event": lambda h: h["age"] / 61}
    Scenario("s", sound, baseline=baseline).check(study)
    with pytest.raises(TrialError, match="strictly between 0 and 1"):
        Scenario("s", sound | {"event": lambda h: h["age"] / 59}, baseline=baseline).check(study)
    with pytest.raises(TrialError, match="sd must be above 0"):
        Scenario("s", sound | {"y": Law(0, sd=lambda h: h["age"] - 41)}, baseline=baseline).check(study)


# ---- what moves it -------------------------------------------------------------------------------


def test_drift_moves_the_linear_predictor_by_place_in_the_trial():
    size, scenario = 100, Scenario("s", {"event": 0.25})
    shift = np.linspace(0, 0.8, size)
    moved = bind(ARMS, scenario.with_drift(LinearDrift(0.8)), size)
    y = answers(ARMS, scenario, {"arm": 0}, trials=4000, nature=moved)
    p = expit(logit(0.25) + shift)
    assert (np.abs(y.mean(axis=0) - p) < 4.5 * np.sqrt(p * (1 - p) / 4000)).all()
    u = moved.patients(SEED, np.arange(4000)).chance[0]
    assert (y == (u >= 1 - p)).all()


def test_steps_arms_and_sums_of_drifts():
    normal = Study(Decision("arm", ["A", "B", "C"]), Response("y", Normal()), utility="y")
    base = Scenario("s", {"y": Law(1.0, sd=1e-9)})
    step = answers(normal, base.with_drift(StepDrift(0.5, at=0.25)), {"arm": 0}, trials=2, size=8)
    assert np.allclose(step[0], [1, 1, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5])
    both = base.with_drift(StepDrift(0.5, at=0.25), ArmDrift({"B": 0.7}), LinearDrift(1.0, over=3))
    ramp = np.arange(8) / 7
    assert np.allclose(answers(normal, both, {"arm": 1}, trials=2, size=8)[1], step[0] + 0.7 * ramp + np.minimum(np.arange(8) / 2, 1))
    assert np.allclose(answers(normal, both, {"arm": 2}, trials=2, size=8)[1], step[0] + np.minimum(np.arange(8) / 2, 1))


def test_drift_goes_with_what_counts_unless_told():
    cells = {"improved": 0.5, "y": Law(0.0, sd=1e-9)}
    scenario = Scenario("s", cells, drift=LinearDrift(3.0))
    before = answers(TWO, Scenario("s", cells), {"first": 0})
    assert (answers(TWO, scenario, {"first": 0}) == before).all()
    assert answers(TWO, scenario.with_drift(LinearDrift(3.0, responses=["improved"])), {"first": 0}).mean() > before.mean() + 0.1
    assert np.allclose(answers(TWO, scenario, {"first": 0, "improved": 1.0, "second": 0}, response=1)[0], np.linspace(0, 3, 100), atol=1e-6)


def test_sites_have_effects_of_their_own_in_every_replicate():
    study = Study(Decision("arm", ["a", "b"]), Response("y", Normal()), utility="y", cluster="site")
    scenario = Scenario("s", {"y": Law(1.0, sd=1e-9)}, clusters=Sites(["north", "south"], weights=[3, 1], sd={"y": 2.0}))
    nature = bind(study, scenario, 50)
    people, y = nature.patients(SEED, np.arange(1000)), answers(study, scenario, {"arm": 0}, trials=1000, size=50, nature=nature)
    assert abs((people.cluster == 1).mean() - 0.25) < 4 * 0.43 / np.sqrt(50_000)
    effects = np.array([[np.nan if not (c == k).any() else row[c == k][0] for k in (0, 1)] for row, c in zip(y, people.cluster, strict=True)])
    assert all(np.allclose(row[c == k], e[k], atol=1e-6) for row, c, e in zip(y[:50], people.cluster, effects, strict=False) for k in (0, 1))
    assert abs(np.nanstd(effects - 1) - 2) < 4 * 2 / np.sqrt(2 * 2000)
    assert abs(np.corrcoef(effects[~np.isnan(effects).any(1)].T)[0, 1]) < 4 / np.sqrt(1000)


def test_non_adherence_takes_another_feasible_option():
    scenario = Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}, adherence=Adherence({"second": 0.7, "first": {"therapy": 0.9}}))
    nature = bind(TWO, scenario, 100)
    people = nature.patients(SEED, np.arange(100))
    trial, patient = np.divmod(np.arange(10_000), 100)
    took = lambda k, code: nature.received(people, k, np.full(10_000, code), trial, patient)  # noqa: E731
    assert (took(0, 0) == 0).all() and abs((took(0, 1) == 0).mean() - 0.1) < 4 * 0.3 / 100
    assert (took(1, 0) == 0).all()  # whoever improved can only stay
    assert set(np.unique(took(1, 1))) == {1, 2} and abs((took(1, 1) == 2).mean() - 0.3) < 4 * 0.46 / 100
    assert (np.bincount(took(1, 2), minlength=3) > 0).tolist() == [False, True, True]


def test_a_sharp_null_gives_every_patient_the_same_answer_whatever_is_taken():
    cells = {"improved": {"medication": 0.3, "therapy": 0.6}, "y": Law({"stay": 1.0, "switch": 2.0, "add": 5.0}, sd=1)}
    null = Scenario("s", cells).sharp_null({"first": "therapy", "second": "add"})
    assert (answers(TWO, null, {"first": 0}) == answers(TWO, Scenario("s", cells), {"first": 1})).all()
    history = lambda code, improved: {"first": 0, "improved": improved, "second": code}  # noqa: E731
    assert (answers(TWO, null, history(1, 0.0), response=1) == answers(TWO, null, history(2, 0.0), response=1)).all()
    for code, improved, mean in ((1, 0.0, 5), (0, 1.0, 1)):
        assert abs(answers(TWO, null, history(code, improved), response=1).mean() - mean) < 4 / np.sqrt(20_000)


# ---- common random numbers -------------------------------------------------------------------------


def test_patients_depend_on_their_replicate_alone():
    study = Study(Baseline("x"), *TWO.timeline, utility="y", cluster="site")
    scenario = Scenario("s", {"improved": 0.5, "y": Law(lambda h: np.exp(h["x"]), sd=1)}, baseline={"x": Gaussian(0, 1)},
                        clusters=Sites(3, sd={"y": 1}), dropout=Dropout(0.05), adherence=Adherence({"first": 0.8}), drift=LinearDrift(1),
                        calendar=Calendar(PoissonAccrual(2), delays=1))
    nature = bind(study, scenario, 37)
    some = np.array([130, 2, 77])
    large, small = nature.patients(SEED, np.arange(200)), nature.patients(SEED, some)
    for name in ("enrolled", "decided", "answered", "complete", "luck", "cluster"):
        assert (getattr(small, name) == getattr(large, name)[some]).all()
    rows = np.arange(3 * 37)
    history = lambda people: {"x": people.columns["x"].reshape(-1)[rows], "first": rows % 2, "improved": (rows % 3 == 0) * 1.0,  # noqa: E731
                              "second": np.where(rows % 3 == 0, 0, 1)}
    trial, patient = np.divmod(rows, 37)
    all_of = nature.respond(small, 1, history(small), history(small), trial, patient)
    one = np.array([nature.respond(small, 1, {n: c[[i]] for n, c in history(small).items()}, {n: c[[i]] for n, c in history(small).items()},
                                   trial[[i]], patient[[i]])[0] for i in rows])
    assert (all_of == one).all()


# ---- as values -----------------------------------------------------------------------------------


def make_scaled(k):
    return Scenario("s", {"event": lambda h: np.full(len(h["arm"]), 0.1 * k)})


def test_scenarios_are_values_with_stable_descriptions():
    a, b = Scenario("s", {"event": RATES}), Scenario("s", {"event": dict(RATES)})
    assert a == b and hash(a) == hash(b) and a.description() == b.description()
    assert json.loads(json.dumps(a.description())) == a.description()
    assert a.with_drift(LinearDrift(0.5)).description() != a.description() and a.with_drift(LinearDrift(0.5)).name == "s, drift"
    assert "event: A: 0.25, B: 0.2, C: 0.3" in str(a) and all(len(line) <= 100 for line in str(a).splitlines())


def test_functions_are_told_apart_by_what_they_close_over():
    assert make_scaled(1) == make_scaled(1) and make_scaled(1).description() == make_scaled(1).description()
    assert make_scaled(1) != make_scaled(2) and make_scaled(1).description() != make_scaled(2).description()


# ---- errors --------------------------------------------------------------------------------------

WRONG = [
    (ARMS, lambda: Scenario("s", {"evnt": RATES}), "did you mean 'event'"),
    (ARMS, lambda: Scenario("s", {"event": {"A": 0.2, "B": 0.2, "D": 0.3}}), "names 'D', which is no option of 'arm'"),
    (ARMS, lambda: Scenario("s", {"event": {"A": 0.2, "B": 0.2}}), "lacks 'C'"),
    (ARMS, lambda: Scenario("s", {"event": 1.0}), "strictly between 0 and 1, got 1"),
    (ARMS, lambda: Scenario("s", {"event": {"A": 0.2, "B": -0.1, "C": 0.3}}), "strictly between 0 and 1, got -0.1"),
    (ARMS, lambda: Scenario("s", {"event": lambda h: np.full(len(h["arm"]), 1.5)}), "strictly between 0 and 1, got 1.5"),
    (ARMS, lambda: Scenario("s", {"event": lambda h: h["am"]}), "looks up 'am'.*did you mean 'arm'"),
    (ARMS, lambda: Scenario("s", {"event": lambda h: np.full(7, 0.5)}), "must return an array of shape"),
    (ARMS, lambda: Scenario("s", {"event": lambda h: h["arm"] == "A"}), "strictly between 0 and 1"),
    (ARMS, lambda: Scenario("s", {"event": "high"}), "must be a finite number"),
    (ARMS, lambda: Scenario("s", {"event": Law(0.5, sd=1)}), "has no sd"),
    (ARMS, lambda: Scenario("s", {"event": {when(arm="A"): 0.2, when(arm="B"): 0.3}}), "no condition holds for arm = C"),
    (ARMS, lambda: Scenario("s", {"event": {when(arm="A"): 0.2, when(arm="X"): 0.3}}), "cannot equal 'X'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5}), "misses 'y'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": 1.0}), "lacks sd"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(1.0, sd=0)}), "sd must be above 0"),
    (TWO, lambda: Scenario("s", {"improved": {when(second="stay"): 0.5}, "y": Law(1.0, sd=1)}), "'second'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law({when(improved=1): 1, when(first="therapy"): 2, when(improved=0): 0}, sd=1)}),
     "more than one condition holds for first = therapy"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}, baseline={"x": Gaussian()}), "no covariate"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}, adherence=Adherence({"secnd": 0.9})), "did you mean 'second'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)},
                                   adherence=Adherence({"first": 0.9}, instead="stay")), "nor an option of 'first'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}, drift=LinearDrift(1, responses=["z"])), "no response 'z'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}, drift=ArmDrift({"therapy": 1})), "no option 'therapy'"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}, calendar=Calendar(delays={"z": 1})), "no response"),
    (TWO, lambda: Scenario("s", {"improved": 0.5, "y": Law(0, sd=1)}).sharp_null({"first": "surgery"}), "no option of 'first'"),
    (Study(Baseline("x"), *ARMS.timeline, utility="event"), lambda: Scenario("s", {"event": RATES}), "misses covariate 'x'"),
    (Study(Baseline("g", levels=["u", "v"]), *ARMS.timeline, utility="event"), lambda: Scenario("s", {"event": RATES}, baseline={"g": Gaussian()}),
     "has labels"),
    (Study(*ARMS.timeline, utility="event", cluster="site"), lambda: Scenario("s", {"event": RATES}), "misses the clusters"),
    (Study(Decision("arm", ["a", "b"]), Response("n", Poisson("years")), utility="n"), lambda: Scenario("s", {"n": 2}), "without exposure="),
    (Study(Decision("arm", ["a", "b"]), Response("n", Hurdle(Poisson())), utility="n"), lambda: Scenario("s", {"n": 2}), "truncated at zero"),
]


@pytest.mark.parametrize(("study", "make", "words"), WRONG)
def test_one_clear_error_before_anything_runs(study, make, words):
    with pytest.raises(TrialError, match=f"(?s){words}"):
        make().check(study)


def test_levels_must_be_a_distribution():
    study = Study(Decision("arm", ["a", "b"]), Response("z", Ordinal(["low", "mid", "high"])), Response("y", Normal()), utility="y")
    for cells, words in (({"low": 0.5, "mid": 0.5, "high": 0.5}, "add up to 1"), ({"low": 0.5, "mid": 0.5}, "lacks 'high'"),
                         ({"low": 0.5, "mid": 0.5, "top": 0.0}, "'top'"), (0.5, "a probability for each level")):
        with pytest.raises(TrialError, match=words):
            Scenario("s", {"z": cells, "y": Law(0, sd=1)}).check(study)
