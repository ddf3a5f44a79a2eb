"""No subgroup loses, max-min, lotteries: against brute force over the class and over fine grids of mixtures."""

import itertools

import known
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, when
from bayesdtr.decision.limits.lottery import best_lottery

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
REFERENCE = {"a": "p", "b": {when(r=0): "x", when(r=1): "go"}}


def study(seen: bool = True) -> Study:
    """Subgroups by sex: models see it in any case but where it is declared sensitive."""
    u = Saturated(over=["sex", "a", "b"] if seen else ["a", "b"])
    return Study(
        Baseline("sex", levels=["f", "m"], sensitive=not seen), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated(over=["a"])),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["go"]}), Response("u", Normal(), model=u), utility="u", reference=REFERENCE,
    )


def case(seed: int, **how):
    made = study()
    draws = known.random_cells(made, seed, per_chain=40)
    posterior = known.posterior_with(made, draws, seed=seed)
    return made, known.cell_law(made, draws, False), posterior, dtr.fair(posterior, "sex", **how)


def near_best(found) -> bool:
    """The optimal regime is settled by averages over draws, so that another may have the higher mean of draws by Monte Carlo error alone."""
    lead = found.draws[..., found.names.index(found.best)] - found.draws[..., 0]
    return lead.mean() <= 4 * lead.std() / np.sqrt(lead.size) + 1e-9


@settings(max_examples=10, deadline=None, phases=FOUND)
@given(seed=st.integers(0, 100_000), margin=st.sampled_from([0.0, 0.5]), probability=st.sampled_from([0.05, 0.3, 0.6]),
       objective=st.sampled_from(["value", "maxmin"]))
def test_against_brute_force_over_the_class(seed, margin, probability, objective):
    """Each subgroup has one history before the first decision, so that no weights enter its value: sums over paths give it."""
    made, law, posterior, found = case(seed, margin=margin, probability=probability, objective=objective)
    values = {}
    for name, rules in found.regimes.items():
        if name == "optimal":
            continue
        values[name] = [known.value_of(made, lambda d, h, r=rules: known.chosen(r, d, h), law, {"sex": s}) for s in "fm"]
    usual = [known.value_of(made, lambda d, h: known.chosen(made.reference, d, h), law, {"sex": s}) for s in "fm"]
    optimal = dtr.by_group(dtr.optimize(posterior), "sex")
    means, share = found.draws.mean(axis=(0, 1)), np.array(found.patients) / sum(found.patients)
    for r, name in enumerate(found.names):
        for g in range(2):
            if name == "optimal":
                assert found.group_draws[..., r, g].mean() == pytest.approx(optimal.rows[g].value.mean, abs=1e-10)
            else:
                np.testing.assert_allclose(found.group_draws[..., r, g].ravel(), values[name][g], atol=1e-10)
            gone = (found.group_draws[..., r, g].ravel() - usual[g] < -margin - 1e-9).mean()
            assert found.losses[r, g] == pytest.approx(gone, abs=1e-12)
        assert means[r] == pytest.approx(share @ found.group_draws[..., r, :].mean(axis=(0, 1)), abs=0.5)  # weights of patients vary by draw
    fit = [r for r in range(len(found.names)) if (found.losses[r] < probability).all()]
    key = (lambda r: means[r]) if objective == "value" else (lambda r: found.group_draws[..., r, :].mean(axis=(0, 1)).min())
    usual_rule = next(r for r, n in enumerate(found.names) if n == "p; x if r = 0")  # the reference: it never loses from itself
    assert usual_rule in fit and found.qualifies[fit].all() and found.qualifies.sum() == len(fit)
    assert key(found.names.index(found.chosen)) == max(key(r) for r in fit)
    assert found.price.mean >= -1e-12 and near_best(found)
    assert set(found.losers) == {g for g, p in zip(found.groups, found.losses[0], strict=True) if p >= probability}
    assert max(map(len, str(found).splitlines())) <= 100 and ("price of fairness" in str(found)) == (found.chosen != found.best)


def grid(regimes: int, steps: int):
    """All mixtures whose shares are whole multiples of 1 / steps."""
    for cut in itertools.combinations_with_replacement(range(regimes), steps):
        yield np.bincount(cut, minlength=regimes) / steps


