"""Sizes and assurance by simulation, against power by enumeration; bands that cover; honest answers where nothing reaches the target."""

import numpy as np
import pytest
import two_arms
from scipy import stats

from bayesdtr.errors import TrialError
from bayesdtr.trial.characteristics import assurance, power_curve, seam, size_for
from bayesdtr.trial.characteristics.curves import fit_curve

BETTER = two_arms.Arms("better", (0.25, 0.5))


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(seam, "simulated", two_arms.run)
    monkeypatch.setattr(seam, "truth_of", two_arms.truth)


def design_for(size):
    return two_arms.design(size, threshold=0.975)


def exact_power(size, scenario=BETTER):
    return two_arms.exact(scenario.p, size // 2, 0.975)[0][1]


# ---- curves ------------------------------------------------------------------------------------------------------


def test_bands_cover_whatever_the_correlation_between_sizes():
    """Replicates whose sizes share one Normal number, so that neighbouring points are nearly the same experiment."""
    sizes, rng = np.array([50, 80, 120, 200]), np.random.default_rng(2)
    truth = lambda n: stats.norm.cdf(0.16 * np.sqrt(n) - 1.2)  # noqa: E731
    inside, reached, refused, times = np.zeros(3), 0, 0, 400
    for _ in range(times):
        own, common = rng.normal(size=(300, 4)), rng.normal(size=(300, 1))
        latent = np.sqrt(0.8) * common + np.sqrt(0.2) * own
        curve = fit_curve(sizes, latent < 0.16 * np.sqrt(sizes) - 1.2)
        _, low, high = curve.at(np.array([60, 100, 180]))
        inside += (low <= truth(np.array([60, 100, 180]))) & (truth(np.array([60, 100, 180])) <= high)
        exact = int(np.ceil(((stats.norm.ppf(0.7) + 1.2) / 0.16) ** 2))
        _, smallest, largest = curve.reaches(0.7)
        reached += smallest - 1 <= exact <= largest
        refused += curve.p_value < 0.05
    for share in (*inside / times, reached / times):
        assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / times)
    assert refused / times < 0.05 + 4 * np.sqrt(0.05 * 0.95 / times)


def test_a_curve_that_does_not_fit_says_so():
    sizes, rng = np.array([50, 100, 150]), np.random.default_rng(3)
    success = rng.random((4000, 3)) < np.array([0.3, 0.8, 0.6])
    bent = fit_curve(sizes, success)
    assert bent.p_value < 1e-6 and bent.widened > 3 and np.abs(bent.residuals).max() > 4
    straight = fit_curve(sizes, rng.random((4000, 3)) < stats.norm.cdf(0.2 * np.sqrt(sizes) - 1.5))
    assert straight.widened == 1
    # With four sizes a quadratic takes the line's place.
    sizes = np.array([50, 100, 200, 400])
    law = stats.norm.cdf(0.3 * np.sqrt(sizes) - 0.009 * sizes - 1.5)
    curved = fit_curve(sizes, rng.random((20_000, 4)) < law)
    assert len(curved.coefficients) == 3 and curved.widened == 1
    assert np.abs(curved.at(sizes)[0] - law).max() < 0.015


def test_points_that_always_succeed_leave_the_curve_finite():
    sizes = np.array([50, 100, 200])
    success = np.ones((500, 3), bool)
    success[:20, 0] = False
    curve = fit_curve(sizes, success)
    assert np.isfinite(curve.coefficients).all() and (curve.errors > 0).all()
    assert curve.at(150)[0][0] > 0.99


# ---- sizes -------------------------------------------------------------------------------------------------------


def test_power_over_size_matches_enumeration():
    found = power_curve(design_for, BETTER, [60, 90, 120, 160], replicates=6000, seed=1)
    for row in found.frame().to_dict("records"):
        assert abs(row["power"] - exact_power(row["size"])) < 4 * row["mcse"], row
    for size in (76, 100, 140):
        middle, low, high = found.power(size)
        spread = (high - low) / (2 * 1.96)
        # Exact power saws up and down between sizes by about a hundredth: the curve goes through the middle.
        assert abs(middle - np.mean([exact_power(s) for s in range(size - 6, size + 8, 2)])) < 4 * spread + 0.005
    with pytest.raises(TrialError, match="from 60 to 160; 200 lies outside"):
        found.power(200)


