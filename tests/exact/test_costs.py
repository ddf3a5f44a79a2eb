"""What options cost: the same as if the response they lead to were worth that much less."""

import known
import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Normal, Response, Saturated, Study, Utility, when
from bayesdtr.study import from_json, to_json
from bayesdtr.study.saturated import saturated_cells

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
FIRST, SECOND = {"q": 0.4, "s": 1.5}, {"y": 0.7, "z": -0.2, "go": 0.3}
DISCOUNT = 0.8


def study(costs) -> Study:
    return Study(
        Decision("a", ["p", "q", "s"]), Response("r", Bernoulli(), model=Saturated()),
        Decision("b", {when(r=0): ["x", "y", "z"], when(r=1): ["go"]}),
        Response("late", Bernoulli(), model=Saturated(over=["a", "r", "b"])), Response("u", Normal(), model=Saturated(over=["a", "r", "b"])),
        utility=Utility({"r": 1.0, "late": -0.3, "u": 1.0}, discount=DISCOUNT, costs=costs),
    )


@pytest.mark.parametrize("seed", range(4))
def test_costs_are_a_lower_response(seed):
    priced, plain = study({"a": FIRST, "b": SECOND}), study(None)
    draws = known.random_cells(plain, seed)
    lower = {n: {p: v.copy() for p, v in d.items()} for n, d in draws.items()}
    for i, label in enumerate(saturated_cells(plain, plain["u"]).labels):
        a, _, b = label.split(", ")
        lower["u"]["mean"][..., i] -= FIRST.get(a, 0.0) / DISCOUNT + SECOND.get(b, 0.0)  # u counts with the second decision
    one, two = known.posterior_with(priced, draws, seed=seed), known.posterior_with(plain, lower, seed=seed)
    mine, other = dtr.optimize(one), dtr.optimize(two)
    np.testing.assert_allclose(mine.value_draws, other.value_draws, atol=1e-10)
    assert mine.rules() == other.rules()
    np.testing.assert_allclose(dtr.compare(one).draws["value"], dtr.compare(two).draws["value"], atol=1e-10)
    assert dtr.value_of_information(one).evpi == pytest.approx(dtr.value_of_information(two).evpi, abs=1e-10)
    moved = dtr.with_utility(two, priced.utility)
    assert not np.allclose(dtr.optimize(moved).value_draws, other.value_draws)


def test_regression_and_rollouts_charge_too():
    """Costs that decide, in a study whose tree is refused: rules found by regression pay them."""
    priced = study({"b": {"x": 50.0, "y": 50.0}})
    posterior = known.posterior_with(priced, known.random_cells(priced, 2), seed=2)
    tree, fitted = dtr.optimize(posterior), dtr.optimize(posterior, method="regression")
    assert {c.option for c in fitted.cells() if c.decision == "b"} == {"z"}
    spread = fitted.value_draws.std() / np.sqrt(4000)
    assert fitted.value().mean == pytest.approx(tree.value().mean, abs=0.05 + 5 * spread)  # 4,000 simulated patients a draw


def test_simulated_trials_pay_too():
    """The same patients, luck and options with and without costs: they differ by what the options cost."""
    from bayesdtr.decision.pretend import trial
    from bayesdtr.decision.values import baseline_rows
    from bayesdtr.decision.world import World

    def first_open(study):
        return lambda stage, columns, cluster: study.feasible(study.decisions[stage].name, columns).argmax(axis=1)

    found = []
    for made in (study({"a": {"p": 0.4}, "b": SECOND}), study(None)):
        posterior = known.posterior_with(made, known.random_cells(made, 2), seed=2)
        found.append(trial(World.of(posterior), baseline_rows(posterior), first_open(made), 1))
    (columns, one, one_mean), (_, two, two_mean) = found
    cost = 0.4 + DISCOUNT * np.array([0.0, 0.7, -0.2, 0.3])[columns["b"]]  # x, y, z, go
    np.testing.assert_allclose(two - one, cost, atol=1e-12)
    np.testing.assert_allclose(two_mean - one_mean, cost, atol=1e-12)


def test_what_was_earned_by_patients_counts_costs():
    from bayesdtr.data import read
    from bayesdtr.decision.values import earnings

    made = study({"a": FIRST, "b": SECOND})
    frame = known.cohort(made, 40)
    found = sum(earnings(made, read(made, frame)).values())
    wanted = (frame["r"] - frame["a"].map(lambda o: FIRST.get(o, 0.0))
              + DISCOUNT * (frame["u"] - 0.3 * frame["late"] - frame["b"].map(lambda o: SECOND.get(o, 0.0))))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_costs_are_part_of_the_declaration():
    made = study({"b": SECOND})
    assert from_json(to_json(made)) == made and "cost(b) with y: 0.7, z: -0.2, go: 0.3" in str(made.utility)


@pytest.mark.parametrize(("costs", "words"), [
    ({"c": {"x": 1}}, "costs names 'c'; decisions"), ({"a": {"x": 1}}, "costs of 'a' names 'x'; options"), ({"a": {"p": np.nan}}, "finite number"),
    ({"a": 3}, "takes a mapping of options"), ([1], "takes a mapping of decisions"),
])
def test_costs_that_do_not_fit_are_refused(costs, words):
    with pytest.raises(dtr.StudyError, match=words):
        study(costs)
