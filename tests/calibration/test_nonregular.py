"""Default priors in the nine two-stage examples, 1,000 trials of 300 patients each.

What falls short is a strict expected failure with the figure measured on 2026-11-22, so that a mended prior shows up as one.
"""

import nonregular
import numpy as np
import pytest

from bayesdtr.simulators import chakraborty

SETS = 1000
WANTED = 0.91
SHORT = {"3": 0.886, "4": 0.899, "B": 0.743, "C": 0.784}
"""Coverage of the first stage's main effect below what is wanted."""
WORSE = {"6": 0.0010, "A": 0.0065, "B": 0.0163, "C": 0.0182}
"""Regret above that of Q-learning by least squares."""


@pytest.fixture(scope="module", params=list(chakraborty.EXAMPLES))
def trial(request):
    return request.param, nonregular.run(request.param, SETS)


@pytest.mark.slow
def test_coverage_of_the_first_stages_main_effect(trial, request):
    example, found = trial
    truth = chakraborty.truth(example).details["psi10"]
    covered = float(((found.psi[:, 0, 1] <= truth) & (truth <= found.psi[:, 0, 2])).mean())
    print(f"{example}: coverage {covered:.3f}, bias {found.psi[:, 0, 0].mean() - truth:+.3f}")
    if example in SHORT:
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"coverage {SHORT[example]}: interactions are shrunk towards each other"))
    assert covered >= WANTED - 2 * (WANTED * (1 - WANTED) / SETS) ** 0.5


@pytest.mark.slow
def test_regret_is_at_most_that_of_least_squares(trial, request):
    example, found = trial
    worse = found.reached[:, 1] - found.reached[:, 0]
    print(f"{example}: regret above least squares {worse.mean():+.4f} (SE {worse.std() / SETS**0.5:.4f})")
    if example in WORSE:
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"regret {WORSE[example]} above least squares"))
    assert worse.mean() <= 2 * worse.std() / np.sqrt(SETS)
