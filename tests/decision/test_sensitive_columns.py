"""No decision depends on a sensitive column; the audit by it works, whatever is missing of it."""

import known
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, when

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
LEVELS = ["b", "w", "z"]


def study(sensitive=True) -> Study:
    """Saturated models over all they may see, so that a column that were seen would tell."""
    race = [] if sensitive is None else [Baseline("race", levels=LEVELS, sensitive=sensitive)]
    return Study(
        *race, Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated()),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["go"]}), Response("u", Normal(), model=Saturated()), utility="u",
        reference={"a": "p", "b": {when(r=0): "x", when(r=1): "go"}},
    )


def patients(seed: int, n: int = 90) -> pd.DataFrame:
    frame = known.cohort(study(None), n, seed)
    rng = np.random.default_rng(seed)
    race = rng.choice([*LEVELS, None], n)
    return frame.assign(race=race, u=frame["u"] + 3.0 * (race == "b") * (frame["b"] == "y"))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_nothing_that_is_decided_depends_on_it(seed):
    frame = patients(seed)
    other = frame.assign(race=np.random.default_rng(seed + 1).permutation(frame["race"].to_numpy()))
    draws = known.random_cells(study(), seed)
    regimes = [dtr.optimize(known.posterior_with(made, draws, f)) for made, f in ((study(), frame), (study(), other), (study(None), frame))]
    new = pd.DataFrame({"sex": ["f", "m"] * 3, "race": ["b", "b", "w", "w", None, "unheard of"]})
    told = [r.recommend(new, every_option=True) for r in regimes]
    twice = told[0].drop(columns="patient").groupby(np.arange(len(told[0])) // 2 % 2)
    assert all(len(g.drop_duplicates()) == len(g) // 3 for _, g in twice)  # patients alike but for it are answered alike
    for regime, answer in zip(regimes, told, strict=True):
        pd.testing.assert_frame_equal(answer, told[0])
        np.testing.assert_array_equal(regime.value_draws, regimes[0].value_draws)
        assert regime.rules() == regimes[0].rules() and "race" not in "\n".join(regime.rules())
        assert "race" not in regime.profile["a"][0].columns
    pd.testing.assert_frame_equal(regimes[0].recommend(new.drop(columns="race"), every_option=True), told[0])


def test_asked_for_it_is_seen():
    regime = dtr.optimize(known.posterior_with(study("use"), known.random_cells(study("use"), 1), patients(1).dropna()))
    assert "race" in regime.profile["a"][0].columns
    with pytest.raises(dtr.DataError, match="race"):
        regime.recommend(pd.DataFrame({"sex": ["f"]}))


def test_the_audit_by_it_with_values_missing_and_from_a_file(tmp_path):
    frame = patients(3)
    posterior = dtr.fit(study(), frame, seed=1, engine="exact", draws=2000)
    regime = dtr.optimize(posterior)
    found = dtr.by_group(regime, "race")
    assert {g.label: g.patients for g in found.rows} == {
        **{f"race = {x}": int((frame["race"] == x).sum()) for x in LEVELS}, "race not recorded": int(frame["race"].isna().sum())}
    by_hand = dtr.by_group(regime, [f"race = {x}" if isinstance(x, str) else "race not recorded" for x in frame["race"]])
    assert found.rows == by_hand.rows
    again = dtr.load(regime.save(tmp_path / "r.nc"))
    assert again.posterior.study == study() and dtr.by_group(again, "race").rows == found.rows
    plain = dtr.fit(study(None), frame, seed=1, engine="exact", draws=2000)
    np.testing.assert_array_equal(dtr.optimize(plain).value_draws, regime.value_draws)


def test_at_the_door():
    frame = patients(5)
    posterior = known.posterior_with(study(), known.random_cells(study(), 5), frame.assign(race=None))  # nobody's is known
    assert [g.label for g in dtr.by_group(dtr.optimize(posterior), "race").rows] == ["race not recorded"]
    with pytest.raises(dtr.DataError, match=r"no column 'race'.*sensitive: for the audit only"):
        dtr.fit(study(), frame.drop(columns="race"), seed=1, engine="exact")
    with pytest.raises(dtr.DataError, match="'v' is not one of its levels"):
        dtr.fit(study(), frame.assign(race="v"), seed=1, engine="exact")


def test_a_number_with_few_values_is_a_subgroup_too():
    made = Study(Baseline("parity", sensitive=True), *study(None).timeline, utility="u")
    frame = patients(6).assign(parity=np.arange(90) % 3)
    found = dtr.by_group(dtr.optimize(known.posterior_with(made, known.random_cells(made, 6), frame)), "parity")
    assert [(g.label, g.patients) for g in found.rows] == [(f"parity = {k}", 30) for k in range(3)]
    assert "parity" not in known.posterior_with(made, known.random_cells(made, 6), frame).scales
