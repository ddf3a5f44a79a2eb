"""Backward induction against the enumeration of every deterministic regime, for known draws of saturated cells."""

import itertools

import known
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, Utility, compare, one_of, optimize, when

EPSILON, ALPHA = 0.4, 0.25
CELLS = {"model": Saturated()}
# A dozen arbitrary draws converge to nothing; that the verdict says so is not at stake here.
pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def by_response() -> Study:
    """Two stages; two or three options after a response, and the sets share an option."""
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["y", "w"]}), Response("u", Normal(), **CELLS),
        utility="u",
    )


def by_earlier_decision() -> Study:
    """Baseline levels; three first options; two responses in a stage; sets by the first option and a response; discount."""
    return Study(
        Baseline("sex", levels=["f", "m", "o"]),
        Decision("a", ["p", "q", "s"]), Response("r", Bernoulli(), **CELLS), Response("harm", Bernoulli(), **CELLS),
        Decision("b", {when(a="s"): ["stop"], when(a=one_of("p", "q"), r=0): ["x", "y"], when(a=one_of("p", "q"), r=1): ["x", "stop"]}),
        Response("u", Normal(), model=Saturated(over=["a", "r", "b"])), Response("late", Bernoulli(), model=Saturated(over=["sex", "harm", "b"])),
        utility=Utility({"r": 2.0, "harm": -1.5, "u": 1.0, "late": -0.7}, discount=0.8),
    )


def three_stages() -> Study:
    """Three stages with rewards in each; those who respond at the second need no third decision."""
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["go"]}), Response("s", Bernoulli(), **CELLS),
        Decision("c", {when(s=0): ["m", "n", "k"], when(s=1): ["end"]}), Response("u", Normal(), **CELLS),
        utility=Utility({"r": 1.0, "s": 0.5, "u": 1.0}, discount=0.9),
    )


def continuous_reward() -> Study:
    """A continuous reward of the first stage that nothing later looks at; a binary end."""
    return Study(
        Decision("a", ["p", "q", "s"]), Response("gain", Normal(), **CELLS), Response("r", Bernoulli(), model=Saturated(over=["a"])),
        Decision("b", {when(a="p"): ["x", "y"], when(a=one_of("q", "s")): ["y", "z"]}),
        Response("u", Bernoulli(), model=Saturated(over=["a", "r", "b"])),
        utility=Utility({"gain": 0.4, "u": 3.0}),
    )


STUDIES = {f.__name__: f for f in (by_response, by_earlier_decision, three_stages, continuous_reward)}


def prove(study: Study, seed: int, per_chain: int = 12) -> None:
    """Draw arbitrary cells and prove what follows from them."""
    draws = known.random_cells(study, seed, per_chain=per_chain)
    prove_posterior(known.posterior_with(study, draws, seed=seed), known.cell_law(study, draws, True), known.cell_law(study, draws, False))


