"""Trials whose patients belong to sites, from the declaration to the operating characteristics."""

import numpy as np
import pytest

import bayesdtr as dtr

SD = 0.8
CHANCES = {"A": 0.25, "B": 0.6}


def trial(model, *, covariate, **how):
    before = [dtr.Baseline("severe", levels=["no", "yes"])] if covariate else []
    study = dtr.Study(*before, dtr.Decision("arm", ["A", "B"]), dtr.Response("event", dtr.Bernoulli(), model=model), utility="event", cluster="site")
    sites = dtr.Sites(["north", "south", "east", "west"], weights=[4, 3, 2, 1], sd={"event": SD})
    scenario = dtr.Scenario("B better", {"event": CHANCES}, clusters=sites,
                            baseline={"severe": dtr.Levels({"no": 0.6, "yes": 0.4})} if covariate else None)
    return dtr.TrialDesign(study, size=60, looks=[30, 45], stopping=[dtr.Superiority(0.97)], **how), scenario


def marginal(p):
    """Average of a probability over sites, by Gauss-Hermite quadrature."""
    z, w = np.polynomial.hermite_e.hermegauss(60)
    return float((w / w.sum()) @ (1 / (1 + np.exp(-(np.log(p / (1 - p)) + SD * z)))))


def test_sites_from_declaration_to_table(tmp_path):
    design, scenario = trial(dtr.Saturated(), covariate=True, allocation=dtr.Thompson(power=0.5, floor=0.1))
    assert "clusters     site" in str(design)
    found = dtr.simulate(design, scenario, 400, seed=1, out=tmp_path / "run", keep="patients")
    truth, run = found.truths["B better"], found.equal_runs["B better"]
    for value, error, p in zip(truth.values, truth.errors, CHANCES.values(), strict=True):
        assert abs(value - marginal(p)) < 5 * error
    # Patients of a trial share their sites' effects: the number of events varies more from trial to trial than independent patients' would.
    full = run["size"] == 60
    events, options = run["outcome"][full, :, 0], run["option"][full, :, 0]
    rate = np.array([events[options == k].mean() for k in (0, 1)])
    independent = (rate * (1 - rate)).mean() / 60
    assert events.mean(axis=1).var() > 1.5 * independent
    people = dtr.replay(run, 7).patients()
    assert set(people["site"]) <= {"north", "south", "east", "west"} and set(people["severe"]) <= {"no", "yes"}
    text = str(found)
    assert "True values are averages over all sites that could take part" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def test_what_is_missing_of_sites_is_said():
    design, _ = trial(dtr.Saturated(), covariate=False)
    with pytest.raises(dtr.TrialError, match=r"misses the clusters \('site'\) that the study declares"):
        dtr.simulate(design, dtr.Scenario("no sites", {"event": CHANCES}), 10, seed=1)
    with pytest.raises(dtr.TrialError, match="Sites names 'evnt', which is no response"):
        dtr.simulate(design, dtr.Scenario("typo", {"event": CHANCES}, clusters=dtr.Sites(3, sd={"evnt": 1})), 10, seed=1)


@pytest.mark.slow
def test_looks_with_effects_of_sites():
    """Laplace looks with pooled sites: contextual probabilities go by site and covariate, and no other trial matters."""
    design, scenario = trial(dtr.Hierarchical(), covariate=True, allocation=dtr.Thompson(power=0.5, floor=0.1), analysis=dtr.Analysis(draws=64))
    found = dtr.simulate(design, scenario, 24, seed=1)
    power, size = found.get("B better", "power"), found.get("B better", "size")
    assert power.adaptive.value > 0.2 and 30 <= size.adaptive.value < 60
    long = next(i for i in range(24) if found.runs["B better"]["size"][i] == 60)
    people = dtr.replay(found.runs["B better"], long).patients()  # alone; refused where a bit differs
    later = people[people["look arm"] == 1]
    of_b = later["probability arm"].where(later["arm"] == "B", 1 - later["probability arm"]).round(12)
    assert of_b.groupby([later["site"], later["severe"]]).nunique().max() == 1
    assert of_b.nunique() > 2
    plain, _ = trial(dtr.Hierarchical(), covariate=True, allocation=dtr.Thompson(power=0.5, floor=0.1, contextual=False),
                     analysis=dtr.Analysis(draws=64))
    run = dtr.simulate(plain, scenario, 24, seed=1, compare=False, keep="patients").runs["B better"]
    at = run["look_in_force"][long, :, 0] == 0
    p, code = run["probability"][long, at, 0], run["option"][long, at, 0]
    assert np.ptp(np.where(code == 1, p, 1 - p)) < 1e-12
