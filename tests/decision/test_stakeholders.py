"""Several utilities at once, against the recommendations of each alone."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import bayesdtr as dtr

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": dtr.Saturated()}
WHO = {
    "patients": (dtr.Utility({"relief": 1.0, "harm": -1.0}), 0.2), "payer": (dtr.Utility({"relief": 0.3, "cost": -1.0}), 0.5),
    "clinic": "relief",
}


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(6)
    n = 240
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "drug": rng.choice(["old", "new", "none"], n), "well": rng.integers(0, 2, n)})
    frame["then"] = np.where(frame["well"] == 1, "stay", rng.choice(["stay", "add"], n))
    frame["relief"] = (frame["drug"] == "new") * 1.0 + (frame["drug"] == "old") * 0.7 + 0.4 * (frame["then"] == "add") + rng.normal(size=n)
    frame["cost"] = (frame["drug"] == "new") * 2.0 + (frame["drug"] == "old") * 0.2 + (frame["then"] == "add") * 1.0 + 0.3 * rng.normal(size=n)
    frame["harm"] = (rng.random(n) < np.where(frame["drug"] == "new", 0.5, 0.2)).astype(int)
    study = dtr.Study(
        dtr.Baseline("sex", levels=["f", "m"]), dtr.Decision("drug", ["old", "new", "none"]), dtr.Response("well", dtr.Bernoulli(), **CELLS),
        dtr.Decision("then", {dtr.when(well=0): ["stay", "add"], dtr.when(well=1): ["stay"]}),
        dtr.Response("relief", dtr.Normal(), model=dtr.Saturated(over=["drug", "then"])),
        dtr.Response("cost", dtr.Normal(), model=dtr.Saturated(over=["drug", "then"])),
        dtr.Response("harm", dtr.Bernoulli(), model=dtr.Saturated(over=["drug"])), utility="relief",
    )
    return dtr.fit(study, frame, seed=2, engine="exact", draws=1000)


@pytest.fixture(scope="module")
def patients():
    return pd.DataFrame({"sex": ["f", "m", "f", "m", "f"], "drug": [None, None, "new", "old", "none"], "well": [None, None, 0, 0, 1]})


def test_every_stakeholder_is_answered_as_if_alone(posterior, patients):
    found = dtr.stakeholders(posterior, WHO, patients).set_index("patient")
    assert len(found) == len(patients) and not found["agree"].all()
    tables, units = {}, {}
    for name, value in WHO.items():
        utility, mcid = value if isinstance(value, tuple) else (value, None)
        moved = dtr.with_utility(posterior, utility, mcid=mcid)
        tables[name] = dtr.optimize(moved).recommend(patients, every_option=True).set_index(["patient", "option"])
        units[name] = mcid if mcid else 0.1 * posterior.trajectories.columns["relief"].std(ddof=1)
    for patient, line in found.iterrows():
        lost = {}
        for name, table in tables.items():
            mine = table.loc[patient]
            assert mine.loc[line[name], "recommended"]
            lost[name] = mine["expected_utility"].max() - mine["expected_utility"]
            assert line[f"loss: {name}"] == pytest.approx(lost[name][line["compromise"]], abs=1e-12)
        worst = pd.DataFrame({n: v / units[n] for n, v in lost.items()}).max(axis=1)
        assert worst[line["compromise"]] == pytest.approx(worst.min(), rel=1e-9)
        assert line["agree"] == (len({line[n] for n in WHO}) == 1)
    assert (found.loc["5", list(WHO)] == "stay").all() and found.loc["5", "agree"]


def test_frames_of_every_kind(posterior, patients):
    plain = dtr.stakeholders(posterior, WHO, patients)
    told = dtr.stakeholders(posterior, WHO, pl.from_pandas(patients))
    assert isinstance(told, pl.DataFrame) and told.to_dict(as_series=False) == plain.to_dict("list")


def test_what_is_refused(posterior, patients):
    cases = (
        ({"one": "relief"}, "at least two names"), (["relief", "harm"], "at least two names"),
        ({"agree": "relief", "b": "relief"}, "'agree' cannot name"),
        ({"a": 3, "b": "relief"}, "'a' takes a Utility"), ({"a": ("relief", 1, 2), "b": "relief"}, "'a' takes a Utility"),
    )
    for given, said in cases:
        with pytest.raises(dtr.DecisionError, match=said):
            dtr.stakeholders(posterior, given, patients)
    flat = dtr.Utility({"harm": {0: 1.0, 1: 1.0}})
    with pytest.raises(dtr.DecisionError, match="spread of the utility of 'a'; give"):
        dtr.stakeholders(posterior, {"a": flat, "b": ("cost", 1.0)}, patients)
    with pytest.raises(dtr.StudyError, match="stakeholders, 'early': Utility does not depend on anything observed after the last decision"):
        dtr.stakeholders(posterior, {"early": "well", "late": "relief"}, patients)
    with pytest.raises(dtr.StudyError, match="names 'pain'"):
        dtr.stakeholders(posterior, {"a": "pain", "b": "relief"}, patients)
    with pytest.raises(dtr.DecisionError, match="takes a Posterior, got str"):
        dtr.stakeholders("p", WHO, patients)