def prove_posterior(posterior, averaged: known.Law, per_draw: known.Law) -> None:
    """Everything that optimize and compare say about a discrete study, against sums over paths.

    1e-8 and 1e-10 are bounds on rounding: sums of at most a few hundred products of numbers near 1.
    """
    study = posterior.study
    regime = optimize(posterior)
    for decision in study.decisions:
        position = study.names.index(decision.name)
        before = [h for h in known.histories(study, decision.name) if len(known.offered(decision, h))]
        shown = regime.recommend(known.frame_of(before) if before != [{}] else known.frame_of([{"row": 0}]), every_option=True)
        found = {(str(line.patient), line.option): line for line in shown.itertuples() if line.decision == decision.name}
        sets = regime.sets(known.frame_of(before) if before != [{}] else known.frame_of([{"row": 0}]), epsilon=EPSILON, alpha=ALPHA)
        margins = {(str(line.patient), line.option): line for line in sets.itertuples() if line.decision == decision.name}
        assert set(margins) == set(found)
        for row, history in enumerate(before, start=1):
            options = known.offered(decision, history)
            if decision.name != _due(study, history):
                continue
            plans = known.all_regimes(study, averaged, history, position)
            name = known.key_of(study, decision.name, history)
            committed = {o: max((v, i) for i, (v, plan) in enumerate(plans) if plan[name] == o) for o in options}
            every = known.all_regimes(study, per_draw, history, position)
            clairvoyant = {o: np.max([v for v, plan in every if plan[name] == o], axis=0) for o in options}
            best = max(options, key=lambda o: committed[o][0])
            followed = {o: every[committed[o][1]][0] for o in options}
            assert set(o for p, o in found if p == str(row)) == set(options)
            for o in options:
                line = found[str(row), o]
                assert line.expected_utility == pytest.approx(committed[o][0], abs=1e-8)
                assert line.recommended == (o == best)
                wins = np.all([followed[o] >= followed[other] for other in options], axis=0).mean()
                starts = np.all([clairvoyant[o] >= clairvoyant[other] for other in options], axis=0).mean()
                assert (line.p_best, line.p_starts_best) == pytest.approx((wins, starts), abs=1e-12)
                # The options' clairvoyant values are never below what the committed continuation gives.
                assert (clairvoyant[o] >= followed[o] - 1e-10).all()
            _prove_sets({o: margins[str(row), o] for o in options}, committed, followed, best)
            ceiling = np.max([clairvoyant[o] for o in options], axis=0).mean()
            assert found[str(row), best].regret == pytest.approx(max(ceiling - followed[best].mean(), 0.0), abs=1e-8)
    _prove_values(study, posterior, regime, averaged, per_draw)


def _prove_sets(lines, committed, followed, best) -> None:
    """Margins draw by draw, and the set against every subset of the options."""
    top = np.max(list(followed.values()), axis=0)
    for o, line in lines.items():
        assert line.shortfall == pytest.approx(committed[best][0] - committed[o][0], abs=1e-8)
        assert line.near_best == (line.shortfall <= EPSILON)
        assert line.p_near_best == pytest.approx((followed[o] >= top - EPSILON).mean(), abs=1e-12)
        assert line.p_equivalent == pytest.approx((np.abs(followed[o] - followed[best]) <= EPSILON).mean(), abs=1e-12)
    member = [o for o, line in lines.items() if line.in_set]
    holds = {s: sum(lines[o].p_best for o in s) for n in range(len(lines) + 1) for s in itertools.combinations(lines, n)}
    assert all(line.set_probability == pytest.approx(holds[tuple(member)]) for line in lines.values())
    least = min(len(s) for s, p in holds.items() if p >= 1 - ALPHA - 1e-12)
    weakest = min(lines[o].p_best for o in member)
    assert sum(lines[o].p_best > weakest + 1e-12 for o in member) < least <= len(member)
    assert all(line.in_set == (line.p_best >= weakest - 1e-12) for line in lines.values())


def _due(study: Study, history: dict) -> str:
    """The decision that `recommend` answers: the first one not made."""
    return next(d.name for d in study.decisions if d.name not in history)


def _prove_values(study, posterior, regime, averaged, per_draw) -> None:
    """Values of the committed and the embedded regimes, draw by draw."""
    starts = [h for h in known.histories(study, study.decisions[0].name)]
    plans = [max(known.all_regimes(study, averaged, h), key=lambda pair: pair[0])[1] for h in starts]
    union = {key: option for plan in plans for key, option in plan.items()}
    shares = _population(study, posterior, starts)
    committed = sum(
        w * known.value_of(study, lambda d, h: union[known.key_of(study, d.name, h)], per_draw, h0) for w, h0 in zip(shares, starts, strict=True)
    )
    np.testing.assert_allclose(regime.value_draws.ravel(), committed, atol=1e-10, rtol=0)
    table = compare(posterior)
    drawn = table.draws["value"].values.reshape(posterior.size, -1)
    assert drawn.shape[1] == len({row.rules for row in table.rows})  # no regime twice
    for e, row in enumerate(table.rows):
        direct = sum(
            w * known.value_of(study, lambda d, h, rules=row.rules: known.chosen(rules, d, h), per_draw, h0)
            for w, h0 in zip(shares, starts, strict=True)
        )
        np.testing.assert_allclose(drawn[:, e], direct, atol=1e-10, rtol=0)


