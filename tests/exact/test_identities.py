"""Identities with a closed form: expected value of perfect information, P(best), kinks on the grid, ties."""

import math

import known
import numpy as np
import pymc as pm
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from bayesdtr import Bernoulli, Decision, Normal, Response, Saturated, Study, fit, optimize
from bayesdtr.decision.values import batch_error

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
TWO = Study(Decision("arm", ["control", "new"]), Response("y", Normal(), model=Saturated()), utility="y")
THREE = Study(Decision("arm", ["a", "b", "c"]), Response("cured", Bernoulli(), model=Saturated()), utility="cured")
ANYONE = known.frame_of([{"row": 0}])


def stratified(n: int) -> np.ndarray:
    """Evenly spaced standard-normal quantiles: integrates a smooth or kinked function to about 1/n."""
    return norm.ppf((np.arange(n) + 0.5) / n)


@pytest.mark.parametrize(("m", "s"), [(0.1, 0.2), (-0.3, 0.25), (0.0, 1.0)])
def test_expected_value_of_perfect_information_of_a_gaussian_contrast(m, s):
    """Regret of the committed choice is EVPI = s phi(m/s) - |m| Phi(-|m|/s); .0395593 for N(.1, .2^2)."""
    n = 20_000
    contrast = np.random.default_rng(1).permutation(m + s * stratified(n))
    mean = np.stack([np.zeros(n), contrast], axis=-1)[None]
    regime = optimize(known.posterior_with(TWO, {"y": {"mean": mean, "sigma": np.ones((1, n))}}))
    line = regime.recommend(ANYONE, every_option=True).set_index("option")
    evpi = s * norm.pdf(m / s) - abs(m) * ndtr(-abs(m) / s)
    if m == 0.1:
        assert evpi == pytest.approx(0.0395593, abs=5e-8)
    chosen = "new" if m > 0 else "control"
    # Midpoint quantiles miss the tail beyond the last of them: below s/n in a mean.
    assert line.loc[chosen, "regret"] == pytest.approx(evpi, abs=s / n * 3 + 1e-12)
    assert line.loc["new", "p_best"] == pytest.approx(ndtr(m / s), abs=1.01 / n)
    assert line.loc["new", "regret"] - line.loc["control", "regret"] == pytest.approx(-m, abs=1e-9)


def test_probabilities_of_the_largest_of_three_betas():
    """Beta(30,30), (41,20), (35,27): P(each is the largest) .01796526 .8788907 .1031441."""
    n = 400_000
    rng = np.random.default_rng(5)
    p = np.stack([rng.beta(a, b, n) for a, b in ((30, 30), (41, 20), (35, 27))], axis=-1)[None]
    regime = optimize(known.posterior_with(THREE, {"cured": {"probability": p}}))
    line = regime.recommend(ANYONE, every_option=True).set_index("option")
    for option, exact in zip("abc", (0.01796526, 0.8788907, 0.1031441), strict=True):
        assert abs(line.loc[option, "p_best"] - exact) < 4 * math.sqrt(exact * (1 - exact) / n)
    # A single decision has nothing ahead of it: committed and clairvoyant are the same.
    np.testing.assert_allclose(line["p_best"], line["p_starts_best"], atol=0)
    assert line["p_best"].sum() == pytest.approx(1, abs=1e-12)


def test_exact_tie_takes_the_first_option_and_says_so():
    mean = np.random.default_rng(2).normal(size=(1, 400, 1)) * np.ones(2)
    answer = optimize(known.posterior_with(TWO, {"y": {"mean": mean, "sigma": np.ones((1, 400))}})).recommend(ANYONE)
    assert answer["option"].item() == "control" and answer["near_tie"].item() and answer["regret"].item() == 0


def kinked_x(history):
    return pm.Normal("x", 0.7 * history.code("a") - 0.3, 0.8)


def kinked_y(history):
    return pm.Normal("y", history.code("b") * (history["x"] - 0.25), 1.0)


def test_positive_part_of_a_normal_on_the_grid():
    """E max(0, X - c) = (m - c) Phi((m - c)/s) + s phi((m - c)/s): the kink costs the square of the grid's spacing."""
    study = Study(Decision("a", ["0", "1"]), Response("x", model=kinked_x), Decision("b", ["0", "1"]), Response("y", model=kinked_y), utility="y")
    regime = optimize(fit(study, known.cohort(study), seed=1))
    line = regime.recommend(ANYONE, every_option=True)["expected_utility"].to_numpy()
    centre, s = np.array([-0.3, 0.4]) - 0.25, 0.8
    exact = centre * ndtr(centre / s) + s * norm.pdf(centre / s)
    spacing = 2 * 7 * s / 96
    # Midpoint rule at a kink of slope 1: at most spacing^2 / 8 times the density there.
    np.testing.assert_allclose(line, exact, atol=spacing**2 / 8 * norm.pdf(0) / s)


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_batch_means_estimate_the_error_of_dependent_draws(rho):
    """An AR(1) chain: the SE of its mean is sd sqrt((1 + rho)/(1 - rho)/n)."""
    rng = np.random.default_rng(3)
    chains = np.empty((400, 4, 1000))  # 400 replicates of 4 chains
    x = rng.normal(size=(400, 4))
    for t in range(1000):
        x = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=x.shape)
        chains[:, :, t] = x
    exact = math.sqrt((1 + rho) / (1 - rho) / 4000)
    squares = np.mean([batch_error(c) ** 2 for c in chains])
    # Each squared error has 19 degrees of freedom: relative SE sqrt(2/19/400) = .016. A batch of 200 keeps
    # all but rho/(1 - rho^2) 2/200 = 9.5 % of the variance at rho = .9.
    assert squares / exact**2 == pytest.approx(1 - 2 * rho / (1 - rho**2) / 200, abs=5 * 0.016)
