"""What every generator promises: policies, common random numbers, means that agree with the truth."""

from functools import partial

import numpy as np
import pytest

from bayesdtr.errors import DecisionError
from bayesdtr.simulators import adhd, always, chakraborty, codiacs_qol, hypertension, nonlinear_two_stage, polle_two_stage

SIMULATORS = {
    "adhd": (adhd.simulate, adhd.truth, "performance"),
    "hypertension": (hypertension.simulate, hypertension.truth, "benefit"),
    "nonlinear": (nonlinear_two_stage.simulate, nonlinear_two_stage.truth, "y"),
    "nonlinear confounded": (partial(nonlinear_two_stage.simulate, confounded=True), nonlinear_two_stage.truth, "y"),
    "polle": (polle_two_stage.simulate, polle_two_stage.truth, "u"),
    **{f"chakraborty {e}": (partial(chakraborty.simulate, example=e), partial(chakraborty.truth, e), "y") for e in chakraborty.EXAMPLES},
    **{f"codiacs {s}": (partial(codiacs_qol.simulate, scenario=s), partial(codiacs_qol.truth, s), "y") for s in codiacs_qol.SCENARIOS},
}
N = 40_000


@pytest.mark.parametrize("name", SIMULATORS)
def test_simulated_means_agree_with_the_truth(name):
    simulate, truth, utility = SIMULATORS[name]
    known = truth()
    for label, regime in {"optimal": known.optimal, **known.regimes}.items():
        y = simulate(N, seed=11, policy=regime.policy)[utility]
        assert abs(y.mean() - regime.value) < 4 * y.std() / np.sqrt(N), label
        assert regime.value <= known.optimal.value + known.error, label


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_seed_gives_the_same_patients_under_every_policy(name):
    simulate, truth, utility = SIMULATORS[name]
    trial, again, other = simulate(200, seed=1), simulate(200, seed=1), simulate(200, seed=2)
    assert trial.equals(again)
    assert not trial[utility].equals(other[utility])
    regime = truth().optimal
    treated = simulate(200, seed=1, policy=regime.policy)
    decisions = list(regime.policy)
    before = list(trial.columns[: trial.columns.get_loc(decisions[0])])
    assert trial[before].equals(treated[before])
    same = (trial[decisions] == treated[decisions]).all(axis=1)
    # Whoever happened to be treated as the regime says has the very same course.
    assert 0 < same.sum() < 200
    assert trial[same].equals(treated[same])


@pytest.mark.parametrize(
    ("study", "frame"),
    [
        (chakraborty.study(), chakraborty.simulate(300, seed=1)),
        (codiacs_qol.study(), codiacs_qol.simulate(300, seed=1)),
        (polle_two_stage.study(), polle_two_stage.simulate(300, seed=1)),
        (nonlinear_two_stage.study(), nonlinear_two_stage.simulate(300, seed=1)),
    ],
)
def test_the_declaration_fits_the_columns(study, frame):
    assert study.names == tuple(frame.columns)
    for decision in study.decisions:
        assert set(frame[decision.name]) == set(decision.options)


def test_a_decision_without_a_rule_is_made_as_in_the_trial():
    frame = adhd.simulate(2_000, seed=3, policy={"first": always("medication")})
    assert set(frame["first"]) == {"medication"}
    again = frame["responded"] == 0
    assert set(frame.loc[again, "second"]) == {"augment", "intensify"}
    assert set(frame.loc[~again, "second"]) == {"continue"}


def test_impossible_policies_are_refused():
    with pytest.raises(DecisionError, match=r"no decision 'frist'.*did you mean 'first'"):
        adhd.simulate(10, seed=1, policy={"frist": always("medication")})
    with pytest.raises(DecisionError, match="'placebo' is not an option of 'first'"):
        adhd.simulate(10, seed=1, policy={"first": always("placebo")})
    with pytest.raises(DecisionError, match="'continue' is not feasible at 'second'"):
        adhd.simulate(50, seed=1, policy={"second": always("continue")})
    with pytest.raises(DecisionError, match="must return 10 options"):
        adhd.simulate(10, seed=1, policy={"first": lambda frame: np.array(["medication"], dtype=object)})
    with pytest.raises(DecisionError, match="at least 1, got 0"):
        adhd.simulate(0, seed=1)
