"""What a further trial is worth, against closed forms, enumeration of all its outcomes, and conjugate updates of simulated trials."""

import known
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import betaln, gammaln
from scipy.stats import qmc
from test_evppi import ONE, large_study, normals, unit_loss
from test_foresight import random_coefficients

from bayesdtr import (
    Baseline,
    Bernoulli,
    Decision,
    DecisionError,
    LogNormal,
    Normal,
    Ordinal,
    Poisson,
    Response,
    Saturated,
    Study,
    Utility,
    evsi,
    fit,
)
from bayesdtr.decision.values import batch_error
from bayesdtr.decision.world import Rows, World
from bayesdtr.gallery import codiacs

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
SIZES = [0, 10, 40, 160]


# ---- one decision, two Normal options of known variance ------------------------------------------------

M, S, SIGMA = (0.0, 0.1), (0.3, 0.2), 1.5


def normal_options(power: int = 12):
    z = normals(power, 2)
    return known.posterior_with(ONE, {"y": {"mean": (np.array(M) + np.array(S) * z)[None], "sigma": np.full((1, len(z)), SIGMA)}})


def normal_truth(n: int) -> float:
    """The contrast's posterior mean has variance ``sum s^4 / (s^2 + sigma^2 / n_o)`` before the trial, given how many each option gets."""
    if not n:
        return 0.0
    first = np.arange(n + 1)
    variance = sum(s**4 / (s**2 + SIGMA**2 / np.maximum(k, 1e-300)) for s, k in zip(S, (first, n - first), strict=True))
    return float((stats.binom.pmf(first, n, 0.5) * unit_loss(M[1] - M[0], np.sqrt(variance))).sum())


@pytest.mark.parametrize("regimes", [None, "embedded"])
def test_normal_options_have_the_closed_form(regimes):
    found = evsi(normal_options(), SIZES, seed=1, regimes=regimes)
    truth = np.array([normal_truth(n) for n in SIZES])
    assert found.values[0] == 0 and found.at_least[0] == 0
    assert (np.abs(found.values - truth) <= 4 * found.errors + 5e-4).all()  # what .0005 is for: the regression's own trace
    assert (np.abs(found.at_least - truth) <= 4 * found.at_least_errors).all()
    np.testing.assert_allclose(found.values[2:], truth[2:], rtol=0.08)
    assert found.evpi == pytest.approx(unit_loss(0.1, np.hypot(*S)), abs=5e-4)


def test_large_trials_reach_the_evpi():
    found = evsi(normal_options(10), [1, 20_000], seed=2)
    assert found.values[1] == pytest.approx(found.evpi, rel=0.01) and found.values[0] < 0.1 * found.evpi
    assert (found.values <= found.evpi + 1e-9).all()


# ---- one decision, two binary options -------------------------------------------------------------------

BINARY = Study(Decision("a", ["p", "q"], probability={"p": 0.3, "q": 0.7}), Response("y", Bernoulli(), model=Saturated()), utility="y")
BETA = ((3.0, 4.0), (6.0, 5.0))


def betabinomial(n: int, a: float, b: float) -> np.ndarray:
    y = np.arange(n + 1)
    return np.exp(gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1) + betaln(a + y, b + n - y) - betaln(a, b))


def binary_truth(n: int) -> float:
    """Every outcome of the trial: how many get the second option, and how many succeed under each."""
    total = 0.0
    for second in range(n + 1):
        counts = (n - second, second)
        means = [(a + np.arange(k + 1)) / (a + b + k) for k, (a, b) in zip(counts, BETA, strict=True)]
        weights = [betabinomial(k, a, b) for k, (a, b) in zip(counts, BETA, strict=True)]
        best = (weights[0][:, None] * weights[1] * np.maximum(means[0][:, None], means[1])).sum()
        total += stats.binom.pmf(second, n, 0.7) * best
    return total - max(a / (a + b) for a, b in BETA)


def test_binary_options_against_enumeration_of_all_outcomes():
    u = np.random.default_rng(1).permutation(qmc.Sobol(2, seed=3).random_base2(12))
    p = np.stack([stats.beta.ppf(u[:, j], *BETA[j]) for j in range(2)], axis=1)
    posterior = known.posterior_with(BINARY, {"y": {"probability": p[None]}})
    sizes = [5, 20, 60, 200]
    found = evsi(posterior, sizes, seed=4)
    truth = np.array([binary_truth(n) for n in sizes])
    assert (np.abs(found.values - truth) <= 4 * found.errors + 5e-4).all()
    assert (np.abs(found.at_least - truth) <= 4 * found.at_least_errors).all()
    np.testing.assert_allclose(found.values[1:], truth[1:], rtol=0.05)


# ---- two decisions, both informed ------------------------------------------------------------------------


