"""Safety gates where fitted values choose: against the tree, where both can be had, and from end to end where only fits can."""

import known
import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, SafetyGate, Saturated, Study, Utility, when
from bayesdtr.decision.limits.safety import guarded, left_at
from bayesdtr.decision.world import Rows, World

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
GATES = [SafetyGate("harm", above=0.5, probability=0.45), SafetyGate("sick", above=0.6, probability=0.3)]
DEFAULT = {"a": "q", "b": "x"}


def study() -> Study:
    return Study(
        Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q", "s"]), Response("r", Bernoulli(), model=Saturated()),
        Response("harm", Bernoulli(), model=Saturated(over=["sex", "a", "r"])), Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}),
        Response("sick", Bernoulli(), model=Saturated(over=["a", "r", "b"])), Response("u", Normal(), model=Saturated(over=["sex", "a", "r", "b"])),
        utility=Utility({"r": 1.0, "harm": -0.5, "sick": -0.5, "u": 1.0}),
    )


@pytest.mark.parametrize("seed", [2, 5, 9])
def test_by_regression_as_on_the_tree(seed):
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, seed, per_chain=100), seed=seed)
    tree, fitted = (dtr.optimize(posterior, method=m, safety=GATES, default=DEFAULT) for m in ("tree", "regression"))
    assert fitted.methods["a"].startswith("regression") and fitted.safety == tree.safety
    free = dtr.optimize(posterior, method="regression")
    assert sum(n for c in tree.shield().counts for _, n in c.removed) > 0 and fitted.shield() == tree.shield()
    error = np.hypot(fitted.value_error, tree.value_error)
    assert fitted.value().mean == pytest.approx(tree.value().mean, abs=4 * error + 0.05)
    assert fitted.value().mean <= free.value().mean + 4 * error
    new = pd.DataFrame({"sex": ["f", "m"]})
    one, two = (r.recommend(new, every_option=True).set_index(["patient", "option"]) for r in (tree, fitted))
    assert set(one.index) == set(two.index)  # the same options are left
    np.testing.assert_allclose(one["expected_utility"], two.loc[one.index, "expected_utility"], atol=0.15)
    lead = one.groupby("patient")["expected_utility"].apply(lambda v: np.diff(sorted(v))[-1] if len(v) > 1 else np.inf)
    for patient, gap in lead.items():
        if gap > 0.3:  # else a tie that the fit may break either way
            best = [t.loc[patient]["recommended"].idxmax() for t in (one, two)]
            assert best[0] == best[1]
    pd.testing.assert_frame_equal(fitted.gates(new).drop(columns="recommended"), tree.gates(new).drop(columns="recommended"))


def test_distinct_histories_are_judged_once_and_all_alike():
    """What many histories are left is what each of them is, wherever models differ in what they look at."""
    made = study()
    posterior = known.posterior_with(made, known.random_cells(made, 5, per_chain=50), seed=5)
    world = World.of(posterior).under(dtr.optimize(posterior, safety=GATES, default=DEFAULT).safety)
    rng, n = np.random.default_rng(1), 400
    columns = {"sex": rng.integers(0, 2, n), "a": rng.integers(0, 3, n), "r": rng.integers(0, 2, n).astype(float), "harm": rng.normal(size=n)}
    for name, before in (("a", ["sex"]), ("b", ["sex", "a", "r", "harm"])):
        mine = {c: columns[c] for c in before}
        feasible = made.feasible(name, mine)
        whole = guarded(world, name, Rows(mine, None, n), feasible)
        np.testing.assert_array_equal(left_at(world, name, mine, None, feasible), whole.allowed)
        assert (feasible & ~whole.allowed).any()


def course(stages: int = 3) -> Study:
    """Everything continuous and default models: a tree is out of the question."""
    nodes = [Baseline("x0")]
    for k in range(1, stages + 1):
        nodes += [Decision(f"d{k}", ["mild", "strong"]), Response(f"harm{k}", Bernoulli()), Response(f"x{k}", Normal())]
    return Study(*nodes, utility=f"x{stages}")


def patients(n: int = 150, stages: int = 3) -> pd.DataFrame:
    """The strong treatment helps everybody and harms those of high x."""
    rng = np.random.default_rng(3)
    found = {"x0": rng.normal(size=n)}
    for k in range(1, stages + 1):
        strong = rng.random(n) < 0.5
        before = found[f"x{k - 1}"]
        found |= {f"d{k}": np.where(strong, "strong", "mild"), f"harm{k}": (rng.random(n) < 1 / (1 + np.exp(2.5 - 3 * strong * before))).astype(int),
                  f"x{k}": 0.5 * before + 0.6 * strong + rng.normal(0, 1, n)}
    return pd.DataFrame(found)


