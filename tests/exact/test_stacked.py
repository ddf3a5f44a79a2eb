"""A mixture of models against sums over paths: its optimal regime, and every rule under every model."""

import known
import numpy as np
import pytest
from test_enumeration import STUDIES, prove_posterior

from bayesdtr import Bernoulli, Decision, Normal, Response, Saturated, Study, Utility, optimize, when
from bayesdtr.decision.crossvalues import covering, cross_values, needs_regression
from bayesdtr.inference.stacked import STRATA, allocate, stack
from bayesdtr.model.mixture import MODEL

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def thinned_structure(study: Study) -> Study:
    """The same study with every response's cells formed by fewer variables."""
    nodes = []
    for node in study.timeline:
        if isinstance(node, Response):
            decision = [n.name for n in study.before(node.name) if isinstance(n, Decision)][-1]
            node = Response(node.name, node.family, model=Saturated(over=[decision]))
        nodes.append(node)
    return Study(*nodes, utility=study.utility)


def mixed_law(stacked, studies, draws, average: bool) -> known.Law:
    """What the mixture says, from each model's own law and the model that each draw belongs to."""
    laws = [known.cell_law(s, d, False) for s, d in zip(studies, draws, strict=True)]
    which = {r.name: stacked.draws(r.name)[MODEL] for r in stacked.study.responses}

    def law(name, history):
        parts = [one(name, history) for one in laws]
        pick = lambda columns: np.choose(which[name], [np.broadcast_to(c, which[name].shape) for c in columns])  # noqa: E731
        if stacked.study[name].support is not None:
            yes, no = pick([p[0][1] for p in parts]), pick([p[1][1] for p in parts])
            return [(1, yes.mean() if average else yes), (0, no.mean() if average else no)]
        mean = pick([p[0][0] for p in parts])
        return [(mean.mean() if average else mean, 1.0)]

    return law


def several(name: str, seed: int):
    """A study under two structures, with arbitrary draws and unequal weights."""
    study = STUDIES[name]()
    studies = [study, thinned_structure(study)]
    draws = [known.random_cells(s, seed + i) for i, s in enumerate(studies)]
    frame = known.cohort(study)
    posteriors = [known.posterior_with(s, d, frame, seed=seed) for s, d in zip(studies, draws, strict=True)]
    rng = np.random.default_rng(seed)
    weights = {r.name: (w, 1 - w) for r, w in zip(study.responses, rng.uniform(0.2, 0.8, len(study.responses)), strict=True)}
    return studies, draws, posteriors, weights


@pytest.mark.parametrize("name", STUDIES)
def test_the_mixture_against_every_deterministic_regime(name):
    studies, draws, posteriors, weights = several(name, 3)
    stacked = stack(posteriors, ["wide", "narrow"], weights)
    prove_posterior(stacked, mixed_law(stacked, studies, draws, True), mixed_law(stacked, studies, draws, False))


@pytest.mark.parametrize("name", ["by_response", "three_stages", "continuous_reward"])
def test_every_rule_under_every_model(name):
    """Rule of one model, value under another: sums over paths with the other's law, draw by draw, to rounding."""
    studies, draws, posteriors, weights = several(name, 9)
    stacked = stack(posteriors, ["wide", "narrow"], weights)
    together = {"wide": posteriors[0], "narrow": posteriors[1], "stacked": stacked}
    cover = covering(posteriors, ["wide", "narrow"])
    assert not needs_regression(cover)
    cross = cross_values(cover, together, {n: optimize(p) for n, p in together.items()})
    per_draw = {n: known.cell_law(s, d, False) for n, s, d in zip(together, studies, draws, strict=False)}
    average = {n: known.cell_law(s, d, True) for n, s, d in zip(together, studies, draws, strict=False)}
    per_draw["stacked"], average["stacked"] = (mixed_law(stacked, studies, draws, a) for a in (False, True))
    study = studies[0]
    plans = {n: max(known.all_regimes(study, average[n], {}), key=lambda pair: pair[0])[1] for n in together}
    assert len({tuple(sorted(p.items())) for p in plans.values()}) > 1  # else nothing is compared
    for rule, plan in plans.items():
        # A rule's plan holds the histories that it reaches; the model it is valued under reaches no others.
        for model in together:
            direct = known.value_of(study, lambda d, h, plan=plan: plan[known.key_of(study, d.name, h)], per_draw[model], {})
            np.testing.assert_allclose(cross.draws[rule, model].ravel(), direct, atol=1e-10, rtol=0)
    for n, p in together.items():
        np.testing.assert_allclose(cross.draws[n, n], optimize(p).value_draws, atol=1e-10, rtol=0)


def test_the_value_of_a_mixture_is_the_mixture_of_values():
    """One response with two models and one option each: value draws are those of the model that the draw belongs to."""
    study = Study(Decision("a", ["p", "q"]), Response("u", Normal(), model=Saturated()), utility="u")
    draws = [{"u": {"mean": np.full((2, 500, 2), v), "sigma": np.ones((2, 500))}} for v in (1.0, 5.0)]
    posteriors = [known.posterior_with(study, d) for d in draws]
    regime = optimize(stack(posteriors, ["low", "high"], {"u": (0.7, 0.3)}))
    assert regime.value().mean == pytest.approx(0.7 * 1 + 0.3 * 5, abs=4 / 1000)  # one draw in 1000 may fall to the other model
    assert set(np.round(regime.value_draws.ravel(), 10)) == {1.0, 5.0}


def test_models_are_independent_from_response_to_response():
    """Averages of products must be products of averages: shares of pairs of models are products of shares."""
    study = Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["y", "w"]}), Response("u", Normal(), model=Saturated()), utility=Utility({"u": 1.0}),
    )
    draws = known.random_cells(study, 1, per_chain=1000)
    posterior = known.posterior_with(study, draws)
    stacked = stack([posterior, posterior], ["one", "two"], {"r": (0.6, 0.4), "u": (0.25, 0.75)})
    r, u = (stacked.draws(n)[MODEL] for n in ("r", "u"))
    assert ((r == 0).mean(), (u == 0).mean()) == pytest.approx((0.6, 0.25), abs=0.001)
    both = ((r == 0) & (u == 0)).mean()
    assert abs(both - 0.6 * 0.25) < 4 * np.sqrt(0.15 * 0.85 / stacked.size)


@pytest.mark.parametrize("size", [1, 19, 240, 4001])
def test_shares_of_draws_are_the_weights(size):
    weights = (0.5, 0.0, 0.37, 0.13)
    which = allocate(weights, size, np.random.default_rng(2))
    counts = np.bincount(which, minlength=4)
    assert counts[1] == 0 and counts.sum() == size
    # Evenly spread starting points keep counts within a few draws; any thinned part is a fair sample up to chance.
    assert np.abs(counts - size * np.array(weights)).max() < 4
    if size > 1000:
        for step in (2, STRATA // 2, STRATA, 34):
            part = which[::step]
            shares = np.bincount(part, minlength=4) / len(part)
            assert (np.abs(shares - weights) < 4 * np.sqrt(0.25 / len(part))).all()
