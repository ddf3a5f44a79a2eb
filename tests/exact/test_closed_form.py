"""A Normal response before the last decision, integrated in closed form, against adaptive quadrature of the same models."""

import dataclasses
import itertools

import numpy as np
import pytest
from known import posterior_with
from scipy.integrate import quad
from scipy.stats import norm

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Study, Utility, at_least, below, when
from bayesdtr.decision import induction
from bayesdtr.decision.induction import clairvoyant, committed, solve
from bayesdtr.decision.lines import envelope, straight
from bayesdtr.decision.world import Rows, World
from bayesdtr.model import compile_response

OPTIONS = ["a", "b", "c"]
TIMELINE = (
    Baseline("x"), Decision("first", OPTIONS), Response("r", Bernoulli()),
    Decision("second", {when(r=0): ["s", "t", "u"], when(r=1): ["s", "t"]}), Response("y", Normal()),
    Decision("third", {when(r=0): OPTIONS, when(r=1): ["b", "c"]}), Response("z", Normal()),
)
STUDY = Study(*TIMELINE, utility=Utility({"y": 0.5, "z": 1.0}, costs={"second": {"t": 0.3}, "third": {"c": 0.2}}))


def draws_of(study, chains=2, each=5, spread=0.3, seed=4):
    """Arbitrary draws of every coefficient."""
    rng, found = np.random.default_rng(seed), {}
    for response in study.responses:
        compiled = compile_response(study, response.name)
        found[response.name] = {}
        for name in compiled.parameters:
            shape = tuple(len(compiled.coords[d]) for d in compiled.dims.get(name, ()))
            noise = rng.normal(0, spread, (chains, each, *shape))
            scale = name in ("sigma", "tau", "tau_interaction")
            found[response.name][name] = np.exp(noise) if scale else rng.normal(0, 1, shape) + noise
    return found


@pytest.fixture(scope="module")
def posterior():
    return posterior_with(STUDY, draws_of(STUDY))


ROWS = Rows({"x": np.array([-1.0, 0.4, 1.7]), "first": np.array([0, 2, 1]), "r": np.array([0.0, 1.0, 0.0])}, None, 3)


def asked(world, stage, rows):
    answers = list(solve(world, stage, rows, [committed, clairvoyant]))
    return np.concatenate([a.qbar for a in answers]), [np.concatenate([a.values[k] for a in answers], axis=1) for k in range(2)]


def literal(world, row, second):
    """By adaptive quadrature over `y`: the committed value averaged over draws, and committed and clairvoyant values of each draw."""
    here = ROWS.take(np.array([row])).put("second", np.array([second]))
    moments = world.look("y", here, "moments")[:, 0]
    feasible = (0, 1, 2) if ROWS.columns["r"][row] == 0 else (1, 2)
    ends = []
    for option in feasible:
        at = here.take(np.zeros(2, dtype=int)).put("y", np.array([0.0, 1.0])).put("third", np.full(2, option))
        value = world.look("z", at, "mean") - (0.2 if option == 2 else 0.0)
        ends.append((value[:, 0], value[:, 1] - value[:, 0]))
    level, slope = (np.stack(v, axis=1) for v in zip(*ends, strict=True))
    mean_level, mean_slope = level.mean(axis=0), slope.mean(axis=0)
    pairs = [(i, j) for i in range(len(feasible)) for j in range(i)]
    kinks = [-(mean_level[i] - mean_level[j]) / (mean_slope[i] - mean_slope[j]) for i, j in pairs]
    cost = 0.3 if second == 1 else 0.0

    def over(f, mu, sigma, breaks):
        bounds = np.clip([mu - 9 * sigma, *sorted(breaks), mu + 9 * sigma], mu - 9 * sigma, mu + 9 * sigma)
        return sum(quad(lambda y: f(y) * norm.pdf(y, mu, sigma), a, b, epsabs=1e-11)[0] for a, b in itertools.pairwise(bounds) if b > a)

    def line(y, k, level=level, slope=slope):
        return level[k] + slope[k] * y

    average = np.mean([over(lambda y: 0.5 * y + (mean_level + mean_slope * y).max(), m, s, kinks) for m, s in moments]) - cost
    follow, best = [], []
    for b, (m, s) in enumerate(moments):
        follow.append(over(lambda y, b=b: 0.5 * y + line(y, b)[(mean_level + mean_slope * y).argmax()], m, s, kinks) - cost)
        own = [-(level[b, i] - level[b, j]) / (slope[b, i] - slope[b, j]) for i, j in pairs]
        best.append(over(lambda y, b=b: 0.5 * y + line(y, b).max(), m, s, own) - cost)
    return average, follow, best


