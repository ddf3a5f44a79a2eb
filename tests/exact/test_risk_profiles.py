"""Outcome risk, parameter risk and both: closed forms, enumeration of all courses, and what must hold of any of them."""

import known
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from test_attitudes import frame, study, totals

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Exponential, Normal, Response, Saturated, Study, Utility
from bayesdtr.decision.worth.risk import CRITERIA, cvar, quantile, tail_mean

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}
LEVEL = 0.2


def worst(values, weights, level):
    """Mean of the worst share of one distribution, atom by atom."""
    left, total = level, 0.0
    for v, w in sorted(zip(values, weights, strict=True)):
        took = min(w, left)
        total, left = total + took * v, left - took
    return total / (level - left)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 9)), min_size=1, max_size=8), st.sampled_from([0.05, 0.1, 0.5, 1.0]))
def test_cvar_of_a_few_points(points, level):
    values, weights = np.array(sorted(points), dtype=float).T
    weights = weights / weights.sum()
    found = float(cvar(values, weights, level))
    assert found == pytest.approx(worst(values, weights, level), abs=1e-10)
    # Its dual form: the highest of t - E(t - U)_+ / level, reached at the quantile.
    assert found == pytest.approx(float(tail_mean(values, weights, quantile(values, weights, level), level)), abs=1e-9)
    assert all(tail_mean(values, weights, t, level) <= found + 1e-9 for t in np.linspace(-6, 6, 25))


@pytest.mark.parametrize("level", [0.1, 0.45])
def test_two_outcomes(level):
    made = Study(Decision("a", ["p", "q"]), Response("y", Bernoulli(), **CELLS), utility="y")
    rng = np.random.default_rng(3)
    p = rng.beta(6, 3, (2, 100, 2))
    posterior = known.posterior_with(made, {"y": {"probability": p}})
    found = dtr.risk_profile(posterior, level=level, against=dtr.optimize(posterior))
    for k, row in enumerate(found.rows[:2]):
        mine = p[..., k].ravel()
        assert row.value.mean == pytest.approx(mine.mean()) and row.outcome.mean == pytest.approx(np.maximum(1 - (1 - mine) / level, 0).mean())
        assert row.predictive == pytest.approx(max(1 - (1 - mine.mean()) / level, 0), abs=1e-12)
        assert row.parameter == pytest.approx(worst(mine, np.full(mine.size, 1 / mine.size), level))
        assert row.parameter_error > 0
    best = found.rows[int(p[..., 1].mean() > p[..., 0].mean())]
    assert found.rows[2].label == "optimal rule" and found.rows[2].predictive == pytest.approx(best.predictive)
    assert found.simulation_error == 0 and found.method == "enumeration of outcomes"


def test_normal_outcomes_in_closed_form():
    """Given the parameters, mean - SD phi(z) / level; the simulated patients leave as much as is said."""
    made = Study(Decision("a", ["p", "q"]), Response("y", Normal(), **CELLS), utility=Utility({"y": 2.0}, costs={"a": {"q": 0.5}}))
    rng = np.random.default_rng(4)
    mean, sigma = rng.normal([1.0, 1.4], 0.3, (2, 60, 2)), rng.uniform(0.7, 1.3, (2, 60))
    posterior = known.posterior_with(made, {"y": {"mean": mean, "sigma": sigma}})
    found = dtr.risk_profile(posterior, level=LEVEL, against=dtr.optimize(posterior))
    m = 2 * mean - [0.0, 0.5]
    exact = (m - 2 * sigma[..., None] * norm.pdf(norm.ppf(LEVEL)) / LEVEL).mean(axis=(0, 1))
    np.testing.assert_allclose([r.outcome.mean for r in found.rows[:2]], exact, atol=4 * found.simulation_error / np.sqrt(120) + 0.002)
    np.testing.assert_allclose([r.value.mean for r in found.rows[:2]], m.mean(axis=(0, 1)), atol=1e-9)  # not simulated
    for k, row in enumerate(found.rows[:2]):
        # The mixture over draws, its quantile by bisection.
        mu, sd = m[..., k].ravel(), 2 * sigma.ravel()
        low, high = -20.0, 20.0
        for _ in range(80):
            t = (low + high) / 2
            low, high = (t, high) if norm.cdf((t - mu) / sd).mean() < LEVEL else (low, t)
        short = ((t - mu) * norm.cdf((t - mu) / sd) + sd * norm.pdf((t - mu) / sd)).mean()
        assert row.predictive == pytest.approx(t - short / LEVEL, abs=0.01)
    assert 0 < found.simulation_error < 0.2 and "simulation of patients" in found.method
    k = int(m.mean(axis=(0, 1)).argmax())
    assert found.rows[2].outcome.mean == pytest.approx(found.rows[k].outcome.mean, abs=1e-9)  # common random numbers
    assert set(found.preferred["value"]) == {k, 2} and f"By expected utility: {'pq'[k]} (the same in every draw: optimal rule)" in str(found)


