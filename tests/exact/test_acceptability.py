"""Net monetary benefit: every threshold as a utility of its own, crossings by hand, and acceptability curves counted draw by draw."""

import known
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_enumeration import STUDIES

import bayesdtr as dtr
from bayesdtr import Utility
from bayesdtr.decision.worth.netbenefit import OPTIMAL, crossings

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
AT = [0.0, 0.3, 1.0, 2.5, 10.0]
COSTS = {"b": {"x": 1.5, "y": 0.4}}
CASES = {"by_response": ("u", "r"), "by_earlier_decision": ("u", "harm"), "three_stages": ("u", "s"), "continuous_reward": ("u", "gain")}


def case(name, seed=3):
    study = STUDIES[name]()
    posterior = known.posterior_with(study, known.random_cells(study, seed), seed=seed)
    gained, paid = CASES[name]
    found = dtr.acceptability(posterior, effect=gained, cost={"a": {"p": 0.8}, paid: 0.5, **COSTS}, thresholds=AT)
    return posterior, found, lambda w: Utility({**({gained: w} if w else {}), paid: -0.5}, costs={"a": {"p": 0.8}, **COSTS})


@pytest.mark.parametrize("name", CASES)
def test_every_threshold_is_a_utility(name):
    """Values, P(best) and the optimal rule are what compare and optimize say of ``w effect - cost``."""
    posterior, found, priced = case(name)
    for k, w in enumerate(AT[1:], start=1):
        moved = dtr.with_utility(posterior, priced(w))
        plain = dtr.compare(moved, scale="identity")
        assert found.labels == tuple(r.label for r in plain.rows)
        np.testing.assert_allclose(found.benefit(w), plain.draws["value"].values, atol=1e-9)
        np.testing.assert_allclose(found.p_best[k], [r.p_best for r in plain.rows], atol=1e-12)
        np.testing.assert_allclose(found.p_best_error[k], [r.p_best_error for r in plain.rows], atol=1e-12)
        assert found.best[k] == plain.best
        best = dtr.optimize(moved)
        np.testing.assert_allclose(w * found.optimal_effect[..., k] - found.optimal_cost[..., k], best.value_draws, atol=1e-9)
        assert found.optimal(k).mean == pytest.approx(best.value().mean, abs=1e-9)


def test_frame_and_words():
    _, found, _ = case("by_earlier_decision")
    frame = found.frame()
    assert len(frame) == len(AT) * (len(found.labels) + 1)
    of = frame[frame["regime"] != OPTIMAL]
    np.testing.assert_allclose(of.groupby("threshold")["p_best"].sum(), 1.0)
    top = of.loc[of.groupby("threshold")["mean"].idxmax()]
    assert top["frontier"].all() and of["frontier"].sum() == len(AT)
    # Expected value of perfect information: what choosing by each draw would add, written out.
    for k, w in enumerate(AT):
        nmb = found.benefit(w).reshape(-1, len(found.labels))
        assert found.evpi[k] == pytest.approx(nmb.max(axis=1).mean() - nmb.mean(axis=0).max(), abs=1e-12) and found.evpi[k] >= 0
    assert (frame[frame["regime"] == OPTIMAL].set_index("threshold")["mean"] >= top.set_index("threshold")["mean"] - 0.2).all()
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100 and "EVPI" in text and "Monte Carlo error" in text
    for c in found.changes:
        assert f"at {c.threshold:.5g} from" in text
        mean = (c.threshold * found.effect - found.cost).mean(axis=(0, 1))
        one, two = mean[found.labels.index(c.below)], mean[found.labels.index(c.above)]
        assert one == pytest.approx(two, abs=1e-9) and one == pytest.approx(mean.max(), abs=1e-9)


def test_two_regimes_cross_at_the_incremental_ratio():
    study = dtr.Study(dtr.Decision("a", ["usual", "new"]), dtr.Response("y", dtr.Normal(), model=dtr.Saturated()), utility="y")
    rng = np.random.default_rng(1)
    draws = {"y": {"mean": rng.normal([1.0, 1.6], 0.4, (2, 200, 2)), "sigma": np.ones((2, 200))}}
    posterior = known.posterior_with(study, draws)
    found = dtr.acceptability(posterior, effect="y", cost={"a": {"new": 300.0}}, thresholds=np.linspace(0, 2000, 41))
    gain = np.diff(draws["y"]["mean"], axis=-1)[..., 0]
    (change,) = found.changes
    assert change.threshold == pytest.approx(300 / gain.mean()) and (change.below, change.above) == ("usual", "new")
    for k, w in enumerate(found.thresholds):
        assert found.p_best[k, 1] == pytest.approx((w * gain > 300).mean(), abs=1e-12)
    written = dtr.acceptability(posterior, effect="y", cost={"a": {"new": 300.0}}, thresholds=[500.0], regimes={"all new": {"a": "new"}})
    assert written.labels == ("all new",) and not written.changes and (written.evpi == 0).all() and (written.p_best == 1).all()
    np.testing.assert_allclose(written.effect[..., 0], found.effect[..., 1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-9, 9)), min_size=1, max_size=7))
def test_crossings_are_the_upper_envelope(lines):
    effect, cost = np.array(lines, dtype=float).T
    found = crossings(effect, cost, 0.0, 4.0)
    ends = [0.0, *(w for w, _, _ in found), 4.0]
    assert ends == sorted(ends)
    chosen = [found[0][1], *(b for _, _, b in found)] if found else [int(np.lexsort((effect, -cost))[-1])]
    assert [a for _, a, _ in found] == chosen[:-1]
    for begin, end, line in zip(ends, ends[1:], chosen, strict=False):
        for w in np.linspace(begin, end, 7):
            assert (w * effect - cost)[line] >= (w * effect - cost).max() - 1e-9


def test_large_trees_are_simulated_on_common_numbers(monkeypatch):
    posterior, found, _ = case("by_response")
    monkeypatch.setattr("bayesdtr.decision.worth.netbenefit.MOST_LEAVES", 0)
    drawn = dtr.acceptability(posterior, effect="u", cost={"a": {"p": 0.8}, "r": 0.5, **COSTS}, thresholds=AT)
    assert drawn.optimal_effect is None and "simulation" in drawn.method and "too large" in str(drawn)
    assert np.abs(drawn.effect - found.effect).max() < 0.5 and np.abs((drawn.effect - found.effect).mean()) < 0.05


@pytest.mark.parametrize(("change", "words"), [
    ({"thresholds": [1, 0.5]}, "each larger than the one before"), ({"thresholds": [-1, 2]}, "from 0 on"), ({"thresholds": 3}, "sequence of numbers"),
    ({"effect": 3}, "effect is a Utility"), ({"cost": {}}, "cost is a mapping"), ({"cost": {"b": 3}}, "the cost of 'b' is a mapping of its options"),
    ({"cost": {"c": 3}}, "Utility names 'c'"), ({"cost": Utility("r", costs=COSTS)}, "taken off its value"), ({"ci_prob": 2}, "ci_prob"),
    ({"effect": Utility("u", attitude=dtr.Exponential(1.0))}, "leave attitude= out"), ({"regimes": {}}, "acceptability: regimes is a mapping"),
])
def test_what_is_refused(change, words):
    posterior, _, _ = case("by_response")
    given = {"effect": "u", "cost": {"b": {"x": 1.0}}, "thresholds": AT} | change
    with pytest.raises((dtr.DecisionError, dtr.StudyError), match=words):
        dtr.acceptability(posterior, **given)
