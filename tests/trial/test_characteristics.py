"""Operating characteristics read from records whose laws are known: every number beside its exact value, every error beside the spread it claims."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import two_arms
from scipy import stats

from bayesdtr.errors import TrialError
from bayesdtr.study import Bernoulli, Decision, Response, Saturated, Study, Utility, when
from bayesdtr.trial.characteristics import OperatingCharacteristics
from bayesdtr.trial.characteristics.estimates import NONE, estimate, exact_interval, paired, probability, quantile, ratio, root_mean_square, spread
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.records import blank
from bayesdtr.trial.stopping import Superiority


def characteristics(design, scenarios, replicates=4000, seed=1, equal_seed=None):
    runs = {s.name: two_arms.run(design, s, replicates, seed=seed) for s in scenarios}
    equal = {} if equal_seed is None else {s.name: two_arms.run(design, s, replicates, seed=equal_seed) for s in scenarios}
    return OperatingCharacteristics(design, {s.name: s for s in scenarios}, runs, equal, {s.name: two_arms.truth(design, s) for s in scenarios})


# ---- errors ------------------------------------------------------------------------------------------------------


def test_standard_errors_are_the_spread_of_estimates():
    """Each functional's error, and that of the paired difference, against 1,500 repetitions of the whole study."""
    rng = np.random.default_rng(1)
    n, times = 400, 1500
    made, claimed = {}, {}
    for _ in range(times):
        size = rng.integers(5, 200, n)
        share = np.round(0.8 * size) - rng.binomial(4, 0.5, n)
        other = share - rng.binomial(5, 0.4, n)
        x, y = rng.gamma(3, 2, n), rng.normal(1, 2, n)
        both = {"ratio": (ratio(share, size), ratio(other, size)), "sd": (spread(x), spread(x + y)),
                "rmse": (root_mean_square(y), root_mean_square(y + x)),
                "median": (quantile(x, 0.5), quantile(x + y, 0.5)), "upper": (quantile(x, 0.9), quantile(x + 0.2 * y, 0.9)),
                "event": (probability(x > 6), probability(x + y > 6))}
        for name, (one, two) in both.items():
            found = estimate(one, NONE), paired(two, one, NONE)
            made.setdefault(name, []).append([e.value for e in found])
            claimed.setdefault(name, []).append([e.error for e in found])
    for name in made:
        true, said = np.std(made[name], axis=0), np.sqrt(np.mean(np.square(claimed[name]), axis=0))
        # The SD of 1,500 estimates is itself known to 1.8 %; quantiles' errors are estimates of low order.
        assert np.abs(said / true - 1).max() < (0.15 if name in ("median", "upper") else 0.075), (name, said, true)


def test_a_probability_never_seen_has_an_honest_bound():
    e = estimate(probability(np.zeros(1000, bool)), NONE)
    assert e.value == 0 and e.error > 0 and e.lower == 0
    assert e.upper == pytest.approx(1 - 0.025 ** (1 / 1000), rel=1e-9)
    always = estimate(probability(np.ones(1000, bool)), NONE)
    assert always.lower == pytest.approx(1 - e.upper, rel=1e-9) and always.error == pytest.approx(e.error)
    same = paired(probability(np.ones(50, bool)), probability(np.ones(50, bool)), NONE)
    assert same.value == 0 and same.error > 0 and same.lower < 0 < same.upper


def test_exact_intervals_cover():
    for n, p in ((20, 0.03), (50, 0.5), (200, 0.95)):
        counts = np.arange(n + 1)
        inside = [low <= p <= high for low, high in (exact_interval(c, n) for c in counts)]
        assert stats.binom.pmf(counts, n, p)[inside].sum() >= 0.95


def test_errors_of_truths_enter():
    x = probability(np.ones(100, bool))
    assert x.kind == "probability"
    value = estimate(ratio(np.full(100, 2.0), np.ones(100), np.array([1.0, -1.0])), np.array([0.3, 0.4]))
    assert value.error == pytest.approx(0.5)


# ---- against exact values ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fixed():
    design = two_arms.design(40, threshold=0.95)
    scenarios = [two_arms.Arms("null", (0.3, 0.3)), two_arms.Arms("better", (0.3, 0.5))]
    return characteristics(design, scenarios, 20_000), design


