"""Default priors in the nine two-stage examples, 1,000 trials of 300 patients each.

What falls short is a strict expected failure with the figure measured on 2026-11-26, so that a mended prior shows up as one.
"""

import nonregular
import numpy as np
import pytest

from bayesdtr.simulators import chakraborty

SETS = 1000
WANTED = 0.91
"""Observed coverage, which has a Monte Carlo error of its own: measured .900 in B, .922 to .994 elsewhere."""
WORSE = {"6": 0.0057}
"""Regret above that of Q-learning by least squares."""


@pytest.fixture(scope="module", params=list(chakraborty.EXAMPLES))
def trial(request):
    return request.param, nonregular.run(request.param, SETS)


@pytest.mark.slow
def test_coverage_of_the_first_stages_main_effect(trial):
    example, found = trial
    truth = chakraborty.truth(example).details["psi10"]
    covered = float(((found.psi[:, 0, 1] <= truth) & (truth <= found.psi[:, 0, 2])).mean())
    print(f"{example}: coverage {covered:.3f}, bias {found.psi[:, 0, 0].mean() - truth:+.3f}")
    assert covered >= WANTED - 2 * (WANTED * (1 - WANTED) / SETS) ** 0.5


@pytest.mark.slow
def test_regret_is_at_most_that_of_least_squares(trial, request):
    example, found = trial
    worse = found.reached[:, 1] - found.reached[:, 0]
    print(f"{example}: regret above least squares {worse.mean():+.4f} (SE {worse.std() / SETS**0.5:.4f})")
    if example in WORSE:
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"regret {WORSE[example]} above least squares"))
    assert worse.mean() <= 2 * worse.std() / np.sqrt(SETS)
