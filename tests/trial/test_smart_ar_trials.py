"""Thompson beside SMART-AR and equal allocation in whole simulated trials of CODIACS-QoL (Cheung, Chakraborty and Davidson 2015), same patients."""

import functools
import itertools

import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.simulators import codiacs_qol

COUNT = 4000
RULES = {"equal": dtr.Equal(), "SMART-AR": dtr.SmartAR(base=10, tau=0.75, minimum=20, model="published"), "Thompson": dtr.Thompson()}
PUBLISHED = {"S1": (0.90, 0.93), "S3": (0.51, 0.50), "S5": (0.82, 0.85)}
"""P(correct regime) under balanced and SMART-AR randomization, read from a figure to within .02."""
STUDY = dtr.Study(
    dtr.Decision("first", codiacs_qol.FIRST),
    dtr.Response("improved", dtr.Bernoulli(), model=dtr.Saturated()),
    dtr.Decision("second", codiacs_qol.SECOND),
    dtr.Response("y", dtr.Normal(), model=dtr.Saturated(conjugate=dtr.NormalInverseGamma(mean=6.0, strength=0.01, shape=2.0, rate=90.0))),
    utility="y",
)


def scenario(name: str) -> dtr.Scenario:
    first, second = codiacs_qol.FIRST, codiacs_qol.SECOND
    cells = {dtr.when(first=first[a], improved=r, second=second[b]): float(codiacs_qol.mean(name, a, r, b))
             for a, r, b in itertools.product((0, 1), repeat=3)}
    return dtr.Scenario(name, {"improved": dict(zip(first, codiacs_qol.IMPROVES, strict=True)), "y": dtr.Law(cells, sd=codiacs_qol.SD)})


def design(rule: dtr.Equal | dtr.SmartAR | dtr.Thompson) -> dtr.TrialDesign:
    """A look at every patient from the 30th on: before, 20 of them followed for 6 months would be a chance of 1 in 1000.

    Outcomes come after 6 months; that response is judged half way is ours.
    """
    return dtr.TrialDesign(STUDY, size=100, looks=range(30, 100), allocation=rule, burn_in=30,
                           calendar=dtr.Calendar(dtr.PoissonAccrual(4.0), delays={"improved": 3.0, "y": 3.0}))


@functools.cache
def found(name: str, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each trial selects the best regime, and its mean utility per patient."""
    trials = dtr.simulate(design(RULES[rule]), scenario(name), COUNT, seed=12, compare=False, progress=False)
    run, truth = trials.runs[name], trials.truths[name]
    assert truth.best.sum() == 1
    return truth.best[run["selected"]].astype(float), run["utility"] / run["completed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_thompson_is_not_below_smart_ar(name):
    """Neither in the chance of finding the right regime nor in what patients get, by more than 2 standard errors of the difference."""
    lines = []
    for rule, (right, utility) in ((r, found(name, r)) for r in RULES):
        lines.append(f"{name} {rule:9} correct {right.mean():.4f}  utility {utility.mean():.3f}")
    for theirs, ours in zip(found(name, "SMART-AR"), found(name, "Thompson"), strict=True):
        gain = ours - theirs
        error = gain.std(ddof=1) / np.sqrt(COUNT)
        lines.append(f"  Thompson - SMART-AR {gain.mean():+.4f} (SE {error:.4f})")
        assert gain.mean() > -2 * error, lines
    print("\n".join(lines))
    # Adapting is better for patients than not adapting, by far.
    for rule in ("SMART-AR", "Thompson"):
        gain = found(name, rule)[1] - found(name, "equal")[1]
        assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_chances_of_the_right_regime(name):
    for rule, published in zip(("equal", "SMART-AR"), PUBLISHED[name], strict=True):
        right = found(name, rule)[0].mean()
        assert abs(right - published) < 0.02 + 4 * np.sqrt(right * (1 - right) / COUNT)