def test_conclusions_match_enumeration(fixed):
    oc, design = fixed
    declared, selected, _ = two_arms.exact((0.3, 0.3), 20, 0.95)
    expect = {("null", "type_1_error"): declared.sum(), ("null", "declares"): declared.sum()}
    declared, selected, _ = two_arms.exact((0.3, 0.5), 20, 0.95)
    expect |= {("better", "power"): declared[1], ("better", "wrong_declaration"): declared[0], ("better", "selects_best"): selected[1],
               ("better", "future_utility"): 0.3 * selected[0] + 0.5 * selected[1], ("better", "future_regret"): 0.2 * selected[0]}
    for (scenario, quantity), value in expect.items():
        e = oc.get(scenario, quantity).adaptive
        assert abs(e.value - value) < 4 * e.error, (quantity, e, value)
    stopped = oc.get("better", "stopped_by", design.layout.rules[0]).adaptive.value
    assert stopped + oc.get("better", "ran_to_the_end").adaptive.value == pytest.approx(1)


def test_estimation_matches_enumeration(fixed):
    """The winner's curse: each arm's posterior mean is pulled towards a half, the selected one's is too high under the null."""
    oc, _ = fixed
    p = np.array([0.3, 0.3])
    _, _, (cells, weight) = two_arms.exact(tuple(p), 20, 0.95)
    chosen = cells.argmax(axis=1)
    counts = cells[np.arange(len(cells)), chosen]
    miss = (1 + counts) / 22 - 0.3
    low, high = stats.beta.ppf([[0.025], [0.975]], 1 + counts, 21 - counts)
    expect = {"bias": weight @ miss, "rmse": np.sqrt(weight @ miss**2), "coverage": weight[(low <= 0.3) & (high >= 0.3)].sum(),
              "model_value": weight @ (miss + 0.3)}
    assert expect["bias"] > 0.05
    for quantity, value in expect.items():
        e = oc.get("null", quantity).adaptive
        assert abs(e.value - value) < 4 * e.error, (quantity, e, value)
    single = oc.get("null", "regime_bias", "A").adaptive
    assert abs(single.value - (7 / 22 - 0.3)) < 4 * single.error
    assert single.value < 0.5 * oc.get("null", "bias").adaptive.value


def test_a_null_has_no_power_and_an_alternative_no_type_1_error(fixed):
    oc, _ = fixed
    with pytest.raises(TrialError, match="No quantity 'power' under 'null'"):
        oc.get("null", "power")
    with pytest.raises(TrialError, match="did you mean 'wrong_declaration'"):
        oc.get("better", "wrong_declarations")
    with pytest.raises(TrialError, match="did you mean 'better'"):
        oc.get("bettr", "power")


def test_stopping_by_look_adds_up():
    design = two_arms.design(120, looks=[40, 80, 120], threshold=0.95)
    oc = characteristics(design, [two_arms.Arms("better", (0.2, 0.5))])
    at = [oc.get("better", "stopped_at_look", f"{k}").adaptive.value for k in (1, 2, 3)]
    by = [oc.get("better", "stopped_by_look", f"{k}").adaptive.value for k in (1, 2, 3)]
    np.testing.assert_allclose(np.cumsum(at), by, atol=1e-12)
    declared, _, _ = two_arms.exact((0.2, 0.5), 20, 0.95)
    first = oc.get("better", "stopped_at_look", "1").adaptive
    assert abs(first.value - declared.sum()) < 4 * first.error
    size = 40 * at[0] + 80 * at[1] + 120 * (1 - at[0] - at[1])
    assert oc.get("better", "size").adaptive.value == pytest.approx(size)
    sizes = np.repeat([40, 80, 120], np.round(4000 * np.array([at[0], at[1], 1 - at[0] - at[1]])).astype(int))
    assert oc.get("better", "size_sd").adaptive.value == pytest.approx(sizes.std(ddof=1))
    for label, level in (("5%", 0.05), ("50%", 0.5), ("95%", 0.95)):
        assert oc.get("better", "size_quantile", label).adaptive.value == np.quantile(sizes, level, method="inverted_cdf")


