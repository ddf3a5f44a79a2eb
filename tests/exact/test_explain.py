"""Explanations of recommendations, against closed forms, literal Shapley values over all orders, and the regime itself."""

import itertools

import known
import numpy as np
import pandas as pd
import pymc as pm
import pytest

from bayesdtr import (
    Baseline,
    Bernoulli,
    Decision,
    DecisionError,
    Normal,
    Response,
    SafetyGate,
    Saturated,
    Study,
    Utility,
    optimize,
    when,
    with_utility,
)
from bayesdtr.decision.explaining.shapley import game, orders, subsets

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


# ---- linear models: closed forms ------------------------------------------------------------------------------


def linear(history):
    base = pm.Normal("base", 0, 10, shape=3)
    effect = pm.Normal("effect", 0, 10, shape=3)
    treated = pm.math.switch(pm.math.eq(history.code("a"), 1), 1.0, 0.0)
    mean = base[0] + base[1] * history["x1"] + base[2] * history["x3"]
    return pm.Normal("y", mean + treated * (effect[0] + effect[1] * history["x1"] + effect[2] * history["x2"]), 1.0)


def multiplied(history):
    effect = pm.Normal("effect", 0, 10)
    treated = pm.math.switch(pm.math.eq(history.code("a"), 1), 1.0, 0.0)
    return pm.Normal("y", treated * effect * history["x1"] * history["x2"], 1.0)


X = ["x1", "x2", "x3", "x4"]
EFFECT = np.array([0.4, -1.0, 0.7])


def one_stage(model, effect, frame=None):
    study = Study(*(Baseline(x) for x in X), Decision("a", ["standard", "new"]), Response("y", model=model), utility="y")
    rng = np.random.default_rng(3)
    if frame is None:
        frame = pd.DataFrame({x: rng.normal(size=40) for x in X} | {"a": ["standard", "new"] * 20, "y": rng.normal(size=40)})
    draws = {"effect": effect} | ({"base": rng.normal(size=effect.shape)} if model is linear else {})
    return optimize(known.posterior_with(study, {"y": draws}, frame)), frame


@pytest.fixture(scope="module")
def straight():
    effect = np.random.default_rng(4).normal(EFFECT, 0.2, (2, 50, 3))
    return *one_stage(linear, effect), effect.reshape(-1, 3)


def test_contributions_in_a_linear_model_have_a_closed_form(straight):
    """Coefficient times distance from the mean; nothing for a main effect and for what no model looks at; intervals draw by draw."""
    regime, frame, effect = straight
    patient = pd.DataFrame({"x1": [1.5], "x2": [-0.5], "x3": [2.0], "x4": [9.0]})
    told = regime.explain(patient)
    c, mean = effect.mean(axis=0), frame[X].mean()
    d = c[0] + c[1] * 1.5 + c[2] * -0.5
    assert (told.option, told.against) == (("new", "standard") if d > 0 else ("standard", "new")) and d < 0
    by = {r.variables: r for r in told.contributions.rows}
    for name, value, k in (("x1", 1.5, 1), ("x2", -0.5, 2)):
        far = value - mean[name]
        assert by[name,].contribution == pytest.approx(-c[k] * far, abs=1e-10)
        low, high = np.quantile(-effect[:, k] * far, [0.025, 0.975])
        assert (by[name,].lower, by[name,].upper) == (pytest.approx(low, abs=1e-10), pytest.approx(high, abs=1e-10))
        assert by[name,].sampling_error == 0
    assert by["x3",].contribution == pytest.approx(0, abs=1e-12) and by["x4",].contribution == 0
    assert told.difference.mean == pytest.approx(-d, abs=1e-10) and told.contributions.total == pytest.approx(-d, abs=1e-10)
    assert told.contributions.base == pytest.approx(-(c[0] + c[1] * mean["x1"] + c[2] * mean["x2"]), abs=1e-10)
    assert sum(r.contribution for r in told.contributions.rows) == pytest.approx(told.contributions.total - told.contributions.base, abs=1e-10)
    drawn = -(effect @ [1, 1.5, -0.5])
    assert told.p_better == (drawn > 0).mean() and told.difference.upper == pytest.approx(np.quantile(drawn, 0.975))
    assert told.extrapolates and told.outside == () and "x4" not in str(told).split("What would change")[1]


