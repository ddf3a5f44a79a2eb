"""Regimes that draw options by lot, against sums over every path, and by simulation."""

import known
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from test_enumeration import STUDIES, _population

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Lottery, Normal, Response, Saturated, Study, at_least, below, when
from bayesdtr.decision.rollout import VALUING, following_rules, luck
from bayesdtr.decision.world import World
from bayesdtr.study import Rules, written

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}


def by_lot(study: Study, rng: np.random.Generator, only: str | None = None) -> Rules:
    """Unequal lotteries in every stratum with a choice; or at one decision alone, the first feasible option elsewhere."""
    tables = {}
    for d in study.decisions:
        table = {}
        for condition, options in d.choices:
            if len(options) > 1 and only in (None, d.name):
                table[condition] = Lottery(dict(zip(options, rng.dirichlet(np.ones(len(options))), strict=True)))
            elif len(options) > 1:
                table[condition] = options[0]
        if table:
            tables[d.name] = table
    return written(study, tables)


def by_paths(study: Study, posterior, rules: Rules, law: known.Law) -> np.ndarray:
    """Value of a regime under each draw, shape (draw,)."""
    starts = list(known.histories(study, study.decisions[0].name))
    shares = _population(study, posterior, starts)
    return sum(w * known.value_of(study, lambda d, h: known.drawn(rules, d, h), law, h0) for w, h0 in zip(shares, starts, strict=True))


@pytest.mark.parametrize("name", STUDIES)
def test_values_are_sums_over_every_path(name):
    study, rng = STUDIES[name](), np.random.default_rng(5)
    draws = known.random_cells(study, 3)
    posterior, law = known.posterior_with(study, draws, seed=3), known.cell_law(study, draws, False)
    regimes = {"all by lot": by_lot(study, rng), "trial": dtr.as_assigned(study), "even": dtr.at_random(study)}
    regimes |= {f"by lot at {d.name}": by_lot(study, rng, d.name) for d in study.decisions}
    found = dtr.compare(posterior, regimes=regimes)
    for e, rules in enumerate(regimes.values()):
        assert rules.stochastic
        direct = by_paths(study, posterior, rules, law)
        np.testing.assert_allclose(found.draws["value"].values[..., e].ravel(), direct, atol=1e-10, rtol=0)
    assert all(r.value.mean < max(e.value.mean for e in dtr.compare(posterior).rows) for r in found.rows)


def test_a_lottery_with_one_outcome_is_that_option():
    """The same to rounding as the deterministic regime, draw by draw, in values, sets and counts of patients."""
    study = STUDIES["by_earlier_decision"]()
    posterior = known.posterior_with(study, known.random_cells(study, 8), seed=8)
    plain = dict(list({r.label: r for r in study.embedded()}.items())[:6])
    sure = {n: Rules(tuple((d, tuple((c, Lottery({o: 1.0})) for c, o in b)) for d, b in r.decisions)) for n, r in plain.items()}
    a, b = dtr.compare(posterior, regimes=plain), dtr.compare(posterior, regimes=sure)
    np.testing.assert_allclose(a.draws["value"].values, b.draws["value"].values, atol=1e-12, rtol=0)
    assert [r.patients for r in a.rows] == [r.patients for r in b.rows]
    assert [r.in_best_set for r in a.rows] == [r.in_best_set for r in b.rows]


def two_stage(**how) -> Study:
    return Study(
        Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated(over=["sex", "a"])),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["go"]}), Response("u", Normal(), model=Saturated(over=["sex", "a", "b"])),
        utility="u", **how,
    )