def smart_truth(n: int, replicates: int = 200_000) -> tuple[float, float]:
    """EVSI of the binary SMART and its error: counts of a trial under parameters drawn, conjugate updates, dynamic programming by hand."""
    rng = np.random.default_rng(5)
    arms, seconds = ("+1", "-1"), ("+1", "-1")
    cells = {c: (1 + y, 1 + m - y) for c, (m, y) in known.COUNTS.items()}
    responded = {}
    for a in arms:
        yes = known.COUNTS[a, 1, "continue"][0]
        responded[a] = (1 + yes, 1 + sum(known.COUNTS[a, 0, b][0] for b in seconds))

    def best(mean_cell, mean_response):
        values = []
        for a in arms:
            r = mean_response[a]
            after = np.maximum(mean_cell[a, 0, "+1"], mean_cell[a, 0, "-1"])
            values.append(r * mean_cell[a, 1, "continue"] + (1 - r) * after)
        return np.maximum(*values)

    first = rng.binomial(n, 0.5, replicates)
    new_cell, new_response = {}, {}
    for a, count in zip(arms, (first, n - first), strict=True):
        yes = rng.binomial(count, rng.beta(*responded[a], replicates))
        new_response[a] = (responded[a][0] + yes) / (sum(responded[a]) + count)
        plus = rng.binomial(count - yes, 0.5)
        for cell, m in (((a, 1, "continue"), yes), ((a, 0, "+1"), plus), ((a, 0, "-1"), count - yes - plus)):
            success = rng.binomial(m, rng.beta(*cells[cell], replicates))
            new_cell[cell] = (cells[cell][0] + success) / (sum(cells[cell]) + m)
    before = best({c: a / (a + b) for c, (a, b) in cells.items()}, {c: a / (a + b) for c, (a, b) in responded.items()})
    drawn = best(new_cell, new_response) - before
    return float(drawn.mean()), float(drawn.std() / np.sqrt(replicates))


@pytest.fixture(scope="module")
def smart():
    return fit(known.SMART, known.smart_frame(), seed=3, engine="exact", draws=4000)


@pytest.mark.parametrize("regimes", [None, "embedded"])
def test_two_stages_against_conjugate_updates(smart, regimes):
    """The embedded regimes are all there are here, so both ways answer the same question."""
    sizes = [50, 200, 800]
    found = evsi(smart, sizes, seed=6, regimes=regimes)
    truth, error = np.array([smart_truth(n) for n in sizes]).T
    assert (np.abs(found.values - truth) <= 4 * np.hypot(found.errors, error) + 5e-4).all()
    assert (np.abs(found.at_least - truth) <= 4 * np.hypot(found.at_least_errors, error)).all()
    np.testing.assert_allclose(found.values, truth, rtol=0.25)


# ---- what it says ----------------------------------------------------------------------------------------


def test_value_grows_with_size_and_cost_decides():
    posterior = fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=4000)
    found = evsi(posterior, [400, 50, 0, 100, 50], seed=1, population=1000, cost_per_patient=1.0, fixed_cost=10.0)
    assert found.sizes == (0, 50, 100, 400)
    step = found.draws[..., 1:] - found.draws[..., :-1]
    assert (step.mean(axis=(0, 1)) > -4 * batch_error(step)).all() and (found.values <= found.evpi + 4 * found.evpi_error).all()
    np.testing.assert_allclose(found.net, 1000 * found.values - np.array([0, 60, 110, 410]))
    assert found.best == found.sizes[found.net.argmax()] and found.best not in found.rivals
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100 and f"Best size: {found.best} patients" in text.replace("\n    ", " ")
    assert "in the shares seen" in text.replace("\n    ", " ")
    frame = found.frame()
    assert list(frame["size"]) == [0, 50, 100, 400] and frame["best"].sum() == 1 and frame["net"].iloc[0] == 0
    again = evsi(posterior, [50, 100], seed=1)
    np.testing.assert_allclose(again.values, found.values[1:3], atol=0.03)
    with pytest.raises(DecisionError, match="needs population="):
        _ = again.net


def test_a_trial_that_costs_too_much_is_not_worth_it():
    found = evsi(normal_options(8), [0, 10, 20], seed=1, population=10, cost_per_patient=5.0)
    assert found.best == 0 and "No trial of these sizes is worth its cost." in str(found).replace("\n    ", " ")


def test_what_cannot_be_is_refused():
    posterior = normal_options(6)
    with pytest.raises(DecisionError, match="takes a Posterior, got str"):
        evsi("posterior", [10], seed=1)
    for sizes in ([], [-1], [1.5], "ten"):
        with pytest.raises(DecisionError, match="sizes are numbers of patients"):
            evsi(posterior, sizes, seed=1)
    with pytest.raises(DecisionError, match="give population="):
        evsi(posterior, [10], seed=1, cost_per_patient=1.0)
    with pytest.raises(DecisionError, match="cost_per_patient is a number, 0 or more, got -1"):
        evsi(posterior, [10], seed=1, population=10, cost_per_patient=-1)
    with pytest.raises(DecisionError, match="seed is a whole number"):
        evsi(posterior, [10], seed=None)
    study = large_study()
    large = known.posterior_with(study, known.random_cells(study, 1))
    with pytest.raises(DecisionError, match=r"evsi: the tree of histories has 8192 leaves .* give regimes='embedded'"):
        evsi(large, [10], seed=1)


