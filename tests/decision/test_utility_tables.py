"""Utilities by level and by joint cell: the induction equals a sum over all outcomes written out by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.decision.induction import clairvoyant, committed, solve
from bayesdtr.decision.values import baseline_rows, values_of
from bayesdtr.decision.world import Rows, World
from bayesdtr.errors import DataError, StudyError

GRADES = ["none", "mild", "severe"]
TABLE = {(e, g): 100 * e - {"none": 0, "mild": 20, "severe": 90}[g] * (1 - 0.3 * e) for e in (0, 1) for g in GRADES}


def patients(n=160, seed=5):
    rng = np.random.default_rng(seed)
    dose, sex = rng.integers(2, size=n), rng.integers(2, size=n)
    effect = (rng.random(n) < 0.25 + 0.35 * dose).astype(int)
    latent = rng.logistic(size=n) + 1.2 * dose - 0.5 * effect
    grade = np.digitize(latent, [0.5, 2.0])
    second = rng.integers(2, size=n)
    visits = rng.poisson(np.exp(0.2 + 0.5 * (grade == 2) - 0.4 * second))
    return pd.DataFrame({
        "sex": np.where(sex, "f", "m"), "dose": np.where(dose, "high", "low"), "effect": effect, "grade": np.array(GRADES)[grade],
        "care": np.where(second, "nurse", "usual"), "visits": visits,
    })


STUDY = dtr.Study(
    dtr.Baseline("sex", levels=["f", "m"]),
    dtr.Decision("dose", ["low", "high"]),
    dtr.Response("effect", dtr.Bernoulli()),
    dtr.Response("grade", dtr.Ordinal(GRADES)),
    dtr.Decision("care", ["usual", "nurse"], tailoring=["grade"]),
    dtr.Response("visits", dtr.Poisson()),
    utility=dtr.Utility({("effect", "grade"): TABLE, "visits": -5.0}, discount=0.9),
)


@pytest.fixture(scope="module")
def posterior():
    return dtr.fit(STUDY, patients(), seed=3, draws=60, warmup=150, chains=2, progress=False)


def probabilities(world, response, columns, points):
    n = len(next(iter(columns.values())))
    return world.look(response, Rows(columns, None, n), "density", np.broadcast_to(np.asarray(points, float), (n, len(points))))


def by_hand(world):
    """Q of every dose, sex and rule for care: (committed choice of care, value per draw [draw, sex, dose])."""
    total = np.zeros((world.size, 2, 2))
    best = np.zeros((world.size, 2, 2))
    for sex, dose in itertools.product((0, 1), (0, 1)):
        one = lambda **more: {k: np.array([v]) for k, v in {"sex": sex, "dose": dose, **more}.items()}  # noqa: B023, E731
        p_effect = probabilities(world, "effect", one(), [0, 1])[:, 0]
        for effect in (0, 1):
            p_grade = probabilities(world, "grade", one(effect=float(effect)), [0, 1, 2])[:, 0]
            for grade in range(3):
                care = np.stack([
                    -5.0 * 0.9 * world.look("visits", Rows(one(effect=float(effect), grade=float(grade), care=c), None, 1), "mean")[:, 0]
                    for c in (0, 1)
                ], axis=1)
                weight = p_effect[:, effect] * p_grade[:, grade]
                earned = TABLE[effect, GRADES[grade]]
                total[:, sex, dose] += weight * (earned + care[:, care.mean(axis=0).argmax()])
                best[:, sex, dose] += weight * (earned + care.max(axis=1))
    return total, best


def test_induction_equals_the_sum_over_joint_cells(posterior):
    world = World.of(posterior)
    rows = Rows({"sex": np.array([0, 1])}, None, 2)
    answer, = solve(world, 0, rows, [committed, clairvoyant])
    total, best = by_hand(world)
    np.testing.assert_allclose(answer.values[0], total, rtol=1e-6)  # proportions of counts cut off at 20 SD
    np.testing.assert_allclose(answer.values[1], best, rtol=1e-6)


def test_simulation_agrees_with_enumeration(posterior, monkeypatch):
    """The regression route's rollouts earn the same as the tree, within their Monte Carlo error."""
    rules = [STUDY.embedded()[0], STUDY.embedded()[-1]]
    exact = values_of(posterior, rules, 1).draws.reshape(-1, 2)
    monkeypatch.setattr("bayesdtr.decision.values.MOST_LEAVES", 0)
    drawn = values_of(posterior, rules, 1).draws.reshape(-1, 2)
    # 4,000 patients per draw; utilities have an SD of about 55.
    assert np.abs(drawn - exact).max() < 5 * 55 / np.sqrt(4000)
    assert np.abs((drawn - exact).mean()) < 4 * 55 / np.sqrt(4000 * 120) + 0.2


