"""Sets of options: the smallest that hold the best, margins, tie rates, and the chance that simulation error chose."""

import itertools
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesdtr import Bernoulli, Decision, DecisionError, Normal, Response, Saturated, Study, fit, optimize
from bayesdtr.decision.assess import summarize_options
from bayesdtr.decision.sets import smallest_set

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


@pytest.fixture(scope="module")
def regime():
    rng = np.random.default_rng(3)
    n = 90
    data = pd.DataFrame({"arm": rng.choice(["a", "b", "c"], n), "well": rng.integers(0, 2, n), "next": rng.choice(["stay", "more"], n)})
    data["y"] = 0.3 * (data.arm == "b") + 1.0 * ((data.next == "more") & (data.well == 0)) + rng.normal(size=n)
    study = Study(
        Decision("arm", ["a", "b", "c"]), Response("well", Bernoulli(), model=Saturated()), Decision("next", ["stay", "more"]),
        Response("y", Normal(), model=Saturated(over=["arm", "well", "next"])), utility="y", mcid=0.25,
    )
    return optimize(fit(study, data, seed=1, engine="exact", draws=4000))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(sum), st.sampled_from([0.01, 0.05, 0.2, 0.5, 0.9]))
def test_no_smaller_set_holds_the_best_as_surely(counts, alpha):
    p = np.array(counts) / sum(counts)
    (member,), (probability,) = smallest_set(np.append(p, np.nan)[None], alpha)
    assert not member[-1] and probability == pytest.approx(p[member[:-1]].sum())
    sure = [len(s) for n in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), n) if p[list(s)].sum() >= 1 - alpha - 1e-9]
    weakest = p[member[:-1]].min()
    # Options as probable as the weakest member come in together; without them the set would be too small.
    assert (p > weakest + 1e-12).sum() < min(sure) <= member.sum()
    assert (member[:-1] == (p >= weakest - 1e-12)).all()


def test_flips_by_simulation_error(regime):
    """Independent draws of two normal options: the chance that their averages are in the wrong order, given what was seen."""
    rng = np.random.default_rng(1)
    size, lead = regime.posterior.size, np.array([0.0, 0.01, 0.05])
    q = np.stack([rng.normal(size=(size, 3)) + lead, rng.normal(size=(size, 3))], axis=-1)
    q[:, 0, 1] = q[:, 0, 0]  # the same option twice
    a = summarize_options(regime.posterior, q.mean(axis=0), q, q, 0.95)
    se = np.sqrt(2 / size)
    expected = [0.5] + [0.5 * math.erfc(m / se / math.sqrt(2)) for m in a.margin[1:]]
    # The standard error comes from 20 batches: good to about 16 %.
    z = a.margin[1:] / se
    assert a.p_flip[0] == 0.5
    for got, exact, score in zip(a.p_flip[1:], expected[1:], z, strict=True):
        assert 0.5 * math.erfc(score * 2 / math.sqrt(2)) <= got <= 0.5 * math.erfc(score / 2 / math.sqrt(2)) and 0 < exact < 0.5
    single = summarize_options(regime.posterior, np.array([[1.0, -np.inf]]), np.dstack([q[:, :1, 0], np.full((size, 1), -np.inf)]),
                               np.dstack([q[:, :1, 0], np.full((size, 1), -np.inf)]), 0.95)
    assert single.p_flip[0] == 0


def test_frames_agree_and_follow_the_margin(regime):
    patients = pd.DataFrame({"arm": ["a", "b", None], "well": [0, 1, None]})
    wide, narrow = regime.sets(patients, epsilon=10.0), regime.sets(patients, epsilon=0.0, alpha=0.5)
    assert wide["near_best"].all() and (wide["p_near_best"] == 1).all() and (wide["p_equivalent"] == 1).all()
    assert (narrow["near_best"] == narrow["recommended"]).all()
    np.testing.assert_allclose(narrow["p_near_best"], narrow["p_best"])
    assert (narrow.groupby("patient")["in_set"].sum() <= wide.groupby("patient")["in_set"].sum()).all()
    assert (wide.groupby("patient")["set_probability"].first() >= 0.95).all()
    told = regime.sets(pl.from_pandas(patients), epsilon=10.0)
    assert isinstance(told, pl.DataFrame) and told.to_dict(as_series=False) == wide.to_dict("list")
    default = regime.sets(patients)
    assert (default["near_best"] == (default["shortfall"] <= 0.25)).all()
    every = regime.recommend(patients, every_option=True)
    np.testing.assert_array_equal(every["option"], default["option"])
    assert (every["p_flip"] <= 0.5).all()


def test_tie_rates_are_averages_over_patients(regime):
    ties = regime.ties(epsilon=0.25, alpha=0.1)
    t = regime.posterior.trajectories
    labels = {n: np.array(["a", "b", "c"])[t.columns["arm"]] if n == "arm" else t.columns[n] for n in ("arm", "well")}
    for row, frame in zip(ties.rows, (pd.DataFrame({"row": np.arange(t.n)}), pd.DataFrame(labels)), strict=True):
        lines = regime.sets(frame, epsilon=0.25, alpha=0.1)
        by = lines.groupby("patient", sort=False)
        assert row.patients == t.n == by.ngroups
        assert row.near_best == pytest.approx(by["near_best"].sum().mean()) and row.in_set == pytest.approx(by["in_set"].sum().mean())
        assert row.near == pytest.approx((by["near_best"].sum() > 1).mean())
    assert max(map(len, str(ties).splitlines())) <= 100 and "near-tie" in str(ties)


def test_what_cannot_be_a_margin_or_a_probability(regime):
    for how, said in (({"epsilon": -0.1}, "epsilon is a difference in utility, 0 or more, got -0.1"),
                      ({"epsilon": float("nan")}, "got nan"), ({"alpha": 1.0}, "alpha must lie between 0 and 1, got 1.0")):
        with pytest.raises(DecisionError, match=said):
            regime.sets(pd.DataFrame({"arm": ["a"], "well": [1]}), **how)
        with pytest.raises(DecisionError, match=said):
            regime.ties(**how)
