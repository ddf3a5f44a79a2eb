"""The chemotherapy model with its parameters known: `optimize` against every sequence of doses, patient by patient."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Study, Utility, fit, optimize, when
from bayesdtr.simulators import chemotherapy

N = 60
CASES = {"two months, five doses": (2, ("0", "0.3", "0.5", "0.7", "1")), "two months, eleven doses": (2, chemotherapy.DOSES),
         "three months, five doses": (3, ("0", "0.3", "0.5", "0.7", "1"))}


def months_of(history, months, doses):
    """States at the beginning and at the end of the last of so many months."""
    w, m = before = history["w0"], history["m0"]
    for k in range(1, months + 1):
        before = w, m
        push = 1.2 * (pt.as_tensor(np.array([float(d) for d in doses]))[history.code(f"dose{k}")] - 0.5)
        left = pt.maximum(m + 0.15 * pt.maximum(w, history["w0"]) - push, 0.0)
        w, m = w + 0.1 * pt.maximum(m, history["m0"]) + push, pt.switch(pt.gt(m, 0), left, 0.0)
    return before, (w, m)


def death(month, doses):
    def model(history):
        _, (w, m) = months_of(history, month, doses)
        return pm.Bernoulli(f"died{month}", p=1 - pt.exp(-pt.exp(-4 + w + m)))

    return model


def gain(month, doses):
    def model(history):
        (w, m), (w2, m2) = months_of(history, month, doses)
        size = lambda test: 5 * pt.cast(test, "float64")  # noqa: E731
        toxicity = size(pt.le(w2 - w, -0.5)) - size(pt.ge(w2 - w, 0.5))
        tumor = pt.switch(pt.eq(m2, 0), 15.0, size(pt.le(m2 - m, -0.5)) - size(pt.ge(m2 - m, 0.5)))
        return pm.Normal(f"gain{month}", pt.switch(pt.eq(history[f"died{month}"], 1), -60.0, toxicity + tumor), 1.0)

    return model


def known_study(months, doses) -> Study:
    """The generator's declaration with the generator's laws in place of models to be learned."""
    nodes = [Baseline("w0"), Baseline("m0")]
    for k in range(1, months + 1):
        offered = list(doses) if k == 1 else {when(**{f"died{k - 1}": 0}): list(doses), when(**{f"died{k - 1}": 1}): []}
        nodes += [Decision(f"dose{k}", offered), Response(f"died{k}", Bernoulli(), model=death(k, doses)),
                  Response(f"gain{k}", Normal(), model=gain(k, doses))]
    names = [f"gain{k}" for k in range(1, months + 1)]
    return Study(*nodes, utility=Utility(dict.fromkeys(names, 1.0)), scales=dict.fromkeys(names, (0.0, 1.0)))


@pytest.mark.parametrize("name", [c if c == "two months, five doses" else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_optimize_finds_the_best_doses_of_every_patient(name):
    months, doses = CASES[name]
    frame = chemotherapy.simulate(N, seed=1, months=months, doses=doses)
    study = known_study(months, doses)
    assert study.names == chemotherapy.study(months, doses).names
    posterior = fit(study, frame[list(study.names)], seed=1, progress=False)
    regime = optimize(posterior)
    assert set(regime.methods.values()) == {"enumeration"}
    w0, m0 = frame["w0"].to_numpy(), frame["m0"].to_numpy()
    best = chemotherapy.best_values(w0, m0, months, doses)
    shown = regime.recommend(frame[["w0", "m0"]], every_option=True)
    table = shown["expected_utility"].to_numpy().reshape(N, len(doses))
    numbers = [float(d) for d in doses]
    np.testing.assert_allclose(table, chemotherapy.options(w0, m0, w0, m0, months, numbers), atol=1e-10, rtol=0)
    np.testing.assert_allclose(table.max(axis=1), best, atol=1e-10, rtol=0)
    # With known parameters there is one draw, and the value is the mean over the patients, not over a random weighing of them.
    assert regime.value().mean == pytest.approx(best.mean(), abs=1e-10)
    # A month later, wherever the first dose has left a patient who lives.
    later = frame[frame["died1"] == 0]
    second = regime.recommend(later[["w0", "m0", "dose1", "died1", "gain1"]], every_option=True)
    states = [later[c].to_numpy() for c in ("w1", "m1", "w0", "m0")]
    np.testing.assert_allclose(second["expected_utility"].to_numpy().reshape(len(later), -1),
                               chemotherapy.options(*states, months - 1, numbers), atol=1e-10, rtol=0)
    # Who follows the rule in the generator itself: the same patients, the same luck.
    policy = {f"dose{k}": lambda f: regime.recommend(f[[n for n in study.names if n in f]])["option"].to_numpy(dtype=object)
              for k in range(1, months + 1)}
    mine = chemotherapy.simulate(500, seed=3, policy=policy, months=months, doses=doses)
    optimal = chemotherapy.simulate(500, seed=3, policy=chemotherapy.truth(months, doses, points=4).optimal.policy, months=months, doses=doses)
    assert chemotherapy.returns(mine) == pytest.approx(chemotherapy.returns(optimal))
