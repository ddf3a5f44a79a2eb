"""Families of regimes indexed by thresholds: published values, closed forms, and the members one by one."""

import known
import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

import bayesdtr as dtr
from bayesdtr import Baseline, Decision, Normal, Response, Saturated, Study, at_least, below, when

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")

# ---- a published test-bed: Rodriguez Duque's first simulation, everything known -----------------------


def second_measure(history):
    return pm.Normal("x2", pm.Normal("level", 0, 1) + history.code("first") + 0.5 * history["x1"], 1.0)


def outcome(history):
    x1, x2 = history["x1"], history["x2"]
    above = lambda x, c: pt.cast(pt.gt(x, c), "float64")  # noqa: E731
    lost = (x1 - 0.4) * (above(x1, 0.4) - history.code("first")) + (x2 - 0.8) * (above(x2, 0.8) - history.code("second"))
    return pm.Normal("y", pm.Normal("level", 0, 1) + x1 - lost, 0.5)


BED = Study(
    Baseline("x1"), Decision("first", ["0", "1"]), Response("x2", model=second_measure), Decision("second", ["0", "1"]),
    Response("y", model=outcome), utility="y",
)
PUBLISHED = {(0.4, 0.8): 0.0, (0.5, 0.5): -0.013791, (1.0, 1.0): -0.056643, (0.0, 1.0): -0.036675, (0.0, 0.0): -0.115511}


def family(t1, t2):
    return {"first": {when(x1=at_least(t1)): "1", when(x1=below(t1)): "0"}, "second": {when(x2=at_least(t2)): "1", when(x2=below(t2)): "0"}}


@pytest.fixture(scope="module")
def bed():
    n = 400
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x1": stats.norm.ppf((np.arange(n) + 0.5) / n), "first": rng.choice(["0", "1"], n), "x2": rng.normal(size=n),
                          "second": rng.choice(["0", "1"], n), "y": rng.normal(size=n)})
    known_to_be_nil = {"level": np.zeros((4, 25))}  # equal draws, which differ by the patients' bootstrap weights alone
    return known.posterior_with(BED, {"x2": known_to_be_nil, "y": known_to_be_nil}, frame)


def test_the_published_values(bed):
    found = dtr.search_thresholds(bed, family, grid={"t1": [0.0, 0.4, 0.5, 1.0], "t2": [0.0, 0.5, 0.8, 1.0]})
    assert found.best == {"t1": 0.4, "t2": 0.8} and found.set == (found.best,)
    frame = found.frame().set_index(["t1", "t2"])
    draws = found.comparison.draws["value"].values
    best = found.comparison.best
    for at, value in PUBLISHED.items():
        k = frame.index.get_loc(at)
        gap = draws[..., k] - draws[..., best]
        # The patients stand at 400 quantiles of a Normal: their own sum, a midpoint rule, is off by up to 7e-4 where the rule jumps.
        assert gap.mean() == pytest.approx(value, abs=4 * gap.std() / np.sqrt(gap.size) + 7e-4)
        assert frame.loc[at, "mean"] == pytest.approx(draws[..., k].mean())


# ---- closed forms ----------------------------------------------------------------------------------------


def gauge(history):
    return pm.Normal("x", 0.7 * history.code("a") - 0.3, 0.8)


def kink(history):
    return pm.Normal("y", history.code("b") * (history["x"] - 0.25), 1.0)


def test_a_surface_in_closed_form():
    study = Study(Decision("a", ["0", "1"]), Response("x", model=gauge), Decision("b", ["0", "1"]), Response("y", model=kink), utility="y")
    posterior = dtr.fit(study, known.cohort(study, 60), seed=1)
    regime = dtr.optimize(posterior)
    cuts = np.linspace(-0.5, 1.0, 7)
    found = dtr.search_thresholds(
        posterior, lambda c: {"a": "1", "b": {when(x=at_least(c)): "1", when(x=below(c)): "0"}}, grid={"c": cuts}, against=regime)
    z = (cuts - 0.4) / 0.8
    exact = 0.15 * stats.norm.sf(z) + 0.8 * stats.norm.pdf(z)
    np.testing.assert_allclose(found.frame()["mean"], exact, atol=1e-8)
    assert found.best == {"c": 0.25}
    assert found.row.gain.mean == pytest.approx(0, abs=1e-8)  # the optimal rule is a member
    assert "The optimal regime gains" in str(found)


# ---- posteriors ---------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def cells():
    made = Study(Decision("a", ["x", "y"]), Response("w", Normal(), model=Saturated(over=["a"])), Decision("b", ["s", "t"]),
                 Response("out", Normal(), model=Saturated(over=["a", "b"])), utility="out", scales={"w": (0.0, 1.0), "out": (0.0, 1.0)})
    rng = np.random.default_rng(4)
    draws = {"w": {"mean": rng.normal(0.3, 0.2, (2, 40, 2)), "sigma": rng.uniform(0.8, 1.2, (2, 40))},
             "out": {"mean": rng.normal([0, 0.3, 1, 0.5], 0.5, (2, 40, 4)), "sigma": np.ones((2, 40))}}
    return known.posterior_with(made, draws, known.cohort(made, 50))


