"""Attitudes to outcome risk: enumeration of all regimes, closed forms, and what must not change."""

import itertools

import known
import numpy as np
import pandas as pd
import pytest
from test_enumeration import STUDIES

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Exponential, Normal, PiecewiseLinear, Power, Response, Saturated, Study, StudyError, Utility, when
from bayesdtr.study import Neutral, from_json, to_json

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}
ATTITUDES = {
    "exponential": (Exponential(0.7), lambda u: (1 - np.exp(-0.7 * u)) / 0.7),
    "root": (Power(0.5, offset=9.0), lambda u: 2 * (np.sqrt(u + 9) - 3)),
    "log": (Power(1.0, offset=9.0), lambda u: np.log((u + 9) / 9)),
    "losses": (PiecewiseLinear(knots=[-1.0, 0.5], slopes=[3.0, 1.0, 0.25]),
               lambda u: np.where(u < -1, -1 + 3 * (u + 1), np.where(u < 0.5, u, 0.5 + 0.25 * (u - 0.5)))),
}
COSTS, DISCOUNT = {"a": {"p": 0.4}, "b": {"x": 0.3, "z": -0.2}}, 0.8
WORTH = {(0, 0): 0.0, (0, 1): -2.0, (1, 0): 2.0, (1, 1): 0.5}


def study(attitude) -> Study:
    """Two stages of 0/1 responses; those who respond after s are done: their course ends."""
    return Study(
        Decision("a", ["p", "q", "s"]), Response("r", Bernoulli(), **CELLS), Response("harm", Bernoulli(), **CELLS),
        Decision("b", {when(a="s", r=1): [], when(a="s", r=0): ["x", "z"], when(a=dtr.one_of("p", "q")): ["x", "y", "z"]}),
        Response("u", Bernoulli(), model=Saturated(over=["a", "r", "b"])), Response("late", Bernoulli(), model=Saturated(over=["harm", "b"])),
        utility=Utility({"r": 1.0, "harm": -1.5, "u": 2.0, ("u", "late"): WORTH}, discount=DISCOUNT, costs=COSTS, attitude=attitude),
    )


def totals(made, policy, law, history=None, position=0, so_far=0.0):
    """Every course under a policy: pairs of its total and its probability, written out."""
    history = history or {}
    if position == len(made.timeline):
        return [(so_far, 1.0)]
    node, second = made.timeline[position], "b" in history
    if isinstance(node, Decision):
        options = known.offered(node, history)
        if not options:
            return [(so_far, 1.0)]
        option = policy[known.key_of(made, node.name, history)]
        cost = COSTS.get(node.name, {}).get(option, 0.0) * (DISCOUNT if node.name == "b" else 1.0)
        return totals(made, policy, law, {**history, node.name: option}, position + 1, so_far - cost)
    found = []
    for v, p in law(node.name, history):
        gain = {"r": 1.0, "harm": -1.5, "u": 2.0}.get(node.name, 0.0) * v + (WORTH[history["u"], v] if node.name == "late" else 0.0)
        after = totals(made, policy, law, {**history, node.name: v}, position + 1, so_far + gain * (DISCOUNT if second else 1.0))
        found += [(u, p * q) for u, q in after]
    return found


