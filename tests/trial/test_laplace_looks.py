"""Looks by Laplace's approximation against the analysis of the same data, the tree of histories, and plain quadrature."""

import laplace_designs as designs
import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.decision.induction import clairvoyant, following, solve
from bayesdtr.decision.world import Rows, World
from bayesdtr.errors import TrialError
from bayesdtr.trial.analysis import Analysis
from bayesdtr.trial.analysis import looked as looked_module
from bayesdtr.trial.analysis.laplace import LaplaceAnalyst
from bayesdtr.trial.analysis.looked import DrawnLook, TreePrograms
from bayesdtr.trial.observed import Observed

PATIENTS = {"x1": np.array([0.0, 1.0, -1.0, 0.5]), "x2": np.array([0.0, -1.0, 0.3, 2.0])}


def of_posterior(posterior, study, data):
    """The tree of looks over the draws of a posterior, as one trial."""
    draws = {r.name: {p: posterior.draws(r.name)[p][None] for p in posterior.compiled(r.name).parameters} for r in study.responses}
    return DrawnLook(TreePrograms(study, {r.name: posterior.compiled(r.name) for r in study.responses}), draws, data)


NORMAL = dtr.Study(
    dtr.Baseline("x", levels=["low", "high"]), dtr.Decision("a", ["p", "q"]), dtr.Response("c", dtr.Normal()),
    dtr.Decision("b", {dtr.when(c=dtr.below(0.2)): ["u", "v"], dtr.when(c=dtr.at_least(0.2)): ["u", "w", "v"]}),
    dtr.Response("tox", dtr.Ordinal(["none", "mild", "severe"])), dtr.Response("y", dtr.Bernoulli()),
    utility=dtr.Utility({"c": 0.2, "y": 1.0, "tox": {"none": 0.0, "mild": -0.1, "severe": -0.5}}, costs={"b": {"v": 0.05}}),
    scales={"c": (0.0, 1.0)},
)


def normal_data(n=60, seed=4):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(1, n))
    b = np.where(c < 0.2, rng.integers(0, 2, (1, n)), rng.integers(0, 3, (1, n)))
    columns = {"x": rng.integers(0, 2, (1, n)), "a": rng.integers(0, 2, (1, n)), "c": c, "b": b, "tox": rng.integers(0, 3, (1, n)).astype(float),
               "y": rng.integers(0, 2, (1, n)).astype(float)}
    return Observed(columns, None, np.zeros((1, n), dtype=int), np.ones((1, n), dtype=bool))


def test_values_are_those_of_the_tree_draw_by_draw():
    data = designs.looks([80], size=80)
    posterior = dtr.fit(designs.SMART, designs.frame(designs.SMART, data, 0), seed=2, engine="laplace", draws=64, chains=2)
    look = of_posterior(posterior, designs.SMART, data)
    regimes = designs.SMART.embedded()
    world = World.of(posterior, regimes)
    feasible = np.ones((4, 2), dtype=bool)
    ours = look.options(0, np.zeros(4, dtype=int), PATIENTS, feasible).draws
    theirs = next(solve(world, 0, Rows(PATIENTS, None, 4), [clairvoyant])).values[0]
    np.testing.assert_allclose(np.moveaxis(ours, 0, 1), theirs, rtol=1e-10)
    history = {**PATIENTS, "a": np.array([0, 1, 1, 0]), "r": np.array([0.0, 1.0, 0.0, 1.0])}
    feasible = designs.SMART.feasible("a2", history)
    ours = look.options(1, np.zeros(4, dtype=int), history, feasible).draws
    theirs = next(solve(world, 1, Rows(history, None, 4), [clairvoyant])).values[0]
    np.testing.assert_allclose(np.moveaxis(ours, 0, 1), theirs, rtol=1e-10)
    place, weight = looked_module.people(data.enrolled, True)
    patients = {n: data.columns[n][0, place[0]] for n in ("x1", "x2")}
    answers = list(solve(world, 0, Rows(patients, None, len(place[0])), [following(world, r) for r in regimes]))
    for e, rules in enumerate(regimes):
        option = int(designs.SMART.code("a", rules.by_decision["a"][dtr.Condition()]))
        wanted = np.concatenate([a.values[e][:, :, option] for a in answers], axis=1) @ weight[0]
        np.testing.assert_allclose(look.regimes().draws[0, :, e], wanted, rtol=1e-10)


@pytest.mark.slow
def test_normal_responses_tables_and_costs_agree_with_the_tree():
    data = normal_data()
    posterior = dtr.fit(NORMAL, designs.frame(NORMAL, data, 0), seed=2, engine="laplace", draws=32, chains=2)
    look = of_posterior(posterior, NORMAL, data)
    rows = {"x": np.array([0, 1])}
    ours = look.options(0, np.zeros(2, dtype=int), rows, np.ones((2, 2), dtype=bool)).draws
    theirs = next(solve(World.of(posterior), 0, Rows(rows, None, 2), [clairvoyant])).values[0]
    np.testing.assert_allclose(np.moveaxis(ours, 0, 1), theirs, atol=2e-3)
    history = {"x": np.array([0, 1]), "a": np.array([0, 1]), "c": np.array([-1.0, 1.5])}
    feasible = NORMAL.feasible("b", history)
    ours = look.options(1, np.zeros(2, dtype=int), history, feasible).draws
    theirs = next(solve(World.of(posterior), 1, Rows(history, None, 2), [clairvoyant])).values[0]
    np.testing.assert_allclose(np.moveaxis(ours, 0, 1), theirs, rtol=1e-9)