def _population(study, posterior, starts):
    """Bayesian-bootstrap shares of the baseline cells, one array per cell; their law is tested apart."""
    from bayesdtr.decision.values import baseline_rows, population_weights
    from bayesdtr.decision.world import World

    if not study.baselines:
        return [1.0]
    distinct, inverse = baseline_rows(posterior).unique()
    weights = population_weights(World.of(posterior), inverse, distinct.n, posterior.seed)
    (baseline,) = study.baselines
    codes = [int(c) for c in distinct.columns[baseline.name]]
    return [weights[:, codes.index(baseline.levels.index(h[baseline.name]))] for h in starts]


@pytest.mark.parametrize("name", STUDIES)
def test_every_deterministic_regime(name):
    prove(STUDIES[name](), seed=11)


def test_baseline_shares_follow_the_dirichlet_of_the_counts():
    from bayesdtr.decision.values import population_weights

    class Sized:
        size = 40_000

    inverse = np.repeat([0, 1, 2], [5, 12, 33])
    weights = population_weights(Sized, inverse, 3, 7)
    p = np.array([5, 12, 33]) / 50
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    sd = np.sqrt(p * (1 - p) / 51)  # Dirichlet(5, 12, 33)
    assert (np.abs(weights.mean(axis=0) - p) < 4 * sd / np.sqrt(Sized.size)).all()
    # The SD of a sample SD is about sd / sqrt(2 n); skewness adds little.
    assert (np.abs(weights.std(axis=0) - sd) < 6 * sd / np.sqrt(2 * Sized.size)).all()


# ---- trees made up by hypothesis ----------------------------------------------------------------------


@st.composite
def studies(draw) -> Study:
    """A discrete study of one to three stages with feasible sets by response or earlier decision."""
    stages = draw(st.integers(1, 3))
    nodes, responses, previous = [], [], None
    for k in range(stages):
        labels = [f"{'abc'[k]}{i}" for i in range(draw(st.integers(2, 3 if stages < 3 else 2)))]
        kind = draw(st.sampled_from(["all", "response", "decision"])) if k else "all"
        some = labels[: draw(st.integers(1, len(labels)))]
        if kind == "response":
            options = {when(**{responses[-1]: 0}): labels, when(**{responses[-1]: 1}): some}
        elif kind == "decision":
            options = {when(**{previous.name: previous.options[0]}): labels, when(**{previous.name: one_of(*previous.options[1:])}): some}
        else:
            options = labels
        previous = Decision("ABC"[k], options)
        nodes.append(previous)
        last = k == stages - 1
        nodes.append(Response(f"r{k}", Normal() if last and draw(st.booleans()) else Bernoulli(), **CELLS))
        responses.append(f"r{k}")
    weights = {f"r{k}": draw(st.sampled_from([-1.0, 0.5, 2.0])) for k in range(stages) if k == stages - 1 or draw(st.booleans())}
    return Study(*nodes, utility=Utility(weights, discount=draw(st.sampled_from([1.0, 0.7]))))


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(study=studies(), seed=st.integers(0, 1000))
def test_made_up_trees(study, seed):
    prove(study, seed, per_chain=4)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(study=studies(), seed=st.integers(0, 10_000))
def test_many_made_up_trees(study, seed):
    prove(study, seed, per_chain=4)


def test_enumeration_itself_counts_the_regimes():
    """A two-stage tree with two options everywhere has 2 x 2 x 2 regimes as far as they can be told apart, a check of the checker."""
    study = Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS), Decision("b", ["x", "y"]), Response("u", Normal(), **CELLS), utility="u")
    law = known.cell_law(study, known.random_cells(study, 1), True)
    plans = [tuple(sorted(plan.items())) for _, plan in known.all_regimes(study, law, {})]
    assert len(plans) == len(set(plans)) == 8
    assert len(list(itertools.chain(known.histories(study, "b")))) == 4
