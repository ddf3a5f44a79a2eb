"""Regimes written by people: beside the embedded ones, and against the optimal one."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr import (
    Decision,
    DecisionError,
    Normal,
    Response,
    Rules,
    Saturated,
    Study,
    StudyError,
    Utility,
    at_least,
    below,
    compare,
    fit,
    optimize,
    when,
    with_utility,
)
from bayesdtr.gallery import codiacs

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


@pytest.fixture(scope="module")
def posterior():
    return fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=8000)


@pytest.fixture(scope="module")
def regime(posterior):
    return optimize(posterior)


def test_written_embedded_regimes_have_their_values(posterior):
    embedded = compare(posterior)
    written = compare(posterior, regimes={f"number {i}": r.rules for i, r in enumerate(embedded.rows)})
    np.testing.assert_array_equal(embedded.draws["value"].values, written.draws["value"].values)
    for a, b in zip(embedded.rows, written.rows, strict=True):
        assert (a.value, a.p_best, a.upper_limit, a.in_best_set, a.patients) == (b.value, b.p_best, b.upper_limit, b.in_best_set, b.patients)
        assert a.label == a.rules.label and b.label == b.name != a.label
    assert written.draws["regime"].values.tolist() == [f"number {i}" for i in range(len(embedded.rows))]


def test_gains_of_the_optimal_regime_are_on_the_same_draws(posterior, regime):
    mine = {"first": "therapy", "second": {
        when(first="medication", improved=0): "switch", when(first="medication", improved=1): "stay", when(first="therapy"): "stay"}}
    found = compare(posterior, regimes={"the optimal one": mine, "stay": {"first": "medication", "second": "stay"}}, against=regime)
    same, other = found.rows
    assert same.gain.mean == pytest.approx(0, abs=1e-12) and same.gain.sd == pytest.approx(0, abs=1e-12)
    draws = found.draws["value"].values
    np.testing.assert_allclose(draws[..., 0], regime.value_draws, atol=1e-10)
    assert other.gain.mean == pytest.approx((draws[..., 0] - draws[..., 1]).mean(), abs=1e-10)
    assert other.gain.sd == pytest.approx((draws[..., 0] - draws[..., 1]).std(ddof=1), abs=1e-10)
    text = str(found)
    assert "Optimal regime minus" in text and max(map(len, text.splitlines())) <= 100
    assert compare(posterior).rows[0].gain is None
    frame = found.frame()
    assert frame["regime"].tolist() == ["the optimal one", "stay"] and frame["rules"][1] == "medication; stay"
    assert frame["gain"].tolist() == pytest.approx([0, other.gain.mean], abs=1e-12) and (frame["gain_lower_0.95"] <= frame["gain_upper_0.95"]).all()
    assert "gain" not in compare(posterior).frame()


def test_thresholds_on_the_tree_and_by_simulation():
    """Stepped care on a continuous response: two routes, and gains that agree with both values."""
    rng = np.random.default_rng(2)
    n = 200
    data = pd.DataFrame({"a": rng.choice(["p", "q"], n), "b": rng.choice(["s", "t"], n)})
    data["x"] = 5 + (data.a == "q") + rng.normal(size=n)
    data["y"] = (data.a == "q") + 2 * (data.b == "t") * (data.a == "p") + rng.normal(size=n)
    study = Study(
        Decision("a", ["p", "q"]), Response("x", Normal(), model=Saturated()), Decision("b", ["s", "t"]),
        Response("y", Normal(), model=Saturated(over=["a", "b"])), utility="y",
    )
    posterior = fit(study, data, seed=1, engine="exact", draws=2000)
    care = {"a": "q", "b": {when(x=below(5.2)): "t", when(x=at_least(5.2)): "s"}}
    tree = compare(posterior, regimes={"stepped care": care}, against=optimize(posterior))
    simulated = compare(posterior, regimes={"stepped care": care}, against=optimize(posterior, method="regression"))
    assert tree.method.startswith("enumeration") and simulated.method.startswith("simulation")
    a, b = tree.rows[0], simulated.rows[0]
    # Simulation adds the errors of 500 draws of 4,000 patients, whose expected utilities have an SD of at most 1.
    added = 4 / np.sqrt(4000 * 500)
    assert abs(a.value.mean - b.value.mean) < 4 * (a.value.mcse + b.value.mcse) + added
    assert abs(a.gain.mean - b.gain.mean) < 4 * (a.gain.mcse + b.gain.mcse) + added
    assert a.gain.mean > 4 * a.gain.mcse


def test_a_gain_that_is_not_on_the_same_draws_is_refused():
    """What nobody's model looks at is grown only for a regime that does; the tree is then too large for the optimal regime's own draws."""
    timeline = [Decision("a", ["p", "q"])]
    timeline += [Response(f"x{k}", Normal(), model=Saturated(over=["a"])) for k in range(2)]
    study = Study(*timeline, Decision("b", ["s", "t"]), Response("y", Normal(), model=Saturated(over=["a", "b"])), utility="y")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.choice(["p", "q"], 60), "b": rng.choice(["s", "t"], 60)} | {n: rng.normal(size=60) for n in ("x0", "x1", "y")})
    made = fit(study, frame, seed=1, engine="exact", draws=400)
    rules = {when(x0=at_least(0), x1=at_least(0)): "s", when(x0=below(0)): "t", when(x0=at_least(0), x1=below(0)): "t"}
    asked = {"regimes": {"both": {"a": "p", "b": rules}}}
    assert compare(made, **asked).method.startswith("simulation")
    with pytest.raises(DecisionError, match="they are simulated, while the optimal regime's values come from a tree"):
        compare(made, **asked, against=optimize(made))
    assert compare(made, **asked, against=optimize(made, method="regression")).rows[0].gain is not None


def test_what_cannot_be_compared(posterior, regime):
    cases = (
        ({"regimes": []}, DecisionError, "regimes is a mapping of names to regimes"),
        ({"regimes": {}}, DecisionError, "regimes is a mapping of names to regimes"),
        ({"regimes": {"x": {"first": "therapy"}}}, StudyError, "regime 'x': decision 'second' is missing"),
        ({"regimes": {"x": {"first": "herbs", "second": "stay"}}}, StudyError, "'herbs' is not an option of 'first'"),
        ({"regimes": {"x": {"first": "therapy", "second": {when(improved=1): "stay"}}}}, StudyError, "names no option"),
        ({"regimes": {"x": Rules((("first", ()),))}}, StudyError, "decision 'first' is missing"),
        ({"against": "best"}, DecisionError, "against is a Regime, what optimize returns, got str"),
    )
    for how, kind, said in cases:
        with pytest.raises(kind, match=said):
            compare(posterior, **how)
    other = Study(Decision("first", ["p", "q"]), Response("y", Normal(), model=Saturated()), utility="y")
    frame = pd.DataFrame({"first": ["p", "q"] * 20, "y": np.arange(40.0)})
    with pytest.raises(DecisionError, match="regime of another posterior"):
        compare(fit(other, frame, seed=1, engine="exact", draws=400), against=regime)
    with pytest.raises(DecisionError, match="of another utility"):
        compare(with_utility(posterior, Utility({"bdi_drop": -1.0})), against=regime)