def test_thresholds_of_a_linear_rule(straight):
    """The nearest change is where the difference is 0; nearer ones do not flip, it does; units and SDs are told."""
    regime, frame, effect = straight
    c = effect.mean(axis=0)
    row = {"x1": 0.9, "x2": 0.1, "x3": 0.0, "x4": 0.0}
    told = regime.explain(pd.DataFrame([row]))
    exact = {"x1": -(c[0] + c[2] * row["x2"]) / c[1], "x2": -(c[0] + c[1] * row["x1"]) / c[2]}
    found = {s.variables[0]: s for s in told.changes.singles}
    assert set(found) == {n for n, v in exact.items() if frame[n].min() <= v <= frame[n].max()} != set()
    for name, change in found.items():
        step = np.ptp(frame[name]) / 64 / 16**5
        assert abs(change.values[0] - exact[name]) < step
        assert change.difference[0] == pytest.approx(exact[name] - row[name], abs=step)
        assert change.distance == pytest.approx(abs(change.difference[0]) / frame[name].std(), rel=1e-9)
        moved = {**row, name: change.values[0]}
        assert regime.recommend(pd.DataFrame([moved]))["option"].item() == change.option != told.option
        told_value = float(change.changed[0])  # rounded to four digits, and still on the far side
        assert regime.recommend(pd.DataFrame([row | {name: told_value}]))["option"].item() == change.option
        assert abs(told_value - change.values[0]) <= 1e-3 * abs(told_value)
        moved[name] -= np.sign(change.difference[0]) * 2 * step
        assert regime.recommend(pd.DataFrame([moved]))["option"].item() == told.option
    assert [s.distance for s in told.changes.singles] == sorted(s.distance for s in told.changes.singles)


def test_a_rule_for_everyone_cannot_be_flipped():
    effect = np.broadcast_to([50.0, 0.1, 0.1], (2, 20, 3)).copy()
    regime, _ = one_stage(linear, effect)
    told = regime.explain(pd.DataFrame({x: [0.0] for x in X}))
    assert told.changes.singles == () and told.changes.pair is None and told.changes.searched
    assert "No single change flips it, and no pair of changes that was tried." in str(told)


