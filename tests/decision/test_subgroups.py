"""Values and gains by subgroup: parts that make up the whole, against sums over paths."""

import known
import numpy as np
import pytest

import bayesdtr as dtr
from bayesdtr import Baseline, Bernoulli, Decision, Normal, Response, Saturated, Study, when

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
REFERENCE = {"a": "p", "b": {when(r=0): "x", when(r=1): "go"}}


def study() -> Study:
    return Study(
        Baseline("sex", levels=["f", "m"]), Decision("a", ["p", "q"]), Response("r", Bernoulli(), model=Saturated(over=["a"])),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): ["go"]}), Response("u", Normal(), model=Saturated(over=["sex", "a", "b"])),
        utility="u", reference=REFERENCE,
    )


@pytest.fixture(scope="module")
def case():
    made = study()
    draws = known.random_cells(made, 4)
    posterior = known.posterior_with(made, draws, seed=4)
    return made, known.cell_law(made, draws, True), known.cell_law(made, draws, False), dtr.optimize(posterior)


def test_each_subgroup_against_sums_over_paths(case):
    """A subgroup by a labelled covariate has one history before the first decision, so that no weights enter."""
    made, averaged, per_draw, regime = case
    found = dtr.by_group(regime, "sex", margin=0.1)
    assert [g.label for g in found.rows] == ["sex = f", "sex = m"]
    assert [g.patients for g in found.rows] == np.bincount(regime.posterior.trajectories.columns["sex"]).tolist()
    (written,) = [r for r in made.embedded() if r.label == made.reference.label] or [made.reference]
    for group, sex in zip(found.rows, "fm", strict=True):
        start = {"sex": sex}
        _, plan = max(known.all_regimes(made, averaged, start), key=lambda pair: pair[0])
        mine = known.value_of(made, lambda d, h, plan=plan: plan[known.key_of(made, d.name, h)], per_draw, start)
        other = known.value_of(made, lambda d, h: known.chosen(written, d, h), per_draw, start)
        assert (group.value.mean, group.value.sd) == pytest.approx((mine.mean(), mine.std(ddof=1)), abs=1e-10)
        assert (group.gain.mean, group.p_loss) == pytest.approx(((mine - other).mean(), (mine - other < -0.1).mean()), abs=1e-10)
    assert found.worst.value.mean == min(g.value.mean for g in found.rows) and found.gap.mean > 0


def test_a_column_that_the_study_lacks_serves_the_audit_only(case):
    *_, regime = case
    t = regime.posterior.trajectories
    same = dtr.by_group(regime, [("f", "m")[c] for c in t.columns["sex"]])
    by_name = dtr.by_group(regime, "sex")
    assert [g.value for g in same.rows] == [g.value for g in by_name.rows]
    whole = dtr.by_group(regime, ["all"] * t.n)
    np.testing.assert_allclose(whole.rows[0].value.mean, regime.value().mean, atol=1e-12)
    assert "audit" not in str(whole) and max(map(len, str(same).splitlines())) <= 100 and "P(loss)" in str(same)


def test_by_regression_too(case):
    *_, regime = case
    fitted = dtr.by_group(dtr.optimize(regime.posterior, method="regression"), "sex")
    exact = dtr.by_group(regime, "sex")
    for one, two in zip(fitted.rows, exact.rows, strict=True):
        assert one.value.mean == pytest.approx(two.value.mean, abs=0.15) and one.gain.mean == pytest.approx(two.gain.mean, abs=0.15)


@pytest.mark.parametrize(("groups", "words"), [
    ("sx", "did you mean 'sex'"), ("r", "is no covariate"), (["f"] * 3, "3 labels for 80 patients"), (list(range(80)), "80 different labels"),
])
def test_what_tells_no_subgroups_is_refused(case, groups, words):
    with pytest.raises(dtr.DecisionError, match=words):
        dtr.by_group(case[-1], groups)
    with pytest.raises(dtr.DecisionError, match="margin"):
        dtr.by_group(case[-1], "sex", margin=-1)


def test_without_a_reference_no_gain_is_made_up():
    made = Study(*study().timeline, utility="u")
    found = dtr.by_group(dtr.optimize(known.posterior_with(made, known.random_cells(made, 4), seed=4)), "sex")
    assert found.rows[0].gain is None and found.rows[0].p_loss is None and "not provided" in str(found)