@pytest.mark.parametrize("attitude", [None, Exponential(0.9)])
def test_every_course_enumerated(attitude):
    """Two stages with exits, costs, a table and a discount: distributions of totals written out draw by draw."""
    made = study(attitude)
    draws = known.random_cells(made, 5)
    posterior = known.posterior_with(made, draws, frame(made), seed=5)
    best = dtr.optimize(posterior)
    found = dtr.risk_profile(posterior, level=LEVEL, against=best)
    law = known.cell_law(made, draws, False)
    plans = [{known.key_of(made, d.name, h): known.chosen(r, d, h)
              for d in made.decisions for h in known.histories(made, d.name) if known.offered(d, h) and _offers(r, d, h)}
             for r in made.embedded()]
    plans.append({key: best.recommend(known.frame_of([dict(key[1]) or {"row": 0}]))["option"].item()
                  for d in made.decisions for h in known.histories(made, d.name) if known.offered(d, h)
                  for key in [known.key_of(made, d.name, h)]})
    assert len(plans) == len(found.rows)
    for row, plan in zip(found.rows, plans, strict=True):
        courses = totals(made, plan, law)
        values = np.array([u for u, _ in courses])
        weights = np.stack([np.broadcast_to(p, 24) for _, p in courses], axis=1)
        each = [worst(values, w, LEVEL) for w in weights]
        mean = weights @ values
        assert row.value.mean == pytest.approx(mean.mean(), abs=1e-9) and row.outcome.mean == pytest.approx(np.mean(each), abs=1e-9)
        assert row.outcome.sd == pytest.approx(np.std(each, ddof=1), abs=1e-9)
        assert row.parameter == pytest.approx(worst(mean, np.full(24, 1 / 24), LEVEL), abs=1e-9)
        assert row.predictive == pytest.approx(worst(values, weights.mean(axis=0), LEVEL), abs=1e-9)
    if attitude is None:
        assert found.rows[-1].value.mean == pytest.approx(best.value().mean, abs=1e-9)
        values = dtr.compare(posterior).draws["value"].values.mean(axis=(0, 1))
        np.testing.assert_allclose([r.value.mean for r in found.rows[:-1]], values, atol=1e-9)


def _offers(rules, decision, history):
    """Whether written rules say anything at a history."""
    return len(known.offered(decision, history)) == 1 or any(known.holds(c, history) for c, _ in dict(rules.decisions).get(decision.name, ()))


def test_what_holds_of_any_profile():
    made = study(None)
    for seed in range(3):
        posterior = known.posterior_with(made, known.random_cells(made, seed, per_chain=40), frame(made), seed=seed)
        best = dtr.optimize(posterior)
        narrow, wide, whole = (dtr.risk_profile(posterior, level=a, against=best) for a in (0.05, 0.4, 1.0))
        for a, b, c in zip(narrow.rows, wide.rows, whole.rows, strict=True):
            assert a.outcome.mean <= b.outcome.mean + 1e-12 and a.parameter <= b.parameter + 1e-12 and a.predictive <= b.predictive + 1e-12
            for row in (a, b):
                assert row.predictive <= row.outcome.mean + 1e-9 <= row.value.mean + 2e-9 and row.predictive <= row.parameter + 1e-9
            np.testing.assert_allclose([c.outcome.mean, c.parameter, c.predictive], c.value.mean, atol=1e-9)
        # What everybody pays moves all four by as much.
        dearer = dtr.with_utility(posterior, Utility(
            {"r": 1.0, "harm": -1.5, "u": 2.0, ("u", "late"): {v: x for v, x in made.utility.tables[0].rows}}, discount=0.8,
            costs={"a": {"p": 2.4, "q": 2.0, "s": 2.0}, "b": {"x": 0.3, "z": -0.2}}))
        moved = dtr.risk_profile(dearer, level=0.4)
        for a, b in zip(wide.rows, moved.rows, strict=False):
            np.testing.assert_allclose([b.value.mean, b.outcome.mean, b.parameter, b.predictive],
                                       np.array([a.value.mean, a.outcome.mean, a.parameter, a.predictive]) - 2.0, atol=1e-9)