def test_a_reference_by_lot_in_contrasts_gains_and_subgroups():
    lots = {"a": Lottery({"p": 0.25, "q": 0.75}), "b": {when(r=0, a="p"): Lottery({"x": 0.9, "y": 0.1}), when(r=0, a="q"): "y", when(r=1): "go"}}
    study = two_stage(reference=lots)
    draws = known.random_cells(study, 4)
    posterior = known.posterior_with(study, draws, seed=4)
    averaged, law = known.cell_law(study, draws, True), known.cell_law(study, draws, False)
    regime, standard = dtr.optimize(posterior), by_paths(study, posterior, study.reference, law)
    table = dtr.compare(posterior, against=regime)
    values = table.draws["value"].values.reshape(posterior.size, -1)
    for e, row in enumerate(table.rows):
        assert row.contrast.mean == pytest.approx((values[:, e] - standard).mean(), abs=1e-10)
        assert row.contrast.sd == pytest.approx((values[:, e] - standard).std(ddof=1), abs=1e-10)
    gain = dtr.compare(posterior, regimes={"standard": study.reference}, against=regime).rows[0].gain
    assert (gain.mean, gain.sd) == pytest.approx([f(regime.value_draws.ravel() - standard) for f in (np.mean, lambda d: d.std(ddof=1))], abs=1e-10)
    for group, sex in zip(dtr.by_group(regime, "sex").rows, "fm", strict=True):
        start = {"sex": sex}
        _, plan = max(known.all_regimes(study, averaged, start), key=lambda pair: pair[0])
        mine = known.value_of(study, lambda d, h, plan=plan: plan[known.key_of(study, d.name, h)], law, start)
        other = known.value_of(study, lambda d, h: known.drawn(study.reference, d, h), law, start)
        assert (group.gain.mean, group.gain.sd) == pytest.approx(((mine - other).mean(), (mine - other).std(ddof=1)), abs=1e-10)


def test_as_assigned_has_the_declared_probabilities():
    study = Study(
        Decision("a", ["p", "q"], probability={"p": 0.2, "q": 0.8}), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}), Response("u", Normal(), **CELLS), utility="u", reference="as assigned",
    )
    assert study.reference == dtr.as_assigned(study)
    chances = [study.reference.chances(study, d, {"a": np.array([0, 1]), "r": np.array([0.0, 1.0])}).tolist() for d in ("a", "b")]
    assert chances == [[[0.2, 0.8]] * 2, [[1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 1]]]
    assert dtr.at_random(study).chances(study, "a", {"": np.zeros(1)}).tolist() == [[0.5, 0.5]]


def test_what_patients_got_on_average():
    """In a trial with equal numbers, the value of its own randomization under reference priors is near the mean outcome of its patients."""
    study = two_stage()
    frame = known.cohort(study, 600, seed=2)
    frame["u"] += 3.0 * (frame["b"] == "go") + 2.0 * (frame["a"] == "q")
    posterior = dtr.fit(study, frame, seed=1, engine="exact", draws=4000)
    value = dtr.compare(posterior, regimes={"trial": "as assigned"}).rows[0].value
    assert abs(value.mean - frame["u"].mean()) < 4 * value.sd  # they also differ by how many patients got what by chance
    assert value.sd < 0.15


