"""Histories that rules are fitted to, where courses end early, patients have effects of their own, or covariates are missing."""

import itertools

import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, BetaBinomial, Categorical, Condition, Decision, Normal, Ordinal, Response, Saturated, Study, Utility, when
from bayesdtr.decision.reading import foreseen as module
from bayesdtr.decision.reading.foreseen import Simulations, Trees, foreseen, watching
from bayesdtr.decision.reading.questions import joint, variable
from bayesdtr.decision.values import baseline_rows
from bayesdtr.decision.world import World
from bayesdtr.study.rules import written

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}
LEAVING = Study(
    Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
    Decision("b", {when(r=0): ["x", "y"], when(r=1): []}), Response("s", Bernoulli(), **CELLS),
    Decision("c", {when(s=0): ["m", "n"], when(s=1): []}), Response("u", Normal(), **CELLS),
    utility=Utility({"r": 1.3, "s": -0.4, "u": 1.0}, discount=0.9),
)


def leavers(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.choice(["p", "q"], n), "r": rng.integers(0, 2, n), "b": rng.choice(["x", "y"], n),
                          "s": rng.integers(0, 2, n) * 1.0, "c": rng.choice(["m", "n"], n), "u": rng.normal(size=n)})
    frame.loc[frame.r == 1, ["b", "c"]] = None
    frame.loc[frame.r == 1, ["s", "u"]] = np.nan
    frame.loc[frame.s != 0, "c"] = None
    frame.loc[frame.s != 0, "u"] = np.nan
    return frame


@pytest.fixture(scope="module")
def leaving():
    draws = known.random_cells(LEAVING, seed=5)
    return known.posterior_with(LEAVING, draws, leavers()), draws


def three_stages(draws):
    """Value of every rule "a, then b, then c by (a, b)" by sums over paths, and the law."""
    law = known.cell_law(LEAVING, draws, True)
    r = {a: dict(law("r", {"a": a}))[1] for a in "pq"}
    s = {(a, b): dict(law("s", {"a": a, "r": 0, "b": b}))[1] for a in "pq" for b in "xy"}
    u = {(a, b, c): law("u", {"a": a, "r": 0, "b": b, "s": 0, "c": c})[0][0] for a in "pq" for b in "xy" for c in "mn"}
    return r, s, u


@pytest.mark.parametrize("histories", ["random", "own"])
def test_courses_that_end(leaving, histories):
    """One question at each decision: the last about `a` or `b`, weighed by who is still there."""
    posterior, draws = leaving
    r, s, u = three_stages(draws)
    found = dtr.policy_tree(dtr.optimize(posterior), depth=1, least=0, histories=histories, refits=0)
    rules = found.rules
    option = lambda d, **h: known.chosen(rules, LEAVING[d], h)  # noqa: E731
    first = option("a")
    stays = {(a, b): 0.25 * (1 - r[a]) * (1 - s[a, b]) for a in "pq" for b in "xy"}
    last = {(a, b): option("c", a=a, r=0, b=b, s=0) for a in "pq" for b in "xy"}
    if histories == "random":
        tables = [{k: one if k[i] == v else two for k in stays} for i, v in ((0, "p"), (1, "x")) for one in "mn" for two in "mn"]
        best = max(sum(w * u[*k, table[k]] for k, w in stays.items()) for table in tables)
        assert sum(w * u[*k, last[k]] for k, w in stays.items()) == pytest.approx(best, abs=1e-12)
    second = {a: option("b", a=a, r=0) for a in "pq"}
    after = lambda a, b: 0.9 * -0.4 * s[a, b] + 0.81 * (1 - s[a, b]) * u[a, b, last[a, b]]  # noqa: E731
    for a in "pq":
        assert after(a, second[a]) == max(after(a, b) for b in "xy")  # one question about `a` is enough
    value = {a: 1.3 * r[a] + (1 - r[a]) * after(a, second[a]) for a in "pq"}
    assert value[first] == max(value.values())
    if histories == "own":
        every = [1.3 * r[a] + (1 - r[a]) * (0.9 * -0.4 * s[a, b] + 0.81 * (1 - s[a, b]) * u[a, b, c]) for a, b, c in u]
        assert value[first] == pytest.approx(max(every), abs=1e-6) and found.price().mean == pytest.approx(0, abs=0.02)


def test_weights_are_probabilities(leaving):
    posterior, draws = leaving
    r, s, _ = three_stages(draws)
    trees = foreseen(posterior, World.of(posterior), baseline_rows(posterior))
    assert isinstance(trees, Trees)
    rules = written(LEAVING, {"a": "q", "b": "x", "c": "m"})
    for stage, left in ((0, 1.0), (1, 1 - (r["p"] + r["q"]) / 2), (2, sum((1 - r[a]) * (1 - s[a, b]) for a in "pq" for b in "xy") / 4)):
        seen = trees.at(stage, rules)
        going = np.isfinite(seen.expected).any(axis=1)
        assert seen.weight[going].sum() == pytest.approx(left, abs=1e-12) and seen.weight.min() >= 0
    own = trees.at(2, rules, rules)
    going = np.isfinite(own.expected).any(axis=1)
    assert own.weight[going].sum() == pytest.approx((1 - r["q"]) * (1 - s["q", "x"]), abs=2e-6)


