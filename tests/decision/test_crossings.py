"""Where capabilities cross: lotteries on large trees, attitudes in explanations, budgets on early decisions, stage-wise regimes."""

import itertools
from types import SimpleNamespace

import known
import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Lottery, Normal, PiecewiseLinear, Response, Saturated, Study, Utility, as_assigned, when
from bayesdtr.data import read
from bayesdtr.decision.induction import leaves
from bayesdtr.decision.information import partial
from bayesdtr.decision.information.partial import class_values
from bayesdtr.decision.limits.subgroups import labels_by
from bayesdtr.decision.world import World

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


LOSSES = PiecewiseLinear(knots=[1.0], slopes=[2.0, 1.0])


def carrying(attitude: PiecewiseLinear | None = LOSSES) -> Study:
    """Nothing that follows the second decision looks at `a` or `r`, but the total so far does: `a` costs and `r` counts."""
    return Study(
        Baseline("x", levels=["l", "h"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated(["a"])),
        Decision("c", ["u", "v"]), Response("y", Bernoulli(), model=Saturated(["c"])),
        utility=Utility({"r": 1.0, "y": 3.0}, costs={"a": {"p": 0.0, "q": 1.0}, "c": {"u": 0.0, "v": 0.2}}, attitude=attitude),
    )


def test_explanations_under_an_attitude_look_at_what_the_total_so_far_depends_on():
    study = carrying()
    draws = known.random_cells(study, 3)
    frame = known.cohort(study)
    regime = dtr.optimize(known.posterior_with(study, draws, frame))
    yes = draws["y"]["probability"].mean(axis=(0, 1))  # u, v
    worth = lambda total: total if total >= 1 else 2 * total - 1  # noqa: E731

    def lead(a: str, r: int) -> float:
        before = r - (a == "q")
        after = [p * worth(before + 3 - cost) + (1 - p) * worth(before - cost) for p, cost in zip(yes, (0.0, 0.2), strict=True)]
        return after[0] - after[1]

    told = regime.explain(frame[["x", "a", "r"]].head(1))
    sign = 1 if told.option == "u" else -1
    first = frame.iloc[0]
    mean = np.mean([lead(a, r) for a, r in zip(frame.a, frame.r, strict=True)])
    np.testing.assert_allclose(sign * told.contributions.total, lead(first.a, first.r))
    np.testing.assert_allclose(sign * told.contributions.base, mean)
    assert {c.name for c in told.contributions.rows if c.contribution} == {"a", "r"}
    assert told.patients_like == ((frame.a == first.a) & (frame.r == first.r)).sum()
    assert regime.looked_at("c") == ("a", "r") and regime.looked_at("a") == ()


def test_a_cost_alone_is_looked_at_without_the_response_it_counts_with():
    study = carrying()._with(utility=Utility({"y": 3.0}, costs={"a": {"q": 1.0}}, attitude=LOSSES))
    assert dtr.optimize(known.posterior_with(study, known.random_cells(study, 3))).looked_at("c") == ("a",)


def test_stage_wise_learning_under_an_attitude_models_worths():
    """One final 0/1 response whose worth is f(1) = 2: half the worth of twice the response, and no family to keep."""
    study = carrying().with_utility(Utility("y", attitude=PiecewiseLinear(knots=[5.0], slopes=[2.0, 1.0])))
    frame, how = known.cohort(study, 60), {"seed": 1, "engine": "exact", "imputations": 100, "progress": False}
    worths, plain = (dtr.q_learn(s, frame, **how) for s in (study, study.with_utility(Utility({"y": 2.0, "r": 1e-9}))))
    np.testing.assert_allclose(worths.value_draws, plain.value_draws, atol=1e-6)


def test_a_budget_on_an_early_decision_only():
    study = Study(
        Baseline("x", levels=["l", "h"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated(["a"])),
        Decision("c", {when(r=0): ["u", "v"], when(r=1): []}), Response("y", Bernoulli(), model=Saturated(["a", "c"])),
        utility=Utility({"r": 0.2, "y": 1.0}),
    )
    rng = np.random.default_rng(1)
    rows = [{"x": str(rng.choice(["l", "h"])), "a": str(rng.choice(["p", "q"])), "r": int(i % 3 == 0)} for i in range(60)]
    frame = pd.DataFrame([{**h, "c": None if h["r"] else str(rng.choice(["u", "v"])), "y": None if h["r"] else float(rng.integers(2))} for h in rows])
    draws = known.random_cells(study, 5)
    means = {n: d["probability"].mean(axis=(0, 1)) for n, d in draws.items()}
    best = [means["r"][a] * 0.2 + (1 - means["r"][a]) * max(means["y"][2 * a : 2 * a + 2]) for a in range(2)]
    dear, cheap = (0, 1) if best[0] > best[1] else (1, 0)
    amount = {"pq"[dear]: 2.0, "pq"[cheap]: 1.0}
    found = dtr.within_budget(known.posterior_with(study, draws, frame), resource={"a": amount}, limit=1.25)
    np.testing.assert_allclose([found.share, found.price, found.use.mean], [0.25, best[dear] - best[cheap], 1.25])


def test_regimes_with_lotteries_where_the_tree_is_too_large(monkeypatch):
    """By simulation, in the value of information too, and as exact sums within its noise."""
    study = carrying(None)
    posterior = known.posterior_with(study, known.random_cells(study, 4, per_chain=20))
    given = {"lottery": {"a": Lottery({"p": 0.3, "q": 0.7}), "c": {when(r=0): "u", when(r=1): Lottery({"u": 0.5, "v": 0.5})}},
             "assigned": as_assigned(study)}
    rules = [r.rules for r in dtr.compare(posterior, regimes=given).rows]
    world = World.of(posterior, rules)
    exact = class_values(posterior, world, rules)
    monkeypatch.setattr(partial, "MOST_LEAVES", 0)
    np.testing.assert_allclose(class_values(posterior, world, rules), exact, atol=0.08)
    assert np.isfinite(dtr.evppi(posterior, regimes=given).values).all()
    assert np.isfinite(dtr.evsi(posterior, [10], seed=1, regimes=given).values).all()


def test_the_worst_off_subgroup_of_the_optimal_regime_alone():
    study = carrying(None)
    posterior = known.posterior_with(study, known.random_cells(study, 4))
    regime = dtr.optimize(posterior)
    for made in (regime, dtr.optimize(posterior, method="regression")):
        found = dtr.fair(posterior, "x", over={"best": made}, against=None, objective="maxmin")
        assert found.chosen == "best" and found.group_draws.shape[2:] == (1, 2)
    np.testing.assert_allclose(dtr.fair(posterior, "x", over={"best": regime}, against=None, objective="maxmin").draws[..., 0], regime.value_draws)


def test_stage_wise_recommendations_count_patients_alike_in_what_the_q_functions_look_at():
    study = Study(Baseline("x", levels=["l", "h"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()),
                  Decision("c", ["u", "v"]), Response("y", Normal(), model=Saturated(["r", "c"])), utility="y")
    frame = known.cohort(study, 60)
    regime = dtr.q_learn(study, frame, seed=1, engine="exact", imputations=100, progress=False)
    assert regime.looked_at("a") == ("x",) and regime.looked_at("c") == ("r",)
    asked = pd.DataFrame(list(itertools.product("lh", "pq", (0, 1))), columns=["x", "a", "r"])
    assert list(regime.recommend(asked).patients_like) == [(frame.r == r).sum() for r in asked.r]


def test_subgroups_of_different_sizes_share_their_draws(monkeypatch):
    """Where draws are thinned because patients are many, every subgroup keeps the same ones."""
    study = carrying(None)
    posterior = known.posterior_with(study, known.random_cells(study, 4, per_chain=600))
    regime = dtr.optimize(posterior)
    labels = ["mixed" if i % 2 or x == "h" else "l only" for i, x in enumerate(known.cohort(study).x)]
    monkeypatch.setattr("bayesdtr.decision.values.MOST_EVALUATIONS", 1200 * leaves(World.of(posterior), 0))
    found = dtr.by_group(regime, labels)
    assert found.gap.mean == pytest.approx(max(g.value.mean for g in found.rows) - min(g.value.mean for g in found.rows))


def test_rules_to_read_ask_about_sensitive_covariates_only_when_told_to():
    study = Study(
        Baseline("x", levels=["l", "h"]), Baseline("sex", levels=["f", "m"], sensitive="use"), Baseline("race", levels=["s", "t"], sensitive=True),
        Decision("a", ["p", "q"]), Response("y", Bernoulli(), model=Saturated(["sex", "a"])), utility="y",
    )
    frame = known.cohort(study).assign(race="s")
    cells = np.broadcast_to([0.2, 0.7, 0.8, 0.3], (2, 20, 4))  # the better option is the other one for the other sex
    regime = dtr.optimize(known.posterior_with(study, {"y": {"probability": cells}}, frame))
    usual, told = dtr.policy_tree(regime, refits=0, without=["race"]), dtr.policy_tree(regime, refits=0, variables=["sex"])
    assert dict(usual.asked.variables) == {"a": ("x",)} and dict(told.asked.variables) == {"a": ("sex",)}
    assert usual.price().mean > 0.1 and told.price().mean == pytest.approx(0, abs=1e-12)
    assert "models see them, and these rules do not ask about them" in " ".join(str(usual).split())
    assert "rules may ask about sex" in " ".join(str(told).split())
    with pytest.raises(dtr.StudyError, match="names 'race', declared sensitive=True"):
        dtr.policy_tree(regime, variables=["race"])


def test_patients_whose_covariate_is_missing_are_a_subgroup_of_their_own():
    study = Study(Baseline("x", levels=["l", "h"], missing="model"), Baseline("k", missing=dtr.Bernoulli()), Decision("a", ["p", "q"]),
                  Response("y", Bernoulli()), utility="y")
    frame = pd.DataFrame({"x": ["l", None, "h", "l"], "k": [0, 1, None, 1], "a": ["p", "q", "p", "q"], "y": [0, 1, 1, 0]})
    posterior = SimpleNamespace(study=study, trajectories=read(study, frame))
    assert labels_by(posterior, "x", "by_group")[1].tolist() == ["x = l", "x not recorded", "x = h", "x = l"]
    assert labels_by(posterior, "k", "by_group")[1].tolist() == ["k = 0", "k = 1", "k not recorded", "k = 1"]


def test_a_report_of_a_regime_with_gates_shows_no_value_of_information_without_them(tmp_path):
    study = carrying(None)
    posterior = known.posterior_with(study, known.random_cells(study, 4))
    gated = dtr.optimize(posterior, safety=dtr.SafetyGate("r", below=0.5, probability=0.5), default={"a": "p"})
    with pytest.raises(dtr.DecisionError, match="heeds no safety gates"):
        dtr.report(gated, tmp_path / "r.html", findings=[dtr.value_of_information(posterior)])