def test_simulation_agrees_with_enumeration(monkeypatch):
    made = study(Exponential(0.9))
    posterior = known.posterior_with(made, known.random_cells(made, 5), frame(made), seed=5)
    best = dtr.optimize(posterior)
    exact = dtr.risk_profile(posterior, level=LEVEL, against=best)
    monkeypatch.setattr("bayesdtr.decision.worth.risk.MOST_LEAVES", 0)
    drawn = dtr.risk_profile(posterior, level=LEVEL, against=best)
    near = 5 * drawn.simulation_error / np.sqrt(24) + 1e-3
    for a, b in zip(exact.rows, drawn.rows, strict=True):
        assert a.value.mean == pytest.approx(b.value.mean, abs=near) and a.outcome.mean == pytest.approx(b.outcome.mean, abs=near)
        assert a.predictive == pytest.approx(b.predictive, abs=near) and a.parameter == pytest.approx(b.parameter, abs=5 * near)
    fitted = dtr.risk_profile(posterior, level=LEVEL, against=dtr.optimize(posterior, method="regression"))
    assert fitted.rows[-1].value.mean == pytest.approx(exact.rows[-1].value.mean, abs=0.1)


def test_risks_may_disagree_and_the_print_says_which():
    """A gamble of higher mean that costs something for certain: the means take it, the worst outcomes do not."""
    made = Study(Decision("a", ["safe", "gamble"]), Response("win", Bernoulli(), **CELLS),
                 utility=Utility({"win": 10.0}, costs={"a": {"gamble": 2.0}}))
    rng = np.random.default_rng(6)
    p = np.stack([rng.beta(400, 600, (2, 200)), rng.beta(7000, 3000, (2, 200))], axis=-1)
    found = dtr.risk_profile(known.posterior_with(made, {"win": {"probability": p}}), level=0.3)
    assert [found.rows[found.preferred[c][0]].label for c in CRITERIA] == ["gamble", "safe", "gamble", "safe"]
    assert not any(found.near_tie.values())
    text, table = str(found), found.frame()
    assert max(map(len, text.splitlines())) <= 100 and "not dynamically consistent" in text and "By outcome risk: safe" in text
    assert table["preferred_by"].tolist() == ["outcome, predictive", "value, parameter"] and len(table) == 2


def test_mixtures_that_no_rule_looks_at():
    """A Normal reward before the second decision, which it does not change: mixtures of Normals, the optimal rule among the regimes."""
    from test_enumeration import STUDIES

    made = STUDIES["continuous_reward"]()
    draws = known.random_cells(made, 7)
    posterior = known.posterior_with(made, draws, seed=7)
    best = dtr.optimize(posterior)
    found = dtr.risk_profile(posterior, level=LEVEL, regimes={"p x": {"a": "p", "b": "x"}, "s z": {"a": "s", "b": "z"}}, against=best)
    law, sd = known.cell_law(made, draws, False), 0.4 * draws["gain"]["sigma"].reshape(-1)
    for row, (a, b) in zip(found.rows, [("p", "x"), ("s", "z")], strict=False):
        ((gain, _),) = law("gain", {"a": a})
        parts = [(p * q, 0.4 * gain + 3.0 * u) for r, p in law("r", {"a": a}) for u, q in law("u", {"a": a, "r": r, "b": b})]
        weights, means = (np.stack(np.broadcast_arrays(*part), axis=1) for part in zip(*parts, strict=True))
        low, high = np.full(24, -50.0), np.full(24, 50.0)
        for _ in range(80):
            t = (low + high) / 2
            under = (weights * norm.cdf((t[:, None] - means) / sd[:, None])).sum(axis=1) < LEVEL
            low, high = np.where(under, t, low), np.where(under, high, t)
        z = (t[:, None] - means) / sd[:, None]
        short = (weights * sd[:, None] * (z * norm.cdf(z) + norm.pdf(z))).sum(axis=1)
        near = 5 * found.simulation_error / np.sqrt(24)
        assert row.outcome.mean == pytest.approx((t - short / LEVEL).mean(), abs=near)
        assert row.value.mean == pytest.approx((weights * means).sum(axis=1).mean(), abs=1e-9)
    assert found.rows[-1].value.mean == pytest.approx(best.value().mean, abs=1e-9)


@pytest.mark.parametrize(("change", "words"), [
    ({"level": 0}, "level must lie between 0 and 1"), ({"level": 1.5}, "level must lie"), ({"ci_prob": 1.0}, "ci_prob must lie"),
    ({"against": 3}, "against is a Regime"), ({"regimes": []}, "risk_profile: regimes is a mapping"),
])
def test_what_is_refused(change, words):
    made = study(None)
    posterior = known.posterior_with(made, known.random_cells(made, 1), frame(made))
    with pytest.raises(dtr.DecisionError, match=words):
        dtr.risk_profile(posterior, **change)
    with pytest.raises(dtr.DecisionError, match="takes a Posterior"):
        dtr.risk_profile(made)
