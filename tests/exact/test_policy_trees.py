"""Fitted trees and lists against every rule of their class, written out and valued by summing over paths."""

import itertools

import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, when
from bayesdtr.decision.reading.policytree import PolicyTree

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")

ONE = Study(Baseline("g", levels=["u", "v", "w"]), Baseline("s", levels=["m", "f"]), Decision("a", ["x", "y", "z"]),
            Response("out", Normal(), model=Saturated(over=["g", "s", "a"])), utility="out")
TWO = Study(
    Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()), Response("m", Bernoulli(), model=Saturated(over=["a"])),
    Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["y", "go"]}), Response("out", Normal(), model=Saturated(over=["a", "r", "m", "b"])),
    utility=dtr.Utility({"r": 0.5, "out": 1.0}),
)


# ---- every rule of a class, literally ------------------------------------------------------------


def questions(levels: dict[str, list]) -> list:
    """Every yes/no question about variables with a few levels each."""
    return [(name, v) for name, values in levels.items() for v in (values if len(values) > 2 else values[:1])]


def simple_rules(levels: dict[str, list], options: tuple[str, ...], depth: int, lists: bool = False) -> list:
    """Every tree (or list) as a function of a history."""
    constant = [lambda h, o=o: o for o in options]
    if not depth:
        return constant
    below = simple_rules(levels, options, depth - 1, lists)
    made = list(below)
    for (name, v), one, two in itertools.product(questions(levels), below, below):
        if not lists or one in below[: len(options)] or two in below[: len(options)]:
            made.append(lambda h, name=name, v=v, one=one, two=two: one(h) if h[name] == v else two(h))
    return made


def expected(study: Study, policy, law, frame: pd.DataFrame | None = None):
    """Value of a policy over the observed patients."""
    names = [b.name for b in study.baselines]
    patients = [{}] if frame is None else frame[names].to_dict("records")
    return sum(known.value_of(study, policy, law, h) for h in patients) / len(patients)


def following(rules):
    return lambda decision, history: known.chosen(rules, decision, history)


# ---- one decision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("depth", "kind"), [(1, "tree"), (2, "tree"), (2, "list")])
def test_one_decision(seed, depth, kind):
    draws, frame = known.random_cells(ONE, seed), known.cohort(ONE, 60, seed)
    posterior, law = known.posterior_with(ONE, draws, frame), known.cell_law(ONE, draws, True)
    levels = {"g": ["u", "v", "w"], "s": ["m", "f"]}
    cells = list(itertools.product(levels["g"], levels["s"]))
    share = frame.groupby(["g", "s"]).size().reindex(cells, fill_value=0).to_numpy() / len(frame)
    worth = {o: np.array([known.value_of(ONE, lambda d, h, o=o: o, law, {"g": g, "s": s}) for g, s in cells]) for o in ("x", "y", "z")}
    values = [
        sum(share[i] * worth[rule({"g": g, "s": s})][i] for i, (g, s) in enumerate(cells))
        for rule in simple_rules(levels, ("x", "y", "z"), depth, kind == "list")
    ]
    found = dtr.policy_tree(dtr.optimize(posterior), depth=depth, kind=kind, least=0, refits=0)
    assert expected(ONE, following(found.rules), law, frame) == pytest.approx(max(values), abs=1e-10)
    best = sum(share[i] * max(w[i] for w in worth.values()) for i in range(len(cells)))
    # 24 draws, each with bootstrap weights of its own over the same patients.
    price = found.price()
    assert price.mean == pytest.approx(best - max(values), abs=4 * price.sd / np.sqrt(24) + 1e-12)
    assert (found.best_draws.shape, found.value().mean) == ((2, 12), found.draws.mean())
    same = [(following(found.rules)(ONE["a"], h), max(worth, key=lambda o: worth[o][cells.index((h["g"], h["s"]))]))
            for h in frame[["g", "s"]].to_dict("records")]
    assert found.agreement == (("a", sum(a == b for a, b in same), 60),)


