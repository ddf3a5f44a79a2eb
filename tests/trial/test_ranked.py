"""Last decisions whose options one linear predictor puts in order: probabilities that need no draws, against draws that are counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.runtime import double_precision
from bayesdtr.trial.analysis import Analysis
from bayesdtr.trial.analysis.laplace import LaplaceAnalyst
from bayesdtr.trial.observed import Observed

N, SIZE = 60, 40_000
OUTCOMES = {"bernoulli": dtr.Bernoulli(), "normal": dtr.Normal(), "counts": dtr.NegativeBinomial(),
            "score": dtr.BetaBinomial(5), "time": dtr.LogNormal()}


def two_stages(outcome, utility="y", extra=(), **more):
    return dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("r", dtr.Bernoulli()),
        dtr.Decision("b", {dtr.when(r=0): ["u", "v"], dtr.when(r=1): ["go"]}), *extra, dtr.Response("y", outcome),
        utility=utility, scales={"x": (0.0, 1.0), **({} if isinstance(outcome, (dtr.Bernoulli, dtr.BetaBinomial)) else {"y": (0.0, 1.0)})}, **more)


def analyst(study):
    return LaplaceAnalyst(study, Analysis(draws=64), N)


def looked(study, seed=0):
    rng = np.random.default_rng(seed)
    r = rng.integers(0, 2, N)
    columns = {"x": rng.normal(size=N), "a": rng.integers(0, 2, N), "r": r.astype(float), "b": np.where(r == 1, 2, rng.integers(0, 2, N)),
               "y": rng.integers(0, 2, N) + float(study["y"].family != dtr.Bernoulli())}
    data = Observed({n: v[None] for n, v in columns.items()}, None, np.zeros((1, N), int), np.ones((1, N), bool))
    engine = analyst(study)
    return engine, engine.look(data, np.zeros(1, int), 0)


def asked(engine, look):
    """P(best) of four patients who did not respond, with its error; and the share of a mixture's random draws where each option is best."""
    columns = {"x": np.array([-1.0, -0.2, 0.5, 1.3]), "a": np.array([0, 1, 0, 1]), "r": np.zeros(4)}
    feasible = np.tile([True, True, False], (4, 1))
    p, error = look.options(1, np.zeros(4, int), columns, feasible).p_best()
    fit, model = look._of("y", np.zeros(1, int)), engine.models["y"]
    rng = np.random.default_rng(1)
    point = rng.choice(len(fit.share[0]), SIZE, p=fit.share[0] / fit.share[0].sum())
    x = fit.centres[0][point] + np.einsum("dpq,dq->dp", np.linalg.cholesky(fit.covariances[0])[point], rng.normal(size=(SIZE, model.p)))
    with double_precision():
        # Other parameters put no two options in another order: those of any draw will do.
        draws = {n: np.broadcast_to(v[0, :1], (SIZE, *v.shape[2:])) for n, v in fit.draws.items()} | jax.vmap(model.named)(jnp.asarray(x))
        values = jax.jit(lambda d: engine.programs.tree.options(1, {"y": d}, {n: jnp.asarray(v) for n, v in columns.items()}, None))(draws)
    values = np.where(feasible[:, :, None], values, -np.inf)
    return p, error, np.mean(values == values.max(axis=1, keepdims=True), axis=2)


@pytest.mark.parametrize("kind", OUTCOMES)
@pytest.mark.parametrize("weight", [1.0, -0.7])
def test_probabilities_are_those_of_the_mixture(kind, weight):
    engine, look = looked(two_stages(OUTCOMES[kind], dtr.Utility({"y": weight})))
    assert engine.programs.tree.ranked(1) == "y"
    p, error, counted = asked(engine, look)
    assert np.abs(p - counted).max() < 4 * 0.5 / np.sqrt(SIZE)
    assert p.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert np.ptp(p[:, 0]) > 0.02
    assert not error.any()


def test_what_else_is_paid_or_follows_leaves_them_to_lines():
    y = dtr.Bernoulli()
    table = dtr.Utility({"y": 1.0, ("r", "y"): {(0, 0): 0.0, (0, 1): -0.3, (1, 0): 0.1, (1, 1): 0.5}})
    assert analyst(two_stages(y)).programs.tree.ranked(0) is None
    for study in (two_stages(y, dtr.Utility({"y": 1.0}, costs={"b": {"v": 0.2}})), two_stages(y, table),
                  two_stages(y, dtr.Utility({"y": 1.0, "c": 0.2}), (dtr.Response("c", dtr.Bernoulli()),))):
        assert analyst(study).programs.tree.ranked(1) is None


def test_costs_shift_what_lines_say():
    """With a cost that outweighs any outcome the dearer option is never best; without it the predictor decides."""
    engine, look = looked(two_stages(dtr.Bernoulli(), dtr.Utility({"y": 1.0}, costs={"b": {"v": 2.0}})))
    p, _, counted = asked(engine, look)
    assert p[:, 1].max() < 1e-6
    assert counted[:, 1].max() == 0