def test_on_the_tree_and_by_simulation():
    """A lottery after a threshold of a continuous response: closed form, tree and rollouts; the draw is the same for every regime."""
    rng = np.random.default_rng(2)
    study = Study(
        Decision("a", ["p", "q"]), Response("x", Normal(), model=Saturated()), Decision("b", ["s", "t"]),
        Response("y", Normal(), model=Saturated(over=["a", "b"])), utility="y", scales={"x": (0.0, 1.0), "y": (0.0, 1.0)},
    )
    shape = (2, 100)
    draws = {"x": {"mean": rng.normal(0, 0.1, (*shape, 2)), "sigma": np.ones(shape)},
             "y": {"mean": rng.normal([0, 3, 1, -2], 0.1, (*shape, 4)), "sigma": np.ones(shape)}}
    posterior = known.posterior_with(study, draws)
    care = {"a": Lottery({"p": 0.3, "q": 0.7}), "b": {when(x=below(0.4)): Lottery({"s": 0.6, "t": 0.4}), when(x=at_least(0.4)): "t"}}
    sure = {"a": Lottery({"p": 1.0}), "b": {when(x=below(0.4)): "s", when(x=at_least(0.4)): "t"}}
    regimes = {"care": care, "sure": sure}
    tree = dtr.compare(posterior, regimes=regimes, against=dtr.optimize(posterior))
    simulated = dtr.compare(posterior, regimes=regimes, against=dtr.optimize(posterior, method="regression"))
    assert tree.method.startswith("enumeration") and simulated.method.startswith("simulation")
    up = norm.sf(0.4 - draws["x"]["mean"])
    y = draws["y"]["mean"].reshape(*shape, 2, 2)
    each = up * y[..., 1] + (1 - up) * (0.6 * y[..., 0] + 0.4 * y[..., 1])
    np.testing.assert_allclose(tree.draws["value"].values[..., 0], 0.3 * each[..., 0] + 0.7 * each[..., 1], atol=1e-9, rtol=0)
    # Expected utilities lie between -2.3 and 3.3: their SD is below 2.8, over 200 draws of 4,000 patients.
    for a, b in zip(tree.rows, simulated.rows, strict=True):
        assert abs(a.value.mean - b.value.mean) < 4 * 2.8 / np.sqrt(4000 * 200)
    wide = (simulated.draws["value"].values - tree.draws["value"].values)[..., 0]
    assert wide.std() < 2 * 2.8 / np.sqrt(4000)


def test_rollouts_share_the_lot_and_no_response_uses_it():
    study = two_stage()
    posterior = known.posterior_with(study, known.random_cells(study, 4), seed=4)
    world, n = World.of(posterior), 20_000
    few, many = (written(study, {"a": Lottery({"p": p, "q": 1 - p}), "b": "x"}) for p in (0.2, 0.5))
    columns = {"sex": np.zeros(n)}
    one, two = (following_rules(world, r, 9)(0, columns, None) for r in (few, many))
    assert abs((one == 0).mean() - 0.2) < 4 * np.sqrt(0.16 / n) and abs((two == 0).mean() - 0.5) < 4 * np.sqrt(0.25 / n)
    assert (two[one == 0] == 0).all()  # whoever draws p when it is rare draws it when it is common
    for name in ("a", "r", "u"):
        assert abs(np.corrcoef(one, luck(9, name, (n,), VALUING))[0, 1]) < 4 / np.sqrt(n)


def test_a_course_that_ends_draws_nothing():
    study = Study(
        Decision("a", ["p", "q"]), Response("died", Bernoulli(), **CELLS),
        Decision("b", {when(died=0): ["x", "y"], when(died=1): []}), Response("u", Normal(), model=Saturated(over=["a", "b"])),
        utility=dtr.Utility({"died": -3.0, "u": 1.0}),
    )
    rng = np.random.default_rng(3)
    died = rng.integers(0, 2, 60)
    frame = pd.DataFrame({"a": rng.choice(["p", "q"], 60), "died": died, "b": np.where(died == 1, None, rng.choice(["x", "y"], 60)),
                          "u": np.where(died == 1, np.nan, rng.normal(size=60))})
    draws = known.random_cells(study, 6)
    posterior = known.posterior_with(study, draws, frame)
    found = dtr.compare(posterior, regimes={"lot": {"a": "p", "b": Lottery({"x": 0.3, "y": 0.7})}, "trial": "as assigned"})
    risk = draws["died"]["probability"]
    mean = draws["u"]["mean"].reshape(2, -1, 2, 2)
    for e, (start, later) in enumerate((([1.0, 0.0], [0.3, 0.7]), ([0.5, 0.5], [0.5, 0.5]))):
        value = sum(w * (-3 * risk[..., a] + (1 - risk[..., a]) * (mean[:, :, a] @ np.array(later))) for a, w in enumerate(start))
        np.testing.assert_allclose(found.draws["value"].values[..., e], value, atol=1e-10, rtol=0)