def test_a_pair_of_changes_where_no_single_one_flips():
    """Neither variable reaches far enough alone; the pair that is named flips, and stopping short of it does not."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({x: rng.uniform(-1, 1, 40) for x in X} | {"a": ["standard", "new"] * 20, "y": rng.normal(size=40)})
    regime, _ = one_stage(linear, np.broadcast_to([0.0, 1.0, 1.0], (2, 20, 3)).copy(), frame)
    row = {"x1": -1.2, "x2": -1.2, "x3": 0.0, "x4": 0.0}
    told = regime.explain(pd.DataFrame([row]))
    assert told.option == "standard" and told.changes.singles == ()
    pair = told.changes.pair
    assert set(pair.variables) == {"x1", "x2"} and sum(pair.values) == pytest.approx(0, abs=1e-4)
    moved = row | dict(zip(pair.variables, pair.values, strict=True))
    assert regime.recommend(pd.DataFrame([moved]))["option"].item() == pair.option == "new"


def test_symmetric_variables_get_equal_shares():
    """The difference is a product, the background is the same with the two exchanged."""
    rng = np.random.default_rng(6)
    half = rng.normal(size=(20, 2))
    x = np.concatenate([half, half[:, ::-1]])
    frame = pd.DataFrame({"x1": x[:, 0], "x2": x[:, 1], "x3": rng.normal(size=40), "x4": rng.normal(size=40)})
    frame = frame.assign(a=["standard", "new"] * 20, y=rng.normal(size=40))
    regime, _ = one_stage(multiplied, np.full((2, 20), 1.7), frame)
    told = regime.explain(pd.DataFrame({"x1": [1.1], "x2": [1.1], "x3": [0.5], "x4": [0.0]}))
    by = {r.name: r.contribution for r in told.contributions.rows}
    assert by["x1"] == pytest.approx(by["x2"], abs=1e-12) and by["x1"] > 0.1
    assert by["x1"] + by["x2"] == pytest.approx(1.7 * (1.1**2 - (x[:, 0] * x[:, 1]).mean()), abs=1e-10)


# ---- Shapley values of any function ----------------------------------------------------------------------------


def literal(f, x, others, groups):
    """Average over all orders of the groups and all background rows of what each adds; nothing of the package is called."""
    total = dict.fromkeys(groups, 0.0)
    every = list(itertools.permutations(groups))
    for row in others:
        for order in every:
            now, before = list(row), f(list(row))
            for g in order:
                for j in g:
                    now[j] = x[j]
                after = f(now)
                total[g] += (after - before) / len(every) / len(others)
                before = after
    return total


def rough(p):
    return np.sin(p[0] * p[1]) + p[2] * (p[0] > 0) + p[3] ** 2 * p[1]


def test_subsets_are_the_average_over_all_orders():
    rng = np.random.default_rng(7)
    x, others = rng.normal(size=4), np.round(rng.normal(size=(12, 4)))
    distinct, counts = np.unique(others, axis=0, return_counts=True)
    made = subsets(x, distinct, counts, np.array([0, 1, 1, 2]), len(others))
    d = np.array([rough(p) for p in made.at])
    share, error = made.shares(d)
    exact = literal(rough, x, others, [(0,), (1, 2), (3,)])
    np.testing.assert_allclose(share, list(exact.values()), atol=1e-12)
    np.testing.assert_allclose(made.loads @ d, share, atol=1e-12)
    base, total = made.ends(d)
    assert total == rough(x) and base == pytest.approx(np.mean([rough(p) for p in others])) and (error == 0).all()
    assert share.sum() == pytest.approx(total - base, abs=1e-12)


def test_sampled_orders_add_up_and_know_their_error():
    """Over 200 seeds the errors claimed are those made: standardized errors have mean 0 and SD 1."""
    rng = np.random.default_rng(8)
    x, others = rng.normal(size=4), rng.normal(size=(30, 4))
    owner = np.arange(4)
    whole = subsets(x, others, np.ones(30, dtype=int), owner, 30)
    exact, _ = whole.shares(np.array([rough(p) for p in whole.at]))
    z = []
    for seed in range(200):
        made = orders(x, others, np.ones(30, dtype=int), owner, 90, seed)
        d = np.array([rough(p) for p in made.at])
        share, error = made.shares(d)
        base, total = made.ends(d)
        assert share.sum() == pytest.approx(total - base, abs=1e-10)
        z.append((share - exact) / error)
    # Every background row is used equally often here, so the errors made are somewhat smaller than for independent rows.
    assert (np.abs(np.mean(z, axis=0)) < 4 / np.sqrt(200)).all()
    spread = np.std(z, axis=0)
    assert (spread < 1.2).all() and (spread > 0.3).all()


def test_a_background_that_is_sampled_knows_its_error():
    rng = np.random.default_rng(9)
    x, others, owner = rng.normal(size=4), rng.normal(size=(200, 4)), np.arange(4)
    whole = subsets(x, others, np.ones(200, dtype=int), owner, 200)
    exact, none = whole.shares(np.array([rough(p) for p in whole.at]))
    assert (none == 0).all()
    z = []
    for seed in range(150):
        made = game(x, others, owner, 16 * 40, seed)
        assert made.background == 40 and made.exact
        share, error = made.shares(np.array([rough(p) for p in made.at]))
        z.append((share - exact) / error)
    assert (np.abs(np.mean(z, axis=0)) < 0.5).all()  # rare large values make the studentized errors skew
    assert (np.std(z, axis=0) < 1.5).all() and (np.std(z, axis=0) > 0.7).all()


def test_many_players_are_sampled():
    x, others = np.ones(12), np.zeros((5, 12))
    made = game(x, others, np.arange(12), 1e4, 1)
    assert not made.exact and made.sampled == 769
    share, error = made.shares(made.at @ np.arange(12.0))
    np.testing.assert_allclose(share, np.arange(12.0), atol=1e-10)
    np.testing.assert_allclose(error, 0, atol=1e-10)


# ---- discrete histories: feasibility, brute force -------------------------------------------------------------------

TIED = Study(
    Baseline("sex", levels=["f", "m"]), Decision("a1", ["p", "q"]), Response("r1", Bernoulli(), model=Saturated()),
    Decision("a2", {when(r1=0): ["p", "q"], when(r1=1): ["stay"]}), Response("r2", Bernoulli(), model=Saturated()),
    Decision("a3", {when(r2=0): ["p", "q", "r"], when(r2=1): ["q", "r"]}), Response("y", Bernoulli(), model=Saturated()), utility="y",
)
BEFORE = ["sex", "a1", "r1", "a2", "r2"]


@pytest.fixture(scope="module", params=[1, 2, 3])
def tied(request):
    return optimize(known.posterior_with(TIED, known.random_cells(TIED, request.param), known.cohort(TIED, 60, request.param)))


def everything(regime):
    """Expected utility of every option at every history before the last decision."""
    rows = pd.DataFrame(list(known.histories(TIED, "a3")))
    every = regime.recommend(rows, every_option=True)
    table = {}
    for line in every.itertuples():
        table.setdefault(tuple(rows.iloc[int(line.patient) - 1]), {})[line.option] = line.expected_utility
    return table


def test_variables_that_decide_what_is_feasible_enter_as_one(tied):
    """Against literal Shapley values over all orders; only histories that are possible and offer both options are looked at."""
    table = everything(tied)
    t = tied.posterior.trajectories
    data = pd.DataFrame({n: [TIED[n].options[int(v)] if n.startswith("a") else ("fm"[int(v)] if n == "sex" else int(v)) for v in t.columns[n]]
                         for n in BEFORE})
    for history in [("f", "p", 0, "q", 0), ("m", "q", 1, "stay", 1), ("f", "q", 0, "p", 0)]:
        told = tied.explain(pd.DataFrame([dict(zip(BEFORE, history, strict=True))]))
        f = lambda h: table[tuple(h)][told.option] - table[tuple(h)][told.against]  # noqa: E731, B023
        others = [tuple(r) for r in data.itertuples(index=False) if {told.option, told.against} <= set(table[tuple(r)])]
        groups = [(0,), (1,), (2, 3), (4,)]
        exact = literal(f, history, others, groups)
        by = {r.variables: r.contribution for r in told.contributions.rows}
        assert set(by) == {tuple(BEFORE[j] for j in g) for g in groups}
        for g in groups:
            assert by[tuple(BEFORE[j] for j in g)] == pytest.approx(exact[g], abs=1e-10)
        assert told.contributions.total == pytest.approx(f(history), abs=1e-10)
        assert told.contributions.base == pytest.approx(np.mean([f(o) for o in others]), abs=1e-10)
        assert told.contributions.background == told.contributions.patients == len(others)


def test_changes_of_discrete_histories_by_brute_force(tied):
    """All that flips by itself is found, nothing else, and what is found is possible."""
    table = everything(tied)
    best = {h: max(v, key=v.get) for h, v in table.items()}
    levels = {"sex": ["f", "m"], "a1": ["p", "q"], "r1": [0, 1], "a2": ["p", "q", "stay"], "r2": [0, 1]}
    for history in list(table)[::3]:
        told = tied.explain(pd.DataFrame([dict(zip(BEFORE, history, strict=True))]))
        assert told.option == best[history]
        flips = set()
        for j, name in enumerate(BEFORE):
            for value in levels[name]:
                new = (*history[:j], value, *history[j + 1 :])
                if new in table and best[new] != best[history] and best[history] in table[new] and best[new] in table[history]:
                    flips.add(name)
        assert {c.variables[0] for c in told.changes.singles} == flips
        for change in told.changes.singles or ((told.changes.pair,) if told.changes.pair else ()):
            values = [str(v) if n.startswith(("a", "s")) else int(v) for n, v in zip(change.variables, change.changed, strict=True)]
            moved = dict(zip(BEFORE, history, strict=True)) | dict(zip(change.variables, values, strict=True))
            assert best[tuple(moved.values())] == change.option != told.option


def test_gates_are_heeded_later_and_at_the_flipped_history():
    """An option that a gate removes is not compared with unless it is named, and flips are those of the gated rule."""
    posterior = known.posterior_with(TIED, known.random_cells(TIED, 5), known.cohort(TIED, 60, 5))
    regime = optimize(posterior, safety=SafetyGate("y", below=0.5, probability=0.5), default={"a1": "p", "a2": "p", "a3": "q"})
    free = optimize(posterior)
    removed = 0
    for history in list(known.histories(TIED, "a3"))[::2]:
        row = pd.DataFrame([history])
        told = regime.explain(row)
        assert told.option == regime.recommend(row)["option"].item()
        removed += len(told.removed)
        every = free.recommend(row, every_option=True).set_index("option")["expected_utility"]
        assert told.difference.mean == pytest.approx(every[told.option] - every[told.against], abs=1e-10)
        for change in told.changes.singles:
            values = [str(v) if n.startswith(("a", "s")) else int(v) for n, v in zip(change.variables, change.changed, strict=True)]
            moved = history | dict(zip(change.variables, values, strict=True))
            assert regime.recommend(pd.DataFrame([moved]))["option"].item() == change.option
    assert removed > 0


def test_earlier_decisions_look_ahead_under_the_regime(tied):
    rows = pd.DataFrame({"sex": ["f", "m"]})
    every = tied.recommend(rows, every_option=True)
    for i, sex in enumerate(["f", "m"]):
        told = tied.explain(rows, patient=i + 1)
        mine = every[every["patient"] == str(i + 1)].set_index("option")
        other = every[every["patient"] != str(i + 1)].set_index("option")
        share = (tied.posterior.trajectories.columns["sex"] == (sex == "f")).mean()  # of patients of the other sex
        d = lambda t: t.loc[told.option, "expected_utility"] - t.loc[told.against, "expected_utility"]  # noqa: E731, B023
        assert told.difference.mean == pytest.approx(d(mine), abs=1e-10)
        assert told.contributions.rows[0].contribution == pytest.approx(share * (d(mine) - d(other)), abs=1e-10)


def test_another_unit_of_utility_scales_contributions_and_moves_nothing(tied):
    other = optimize(with_utility(tied.posterior, Utility({"y": 3.0})))
    row = pd.DataFrame([{"sex": "m", "a1": "q", "r1": 0, "a2": "p", "r2": 0}])
    one, three = tied.explain(row), other.explain(row)
    assert [(r.variables, r.value) for r in one.contributions.rows] == [(r.variables, r.value) for r in three.contributions.rows]
    np.testing.assert_allclose([r.contribution for r in three.contributions.rows], [3 * r.contribution for r in one.contributions.rows], atol=1e-10)
    assert one.changes == three.changes and one.p_better == three.p_better and one.alike.near == three.alike.near


# ---- patients like this one ------------------------------------------------------------------------------------------


def test_patients_of_a_discrete_history(tied):
    t = tied.posterior.trajectories
    told = tied.explain(pd.DataFrame({"sex": ["f"], "a1": ["p"], "r1": [0]}))
    same = (t.columns["sex"] == 0) & (t.columns["a1"] == 0) & (t.columns["r1"] == 0)
    assert told.alike.cell == told.alike.near == same.sum() == len(told.alike.rows) and told.patients_like == same.sum()
    assert {r.patient for r in told.alike.rows} == set(t.ids[same])
    for option, n, mean, known_ in told.alike.by_option():
        got = same & (t.columns["a2"] == TIED["a2"].options.index(option))
        assert (n, known_) == (got.sum(), got.sum()) and mean == pytest.approx(t.columns["y"][got].mean())
    frame = told.alike.frame()
    assert list(frame.columns) == ["patient", "distance", "option", "earned"] and len(frame) == same.sum()


def test_the_nearest_patients_where_variables_are_continuous(straight):
    regime, frame, _ = straight
    row = np.array([0.3, -0.2, 0.1])
    told = regime.explain(pd.DataFrame({"x1": [row[0]], "x2": [row[1]], "x3": [row[2]], "x4": [99.0]}), nearest=7)
    z = np.abs(frame[X[:3]].to_numpy() - row) / frame[X[:3]].std().to_numpy()
    order = np.argsort(z.max(axis=1), kind="stable")[:7]
    assert [r.patient for r in told.alike.rows] == [str(i + 1) for i in order]
    np.testing.assert_allclose([r.distance for r in told.alike.rows], z.max(axis=1)[order])
    assert told.alike.cell == 40 and told.alike.near == told.patients_like == (z.max(axis=1) <= 0.5).sum()
    assert [r.earned for r in told.alike.rows] == frame["y"].iloc[order].tolist()


# ---- words and errors ---------------------------------------------------------------------------------------------------


def test_printing_fits_a_terminal(straight, tied):
    for told in (straight[0].explain(pd.DataFrame({x: [0.5] for x in X})), tied.explain(pd.DataFrame({"sex": ["f"], "a1": ["p"], "r1": [0]}))):
        assert max(map(len, str(told).splitlines())) <= 100
        assert f"{told.option} rather than {told.against}" in str(told)
        assert len(told.contributions.frame()) == len(told.contributions.rows)
        assert len(told.changes.frame()) == len(told.changes.singles) or told.changes.pair is not None


def test_what_cannot_be_explained_is_said(tied):
    rows = pd.DataFrame({"sex": ["f", "m"], "a1": ["p", "p"], "r1": [0, 1]})
    with pytest.raises(DecisionError, match="2 patients; name one"):
        tied.explain(rows)
    with pytest.raises(DecisionError, match="no patient '3'"):
        tied.explain(rows, patient=3)
    with pytest.raises(DecisionError, match="'stay' is the only option"):
        tied.explain(rows, patient=2)
    with pytest.raises(DecisionError, match="'stay' is no option at 'a2'"):
        tied.explain(rows, patient=1, against="stay")
    best = tied.recommend(rows)["option"].iloc[0]
    with pytest.raises(DecisionError, match="is the option recommended"):
        tied.explain(rows, patient=1, against=best)
    with pytest.raises(DecisionError, match="no decision is due"):
        tied.explain(known.cohort(TIED, 3, 1), patient=1)
    with pytest.raises(DecisionError, match="nearest is a number"):
        tied.explain(rows, patient=1, nearest=0)
    with pytest.raises(DecisionError, match="ci_prob"):
        tied.explain(rows, patient=1, ci_prob=1.0)


def test_a_named_option_is_compared_with(tied):
    row = pd.DataFrame([{"sex": "f", "a1": "p", "r1": 0, "a2": "q", "r2": 0}])
    every = tied.recommend(row, every_option=True).set_index("option")["expected_utility"].sort_values()
    told = tied.explain(row, against=every.index[0])
    assert told.against == every.index[0] and told.difference.mean == pytest.approx(every.iloc[-1] - every.iloc[0], abs=1e-10)


def test_normal_responses_between_decisions_are_explained():
    """A continuous response before the decision: contributions add up, and the threshold on it is where the regime changes."""
    study = Study(Decision("a1", ["p", "q"]), Response("x", Normal(), model=Saturated()), Decision("a2", ["p", "q"]),
                  Response("y", model=crossing), utility="y")
    draws = known.random_cells(Study(*study.timeline[:2], utility="x"), 3) | {"y": {"slope": np.full((2, 12), 2.0), "at": np.full((2, 12), 0.3)}}
    regime = optimize(known.posterior_with(study, draws, known.cohort(study, 50)))
    told = regime.explain(pd.DataFrame({"a1": ["p"], "x": [1.0]}))
    assert (told.option, told.against) == ("q", "p") and told.difference.mean == pytest.approx(1.4)
    (change,) = told.changes.singles
    assert change.variables == ("x",) and change.values[0] == pytest.approx(0.3, abs=1e-5)
    assert {r.name: round(r.contribution, 10) for r in told.contributions.rows}["a1"] == 0
    first = regime.explain(pd.DataFrame({"row": [1]}))
    assert first.contributions.rows == () and "looks at no variable" in str(first)


def crossing(history):
    treated = pm.math.switch(pm.math.eq(history.code("a2"), 1), 1.0, 0.0)
    return pm.Normal("y", treated * pm.Normal("slope", 0, 1) * (history["x"] - pm.Normal("at", 0, 1)), 1.0)
