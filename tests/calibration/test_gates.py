"""Engines for looks and simulations are let through, family by family, where they decide as NUTS does."""

import functools

import pytest
from gates import CASES, ENGINES, LEAST_ESS, Audit, audit, figures, looks, study

TAILS = "plain draws have thinner tails than the posterior: k-hat below .7 in {} of looks, with 1,024 draws; use corrected=True"
FAILING = {
    ("fit_many", "bernoulli"): TAILS.format("90.0 %"),
    ("fit_many", "t"): TAILS.format("85.0 %"),
    ("fit_many corrected", "t"): "k-hat below .7 in 97.5 % of looks; the engine warns and names the others",
    ("fit_many corrected", "inflated poisson"): "k-hat below .7 in 65.0 % of looks, cause unknown; the engine warns and names the others",
}
"""Gates known to be shut by k-hat, with the share measured; how far P(best) is off has been measured for Bernoulli only."""


@functools.cache
def reference(family: str) -> Audit:
    """NUTS on the looks of a family; run once for all engines."""
    return audit(study(CASES[family]), looks(CASES[family]))


def gates():
    """Every family with every engine, a family's engines together; those known to be shut are expected to stay so until this list is changed."""
    for family in CASES:
        for engine in ENGINES:
            reason = FAILING.get((engine, family))
            yield pytest.param(engine, family, marks=[pytest.mark.xfail(strict=True, reason=reason)] if reason else [])


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "family"), gates())
def test_engine_decides_as_nuts_does(engine, family):
    declared, data = study(CASES[family]), looks(CASES[family])
    found = figures(engine, family, ENGINES[engine](declared, data), reference(family))
    assert found.smallest_ess >= LEAST_ESS
    assert found.passed, found