@settings(max_examples=40, deadline=None, phases=FOUND)
@given(seed=st.integers(0, 100_000), objective=st.sampled_from(["value", "maxmin"]), floored=st.booleans(), size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_lottery_against_a_fine_grid_of_mixtures(seed, objective, floored, size):
    rng = np.random.default_rng(seed)
    by_group = size * (100 + rng.normal(0, 1, (4, 3)))
    means = by_group @ [0.5, 0.3, 0.2]
    floor = np.median(by_group, axis=0) - size * 0.2 if floored else None
    found = best_lottery(tuple("abcd"), means, by_group, floor, objective)
    key = (lambda w: w @ means) if objective == "value" else (lambda w: (w @ by_group).min())
    mixtures = [w for w in grid(4, 30) if floor is None or (w @ by_group >= floor).all()]
    if found is None:
        assert not mixtures
        return
    assert found.weights.sum() == pytest.approx(1) and (found.weights >= 0).all()
    assert floor is None or (found.group_values >= floor - 1e-6 * size).all()
    best = max((key(w) for w in mixtures), default=-np.inf)
    mine = found.value if objective == "value" else found.group_values.min()
    assert mine >= best - 1e-6 * size  # no mixture of the grid is better
    if floor is None:
        # and it is a mixture: within the grid's resolution of its best, since values are linear in the shares
        assert mine <= best + 4 / 30 * np.ptp(by_group) * 2
        if objective == "value":
            assert mine == pytest.approx(means.max(), rel=1e-9)


def test_a_lottery_can_do_what_no_regime_does():
    """Two regimes, each good for one subgroup; only their mixture is good enough for both."""
    by_group = np.array([[4.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    found = best_lottery(("one", "two", "usual"), by_group @ [0.5, 0.5], by_group, None, "maxmin")
    assert dict(found.shares) == pytest.approx({"one": 3 / 7, "two": 4 / 7}) and found.group_values == pytest.approx([12 / 7, 12 / 7])
    floored = best_lottery(("one", "two", "usual"), by_group @ [0.5, 0.5], by_group, np.array([1.0, 1.0]), "value")
    assert dict(floored.shares) == pytest.approx({"one": 2 / 3, "two": 1 / 3}) and floored.group_values[1] == pytest.approx(1.0)
    assert best_lottery(("one", "two", "usual"), by_group @ [0.5, 0.5], by_group, np.array([3.0, 3.0]), "value") is None


@settings(max_examples=6, deadline=None, phases=FOUND)
@given(seed=st.integers(0, 100_000))
def test_groups_that_fare_alike_cost_nothing(seed):
    """A model that does not see the groups gives them one value, up to the weights of their patients, here of a single history."""
    made = study(seen=False)
    draws = known.random_cells(made, seed, per_chain=40)
    posterior = known.posterior_with(made, draws, known.cohort(Study(Baseline("sex", levels=["f", "m"]), *made.timeline, utility="u")), seed=seed)
    found = dtr.fair(posterior, "sex", against=None, objective="maxmin")
    np.testing.assert_array_equal(found.group_draws[..., 0], found.group_draws[..., 1])
    assert found.chosen == found.best and found.price.mean == 0 and "no price" in str(found) and near_best(found)
    assert not found.visible and found.losses is None and found.lottery.value == pytest.approx(found.draws.mean(axis=(0, 1)).max(), abs=1e-9)


def unseen():
    """A column for the audit only that goes with one the model sees: at site one, where group b is treated, the new treatment is worse."""
    made = Study(Baseline("race", levels=["b", "w"], sensitive=True), Baseline("site", levels=["one", "two"]), Decision("a", ["old", "new"]),
                 Response("u", Normal(), model=Saturated(over=["site", "a"])), utility="u", reference={"a": "old"})
    rng = np.random.default_rng(1)
    means = np.array([1.0, 0.2, 1.0, 2.0])
    draws = {"u": {"mean": rng.normal(means, 0.05, (2, 500, 4)), "sigma": np.ones((2, 500))}}
    frame = pd.DataFrame({"race": ["b"] * 20 + ["w"] * 40, "site": ["one"] * 20 + ["two"] * 40, "a": ["old", "new"] * 30, "u": rng.normal(size=60)})
    return known.posterior_with(made, draws, frame)


BOTH = {"new for all": {"a": "new"}, "old for all": {"a": "old"}}


def test_in_a_class_of_simple_regimes_fairness_has_a_price():
    posterior = unseen()
    found = dtr.fair(posterior, "race", over=BOTH)
    assert found.best == "new for all" and found.losers == ("race = b",) and found.chosen == "old for all"
    cells = posterior.draws("u")["mean"].mean(axis=0)
    shares = found.draws.mean(axis=(0, 1))  # of a third at site one, with its Bayesian bootstrap
    assert found.price.mean == pytest.approx(shares[0] - shares[1]) and found.price.mean == pytest.approx(2 / 3 - 0.8 / 3, abs=0.03)
    assert found.group_draws[..., 0, 0].mean() == pytest.approx(cells[1]) and found.group_draws[..., 1, 1].mean() == pytest.approx(cells[2])
    assert found.lottery.shares == (("old for all", 1.0),)
    text = " ".join(str(found).split())
    assert "under it too probably lose: race = b (P(loss) 1.000, mean gain -0.8" in text and "price of fairness" in text and "drawn once" not in text
    wide = dtr.fair(posterior, "race", over=BOTH, margin=0.4)
    share = 0.4 / (cells[0] - cells[1])
    assert wide.chosen == "old for all" and dict(wide.lottery.shares) == pytest.approx({"new for all": share, "old for all": 1 - share}, abs=1e-6)
    assert wide.lottery_price.mean == pytest.approx((1 - share) * found.price.mean, abs=1e-6) and "drawn once for each patient" in str(wide)
    tailored = dtr.fair(posterior, "race", over={**BOTH, "best": dtr.optimize(posterior)})  # by site: what harms group b is seen
    assert tailored.chosen == tailored.best == "best" and "best is the best for every subgroup" in str(tailored)


def test_not_possible_is_said():
    found = dtr.fair(unseen(), "race", over={"new for all": {"a": "new"}})
    assert found.chosen is None and found.regime is None and found.price is None and found.lottery is None and found.lottery_price is None
    text = " ".join(str(found).split())
    assert "not possible. No regime of this class" in text and "the closest, new for all, has 1.000 for race = b" in text
    assert "Lottery: not possible" in text and not found.frame()["qualifies"].any()


def test_the_best_within_safety_gates_is_judged_as_such():
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 5, per_chain=40), seed=5)
    gate = dtr.SafetyGate("r", below=0.5, probability=0.4)
    safe = dtr.optimize(posterior, safety=gate, default={"a": "p"})
    found = dtr.fair(posterior, "sex", over={"usual": REFERENCE, "safe": safe})
    np.testing.assert_allclose(found.draws[..., 1], safe.value_draws, atol=1e-12)
    assert found.group_draws[..., 1, 0].mean() == pytest.approx(dtr.by_group(safe, "sex").rows[0].value.mean, abs=1e-12)


def test_what_is_simulated_agrees_with_the_tree():
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 5, per_chain=40), seed=5)
    exact, drawn = (dtr.fair(posterior, "sex", over={"fit": dtr.optimize(posterior, method=m), "usual": REFERENCE}) for m in ("tree", "regression"))
    np.testing.assert_allclose(exact.group_draws.mean(axis=(0, 1)), drawn.group_draws.mean(axis=(0, 1)), atol=0.15)
    assert "simulation" in drawn.method and drawn.names == exact.names


