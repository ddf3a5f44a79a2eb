"""The best rule within a budget against every deterministic regime and every mixture of two of them."""

import itertools

import known
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, Utility, when
from bayesdtr.decision.limits.budget import _Problem, _resource

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
RESOURCE = {"b": {"y": 1.0, "z": 0.4}, "visits": 0.5}


def study() -> Study:
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()), Response("visits", Bernoulli(), model=Saturated(over=["a"])),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}), Response("u", Normal(), model=Saturated(over=["a", "r", "b"])),
        utility=Utility({"r": 1.0, "u": 1.0}, costs={"a": {"q": 0.1}}),
    )


def worth(history: known.History) -> float:
    return history["r"] + history["u"] - 0.1 * (history["a"] == "q")


def use(history: known.History) -> float:
    return {"y": 1.0, "z": 0.4}.get(history["b"], 0.0) + 0.5 * history["visits"]


def expected(made: Study, plan: known.Plan, law: known.Law, what) -> float:
    """Expectation of a function of whole courses under a plan, by summing over every path."""
    paths: list[tuple[known.History, object]] = [({}, 1.0)]
    for node in made.timeline:
        if isinstance(node, Decision):
            paths = [({**h, node.name: plan[known.key_of(made, node.name, h)]}, p) for h, p in paths]
        else:
            paths = [({**h, node.name: v}, p * q) for h, p in paths for v, q in law(node.name, h)]
    return sum(p * what(h) for h, p in paths)


def best_mixture(points: list[tuple[float, float]], limit: float) -> float:
    """Largest value of a mixture of two points (value, use) that uses no more than the limit, by trying every pair."""
    inside = [v for v, c in points if c <= limit + 1e-12]
    pairs = [
        v1 + (limit - c1) / (c2 - c1) * (v2 - v1) for (v1, c1), (v2, c2) in itertools.product(points, points) if c1 < limit < c2
    ]
    return max(inside + pairs)


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 100_000), fraction=st.floats(0.02, 0.98))
def test_no_mixture_of_regimes_is_better(seed, fraction):
    made = study()
    draws = known.random_cells(made, seed)
    averaged, per_draw = known.cell_law(made, draws, True), known.cell_law(made, draws, False)
    posterior = known.posterior_with(made, draws, seed=seed)
    plans = [plan for _, plan in known.all_regimes(made, averaged, {})]
    points = [(expected(made, p, averaged, worth), expected(made, p, averaged, use)) for p in plans]
    free = max(points)
    least = min(c for _, c in points)
    limit = least + fraction * (free[1] - least) if free[1] > least else least + 0.1
    found = dtr.within_budget(posterior, resource=RESOURCE, limit=limit)
    # Twelve arbitrary draws are correlated across responses by chance: the rule is settled by products of averages, as for a true posterior.
    dear, cheap = _Problem.of(posterior, _resource(made, RESOURCE)).solve(limit)
    mixed = found.share * dear.value + (1 - found.share) * cheap.value
    assert mixed == pytest.approx(best_mixture(points, limit), abs=1e-8)
    assert (found.free_value, found.free_use) == pytest.approx(free, abs=1e-8)
    if free[1] > limit + 1e-9:
        assert found.share * dear.use + (1 - found.share) * cheap.use == pytest.approx(limit, abs=1e-8) and 0 <= found.share <= 1
        step = 1e-6 * (free[1] - least)
        slope = (best_mixture(points, limit + step) - best_mixture(points, limit - step)) / (2 * step)
        assert found.price == pytest.approx(slope, rel=1e-3, abs=1e-6)  # what one more unit is worth
    else:
        assert (found.price, found.share) == (0.0, 1.0)
    # The posterior of the mixture is that of its two rules, draw by draw.
    rules = [next(p for p, (v, c) in zip(plans, points, strict=True) if abs(v - line.value) + abs(c - line.use) < 1e-8) for line in (dear, cheap)]
    for what, told in ((worth, found.value), (use, found.use)):
        one, two = (np.broadcast_to(expected(made, p, per_draw, what), 24) for p in rules)
        together = found.share * one + (1 - found.share) * two
        assert (told.mean, told.sd) == pytest.approx((together.mean(), together.std(ddof=1)), abs=1e-8)


def test_capacity_over_patients_who_gain_differently():
    """One decision, patients of two kinds: the places go to those who gain most, and who shares the margin is drawn by lot."""
    made = Study(Baseline("kind", levels=["much", "little", "none"]), Decision("a", ["no", "yes"]),
                 Response("u", Normal(), model=Saturated(over=["kind", "a"])), utility="u")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"kind": ["much"] * 30 + ["little"] * 50 + ["none"] * 20, "a": rng.choice(["no", "yes"], 100), "u": rng.normal(size=100)})
    mean = np.zeros((2, 50, 6))
    mean[..., 1], mean[..., 3], mean[..., 5] = 2.0, 0.5, -0.3  # gains of "yes"; cells in the order of the labels
    posterior = known.posterior_with(made, {"u": {"mean": mean, "sigma": np.ones((2, 50))}}, frame)
    found = dtr.within_budget(posterior, resource={"a": {"yes": 1}}, limit=0.4)
    assert found.price == pytest.approx(0.5) and found.share == pytest.approx(0.1 / 0.5)
    shown = found.recommend(pd.DataFrame({"kind": ["much", "little", "none"]}))
    assert shown["option"].tolist() == ["yes", "yes", "no"] and shown["option_cheaper"].tolist() == ["yes", "no", "no"]
    assert shown["alike"].tolist() == [True, False, True]
    assert found.value.mean == pytest.approx(0.3 * 2.0 + 0.1 * 0.5, abs=0.02)  # the bootstrap of the patients moves it by 1/sqrt(100 draws)
    text = str(found)
    assert "20.0% of patients, drawn by lot" in text and "shadow price 0.5" in text and max(map(len, text.splitlines())) <= 100
    whole = dtr.within_budget(posterior, resource={"a": {"yes": 1}}, limit=0.9)
    assert whole.price == 0 and "does not bind" in str(whole) and whole.free_use == pytest.approx(0.8)


@pytest.mark.parametrize(("resource", "limit", "words"), [
    ({"b": {"y": 1}}, -0.1, "no rule uses as little as -0.1"), ({"b": 1}, 0.4, "takes a mapping of options"), ({}, 0.4, "resource is a mapping"),
    ({"b": {"w": 1}}, 0.4, "costs of 'b' names 'w'"), ({"c": 1.0}, 0.4, "names 'c'"), ({"b": {"y": 1}}, np.nan, "finite number"),
])
def test_what_does_not_fit_is_refused(resource, limit, words):
    posterior = known.posterior_with(study(), known.random_cells(study(), 1), seed=1)
    with pytest.raises(dtr.BayesDTRError, match=words):
        dtr.within_budget(posterior, resource=resource, limit=limit)