def test_simulated_histories_have_the_same_sums(leaving, monkeypatch):
    """Weights and scores of simulated histories add up to those of the tree, within their own error."""
    posterior, _ = leaving
    rows, world = baseline_rows(posterior), World.of(posterior)
    monkeypatch.setattr(module, "SIMULATED", 40_000)
    tree, simulated = foreseen(posterior, world, rows), foreseen(posterior, world, rows, simulate=True)
    assert isinstance(simulated, Simulations)
    rules = written(LEAVING, {"a": "q", "b": {when(a="p"): "x", when(a="q"): "y"}, "c": {when(b="x"): "m", when(b="y"): "n"}})
    for stage, earlier in ((0, None), (1, None), (2, None), (1, rules), (2, rules)):
        exact, drawn = tree.at(stage, rules, earlier), simulated.at(stage, rules, earlier)
        keep = np.isfinite(exact.expected).any(axis=1)
        # Products of averages against averages of products: 24 arbitrary draws are correlated by chance, so only draw by draw are they the same.
        alone = [tree.alone(b).at(stage, rules, earlier) for b in range(24)]
        want = np.mean([(t.weight[keep][:, None] * t.expected[keep]).sum(axis=0) for t in alone], axis=0)
        scores = drawn.weight[:, None] * drawn.expected * 40_000
        error = np.sqrt(np.mean(scores**2, axis=0) * len(scores) / 40_000) / 200
        np.testing.assert_array_less(np.abs(scores.sum(axis=0) / 40_000 - want), 4.5 * error)


def frailty(history):
    return pm.Bernoulli("x", logit_p=1.5 * history.patient_effect)


def tilt(history):
    return pm.Normal("y", history.code("second") * (0.3 * history.patient_effect - 0.02), 1.0)


def test_what_an_own_history_says():
    """Who had x = 1 gains by treatment, others lose: .0695 for a tree that asks, with known parameters and a patient's own effect."""
    study = Study(Decision("first", ["start"]), Response("x", Bernoulli(), model=frailty), Decision("second", ["keep", "treat"]),
                  Response("y", Normal(), model=tilt), utility="y", patient_effects=["x", "y"])
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"first": "start", "x": rng.integers(0, 2, 60), "second": rng.choice(["keep", "treat"], 60), "y": rng.normal(size=60)})
    found = dtr.policy_tree(dtr.optimize(dtr.fit(study, frame, seed=1, progress=False)), depth=1, refits=0)
    assert found.value().mean == pytest.approx(0.0695, abs=1e-4) and found.price().mean == pytest.approx(0, abs=1e-12)
    assert found.rules.by_decision["second"] == {when(x=0): "keep", when(x=1): "treat"}
    assert "Monte Carlo error not defined" in str(found)  # known parameters are a single draw


def test_questions_about_labels():
    """One level of a covariate or of an earlier decision; the other answer names all that are left."""
    study = Study(Baseline("kind", levels=["red", "green", "blue"]), Decision("a", ["p", "q", "o"]),
                  Response("m", Normal(), model=Saturated(over=["a"])), Decision("b", ["x", "y"]),
                  Response("u", Normal(), model=Saturated(over=["kind", "a", "b"])), utility="u")
    cells = list(itertools.product(["red", "green", "blue"], "pqo", "xy"))
    frame = pd.DataFrame(cells * 5, columns=["kind", "a", "b"]).assign(m=np.arange(90.0), u=np.arange(90.0))
    for name, right, answers in (("kind", "green", ("kind = green", "kind in {red, blue}")), ("a", "q", ("a = q", "a in {p, o}"))):
        mean = np.array([float((c[2] == "y") == (c[("kind", "a").index(name)] == right)) for c in cells])
        draws = {"u": {"mean": np.tile(mean, (1, 4, 1)), "sigma": np.ones((1, 4))}, "m": {"mean": np.zeros((1, 4, 3)), "sigma": np.ones((1, 4))}}
        found = dtr.policy_tree(dtr.optimize(known.posterior_with(study, draws, frame)), depth=1, refits=0)
        second = next(s for s in found.strata if s.decision == "b")
        assert tuple(leaf.answers[0] for leaf in second.leaves) == answers
        assert found.price().mean == pytest.approx(0, abs=1e-12) and found.value().mean == pytest.approx(1.0)
        assert dtr.compare(found.regime.posterior, regimes={"tree": found.rules}).rows[0].value.mean == pytest.approx(1.0)


GRADED = Study(
    Baseline("age"), Baseline("sick"), Decision("a", ["p", "q"]), Response("grade", Ordinal(["low", "mid", "high"])),
    Response("visits", BetaBinomial(3)), Response("kind", Categorical(["red", "green"])), Decision("b", ["x", "y"]),
    Response("u", Normal()), utility="u",
)