@pytest.fixture(scope="module")
def engine():
    return LaplaceAnalyst(designs.SMART, Analysis(draws=256), 80)


@pytest.fixture(scope="module")
def look(engine):
    data = designs.looks([30, 40, 60, 70, 80, 80], size=80)
    return data, engine.look(data, np.arange(6), 0)


def test_answers_do_not_depend_on_the_batch(engine, look):
    data, whole = look
    trial = np.repeat(np.arange(6), 4)
    columns = {n: np.tile(v, 6) for n, v in PATIENTS.items()}
    feasible = np.ones((24, 2), dtype=bool)
    asked = whole.options(0, trial, columns, feasible).draws
    for some in ([3], [4, 1], [5, 0, 2, 3]):
        part = engine.look(data.take(np.array(some)), np.array(some), 3)
        np.testing.assert_array_equal(part.regimes().draws, whole.regimes().draws[some])
        mine = np.isin(trial, some)
        at = np.array([some.index(t) for t in trial[mine]])
        again = part.options(0, at, {n: v[mine] for n, v in columns.items()}, feasible[mine]).draws
        np.testing.assert_array_equal(again, asked[mine])


@pytest.mark.slow
def test_probabilities_agree_with_corrected_fits(engine, look):
    data, ours = look
    arrays = {n: v for n, v in data.columns.items()}
    fits = dtr.fit_many(designs.SMART, arrays, seed=5, draws=4096, corrected=True)
    parameters = {r: c.parameters for r, c in engine.compiled.items()}
    known = {r: {p: v for p, v in d.items() if p in parameters[r]} for r, d in fits.draws.items()}
    exact = DrawnLook(TreePrograms(designs.SMART, engine.compiled), known, data)
    # Means have no error of their draws to be allowed for: those of the approximation itself are compared, with draws enough to forget them.
    fine = LaplaceAnalyst(designs.SMART, Analysis(draws=4096), 80).look(data, np.arange(6), 0)
    for answer in (lambda q: q.regimes(), lambda q: q.marginal(0, np.ones(2, dtype=bool)), lambda q: q.marginal(1, np.array([True, True, False]))):
        (p, error), (wanted, more) = answer(ours).p_best(), answer(exact).p_best()
        assert (np.abs(p - wanted) < 0.02 + 4 * np.hypot(error, more)).all()
        assert np.abs(answer(fine).mean() - answer(exact).mean())[np.isfinite(answer(fine).mean())].max() < 0.01


def test_probabilities_agree_with_the_regime_that_is_recommended(look):
    data, ours = look
    posterior = dtr.fit(designs.SMART, designs.frame(designs.SMART, data, 2), seed=2, engine="laplace", draws=2000, chains=2)
    regime = dtr.optimize(posterior)
    table = regime.recommend(pd.DataFrame(PATIENTS), every_option=True)
    p, error = ours.options(0, np.full(4, 2), PATIENTS, np.ones((4, 2), dtype=bool)).p_best()
    for j, option in enumerate(["p", "q"]):
        wanted = table.loc[table["option"] == option, "p_starts_best"].to_numpy()
        assert (np.abs(p[:, j] - wanted) < 0.02 + 4 * error[:, j] + 4 * 0.5 / np.sqrt(4000)).all()


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(TrialError, match=r"declared scales.*'x'"):
        LaplaceAnalyst(dtr.Study(dtr.Baseline("x"), dtr.Decision("a", ["p", "q"]), dtr.Response("y", dtr.Bernoulli()), utility="y"), Analysis(), 50)
    counts = dtr.Study(dtr.Decision("a", ["p", "q"]), dtr.Response("c", dtr.Poisson()), dtr.Decision("b", ["u", "v"]),
                       dtr.Response("y", dtr.Bernoulli()), utility="y", scales={"c": (2.0, 1.0)})
    with pytest.raises(TrialError, match=r"Response 'c'.*only discrete and Normal"):
        LaplaceAnalyst(counts, Analysis(), 50)
    cells = dtr.Study(dtr.Decision("a", ["p", "q"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
    with pytest.raises(TrialError, match="engine='nuts'"):
        LaplaceAnalyst(cells, Analysis(), 50)


@pytest.mark.slow
def test_threads_and_batches_leave_no_trace():
    """A batch that is divided among threads holds the records of its replicates simulated by themselves, to the last bit."""
    from bayesdtr.gallery import activity_smart as gallery
    from bayesdtr.trial.batch import run_batch

    one = lambda ids: run_batch(gallery.design, gallery.scenarios[1], np.asarray(ids), seed=1, keep="patients")  # noqa: E731
    whole = one(np.arange(150))
    for some in ([3], [149, 7, 70], list(range(40, 111))):
        for field, value in one(some).items():
            np.testing.assert_array_equal(value, whole[field][some], err_msg=field)