def test_against_adaptive_quadrature(posterior):
    world = World.of(posterior)
    assert straight(world, "y")
    qbar, (follow, best) = asked(world, 1, ROWS)
    for row in range(3):
        for second in range(3 if ROWS.columns["r"][row] == 0 else 2):
            average, one, other = literal(world, row, second)
            assert qbar[row, second] == pytest.approx(average, abs=1e-9)
            np.testing.assert_allclose(follow[:, row, second], one, atol=1e-9)
            np.testing.assert_allclose(best[:, row, second], other, atol=1e-9)
    assert qbar[1, 2] == -np.inf


def test_the_grid_tends_to_it(posterior, monkeypatch):
    """From the first decision on, a grid four times as fine comes closer, and close."""
    world = World.of(posterior)
    start = Rows({"x": np.array([-0.5, 0.8])}, None, 2)
    qbar, values = asked(world, 0, start)
    monkeypatch.setattr(induction, "straight", lambda *_: False)
    gaps = []
    for fine in (1, 4):
        grid, tables = asked(dataclasses.replace(world, grid=96 * fine), 0, start)
        gaps.append([np.abs(grid - qbar).max(), *(np.abs(a - b).max() for a, b in zip(tables, values, strict=True))])
    assert max(gaps[0]) < 0.1 and gaps[1][0] < 2e-4 and gaps[1][2] < 2e-4
    assert all(b < a for a, b in zip(*gaps, strict=True))


def test_envelopes():
    """Against the largest line at many points; infeasible lines, equal slopes and equal lines among them."""
    rng = np.random.default_rng(3)
    alpha, beta = rng.integers(-3, 4, (500, 4)).astype(float), rng.integers(-2, 3, (500, 4)).astype(float)
    feasible = rng.random((500, 4)) < 0.8
    order, cuts = envelope(alpha, beta, feasible)
    for y in rng.normal(0, 3, 60):
        place = (y > cuts).sum(axis=1)
        chosen = np.take_along_axis(order, place[:, None], axis=1)[:, 0]
        lines = np.where(feasible, alpha + beta * y, -np.inf)
        some = feasible.any(axis=1)
        np.testing.assert_allclose(lines[some, chosen[some]], lines[some].max(axis=1), atol=1e-12)
    same = envelope(np.zeros((1, 3)), np.zeros((1, 3)), np.ones((1, 3), dtype=bool))
    assert same[0][0, (same[1][0] < 0.0).sum()] == 0  # of equal lines the first listed


THIRD = {when(y=at_least(0.3)): ["b"], when(y=below(0.3)): OPTIONS}


@pytest.mark.parametrize("what", ["threshold", "count", "curve", "shared", "watched"])
def test_where_it_does_not_hold(what):
    """Thresholds of the response, other families, curves, shared parameters and regimes that look at it are left to the grid."""
    parts = list(TIMELINE)
    if what == "threshold":
        parts[5] = Decision("third", THIRD)
    if what == "count":
        parts[4] = Response("y", dtr.Poisson())
    if what == "curve":
        parts[6] = Response("z", Normal(), model=dtr.Hierarchical(covariates="x + r + s(y)"))
    study = Study(*parts, utility="z", patient_effects=["y", "z"] if what == "shared" else [])
    scales = {n: STUDY_SCALE for n in ("x", "y", "z")}
    world = World(study, {r.name: compile_response(study, r.name) for r in study.responses}, scales, {}, 1,
                  {"y": (0.0,)} if what == "watched" else {})
    assert not straight(world, "y")


STUDY_SCALE = dtr.study.study.Scale(0.0, 1.0)
