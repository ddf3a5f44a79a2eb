"""Properties of decisions that once failed, each with the smallest study that shows it."""

import numpy as np
import pandas as pd
import pytest

from bayesdtr.decision import compare, optimize, prior_starts_best
from bayesdtr.decision.values import batch_error, thin_to, win_rates, wins
from bayesdtr.decision.world import World
from bayesdtr.errors import DecisionError
from bayesdtr.inference import fit
from bayesdtr.inference.prior import prior_draws
from bayesdtr.study import Baseline, Bernoulli, Decision, Normal, NormalInverseGamma, Response, Saturated, Study, when


def cohort(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"first": rng.choice(["p", "q"], n), "improved": rng.integers(0, 2, n), "second": rng.choice(["s", "t"], n)})
    data["y"] = 2.0 * ((data.second == "t") == (data.improved == 1)) + rng.normal(size=n)
    return data


def test_thinning_keeps_every_chain_whatever_the_number_of_draws():
    study = Study(Decision("first", ["p", "q"]), Response("y", Normal(), model=Saturated()), utility="y")
    posterior = fit(study, cohort(50, 0), seed=1, engine="exact", draws=4 * 1009)
    for most in (500, 3000, 10**6):
        world = thin_to(World.of(posterior), posterior, most)
        assert min(most, posterior.size) * 0.5 <= world.size <= max(most, 1) * 1.01 or world.size == posterior.size
    thinned = thin_to(World.of(posterior), posterior, 500)
    whole = posterior.draws("y")["mean"].reshape(4, 1009, -1)
    np.testing.assert_array_equal(thinned.draws["y"]["mean"], whole[:, ::9].reshape(-1, 2))


def test_a_reference_regime_sees_what_it_looks_at_even_where_no_model_does():
    timeline = (
        Decision("first", ["p", "q"]), Response("improved", Bernoulli(), model=Saturated()), Decision("second", ["s", "t"], tailoring=[]),
        Response("y", Normal(), model=Saturated(over=["first", "second"])),
    )
    study = Study(*timeline, utility="y", reference={"first": "p", "second": {when(improved=0): "s", when(improved=1): "t"}})
    posterior = fit(study, cohort(200, 1), seed=1, engine="exact", draws=4000)
    comparison = compare(posterior)
    mean, p = posterior.draws("y")["mean"], posterior.draws("improved")["probability"]
    cells = list(posterior.compiled("y").coords["cell"])
    s, t = mean[:, cells.index("p, s")], mean[:, cells.index("p, t")]
    assert comparison.reference_draws is not None
    np.testing.assert_allclose(comparison.reference_draws.ravel(), p[:, 0] * t + (1 - p[:, 0]) * s, rtol=1e-12)


def test_an_exact_tie_is_shared_and_named():
    study = Study(
        Decision("first", ["p", "q"]), Response("improved", Bernoulli(), model=Saturated()), Decision("second", ["s", "t"]),
        Response("y", Normal(), model=Saturated(over=["first", "improved"])), utility="y",
    )
    posterior = fit(study, cohort(100, 2), seed=1, engine="exact", draws=2000)
    line = optimize(posterior).recommend(pd.DataFrame({"first": ["p"], "improved": [1]}), every_option=True)
    assert line.p_best.tolist() == [0.5, 0.5] and line.mc_tie.all() and (line.regret == 0).all()
    shares = [r.p_best for r in compare(posterior).rows]
    assert len(set(shares[:4])) == 1 and abs(sum(shares) - 1) < 1e-12


def test_wins_share_and_agree():
    q = np.array([[[1.0, 1.0, 0.0], [0.0, 2.0, -np.inf]]])
    np.testing.assert_allclose(wins(q), [[[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]])
    many = np.random.default_rng(0).integers(0, 3, (50, 4, 3)).astype(float)
    np.testing.assert_allclose(win_rates(many), wins(many).mean(axis=0))


def test_log_odds_need_probabilities():
    study = Study(Decision("first", ["p", "q"]), Response("y", Normal(), model=Saturated()), utility="y")
    posterior = fit(study, cohort(60, 3), seed=1, engine="exact", draws=1000)
    with pytest.raises(DecisionError, match="needs values between 0 and 1, and they run from"):
        compare(posterior, scale="log-odds")


def test_the_prior_of_conjugate_cells_is_theirs():
    strong = Saturated(conjugate=NormalInverseGamma(mean=5.0, strength=50.0, shape=20.0, rate=20.0))
    study = Study(Decision("first", ["p", "q"]), Response("y", Normal(), model=strong), utility="y")
    posterior = fit(study, cohort(60, 4), seed=1, engine="exact", draws=1000)
    drawn = prior_draws(posterior, seed=1, draws=5000)["y"]["mean"]
    # mean ~ t with 40 degrees of freedom, location 5, scale sqrt(rate / shape / strength)
    sd = np.sqrt(20 / 20 / 50 * 40 / 38)
    assert abs(drawn.mean() - 5) < 4 * sd / np.sqrt(drawn.size) and abs(drawn.std() / sd - 1) < 0.03
    starts = prior_starts_best(posterior, seed=1)
    assert starts is not None and abs(starts["p"] - 0.5) < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.slow
def test_regression_knows_the_clusters():
    """Where the best option differs between sites, the regression route must say so, as the tree does."""
    rng = np.random.default_rng(5)
    n = 240
    data = pd.DataFrame({"x": rng.normal(size=n), "a": rng.choice(["s", "t"], n), "site": rng.choice(["u", "v", "w"], n)})
    effect = data.site.map({"u": 3.0, "v": -3.0, "w": 0.5})
    data["y"] = effect * (data.a == "t") + rng.normal(size=n)
    data["b"] = rng.choice(["k", "l"], n)
    data["z"] = data.y + 0.5 * (data.b == "k") + rng.normal(size=n)
    study = Study(
        Baseline("x"), Decision("a", ["s", "t"]), Response("y", Normal()), Decision("b", ["k", "l"]), Response("z", Normal()),
        utility="z", cluster="site",
    )
    posterior = fit(study, data, seed=1, draws=250, warmup=400, progress=False)
    tree, regression = optimize(posterior, method="tree"), optimize(posterior, method="regression")
    sites = pd.DataFrame({"x": [0.0, 0.0], "site": ["u", "v"]})
    assert tree.recommend(sites).option.tolist() == regression.recommend(sites).option.tolist() == ["t", "s"]
    a, b = tree.value(), regression.value()
    assert abs(a.mean - b.mean) < 0.1 * a.sd + 4 * (a.mcse + b.mcse)


def test_batch_error_of_independent_draws():
    draws = np.random.default_rng(0).normal(size=(4, 5000, 200))
    assert abs(np.median(batch_error(draws)) * np.sqrt(20000) - 1) < 0.1


def test_a_study_without_any_choice_prints():
    study = Study(Decision("first", ["only"]), Response("y", Normal(), model=Saturated()), utility="y")
    posterior = fit(study, cohort(30, 6).assign(first="only"), seed=1, engine="exact", draws=400)
    assert "no choice" in str(compare(posterior)) and max(map(len, str(compare(posterior)).splitlines())) <= 100
