"""Lines through draws: slopes against differences of values, and directions of length 1 in standard coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr.runtime import double_precision
from bayesdtr.trial.analysis import Analysis
from bayesdtr.trial.analysis.along import along, contrasts, directions
from bayesdtr.trial.analysis.laplace import LaplaceAnalyst
from bayesdtr.trial.observed import Observed

N = 40
STEP = 1e-5


def binary():
    rng = np.random.default_rng(0)
    study = dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("r", dtr.Bernoulli()),
        dtr.Decision("b", {dtr.when(r=0): ["u", "v", "w"], dtr.when(r=1): ["go"]}), dtr.Response("y", dtr.Bernoulli()),
        utility="y", scales={"x": (0.0, 1.0)})
    r = rng.integers(0, 2, N)
    columns = {"x": rng.normal(size=N), "a": rng.integers(0, 2, N), "r": r.astype(float), "b": np.where(r == 1, 3, rng.integers(0, 3, N)),
               "y": rng.integers(0, 2, N).astype(float)}
    return study, columns


def drawn():
    """A Normal response that later things depend on, so that rows of the tree differ by draw."""
    rng = np.random.default_rng(1)
    study = dtr.Study(
        dtr.Baseline("x"), dtr.Decision("a", ["p", "q", "r"]), dtr.Response("m", dtr.Normal()),
        dtr.Decision("b", {dtr.when(m=dtr.below(0.2)): ["u", "v"], dtr.when(m=dtr.at_least(0.2)): ["w"]}), dtr.Response("y", dtr.Normal()),
        utility="y", scales={"x": (0.0, 1.0), "m": (0.0, 1.0), "y": (0.0, 1.0)})
    x, a = rng.normal(size=N), rng.integers(0, 3, N)
    m = 0.3 * x + 0.2 * a + rng.normal(size=N)
    columns = {"x": x, "a": a, "m": m, "b": np.where(m < 0.2, rng.integers(0, 2, N), 2), "y": 0.5 * m + rng.normal(size=N)}
    return study, columns


@pytest.fixture(scope="module", params=[binary, drawn], ids=["binary", "drawn"])
def looked(request):
    """A look at one trial, its analyst, and the fits as the programs take them."""
    study, columns = request.param()
    data = Observed({n: v[None] for n, v in columns.items()}, None, np.zeros((1, N), int), np.ones((1, N), bool))
    analyst = LaplaceAnalyst(study, Analysis(draws=64), N)
    look = analyst.look(data, np.zeros(1, int), 0)
    with double_precision():
        fits = {n: jax.tree.map(lambda v: jnp.asarray(v[0]), look._of(n, np.zeros(1, int))) for n in analyst.compiled}
    return analyst, look, fits


def case(analyst, which):
    """A function of draws and nudges, with weights for its lines: of two patients' options (0), or of the regimes for both together (1)."""
    tree, options = analyst.programs.tree, len(analyst.study.decisions[0].options)
    columns = {"x": jnp.array([-0.4, 0.9])}
    if which == 0:
        return lambda draws, nudges: tree.options(0, draws, columns, None, nudges), jnp.tile(contrasts(jnp.ones(options), options), (2, 1, 1))
    share, count = jnp.array([0.3, 0.7]), len(tree.regimes)
    return lambda draws, nudges: tree.values(draws, columns, None, share, nudges)[None], contrasts(jnp.ones(count), 3)[None]


def lines_of(looked, which):
    """A case's function, the fits, and its lines."""
    analyst, _, fits = looked
    with double_precision():
        function, weights = case(analyst, which)
        return function, fits, jax.jit(lambda fits: directions(function, fits, weights))(fits)


@pytest.mark.parametrize("which", [0, 1])
def test_slopes_are_what_values_change_by(looked, which):
    analyst = looked[0]
    function, fits, lines = lines_of(looked, which)
    groups, count, _ = lines.scale.shape
    with double_precision():
        carried = jax.jit(lambda fits, lines: along(function, fits, lines))
        values, slopes = carried(fits, lines)
        for group in range(groups):
            for line in range(count):
                ends = []
                for sign in (1, -1):
                    step = {n: sign * STEP * lines.moves[n][group, line][fits[n].point] * lines.scale[group, line][:, None] for n in lines.moves}
                    shifted = {n: f._replace(draws={**f.draws, **{
                        k: f.draws[k] + v for k, v in jax.vmap(analyst.models[n].named)(step[n]).items()}}) for n, f in fits.items()}
                    ends.append(np.asarray(carried(shifted, lines)[0])[group])
                change = (ends[0] - ends[1]) / (2 * STEP)
                assert np.isfinite(change).all()
                # A later choice changes where a draw is within a step of it; nowhere else do the two differ.
                near = np.abs(change - np.asarray(slopes)[group, line]) > 1e-6 * (1 + np.abs(change))
                assert near.mean() < 0.01
    assert np.abs(slopes).max() > 0.01
    assert values.shape == (groups, slopes.shape[2], 64)


@pytest.mark.parametrize("which", [0, 1])
def test_lines_have_length_1_and_their_places_are_those_of_the_draws(looked, which):
    _, fits, lines = lines_of(looked, which)
    square, at = 0.0, 0.0
    for n, moves in lines.moves.items():
        precision = np.linalg.inv(np.asarray(fits[n].covariances))[fits[n].point]
        step = np.asarray(moves)[:, :, fits[n].point] * np.asarray(lines.scale)[..., None]
        square = square + np.einsum("glbp,bpq,glbq->glb", step, precision, step)
        at = at + np.einsum("glbp,bpq,bq->glb", step, precision, np.asarray(fits[n].deviations))
    assert square == pytest.approx(np.ones_like(square), rel=1e-6)
    assert np.asarray(lines.at) == pytest.approx(at, abs=1e-6)


def test_probabilities_along_lines_agree_with_draws_that_are_counted(looked):
    analyst, look, _ = looked
    options, size = len(analyst.study.decisions[0].options), 30
    columns = {"x": np.linspace(-1.5, 1.5, size)}
    values = look.options(0, np.zeros(size, int), columns, np.ones((size, options), bool))
    made = getattr(values, "made", values)
    counted = np.mean(made.draws == made.draws.max(axis=2, keepdims=True), axis=1)
    # 64 draws that are counted: their error is .06 at one half; lines have less.
    assert np.abs(values.p_best()[0] - counted).max() < 4 * 0.5 / 8
    assert np.abs(values.p_best()[0] - counted).mean() < 0.06
