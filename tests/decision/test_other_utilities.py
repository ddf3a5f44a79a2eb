"""Another utility on the same posterior: everything as if the study had been declared and fitted with it."""

import numpy as np
import pandas as pd
import pytest

import bayesdtr as dtr
from bayesdtr.inference.stacked import stack
from bayesdtr.model import compile_response
from bayesdtr.study import to_json

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": dtr.Saturated()}
COSTLY = dtr.Utility({"relief": 10.0, "harm": -60.0})


def study(utility, **more):
    return dtr.Study(
        dtr.Decision("dose", ["low", "high"]), dtr.Response("harm", dtr.Bernoulli(), **CELLS), dtr.Decision("then", ["keep", "stop"]),
        dtr.Response("relief", dtr.Normal(), **CELLS), utility=utility, **more,
    )


def patients(n=200):
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"dose": rng.choice(["low", "high"], n), "then": rng.choice(["keep", "stop"], n)})
    frame["harm"] = (rng.random(n) < np.where(frame["dose"] == "high", 0.5, 0.1)).astype(int)
    frame["relief"] = (frame["dose"] == "high") * 1.0 - 0.5 * (frame["then"] == "stop") * (frame["harm"] == 0) + rng.normal(size=n)
    return frame


@pytest.fixture(scope="module")
def posterior():
    return dtr.fit(study("relief", mcid=0.2, reference={"dose": "low", "then": "keep"}), patients(), seed=1, engine="exact", draws=2000)


def test_it_is_what_a_new_fit_would_say(posterior):
    moved = dtr.with_utility(posterior, COSTLY)
    anew = dtr.fit(study(COSTLY, reference={"dose": "low", "then": "keep"}), patients(), seed=1, engine="exact", draws=2000)
    a, b = dtr.optimize(moved), dtr.optimize(anew)
    np.testing.assert_array_equal(a.value_draws, b.value_draws)
    assert a.rules() == b.rules() != dtr.optimize(posterior).rules()
    assert str(dtr.compare(moved)) == str(dtr.compare(anew)) and moved.study == anew.study
    pd.testing.assert_frame_equal(a.recommend(patients().iloc[:5, [0]].assign(harm=1)), b.recommend(patients().iloc[:5, [0]].assign(harm=1)))
    assert posterior.study.utility != COSTLY  # the old one stays what it was


def test_the_margin_goes_by_the_new_unit(posterior):
    from bayesdtr.decision.regime import mcid_of

    frame = patients()
    assert mcid_of(posterior) == 0.2
    assert mcid_of(dtr.with_utility(posterior, COSTLY)) == pytest.approx(0.1 * (10 * frame["relief"] - 60 * frame["harm"]).std(ddof=1))
    assert mcid_of(dtr.with_utility(posterior, COSTLY, mcid=3.0)) == 3.0


def test_files_and_stacked_posteriors_take_it_along(posterior, tmp_path):
    moved = dtr.with_utility(posterior, COSTLY, mcid=3.0)
    loaded = dtr.load(moved.save(tmp_path / "p.nc"))
    assert to_json(loaded.study) == to_json(moved.study)
    np.testing.assert_array_equal(dtr.optimize(loaded).value_draws, dtr.optimize(moved).value_draws)
    mixed = stack([posterior, posterior], ["one", "two"], {"harm": (0.5, 0.5), "relief": (0.3, 0.7)})
    a, b = dtr.optimize(dtr.with_utility(mixed, COSTLY)).value(), dtr.optimize(moved).value()
    assert abs(a.mean - b.mean) < 4 * (a.mcse + b.mcse)


def test_models_are_shared_between_utilities():
    one, two = study("relief", mcid=0.1), study(COSTLY, estimand={"death": "none"})
    for response in ("harm", "relief"):
        assert compile_response(one, response) is compile_response(two, response)


def test_what_is_refused(posterior):
    with pytest.raises(dtr.StudyError, match="does not depend on anything observed after the last decision 'then'"):
        dtr.with_utility(posterior, "harm")
    with pytest.raises(dtr.StudyError, match="mcid must be a finite number above 0, got -1"):
        dtr.with_utility(posterior, COSTLY, mcid=-1)
    with pytest.raises(dtr.StudyError, match="pain"):
        dtr.with_utility(posterior, "pain")
    with pytest.raises(dtr.DecisionError, match="with_utility takes a Posterior, got Regime"):
        dtr.with_utility(dtr.optimize(posterior), COSTLY)