def test_common_random_numbers_make_the_difference_sharper():
    design, scenario = two_arms.design(60, threshold=0.95), two_arms.Arms("better", (0.3, 0.5))
    lower = two_arms.design(60, threshold=0.94)
    runs = {"better": two_arms.run(design, scenario, 4000, seed=1)}
    same = OperatingCharacteristics(design, {"better": scenario}, runs, {"better": two_arms.run(lower, scenario, 4000, seed=1)},
                                    {"better": two_arms.truth(design, scenario)})
    apart = OperatingCharacteristics(design, {"better": scenario}, runs, {"better": two_arms.run(lower, scenario, 4000, seed=2)},
                                     {"better": two_arms.truth(design, scenario)})
    close, far = same.get("better", "power").difference, apart.get("better", "power").difference
    assert close.error < 0.4 * far.error
    truth = two_arms.exact((0.3, 0.5), 30, 0.95)[0][1] - two_arms.exact((0.3, 0.5), 30, 0.94)[0][1]
    assert abs(close.value - truth) < 4 * close.error and abs(far.value - truth) < 4 * far.error


# ---- records made by hand ----------------------------------------------------------------------------------------


@pytest.fixture
def smart():
    study = Study(Decision("first", ["a", "b"]), Response("improved", Bernoulli(), model=Saturated()),
                  Decision("second", {when(improved=0): ["c", "d"], when(improved=1): ["stay"]}),
                  Response("well", Bernoulli(), model=Saturated()), utility=Utility("well"))
    design = TrialDesign(study, size=10, looks=[5, 10], stopping=[Superiority(0.9)])
    made = two_arms.Run(blank(design.layout, 4, "summary"))
    made["stopped_at"][:] = 1
    made["size"][:] = 10
    made["selected"][:], made["selected_final"][:] = [0, 1, 2, 3], [3, 1, 2, 3]
    made["mean"][:], made["lower"][:], made["upper"][:] = 0.5, 0.4, 0.6
    made["allocated"][:, :2] = [[5, 5], [6, 4], [4, 6], [2, 8]]
    made["followed"][:] = [[2, 3, 2, 3], [4, 2, 3, 1], [2, 2, 3, 4], [1, 1, 5, 6]]
    made["utility"][:], made["completed"][:] = [4, 5, 6, 7], [10, 10, 8, 10]
    return design, made


def seen(smart, values, **options):
    design, made = smart
    values = np.array(values)
    best = values >= values.max() - 1e-9
    truth = SimpleNamespace(values=values, errors=np.zeros(4), best=best, optimal=values.max(), null=bool(best.all()))
    return OperatingCharacteristics(design, {"s": None}, {"s": made}, {}, {"s": truth}, **options)


def test_shares_are_ratios_of_sums(smart):
    oc = seen(smart, [0.2, 0.3, 0.4, 0.6])
    assert oc.get("s", "share", "first: b").adaptive.value == pytest.approx(23 / 40)
    assert oc.get("s", "on_best").adaptive.value == pytest.approx(14 / 40)
    assert oc.get("s", "utility").adaptive.value == pytest.approx(22 / 38)
    assert oc.get("s", "selects_best").adaptive.value == 0.5
    assert oc.get("s", "selects_best_at_decision").adaptive.value == 0.25
    assert oc.get("s", "future_utility").adaptive.value == pytest.approx((0.6 + 0.3 + 0.4 + 0.6) / 4)
    assert oc.get("s", "coverage").adaptive.value == pytest.approx(0.75)
    assert oc.get("s", "bias").adaptive.value == pytest.approx(0.5 - 0.475)
    smart[1]["stopped_by"][:] = [0, 0, -1, 0]
    smart[1]["declared"][:] = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 1]]
    oc = seen(smart, [0.2, 0.3, 0.4, 0.6])
    assert [oc.get("s", q).adaptive.value for q in ("declares", "power", "wrong_declaration", "reversed")] == [0.75, 0.5, 0.25, 0.25]
    # Two regimes that start alike may be followed by the same patients: the one more followed is counted.
    assert seen(smart, [0.2, 0.3, 0.6, 0.6]).get("s", "on_best").adaptive.value == pytest.approx((3 + 3 + 4 + 6) / 40)