def test_leaves_are_not_smaller_than_asked():
    draws, frame = known.random_cells(ONE, 3), known.cohort(ONE, 60, 3)
    regime = dtr.optimize(known.posterior_with(ONE, draws, frame))
    for least in (0, 8, 15, 31, 61):
        found = dtr.policy_tree(regime, least=least, refits=0)
        (stratum,) = found.strata
        assert sum(leaf.patients for leaf in stratum.leaves) == 60
        assert len(stratum.leaves) == 1 or min(leaf.patients for leaf in stratum.leaves) >= least
        masks = [np.all([frame[n] == v if eq else frame[n] != v for n, eq, v in _parsed(leaf.answers, frame)] or [np.ones(60, bool)], axis=0)
                 for leaf in stratum.leaves]
        assert [m.sum() for m in masks] == [leaf.patients for leaf in stratum.leaves]
    assert len(stratum.leaves) == 1


def _parsed(answers, frame):
    """Answers such as ``g = u`` and ``g in {v, w}`` back to comparisons."""
    for text in answers:
        name, value = text.split(" = ") if " = " in text else text.split(" in ")
        if value.startswith("{"):
            (missing,) = set(frame[name]) - set(value[1:-1].split(", "))
            yield name, False, missing
        else:
            yield name, True, value


# ---- two decisions ----------------------------------------------------------------------------------


def two_stages(seed: int, depth: int, variables: dict[str, list]):
    """By enumeration: expected value of every pair of second rules after each first option, and the pieces to choose from."""
    draws = known.random_cells(TWO, seed)
    law = known.cell_law(TWO, draws, True)
    table = {}
    sets = {0: ("x", "y", "z"), 1: ("y", "go")}
    for r, options in sets.items():
        for k, rule in enumerate(simple_rules(variables, options, depth)):
            for a in ("p", "q"):
                up = dict(law("r", {"a": a}))[r]
                for_m = sum(p * known.value_of(TWO, lambda d, h, rule=rule: rule(h), law, {"a": a, "r": r, "m": m}, 3) for m, p in law("m", {"a": a}))
                table[r, k, a] = up * (0.5 * r + for_m)
    counts = {r: max(k for r_, k, _ in table if r_ == r) + 1 for r in sets}
    return draws, law, table, counts


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("depth", "names"), [(1, ["a", "m"]), (1, ["m"]), (2, ["a", "m"])])
def test_two_decisions(seed, depth, names):
    levels = {n: {"a": ["p", "q"], "m": [0, 1]}[n] for n in names}
    draws, law, table, counts = two_stages(seed, depth, levels)
    regime = dtr.optimize(known.posterior_with(TWO, draws))
    # Stage by stage: for each feasible set the best for patients who come by either first option with probability one half.
    second = {r: max(range(counts[r]), key=lambda k: sum(table[r, k, a] for a in ("p", "q"))) for r in counts}
    stagewise = max(sum(table[r, second[r], a] for r in counts) for a in ("p", "q"))
    found = dtr.policy_tree(regime, depth=depth, variables={"b": names}, least=0, refits=0)
    assert expected(TWO, following(found.rules), law) == pytest.approx(stagewise, abs=1e-10)
    # Their own histories: best of all pairs of rules after the first option that is taken, which is no worse, and no rule alone can improve it.
    own = dtr.policy_tree(regime, depth=depth, variables={"b": names}, least=0, histories="own", refits=0)
    taken = own.rules.by_decision["a"][dtr.Condition()]
    best_after = {a: sum(max(table[r, k, a] for k in range(counts[r])) for r in counts) for a in ("p", "q")}
    value = expected(TWO, following(own.rules), law)
    assert value == pytest.approx(best_after[taken], abs=1e-6) and value >= stagewise - 1e-6
    # What reading costs: the best rule of all, and the committed ones, draw by draw.
    per_draw = known.cell_law(TWO, draws, False)
    best = max(known.all_regimes(TWO, law, {}), key=lambda pair: pair[0])[1]
    policy = lambda d, h: best[known.key_of(TWO, d.name, h)]  # noqa: E731
    for fitted in (found, own):
        lost = expected(TWO, policy, per_draw) - expected(TWO, following(fitted.rules), per_draw)
        price = fitted.price()
        assert (price.mean, price.sd) == pytest.approx((np.mean(lost), np.std(np.broadcast_to(lost, 24), ddof=1)), abs=1e-8)
        compared = dtr.compare(regime.posterior, regimes={"tree": fitted.rules}, against=regime)
        np.testing.assert_allclose(compared.draws["value"].values[..., 0], fitted.draws, atol=1e-12)
        assert compared.rows[0].gain.mean == pytest.approx(price.mean, abs=1e-12)
    if depth == 2:  # two yes/no variables: the class holds every rule, so the best of all
        assert found.price().mean == pytest.approx(0, abs=1e-12) and all(same == n for _, same, n in found.agreement)
    for fitted in (found, own):
        assert {o for s in fitted.strata if s.where == "r = 1" for o in (leaf.option for leaf in s.leaves)} <= {"y", "go"}


