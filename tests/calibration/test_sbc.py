"""Calibration of NUTS and of the Laplace engine over the prior predictive distribution, family by family."""

import numpy as np
import pytest
from sbc import RANKS, declared, extremeness, ranks, simulate, threshold

import bayesdtr as dtr

LEVELS = ["low", "middle", "high"]
WORTH = {"y": dict(zip(LEVELS, range(3), strict=True))}
FAMILIES = {
    "normal": (dtr.Normal(), "y"), "t": (dtr.StudentT(), "y"), "log-normal": (dtr.LogNormal(), "y"), "bernoulli": (dtr.Bernoulli(), "y"),
    "beta-binomial": (dtr.BetaBinomial(7), "y"), "ordinal": (dtr.Ordinal(LEVELS), WORTH), "categorical": (dtr.Categorical(LEVELS), WORTH),
    "poisson": (dtr.Poisson(), "y"), "negative binomial": (dtr.NegativeBinomial(), "y"),
    "inflated poisson": (dtr.ZeroInflated(dtr.Poisson()), "y"), "hurdle negative binomial": (dtr.Hurdle(dtr.NegativeBinomial()), "y"),
    "hurdle log-normal": (dtr.Hurdle(dtr.LogNormal()), "y"),
}


def calibrate(study, *, size, patients, seed, clusters=(), thin=4):
    simulated = simulate(study, size=size, patients=patients, seed=seed, clusters=clusters)
    fits = dtr.fit_many(study, simulated.columns, seed=seed, engine="nuts", draws=RANKS * thin, warmup=300, cluster_labels=clusters)
    found = ranks(simulated, fits, thin=thin)
    limit = threshold(size, len(found))
    return {n: extremeness(r) for n, r in found.items()}, limit, fits


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
    found, limit, fits = calibrate(declared(family, dtr.Utility(utility)), size=1000, patients=60, seed=12)
    worst = min(found, key=found.get)
    print(f"{name}: {len(found)} quantities, most extreme {worst} {found[worst]:.2e}, limit {limit:.2e}, "
          f"divergences {int(fits.diagnostics['y']['divergences'].sum())}")
    assert found[worst] > limit, {n: v for n, v in found.items() if v <= limit}


@pytest.mark.slow
def test_clusters_are_calibrated():
    study = declared(dtr.Normal(), "y")
    study = dtr.Study(*study.timeline, utility="y", cluster="site", scales=dict(study.scales))
    found, limit, _ = calibrate(study, size=1000, patients=80, seed=13, clusters=tuple(f"s{i}" for i in range(6)))
    assert min(found.values()) > limit, {n: v for n, v in found.items() if v <= limit}