def test_the_frame_has_every_regime_and_subgroup():
    *_, found = case(3)
    table = found.frame()
    assert len(table) == len(found.names) * 2 and set(table["regime"]) == set(found.names)
    row = table[(table["regime"] == "optimal") & (table["group"] == "sex = m")].iloc[0]
    assert row["value"] == pytest.approx(found.group_draws[..., 0, 1].mean()) and row["p_loss"] == found.losses[0, 1]


@pytest.mark.parametrize(("how", "words"), [
    ({"groups": "sx"}, r"fair: 'sx' is no covariate.*did you mean 'sex'"), ({"margin": -1}, "margin is a finite number"),
    ({"probability": 0}, "probability lies between"), ({"objective": "max-min"}, "did you mean 'maxmin'"), ({"against": None}, "objective='maxmin'"),
    ({"against": "usual"}, "against is a written regime"), ({"over": {}}, "over is a mapping of names"),
    ({"over": {"x": {"a": "z", "b": "x"}}}, "'z' is not an option"),
])
def test_what_does_not_fit_is_refused(how, words):
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 1), seed=1)
    with pytest.raises(dtr.BayesDTRError, match=words):
        dtr.fair(posterior, **{"groups": "sex", **how})
    other = dtr.optimize(known.posterior_with(made, known.random_cells(made, 2), seed=1))
    with pytest.raises(dtr.DecisionError, match="of another posterior"):
        dtr.fair(posterior, "sex", over={"x": other})
    with pytest.raises(dtr.DecisionError, match="names no reference"):
        dtr.fair(known.posterior_with(Study(*made.timeline, utility="u"), known.random_cells(made, 1)), "sex")