def test_stability_is_that_of_refits_to_single_draws():
    """Draws that agree never move a rule; draws of which half prefer another are told apart."""
    study = Study(Baseline("g", levels=["u", "v"]), Baseline("s", levels=["m", "f"]), Decision("a", ["x", "y"]),
                  Response("out", Normal(), model=Saturated(over=["g", "s", "a"])), utility="out")
    frame = pd.DataFrame({"g": ["u", "u", "v", "v"] * 10, "s": ["m", "f"] * 20, "a": ["x", "y", "y", "x"] * 10, "out": np.arange(40.0)})
    # cells in the order of labels: (u|v, m|f, x|y)
    by_g = np.array([1.0, 0, 1, 0, 0, 1, 0, 1])  # x for u, y for v
    by_s = np.array([1.0, 0, 0, 1, 1, 0, 0, 1])  # x for m, y for f
    mean = np.tile(by_g, (2, 20, 1))
    posterior = known.posterior_with(study, {"out": {"mean": mean, "sigma": np.ones((2, 20))}}, frame)
    steady = dtr.policy_tree(dtr.optimize(posterior), depth=1, refits=40)
    assert [(s.root, s.same_root, s.agreement, s.patients) for s in steady.stability] == [("g", 1.0, 1.0, 40)]
    mean[:, ::4] = by_s  # every fourth draw would ask about the other variable and agree for half of the patients
    torn = dtr.policy_tree(dtr.optimize(known.posterior_with(study, {"out": {"mean": mean, "sigma": np.ones((2, 20))}}, frame)), depth=1, refits=40)
    (line,) = torn.stability
    assert (line.root, line.same_root, torn.refits) == ("g", 0.75, 40) and line.agreement == pytest.approx(0.75 + 0.25 / 2)
    assert line.roots == (("g", 0.75), ("s", 0.25))
    assert torn.price().mean == pytest.approx(0, abs=1e-12)


# ---- continuous -----------------------------------------------------------------------------------------


def gauge(history):
    return pm.Normal("x", 0.7 * history.code("a") - 0.3, 0.8)


def kink(history):
    return pm.Normal("y", history.code("b") * (history["x"] - 0.25), 1.0)


KINKED = Study(Decision("a", ["0", "1"]), Response("x", model=gauge), Decision("b", ["0", "1"]), Response("y", model=kink), utility="y")


@pytest.fixture(scope="module")
def kinked():
    return dtr.optimize(dtr.fit(KINKED, known.cohort(KINKED, 60), seed=1))


def worth_of_cut(cut: float) -> float:
    """E (X - .25) 1{X >= cut} for X ~ N(.4, .8^2)."""
    z = (cut - 0.4) / 0.8
    return 0.15 * stats.norm.sf(z) + 0.8 * stats.norm.pdf(z)


@pytest.mark.parametrize("kind", ["tree", "list"])
def test_a_threshold_between_quadrature_points(kinked, kind):
    """The best cut is .25; what the nearest of the cuts tried loses is of second order, and the value at it is exact."""
    found = dtr.policy_tree(kinked, depth=1, kind=kind, refits=3, cuts=200)
    second = next(s for s in found.strata if s.decision == "b")
    (cut,) = second.variables[second.tree.variable].uppers[[second.tree.test]]
    assert abs(cut - 0.25) < 0.1
    assert found.value().mean == pytest.approx(worth_of_cut(cut), abs=1e-8)
    spacing = 2 * 7 * 0.8 / 96  # of the grid on which the best rule is valued
    assert found.price().mean == pytest.approx(worth_of_cut(0.25) - worth_of_cut(cut), abs=spacing**2 / 8 * 0.5)
    assert found.stability[0].agreement == 1.0


