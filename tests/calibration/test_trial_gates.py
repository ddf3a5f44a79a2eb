"""Gates of the fast engine of looks on a two-stage logistic SMART with covariates: NUTS on the same interim data, and weights' tails."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bayesdtr.trial.analysis import Analysis
from bayesdtr.trial.analysis.laplace import LaplaceAnalyst
from bayesdtr.trial.analysis.nuts import NutsAnalyst

sys.path.insert(0, str(Path(__file__).parents[1] / "trial"))
import laplace_designs as designs

KNOWN = np.repeat(np.arange(40, 201, 20), 23)[:200]
DRAWS = 4096
PATIENTS = {"x1": np.array([0.0, 1.0, -1.0]), "x2": np.array([0.0, -0.5, 1.0])}

pytestmark = pytest.mark.slow


def answers(look):
    """Values of options at both decisions for three patients of every trial, and of the regimes."""
    trial = np.repeat(np.arange(len(KNOWN)), 3)
    columns = {n: np.tile(v, len(KNOWN)) for n, v in PATIENTS.items()}
    later = {**columns, "a": np.tile([0, 1, 0], len(KNOWN)), "r": np.tile([0.0, 1.0, 1.0], len(KNOWN))}
    return {"first": look.options(0, trial, columns, np.ones((len(trial), 2), dtype=bool)),
            "second": look.options(1, trial, later, designs.SMART.feasible("a2", later)), "regimes": look.regimes()}


@pytest.fixture(scope="module")
def pair():
    data, ids = designs.looks(KNOWN, seed=11), np.arange(len(KNOWN))
    ours = LaplaceAnalyst(designs.SMART, Analysis(draws=DRAWS), 200).look(data, ids, 0)
    return ours, answers(ours), answers(NutsAnalyst(designs.SMART, Analysis(), 200, draws=4096).look(data, ids, 0))


def test_weights_have_light_tails(pair):
    for name, khat in pair[0].khat.items():
        assert (khat < 0.7).mean() >= 0.99, name


@pytest.mark.parametrize("what", ["first", "second", "regimes"])
def test_probabilities_are_those_of_nuts(pair, what):
    """The 95th percentile of differences is at most .02 once both engines' Monte Carlo errors are taken off."""
    (p, error), (wanted, more) = pair[1][what].p_best(), pair[2][what].p_best()
    apart, noise = np.abs(p - wanted).max(axis=1), np.hypot(error, more).max(axis=1)
    beyond = np.sqrt(np.maximum(apart**2 - 4 * noise**2, 0.0))
    print(f"{what}: 95th percentile {np.quantile(apart, 0.95):.4f}, Monte Carlo error {np.quantile(noise, 0.95):.4f}, "
          f"without it {np.quantile(beyond, 0.95):.4f}")
    assert np.quantile(beyond, 0.95) <= 0.02


@pytest.mark.parametrize("what", ["first", "second", "regimes"])
def test_decisions_are_those_of_nuts(pair, what):
    """Another option ahead in at most 1 % of looks beyond Monte Carlo noise of the difference between the two means."""
    ours, theirs = pair[1][what], pair[2][what]
    best, wanted = ours.mean().argmax(axis=1), theirs.mean().argmax(axis=1)
    draws = np.where(np.isfinite(theirs.draws), theirs.draws, 0.0)
    take = lambda which: np.take_along_axis(draws, which[:, None, None], axis=2)[..., 0]  # noqa: E731
    gap = take(wanted) - take(best)
    noise = gap[:, :4096].reshape(len(gap), 16, -1).mean(axis=2).std(axis=1, ddof=1) / 4
    print(f"{what}: another ahead in {(best != wanted).mean():.4f} of looks")
    assert ((best != wanted) & (gap.mean(axis=1) > 4 * noise)).mean() <= 0.01
