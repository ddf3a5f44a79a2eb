"""How far the numbers behind a recommendation may be off: what is said of it, against the same numbers worked out another way."""

import numpy as np
import pandas as pd
import pytest
from known import cohort, posterior_with, random_cells

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study
from bayesdtr.decision.values import baseline_rows
from bayesdtr.model import compile_response
from bayesdtr.reporting import summary

BINARY = Study(
    Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()), Decision("b", ["s", "t"]),
    Response("y", Normal(), model=Saturated()), utility="y",
)
SMOOTH = Study(
    Baseline("x"), Decision("a", ["p", "q"]), Response("m", Normal()), Decision("b", ["s", "t"]), Response("y", Normal()), utility="y",
)


@pytest.fixture(scope="module")
def smooth():
    """Coefficients whose best first option turns at some x."""
    rng, found = np.random.default_rng(6), {}
    for response in SMOOTH.responses:
        compiled = compile_response(SMOOTH, response.name)
        found[response.name] = {}
        for name in compiled.parameters:
            shape = tuple(len(compiled.coords[d]) for d in compiled.dims.get(name, ()))
            noise = rng.normal(0, 0.05, (2, 100, *shape))
            found[response.name][name] = np.exp(noise) if name in ("sigma", "tau", "tau_interaction") else rng.normal(0, 0.6, shape) + noise
    return posterior_with(SMOOTH, found, cohort(SMOOTH, 200))


def test_enumeration_is_exact():
    regime = dtr.optimize(posterior_with(BINARY, random_cells(BINARY, 2)))
    assert [(a.method, a.error) for a in regime.accuracy] == [("enumeration", 0.0), ("enumeration", 0.0)]
    assert "a: enumeration, exact to rounding" in str(regime)
    told = summary(regime)["regime"]["accuracy"]
    assert [t["decision"] for t in told] == ["a", "b"] and told[0]["error"] == 0 and told[0]["gap"] is None


def test_closed_form_and_regression(smooth):
    """The standard error of fitted values is that of their distance to the exact ones, and recommendations know of it."""
    exact, fitted = dtr.optimize(smooth), dtr.optimize(smooth, method="regression")
    assert [a.method for a in exact.accuracy] == ["closed form", "enumeration"]
    first, last = fitted.accuracy
    assert (first.method, last.method, last.error) == ("regression Monte Carlo", "enumeration", 0.0)
    rows = baseline_rows(smooth)
    one, other = exact.assess("a", rows), fitted.assess("a", rows)
    off = np.sqrt(((other.expected - one.expected) ** 2).mean())
    assert off < 3 * first.error and first.error < 0.1 * np.ptp(one.expected)
    assert (other.margin_error > one.margin_error - 1e-12).any()
    wrong = other.choice != one.choice
    assert wrong.mean() < 0.05 and other.mc_tie[wrong].all()
    assert exact.value().mean == pytest.approx(fitted.value().mean, abs=0.01)
    assert abs(first.gap) < 4 * first.gap_error + 2 * first.error


def test_the_error_of_a_fit_is_what_decides_a_tie(smooth):
    """A fit that may be off by much more than options differ leaves every recommendation a tie, and the flip near one half."""
    import dataclasses

    fitted = dtr.optimize(smooth, method="regression")
    loose = {n: dataclasses.replace(f, misfit=np.full_like(f.misfit, 1e3)) for n, f in fitted.fits.items()}
    patients = pd.DataFrame({"x": [-1.0, 0.2, 1.5]})
    sure, vague = fitted.recommend(patients), dataclasses.replace(fitted, fits=loose).recommend(patients)
    assert vague["mc_tie"].all() and (abs(vague["p_flip"] - 0.5) < 0.01).all()
    assert (vague["option"] == sure["option"]).all() and (sure["p_flip"] <= vague["p_flip"]).all()


def test_simulated_fits_know_their_noise(smooth, monkeypatch):
    """Where values are simulated, fewer simulations have a larger error, and it covers the distance to the exact values."""
    monkeypatch.setattr("bayesdtr.decision.regression.WORKED_OUT", 0.0)
    exact = dtr.optimize(smooth)
    regime = dtr.optimize(smooth, method="regression")
    rows = baseline_rows(smooth)
    off = regime.assess("a", rows).expected - exact.assess("a", rows).expected
    assert regime.accuracy[0].error > 0 and np.sqrt((off**2).mean()) < 3 * regime.accuracy[0].error
