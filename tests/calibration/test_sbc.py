"""Calibration of NUTS over the prior predictive distribution, family by family: parameters, log likelihood, contrasts, values of regimes."""

import numpy as np
import pytest
from sbc import RANKS, calibrated, declared, extremeness, threshold

import bayesdtr as dtr

LEVELS = ["low", "middle", "high"]
WORTH = {"y": dict(zip(LEVELS, (0.0, 0.7, 1.0), strict=True))}
ALIVE = dtr.SurvivalAt("y", at=1.0)
BREAKS = [0.5, 1.5]
FAMILIES = {
    "normal": (dtr.Normal(), "y"), "t": (dtr.StudentT(), "y"), "log-normal": (dtr.LogNormal(), "y"), "bernoulli": (dtr.Bernoulli(), "y"),
    "beta-binomial": (dtr.BetaBinomial(7), "y"), "ordinal": (dtr.Ordinal(LEVELS), WORTH), "categorical": (dtr.Categorical(LEVELS), WORTH),
    "poisson": (dtr.Poisson(), "y"), "negative binomial": (dtr.NegativeBinomial(), "y"),
    "inflated poisson": (dtr.ZeroInflated(dtr.Poisson()), "y"),
    "inflated negative binomial": (dtr.ZeroInflated(dtr.NegativeBinomial()), "y"),
    "hurdle poisson": (dtr.Hurdle(dtr.Poisson()), "y"),
    "hurdle negative binomial": (dtr.Hurdle(dtr.NegativeBinomial()), "y"), "hurdle log-normal": (dtr.Hurdle(dtr.LogNormal()), "y"),
    "poisson with exposure": (dtr.Poisson("years"), "y"), "negative binomial with exposure": (dtr.NegativeBinomial("years"), "y"),
    "weibull, right-censored": (dtr.Survival(event="event"), ALIVE),
    "weibull, interval-censored": (dtr.Survival(upper="upper"), ALIVE),
    "log-normal time, right-censored": (dtr.Survival("lognormal", event="event"), ALIVE),
    "log-normal time, interval-censored": (dtr.Survival("lognormal", upper="upper"), ALIVE),
    "piecewise exponential, right-censored": (dtr.Survival("piecewise", event="event", breaks=BREAKS), ALIVE),
    "piecewise exponential, interval-censored": (dtr.Survival("piecewise", upper="upper", breaks=BREAKS), ALIVE),
    "piecewise exponential, a walk for each option": (dtr.Survival("piecewise", event="event", breaks=BREAKS, by=["a"]), ALIVE),
}


def test_uniform_ranks_pass_and_biased_ranks_do_not():
    rng = np.random.default_rng(1)
    limit = threshold(200, 5, replicates=10_000)
    uniform = rng.integers(0, RANKS + 1, size=(500, 200))
    assert (extremeness(uniform) < limit).mean() < 0.01 / 5 + 4 * np.sqrt(0.002 / 500)
    shifted = np.clip(uniform + 15, 0, RANKS)
    narrow = (50 + 0.7 * (uniform - 50)).astype(int)
    assert (extremeness(shifted) < limit).mean() > 0.95 and (extremeness(narrow) < limit).mean() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_calibrated(name):
    family, utility = FAMILIES[name]
    calibrated(name, declared(family, dtr.Utility(utility)), patients=60, seed=12)