def best_plan(made, law, worth):
    """The best of all regimes by expected worth of the total: the first decision with the best second for each of its histories."""
    best = (-np.inf, None)
    for a in ("p", "q", "s"):
        places = [h for h in known.histories(made, "b") if h["a"] == a and known.offered(made["b"], h)]
        for options in itertools.product(*(known.offered(made["b"], h) for h in places)):
            plan = {known.key_of(made, "a", {}): a, **{known.key_of(made, "b", h): o for h, o in zip(places, options, strict=True)}}
            value = sum(p * worth(u) for u, p in totals(made, plan, law))
            best = max(best, (float(value), plan), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize("name", ATTITUDES)
@pytest.mark.parametrize("seed", range(2))
def test_every_regime_enumerated(name, seed):
    attitude, worth = ATTITUDES[name]
    made = study(attitude)
    draws = known.random_cells(made, seed)
    posterior = known.posterior_with(made, draws, frame(made), seed=seed)
    regime = dtr.optimize(posterior)
    value, plan = best_plan(made, known.cell_law(made, draws, True), worth)
    assert regime.recommend(pd.DataFrame([{"row": 0}]))["expected_utility"].item() == pytest.approx(value, abs=1e-10)
    for (decision, history), option in plan.items():
        asked = pd.DataFrame([dict(history) or {"row": 0}])
        assert regime.recommend(asked)["option"].tolist() == [option], (decision, history)
    per_draw = sum(p * worth(u) for u, p in totals(made, plan, known.cell_law(made, draws, False)))
    np.testing.assert_allclose(regime.value_draws.ravel(), per_draw, atol=1e-10)
    sure = regime.certainty_equivalent()
    assert worth(sure.total) == pytest.approx(per_draw.mean(), abs=1e-10)  # of these two dozen draws, whose responses are not quite independent
    assert sure.lower < sure.total < sure.upper and f"{sure.total:.4g}" in str(regime)


def frame(made, n=60, seed=3):
    """Patients whose courses may end."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(n):
        h = {"a": str(rng.choice(["p", "q", "s"])), "r": int(rng.integers(2)), "harm": int(rng.integers(2)), "b": None, "u": np.nan, "late": np.nan}
        if options := known.offered(made["b"], h):
            h |= {"b": str(rng.choice(options)), "u": int(rng.integers(2)), "late": int(rng.integers(2))}
        rows.append(h)
    return pd.DataFrame(rows)


def test_attitudes_matter():
    """Among random trees some rule changes with the attitude, or nothing above would be tested."""
    changed = 0
    for seed in range(6):
        draws = known.random_cells(study(None), seed)
        plain, averse = (dtr.optimize(known.posterior_with(study(a), draws, frame(study(None)), seed=seed)) for a in (None, Exponential(3.0)))
        changed += plain.rules() != averse.rules()
    assert changed


@pytest.mark.parametrize("attitude", [Neutral(), PiecewiseLinear(knots=[0.3], slopes=[1.0, 1.0])])
@pytest.mark.parametrize("name", [*STUDIES, "exits"])
def test_a_straight_attitude_is_none(name, attitude):
    """Normal ends too: integrated on points instead of by their means."""
    plain = study(None) if name == "exits" else STUDIES[name]()
    data = frame(plain) if name == "exits" else None
    draws = known.random_cells(plain, 4)
    one = known.posterior_with(plain, draws, data, seed=4)
    two = known.posterior_with(plain.with_utility(plain.utility.under(attitude)), draws, data, seed=4)
    mine, other = dtr.optimize(one), dtr.optimize(two, method="tree")
    assert mine.rules() == other.rules()
    np.testing.assert_allclose(mine.value_draws, other.value_draws, atol=1e-8)
    if name in ("by_earlier_decision", "three_stages"):
        return  # trees so large, with the last response on a grid, that compare simulates
    np.testing.assert_allclose(dtr.compare(one).draws["value"], dtr.compare(two, scale="identity").draws["value"], atol=1e-8)
    assert dtr.value_of_information(one).evpi == pytest.approx(dtr.value_of_information(two).evpi, abs=1e-8)


def one_stage(attitude, weight=1.0, costs=None) -> Study:
    return Study(Decision("a", ["p", "q"]), Response("y", Normal(), **CELLS), utility=Utility({"y": weight}, costs=costs, attitude=attitude))


@pytest.mark.parametrize(("aversion", "weight"), [(0.2, 1.0), (1.5, 1.0), (0.5, -2.0), (6.0, 1.0)])
def test_exponential_of_a_normal_is_closed(aversion, weight):
    made = one_stage(Exponential(aversion), weight)
    rng = np.random.default_rng(5)
    draws = {"y": {"mean": rng.normal([1.0, 0.6], 0.3, (2, 20, 2)), "sigma": rng.uniform(0.5, 1.5, (2, 20))}}
    found = dtr.compare(known.posterior_with(made, draws)).draws["value"].values
    m, v = weight * draws["y"]["mean"], (weight * draws["y"]["sigma"][..., None]) ** 2
    np.testing.assert_allclose(found, (1 - np.exp(-aversion * m + aversion**2 * v / 2)) / aversion, rtol=1e-7)


def test_bends_of_a_normal_are_closed():
    """E min(U, k) of a Normal total, a cost moving it: quadrature ends exactly at the bend."""
    from scipy.stats import norm

    made = one_stage(PiecewiseLinear(knots=[0.7], slopes=[1.0, 0.5]), costs={"a": {"q": 0.4}})
    rng = np.random.default_rng(6)
    draws = {"y": {"mean": rng.normal([1.0, 0.6], 0.3, (2, 20, 2)), "sigma": rng.uniform(0.5, 1.5, (2, 20))}}
    found = dtr.compare(known.posterior_with(made, draws)).draws["value"].values
    m, s = draws["y"]["mean"] - [0.0, 0.4], draws["y"]["sigma"][..., None]
    z = (0.7 - m) / s
    capped = m - s * ((-z) * norm.cdf(-z) + norm.pdf(z))  # E min(U, 0.7)
    np.testing.assert_allclose(found, 0.5 * capped + 0.5 * m, atol=1e-10)


def test_a_constant_changes_no_exponential_rule():
    for seed in range(3):
        made = study(Exponential(0.9))
        draws = known.random_cells(made, seed)
        shifted = Utility({"r": 1.0, "harm": -1.5, "u": 2.0, ("u", "late"): WORTH}, discount=DISCOUNT,
                          costs={"a": {o: COSTS["a"].get(o, 0.0) + (c := 1.7) for o in ("p", "q", "s")}, "b": COSTS["b"]}, attitude=Exponential(0.9))
        one = dtr.optimize(known.posterior_with(made, draws, frame(made), seed=seed))
        two = dtr.optimize(dtr.with_utility(one.posterior, shifted))
        assert one.rules() == two.rules()
        assert two.certainty_equivalent().total == pytest.approx(one.certainty_equivalent().total - c, abs=1e-9)


def test_more_aversion_never_raises_the_certainty_equivalent():
    made = study(None)
    posterior = known.posterior_with(made, known.random_cells(made, 1), frame(made))
    mean = dtr.optimize(posterior).value().mean
    sure = [dtr.optimize(dtr.with_utility(posterior, made.utility.under(Exponential(a)))).certainty_equivalent().total for a in (1e-6, 0.3, 1, 3)]
    assert sure[0] == pytest.approx(mean, abs=1e-5) and (np.diff(sure) < 0).all()


def test_rollouts_agree_with_the_tree(monkeypatch):
    made = study(Exponential(0.7))
    posterior = known.posterior_with(made, known.random_cells(made, 2), frame(made), seed=2)
    tree, fitted = dtr.optimize(posterior), dtr.optimize(posterior, method="regression")
    assert fitted.value().mean == pytest.approx(tree.value().mean, abs=0.02 * abs(tree.value().mean) + 0.05)
    exact = dtr.compare(posterior).draws["value"].values
    monkeypatch.setattr("bayesdtr.decision.values.MOST_LEAVES", 0)
    drawn = dtr.compare(posterior).draws["value"].values
    assert np.abs(drawn - exact).mean(axis=(0, 1)).max() < 0.15 and np.abs((drawn - exact).mean(axis=(0, 1))).max() < 0.05


def test_what_patients_earned():
    from bayesdtr.data import read
    from bayesdtr.decision.values import earnings

    attitude, worth = ATTITUDES["losses"]
    made, data = study(attitude), frame(study(None))
    found = sum(earnings(made, read(made, data)).values())
    later = data["b"].notna()
    wanted = data["r"] - 1.5 * data["harm"] - data["a"].map(COSTS["a"]).fillna(0.0)
    late = [WORTH[int(u), int(v)] if on else 0.0 for u, v, on in zip(data["u"], data["late"], later, strict=True)]
    wanted += DISCOUNT * np.where(later, 2 * data["u"].fillna(0) + late - data["b"].map(COSTS["b"]).fillna(0.0), 0.0)
    np.testing.assert_allclose(found, worth(wanted), atol=1e-12)


@pytest.mark.parametrize("name", ATTITUDES)
def test_attitudes_are_part_of_the_declaration(name):
    attitude, worth = ATTITUDES[name]
    made = study(attitude)
    assert from_json(to_json(made)) == made and str(made.utility).startswith(f"{attitude} of the total of r - 1.5 harm")
    u = np.linspace(-2, 4, 31)
    np.testing.assert_allclose(attitude.worth(u), worth(u), atol=1e-12)
    np.testing.assert_allclose(attitude.certain(attitude.worth(u)), u, atol=1e-12)
    off = u + 0.05  # away from bends
    np.testing.assert_allclose(attitude.slope(off), (attitude.worth(off + 1e-6) - attitude.worth(off - 1e-6)) / 2e-6, rtol=1e-6)
    assert dtr.with_utility(known.posterior_with(study(None), known.random_cells(made, 1), frame(made)), made.utility).study == made


@pytest.mark.parametrize(("make", "words"), {
    "aversion": (lambda: Exponential(0), "risk_aversion must be a finite number above 0, got 0"),
    "offset": (lambda: Power(0.5, offset=-1), "offset must be a finite number above 0"),
    "slopes": (lambda: PiecewiseLinear(knots=[0], slopes=[1, 2]), "slopes must not increase"),
    "flat": (lambda: PiecewiseLinear(knots=[0], slopes=[1, 0]), "a slope must be a finite number above 0"),
    "count": (lambda: PiecewiseLinear(knots=[0, 1], slopes=[1, 1]), "one slope more than knots"),
    "order": (lambda: PiecewiseLinear(knots=[1, 0], slopes=[1, 1, 1]), "knots must increase"),
    "kind": (lambda: Utility("y", attitude=0.1), "attitude is Exponential, Power or PiecewiseLinear, got 0.1"),
    "floor": (lambda: study(Power(0.5, offset=1.0)), r"totals must stay above -1, and the utility may be as low as -\d"),
    "no floor": (lambda: one_stage(Power(0.5, offset=1.0)), "the utility is unbounded below; use Exponential"),
    "heavy": (lambda: Study(Decision("a", ["p", "q"]), Response("y", dtr.StudentT()), utility=Utility("y", attitude=Exponential(1))),
              "tails so heavy"),
}.values())
def test_attitudes_that_do_not_fit(make, words):
    with pytest.raises(StudyError, match=words):
        make()


def test_what_cannot_be_done_says_so():
    made = study(Exponential(1.0))
    posterior = known.posterior_with(made, known.random_cells(made, 1), frame(made))
    flat = dtr.with_utility(posterior, Utility("u", attitude=Exponential(1.0)))
    with pytest.raises(dtr.DecisionError, match="has an attitude to outcome risk"):
        dtr.within_budget(flat, resource={"b": {"x": 1}}, limit=0.2)
    with pytest.raises(dtr.DecisionError, match="has an attitude to outcome risk"):
        dtr.exchange_bands(posterior, pd.DataFrame({"row": [1]}), benefit=made.utility, harm="harm")
    with pytest.raises(dtr.DecisionError, match="no attitude to risk"):
        dtr.optimize(dtr.with_utility(posterior, "u")).certainty_equivalent()
    assert "values are what totals are worth under Exponential(risk_aversion=1)" in " ".join(str(dtr.compare(posterior)).split())
    steep = one_stage(Exponential(100.0))
    draws = {"y": {"mean": np.zeros((2, 5, 2)), "sigma": np.ones((2, 5))}}
    with pytest.raises(dtr.DecisionError, match="too large for this response"):
        dtr.optimize(known.posterior_with(steep, draws))


def visits(weight) -> Study:
    return Study(Decision("a", ["p", "q"]), Response("visits", dtr.Poisson()), utility=Utility({"visits": weight}, attitude=Exponential(0.5)))


def test_counts_of_harm(monkeypatch):
    """E exp(a c N) of a Poisson count is in closed form; where its tail decides, or would have to be simulated, it is refused."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"a": rng.choice(["p", "q"], 60), "visits": rng.poisson(2.0, 60)})
    posterior = dtr.fit(visits(-0.8), data, seed=1, engine="laplace", draws=200)
    world = dtr.decision.world.World.of(posterior)
    rate = world.look("visits", dtr.decision.world.Rows({"a": np.array([0, 1])}, None, 2), "mean")
    found = dtr.compare(posterior).draws["value"].values.reshape(-1, 2)
    np.testing.assert_allclose(found, (1 - np.exp(rate * np.expm1(0.5 * 0.8))) / 0.5, rtol=1e-5)  # draws with few visits are cut off sooner
    with pytest.raises(dtr.DecisionError, match="rarest values decide"):
        dtr.optimize(dtr.with_utility(posterior, Utility({"visits": -8.0}, attitude=Exponential(0.5))))
    monkeypatch.setattr("bayesdtr.decision.values.MOST_LEAVES", 0)
    with pytest.raises(dtr.DecisionError, match="rarest values of 'visits' may decide"):
        dtr.compare(posterior)
    dtr.compare(dtr.with_utility(posterior, visits(0.8).utility))