def test_imbalance_in_the_wrong_direction(smart):
    assert seen(smart, [0.2, 0.3, 0.4, 0.6]).get("s", "wrong_imbalance").adaptive.value == 0.25
    assert seen(smart, [0.6, 0.3, 0.4, 0.6]).get("s", "imbalance").adaptive.value == 0.75
    assert seen(smart, [0.6, 0.3, 0.4, 0.5]).get("s", "wrong_imbalance").adaptive.value == 0.5
    assert seen(smart, [0.6, 0.3, 0.4, 0.5], imbalance=0.3).get("s", "wrong_imbalance").adaptive.value == 0.25
    with pytest.raises(TrialError, match="wrong_imbalance"):
        seen(smart, [0.6, 0.3, 0.4, 0.6]).get("s", "wrong_imbalance")  # both options start a best regime
    three = two_arms.design(30, options=("A", "B", "C"))
    made = two_arms.Run(blank(three.layout, 2, "summary"))
    made["allocated"][:], made["size"][:] = [[10, 2, 11], [10, 2, 18]], [23, 30]
    made["selected"][:] = made["selected_final"][:] = 0
    scenario = two_arms.Arms("s", (0.5, 0.5, 0.3))
    oc = OperatingCharacteristics(three, {"s": scenario}, {"s": made}, {}, {"s": two_arms.truth(three, scenario)})
    assert oc.get("s", "wrong_imbalance").adaptive.value == 0.5  # the more frequent of two equally good arms counts


def test_a_selection_near_the_best(smart):
    assert seen(smart, [0.2, 0.5, 0.4, 0.6], within=0.1).get("s", "selects_near").adaptive.value == 0.75


def test_a_rule_that_compares_with_a_regime_is_right_where_it_is_beaten():
    """Three arms of value .3, .5, .4; one rule asks for the best, the other for what beats A by .15."""
    rules = [Superiority(0.99), Superiority(0.95, against="A", margin=0.15)]
    design = two_arms.design(30, options=("A", "B", "C"), rules=rules)
    made = two_arms.Run(blank(design.layout, 5, "summary"))
    made["selected_final"][:] = 0
    made["declared"][:] = [[0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0]]
    made["stopped_by"][:] = [0, 0, 1, 1, -1]
    for p, right, wrong in (((0.3, 0.5, 0.4), 2, 2), ((0.3, 0.5, 0.5), 4, 0), ((0.3, 0.4, 0.4), 2, 2)):
        scenario = two_arms.Arms("s", p)
        oc = OperatingCharacteristics(design, {"s": scenario}, {"s": made}, {}, {"s": two_arms.truth(design, scenario)})
        assert oc.get("s", "power").adaptive.value == right / 5
        assert oc.get("s", "wrong_declaration").adaptive.value == wrong / 5
    scenario = two_arms.Arms("s", (0.4, 0.4, 0.4))
    oc = OperatingCharacteristics(design, {"s": scenario}, {"s": made}, {}, {"s": two_arms.truth(design, scenario)})
    assert oc.get("s", "type_1_error").adaptive.value == 4 / 5


# ---- what is shown -----------------------------------------------------------------------------------------------


def test_text_fits_and_says_which_value_is_which():
    design = two_arms.design(120, looks=[60, 120], threshold=0.95, options=("A", "B", "C"))
    oc = characteristics(design, [two_arms.Arms("null", (0.3, 0.3, 0.3)), two_arms.Arms("better", (0.3, 0.5, 0.3))], 500, equal_seed=2)
    text = str(oc)
    assert max(map(len, text.splitlines())) <= 100
    assert "SCENARIO null (500 replicates)" in text and "B: 0.5 (best)" in text
    assert "(model)" in text and "true value of the selected regime" in text and "type I error" in text
    assert "(<" in text  # no imbalance is ever seen here
    assert oc.table("better").count("SCENARIO") == 1
    frame = oc.frame()
    assert {"scenario", "quantity", "of", "adaptive", "adaptive_mcse", "equal", "equal_mcse", "difference", "difference_mcse"} <= set(frame.columns)
    assert not frame.duplicated(["scenario", "quantity", "of"]).any()
    rows = json.loads(oc.json())["rows"]
    assert len(rows) == len(frame) and rows[0]["scenario"] == "null"


def test_what_cannot_be_compared_is_refused():
    design, scenario = two_arms.design(40), two_arms.Arms("s", (0.3, 0.5))
    one, other = (two_arms.run(design, scenario, n, seed=1) for n in (50, 60))
    truth = {"s": two_arms.truth(design, scenario)}
    with pytest.raises(TrialError, match="50 replicates of the design and 60"):
        OperatingCharacteristics(design, {"s": scenario}, {"s": one}, {"s": other}, truth)
    with pytest.raises(TrialError, match="the run 's' has no truth"):
        OperatingCharacteristics(design, {"s": scenario}, {"s": one}, {}, {})
    alone = OperatingCharacteristics(design, {"s": scenario}, {"s": one}, {}, truth)
    assert np.isnan(alone.get("s", "power").difference.value) and "difference" not in str(alone)