def test_the_smallest_size_is_found_and_checked():
    found = size_for(design_for, BETTER, between=(40, 240), replicates=4000, seed=2, multiple=2)
    size, low, high = found.size()
    assert low <= size <= high
    assert abs(found.check.share - exact_power(found.check.size)) < 4 * found.check.error
    assert found.check.size % 2 == 0 and size <= found.check.size <= size + 1
    # The exact power at the ends of the interval is on either side of the target, sawing aside.
    assert exact_power(int(low) // 2 * 2 - 10) < 0.8 < exact_power(int(high) // 2 * 2 + 10)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100 and "Check with other random numbers" in text


def test_a_target_out_of_reach_is_not_extrapolated():
    small = size_for(design_for, BETTER, between=(20, 40), replicates=300, seed=2, multiple=2)
    assert small.size()[0] == np.inf and small.check is None
    assert "No size up to 40 reaches 0.8" in str(small)
    large = power_curve(design_for, BETTER, [300, 400], replicates=200, seed=2)
    assert "Already the smallest size simulated, 300" in str(large)


def test_effects_that_a_size_detects():
    scenarios = {e: two_arms.Arms(f"+{e}", (0.25, 0.25 + e)) for e in (0.1, 0.2, 0.3)}
    found = power_curve(design_for, scenarios, [80, 120], replicates=3000, seed=1)
    assert set(found.frame()["effect"]) == {0.1, 0.2, 0.3}
    effect, low, high = found.detectable(120)
    assert low <= effect <= high
    exact = [exact_power(120, two_arms.Arms("", (0.25, 0.25 + e))) for e in (low - 0.01, high + 0.01)]
    assert exact[0] < 0.8 < exact[1]
    with pytest.raises(TrialError, match="given by effect"):
        power_curve(design_for, BETTER, [80], replicates=50, seed=1).detectable(80)


def test_selection_within_a_margin_matches_enumeration():
    three = two_arms.Arms("three", (0.2, 0.3, 0.35))
    make = lambda n: two_arms.design(n, options=("A", "B", "C"))  # noqa: E731
    selected = two_arms.exact(three.p, 10, 0.975)[1]
    for margin, truth in ((None, selected[2]), (0.05, selected[1] + selected[2]), (0.2, 1.0)):
        row = power_curve(make, three, [30], criterion="selection", margin=margin, replicates=4000, seed=1).frame().iloc[0]
        assert abs(row["power"] - truth) < 4 * row["mcse"] + 1e-12


def test_exclusion_and_a_criterion_of_ones_own():
    design = design_for(40)
    run = two_arms.run(design, BETTER, 2000, seed=1)
    row = power_curve(design_for, BETTER, [40], criterion="exclusion", margin=0.1, replicates=2000, seed=1).frame().iloc[0]
    assert row["power"] == ((run["p_best"][:, 0] < 0.05) & (run["p_best"][:, 1] >= 0.05)).mean()

    def many_events(run, truth):
        return run["total"][:, 0] >= 16

    found = power_curve(design_for, BETTER, [40], criterion=many_events, replicates=2000, seed=1)
    assert found.frame()["power"].iloc[0] == (run["total"][:, 0] >= 16).mean() and found.criterion == "many_events"


# ---- assurance ---------------------------------------------------------------------------------------------------


def test_assurance_is_the_average_of_power():
    design, none = design_for(80), two_arms.Arms("none", (0.25, 0.25))
    found = assurance(design, [(3.0, BETTER), (1.0, none)], replicates=4000, seed=1)
    assert abs(found.value - 0.75 * exact_power(80)) < 4 * found.error
    assert found.success[1] == 0 and found.errors[1] > 0
    assert "Assurance" in str(found) and max(map(len, str(found).splitlines())) <= 100

    def draw(rng):
        return BETTER if rng.random() < 0.75 else none

    drawn = assurance(design, draw, draws=300, replicates=20, seed=1)
    assert abs(drawn.value - 0.75 * exact_power(80)) < 4 * drawn.error
    # Most of the error is that of drawing scenarios, which replicates do not remove.
    assert drawn.error > 0.8 * exact_power(80) * np.sqrt(0.75 * 0.25 / 300)


@pytest.mark.parametrize(("change", "message"), [
    ({"criterion": "powr"}, "criteria are 'power', 'selection', 'exclusion'.*did you mean 'power'"),
    ({"margin": 0.1}, "margin belongs to the criteria"),
    ({"target": 1.2}, "target is a number between 0 and 1"),
    ({"sizes": [80, 40]}, "increasing whole numbers"),
    ({"replicates": 0}, "replicates is a whole number"),
    ({"design_for": lambda n: two_arms.design(40)}, "the TrialDesign of 60 patients, it returned a design of 40"),
    ({"design_for": two_arms.design(40)}, "design_for is a function"),
    ({"criterion": lambda run, truth: run["declared"]}, "one truth value per replicate"),
])
def test_bad_input_is_named(change, message):
    given = {"design_for": design_for, "scenarios": BETTER, "sizes": [60, 80], "replicates": 30, "seed": 1} | change
    with pytest.raises(TrialError, match=message):
        power_curve(given.pop("design_for"), given.pop("scenarios"), given.pop("sizes"), **given)


def test_bad_priors_are_named():
    for prior, message in (([(0.0, BETTER)], "not all 0"), (3, "sequence of"), ([BETTER], "sequence of"), (lambda rng: 3, "must return a Scenario")):
        with pytest.raises(TrialError, match=message):
            assurance(design_for(40), prior, replicates=10, seed=1)