@pytest.mark.parametrize("stages", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_continuous_stages_end_to_end(tmp_path, monkeypatch, stages):
    from bayesdtr.decision import rollout

    monkeypatch.setattr(rollout, "ROWS_PER_DRAW", 400)
    made, frame = course(stages), patients(stages=stages)
    posterior = dtr.fit(made, frame, seed=1, engine="laplace", draws=30)
    gates = [SafetyGate(f"harm{k}", above=0.4, probability=0.3) for k in range(1, stages + 1)]
    default, method = {f"d{k}": "mild" for k in range(1, stages + 1)}, "regression" if stages == 2 else "auto"
    regime, free = dtr.optimize(posterior, method=method, safety=gates, default=default), dtr.optimize(posterior, method=method)
    assert regime.methods["d1"].startswith("regression")  # with three stages since no tree would do
    assert regime.value().mean < free.value().mean  # what is removed helps
    at = pd.DataFrame({"x0": [-1.5, 2.5]})
    record = regime.gates(at)
    strong = record[record["option"] == "strong"]
    assert not strong["removed"].iloc[0] and strong["removed"].iloc[1]
    assert free.recommend(at)["option"].tolist() == ["strong", "strong"]
    # With three stages the strong treatment first is left to the low as well, who would be denied it later for having had it.
    assert regime.recommend(at)["option"].tolist() == ["strong" if stages == 2 else "mild", "mild"]
    later = frame[["x0", "d1", "harm1", "x1"]]
    told, said = regime.recommend(later), regime.gates(later)
    gone, option = said[said["removed"] & ~said["shielded"]].set_index("patient")["option"], told.set_index("patient")["option"]
    assert len(gone) and (option.loc[gone.index] != gone).all()
    assert (option.loc[said[said["shielded"]]["patient"]] == "mild").all()
    assert [c.decision for c in regime.shield().counts] == list(default) and "removed for" in str(regime.shield())
    again = dtr.load(regime.save(tmp_path / "r.nc"))
    pd.testing.assert_frame_equal(again.recommend(later), told)


def test_many_histories_are_judged_by_the_predictor_as_few_are_by_the_mean(monkeypatch):
    """Rates and means, above and below, with clusters: where the linear predictor lies is where the mean does."""
    from bayesdtr.decision.limits import safety as module
    from bayesdtr.study.safety import Safety

    rng, n = np.random.default_rng(4), 60
    made = Study(Baseline("x"), Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q", "r"]), Response("harm", Bernoulli()),
                 Response("y", Normal()), utility="y", cluster="site")
    frame = pd.DataFrame({"x": rng.normal(size=n), "sex": rng.choice(["f", "m"], n), "a": rng.choice(["p", "q", "r"], n),
                          "site": rng.choice(list("uvw"), n),
                          "harm": rng.integers(0, 2, n), "y": rng.normal(size=n)})
    posterior = dtr.fit(made, frame, seed=1, engine="laplace", draws=100)
    gates = [SafetyGate("harm", above=0.5, probability=0.6), SafetyGate("harm", below=0.2, probability=0.6),
             SafetyGate("y", below=-0.2, probability=0.6)]
    world = World.of(posterior).under(Safety.of(made, gates, {"a": "p"}))
    rows = Rows({"x": rng.normal(0, 2, 300), "sex": rng.integers(0, 2, 300)}, rng.integers(0, 4, 300), 300)
    found = []
    for many in (np.inf, 0):
        monkeypatch.setattr(module, "MANY", many)
        calls = []
        quickly = module._quickly
        monkeypatch.setattr(module, "_quickly", lambda *a, calls=calls, quickly=quickly: calls.append(quickly(*a)) or calls[-1])
        found.append(guarded(world, "a", rows, np.ones((300, 3), dtype=bool)))
        monkeypatch.setattr(module, "_quickly", quickly)
    # `y` comes after `harm`, on which its model depends: averaged over, so judged by means.
    assert [c is not None for c in calls] == [True, True, False]
    np.testing.assert_allclose(found[0].beyond, found[1].beyond, atol=1e-12)
    np.testing.assert_array_equal(found[0].allowed, found[1].allowed)
    assert 0.05 < np.nanmean(found[0].beyond[0] > 0.6) < 0.95