def step(c, d=0.0):
    if c < d:
        return None
    middle = {when(w=dtr.between(d, c)): "t"} if d < c else {}
    return {"a": "x", "b": {when(w=below(d)): "s", **middle, when(w=at_least(c)): "s"}}


def test_members_are_what_compare_makes_of_them(cells):
    grid = {"c": [2.0, -1.0, 0.5, 0.5], "d": [0.0, -2.0]}
    found = dtr.search_thresholds(cells, step, grid=grid, alpha=0.1, ci_prob=0.8)
    assert found.members.tolist() == [[-1.0, -2.0], [0.5, -2.0], [0.5, 0.0], [2.0, -2.0], [2.0, 0.0]]  # sorted, once each, without None
    one_by_one = dtr.compare(cells, regimes={str(k): step(*m) for k, m in enumerate(found.members)}, alpha=0.1, ci_prob=0.8)
    np.testing.assert_array_equal(found.comparison.draws["value"].values, one_by_one.draws["value"].values)
    best = int(one_by_one.draws["value"].values.mean(axis=(0, 1)).argmax())
    assert found.best == dict(zip(("c", "d"), found.members[best].tolist(), strict=True)) and found.rules == one_by_one.rows[best].rules
    assert found.set == tuple({"c": c, "d": d} for (c, d), r in zip(found.members, one_by_one.rows, strict=True) if r.in_best_set)
    frame = found.frame()
    assert frame.columns[:5].tolist() == ["c", "d", "mean", "sd", "mcse"] and frame["p_best_regime"].sum() == pytest.approx(1)
    assert {"lower_0.8", "upper_0.8", "in_best_set"} <= set(frame.columns)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100 and "cannot be told from the best (simultaneous 90%" in text and "edge of the grid" in text


def test_equal_members_are_no_tie_and_near_ones_are(cells):
    """Thresholds between the same two patients give one rule; a rule that is better by less than the draws can tell is a tie."""
    study = Study(Baseline("z"), Decision("a", ["x", "y"]), Response("out", Normal(), model=Saturated(over=["a"])), utility="out")
    frame = pd.DataFrame({"z": np.arange(20.0), "a": ["x", "y"] * 10, "out": np.arange(20.0)})

    def posterior(gap):
        noise = np.random.default_rng(1).normal(0, 1, (2, 100, 2))
        return known.posterior_with(study, {"out": {"mean": noise + np.array([0.0, gap]), "sigma": np.ones((2, 100))}}, frame)

    high = lambda c: {"a": {when(z=at_least(c)): "y", when(z=below(c)): "x"}}  # noqa: E731
    clear = dtr.search_thresholds(posterior(3.0), high, grid={"c": [-1.0, -0.5, 10.0]})
    assert clear.best == {"c": -1.0} and not clear.mc_tie and "more draws could name" not in str(clear)
    assert [r.p_best for r in clear.comparison.rows[:2]] == [clear.comparison.rows[0].p_best] * 2  # equal values share
    close = dtr.search_thresholds(posterior(0.01), high, grid={"c": [-1.0, 10.0]})
    assert close.mc_tie and "more draws could name" in str(close)


@pytest.mark.parametrize(("family_", "grid", "words"), [
    (step, {}, "grid is a mapping"), (step, {"e": [1.0], "c": [1.0]}, "grid names 'e'; the family takes 'c', 'd'"),
    (step, {"d": [1.0]}, "grid lacks values of 'c'"),
    (step, {"c": []}, "values of 'c' are finite numbers"), (step, {"c": [np.nan]}, "are finite numbers"), (step, {"c": "low"}, "are finite numbers"),
    (step, {"c": [True]}, "are finite numbers"), (step, {"c": np.arange(1, 2000)}, "1999 combinations"), (step, {"c": [-1.0]}, "None for every"),
    ({"a": "x"}, {"c": [1.0]}, "family is a function"),
])
def test_what_is_refused(cells, family_, grid, words):
    with pytest.raises(dtr.DecisionError, match=words):
        dtr.search_thresholds(cells, family_, grid=grid)


def test_what_else_is_refused(cells):
    with pytest.raises(dtr.DecisionError, match="takes a Posterior"):
        dtr.search_thresholds(dtr.optimize(cells), step, grid={"c": [1.0]})
    with pytest.raises(dtr.StudyError, match="'z' is not an option"):
        dtr.search_thresholds(cells, lambda c: {"a": "z", "b": "s"}, grid={"c": [1.0]})