@pytest.mark.filterwarnings("ignore::bayesdtr.errors.VerdictWarning")  # sixty draws do not converge
def test_recommendation_and_value_in_words(posterior):
    regime = dtr.optimize(posterior)
    told = regime.recommend(patients().head(4)[["sex"]])
    assert set(told["option"]) <= {"low", "high"} and told["expected_utility"].between(-120, 120).all()
    later = regime.recommend(pd.DataFrame({"sex": ["f"], "dose": ["high"], "effect": [0], "grade": ["severe"]}))
    assert later["decision"].item() == "care"
    assert "u(effect, grade) with" in str(STUDY) and "grade | " not in str(regime)
    assert any("grade = severe" in cell.label for cell in regime.cells() if cell.decision == "care")
    assert baseline_rows(posterior).n == 160


@pytest.mark.parametrize(("terms", "message"), {
    "labels need a table": ({"grade": 1.0}, r"'grade' has labels, not numbers; say what each is worth"),
    "unknown level": ({"grade": {"none": 1, "mild": 2, "sever": 3}}, r"names 'sever'; allowed: .*did you mean 'severe'\?"),
    "missing level": ({"grade": {"none": 1, "mild": 2}}, r"the table of grade lacks severe; give a number for every combination"),
    "wrong length": ({("effect", "grade"): {0: 1}}, r"each row of the table of effect, grade has 2 value\(s\), got 0"),
    "not finite": ({"grade": {"none": 1, "mild": 2, "severe": float("inf")}}, r"must be a finite number, got inf"),
    "counts": ({"visits": {0: 1, 1: 2}}, r"'visits' has no finite list of values"),
    "joint without table": ({("effect", "grade"): 3}, r"the combination effect, grade needs a table of numbers, got 3"),
    "unknown response": ({("effect", "grad"): TABLE}, r"Utility names 'grad'.*did you mean 'grade'\?"),
}.values())
def test_impossible_utilities(terms, message):
    with pytest.raises(StudyError, match=message):
        dtr.Study(*STUDY.timeline, utility=dtr.Utility({"visits": 1.0, **terms} if "visits" not in terms else {**terms, "effect": 1.0}))


BETTER = {"effect": "higher", "grade": "lower"}


def test_admissible_tables_are_taken():
    from bayesdtr.study import from_json, to_json

    made = dtr.Study(*STUDY.timeline, utility=dtr.Utility({("effect", "grade"): TABLE, "visits": -5.0}, better={**BETTER, "visits": "lower"}))
    assert from_json(to_json(made)) == made
    equal = {**TABLE, (0, "mild"): TABLE[0, "none"]}  # no worse is enough
    dtr.Study(*STUDY.timeline, utility=dtr.Utility({("effect", "grade"): equal, "visits": -5.0}, better=BETTER))


@pytest.mark.parametrize(("terms", "better", "message"), {
    "rewards toxicity": ({("effect", "grade"): {**TABLE, (1, "severe"): 95.0}}, BETTER,
                         r"not admissible: 1, mild is worth 86, less than 95 for 1, severe, although grade is better there"),
    "punishes efficacy": ({("effect", "grade"): {**TABLE, (0, "mild"): 99.0}}, {"effect": "higher"},
                          r"not admissible: 1, mild is worth 86, less than 99 for 0, mild, although effect is better"),
    "levels": ({"grade": {"none": 0, "mild": 1, "severe": 2}}, {"grade": "lower"}, r"none is worth 0, less than 1 for mild"),
    "weight": ({"visits": 5.0}, {"visits": "lower"}, r"the weight of 'visits' is 5, which rewards higher visits, while better= says that lower is"),
    "unknown": ({"visits": 5.0}, {"visit": "lower"}, r"better names 'visit'.*did you mean 'visits'\?"),
    "no direction": ({"visits": 5.0}, {"visits": "down"}, r"better takes a mapping of responses to 'higher' or 'lower'"),
}.values())
def test_tables_that_reward_what_is_worse(terms, better, message):
    with pytest.raises(StudyError, match=message):
        dtr.Study(*STUDY.timeline, utility=dtr.Utility({"visits": -1.0, **terms}, better=better))


@pytest.mark.parametrize(("column", "value", "message"), [
    ("visits", -1, r"Column 'visits': -1 is not a value of a Poisson response .*whole numbers from 0"),
    ("visits", 1.5, r"1.5 is not a value of a Poisson response"),
    ("grade", "sevre", r"'sevre' is not one of its levels .*did you mean 'severe'\?"),
    ("effect", 2, r"2 is not a value of a Bernoulli response .*allowed: 0, 1"),
])
def test_values_that_a_family_cannot_take(column, value, message):
    data = patients().astype({column: object})
    data.loc[7, column] = value
    with pytest.raises(DataError, match=message):
        dtr.fit(STUDY, data, seed=1)