def test_rules_by_simulation(kinked, monkeypatch):
    """Where the tree of histories would be too large the same rule comes from simulated histories, up to their noise."""
    monkeypatch.setattr("bayesdtr.decision.reading.foreseen.MOST_ROWS", 1)
    for histories in ("random", "own"):
        found = dtr.policy_tree(kinked, depth=1, refits=2, histories=histories)
        assert "simulation" in found.method and found.rules.by_decision["a"][dtr.Condition()] == "1"
        second = next(s for s in found.strata if s.decision == "b")
        (cut,) = second.variables[second.tree.variable].uppers[[second.tree.test]]
        assert abs(cut - 0.25) < 0.1  # scores at the last decision are expectations: no noise but that of which histories were drawn
        assert 0 <= found.price().mean + 1e-3 < 0.01


def test_rules_beside_a_regime_by_regression(kinked):
    """Its values come from rollouts, and so do those of the rules, on the same random numbers."""
    found = dtr.policy_tree(dtr.optimize(kinked.posterior, method="regression"), depth=1, refits=0)
    assert "simulation" in found.method and found.draws.shape == found.best_draws.shape
    second = next(s for s in found.strata if s.decision == "b")
    (cut,) = second.variables[second.tree.variable].uppers[[second.tree.test]]
    # One draw of 4,000 patients, who earn with an SD of about .5.
    assert found.value().mean == pytest.approx(worth_of_cut(cut), abs=4 * 0.5 / np.sqrt(4000)) and abs(found.price().mean) < 0.01


# ---- words and errors -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def codiacs():
    from bayesdtr.gallery import codiacs

    return dtr.optimize(dtr.fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=2000))


def test_what_is_printed(codiacs):
    found = dtr.policy_tree(codiacs, depth=1, refits=10)
    assert isinstance(found, PolicyTree)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100
    for words in ("if improved = 0: switch   (51 patients; +", "Price of interpretability", "Monte Carlo error", "Refitted to each of 10 draws",
                  "first 108 of 108 patients (100%)", "options taken at random"):
        assert words in text, words
    assert found.lines()[:3] == ["first", f"  everybody: {found.strata[0].leaves[0]}", "second"]
    frame = found.frame()
    assert frame["if"].tolist() == ["", "improved = 0", "improved = 1"] and frame["patients"].sum() == 216
    own = dtr.policy_tree(codiacs, depth=1, histories="own", refits=0)
    assert own.price().mean < 0.1 < found.price().mean and "rules' own options" in str(own) and "Refitted" not in str(own)
    listed = dtr.policy_tree(codiacs, kind="list", refits=0)
    assert [line.strip().split(" ")[0] for line in listed.lines()[3:]] == ["if", "else", "else:"]


@pytest.mark.parametrize(("how", "words"), [
    ({"depth": 3}, "depth is 1 or 2"), ({"depth": True}, "depth is 1 or 2"), ({"kind": "forest"}, "no kind 'forest'"),
    ({"histories": "mine"}, "no histories 'mine'"), ({"variables": ["improvd"]}, "did you mean 'improved'"),
    ({"variables": "improved"}, "needs a list of names"), ({"variables": ["bdi_drop"]}, "'bdi_drop' is known at no decision"),
    ({"variables": {"first": ["improved"]}}, "'improved' is not known at 'first'; known there: nothing"),
    ({"variables": {"frist": []}}, "did you mean 'first'"), ({"variables": []}, "the class is empty"),
    ({"without": ["first", "improved"]}, "the class is empty"), ({"without": ["race"]}, "without names 'race'"),
    ({"least": -1}, "least is a whole number"), ({"cuts": 0}, "cuts is a whole number"), ({"refits": 0.5}, "refits is a whole number"),
])
def test_what_is_refused(codiacs, how, words):
    with pytest.raises(dtr.DecisionError, match=words):
        dtr.policy_tree(codiacs, **how)


def test_what_else_is_refused(codiacs):
    with pytest.raises(dtr.DecisionError, match="takes a Regime"):
        dtr.policy_tree(codiacs.posterior)
    gated = dtr.optimize(codiacs.posterior, safety=dtr.SafetyGate("improved", below=0.01, probability=0.99))
    with pytest.raises(dtr.DecisionError, match="safety gates"):
        dtr.policy_tree(gated)
    forced = Study(Decision("a", ["p"]), Response("y", Normal(), model=Saturated()), utility="y")
    with pytest.raises(dtr.DecisionError, match="offers a choice"):
        dtr.policy_tree(dtr.optimize(known.posterior_with(forced, known.random_cells(forced, 1))))
