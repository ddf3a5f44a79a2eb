"""Period effects of looks: blocks within which probabilities stay, the analysis by quadrature, and what drift adds to the error."""

import numpy as np
import pytest
from scipy import special, stats

import bayesdtr as dtr
from bayesdtr.trial.analysis.engines import analyst
from bayesdtr.trial.course import Course
from bayesdtr.trial.nature import bind
from bayesdtr.trial.observed import Observed

ARMS = ["A", "B"]
EXACT = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
LEVELS = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Bernoulli()), utility="y")
POISSON = dtr.Calendar(dtr.PoissonAccrual(2.0), delays={"y": 4.0})
IDS = np.arange(40)
DESIGNS = {
    "burn-in to the first look": {"looks": [20, 40], "burn_in": 20},
    "burn-in by default": {"looks": [20, 40]},
    "no burn-in": {"looks": [20, 40], "burn_in": 0},
    "burn-in between looks": {"looks": [20, 40], "burn_in": 30},
    "burn-in over looks": {"looks": [10, 20, 40], "burn_in": 35},
    "looks by outcomes known": {"looks": dtr.Looks(known=[10, 20, 40]), "burn_in": 25, "calendar": POISSON},
    "looks by the calendar": {"looks": dtr.Looks(at=[5.0, 12.0, 20.0]), "burn_in": 12, "calendar": POISSON},
    "a fixed ratio": {"looks": [20, 40], "burn_in": 10, "allocation": dtr.Fixed({"A": 0.7, "B": 0.3})},
}


@pytest.mark.parametrize("name", DESIGNS)
def test_no_block_holds_a_change_of_probabilities(name):
    """Patients are alike, so everybody in a block was assigned with the same probability of A; what differs is only who was in which block."""
    given = {"size": 60, "allocation": dtr.Thompson(), **DESIGNS[name]}
    design = dtr.TrialDesign(EXACT, **given)
    truth = dtr.Scenario("truth", {"y": {"A": 0.3, "B": 0.6}})
    course = Course(design, bind(design, truth), analyst(EXACT, design.analysis, 60, design.blocks), IDS, seed=5, keep="patients")
    course.run()
    block, used = course.clock.block, course.state.chance[..., 0]
    chance = np.where(course.state.columns["arm"] == 0, used, 1 - used)
    assert (np.diff(block, axis=1) >= 0).all() and block.min() >= 0 and block.max() < design.blocks
    changed = 0
    for trial in IDS:
        for k in np.unique(block[trial]):
            np.testing.assert_allclose(chance[trial, block[trial] == k], chance[trial, block[trial] == k][0], atol=1e-12)
        changed += len(np.unique(chance[trial].round(9))) > 1
    assert changed >= len(IDS) / 2  # there was something to keep apart
    known = course.state.observed(np.full(len(IDS), np.inf), IDS, np.full(len(IDS), np.inf))
    assert (known.period == block).all()


def by_quadrature(yes: np.ndarray, n: np.ndarray) -> float:
    """P(B better) for counts ``[arm, block]`` of two blocks under the default priors, on a grid."""
    level, step, effect = np.linspace(-4.5, 3, 81), np.linspace(-5, 5, 101), np.linspace(-4, 4, 160)
    total = stats.norm(0, 1.5).logpdf(level)[:, None, None] + stats.norm(0, 2.5).logpdf(step)[None, :, None]
    for arm, sign in ((0, -0.5), (1, 0.5)):
        for block in (0, 1):
            eta = level[:, None, None] + block * step[None, :, None] + sign * effect
            total = total + yes[arm, block] * eta - n[arm, block] * np.logaddexp(0, eta)
    likelihood = special.logsumexp(total, axis=(0, 1))
    # The contrast is orthonormal: B minus A is sqrt(2) of its coefficient, whose SD is half-Normal.
    tau = stats.halfnorm(scale=0.5).ppf((np.arange(400) + 0.5) / 400)
    prior = special.logsumexp(stats.norm(0, np.sqrt(2) * tau[:, None]).logpdf(effect), axis=0)
    density = np.exp(likelihood + prior - (likelihood + prior).max())
    return density[effect > 0].sum() / density.sum()


def counted(cells: np.ndarray, n: np.ndarray) -> Observed:
    """Trials of counts ``[trial, arm, block]``, in the order of blocks."""
    rows = []
    for yes in cells:
        parts = [(arm, block, i < yes[arm, block]) for block in (0, 1) for arm in (0, 1) for i in range(n[arm, block])]
        rows.append(np.array(parts, dtype=int))
    arm, block, y = np.moveaxis(np.array(rows), 2, 0)
    return Observed({"arm": arm, "y": y.astype(float)}, None, block, np.ones(arm.shape, dtype=bool))


def test_the_analysis_with_periods_is_that_of_quadrature():
    """Two blocks with uneven shares in the second and a step between them: a stiff walk would put much of the step down to B."""
    n = np.array([[25, 12], [25, 38]])
    cells = np.array([[[7, 5], [8, 19]], [[8, 3], [6, 8]], [[5, 6], [10, 25]], [[6, 9], [6, 20]]])
    engine = analyst(LEVELS, dtr.Analysis(period_effects=True, draws=1024), 100, 2)
    look = engine.look(counted(cells, n), np.arange(4), 0)
    ours, _ = look.regimes().p_best()
    wanted = np.array([by_quadrature(c, n) for c in cells])
    np.testing.assert_allclose(ours[:, 1], wanted, atol=0.02)
    crude = analyst(LEVELS, dtr.Analysis(engine="laplace", draws=1024), 100, 2).look(counted(cells, n), np.arange(4), 0).regimes().p_best()[0]
    assert crude[3, 1] - ours[3, 1] > 0.05  # without periods the step passes for an effect


@pytest.mark.slow
def test_drift_adds_little_to_the_error_of_an_analysis_with_periods():
    """A step of half a logit at the second of two looks under Thompson's rule: .07 is added without period effects, next to none with them."""
    design = dtr.TrialDesign(LEVELS, size=200, looks=[100, 200], burn_in=100, allocation=dtr.Thompson(), stopping=[dtr.Superiority(0.95)],
                             analysis=dtr.Analysis(engine="laplace"))
    null = dtr.Scenario("none", {"y": 0.3})
    found = dtr.drift_inflation(design, null, null.with_drift(dtr.StepDrift(0.5), name="step"), replicates=6000, seed=7)
    print(found)
    without, with_periods = (r.added for r in found.rows if r.scenario == "step")
    assert without.value > 0.03
    assert with_periods.value <= 0.005 + 2 * with_periods.error
    assert with_periods.value <= 0.25 * without.value
