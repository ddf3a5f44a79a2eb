"""Engines for looks and simulations are let through, family by family, where they decide as NUTS does."""

import functools

import pytest
from gates import CASES, ENGINES, LEAST_ESS, Audit, audit, figures, looks, study


@functools.cache
def reference(name: str) -> Audit:
    """NUTS on the looks of a family; run once for all engines."""
    return audit(study(CASES[name]), looks(CASES[name]))


@pytest.mark.slow
@pytest.mark.parametrize("family", CASES)
@pytest.mark.parametrize("engine", ENGINES)
def test_engine_decides_as_nuts_does(engine, family):
    declared, data = study(CASES[family]), looks(CASES[family])
    found = figures(engine, family, ENGINES[engine](declared, data), reference(family))
    assert found.smallest_ess >= LEAST_ESS
    assert found.passed, found
