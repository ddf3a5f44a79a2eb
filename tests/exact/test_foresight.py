"""What knowing the parameters is worth where the tree of histories is too large: lower bounds that are close where the truth is known."""

import known
import numpy as np
import pandas as pd
import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Hierarchical, Normal, Posterior, Response, Study, Utility, fit, value_of_information
from bayesdtr.decision.information import foresight
from bayesdtr.decision.values import batch_error
from bayesdtr.model import compile_response

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def random_coefficients(study: Study, seed: int, per_chain: int = 30, frame: pd.DataFrame | None = None) -> Posterior:
    """Arbitrary draws of hierarchical models: coefficients about centers of their own."""
    rng, spread, chains = np.random.default_rng(seed), 0.15, 2
    draws = {}
    for response in study.responses:
        compiled = compile_response(study, response.name)
        draws[response.name] = {}
        for name in compiled.parameters:
            shape = tuple(len(compiled.coords[d]) for d in compiled.dims[name])
            center = rng.normal(0, 0.3, shape)
            values = center + spread * rng.normal(size=(chains, per_chain, *shape))
            if name == "cutpoint":
                values = np.sort(values)
            draws[response.name][name] = np.exp(0.1 * values) if name.startswith(("tau", "sigma")) else values
    return known.posterior_with(study, draws, frame)


def staged(stages: int) -> Study:
    """Binary and continuous responses in turn, each of which later decisions look at."""
    timeline = [Baseline("x")]
    for k in range(stages):
        timeline += [Decision(f"a{k}", ["p", "q"]), Response(f"y{k}", Normal() if k % 2 else Bernoulli(), model=Hierarchical(
            covariates=f"x + y{k - 1}" if k else "x"))]
    scales = {n: (0, 1) for n in ("x", *(f"y{k}" for k in range(1, stages, 2)))}
    return Study(*timeline, utility=Utility({f"y{k}": 1.0 for k in range(stages)}), scales=scales)


def test_rules_that_know_come_close_to_what_the_tree_says():
    posterior = fit(known.SMART, known.smart_frame(), seed=3, engine="exact", draws=200)
    truth = value_of_information(posterior, method="tree")
    found = value_of_information(posterior, method="policies")
    assert found.method == "policies" and truth.method == "tree" and found.draws.shape == truth.draws.shape
    # On the same 200 draws the two differ by the luck of the simulated patients only.
    error = batch_error(found.draws - truth.draws)
    difference = found.values - truth.values
    assert (np.abs(difference) < 4 * error + 1e-9).all()
    gain = (found.draws[..., :-1] - found.draws[..., -1:]) - (truth.draws[..., :-1] - truth.draws[..., -1:])
    assert (gain.mean(axis=(0, 1)) < 4 * batch_error(gain)).all()
    assert found.evpi == pytest.approx(truth.evpi, rel=0.1)
    np.testing.assert_allclose(found.patient_gains.sum(axis=1).mean(), found.evpi, rtol=0.05)
    assert "EVPI at least" in str(found) and max(map(len, str(found).splitlines())) <= 100


def test_continuous_responses_too():
    """Two stages with a baseline covariate and a continuous last response, where tree and policies both work."""
    posterior = random_coefficients(staged(2), 2)
    truth, found = (value_of_information(posterior, method=m) for m in ("tree", "policies"))
    gain = (found.draws[..., :-1] - found.draws[..., -1:]) - (truth.draws[..., :-1] - truth.draws[..., -1:])
    assert (gain.mean(axis=(0, 1)) < 4 * batch_error(gain)).all()
    assert 0.8 * truth.evpi < found.evpi and (found.gains > -4 * found.gain_errors).all()


@pytest.mark.slow
def test_six_stages_are_ordered():
    posterior = random_coefficients(staged(6), 4)
    found = value_of_information(posterior)
    assert found.method == "policies" and found.draws.shape == (2, 30, 7) and len(found.patients) == posterior.trajectories.n
    assert (found.gains > -4 * found.gain_errors).all()
    assert found.evpi > 4 * found.evpi_error


def test_memory_is_bounded(monkeypatch):
    """Smaller pieces give the same numbers."""
    posterior = random_coefficients(staged(2), 2, per_chain=5)
    whole = value_of_information(posterior, method="policies")
    monkeypatch.setattr(foresight, "BUDGET", 2**14)
    np.testing.assert_allclose(value_of_information(posterior, method="policies").draws, whole.draws, atol=1e-12)
