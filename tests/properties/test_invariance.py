"""What must not change the answer, or must change it in a known way."""

import arviz_stats as azs
import known
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, Utility, compare, fit, optimize, when
from bayesdtr.study.saturated import saturated_cells

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
FIRST, LATER, KEPT = ("p", "q", "s"), ("x", "y"), ("y", "w")


def two_stages(first=FIRST, later=LATER, kept=KEPT, weight=1.0) -> Study:
    return Study(
        Decision("a", list(first)), Response("r", Bernoulli(), model=Saturated()),
        Decision("b", {when(r=0): list(later), when(r=1): list(kept)}), Response("u", Normal(), model=Saturated()),
        utility=Utility({"u": weight}),
    )


def carried_over(draws, old: Study, new: Study, rename):
    """The same draws for a study with other labels or another order, cell by cell."""
    moved = {}
    for response in old.responses:
        names = saturated_cells(old, response).names
        source = {tuple(rename.get((n, v), v) for n, v in zip(names, label.split(", "), strict=True)): i
                  for i, label in enumerate(saturated_cells(old, response).labels)}
        order = [source[tuple(label.split(", "))] for label in saturated_cells(new, new[response.name]).labels]
        moved[response.name] = {p: v[..., order] if v.ndim == 3 else v for p, v in draws[response.name].items()}
    return moved


@settings(max_examples=12, deadline=None, derandomize=True)
@given(first=st.permutations(FIRST), later=st.permutations(LATER), kept=st.permutations(KEPT), renamed=st.booleans(), seed=st.integers(0, 99))
def test_reordering_and_relabelling_options_permutes_the_answer(first, later, kept, renamed, seed):
    old = two_stages()
    rename = {("a", v): v.upper() for v in FIRST} if renamed else {}
    new = two_stages([rename.get(("a", v), v) for v in first], later, kept)
    draws = known.random_cells(old, seed)
    moved = carried_over(draws, old, new, rename)
    patients = known.cohort(old)
    relabelled = patients.assign(a=[rename.get(("a", v), v) for v in patients["a"]])
    mine, theirs = optimize(known.posterior_with(old, draws, patients)), optimize(known.posterior_with(new, moved, relabelled))
    np.testing.assert_allclose(mine.value_draws, theirs.value_draws, atol=1e-12)
    for decision in ("a", "b"):
        rows = list(known.histories(old, decision))
        named = [{n: rename.get((n, v), v) for n, v in h.items()} for h in rows]
        ask = lambda regime, h: regime.recommend(known.frame_of(h if h != [{}] else [{"row": 0}]), every_option=True)  # noqa: E731
        one, two = ask(mine, rows), ask(theirs, named)
        one["option"] = [rename.get((decision, o), o) for o in one["option"]]
        key = ["patient", "option"]
        pd.testing.assert_frame_equal(one.sort_values(key, ignore_index=True), two.sort_values(key, ignore_index=True), check_exact=False, atol=1e-12)


@pytest.fixture(scope="module")
def cells():
    """Patients of a study that the exact engine fits; large enough for every cell."""
    return known.cohort(two_stages(), n=200, seed=3)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(shift=st.floats(-1e4, 1e4), factor=st.floats(1e-3, 1e3))
def test_shift_and_scale_of_the_outcome(cells, shift, factor):
    """The reference prior is invariant, and a seed gives the same standardized draws: equal up to rounding."""
    study = two_stages()
    changed = cells.assign(u=cells["u"] * factor + shift)
    mine, theirs = (optimize(fit(study, f, seed=2, engine="exact", draws=400, chains=2)) for f in (cells, changed))
    tolerance = 1e-9 * max(factor, abs(shift), 1)
    np.testing.assert_allclose(theirs.value_draws, mine.value_draws * factor + shift, atol=tolerance)
    rows = known.frame_of(list(known.histories(study, "b")))
    one, two = mine.recommend(rows), theirs.recommend(rows)
    for column in ("option", "p_best", "near_tie", "mc_tie"):
        assert one[column].tolist() == two[column].tolist()
    np.testing.assert_allclose(two["expected_utility"], one["expected_utility"] * factor + shift, atol=tolerance)
    np.testing.assert_allclose(two["regret"], one["regret"] * factor, atol=tolerance)


def test_weight_of_the_utility_scales_values_and_a_negative_one_turns_the_rule(cells):
    plain, tripled, harm = (optimize(fit(two_stages(weight=w), cells, seed=2, engine="exact", draws=400, chains=2)) for w in (1.0, 3.0, -1.0))
    np.testing.assert_allclose(tripled.value_draws, 3 * plain.value_draws, atol=1e-12)
    rows = known.frame_of([h for h in known.histories(two_stages(), "b")])
    best, worst = plain.recommend(rows), harm.recommend(rows)
    assert best["option"].tolist() == tripled.recommend(rows)["option"].tolist()
    assert all(a != b for a, b in zip(best["option"], worst["option"], strict=True))  # two options each


def test_data_scale_of_the_default_model():
    """y, 1000 y + 50000 and y / 1000: the same standardized answers, within Monte Carlo error, and no trouble sampling."""
    study = Study(Baseline("x"), Decision("arm", ["a", "b", "c"]), Response("y", Normal()), utility="y")
    rng = np.random.default_rng(5)
    n = 150
    x, arm = rng.normal(size=n), rng.integers(0, 3, n)
    y = 0.4 * x + 0.5 * (arm == 2) + rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "arm": np.array(["a", "b", "c"])[arm], "y": y})
    scales = ((1.0, 0.0), (1000.0, 5e4), (1e-3, 0.0))
    posteriors = [fit(study, frame.assign(y=k * y + c), seed=6) for k, c in scales]
    summaries = []
    for posterior, (k, c) in zip(posteriors, scales, strict=True):
        found = posterior.verdict.convergence
        assert found.rhat < 1.01 and found.ess_bulk > 400 and found.divergences <= 0.002 * found.draws
        values = (compare(posterior).draws["value"] - c) / k
        names = [v for v in posterior.tree["posterior"].data_vars if v.endswith(("treatment", "sigma", "tau"))]
        parts = [values, *(posterior.tree["posterior"][v] / k for v in names)]
        summaries.append([np.concatenate([np.atleast_1d(f(p)) for p in parts]) for f in (
            lambda p: p.mean(("chain", "draw")).values, lambda p: azs.mcse(p, method="mean").values,
            lambda p: p.std(("chain", "draw"), ddof=1).values, lambda p: azs.mcse(p, method="sd").values)])
    for other in summaries[1:]:
        mean, error, sd, sd_error = summaries[0]
        assert (np.abs(other[0] - mean) < 4 * np.hypot(error, other[1])).all()
        assert (np.abs(other[2] - sd) < 4 * np.hypot(sd_error, other[3])).all()
    told = [optimize(p).recommend(frame[["x"]].head(5))["option"].tolist() for p in posteriors]
    assert told[0] == told[1] == told[2] == ["c"] * 5