# ---- a covariate: means that are smooth functions of the history ----------------------------------------------


def test_a_linear_model_against_exact_updates():
    """One decision, a Normal response linear in a covariate by option: each simulated trial is analyzed as a Bayesian linear regression."""
    study = Study(Baseline("x"), Decision("a", ["p", "q"]), Response("y", Normal()), utility="y", scales={"x": (0, 1), "y": (0, 1)})
    rng = np.random.default_rng(8)
    z = normals(11, 5)
    center, spread = np.array([0.2, 0.3, 0.15, 0.2]), np.array([0.2, 0.1, 0.3, 0.25])
    level, slope, contrast, tailoring = (center + spread * z[:, :4]).T
    given = {"intercept": level, "beta": slope[:, None], "treatment": contrast[:, None], "interaction": tailoring[:, None],
             "tau": np.ones(len(z)), "tau_interaction": np.ones(len(z)), "sigma": np.full(len(z), 1.2)}
    frame = known.cohort(study, 60, seed=2)
    posterior = known.posterior_with(study, {"y": {n: v[None] for n, v in given.items()}}, frame)
    sizes = [20, 80, 320]
    found = evsi(posterior, sizes, seed=9)

    world, x = World.of(posterior), frame["x"].to_numpy()
    mean = np.stack([world.look("y", Rows({"x": x, "a": np.full(60, a)}, None, 60), "mean") for a in (0, 1)], axis=-1)
    assert mean.shape == (len(z), 60, 2)

    def design(x, a):
        return np.stack([np.ones_like(x), x, a, a * x], axis=-1)

    basis = np.concatenate([design(x, np.zeros(60)), design(x, np.ones(60))])
    gamma = np.linalg.lstsq(basis, np.concatenate([mean[..., 0], mean[..., 1]], axis=1).T, rcond=None)[0].T
    assert np.abs(gamma @ basis.T - np.concatenate([mean[..., 0], mean[..., 1]], axis=1)).max() < 1e-8
    prior, precision = gamma.mean(axis=0), np.linalg.inv(np.cov(gamma.T))
    today = np.maximum(design(x, np.zeros(60)) @ prior, design(x, np.ones(60)) @ prior)
    truth, error = [], []
    for n in sizes:
        gains = []
        for _ in range(4000):
            who, option = rng.integers(60, size=n), rng.integers(2, size=n).astype(float)
            rows = design(x[who], option)
            y = rows @ rng.multivariate_normal(prior, np.linalg.inv(precision)) + 1.2 * rng.normal(size=n)
            after = np.linalg.solve(precision + rows.T @ rows / 1.44, precision @ prior + rows.T @ y / 1.44)
            # Subtracting what today's rule is then expected to earn leaves the mean as it is and takes most of the noise away.
            values = np.stack([design(x, np.zeros(60)) @ after, design(x, np.ones(60)) @ after], axis=-1)
            stay = (design(x, np.ones(60)) @ prior == today).astype(int)
            gains.append((values.max(axis=1) - values[np.arange(60), stay]).mean())
        truth.append(np.mean(gains))
        error.append(np.std(gains) / np.sqrt(4000))
    truth, error = np.array(truth), np.array(error)
    assert (np.abs(found.values - truth) <= 4 * np.hypot(found.errors, error) + 1e-3).all()
    assert (np.abs(found.at_least - truth) <= 4 * np.hypot(found.at_least_errors, error)).all()
    np.testing.assert_allclose(found.values, truth, rtol=0.15)
    assert found.values[-1] < found.evpi


@pytest.mark.parametrize(("family", "seed"), [(Ordinal(["a", "b", "c"]), 4), (Poisson(), 3), (LogNormal(), 3)])
def test_every_kind_of_outcome_informs(family, seed):
    """Labelled outcomes by their indicators, counts by their means, heavy tails by the logarithm: large trials come near the EVPI."""
    worth = Utility({"y": {"a": 0.0, "b": 1.0, "c": 3.0}}) if isinstance(family, Ordinal) else Utility("y")
    study = Study(Decision("a", ["p", "q"]), Response("y", family), utility=worth, scales={} if isinstance(family, Ordinal) else {"y": (2.0, 1.0)})
    values = ["a", "b", "c"] if isinstance(family, Ordinal) else [1, 2, 4]
    frame = pd.DataFrame({"a": ["p", "q"] * 6, "y": [v for v in values for _ in range(4)]})
    posterior = random_coefficients(study, seed, per_chain=500, frame=frame)
    found = evsi(posterior, [20, 4000], seed=1)
    assert found.evpi > 4 * found.evpi_error
    assert found.values[0] < found.values[1] <= found.evpi + 4 * found.evpi_error
    assert found.values[1] > 0.9 * found.evpi
