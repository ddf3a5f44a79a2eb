"""Outcomes not missing at random: values, rules and tipping points against the mixture written out."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import bayesdtr as dtr
from bayesdtr.errors import DecisionError, StudyError

ARMS = ["a0", "a1"]


def two_arms(family, seed=0, n=120):
    """One decision, saturated; about a third of the outcomes missing."""
    study = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", family, model=dtr.Saturated()), utility="y")
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, n)
    y = (rng.random(n) < 0.5 + 0.2 * arm).astype(float) if isinstance(family, dtr.Bernoulli) else 1 + 0.4 * arm + rng.normal(size=n)
    y[rng.random(n) < 0.3] = np.nan
    return study, pd.DataFrame({"arm": np.array(ARMS)[arm], "y": y})


@pytest.fixture(scope="module")
def normal():
    return dtr.fit(*two_arms(dtr.Normal()), seed=1, engine="exact", draws=4000)


@pytest.fixture(scope="module")
def binary():
    return dtr.fit(*two_arms(dtr.Bernoulli()), seed=1, engine="exact", draws=4000)


def group(posterior):
    ds = posterior.tree["missing_shift"].to_dataset()
    return ds["probability"].values, ds["shift"].values


def test_shares_follow_their_beta_posterior_and_shifts_their_prior(normal):
    prior = dtr.Prior("StudentT", df=5, loc=0.3, scale=0.5)
    share, shift = group(dtr.missing_shift(normal, dtr.Shift("y", by="arm", prior={"a0": prior, "a1": -1})))
    t = normal.trajectories
    for i in range(2):
        here = t.columns["arm"] == i
        lost, n = np.isnan(t.columns["y"][here]).sum(), here.sum()
        assert 0 < lost < n
        sd = np.sqrt((1 + lost) * (1 + n - lost) / ((2 + n) ** 2 * (3 + n)))
        assert abs(share[..., i].mean() - (1 + lost) / (2 + n)) < 4.5 * sd / np.sqrt(share[..., i].size)
        assert share[..., i].std() == pytest.approx(sd, rel=0.06)
    assert (shift[..., 1] == -1).all()
    assert abs(np.median(shift[..., 0]) - 0.3) < 4.5 * 0.5 * 1.32 / np.sqrt(shift[..., 0].size)


def test_values_are_the_mixture(normal, binary):
    law = dtr.Prior("Normal", loc=-0.5, scale=0.4)
    for posterior in (normal, binary):
        moved = dtr.missing_shift(posterior, dtr.Shift("y", by="arm", prior=law))
        share, shift = group(moved)
        before, after = (dtr.compare(p, scale="identity").draws["value"].values for p in (posterior, moved))
        missing = before + shift if posterior is normal else expit(logit(before) + shift)
        expected = (1 - share) * before + share * missing
        np.testing.assert_allclose(after, expected, rtol=1e-10, atol=1e-10)
        regime = dtr.optimize(moved)
        assert regime.value().mean == pytest.approx(expected.mean(axis=(0, 1)).max(), abs=1e-10)


def test_no_shift_changes_nothing(binary):
    moved = dtr.missing_shift(binary, dtr.Shift("y", by="arm", prior=0))
    np.testing.assert_allclose(dtr.compare(moved).draws["value"].values, dtr.compare(binary).draws["value"].values, rtol=1e-12)


def test_recommendations_and_the_note_carry_the_shift(normal, tmp_path):
    patients = pd.DataFrame({"other": [1]})
    assert dtr.optimize(normal).recommend(patients)["option"].tolist() == ["a1"]
    regime = dtr.optimize(dtr.missing_shift(normal, dtr.Shift("y", by="arm", prior={"a0": 0, "a1": -9})))
    assert regime.recommend(patients)["option"].tolist() == ["a0"]
    assert "The data do not inform the shift" in regime.posterior.trajectories.notes[-1]
    again = dtr.load(regime.save(tmp_path / "shifted.nc"))
    assert again.recommend(patients)["expected_utility"].tolist() == pytest.approx(regime.recommend(patients)["expected_utility"].tolist())


def test_the_recommendation_tips_where_the_lines_cross(normal):
    steps = [-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0]
    table = dtr.tipping(normal, "y", "arm", shifts=steps)
    assert len(table) == 49 and table.loc[(table["shift of a0"] == 0) & (table["shift of a1"] == 0), "changed"].tolist() == [0.0]
    share, _ = group(dtr.missing_shift(normal, dtr.Shift("y", by="arm", prior=0)))
    level = dtr.compare(normal).draws["value"].values
    thinned = slice(None, None, 4)  # the table rests on every fourth draw
    mean, p = level[:, thinned].mean(axis=(0, 1)), share[:, thinned].mean(axis=(0, 1))
    for row in table.itertuples(index=False):
        worth = mean + p * np.array(row[:2])
        assert row.recommended == ARMS[int(worth.argmax())]
        assert row.expected_utility == pytest.approx(worth.max(), abs=1e-9)
    assert 0 < table["changed"].mean() < 1


def test_refusals(normal):
    later = dtr.Study(
        dtr.Decision("a", ARMS), dtr.Response("r", dtr.Bernoulli()), dtr.Decision("b", ARMS), dtr.Response("y", dtr.Normal()), utility="y"
    )
    for made, error, pattern in (
        (dtr.Shift("z", by="arm", prior=0), StudyError, "no response 'z'; it has 'y'"),
        (dtr.Shift("y", by="amr", prior=0), StudyError, "no decision 'amr'.*did you mean 'arm'"),
        (dtr.Shift("y", by="arm", prior={"a0": 0, "A1": 0}), StudyError, "no option 'A1'.*did you mean 'a1'"),
        (dtr.Shift("y", by="arm", prior={"a0": 0}), StudyError, "prior lacks 'a1'"),
        (0.5, DecisionError, "takes a Shift, got 0.5"),
    ):
        with pytest.raises(error, match=pattern):
            dtr.missing_shift(normal, made)
    with pytest.raises(StudyError, match=r"one of 'Normal'.*got HalfNormal"):
        dtr.Shift("y", by="arm", prior=dtr.Prior("HalfNormal", scale=1))
    with pytest.raises(StudyError, match=r"is a Prior such as.*got 'wide'"):
        dtr.Shift("y", by="arm", prior="wide")
    with pytest.raises(StudyError, match="'b' comes after response 'r'"):
        dtr.Shift("r", by="b", prior=0).check(later)
    with pytest.raises(DecisionError, match="90 shifts of 2 options make 8100"):
        dtr.tipping(normal, "y", "arm", shifts=list(range(90)))


def test_what_looks_at_single_outcomes_of_a_shifted_response_is_refused(binary):
    """The shift is one of the mean: a table of outcomes, even one that says the same, would silently leave it out."""
    moved = dtr.missing_shift(binary, dtr.Shift("y", by="arm", prior=-3.0))
    table = dtr.Utility({"y": {0: 0.0, 1: 1.0}})
    assert dtr.optimize(dtr.with_utility(moved, dtr.Utility({"y": 2.0}))).value().mean == pytest.approx(2 * dtr.optimize(moved).value().mean)
    with pytest.raises(DecisionError, match="shifts the missing outcomes of 'y' in their mean only"):
        dtr.with_utility(moved, table)
    with pytest.raises(DecisionError, match="shifts the missing outcomes of 'y'"):
        dtr.exchange_bands(moved, pd.DataFrame({"patient": ["1"]}), benefit=table, harm="y")
    with pytest.raises(DecisionError, match="shifts the missing outcomes of 'y'"):
        dtr.stakeholders(moved, {"a": "y", "b": (table, 0.1)}, pd.DataFrame({"patient": ["1"]}))