@pytest.mark.parametrize(("name", "column", "yes", "no"), [
    ("grade", [0, 2, 1, 0], ["grade = low", "grade in {low, mid}"], ["grade in {mid, high}", "grade = high"]),
    ("visits", [0, 3, 1, 3], ["visits < 1", "visits < 3"], ["visits >= 1", "visits >= 3"]),
    ("kind", [1, 0, 1, 1], ["kind = red"], ["kind = green"]), ("kind", [1, 1, 1, 1], [], []), ("a", [0, 1, 0, 1], ["a = p"], ["a = q"]),
    ("age", [50.0, 61.5, 60.9, 43.0], ["age < 50", "age < 60", "age < 61"], ["age >= 50", "age >= 60", "age >= 61"]),
    ("sick", [0.0, 1.0, 1.0, 0.0], ["sick = 0"], ["sick = 1"]), ("age", [0.1, 0.25] * 2, ["age < 0.2"], ["age >= 0.2"]),
])
def test_questions_can_be_read_and_written(name, column, yes, no):
    column = np.array(column, dtype=float)
    asked = variable(GRADED, name, column, np.ones(4), 64)
    assert [asked.text(k, True) for k in range(len(asked.yes))] == yes and [asked.text(k, False) for k in range(len(asked.no))] == no
    for k in range(len(asked.yes)):  # both answers, as conditions, say for every row what the bins say
        inside = asked.inside[k][asked.bins(column)]
        for answer in (True, False):
            condition = joint(Condition(), [(name, asked.test(k, answer))])
            np.testing.assert_array_equal(condition.mask({name: column}, GRADED.code), inside == answer)


def test_cuts_at_quantiles_and_answers_together():
    rng = np.random.default_rng(1)
    column = rng.normal(size=500)
    asked = variable(GRADED, "age", column, np.r_[np.ones(400), np.zeros(100)], 9)
    assert len(asked.yes) == 9 and np.abs(np.mean(column[:400, None] < asked.uppers, axis=0) - np.arange(1, 10) / 10).max() < 0.01
    assert all(len(repr(c)) < 8 for c in asked.uppers.tolist())  # short numbers
    young = when(age=dtr.below(3), grade="low")
    assert str(joint(young, [("age", dtr.at_least(1)), ("grade", dtr.one_of("low", "mid"))])) == "1 <= age < 3 and grade = low"
    assert joint(young, [("age", dtr.at_least(3))]) is None and joint(young, [("grade", dtr.one_of("mid", "high"))]) is None
    assert str(joint(when(visits=dtr.one_of(0, 1, 2)), [("visits", dtr.at_least(1))])) == "visits in {1, 2}"


def test_missing_covariates():
    """Patients whose covariate is not recorded count by drawn values in what rules are fitted to, and fill no leaf."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"z": rng.normal(size=60), "a": rng.choice(["x", "y"], 60)})
    frame["y"] = np.where((frame.a == "y") == (frame.z > 0), 2.0, 0.0) + 0.3 * rng.normal(size=60)
    frame.loc[:9, "z"] = np.nan
    study = Study(Baseline("z", missing="model"), Decision("a", ["x", "y"]), Response("y", Normal()), utility="y")
    posterior = dtr.fit(study, frame, seed=1, draws=100, warmup=150, chains=2, progress=False)
    found = dtr.policy_tree(dtr.optimize(posterior), depth=1, refits=5)
    (stratum,) = found.strata
    assert sum(leaf.patients for leaf in stratum.leaves) == 50 and len(stratum.leaves) == 2
    assert abs(float(stratum.variables[0].uppers[stratum.tree.test])) < 0.5


def test_what_a_rule_looks_at_is_kept():
    """A response on which no later model depends is a fair question where it stands for what may not be asked."""
    study = Study(Baseline("g", levels=["u", "v"]), Decision("a", ["only"]), Response("proxy", Bernoulli(), model=Saturated(over=["g"])),
                  Decision("b", ["x", "y"], tailoring=[]), Response("out", Normal(), model=Saturated(over=["g", "b"])), utility="out")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": ["u", "v"] * 20, "a": "only", "proxy": rng.integers(0, 2, 40), "b": rng.choice(["x", "y"], 40)})
    frame["out"] = rng.normal(size=40)
    draws = {"proxy": {"probability": np.tile([0.9, 0.2], (1, 50, 1))},
             "out": {"mean": np.tile([1.0, 0, 0, 1.0], (1, 50, 1)), "sigma": np.ones((1, 50))}}
    posterior = known.posterior_with(study, draws, frame)
    assert not World.of(posterior).matters("proxy") and watching(World.of(posterior), {"proxy": ()}).matters("proxy")
    found = dtr.policy_tree(dtr.optimize(posterior), depth=1, without=["g"], refits=0)
    assert found.rules.by_decision["b"] == {when(proxy=0): "y", when(proxy=1): "x"}
    assert found.value().mean == pytest.approx(0.85, abs=0.01)  # .9 for half of the patients and .8 for the others
    assert found.price().mean == pytest.approx(0.15, abs=0.01)
